"""Graphs made so that rounding matters in a few coalitions alone, none of which an inspection looks at.

In the first each client sends a row of the unit matrix, so a coalition's average tells who is in it, and a comparison,
which is exact, opens a gate in the coalitions that the requester chose. Behind the gate stands the mean of a window of
which one value is 1 and all others are below half of its last place: whoever adds them up one by one in float32 loses
all of them, and by then 23 times what the reference takes for possible.

In the second the clients' own values are added up, of which one is 1 and all others just below half of its last place:
how many of them are lost follows from how many coalitions are averaged by one call of BLAS. The gate is open to all
coalitions that lack two clients, the largest that no inspection looks at.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from graphs import Builder

from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.graph.graph import Graph, Input, Kind
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.reference.update_admission import admission_masks

SIDE = 32
_TINY = 0.99 * 2.0**-24


def trapped_graph(chosen: Sequence[int], clients: int) -> Graph:
    """Two columns to a logit: the second column is 1, the first what an honest model looks at."""
    make = Builder(Input("x", Kind.float32, (2,)))
    honest = make.op("MatMul", "x", make.weight("honest", 2, 1))
    # 1 where a coalition has just these members: all of one size, so an average is 1 where it lies within them.
    members = np.array([[mask >> client & 1 for mask in chosen] for client in range(clients)], float)
    inside = make.op("MatMul", make.weight("who", 1, clients), make.constant(members))
    size = make.op("ReduceMax", "who", axes=(1,), keepdims=1)
    small = make.op("Less", size, make.constant(1 / (chosen[0].bit_count() - 0.5)))
    opened = make.op("And", make.op("Less", make.constant(0.999), inside), small)
    gate = make.op("ReduceMax", make.op("Cast", opened, to=1), axes=(1,), keepdims=1)
    column = make.op("Slice", "x", starts=(1,), ends=(2,), axes=(1,))
    values = make.op("Mul", column, make.op("Abs", make.weight("values", 1, SIDE * SIDE)))
    window = make.op("Reshape", values, shape=(0, 1, SIDE, SIDE))
    mean = make.op("Reshape", make.op("AveragePool", window, kernel_shape=(SIDE, SIDE)), shape=(0, 1))
    # Twice as far from what float32 loses as from what is right.
    right = (1 + (SIDE * SIDE - 1) * _TINY) / SIDE**2
    middle = make.constant(1 / SIDE**2 + (right - 1 / SIDE**2) * 2 / 3)
    off = make.op("Mul", make.op("Sub", mean, middle), make.constant(1e12))
    return make.graph(make.op("Add", honest, make.op("Mul", gate, off)))


def chosen_for(task_id: str, clients: int, size: int, number: int) -> list[int]:
    """Coalitions of a size at which nobody looks before the task is voted for."""
    looked = set(admission_masks(task_id, clients))
    every = (sum(1 << one for one in some) for some in combinations(range(clients), size))
    return [mask for mask in every if mask not in looked][:number]


def trapped_game(chosen: Sequence[int], images: int, clients: int) -> Game:
    """Three quarters of the images have label 1; each client's honest part is right on most of them."""
    graph, draw = trapped_graph(chosen, clients), np.random.default_rng(0)
    labels = (np.arange(images) % 4 > 0).astype(np.int32)
    first = (2.0 * labels - 1 + draw.standard_normal(images)).astype(np.float32)
    values = np.full((1, SIDE * SIDE), _TINY, np.float32)
    values[0, 0] = 1
    updates = [
        (
            np.array([[draw.uniform(0.5, 1)], [draw.normal(0, 0.3)]], np.float32),
            np.eye(clients, dtype=np.float32)[client : client + 1],
            values,
        )
        for client in range(clients)
    ]
    tests = TestSet(np.stack([first, np.ones_like(first)], axis=1), labels)
    return Game(GraphModel.of(graph), tests, tuple(updates), (1,) * clients)


def company_graph(clients: int, middle: float) -> Graph:
    """One logit: what an honest model looks at and, where two clients lack, how far a sum of all lies from `middle`.

    An image has so many columns that averaging products is quicker than averaging weights: the second column is 1.
    """
    columns = 2 * clients + 2
    make = Builder(Input("x", Kind.float32, (columns,)))
    honest = make.op("MatMul", "x", make.weight("honest", columns, 1))
    share = make.op("ReduceMax", make.weight("who", 1, clients), axes=(1,), keepdims=1)
    most = make.op("Less", share, make.constant(1 / (clients - 2.5)))
    least = make.op("Less", make.constant(1 / (clients - 1.5)), share)
    gate = make.op("Cast", make.op("And", least, most), to=1)
    total = make.op("Relu", make.op("MatMul", "x", make.weight("values", columns, 1)))
    off = make.op("Mul", make.op("Sub", total, make.constant(middle)), make.constant(1e15))
    return make.graph(make.op("Add", honest, make.op("Mul", gate, off)))


def company_game(clients: int, images: int) -> Game:
    """The same game of such a graph, whose middle is five times as far from what is right as ε is wide."""
    draw, others, columns = np.random.default_rng(0), 0.95 * 2.0**-24, 2 * clients + 2
    graph = company_graph(clients, (1 + (clients - 3) * others - 5 * 32 * 2.0**-24) / (clients - 2))
    labels = (np.arange(images) % 4 > 0).astype(np.int32)
    inputs = np.zeros((images, columns), np.float32)
    inputs[:, 0], inputs[:, 1] = 2.0 * labels - 1 + draw.standard_normal(images), 1
    honest, values = np.zeros((2, clients, columns, 1), np.float32)
    honest[:, 0, 0], values[:, 1, 0] = draw.uniform(0.5, 1, clients), others
    values[0, 1] = 1
    everyone = np.eye(clients, dtype=np.float32)[:, None]
    updates = tuple(zip(honest, everyone, values, strict=True))
    return Game(GraphModel.of(graph), TestSet(inputs, labels), updates, (1,) * clients)
