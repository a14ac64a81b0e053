"""Many derived rankings at once, as arrays: orders, the coalitions they visit, and sums of marginals.

`consensus.rankings` says which rankings a key has in a block; this module only lays many of them out in NumPy.
"""

from collections.abc import Iterable
from hashlib import shake_256
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.consensus import rankings
from fedcoin_cli.learning.coalitions.exact import sums_at, whole_sums

Orders = npt.NDArray[np.uint16]
Counts = npt.NDArray[np.int64]

_UINT16_VALUES: Final = 65_536
_SPARE_DRAWS: Final = 64


def orders(seed: bytes, miner_key: bytes, blocks: range, walked: range, clients: int) -> Orders:
    """The rankings `walked` of a key in each of `blocks`, (blocks, rankings, K): clients in the order of joining."""
    indices = np.tile(np.array(walked, np.int64), (len(blocks), 1))
    return orders_at(seed, miner_key, np.array(blocks, np.int64), indices, clients)


def orders_at(seed: bytes, miner_key: bytes, blocks: Counts, indices: Counts, clients: int) -> Orders:
    """The same where each block has rankings of its own, whose numbers `indices` (blocks, rankings) gives."""
    pairs, within = np.divmod(indices, 2 * clients)  # as `rankings.place_of`
    numbers, rows = 2 * pairs + within % 2, within // 2
    # Each square once, whatever number of its rankings is wanted.
    wanted = np.stack([numbers, np.broadcast_to(blocks[:, None], numbers.shape)], axis=-1).reshape(-1, 2)
    squares, place = np.unique(wanted, axis=0, return_inverse=True)
    circles, bases = _squares(seed, miner_key, squares, clients)
    dealt, number = np.unique(squares[:, 0], return_inverse=True)
    deals = np.array([rankings.deal(seed, miner_key, each, clients) for each in dealt.tolist()])
    beginners = deals[number[place], (rows.ravel() * rankings.stride(clients) + wanted[:, 1]) % clients]
    at = np.empty_like(circles)
    np.put_along_axis(at, circles, np.arange(clients)[None, :], axis=1)
    steps = (bases[place] + at[place, beginners][:, None]) % clients
    found = np.take_along_axis(circles[place], steps, axis=1)
    return found.astype(np.uint16).reshape(*indices.shape, clients)


def members(walked: Orders) -> npt.NDArray[np.uint8]:
    """Who is in each proper coalition on the way of rankings (…, K): zeros and ones, (…, K − 1, K)."""
    joined = np.empty(walked.shape, np.int64)
    np.put_along_axis(joined, walked.astype(np.int64), np.arange(walked.shape[-1]), axis=-1)
    steps = np.arange(walked.shape[-1] - 1)[:, None]
    return (joined[..., None, :] <= steps).astype(np.uint8)


def _squares(seed: bytes, miner_key: bytes, squares: Counts, clients: int) -> tuple[Counts, Counts]:
    """Circles and bases, (squares, K) each: `rankings.square` of each number and block."""
    head, width = rankings.TAG + seed + miner_key, 2 * (2 * clients + _SPARE_DRAWS)
    # A block and a number, 8 bytes each, big-endian.
    tails = squares[:, ::-1].astype(">u8").tobytes()
    raw = b"".join(
        shake_256(head + tails[start : start + 16]).digest(width) for start in range(0, len(tails), 16)
    )
    draws = np.frombuffer(raw, ">u2").reshape(-1, width // 2).astype(np.int64)
    places = np.zeros(len(draws), np.int64)
    circles = _shuffle(np.tile(np.arange(clients), (len(draws), 1)), draws, places)
    bases = np.zeros_like(circles)
    bases[:, 1:] = _shuffle(np.tile(np.arange(1, clients), (len(draws), 1)), draws, places)
    # Where so many draws were rejected that they did not suffice.
    for row in np.flatnonzero(places > draws.shape[1]).tolist():
        number, block = squares[row].tolist()
        square = rankings.square(seed, miner_key, block, number, clients)
        circles[row], bases[row] = square.circle, square.base
    return circles, bases


def _shuffle(
    labels: npt.NDArray[np.int64], draws: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Fisher-Yates of each row by its own draws; `places` is how many of them are used, and grows."""
    everyone = np.arange(len(labels))
    for last in range(labels.shape[1] - 1, 0, -1):
        bound = last + 1
        accepted = _UINT16_VALUES - _UINT16_VALUES % bound
        drawn = _next(draws, places)
        while (rejected := drawn >= accepted).any():
            drawn[rejected] = _next(draws[rejected], places, rejected)
        chosen = drawn % bound
        labels[everyone, chosen], labels[:, last] = labels[:, last].copy(), labels[everyone, chosen]
    return labels


def _next(draws: npt.NDArray[np.int64], places: npt.NDArray[np.int64], rows: Any = slice(None)) -> Any:
    """The next draw of these rows; zeros once a row has none left, which the caller sees by its place."""
    at = places[rows].copy()
    places[rows] = at + 1
    return np.where(at < draws.shape[1], draws[np.arange(len(draws)), np.minimum(at, draws.shape[1] - 1)], 0)


def marginal_sums(walked: Orders, values: npt.NDArray[Any], ends: tuple[Counts, Counts]) -> list[int]:
    """Σ over blocks and rankings of each client's marginal, (K,).

    `walked` (blocks, rankings, K); `values` (blocks, rankings, K − 1), the counts of the proper coalitions visited;
    `ends` are u(∅) and u(full) of each block.
    """
    return whole_sums(walked.ravel().astype(np.int64), _marginals(values, ends).ravel(), walked.shape[2])


def marginals_of(walked: Orders, values: npt.NDArray[Any], ends: tuple[Counts, Counts]) -> Counts:
    """Each client's marginals summed over the rankings given, (blocks, K)."""
    blocks, _, clients = walked.shape
    places = walked.astype(np.int64) + clients * np.arange(blocks)[:, None, None]
    sums = sums_at(places.ravel(), _marginals(values, ends).ravel(), blocks * clients)
    return sums.reshape(blocks, clients)


def beginnings_of(
    walked: Orders, values: npt.NDArray[Any], ends: tuple[Counts, Counts]
) -> tuple[Counts, Counts]:
    """How many of the rankings given each client begins, (blocks, K), and its marginals in those summed, (K,)."""
    blocks, _, clients = walked.shape
    first, places = walked[:, :, 0].astype(np.int64), clients * np.arange(blocks)[:, None]
    begun = np.bincount((first + places).ravel(), minlength=blocks * clients).reshape(blocks, clients)
    gains = _marginals(values[:, :, :1], ends)[:, :, 0]  # of one client alone it is the full coalition's
    return begun.astype(np.int64), sums_at(first.ravel(), gains.ravel(), clients)


def _marginals(values: npt.NDArray[Any], ends: tuple[Counts, Counts]) -> Counts:
    empty, full = (np.broadcast_to(end[:, None, None], (*values.shape[:2], 1)) for end in ends)
    return np.diff(np.concatenate([empty, values.astype(np.int64), full], axis=2), axis=2)


def prefix_masks(order: Iterable[int]) -> list[int]:
    """The masks of the proper coalitions that a ranking visits, in its order."""
    return rankings.prefixes(tuple(int(client) for client in order))[:-1]
