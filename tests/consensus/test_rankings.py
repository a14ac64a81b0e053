import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from itertools import islice, permutations
from math import factorial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import shapley, walk

from fedcoin_cli.consensus.rankings import (
    Square,
    _draws,
    deal,
    grid_floor,
    grid_up_to,
    on_grid,
    place_of,
    prefixes,
    ranking,
    square,
    stride,
)

VECTORS = json.loads((Path(__file__).parent / "golden" / "rankings.json").read_text(encoding="ascii"))
SEED = bytes.fromhex(VECTORS["seed"])
KEY = bytes.fromhex(VECTORS["key"])
GRID_START = [*range(1, 21), 22, 24, 26, 28, 30, 33, 36, 39, 42, 46, 50, 55, 60, 66, 72, 79, 86, 94, 103, 113]
BYTES = st.binary(min_size=32, max_size=32)


class Stream:
    """Draws by the protocol's text: two bytes at a time; above the last whole multiple they are passed over."""

    def __init__(self, tag: bytes, *parts: bytes) -> None:
        self.data, self.place = hashlib.shake_256(tag + b"\0" + b"".join(parts)).digest(20_000), 0

    def below(self, bound: int) -> int:
        while True:
            draw, self.place = int.from_bytes(self.data[self.place : self.place + 2], "big"), self.place + 2
            if draw < 65536 - 65536 % bound:
                return draw % bound

    def shuffled(self, labels: list[int]) -> list[int]:
        for last in range(len(labels) - 1, 0, -1):
            chosen = self.below(last + 1)
            labels[last], labels[chosen] = labels[chosen], labels[last]
        return labels


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def slow_square(seed: bytes, key: bytes, block: int, which: int, clients: int) -> list[list[int]]:
    """All rows: the base order with every client moved on along the circle by 0 to K − 1 places."""
    stream = Stream(b"fedcoin/v1/ranking", seed, key, number(block), number(which))
    circle = stream.shuffled(list(range(clients)))
    base = [0, *stream.shuffled(list(range(1, clients)))]
    turned = [circle[shift:] + circle[:shift] for shift in range(clients)]
    return [[labels[place] for place in base] for labels in turned]


def slow_deal(seed: bytes, key: bytes, which: int, clients: int) -> list[int]:
    return Stream(b"fedcoin/v1/deal", seed, key, number(which)).shuffled(list(range(clients)))


def slow_stride(clients: int) -> int:
    """The first number from 618 thousandths of K on whose multiples run through all remainders of K."""
    step = clients * 618 // 1000
    while len({step * row % clients for row in range(clients)}) < clients:
        step += 1
    return step


def slow_ranking(seed: bytes, key: bytes, block: int, index: int, clients: int) -> list[int]:
    """Even rankings are one square's rows, odd ones the next's; who begins is dealt, a block later one place later.

    A row later it is a stride later.
    """
    which = 2 * (index // (2 * clients)) + index % 2
    row = (index - index // (2 * clients) * 2 * clients) // 2
    first = slow_deal(seed, key, which, clients)[(slow_stride(clients) * row + block) % clients]
    (found,) = [one for one in slow_square(seed, key, block, which, clients) if one[0] == first]
    return found


def digest_of(labels: Iterable[int]) -> str:
    return hashlib.sha256(",".join(map(str, labels)).encode()).hexdigest()


def test_the_published_vectors_hold() -> None:
    """Squares, deals, strides, places and rankings are the published ones, also where draws are rejected.

    [P-7.2] [P-7.3] [P-7.5]
    """
    for item in VECTORS["squares"]:
        found = square(SEED, KEY, item["block"], item["square"], item["clients"])
        assert (list(found.circle), list(found.base)) == (item["circle"], item["base"])
    for item in VECTORS["deals"]:
        assert list(deal(SEED, KEY, item["square"], item["clients"])) == item["deal"]
    for item in VECTORS["strides"]:
        assert stride(item["clients"]) == item["stride"]
    for item in VECTORS["places"]:
        assert place_of(item["index"], item["clients"]) == (item["square"], item["row"])
    for item in VECTORS["rankings"]:
        assert list(ranking(SEED, KEY, item["block"], item["index"], item["clients"])) == item["ranking"]
    for item in VECTORS["ranking_digests"]:
        found_ranking = ranking(SEED, KEY, item["block"], item["index"], item["clients"])
        assert digest_of(found_ranking) == item["sha256"]


def test_the_vectors_are_the_protocols() -> None:
    """The published rankings follow from the protocol's text, read a second time [P-7.5]."""
    for item in VECTORS["rankings"]:
        assert slow_ranking(SEED, KEY, item["block"], item["index"], item["clients"]) == item["ranking"]
    for item in VECTORS["ranking_digests"]:
        slow = slow_ranking(SEED, KEY, item["block"], item["index"], item["clients"])
        assert digest_of(slow) == item["sha256"]


@given(
    BYTES, BYTES, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(2, 40) | st.integers(900, 1000)
)
def test_a_ranking_is_what_the_protocol_says(
    seed: bytes, key: bytes, block: int, index: int, clients: int
) -> None:
    """For any seed, key, block, number and K draws, squares, deal and row follow the text literally [P-7.1] [P-7.5]."""
    found = ranking(seed, key, block, index, clients)
    assert list(found) == slow_ranking(seed, key, block, index, clients)
    assert sorted(found) == list(range(clients))


def test_a_square_is_anothers_for_every_part_of_its_name() -> None:
    """Another seed, miner, block or number gives another square of twenty clients; a deal does not know the block.

    [P-7.2]
    """
    other = bytes(32)
    names = [(SEED, KEY, 0, 0), (other, KEY, 0, 0), (SEED, other, 0, 0), (SEED, KEY, 1, 0), (SEED, KEY, 0, 1)]
    assert len({square(*name, 20) for name in names}) == len(names)
    deals = {deal(seed, key, which, 20) for seed, key, _, which in names}
    assert len(deals) == len(names) - 1


@pytest.mark.parametrize("index", [0, 1, 7])
def test_every_order_is_as_likely_as_any_other(index: int) -> None:
    """In 24,000 blocks of four clients each of the 24 orders has its share within five standard errors."""
    counts = Counter(ranking(SEED, KEY, block, index, 4) for block in range(24_000))
    assert len(counts) == 24
    assert all(abs(count - 1000) < 5 * (1000 * 23 / 24) ** 0.5 for count in counts.values())


@pytest.mark.parametrize("clients", [2, 3, 4])
def test_every_partial_square_is_unbiased(clients: int) -> None:
    """Over all circles, bases and beginners every order comes equally often: each single ranking is a fair draw."""
    counts = Counter(
        Square(circle, (0, *base)).beginning_with(first)
        for circle in permutations(range(clients))
        for base in permutations(range(1, clients))
        for first in range(clients)
    )
    assert counts == dict.fromkeys(permutations(range(clients)), factorial(clients))


@given(st.integers(2, 12), st.integers(0, 100), st.integers(0, 50))
def test_two_whole_squares_are_walked_in_turn(clients: int, block: int, pair: int) -> None:
    """2K rankings are all rows of two squares, one for the even numbers and one for the odd, each row once [P-7.4]."""
    first = 2 * clients * pair
    for stream in (0, 1):
        walked = [
            list(ranking(SEED, KEY, block, index, clients))
            for index in range(first + stream, first + 2 * clients, 2)
        ]
        assert sorted(walked) == sorted(slow_square(SEED, KEY, block, 2 * pair + stream, clients))


@pytest.mark.parametrize("clients", [2, 3, 5, 16])
def test_a_square_is_balanced(clients: int) -> None:
    """Each client stands once at each position."""
    rows = [square(SEED, KEY, 3, 2, clients).beginning_with(first) for first in range(clients)]
    positions = Counter((place, client) for row in rows for place, client in enumerate(row))
    assert positions == {(place, client): 1 for place in range(clients) for client in range(clients)}


@given(st.integers(2, 15), st.integers(0, 300), st.integers(0, 300))
def test_over_neighbouring_blocks_every_client_begins_once(clients: int, block: int, index: int) -> None:
    """K blocks in a row, wherever they begin and at whatever ranking: each client begins one of them [P-7.3]."""
    beginners = [ranking(SEED, KEY, block + more, index, clients)[0] for more in range(clients)]
    assert sorted(beginners) == list(range(clients))


@pytest.mark.parametrize(("clients", "blocks"), [(1_000, 125), (300, 25), (100, 25), (50, 13)])
def test_few_blocks_let_many_clients_begin_evenly(clients: int, blocks: int) -> None:
    """With fewer blocks than clients: once all can have begun, nobody leads by more than a quarter of the blocks.

    With one step a row some would lead by all of them; after a whole square all have begun as often [P-7.5].
    """
    begun = Counter(dict.fromkeys(range(clients), 0))
    for row in range(clients):
        begun.update(
            deal(SEED, KEY, 0, clients)[(stride(clients) * row + block) % clients] for block in range(blocks)
        )
        if (row + 1) * blocks >= clients:
            assert max(begun.values()) - min(begun.values()) <= max(3, blocks // 4)
    assert set(begun.values()) == {blocks}


@pytest.mark.parametrize("clients", [4, 5, 8])
def test_one_square_is_exact_where_only_size_and_self_matter(clients: int) -> None:
    """Where a gain depends on the coalition's size and on the client alone, no sampling error is left."""
    game = [
        1000 * mask.bit_count() ** 2 + sum(7**j for j in range(clients) if mask >> j & 1)
        for mask in range(1 << clients)
    ]
    for stream in (0, 1):
        orders = [ranking(SEED, KEY, 9, index, clients) for index in range(stream, 2 * clients, 2)]
        assert tuple(Fraction(value, clients) for value in walk(game, orders)) == shapley(game)


@given(st.integers(1, 40).flatmap(lambda clients: st.permutations(range(clients))))
def test_prefixes_grow_by_one_client_at_a_time(order: list[int]) -> None:
    """There are K masks; each adds exactly the next client's bit; the last is the full coalition."""
    masks = prefixes(order)
    assert [after ^ before for before, after in zip([0, *masks], masks, strict=False)] == [
        1 << j for j in order
    ]
    assert masks[-1] == (1 << len(order)) - 1


def test_the_grid_is_the_protocols() -> None:
    """The grid starts as published, and its greatest values up to the default and the bound are these [P-7.6]."""
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
    """However many are taken, of an odd number of clients as well: big-endian pairs of bytes without a gap [P-7.1]."""
    stream = hashlib.shake_256(b"material").digest(400)
    drawn = list(islice(_draws(b"material", 3), 200))
    assert drawn == [int.from_bytes(stream[place : place + 2], "big") for place in range(0, 400, 2)]
