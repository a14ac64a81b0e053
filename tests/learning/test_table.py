from collections.abc import Mapping
from fractions import Fraction
from itertools import islice, permutations

import numpy as np
import pytest
from oracles import shapley, walk

from fedcoin_cli.consensus.rankings import prefixes, ranking, rows, rows_per_square
from fedcoin_cli.learning.mining.exact import common_denominator, exact_numerators
from fedcoin_cli.learning.mining.table import (
    Claim,
    TableTerms,
    decode,
    derive,
    encode_exact,
    encode_sampled,
)
from fedcoin_cli.learning.mining.walks import keys_to_masks, marginal_sums, masks_to_keys, orders, prefix_keys
from ledger_store.errors import Malformed

SEED, KEY = bytes(range(32)), bytes(range(32, 64))
WIDTHS = [2, 5, 8, 9, 20, 63, 64, 65, 70]


def utility(mask: int) -> int:
    """Some game with u(∅) = 17; a count for every mask, of any width."""
    return 17 + mask * 2_654_435_761 % 983 if mask else 17


def visited(clients: int, rankings: int) -> dict[int, int]:
    walked = (prefixes(ranking(SEED, KEY, index, clients)) for index in range(rankings))
    return {mask: utility(mask) for masks in walked for mask in masks}


def terms(clients: int) -> TableTerms:
    return TableTerms(clients, 1_000, utility(0))


@pytest.mark.parametrize("clients", WIDTHS)
def test_orders_are_the_derived_rankings(clients: int) -> None:
    """Whole squares laid out in NumPy are the rankings that consensus derives, from any first ranking on."""
    for first, count in ((0, 3), (rows_per_square(clients) - 1, 4)):
        expected = [ranking(SEED, KEY, index, clients) for index in range(first, first + count)]
        assert orders(SEED, KEY, first, count, clients).tolist() == [list(order) for order in expected]


@pytest.mark.parametrize("clients", WIDTHS)
def test_prefix_keys_are_the_visited_masks(clients: int) -> None:
    """Array keys and Python masks name the same coalitions, in the same order."""
    keys = prefix_keys(orders(SEED, KEY, 0, 2, clients))
    for row, index in zip(keys, range(2), strict=True):
        assert keys_to_masks(row, clients) == prefixes(ranking(SEED, KEY, index, clients))
    masks = [1, 1 << (clients - 1), (1 << clients) - 1]
    assert np.all(np.diff(np.argsort(masks_to_keys(masks, clients))) == 1)


@pytest.mark.parametrize("clients", WIDTHS)
def test_sampled_table_round_trip(clients: int) -> None:
    """A table's bytes are masks and counts, ascending; reading gives them back whatever order they were found in."""
    counts = visited(clients, 3)
    data = encode_sampled(dict(reversed(counts.items())), clients)
    assert len(data) == len(counts) * ((clients + 7) // 8 + 4)
    table = decode(data, terms(clients), exact=False)
    assert table.masks() == sorted(counts)
    assert table.counts.tolist() == [counts[mask] for mask in sorted(counts)]


def test_table_bytes_by_hand() -> None:
    """The very bytes: two-byte masks of 9 clients and four-byte counts, big-endian."""
    assert encode_sampled({256: 513, 1: 7}, 9) == bytes.fromhex("0001 00000007 0100 00000201")
    assert encode_exact(np.array([1, 2, 770])) == bytes.fromhex("00000001 00000002 00000302")


@pytest.mark.parametrize("clients", [2, 5, 8, 9, 65])
@pytest.mark.parametrize("rankings", [1, 7, 300])
def test_sums_follow_from_the_table(clients: int, rankings: int) -> None:
    """N_j derived from bytes equals the pure walk over the derived rankings."""
    rankings = min(rankings, 20 if clients > 20 else rankings)
    derived = derive(encode_sampled(visited(clients, rankings), clients), claim(rankings), terms(clients))
    sums = [0] * clients
    for index in range(rankings):
        mask = 0
        for client in ranking(SEED, KEY, index, clients):
            sums[client] += utility(mask | 1 << client) - utility(mask)
            mask |= 1 << client
    assert derived.sums == tuple(sums)
    assert derived.values is None


def claim(rankings: int, *, exact: bool = False) -> Claim:
    return Claim(SEED, KEY, rankings, exact)


@pytest.mark.parametrize("clients", [1, 2, 3, 6, 9])
def test_exact_table(clients: int) -> None:
    """An exact table gives Λ·φ_j as brute force does, and the sums of its `most` rankings."""
    game = [utility(mask) for mask in range(1 << clients)]
    data = encode_exact(np.array(game[1:]))
    derived = derive(data, claim(13, exact=True), terms(clients))
    scale = common_denominator(clients)
    assert derived.values == tuple(int(scale * value) for value in shapley(game))
    assert derived.sums == walk(game, (ranking(SEED, KEY, index, clients) for index in range(13)))
    assert decode(data, terms(clients), exact=True).masks() == list(range(1, 1 << clients))


def test_exact_numerators_sum_to_the_whole_gain() -> None:
    """Σ E_j = Λ·(u(full) − u(∅)), with large counts and 16 clients."""
    counts = np.random.default_rng(0).integers(0, 1_000_000, (1 << 16) - 1)
    values = exact_numerators(counts, 123, 16)
    assert sum(values) == common_denominator(16) * (int(counts[-1]) - 123)


def test_every_row_of_a_square_is_unbiased() -> None:
    """The mean of each row over all relabellings is exactly the Shapley value, so partial squares are unbiased too."""
    clients = 4
    game = [utility(mask) for mask in range(1 << clients)]
    relabellings = np.array(list(permutations(range(clients))), np.intp)
    for row in rows(clients):
        walked = relabellings[:, list(row)]
        sums = marginal_sums(walked, np.array(game)[prefix_keys(walked).astype(int)], game[0])
        assert [Fraction(total, len(relabellings)) for total in sums] == list(shapley(game))


def edited(counts: Mapping[int, int]) -> dict[str, bytes]:
    """Tables of 9 clients that are almost the one of these counts."""
    good = encode_sampled(counts, 9)
    records = [good[start : start + 6] for start in range(0, len(good), 6)]
    missing = dict(islice(counts.items(), 1, None))
    unvisited = next(mask for mask in range(1, 512) if mask not in counts)
    return {
        "empty": b"",
        "cut": good[:-1],
        "a record less": encode_sampled(missing, 9),
        "a coalition too many": encode_sampled({**counts, unvisited: 5}, 9),
        "another coalition": encode_sampled({**missing, unvisited: 5}, 9),
        "out of order": b"".join([records[1], records[0], *records[2:]]),
        "repeated": b"".join([records[0], *records]),
        "the empty coalition": b"\0\0\0\0\0\0" + good,
        "an absent client": good + bytes.fromhex("0200 00000001"),
        "a count above n": encode_sampled({**counts, 511: 1_001}, 9),
    }


@pytest.mark.parametrize("kind", edited({1: 1, 3: 1, 511: 1}))
def test_wrong_tables_are_refused(kind: str) -> None:
    """Bytes that are no table, or not the table of just these rankings, are a peer's fault."""
    with pytest.raises(Malformed):
        derive(edited(visited(9, 4))[kind], claim(4), terms(9))


def test_more_or_fewer_rankings_than_the_table_are_refused() -> None:
    """A claim of another t than the table was made for does not pass."""
    data = encode_sampled(visited(9, 4), 9)
    derive(data, claim(4), terms(9))
    for rankings in (3, 5, 1_000):
        with pytest.raises(Malformed):
            derive(data, claim(rankings), terms(9))


def test_another_key_does_not_fit() -> None:
    """A table copied from another miner does not hold the copier's rankings."""
    data = encode_sampled(visited(9, 4), 9)
    with pytest.raises(Malformed):
        derive(data, Claim(SEED, bytes(32), 4, exact=False), terms(9))


@pytest.mark.parametrize("counts", [[1, 2], [1, 2, 3, 4], [1, 2, 1_001]])
def test_wrong_exact_tables_are_refused(counts: list[int]) -> None:
    """An exact table of 2 clients has three counts, each at most n."""
    with pytest.raises(Malformed):
        derive(encode_exact(np.array(counts)), claim(1, exact=True), terms(2))
