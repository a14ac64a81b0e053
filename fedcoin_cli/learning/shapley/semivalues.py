"""Other values beside Shapley's, of the same counts: Banzhaf's and leave-one-out. For comparison only: nobody is paid.

All three are means of what a client adds to coalitions of the others, weighted by the coalitions' size s: Shapley's
weighs every size by 1/K, Banzhaf's by C(K−1, s)/2^(K−1), so that every coalition weighs the same (Wang and Jia, "Data
Banzhaf", 2023), and leave-one-out only the coalition of all others. From all coalitions each is exact. Along rankings,
whoever precedes a client at place s is a coalition of s others drawn evenly, whatever the value: so the gains seen at
each place, weighted anew, estimate Banzhaf's value without bias. Everybody but one is one coalition only: its count is
in a table, exact, once the client stood last in every block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import comb, nan

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.exact import exact_numerators
from fedcoin_cli.learning.coalitions.walks import Counts
from fedcoin_cli.learning.game.utility import Utility
from fedcoin_cli.learning.shapley.attribution import agreed, counts_of, pieces
from fedcoin_cli.learning.shapley.table import Claim, TableTerms, decode, decode_exact, derive
from ledger_store.transaction import exact_denominator

Floats = npt.NDArray[np.float64]
Tables = Sequence[tuple[Claim, bytes]]


class Method(StrEnum):
    """How what a client adds to coalitions is averaged."""

    shapley = "shapley"
    banzhaf = "banzhaf"
    loo = "loo"


@dataclass(frozen=True, slots=True)
class Semivalues:
    """Values of all clients by one method, in percentage points, in the clients' order.

    Attributes:
        method: "shapley", "banzhaf" or "loo".
        fractions: the values; exact fractions where `exact`, else those of floats.
        errors: standard errors of counting only some coalitions: 0.0 where `exact`, NaN where nothing tells them.
        exact: whether all coalitions that the method asks for were counted.
        unseen: which part of the method's weight lies on sizes at which no ranking had a client, at most: such
            sizes are taken to be like the others.
    """

    method: str
    fractions: tuple[Fraction, ...]
    errors: tuple[float, ...]
    exact: bool
    unseen: float = 0.0

    @property
    def values(self) -> tuple[float, ...]:
        """The values as floats."""
        return tuple(map(float, self.fractions))

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        """Values, then errors."""
        yield self.values
        yield self.errors


def size_weights(method: Method, clients: int) -> list[Fraction]:
    """What a client's mean gain on joining s = 0..K−1 others weighs; they sum to 1."""
    if method is Method.shapley:
        return [Fraction(1, clients)] * clients
    if method is Method.banzhaf:
        return [Fraction(comb(clients - 1, size), 1 << clients - 1) for size in range(clients)]
    return [Fraction(int(size == clients - 1)) for size in range(clients)]


def of_tables(tables: Tables, terms: TableTerms, method: Method) -> Semivalues:
    """What tables say by a method: exact from a table of all coalitions where there is one, else from rankings.

    Args:
        tables: claims with the bytes of their tables, at least one.
        terms: K, the blocks and u(∅).
        method: which values.
    """
    whole = [decode_exact(data, terms) for claim, data in tables if claim.exact]
    if whole:
        found = [of_counts(counts, terms.empty, terms.clients, method) for counts in whole]
        means = [sum(column, Fraction(0)) / len(found) for column in zip(*found, strict=True)]
        return _exactly(method, means, terms.whole)
    if method is Method.loo:
        return _left_out(tables, terms)
    if method is Method.shapley:
        return _shapley(tables, terms)
    return _reweighted(tables, terms, method)


def of_counts(counts: Counts, empty: int, clients: int, method: Method) -> list[Fraction]:
    """Exact values in units of u, from the counts (2^K − 1,) of the masks 1, 2, … and u(∅)."""
    if method is Method.shapley:
        return [Fraction(one, exact_denominator(clients)) for one in exact_numerators(counts, empty, clients)]
    if method is Method.loo:
        full = (1 << clients) - 1
        less = [int(counts[(full ^ 1 << client) - 1]) for client in range(clients)]
        return [Fraction(int(counts[-1]) - one) for one in less]
    values = np.concatenate([[empty], counts]).astype(np.int64)
    halves = (values.reshape(-1, 2, 1 << client).sum(axis=(0, 2)).tolist() for client in range(clients))
    return [Fraction(joined - before, 1 << clients - 1) for before, joined in halves]


def left_out(engine: Utility, clients: int, whole: int) -> Semivalues:
    """Leave-one-out counted afresh, K + 1 coalitions of an engine (K ≥ 2): always exact."""
    full = (1 << clients) - 1
    everybody, *less = engine.counts([full, *(full ^ 1 << client for client in range(clients))]).tolist()
    return _exactly(Method.loo, [Fraction(everybody - one) for one in less], whole)


def _exactly(method: Method, values: Sequence[Fraction], whole: int) -> Semivalues:
    points = tuple(100 * value / whole for value in values)
    return Semivalues(method.value, points, (0.0,) * len(points), exact=True)


def _shapley(tables: Tables, terms: TableTerms) -> Semivalues:
    total = sum(claim.rankings for claim, _ in tables)
    sums = [
        sum(column) for column in zip(*(derive(data, claim, terms) for claim, data in tables), strict=True)
    ]
    sure = agreed(tables, terms, [one / total for one in sums], 1)
    errors = (nan,) * terms.clients if sure is None else sure.values_pp
    points = tuple(Fraction(100 * one, total * terms.whole) for one in sums)
    return Semivalues(Method.shapley.value, points, errors, exact=False)


def _reweighted(tables: Tables, terms: TableTerms, method: Method) -> Semivalues:
    """The mean gain at each place of the rankings, weighted by the method's sizes."""
    clients, weights = terms.clients, np.array([float(one) for one in size_weights(method, terms.clients)])
    gains, seen = np.zeros(clients * clients), np.zeros(clients * clients)
    for blocks, _, places, gained in _visits(tables, terms):
        sizes = np.broadcast_to(terms.sizes[blocks.start : blocks.stop, None, None], gained.shape)
        gains += np.bincount(places.ravel(), gained.ravel(), minlength=len(gains))
        seen += np.bincount(places.ravel(), sizes.ravel(), minlength=len(seen))
    means = np.divide(gains, seen, out=np.zeros_like(gains), where=seen > 0)
    # Sizes at which a client was never seen are taken to be like the others.
    weighed = np.where(seen.reshape(clients, clients) > 0, weights, 0.0)
    known = weighed.sum(axis=1, keepdims=True)
    weighed = np.divide(weighed, known, out=np.zeros_like(weighed), where=known > 0)
    values = 100 * (weighed * means.reshape(clients, clients)).sum(axis=1)
    variance = _variance(tables, terms, weighed.ravel() / np.maximum(seen, 1), means)
    errors = (
        100 * np.sqrt(variance) if all(claim.rankings > 1 for claim, _ in tables) else np.full(clients, nan)
    )
    found = tuple(Fraction(one) for one in values.tolist())
    return Semivalues(method.value, found, tuple(errors.tolist()), exact=False, unseen=float(1 - known.min()))


def _variance(tables: Tables, terms: TableTerms, shares: Floats, means: Floats) -> Floats:
    """Of the values, (K,): what the two streams of rankings say apart, which are independent, block by block."""
    found = np.zeros(terms.clients)
    for blocks, _, places, gained in _visits(tables, terms):
        rest = shares[places] * (gained - means[places] * terms.sizes[blocks.start : blocks.stop, None, None])
        who = places // terms.clients + terms.clients * np.arange(len(blocks))[:, None, None]
        sums = [
            np.bincount(who[:, stream::2].ravel(), rest[:, stream::2].ravel(), len(blocks) * terms.clients)
            for stream in (0, 1)
        ]
        found += ((sums[0] - sums[1]).reshape(len(blocks), terms.clients) ** 2).sum(axis=0)
    return found


def _left_out(tables: Tables, terms: TableTerms) -> Semivalues:
    """What the last of a ranking adds, block by block; of blocks where a client never stood last, as of the others."""
    gains = np.full((len(terms.sizes), terms.clients), -1, np.int64)
    known = np.zeros(gains.shape, bool)
    for blocks, _, places, gained in _visits(tables, terms):
        last = places[:, :, -1] // terms.clients
        rows = np.broadcast_to(np.arange(blocks.start, blocks.stop)[:, None], last.shape)
        gains[rows, last], known[rows, last] = gained[:, :, -1], True
    if known.all():
        return _exactly(Method.loo, [Fraction(one) for one in gains.sum(axis=0).tolist()], terms.whole)
    count, every = known.sum(axis=0), len(terms.sizes)
    seen = np.where(known, terms.sizes[:, None], 0).sum(axis=0)
    means = np.where(known, gains, 0).sum(axis=0) / np.maximum(seen, 1)
    rest = np.where(known, gains - means * terms.sizes[:, None], 0.0)
    # One spread for all clients: each alone was seen last in few blocks. Blocks that were seen leave no error.
    spread = (rest**2).sum() / max(1, np.maximum(count - 1, 0).sum())
    errors = 100 / terms.whole * np.sqrt(every * (every - count) * spread / np.maximum(count, 1))
    errors[(count == 0) | ((count < every) & (count.max() < 2))] = nan
    values = tuple(Fraction(one) for one in (100 * means).tolist())
    unseen = float((count == 0).any())
    return Semivalues(Method.loo.value, values, tuple(errors.tolist()), exact=False, unseen=unseen)


def _visits(tables: Tables, terms: TableTerms) -> Iterator[tuple[range, range, Counts, Counts]]:
    """Blocks and rankings at a time: K · client + place, and the gain there, (blocks, rankings, K) in joining order."""
    for claim, data in tables:
        table = decode(data, claim, terms)
        for blocks, rankings, walked in pieces(claim, terms):
            gained = np.diff(counts_of(table, blocks, rankings), axis=2)
            yield blocks, rankings, terms.clients * walked.astype(np.int64) + np.arange(terms.clients), gained
