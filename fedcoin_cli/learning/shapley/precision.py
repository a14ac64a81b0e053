"""How precisely a miner knows values and payments: by its own rankings, and by the size of the test set.

Two errors, told apart because different things remove them. *Mining's* falls with every further ranking. *The test
set's* stems from the images themselves: others of the same kind would have given other values; only more images
remove it. Everything here is about one miner's own work: what the others found is secret until the reveals, and their
average is more precise still. Nothing here moves money.

Mining's error is taken from what the two streams of rankings that a block walks in turn (`consensus.rankings`) say
apart: both have the same mean and are independent, and so is every block, so the blocks' variances add up. Only who
begins is dealt to all blocks together, evenly, while a square is partial. So a first marginal counts as how far it is
from its client's mean one; what that mean leaves, where some begin more often than others, is known and added.
(docs/adr/0051)

Payments are a function of the values: TrainPrice · max(0, φ_j) / Σ max(0, φ). Its errors follow from the values' by
the delta method. At the kink, where φ is within two standard errors of 0, the derivative is 0 on one side only: there
the steeper side counts, for a payment's own kink as for the other clients' in the sum. (docs/adr/0020)
"""

from dataclasses import dataclass
from math import expm1, inf, pi, sqrt, tan
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.walks import Counts, Orders, beginnings_of, marginals_of

CONFIDENCE: Final = 0.95
LEAST_RANKINGS: Final = 2
"""With fewer there are no two streams to compare."""

_KINK_ERRORS: Final = 2.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Precision:
    """What is known after `rankings` rankings.

    `values_pp` are mining's standard errors of the clients' values in percentage points, `payments_micro` those of
    their payments in micro-FedCoin (infinite while no value is positive), both `widening` for few draws.
    `images_pp` and `images_micro` are the test set's, NaN where one block tells nothing of it. With 95% probability
    every payment by this miner's estimate is, at all times at which anybody looks, within `bound_micro` of that by
    exact values.
    """

    rankings: int
    values_pp: tuple[float, ...]
    payments_micro: tuple[float, ...]
    images_pp: tuple[float, ...]
    images_micro: tuple[float, ...]
    bound_micro: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Mining's covariance of the values in images², (K, K), and from how many independent draws it is known.

    `apart` is the same as if the blocks were independent: more than that while the deal couples them.
    """

    covariance: Floats
    draws: int
    apart: Floats


@dataclass(slots=True)
class Walk:
    """Some rankings of one stream: their marginals summed and how many each client begins, (blocks, K).

    `firsts` are the marginals of those who begin, summed over the blocks, (K,).
    """

    marginals: Floats
    begun: Floats
    firsts: Floats
    rankings: int = 0

    @classmethod
    def of(cls, blocks: int, clients: int) -> "Walk":
        """None yet, of so many blocks and clients."""
        return cls(np.zeros((blocks, clients)), np.zeros((blocks, clients)), np.zeros(clients))

    def put(
        self, blocks: slice, walked: Orders, values: npt.NDArray[Any], ends: tuple[Counts, Counts]
    ) -> None:
        """What some blocks counted, (blocks, rankings, K − 1), on the way of orders (blocks, rankings, K)."""
        self.rankings = walked.shape[1]
        self.marginals[blocks] = marginals_of(walked, values, ends)
        self.begun[blocks], firsts = beginnings_of(walked, values, ends)
        self.firsts += firsts


class Marginals:
    """Each block's summed marginals by square, as they come in; (blocks, K) a square, in images.

    Args:
        blocks: how many blocks there are.
        clients: K.
    """

    def __init__(self, blocks: int, clients: int) -> None:
        self._clients = clients
        self._whole = np.zeros((2, blocks, clients))
        self._products = np.zeros((clients, clients))
        self._pairs = 0
        self._firsts = np.zeros(clients)
        self._counts = [0, 0]
        self._open = np.zeros((2, blocks, clients))
        self._begun = np.zeros((2, blocks, clients))

    @property
    def rankings(self) -> int:
        """How many rankings are in."""
        return 2 * self._clients * self._pairs + sum(self._counts)

    def add(self, stream: int, walk: Walk) -> None:
        """Take in some rankings of one stream."""
        self._open[stream] += walk.marginals
        self._begun[stream] += walk.begun
        self._firsts += walk.firsts
        self._counts[stream] += walk.rankings
        if self._counts == [self._clients, self._clients]:
            self._whole += self._open / self._clients
            difference = (self._open[0] - self._open[1]) / self._clients
            self._products += difference.T @ difference
            self._pairs += 1
            self._open[:] = self._begun[:] = 0
            self._counts = [0, 0]

    def blocks(self) -> Floats:
        """Each block's values by everything that is in, (blocks, K)."""
        sums = self._clients * self._whole.sum(axis=0) + self._open.sum(axis=0)
        values: Floats = sums / max(1, self.rankings)
        return values

    def spread(self) -> Spread | None:
        """Mining's error now; None before each stream has a ranking."""
        blocks, whole = len(self._open[0]), 2 * self._clients * self._pairs
        partial = self._partial()
        if not self._pairs:
            return None if partial is None else Spread(partial[0], blocks, partial[1])
        # A pair's mean has a quarter of its difference's square as variance.
        paired = self._products / (4 * self._pairs**2)
        if partial is None:  # a lone ranking is taken for as good as those before it
            covariance = apart = whole / self.rankings * paired
        else:
            covariance, apart = (
                (whole / self.rankings) ** 2 * paired + (1 - whole / self.rankings) ** 2 * one
                for one in partial
            )
        return Spread(covariance, self._pairs * blocks, apart)

    def _partial(self) -> tuple[Floats, Floats] | None:
        """Covariance of what the squares begun say, and the same as if the deal, too, were each block's own."""
        one, other = self._counts
        if not (one and other):
            return None
        scale = one * other / (one + other) ** 2
        apart = self._open[0] / one - self._open[1] / other
        begun = self._begun.sum(axis=(0, 1))
        first = self._first(begun)
        own = apart - first * (self._begun[0] / one - self._begun[1] / other)
        uneven = first * (begun - begun.mean()) / (one + other)
        return scale * own.T @ own + np.outer(uneven, uneven), scale * apart.T @ apart

    def _first(self, begun: Floats) -> Floats:
        """What each client adds on the mean where it begins, (K,); who never did, what all do.

        `begun` are the beginnings in the squares begun; in a whole one each client begins once in each block.
        """
        everywhere = begun + 2 * self._pairs * len(self._open[0])
        mean = self._firsts.sum() / everywhere.sum()
        found: Floats = np.where(everywhere, self._firsts / np.maximum(everywhere, 1), mean)
        return found


def precision_of(marginals: Marginals, whole: int, train_micro: int, look: int) -> Precision | None:
    """What is known now, by M and for this TrainPrice; None before the second ranking.

    `look` says the how-manieth look at the payments this is, from 1 on.
    """
    spread = marginals.spread()
    if spread is None:
        return None
    blocks = marginals.blocks()
    values = blocks.sum(axis=0)
    mining = widening(spread.draws) ** 2 * spread.covariance
    sampled = images_covariance(blocks, spread.apart)
    if len(blocks) < 2:  # one block tells nothing of others
        sampled = np.full_like(sampled, np.nan)
    payments = payment_errors(values, mining, train_micro)
    return Precision(
        rankings=marginals.rankings,
        values_pp=_in_points(mining, whole),
        payments_micro=tuple(payments.tolist()),
        images_pp=_in_points(sampled, whole),
        images_micro=tuple(_payments_of_images(values, sampled, train_micro).tolist()),
        bound_micro=_bound_micro(values, spread, train_micro, look),
    )


def images_covariance(blocks: Floats, mining: Floats) -> Floats:
    """Covariance of the values over test sets of this size with as many images of each label, (K, K), in images².

    From how far the blocks' values (blocks, K) lie apart, less what mining's error, (K, K), adds to that. Blocks hold
    equal parts of each label, so what labels differ by is not in it. Zero where there is but one block.
    """
    if len(blocks) < 2:
        return np.zeros_like(mining)
    apart: Floats = len(blocks) * np.atleast_2d(np.cov(blocks, rowvar=False)) - mining
    np.fill_diagonal(apart, np.maximum(np.diag(apart), 0.0))
    return apart


def widening(draws: int) -> float:
    """What a standard error from `draws` independent draws about a known mean is multiplied by.

    The spread is an estimate, too: the value lies about the true one as Student's t with as many degrees of freedom,
    whose standard deviation this is; of one or two draws none exists, and what three have is taken.
    """
    freedom = max(draws, 3)
    return sqrt(freedom / (freedom - 2))


def payment_errors(values: Floats, covariance: Floats, train_micro: int) -> Floats:
    """Standard errors of the payments, (K,), from the values' estimates and the covariance of these."""
    if values.max() <= 0:
        return np.full(len(values), inf)
    weights = np.maximum(values, 0.0)
    shares = weights / weights.sum()
    margin = _KINK_ERRORS * standard_errors(covariance)
    own = (values > -margin).astype(np.float64)
    variances = [
        _variances(own, shares, (values > limit).astype(np.float64), covariance)
        for limit in (-margin, 0.0, margin)
    ]
    errors: Floats = train_micro / weights.sum() * np.sqrt(np.max(variances, axis=0))
    return errors


def _payments_of_images(values: Floats, covariance: Floats, train_micro: int) -> Floats:
    if np.isnan(covariance).any():
        return np.full(len(values), np.nan)
    return payment_errors(values, covariance, train_micro)


def looks_factor(draws: int, look: int, clients: int) -> float:
    """How many standard errors hold all of K payments at this look, so that all looks together fail in 5 of 100.

    Whatever the looks have to do with each other: look k gets 6/(π·k)² of the probability, and every client its part.
    The quantile is Student's t; miners look at each number of the grid, of which there are about 170.
    """
    alpha = (1 - CONFIDENCE) * 6 / (pi * look) ** 2 / clients
    return student_quantile(1 - alpha / 2, draws)


def student_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t above its median (G. W. Hill, "Algorithm 396: Student's t-quantiles", 1970)."""
    normal = NormalDist().inv_cdf(probability)
    if freedom <= 2:
        tail = 2 * (1 - probability)
        if freedom == 1:
            return 1 / tan(pi * tail / 2)
        return sqrt(2 / (tail * (2 - tail)) - 2)
    a = 1 / (freedom - 0.5)
    b = 48 / a**2
    c = ((20_700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * sqrt(a * pi / 2) * freedom
    y = (d * 2 * (1 - probability)) ** (2 / freedom)
    if y > 0.05 + a:
        square = normal**2
        if freedom < 5:
            c += 0.3 * (freedom - 4.5) * (normal + 0.6)
        c += (((0.05 * d * normal - 5) * normal - 7) * normal - 2) * normal + b
        y = (((((0.4 * square + 6.3) * square + 36) * square + 94.5) / c - square - 3) / b + 1) * normal
        y = expm1(a * y**2)
    else:
        rest = ((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3
        y = ((1 / rest + 0.5 / (freedom + 4)) * y - 1) * (freedom + 1) / (freedom + 2) + 1 / y
    return sqrt(freedom * y)


def _bound_micro(values: Floats, spread: Spread, train_micro: int, look: int) -> float:
    largest = float(payment_errors(values, spread.covariance, train_micro).max())
    return looks_factor(spread.draws, look, len(values)) * largest


def standard_errors(covariance: Floats) -> Floats:
    """From a covariance of values, (K,), in its unit."""
    errors: Floats = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return errors


def _in_points(covariance: Floats, whole: int) -> tuple[float, ...]:
    """Standard errors in percentage points from a covariance in units of M squared."""
    return tuple((100 / whole * standard_errors(covariance)).tolist())


def _variances(own: Floats, shares: Floats, counted: Floats, covariance: Floats) -> Floats:
    """Of own_j·φ_j − shares_j·Σ counted·φ, (K,): a client's value less its share of the sum's.

    That is a payment in units of TrainPrice / Σ max(0, φ).
    """
    with_sum = covariance @ counted
    variances = own * np.diag(covariance) - 2 * own * shares * with_sum + shares**2 * (counted @ with_sum)
    positive: Floats = np.maximum(variances, 0.0)
    return positive
