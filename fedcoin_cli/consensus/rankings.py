"""Derived rankings: which orders of the clients a miner walks, and the grid of how many it may claim.

Rankings come in balanced squares (Williams designs), each relabelled by a permutation that follows from the
task's seed, the miner's key and the square's number: nothing about them is a miner's choice. A permutation is
drawn by Fisher-Yates from SHAKE-256, so any language reproduces it; the test vectors are in
`tests/consensus/golden/rankings.json`. What a ranking is worth (utilities, sums) does not live here.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import shake_256
from itertools import accumulate
from operator import or_

TAG = b"fedcoin/v1/ranking\0"

_UINT16_VALUES = 65_536


@lru_cache(maxsize=8)
def rows(clients: int) -> tuple[tuple[int, ...], ...]:
    """The K′ rows of the Williams square on labels 0..K−1: K′ = K for even K, 2K (with mirror) for odd K.

    Over all rows every label stands equally often at every position, and every ordered pair of different
    labels is met equally often as neighbours.
    """
    zigzag = _zigzag(clients)
    square = tuple(tuple((label + shift) % clients for label in zigzag) for shift in range(clients))
    if clients % 2 == 0:
        return square
    return square + tuple(row[::-1] for row in square)


def rows_per_square(clients: int) -> int:
    """K′: how many rankings one whole square has, without building it."""
    return clients if clients % 2 == 0 else 2 * clients


@lru_cache(maxsize=64)
def permutation(seed: bytes, key: bytes, square: int, clients: int) -> tuple[int, ...]:
    """The relabelling of one square: `seed` and `key` are 32 raw bytes each, `clients` is at most 65,536."""
    draws = _draws(TAG + seed + key + square.to_bytes(8, "big"), clients)
    labels = list(range(clients))
    for last in range(clients - 1, 0, -1):
        chosen = _below(last + 1, draws)
        labels[last], labels[chosen] = labels[chosen], labels[last]
    return tuple(labels)


def ranking(seed: bytes, key: bytes, index: int, clients: int) -> tuple[int, ...]:
    """Ranking number `index` (from 0) of a key: the clients 0..K−1 in the order in which they join."""
    square, row = divmod(index, rows_per_square(clients))
    labels = permutation(seed, key, square, clients)
    return tuple(labels[position] for position in rows(clients)[row])


def prefixes(order: Sequence[int]) -> list[int]:
    """The K coalition masks (client j is bit j) on the way from the first client to the full coalition."""
    return list(accumulate((1 << client for client in order), or_))


def grid_up_to(limit: int) -> int:
    """The greatest number of rankings on the grid that is ≤ `limit`; raises ValueError below 1."""
    if limit < 1:
        raise ValueError("the grid of rankings starts at 1")
    value = 1
    while (following := _next_on_grid(value)) <= limit:
        value = following
    return value


def on_grid(value: int) -> bool:
    """Whether `value` is a number of rankings that the grid holds."""
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


def _next_on_grid(value: int) -> int:
    return max(value + 1, 11 * value // 10)


def _zigzag(clients: int) -> tuple[int, ...]:
    """0, 1, K−1, 2, K−2, …: neighbouring differences are all different modulo an even K."""
    return tuple(
        (place + 1) // 2 if place % 2 else (clients - place // 2) % clients for place in range(clients)
    )


def _below(bound: int, draws: Iterator[int]) -> int:
    """A number in 0..bound−1 without bias: a draw above the last whole multiple of `bound` is passed over."""
    accepted = _UINT16_VALUES - _UINT16_VALUES % bound
    return next(draw for draw in draws if draw < accepted) % bound


def _draws(material: bytes, clients: int) -> Iterator[int]:
    """Big-endian uint16 of SHAKE-256(material), without end: a longer digest only continues a shorter one."""
    stream = shake_256(material)
    start, end = 0, 2 * clients
    while True:
        chunk = stream.digest(end)[start:]
        yield from (high << 8 | low for high, low in zip(chunk[::2], chunk[1::2], strict=True))
        start, end = end, 2 * end
