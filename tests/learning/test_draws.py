"""Secret draws: each block as likely, none met twice by itself, and no edge that nobody looks at."""

import numpy as np
import pytest

from fedcoin_cli.learning.shapley.draws import CountDraws, RankingDraws


@pytest.mark.parametrize("number", [1, 40, 512])
def test_every_block_is_drawn_equally_often(number: int) -> None:
    """The first and last of 625 blocks as often as those between: a liar knows no place where nobody looks [P-8.14]."""
    random, met = np.random.default_rng(0), np.zeros(625)
    for _ in range(40_000 // number):
        draws = RankingDraws(625, 50, random)
        some, indices = draws.take(number)
        assert indices.shape[0] == len(some)
        assert indices.max() < 50
        assert draws.drawn == indices.size
        met[some] += indices.shape[1]
    ends, middle = met[[0, 1, -2, -1]].mean(), met[100:-100].mean()
    assert 0.6 * middle < ends < 1.4 * middle


def test_single_rankings_are_met_once_each() -> None:
    """A table of few rankings is looked at whole, in an order that nobody knows."""
    orders = []
    for seed in range(2):
        draws, met = RankingDraws(7, 5, np.random.default_rng(seed)), []
        while draws.left:
            some, indices = draws.take(1)
            met.append((some.start, int(indices[0, 0])))
        assert sorted(met) == [(block, index) for block in range(7) for index in range(5)]
        orders.append(met)
    assert orders[0] != orders[1]


def test_many_single_draws_of_a_large_table_differ() -> None:
    """Where what is left is not looked up, none comes again either."""
    draws = RankingDraws(200, 100, np.random.default_rng(0))
    met = {(some.start, int(indices[0, 0])) for some, indices in (draws.take(1) for _ in range(3_000))}
    assert len(met) == 3_000


def test_more_than_all_blocks_are_several_rankings_of_each() -> None:
    """Few blocks: as many rankings of each as fit, and the table is never left before all were met."""
    draws = RankingDraws(3, 4, np.random.default_rng(0))
    some, indices = draws.take(512)
    assert (some, indices.shape) == (range(3), (3, 170))
    assert draws.left == 0


def test_counts_of_a_block_are_met_once_each() -> None:
    """Some of one block at a time, until every block is done; the last take what is left."""
    draws, met = CountDraws(4, 9, np.random.default_rng(0)), set[tuple[int, int]]()
    while draws.left:
        block, numbers = draws.take(2)
        assert 1 <= len(numbers) <= 2
        fresh = {(block, number) for number in numbers}
        assert not met & fresh
        met |= fresh
    assert len(met) == 36
