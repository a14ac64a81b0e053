"""What of a graph is the same in all coalitions, what is affine in the updates, and what each coalition computes anew.

A coalition's model is an average of updates by shares that sum to 1, and an affine map of an average is the average of
the maps. So values that are affine in the updates are computed once a client, and a coalition costs a product of its
shares with the clients' values: first dense layers, embeddings and heads on a frozen base are found so by themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from fedcoin_cli.learning.graph.graph import Graph, Node
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.graph.tensor_type import TensorType


class Stage(IntEnum):
    """How a value depends on the updates."""

    constant = 0
    """Not at all."""
    affine = 1
    """As an affine map: a coalition's value is the average of its members'."""
    rest = 2
    """In another way: it is computed for each coalition."""


@dataclass(frozen=True, slots=True)
class Staging:
    """A graph's nodes by stage, in order, and the values that pass from one stage to the next.

    `once` nodes are computed for each client, or but once where they are constant; `rest` for each coalition, from
    `constants` and from `averaged` values, weights among them.
    """

    once: tuple[Node, ...]
    rest: tuple[Node, ...]
    constants: tuple[str, ...]
    averaged: tuple[str, ...]


def stages(graph: Graph) -> dict[str, Stage]:
    """The stage of every value, by name [P-6.25]."""
    names = [one.name for one in graph.inputs]
    names += [*(one.name for one in graph.frozen), *(one.name for one in graph.constants)]
    found = dict.fromkeys(names, Stage.constant)
    found.update((weight.name, Stage.affine) for weight in graph.weights)
    for node in graph.nodes:
        stage = _stage(node, [found[name] if name else Stage.constant for name in node.inputs])
        # What is averaged as such is an average of the clients' own, whatever it is made of.
        found.update(
            (name, Stage.affine if name in graph.products else stage) for name in node.outputs if name
        )
    return found


def _stage(node: Node, inputs: Sequence[Stage]) -> Stage:
    if Stage.rest in inputs:
        return Stage.rest
    depends = [stage is Stage.affine for stage in inputs]
    if not any(depends):
        return Stage.constant
    operation = OPERATIONS[node.operation]
    fits = operation.affine(operation.completed(node.attributes), depends)
    return Stage.affine if fits else Stage.rest


def staged(graph: Graph, types: Mapping[str, TensorType], clients: int, images: int) -> Staging:
    """The cheapest staging for coalitions of so many clients on so many images at a time.

    Averaging an affine value takes K products an entry. Where computing it from averaged weights takes fewer (a small
    convolution, of many clients) it is left to the coalitions.
    """
    by_stage, makers = stages(graph), _makers(graph)
    demoted: set[str] = set()
    while True:
        staging = _split(graph, by_stage, demoted)
        dear = [
            name
            for name in staging.averaged
            if name in makers and _dear(name, types, makers, by_stage, clients, images)
        ]
        if not dear:
            return staging
        for name in dear:
            demoted.update(output for output in makers[name].outputs if output)


def _split(graph: Graph, by_stage: Mapping[str, Stage], demoted: set[str]) -> Staging:
    later = {name for name, stage in by_stage.items() if stage is Stage.rest} | demoted
    needed = {graph.output}
    rest = _behind(graph, needed, later)
    inner = {name for node in rest for name in node.outputs}
    outer = [name for name in by_stage if name in needed and name not in inner]
    once = _behind(graph, set(outer), set(by_stage))
    return Staging(
        tuple(once),
        tuple(rest),
        tuple(name for name in outer if by_stage[name] is Stage.constant),
        tuple(name for name in outer if by_stage[name] is Stage.affine),
    )


def _behind(graph: Graph, needed: set[str], among: set[str]) -> list[Node]:
    """The nodes that give what is needed, as far as it is among these; what they read is needed, too."""
    found = []
    for node in reversed(graph.nodes):
        if any(name in needed and name in among for name in node.outputs):
            found.append(node)
            needed.update(name for name in node.inputs if name)
    return found[::-1]


def _makers(graph: Graph) -> dict[str, Node]:
    return {name: node for node in graph.nodes for name in node.outputs if name}


def _dear(
    name: str,
    types: Mapping[str, TensorType],
    makers: Mapping[str, Node],
    by_stage: Mapping[str, Stage],
    clients: int,
    images: int,
) -> bool:
    """Whether averaging a computed value takes more than computing it from averages of what its node reads."""
    if types[name].axis is None:
        return False  # of weights alone: once a coalition, whatever the images
    node = makers[name]
    inputs = [types[each] if each else None for each in node.inputs]
    outputs = [types[each] for each in node.outputs if each]
    operation = OPERATIONS[node.operation]
    work = operation.work(operation.completed(node.attributes), inputs, outputs, images)
    work += types[name].count(images)
    read = [each for each in node.inputs if each and by_stage[each] is Stage.affine]
    averaged = sum(2 * clients * types[each].count(images) for each in read)
    return work + averaged < 2 * clients * types[name].count(images)
