"""The proxy p: an ensemble vote of the clients' own models, in integers and therefore identical everywhere.

p(S) counts the images on which argmax Σ_{i∈S} w_i·logits_i is right (ties: lowest class). It follows u closely, so
miners sample the small difference u − p, and φ(p) is added exactly (or from public squares). Nothing here is a
float once the proxy file is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.consensus.rankings import rows_per_square
from fedcoin_cli.learning.mining.compiled import library
from fedcoin_cli.learning.mining.exact import common_denominator, exact_numerators
from fedcoin_cli.learning.mining.forward import own_logits
from fedcoin_cli.learning.mining.game import Game, member_bits
from fedcoin_cli.learning.mining.precision import Floats, square_means
from fedcoin_cli.learning.mining.votes import Votes
from fedcoin_cli.learning.mining.walks import (
    Counts,
    Orders,
    marginal_sums,
    masks_to_keys,
    orders,
    prefix_keys,
)
from fedcoin_cli.learning.weights import MAX_LOGIT

MAX_TABLE_CLIENTS: Final = 16
"""Up to here p is tabulated for all coalitions and φ(p) is exact."""
PUBLIC_KEY: Final = bytes(32)
PUBLIC_COALITIONS: Final = 50_000
LEAST_SQUARES: Final = 4

_CHUNK_IMAGES: Final = 128
_ROWS_AT_ONCE: Final = 64


def make_proxy(game: Game) -> npt.NDArray[np.int32]:
    """Integer logits (K, n, classes) of each client's own model, |logit| ≤ 2²⁰.

    Each client's have the same standard deviation: one that is sure of little it has learnt would else outvote all
    others, as it does not in an average of weights (on `types` the rest to be sampled is a third smaller so).
    """
    logits = np.stack([own_logits(game, client) for client in range(game.clients)])
    logits /= np.maximum(logits.std(axis=(1, 2), keepdims=True), np.finfo(np.float64).tiny)
    largest = float(np.abs(logits).max()) or 1.0
    return np.rint(logits * (MAX_LOGIT / largest)).astype(np.int32)


class ProxyCounts:
    """p of any coalition.

    Args:
        logits: (K, n, classes) integers, |logit| ≤ 2²⁰.
        labels: (n,) true classes.
        weights: the clients' integer weights in an aggregate.
        threads: cores for the C kernel, where it is to be used; without it, or where sums need 64 bits, NumPy counts.
    """

    def __init__(
        self,
        logits: npt.NDArray[np.int32],
        labels: npt.NDArray[np.int32],
        weights: Sequence[int],
        threads: int | None = None,
    ) -> None:
        self.clients = len(logits)
        self.images = len(labels)
        # A common divisor changes no vote, and equal weights often leave sums that fit into 32 bits.
        weights = [weight // gcd(*weights) for weight in weights]
        bound = 2 * MAX_LOGIT * sum(weights) + 1
        self._dtype: Any = np.int32 if bound < 1 << 31 else np.int64
        self._offsets, self._leads = _leads(logits, labels, weights, self._dtype)
        compiled = threads is not None and self._dtype is np.int32 and library() is not None
        self._votes = Votes(self._offsets, self._leads, threads or 1) if compiled else None

    @classmethod
    def of(cls, game: Game, threads: int | None = None) -> "ProxyCounts | None":
        """The game's proxy, or None where it has none."""
        return None if game.logits is None else cls(game.logits, game.test.labels, game.weights, threads)

    def counts(self, masks: Sequence[int]) -> Counts:
        """p(mask) in images for each non-empty mask."""
        if self.clients <= MAX_TABLE_CLIENTS:
            return self.table[np.array(masks, np.int64)]
        if self._votes is not None:
            return self._votes.counts(masks_to_keys(masks, self.clients))
        bits = member_bits(masks, self.clients).astype(self._dtype)
        counts = np.zeros(len(masks), np.int64)
        for offsets, leads in self._chunks():
            for start in range(0, len(masks), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                sums = np.tensordot(leads, bits[rows], axes=([1], [1])).transpose(0, 2, 1)
                counts[rows] += _right(sums + offsets)
        return counts

    def walk(self, walked: Orders) -> Counts:
        """p of the coalitions that these rankings (r, K) visit, (r, K)."""
        if self.clients <= MAX_TABLE_CLIENTS:
            return self.table[prefix_keys(walked).astype(np.int64)]
        if self._votes is not None:
            return self._votes.counts(prefix_keys(walked).ravel()).reshape(walked.shape)
        counts = np.zeros(walked.shape, np.int64)
        for offsets, leads in self._chunks():
            for start in range(0, len(walked), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                sums = np.repeat(offsets, len(walked[rows]), axis=1)
                joined = np.empty_like(sums)
                for place, joining in enumerate(walked[rows].T):
                    # mode="clip" writes straight into `joined`, at more than twice the speed of leads[:, joining].
                    sums += np.take(leads, joining, axis=1, out=joined, mode="clip")
                    counts[rows, place] += _right(sums)
        return counts

    @cached_property
    def table(self) -> Counts:
        """p of all masks 0..2^K−1 (entry 0 has no meaning), from two half tables of sums; K ≤ 16."""
        if self._votes is not None:
            keys = np.arange(1, 1 << self.clients, dtype=np.uint64)
            return np.concatenate([[0], self._votes.counts(keys)])
        low = self.clients // 2
        counts = np.zeros((1 << (self.clients - low), 1 << low), np.int64)
        for offsets, leads in self._chunks():
            base, added = offsets + _subset_sums(leads[:, :low]), _subset_sums(leads[:, low:])
            sums = np.empty_like(base)
            for high in range(len(counts)):
                np.add(base, added[:, high : high + 1], out=sums)
                counts[high] += _right(sums)
        return counts.ravel()

    def _chunks(self) -> Any:
        """Offsets (classes−1, 1, chunk) and leads (classes−1, K, chunk), chunk after chunk of images."""
        for start in range(0, self.images, _CHUNK_IMAGES):
            images = slice(start, start + _CHUNK_IMAGES)
            yield self._offsets[:, :, images], np.ascontiguousarray(self._leads[:, :, images])


@dataclass(frozen=True, slots=True)
class PublicValues:
    """What everybody computes of φ(p): P and Λ_P, and where they come from.

    Up to 16 clients they are Λ·φ_j(p) and Λ, above sums over whole public squares and the number of their rankings.
    `squares` holds the mean marginals in each square, in images, (squares, K); None where φ(p) is exact.
    """

    sums: list[int]
    denominator: int
    squares: Floats | None


def public_values(proxy: ProxyCounts, seed: bytes, empty: int) -> PublicValues:
    """φ(p) of a task. `seed` is the task's (32 bytes), `empty` is u(∅), which p shares."""
    clients = proxy.clients
    if clients <= MAX_TABLE_CLIENTS:
        return PublicValues(
            exact_numerators(proxy.table[1:], empty, clients), common_denominator(clients), None
        )
    walked = public_rankings(clients, seed)
    values = proxy.walk(walked)
    squares = square_means(walked, values, empty, rows_per_square(clients))
    return PublicValues(marginal_sums(walked, values, empty), len(walked), squares)


def proxy_sums(proxy: ProxyCounts, seed: bytes, empty: int) -> tuple[list[int], int]:
    """(P, Λ_P) of a task, as they stand in its result."""
    public = public_values(proxy, seed, empty)
    return public.sums, public.denominator


def public_rankings(clients: int, seed: bytes) -> Orders:
    """The rankings of the whole public squares from which φ(p) is estimated above 16 clients, (rankings, K)."""
    per_square = rows_per_square(clients)
    squares = max(LEAST_SQUARES, PUBLIC_COALITIONS // (clients * per_square))
    return orders(seed, PUBLIC_KEY, 0, squares * per_square, clients)


def _leads(
    logits: npt.NDArray[np.int32], labels: npt.NDArray[np.int32], weights: Sequence[int], dtype: Any
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """How far the true class leads each other one: offsets (classes−1, 1, n) and leads (classes−1, K, n).

    A coalition is right on an image when offset + Σ leads ≥ 0 for all other classes: the offset of −1 makes a lead
    over a lower class strict.
    """
    clients, images, classes = logits.shape
    others = (labels[:, None] + np.arange(1, classes)) % classes
    true = np.take_along_axis(logits, np.broadcast_to(labels[None, :, None], (clients, images, 1)), axis=2)
    other = np.take_along_axis(logits, np.broadcast_to(others, (clients, *others.shape)), axis=2)
    weighted = (true - other).astype(dtype) * np.array(weights, dtype)[:, None, None]
    offsets = -(others < labels[:, None]).astype(dtype)
    return offsets.T[:, None, :], np.ascontiguousarray(weighted.transpose(2, 0, 1))


def _subset_sums(leads: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sums over all subsets of the given clients, (classes−1, 2^clients, chunk), subset 0 first."""
    sums = np.zeros_like(leads[:, :1])
    for client in range(leads.shape[1]):
        sums = np.concatenate([sums, sums + leads[:, client : client + 1]], axis=1)
    return sums


def _right(sums: npt.NDArray[Any]) -> Counts:
    """How many images of the chunk are right, for sums (classes−1, coalitions, chunk)."""
    right: Counts = (np.minimum.reduce(sums, axis=0) >= 0).sum(axis=1, dtype=np.int32)
    return right
