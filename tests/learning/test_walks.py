"""Many rankings laid out at once are the ones that consensus derives one by one."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from block_games import random_game, sums_by_hand

from fedcoin_cli.consensus import rankings
from fedcoin_cli.consensus.rankings import prefixes, ranking
from fedcoin_cli.learning.coalitions import walks
from fedcoin_cli.learning.coalitions.walks import (
    beginnings_of,
    marginal_sums,
    marginals_of,
    members,
    orders,
    orders_at,
    prefix_masks,
)

SEED, KEY = bytes(range(32)), bytes(range(32, 64))
WIDTHS = [1, 2, 3, 10, 70, 300]
EQUALS_ITS_LIMIT = 45
"""In square 0 of this block of 300 clients a draw is the first that is passed over."""


@pytest.mark.parametrize("clients", WIDTHS)
def test_orders_are_the_derived_rankings(clients: int) -> None:
    """In neighbouring blocks, across the end of a pair of squares, each order is the ranking of its number."""
    last = 2 * clients
    blocks, walked = range(998, 1001), range(max(0, last - 3), last + 3)
    found = orders(SEED, KEY, blocks, walked, clients)
    assert found.shape == (3, len(walked), clients)
    assert found.dtype == np.uint16
    for row, block in zip(found.tolist(), blocks, strict=True):
        assert [tuple(one) for one in row] == [ranking(SEED, KEY, block, index, clients) for index in walked]


@pytest.mark.parametrize("clients", WIDTHS)
def test_each_block_may_have_numbers_of_its_own(clients: int) -> None:
    """Blocks in any order and twice, rankings in any order over many squares: each is still the derived one."""
    draw = np.random.default_rng(clients)
    blocks = np.array([7, 0, 2**40, 7, 3])
    indices = draw.integers(0, 9 * clients, (5, 4))
    found = orders_at(SEED, KEY, blocks, indices, clients)
    for block, numbers, row in zip(blocks.tolist(), indices.tolist(), found.tolist(), strict=True):
        assert [tuple(one) for one in row] == [
            ranking(SEED, KEY, block, number, clients) for number in numbers
        ]


def rejected(block: int, clients: int) -> int:
    """How many draws square 0 of a block passes over."""
    stream = rankings._draws(rankings.TAG + SEED + KEY + block.to_bytes(8, "big") + bytes(8), 4 * clients)
    bounds = [*range(clients, 1, -1), *range(clients - 1, 1, -1)]
    total = 0
    for bound in bounds:
        while next(stream) >= 65_536 - 65_536 % bound:
            total += 1
    return total


@pytest.mark.parametrize("spare", [64, 1, 0, -7])
def test_draws_are_passed_over_as_the_rule_says(spare: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that pass over none, one or several draws; where what was drawn is used up, one is laid out alone."""
    monkeypatch.setattr(walks, "_SPARE_DRAWS", spare)
    passed = [rejected(block, 300) for block in range(40)]
    assert {0, 1, 2} <= set(passed)
    blocks = np.array([*range(40), EQUALS_ITS_LIMIT])
    found = orders_at(SEED, KEY, blocks, np.tile([0, 2], (41, 1)), 300)
    for block, row in zip(blocks.tolist(), found.tolist(), strict=True):
        assert [tuple(one) for one in row] == [ranking(SEED, KEY, block, index, 300) for index in (0, 2)]


@pytest.mark.parametrize("clients", [2, 3, 10, 70])
def test_members_are_those_who_have_joined(clients: int) -> None:
    """Zeros and ones, mask by mask, are the proper coalitions on the way, in the order of joining."""
    walked = orders(SEED, KEY, range(3), range(4), clients)
    found = members(walked)
    assert found.shape == (3, 4, clients - 1, clients)
    for block in range(3):
        for index in range(4):
            masks = prefixes(ranking(SEED, KEY, block, index, clients))[:-1]
            assert prefix_masks(walked[block, index]) == masks
            bits = [[mask >> client & 1 for client in range(clients)] for mask in masks]
            assert found[block, index].tolist() == bits


@pytest.mark.parametrize("clients", [2, 3, 10, 61])
@pytest.mark.parametrize("index", [0, 1, 5, 150, 2**33])
def test_everyone_begins_once_over_neighbouring_blocks(clients: int, index: int) -> None:
    """Whichever ranking and whichever block comes first: over K neighbouring blocks each client begins once."""
    for first in (0, 1, 4_321):
        indices = np.full((clients, 1), index)
        found = orders_at(SEED, KEY, np.arange(first, first + clients), indices, clients)
        assert sorted(found[:, 0, 0].tolist()) == list(range(clients))


@pytest.mark.parametrize("clients", [2, 3, 10, 61])
@pytest.mark.parametrize("stream", [0, 1])
def test_a_whole_square_is_balanced(clients: int, stream: int) -> None:
    """A pair's even rankings, and its odd ones, place each client once at each position, in each block."""
    for pair in (0, 3):
        start = 2 * clients * pair + stream
        square = orders(SEED, KEY, range(17, 20), range(start, start + 2 * clients, 2), clients)
        for block in square:
            assert (np.sort(block, axis=0) == np.arange(clients)[:, None]).all()


def test_every_order_is_as_likely_as_any_other() -> None:
    """Over 24,000 blocks each of the 24 orders of four clients has its share within five standard errors."""
    for index in (0, 5):
        found = orders(SEED, KEY, range(24_000), range(index, index + 1), 4)[:, 0]
        counts = Counter(map(tuple, found.tolist()))
        assert set(counts) == set(permutations(range(4)))
        assert all(abs(count - 1000) < 5 * (1000 * 23 / 24) ** 0.5 for count in counts.values())


def test_two_streams_know_nothing_of_each_other() -> None:
    """Where ranking 0 puts a client says nothing of where ranking 1 puts it but for who begins: within five errors."""
    found = orders(SEED, KEY, range(20_000), range(2), 5)
    places = np.argsort(found, axis=2)
    for client in range(5):
        neither_begins = (places[:, :, client] > 0).all(axis=1)
        first, second = places[neither_begins, :, client].T.astype(float)
        # Spearman's correlation of what is independent has a standard error of 1/√n.
        assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(neither_begins.sum())


def test_seed_key_block_and_number_each_give_other_orders() -> None:
    """Another seed, another miner, another block and another ranking get another order of twenty clients."""
    other, blocks = bytes(32), range(5, 6)
    found = [
        orders(SEED, KEY, blocks, range(3, 4), 20),
        orders(other, KEY, blocks, range(3, 4), 20),
        orders(SEED, other, blocks, range(3, 4), 20),
        orders(KEY, SEED, blocks, range(3, 4), 20),
        orders(SEED, KEY, range(6, 7), range(3, 4), 20),
        orders(SEED, KEY, blocks, range(5, 6), 20),
        orders(SEED, KEY, blocks, range(43, 44), 20),
    ]
    assert len({one.tobytes() for one in found}) == len(found)


@pytest.mark.parametrize("clients", [2, 3, 7])
def test_marginals_are_those_of_walking_one_by_one(clients: int) -> None:
    """Sums by client, and by block and client, are what a walk client by client adds up, with u(∅) above 0 as well."""
    game = random_game(clients, [255, 3, 16, 0, 1], seed=clients, baseline=True)
    walked = orders(SEED, KEY, range(5), range(9), clients)
    values = game.walk(range(5), walked)
    assert tuple(marginal_sums(walked, values, game.ends())) == sums_by_hand(game, SEED, KEY, range(9))
    by_block = marginals_of(walked, values, game.ends())
    for block in range(5):
        alone = random_game(clients, game.sizes)
        alone.counts[:] = 0
        alone.counts[block] = game.counts[block]
        assert tuple(by_block[block].tolist()) == sums_by_hand(alone, SEED, KEY, range(9))


@pytest.mark.parametrize("clients", [1, 2, 6])
def test_beginnings_by_hand(clients: int) -> None:
    """How many rankings each client begins in a block, and what it adds there to nobody, over all blocks."""
    game = random_game(clients, (9, 8, 9, 9, 8), baseline=True)
    walked = orders(SEED, KEY, range(5), range(7), clients)
    begun, firsts = beginnings_of(walked, game.walk(range(5), walked), game.ends())
    counted, added = np.zeros((5, clients), int), np.zeros(clients, int)
    for block in range(5):
        for order in walked[block].tolist():
            counted[block, order[0]] += 1
            added[order[0]] += game.counts[block, 1 << order[0]] - game.counts[block, 0]
    np.testing.assert_array_equal(begun, counted)
    np.testing.assert_array_equal(firsts, added)
