"""The weights of coalitions: averages are kept within a bound, whatever there is of them."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from graph_games import graph_game
from graphs import Builder, floats

from fedcoin_cli.learning.engines import averages
from fedcoin_cli.learning.engines.averages import Averages
from fedcoin_cli.learning.graph.graph import Graph
from fedcoin_cli.learning.reference.staged import Staged

CLIENTS = 16


def linear() -> Graph:
    """One dense layer, whose outputs are averaged as they are: a coalition has no weights of its own."""
    make = Builder(floats(256))
    return make.graph(make.dense("x", "out", 256, 3))


def few() -> Graph:
    """Little is left to average above the first layer."""
    make = Builder(floats(4))
    return make.graph(make.dense(make.op("Relu", make.dense("x", "fc", 4, 2)), "out", 2, 3))


@pytest.mark.parametrize("graph", [linear, few])
def test_what_is_kept_of_many_coalitions_is_bounded(
    graph: Callable[[], Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A miner counts millions of coalitions: what is remembered of each counts, also where there are no weights."""
    most = 1 << 17
    monkeypatch.setattr(averages, "_MOST_BYTES", most)
    made = Averages(Staged(graph_game(graph(), CLIENTS, images=2)))
    shares = np.random.default_rng(0).random((20_000, CLIENTS))
    made.rows(shares[:8])
    tracemalloc.start()
    try:
        for start in range(0, len(shares), 8):
            made.rows(shares[start : start + 8])
        assert tracemalloc.get_traced_memory()[0] < 1.5 * most
    finally:
        tracemalloc.stop()


def test_rows_begin_on_a_cache_line() -> None:
    """Whatever their number and length: a kernel that reads packed weights takes half as long again where not."""
    made = Averages(Staged(graph_game(few(), CLIENTS, images=2)))
    for count in (1, 3):
        rows = made.rows(np.random.default_rng(0).random((count, CLIENTS)))
        assert [row.ctypes.data % 64 for row in rows] == [0] * count
