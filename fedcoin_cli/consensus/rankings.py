"""Derived rankings: which permutations of the clients a miner walks in each block of images, and the grid of how many.

Every block of images walks rankings of its own, so that the blocks' errors are independent and cancel. Rankings come
in squares of K: a block's square is a random base order whose clients are all shifted along a random circle by
0..K−1, so that in a whole square every client stands once at every position. Two squares are walked in turn, row by
row: what the two say of a client is independent, so their difference tells the error from the second ranking on.
Which client begins a block's ranking follows a deal that all blocks of a key share: over K neighbouring blocks, too,
every client begins once, and where there are fewer blocks than clients each row goes on well away from those before it;
so the first client's large marginal is balanced long before a square is whole. Nothing about a ranking is a miner's
choice.

All draws are Fisher-Yates from SHAKE-256, so any language reproduces them; the test vectors are in
`tests/consensus/golden/rankings.json`. What a ranking is worth (utilities, sums) does not live here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import shake_256
from itertools import accumulate, count
from math import gcd
from operator import or_

TAG = b"fedcoin/v1/ranking\0"
DEAL_TAG = b"fedcoin/v1/deal\0"

_UINT16_VALUES = 65_536


@dataclass(frozen=True, slots=True)
class Square:
    """The K rankings of one block: `circle` and `base` are permutations of 0..K−1, `base` begins with 0."""

    circle: tuple[int, ...]
    base: tuple[int, ...]

    def beginning_with(self, client: int) -> tuple[int, ...]:
        """The one ranking of the square that `client` begins: the clients in the order in which they join [P-7.5]."""
        shift, clients = self.circle.index(client), len(self.circle)
        return tuple(self.circle[(step + shift) % clients] for step in self.base)


@lru_cache(maxsize=64)
def square(seed: bytes, miner_key: bytes, block: int, number: int, clients: int) -> Square:
    """Square `number` of a block: `seed` and `miner_key` are 32 raw bytes each, `clients` is at most 65,536 [P-7.2]."""
    draws = _draws(TAG + seed + miner_key + block.to_bytes(8, "big") + number.to_bytes(8, "big"), 2 * clients)
    circle = _shuffled(range(clients), draws)
    return Square(circle, (0, *_shuffled(range(1, clients), draws)))


@lru_cache(maxsize=64)
def deal(seed: bytes, miner_key: bytes, number: int, clients: int) -> tuple[int, ...]:
    """In which order the clients begin rankings in the blocks' squares `number` (docs/adr/0033) [P-7.3]."""
    return _shuffled(range(clients), _draws(DEAL_TAG + seed + miner_key + number.to_bytes(8, "big"), clients))


@lru_cache(maxsize=64)
def stride(clients: int) -> int:
    """How far a deal moves on from row to row: near the golden ratio of K, so that no few rows repeat clients.

    It shares no divisor with K, so that over the K rows of a square every client begins once (docs/adr/0051) [P-7.5].
    """
    return next(step for step in count(618 * clients // 1000) if gcd(step, clients) == 1)


def place_of(index: int, clients: int) -> tuple[int, int]:
    """Square and row of ranking number `index`: rankings 0, 2, 4, … are square 0's rows, 1, 3, 5, … square 1's.

    [P-7.4]
    """
    pair, within = divmod(index, 2 * clients)
    return 2 * pair + within % 2, within // 2


def ranking(seed: bytes, miner_key: bytes, block: int, index: int, clients: int) -> tuple[int, ...]:
    """Ranking number `index` (from 0) of a key in a block: the clients 0..K−1 in the order in which they join.

    [P-7.5]
    """
    number, row = place_of(index, clients)
    first = deal(seed, miner_key, number, clients)[(row * stride(clients) + block) % clients]
    return square(seed, miner_key, block, number, clients).beginning_with(first)


def prefixes(order: Sequence[int]) -> list[int]:
    """The K coalition masks (client j is bit j) on the way from the first client to the full coalition."""
    return list(accumulate((1 << client for client in order), or_))


def table_entries(clients: int, blocks: int, rankings: int | None) -> int:
    """How many counts a table of t rankings in each block holds, and one of all coalitions (None).

    Of each block those of nobody and of all clients, and of each ranking's K − 1 coalitions on the way between.
    """
    if rankings is None:
        return (1 << clients) - 1
    return blocks * (2 + rankings * (clients - 1))


def grid_up_to(limit: int) -> int:
    """The greatest number of rankings on the grid that is ≤ `limit`; raises ValueError below 1."""
    if limit < 1:
        raise ValueError("the grid of rankings starts at 1")
    value = 1
    while (following := _next_on_grid(value)) <= limit:
        value = following
    return value


def on_grid(value: int) -> bool:
    """Whether `value` is a number of rankings that the grid holds [P-7.6]."""
    return value >= 1 and grid_up_to(value) == value


def grid_floor(value: int, least: int, most: int) -> int:
    """The greatest admissible number of rankings ≤ `value`: on the grid, between `least` and `most`.

    Raises ValueError when an end is off the grid or `value` is below `least`, which is always walked.
    """
    if not (on_grid(least) and on_grid(most) and least <= most):
        raise ValueError(f"least {least} and most {most} must be an interval of the grid")
    if value < least:
        raise ValueError(f"{value} rankings are fewer than the least, {least}")
    return grid_up_to(min(value, most))


# Rule [P-7.6].
def _next_on_grid(value: int) -> int:
    return max(value + 1, 11 * value // 10)


def _shuffled(items: Sequence[int], draws: Iterator[int]) -> tuple[int, ...]:
    """Fisher-Yates from the last place down [P-7.1]."""
    labels = list(items)
    for last in range(len(labels) - 1, 0, -1):
        chosen = _below(last + 1, draws)
        labels[last], labels[chosen] = labels[chosen], labels[last]
    return tuple(labels)


def _below(bound: int, draws: Iterator[int]) -> int:
    """A number in 0..bound−1 without bias: a draw above the last whole multiple of `bound` is passed over [P-7.1]."""
    accepted = _UINT16_VALUES - _UINT16_VALUES % bound
    return next(draw for draw in draws if draw < accepted) % bound


def _draws(material: bytes, expected: int) -> Iterator[int]:
    """Big-endian uint16 of SHAKE-256(material), without end: a longer digest only continues a shorter one [P-7.1]."""
    stream = shake_256(material)
    start, end = 0, 2 * expected
    while True:
        chunk = stream.digest(end)[start:]
        yield from (high << 8 | low for high, low in zip(chunk[::2], chunk[1::2], strict=True))
        start, end = end, 2 * end
