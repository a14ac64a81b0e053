"""Tables: every count behind an estimate, as the bytes that travel and are hashed.

A sampled table holds one record a coalition that its t rankings visit, masks ascending: ⌈K/8⌉ bytes of mask and 4
bytes of count, big-endian. An exact table is the counts of the masks 1..2^K−1 alone. ∅ is in neither. Whether a
count is right is the reference's business; what follows from a table is derived here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.mining.exact import exact_numerators
from fedcoin_cli.learning.mining.proxy import ProxyCounts
from fedcoin_cli.learning.mining.walks import (
    Counts,
    Keys,
    bytes_to_keys,
    keys_to_bytes,
    keys_to_masks,
    marginal_sums,
    mask_bytes,
    masks_to_keys,
    orders,
    prefix_keys,
)
from ledger_store.errors import Malformed

COUNT_BYTES: Final = 4

_RANKINGS_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class TableTerms:
    """What a table is read against: K, n, u(∅), and the proxy's counts where the task has a proxy."""

    clients: int
    images: int
    empty: int
    proxy: ProxyCounts | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What identifies an estimate: its rankings follow from the task's seed, the miner's key and t."""

    seed: bytes
    key: bytes
    rankings: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Derived:
    """What a table says: N_j over t rankings and, for an exact one, E_j = Λ·φ_j(u)."""

    sums: tuple[int, ...]
    values: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Table:
    """Decoded counts; `keys` ascend (None: the masks 1, 2, …, 2^K−1 of an exact table)."""

    clients: int
    counts: Counts
    keys: Keys | None

    def masks(self) -> list[int]:
        """All masks, ascending."""
        if self.keys is None:
            return list(range(1, len(self.counts) + 1))
        return keys_to_masks(self.keys, self.clients)

    def positions(self, wanted: Keys) -> npt.NDArray[np.intp]:
        """Where these coalitions stand in the table.

        Raises:
            Malformed: one of them is missing.
        """
        if self.keys is None:
            return wanted.astype(np.intp) - 1
        found = np.searchsorted(self.keys, wanted)
        if len(self.keys) == 0 or not np.array_equal(
            self.keys[np.minimum(found, len(self.keys) - 1)], wanted
        ):
            raise Malformed("the table lacks a coalition that its rankings visit")
        return found


def encode_sampled(counts: Mapping[int, int], clients: int) -> bytes:
    """The table of these masks, in ascending order whatever the order of the mapping."""
    masks = sorted(counts)
    records = np.empty((len(masks), mask_bytes(clients) + COUNT_BYTES), np.uint8)
    records[:, :-COUNT_BYTES] = keys_to_bytes(masks_to_keys(masks, clients), clients)
    values = np.array([counts[mask] for mask in masks], ">u4")
    records[:, -COUNT_BYTES:] = values.view(np.uint8).reshape(-1, COUNT_BYTES)
    return records.tobytes()


def encode_visited(keys: list[Keys], counts: npt.NDArray[np.int32], clients: int) -> bytes:
    """The table of coalitions as rankings visit them, the same ones again and again; `keys` is emptied on the way."""
    every = np.concatenate([masks_to_keys([], clients), *keys])
    keys.clear()
    order = np.argsort(every, kind="stable")
    every = every[order]
    first = np.ones(len(every), bool)
    first[1:] = every[1:] != every[:-1]
    every, order = every[first], order[first]
    records = np.empty((len(every), mask_bytes(clients) + COUNT_BYTES), np.uint8)
    records[:, :-COUNT_BYTES] = keys_to_bytes(every, clients)
    records[:, -COUNT_BYTES:] = counts[order].astype(">u4").view(np.uint8).reshape(-1, COUNT_BYTES)
    return records.tobytes()


def encode_exact(counts: Counts) -> bytes:
    """The table of all masks from their counts (2^K − 1,), mask 1 first."""
    return counts.astype(">u4").tobytes()


def decode(data: bytes, terms: TableTerms, *, exact: bool) -> Table:
    """Read a table strictly.

    Raises:
        Malformed: a wrong length, masks out of order, repeated, empty or of absent clients, a count above n.
    """
    table = _decode_exact(data, terms) if exact else _decode_sampled(data, terms)
    if table.counts.max(initial=0) > terms.images:
        raise Malformed("the table claims more correct images than the test set has")
    return table


def derive(data: bytes, claim: Claim, terms: TableTerms) -> Derived:
    """The sums that follow from a table; a sampled table must hold exactly what its rankings visit.

    Raises:
        Malformed: not a table, or one that lacks a visited coalition or holds another.
    """
    table = decode(data, terms, exact=claim.exact)
    visited = np.zeros(len(table.counts), bool)
    sums = [0] * terms.clients
    for first in range(0, claim.rankings, _RANKINGS_AT_ONCE):
        count = min(_RANKINGS_AT_ONCE, claim.rankings - first)
        walked = orders(claim.seed, claim.key, first, count, terms.clients)
        positions = table.positions(prefix_keys(walked))
        visited[positions] = True
        part = difference_sums(table.counts[positions], walked, terms)
        sums = [total + more for total, more in zip(sums, part, strict=True)]
    if not claim.exact and not visited.all():
        raise Malformed("the table holds a coalition that its rankings do not visit")
    values = exact_numerators(table.counts, terms.empty, terms.clients) if claim.exact else None
    return Derived(tuple(sums), None if values is None else tuple(values))


def difference_sums(counts: Counts, walked: npt.NDArray[np.intp], terms: TableTerms) -> list[int]:
    """Σ of the marginals of u − p over these rankings, (K,), from u's counts (rankings, K) on the visited masks."""
    if terms.proxy is None:
        return marginal_sums(walked, counts, terms.empty)
    # p(∅) = u(∅), so the difference starts at 0.
    return marginal_sums(walked, counts - terms.proxy.walk(walked), 0)


def _decode_exact(data: bytes, terms: TableTerms) -> Table:
    if len(data) != COUNT_BYTES * ((1 << terms.clients) - 1):
        raise Malformed("an exact table has one count for each of the 2^K − 1 coalitions")
    return Table(terms.clients, np.frombuffer(data, ">u4").astype(np.int64), None)


def _decode_sampled(data: bytes, terms: TableTerms) -> Table:
    width = mask_bytes(terms.clients) + COUNT_BYTES
    if len(data) % width:
        raise Malformed("a table is a whole number of records")
    records = np.frombuffer(data, np.uint8).reshape(-1, width)
    keys = bytes_to_keys(records[:, :-COUNT_BYTES])
    if np.any(keys[1:] <= keys[:-1]):
        raise Malformed("the table's masks do not ascend")
    # Ascending: the first record tells whether ∅ is there, the last whether a client beyond the K-th is.
    ends = keys_to_masks(keys[[0, -1]], terms.clients) if len(keys) else [1]
    if min(ends) < 1 or max(ends) >> terms.clients:
        raise Malformed("the table names the empty coalition or a client that the task does not have")
    counts = np.ascontiguousarray(records[:, -COUNT_BYTES:]).view(">u4")[:, 0].astype(np.int64)
    return Table(terms.clients, counts, keys)
