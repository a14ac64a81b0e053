import hashlib
import json
from collections import Counter
from fractions import Fraction
from itertools import islice, pairwise, permutations
from math import factorial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import shapley, walk

from fedcoin_cli.consensus.rankings import (
    _draws,
    grid_floor,
    grid_up_to,
    on_grid,
    permutation,
    prefixes,
    ranking,
    rows,
    rows_per_square,
)

VECTORS = json.loads((Path(__file__).parent / "golden" / "rankings.json").read_text(encoding="ascii"))
SEED = bytes.fromhex(VECTORS["seed"])
KEY = bytes.fromhex(VECTORS["key"])
GRID_START = [*range(1, 21), 22, 24, 26, 28, 30, 33, 36, 39, 42, 46, 50, 55, 60, 66, 72, 79, 86, 94, 103, 113]


def slow_permutation(seed: bytes, key: bytes, square: int, clients: int) -> tuple[int, ...]:
    stream = hashlib.shake_256(b"fedcoin/v1/ranking\0" + seed + key + square.to_bytes(8, "big")).digest(
        100_000
    )
    labels, place = list(range(clients)), 0
    for last in range(clients - 1, 0, -1):
        while True:
            draw, place = int.from_bytes(stream[place : place + 2], "big"), place + 2
            if draw < 65536 - 65536 % (last + 1):
                break
        chosen = draw % (last + 1)
        labels[last], labels[chosen] = labels[chosen], labels[last]
    return tuple(labels)


def test_the_published_vectors_hold() -> None:
    """Rows, permutations and rankings are the published ones, also where draws are rejected (K = 999)."""
    for clients, square in VECTORS["rows"].items():
        assert [list(row) for row in rows(int(clients))] == square
    for item in VECTORS["permutations"]:
        assert list(permutation(SEED, KEY, item["square"], item["clients"])) == item["permutation"]
    for item in VECTORS["permutation_digests"]:
        text = ",".join(map(str, permutation(SEED, KEY, item["square"], item["clients"])))
        assert hashlib.sha256(text.encode()).hexdigest() == item["sha256"]
    for item in VECTORS["rankings"]:
        assert list(ranking(SEED, KEY, item["index"], item["clients"])) == item["ranking"]


@given(
    st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.integers(0, 2**40), st.data()
)
def test_a_permutation_is_what_the_protocol_says(
    seed: bytes, key: bytes, square: int, data: st.DataObject
) -> None:
    """For any seed, key, square and K the draws, their rejection and the swaps follow the text literally."""
    clients = data.draw(st.integers(1, 60) | st.integers(900, 1000))
    assert permutation(seed, key, square, clients) == slow_permutation(seed, key, square, clients)


def test_a_permutation_depends_on_seed_key_and_square() -> None:
    """Another seed, another miner and another square each get another order of twenty clients."""
    other = bytes(32)
    orders = [(SEED, KEY, 0), (other, KEY, 0), (SEED, other, 0), (SEED, KEY, 1), (KEY, SEED, 0)]
    assert len({permutation(*order, 20) for order in orders}) == len(orders)


def test_every_permutation_is_as_likely_as_any_other() -> None:
    """In 24,000 squares of four clients each of the 24 orders has its share within five standard errors."""
    counts = Counter(permutation(SEED, KEY, square, 4) for square in range(24_000))
    assert len(counts) == 24
    assert all(abs(count - 1000) < 5 * (1000 * 23 / 24) ** 0.5 for count in counts.values())


@pytest.mark.parametrize("clients", range(2, 26))
def test_a_square_is_balanced(clients: int) -> None:
    """Each client stands equally often at each position, and each ordered pair is met equally often."""
    square = rows(clients)
    positions = Counter((place, client) for row in square for place, client in enumerate(row))
    pairs = Counter(pair for row in square for pair in pairwise(row))
    mirrored = 1 + clients % 2
    assert len(square) == rows_per_square(clients) == mirrored * clients
    assert positions == {(place, client): mirrored for place in range(clients) for client in range(clients)}
    assert pairs == dict.fromkeys(permutations(range(clients), 2), mirrored)


@pytest.mark.parametrize("clients", [3, 5, 7, 11])
def test_the_mirror_of_an_odd_square_is_free_with_a_memo(clients: int) -> None:
    """The reversed rows visit the same K(K−1) proper coalitions as the rows, so no new one is evaluated."""
    square = rows(clients)
    there = {mask for row in square[:clients] for mask in prefixes(row)}
    back = {mask for row in square[clients:] for mask in prefixes(row)}
    assert there == back
    assert len(there) == clients * (clients - 1) + 1


@given(st.integers(2, 12), st.integers(0, 1000))
def test_a_whole_square_of_rankings_is_the_relabelled_square(clients: int, square: int) -> None:
    """The K′ rankings from s·K′ on are the rows of square s under its one permutation, in order."""
    per_square = rows_per_square(clients)
    labels = permutation(SEED, KEY, square, clients)
    walked = [ranking(SEED, KEY, square * per_square + row, clients) for row in range(per_square)]
    assert walked == [tuple(labels[position] for position in row) for row in rows(clients)]


@pytest.mark.parametrize("clients", [2, 3, 4])
def test_every_partial_square_is_unbiased(clients: int) -> None:
    """Averaged over all relabellings, the first t rows of a square give the exact value, for every t ≤ K′."""
    game = [0] + [mask * mask % 37 for mask in range(1, 1 << clients)]
    for rankings in range(1, rows_per_square(clients) + 1):
        orders = [
            [labels[position] for position in row]
            for labels in permutations(range(clients))
            for row in rows(clients)[:rankings]
        ]
        expected = [value * factorial(clients) * rankings for value in shapley(game)]
        assert list(walk(game, orders)) == expected


@pytest.mark.parametrize("clients", [4, 5, 8])
def test_one_square_is_exact_where_only_size_and_self_matter(clients: int) -> None:
    """Where a gain depends on the coalition's size and on the client alone, no sampling error is left."""
    game = [
        1000 * mask.bit_count() ** 2 + sum(7**j for j in range(clients) if mask >> j & 1)
        for mask in range(1 << clients)
    ]
    per_square = rows_per_square(clients)
    sums = walk(game, [ranking(SEED, KEY, index, clients) for index in range(per_square)])
    assert tuple(Fraction(value, per_square) for value in sums) == shapley(game)


@given(st.integers(1, 40).flatmap(lambda clients: st.permutations(range(clients))))
def test_prefixes_grow_by_one_client_at_a_time(order: list[int]) -> None:
    """There are K masks; each adds exactly the next client's bit; the last is the full coalition."""
    masks = prefixes(order)
    assert [after ^ before for before, after in zip([0, *masks], masks, strict=False)] == [
        1 << j for j in order
    ]
    assert masks[-1] == (1 << len(order)) - 1


def test_the_grid_is_the_protocols() -> None:
    """The grid starts as published, and its greatest values up to the default and the bound are these."""
    assert list(islice((value for value in range(1, 200) if on_grid(value)), len(GRID_START))) == GRID_START
    assert (grid_up_to(10_000), grid_up_to(1_000_000)) == (9535, 924_563)
    assert not on_grid(0)
    assert not on_grid(-1)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**6))
def test_grid_floor_is_the_greatest_admissible_value(value: int, one: int, other: int) -> None:
    """No other value of the grid lies between the answer and what was walked, and the ends are kept."""
    least, most = sorted((grid_up_to(one), grid_up_to(other)))
    value = max(value, least)
    answer = grid_floor(value, least, most)
    assert least <= answer <= min(value, most)
    assert on_grid(answer)
    following = max(answer + 1, 11 * answer // 10)
    assert on_grid(following)
    assert following > min(value, most)


@pytest.mark.parametrize(("value", "least", "most"), [(50, 21, 100), (50, 1, 101), (50, 60, 55), (9, 10, 20)])
def test_grid_floor_refuses_ends_off_the_grid_and_too_few_rankings(value: int, least: int, most: int) -> None:
    """An end off the grid, ends in the wrong order, and fewer than the least are the caller's faults."""
    with pytest.raises(ValueError, match=r"least"):
        grid_floor(value, least, most)


def test_the_grid_has_nothing_below_one() -> None:
    """A limit below 1 is refused: no estimate walks zero rankings."""
    with pytest.raises(ValueError, match=r"starts at 1"):
        grid_up_to(0)


def test_draws_are_the_stream_two_bytes_at_a_time() -> None:
    """However many are taken, of an odd number of clients as well: big-endian pairs of bytes without a gap."""
    stream = hashlib.shake_256(b"material").digest(400)
    drawn = list(islice(_draws(b"material", 3), 200))
    assert drawn == [int.from_bytes(stream[place : place + 2], "big") for place in range(0, 400, 2)]
