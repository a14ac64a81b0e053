"""Why a client's value is what it is: every coalition that it joined, with the gain and the weight in the estimate.

Read from the miners' tables alone, in exact fractions: Σ weight · gain over all coalitions is what the tables say of
the value. What an estimate adds to that is the proxy's part, which this module does not need to know. How sure the
agreed values are is here as well, from whole squares of all miners together.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.consensus.rankings import rows_per_square
from fedcoin_cli.learning.mining.exact import common_denominator
from fedcoin_cli.learning.mining.precision import (
    LEAST_SQUARES,
    Floats,
    covariance_of_mean,
    payment_errors,
    square_means,
    widening,
)
from fedcoin_cli.learning.mining.proxy import ProxyCounts, public_values
from fedcoin_cli.learning.mining.table import Claim, Table, TableTerms
from fedcoin_cli.learning.mining.walks import Keys, keys_to_masks, orders, prefix_keys
from fedcoin_cli.learning.model import parse_model
from fedcoin_cli.learning.weights import read_proxy, read_test

_RANKINGS_AT_ONCE: Final = 256
_POINTS: Final = 64

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Joined:
    """A coalition that the client joined: its count before, the gain (both in images) and the gain's weight."""

    mask: int
    before: Fraction
    gain: Fraction
    weight: Fraction

    @property
    def adds(self) -> Fraction:
        """What this coalition contributes to the value, in images."""
        return self.weight * self.gain


@dataclass(frozen=True, slots=True)
class Step:
    """All coalitions of one size that the client joined: their weight, and what they add to the value in images."""

    size: int
    weight: Fraction
    adds: Fraction

    @property
    def gain(self) -> Fraction:
        """The mean gain on joining so many others, in images; 0 where none was seen."""
        return self.adds / self.weight if self.weight else Fraction(0)


@dataclass(frozen=True, slots=True)
class Reasons:
    """What `coalitions` distinct coalitions say of one client's value: `total` images, by size, and the largest.

    `helped` adds most, `hurt` takes most; both in order, the largest first.
    """

    total: Fraction
    steps: tuple[Step, ...]
    helped: tuple[Joined, ...]
    hurt: tuple[Joined, ...]
    coalitions: int


@dataclass(frozen=True, slots=True)
class Agreed:
    """Standard errors of the agreed values in percentage points, and of the payments in micro-FedCoin."""

    squares: int
    values_pp: tuple[float, ...]
    payments_micro: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """Each coalition that the client joined, once; sums are over `times` and in images.

    A coalition adds weights · gains / scale to the value.
    """

    keys: Keys
    sizes: Integers
    times: Integers
    before: Integers
    gains: Integers
    weights: Integers
    scale: int


def reasons(
    tables: Sequence[tuple[Claim, Table]], terms: TableTerms, client: int, most: int, *, exact: bool
) -> Reasons:
    """What tables say of a client's value; the proxy's part, where there is one, comes on top.

    Args:
        tables: claims with their decoded tables, at least one.
        terms: K, n and u(∅); the proxy is not looked at.
        client: whose value, 0..K−1.
        most: how many coalitions to name for and against.
        exact: whether the agreement was one of exact values; otherwise exact tables, too, are read by rankings.
    """
    seen = _enumerated(tables, terms, client) if exact else _walked(tables, terms, client)
    return Reasons(
        total=Fraction(_whole_sum(seen.weights, seen.gains), seen.scale),
        steps=_steps(seen, terms.clients),
        helped=_largest(seen, terms.clients, most, sign=1),
        hurt=_largest(seen, terms.clients, most, sign=-1),
        coalitions=len(seen.gains),
    )


def agreed(
    tables: Sequence[tuple[Claim, Table]],
    terms: TableTerms,
    seed: bytes,
    values: Sequence[float],
    train_micro: int,
) -> Agreed | None:
    """How sure the agreed values are: the spread between the whole squares of all sampled tables together.

    Above 16 clients the proxy's own values are estimates, too, and the same in every miner's: their spread is added.

    Args:
        tables: claims with their decoded tables.
        terms: K, n, u(∅) and the proxy's counts.
        seed: the task's.
        values: the agreed values in images, (K,).
        train_micro: what the clients share.

    Returns:
        None before `LEAST_SQUARES` whole squares.
    """
    squares = np.concatenate([_square_means(claim, table, terms) for claim, table in tables])
    if len(squares) < LEAST_SQUARES:
        return None
    covariance = widening(len(squares)) ** 2 * covariance_of_mean(squares)
    public = None if terms.proxy is None else public_values(terms.proxy, seed, terms.empty).squares
    if public is not None:
        covariance += widening(len(public)) ** 2 * covariance_of_mean(public)
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return Agreed(
        squares=len(squares),
        values_pp=tuple((100 / terms.images * errors).tolist()),
        payments_micro=tuple(payment_errors(np.array(values), covariance, train_micro).tolist()),
    )


def convergence(
    claim: Claim, table: Table, terms: TableTerms, public: Sequence[float], values: Sequence[float]
) -> tuple[tuple[int, float], ...]:
    """How a miner's estimate came near the agreed values: rankings walked, and the distance then, in points.

    Args:
        claim: whose rankings, and how many.
        table: its counts.
        terms: K, n, u(∅) and the proxy's counts.
        public: P_j / Λ_P in images, (K,).
        values: the agreed values in images, (K,).
    """
    rest = np.array(values) - np.array(public)
    marginals = _walk(claim, table, terms, claim.rankings)
    numbers = np.unique(np.geomspace(1, claim.rankings, _POINTS).astype(np.int64))
    means = np.cumsum(marginals, axis=0)[numbers - 1] / numbers[:, None]
    distances = 100 / terms.images * np.sqrt(((means - rest) ** 2).sum(axis=1))
    return tuple(zip(numbers.tolist(), distances.tolist(), strict=True))


def proxy_of(
    model: Path, test: Path, logits: Path, weights: Sequence[int] | None, clients: int
) -> ProxyCounts:
    """The proxy's counts from a round's files; `weights` None for `mean`. Raises `RoundFilesInvalid`."""
    spec = parse_model(model.read_bytes(), where=str(model))
    labels = read_test(test, spec).labels
    found = read_proxy(logits, clients, len(labels), spec.classes)
    cores = len(os.sched_getaffinity(0))
    return ProxyCounts(found, labels, weights or (1,) * clients, cores)


def _walked(tables: Sequence[tuple[Claim, Table]], terms: TableTerms, client: int) -> _Seen:
    """By rankings: each weighs 1/T, T being the rankings of all these tables together."""
    visits = [visit for claim, table in tables for visit in _visits(claim, table, terms, client)]
    keys, sizes, before, gains = (np.concatenate(column) for column in zip(*visits, strict=True))
    found, first, place = np.unique(keys, return_index=True, return_inverse=True)
    # Integers below 2⁵³ add exactly in float64.
    return _Seen(
        keys=found,
        sizes=sizes[first],
        times=np.bincount(place),
        before=np.bincount(place, before).astype(np.int64),
        gains=np.bincount(place, gains).astype(np.int64),
        weights=np.ones(len(found), np.int64),
        scale=len(keys),
    )


def _visits(claim: Claim, table: Table, terms: TableTerms, client: int) -> Iterator[tuple[Keys, ...]]:
    """Where the client joins in each ranking: the coalition before, its size, its count, and the gain."""
    for start in range(0, claim.rankings, _RANKINGS_AT_ONCE):
        count = min(_RANKINGS_AT_ONCE, claim.rankings - start)
        walked = orders(claim.seed, claim.key, start, count, terms.clients)
        keys = prefix_keys(walked)
        counts = table.counts[table.positions(keys)]
        place, rows = (walked == client).argmax(axis=1), np.arange(count)
        alone = place == 0
        earlier = np.where(alone, np.zeros(1, keys.dtype), keys[rows, place - 1])
        before = np.where(alone, terms.empty, counts[rows, place - 1])
        yield earlier, place, before, counts[rows, place] - before


def _enumerated(tables: Sequence[tuple[Claim, Table]], terms: TableTerms, client: int) -> _Seen:
    """By all coalitions without the client: one of size s weighs 1 / (K·C(K−1, s))."""
    clients, scale = terms.clients, common_denominator(terms.clients)
    total = np.sum([table.counts for _, table in tables], axis=0)
    halves = np.concatenate([[len(tables) * terms.empty], total]).reshape(-1, 2, 1 << client)
    before = halves[:, 0].ravel()
    masks = np.arange(1 << clients, dtype=np.uint64).reshape(-1, 2, 1 << client)[:, 0].ravel()
    sizes = np.zeros(len(masks), np.int64)
    for bit in range(clients):
        sizes += ((masks >> np.uint64(bit)) & np.uint64(1)).astype(np.int64)
    by_size = [scale // (clients * comb(clients - 1, size)) for size in range(clients)]
    return _Seen(
        keys=masks,
        sizes=sizes,
        times=np.full(len(masks), len(tables)),
        before=before,
        gains=halves[:, 1].ravel() - before,
        weights=np.array(by_size, np.int64)[sizes],
        scale=scale * len(tables),
    )


def _steps(seen: _Seen, clients: int) -> tuple[Step, ...]:
    steps = []
    for size in range(clients):
        of_size = seen.sizes == size
        weights, times, gains = seen.weights[of_size], seen.times[of_size], seen.gains[of_size]
        weight, adds = _whole_sum(weights, times), _whole_sum(weights, gains)
        steps.append(Step(size, Fraction(weight, seen.scale), Fraction(adds, seen.scale)))
    return tuple(steps)


def _largest(seen: _Seen, clients: int, most: int, *, sign: int) -> tuple[Joined, ...]:
    """Those that add (`sign` 1) or take (−1) most, the largest first; a stable order for equal ones."""
    adds = sign * seen.weights * seen.gains
    order = [index for index in np.argsort(-adds, kind="stable")[:most].tolist() if adds[index] > 0]
    return tuple(_joined(seen, index, clients) for index in order)


def _joined(seen: _Seen, index: int, clients: int) -> Joined:
    (mask,) = keys_to_masks(seen.keys[index : index + 1], clients)
    times = int(seen.times[index])
    return Joined(
        mask=mask,
        before=Fraction(int(seen.before[index]), times),
        gain=Fraction(int(seen.gains[index]), times),
        weight=Fraction(int(seen.weights[index]) * times, seen.scale),
    )


def _whole_sum(weights: Integers, amounts: Integers) -> int:
    """Σ weight · amount in Python's integers: there are few different weights, and each one's sum fits."""
    return sum(int(weight) * int(amounts[weights == weight].sum()) for weight in np.unique(weights))


def _marginals(claim: Claim, table: Table, terms: TableTerms, start: int, count: int) -> Floats:
    """Each client's marginal of u − p in rankings from number `start` on, (count, K)."""
    walked = orders(claim.seed, claim.key, start, count, terms.clients)
    values = table.counts[table.positions(prefix_keys(walked))]
    if terms.proxy is not None:
        values = values - terms.proxy.walk(walked)
    # p(∅) = u(∅), so a difference starts at 0.
    return square_means(walked, values, 0 if terms.proxy else terms.empty, 1)


def _square_means(claim: Claim, table: Table, terms: TableTerms) -> Floats:
    """Each client's mean marginal of u − p in each whole square of a table's rankings, (squares, K)."""
    per_square = rows_per_square(terms.clients)
    whole = claim.rankings - claim.rankings % per_square
    means: Floats = _walk(claim, table, terms, whole).reshape(-1, per_square, terms.clients).mean(axis=1)
    return means


def _walk(claim: Claim, table: Table, terms: TableTerms, rankings: int) -> Floats:
    """The same of the first so many rankings, (rankings, K)."""
    starts = range(0, rankings, _RANKINGS_AT_ONCE)
    parts = (
        _marginals(claim, table, terms, start, min(_RANKINGS_AT_ONCE, rankings - start)) for start in starts
    )
    return np.concatenate([np.empty((0, terms.clients)), *parts])
