"""Many derived rankings at once, as arrays: orders, the coalitions they visit, and sums of marginals.

`consensus.rankings` says which rankings a key has; this module only lays whole squares of them out in NumPy. A
coalition's *key* is its mask in a sortable NumPy form: uint64 up to 64 clients, big-endian byte strings above.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcoin_cli.consensus.rankings import permutation, rows, rows_per_square

Orders = npt.NDArray[np.intp]
Keys = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]


def orders(seed: bytes, key: bytes, first: int, count: int, clients: int) -> Orders:
    """Rankings `first` … `first + count − 1` of a key, (count, K): the clients in the order in which they join."""
    square_rows = np.array(rows(clients), np.intp)
    per_square = rows_per_square(clients)
    squares = range(first // per_square, -(-(first + count) // per_square))
    walked = [np.array(permutation(seed, key, square, clients), np.intp)[square_rows] for square in squares]
    start = first - per_square * squares.start
    return np.concatenate([np.empty((0, clients), np.intp), *walked])[start : start + count]


def prefix_keys(walked: Orders) -> Keys:
    """The keys of the coalitions that these rankings visit, (count, K)."""
    count, clients = walked.shape
    width = mask_bytes(clients)
    members = np.zeros((count, clients, width), np.uint8)
    places = np.indices((count, clients))
    members[places[0], places[1], width - 1 - walked // 8] = (1 << (walked % 8)).astype(np.uint8)
    return bytes_to_keys(np.bitwise_or.accumulate(members, axis=1))


def mask_bytes(clients: int) -> int:
    """The width of a mask in a table: ⌈K/8⌉ bytes, big-endian."""
    return (clients + 7) // 8


def bytes_to_keys(raw: npt.NDArray[np.uint8]) -> Keys:
    """Big-endian masks (…, width) as keys (…)."""
    width = raw.shape[-1]
    if width > 8:
        return np.ascontiguousarray(raw).view(f"S{width}")[..., 0]
    padded = np.zeros((*raw.shape[:-1], 8), np.uint8)
    padded[..., 8 - width :] = raw
    return padded.view(">u8")[..., 0].astype(np.uint64)


def keys_to_bytes(keys: Keys, clients: int) -> npt.NDArray[np.uint8]:
    """Keys (m,) as big-endian masks (m, ⌈K/8⌉)."""
    width = mask_bytes(clients)
    if width > 8:
        return np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), width)
    return keys.astype(">u8").view(np.uint8).reshape(len(keys), 8)[:, 8 - width :]


def masks_to_keys(masks: Sequence[int], clients: int) -> Keys:
    """Python masks as keys (m,)."""
    width = mask_bytes(clients)
    raw = b"".join(mask.to_bytes(width, "big") for mask in masks)
    return bytes_to_keys(np.frombuffer(raw, np.uint8).reshape(len(masks), width))


def keys_to_masks(keys: Keys, clients: int) -> list[int]:
    """Keys (m,) as Python masks."""
    return [int.from_bytes(row, "big") for row in keys_to_bytes(keys, clients).tolist()]


def marginal_sums(walked: Orders, values: Counts, empty: int) -> list[int]:
    """Σ over the rankings of each client's marginal, (K,), from the values (count, K) of the visited coalitions."""
    before = np.concatenate([np.full((len(values), 1), empty, np.int64), values[:, :-1]], axis=1)
    # Integers below 2⁵³ add exactly in float64, in any order: |sum| ≤ 10⁶ rankings · 10⁶ images.
    sums = np.bincount(walked.ravel(), (values - before).ravel(), minlength=walked.shape[1])
    return [int(total) for total in sums]
