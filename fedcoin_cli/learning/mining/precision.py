"""How precisely a miner knows values and payments, from the spread of its whole squares.

The squares of a key are independent draws, each with the value as its mean; rankings of one square are not
independent, so the spread is taken between squares only. Everything here is about one miner's own rankings: what
the others found is secret until the reveals, and their average is more precise still. Above 16 clients φ(p) is an
estimate, too, from squares that all miners share: its error is added. Nothing here moves money.

Payments are a function of the values: TrainPrice · max(0, φ_j) / Σ max(0, φ). Its errors follow from the values' by
the delta method. At the kink, where φ is within two standard errors of 0, the derivative is 0 on one side only: there
the steeper side counts, for a payment's own kink as for the other clients' in the sum.
"""

from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.mining.walks import Counts, Orders

LEAST_SQUARES: Final = 4
"""With fewer, what is unknown about the spread itself has no finite standard error."""
CONFIDENCE: Final = 0.95

_KINK_ERRORS: Final = 2.0
# Where the bound is narrowest: between about 8 and 60 squares. Any value is valid.
_PRECISION_OF_MIXTURE: Final = 0.3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Precision:
    """What is known after `squares` whole squares.

    `values_pp` are the standard errors of the clients' values in percentage points, `payments_micro` those of their
    payments in micro-FedCoin (infinite while no value is positive), both `widening` for few squares. With 95%
    probability every payment by this miner's estimate is, at all times at which anybody looks, within `bound_micro` of
    that by exact values.
    """

    squares: int
    values_pp: tuple[float, ...]
    payments_micro: tuple[float, ...]
    bound_micro: float


class Spread:
    """Sums over whole squares: of each client's mean marginal of u − p, and of their products.

    Args:
        images: n.
        public: φ(p) of each client in images, (K,): what the estimate adds to its own mean.
        train_micro: what is shared among the clients.
        public_squares: what `public` is the mean of, (squares, K); None where it is exact.
    """

    def __init__(
        self, images: int, public: Floats, train_micro: int, public_squares: Floats | None = None
    ) -> None:
        self.squares = 0
        self._images = images
        self._public = public
        self._train_micro = train_micro
        self._sums = np.zeros(len(public))
        self._products = np.zeros((len(public), len(public)))
        self._public_squares = 0 if public_squares is None else len(public_squares)
        self._public_covariance = (
            np.zeros_like(self._products) if public_squares is None else covariance_of_mean(public_squares)
        )

    def add(self, squares: Floats) -> None:
        """Take in whole squares, (squares, K): each client's mean marginal of u − p, in images."""
        self.squares += len(squares)
        self._sums += squares.sum(axis=0)
        self._products += squares.T @ squares

    def precision(self) -> Precision | None:
        """The errors now; None before `LEAST_SQUARES` whole squares."""
        if self.squares < LEAST_SQUARES:
            return None
        mean = self._sums / self.squares
        # Of integers over few rankings, in float64: a difference of sums loses nothing that matters here.
        own = (self._products / self.squares - np.outer(mean, mean)) / (self.squares - 1)
        covariance = widening(self.squares) ** 2 * own
        if self._public_squares:
            covariance += widening(self._public_squares) ** 2 * self._public_covariance
        values = self._public + mean
        return Precision(
            squares=self.squares,
            values_pp=tuple((100 / self._images * np.sqrt(np.maximum(np.diag(covariance), 0.0))).tolist()),
            payments_micro=tuple(payment_errors(values, covariance, self._train_micro).tolist()),
            bound_micro=self._bound_micro(values, own),
        )

    def _bound_micro(self, values: Floats, own: Floats) -> float:
        """Whatever the own squares may be off, and whatever the public ones may, at worst together."""
        parts = [(self.squares, own)]
        if self._public_squares:
            parts.append((self._public_squares, self._public_covariance))
        alpha = (1 - CONFIDENCE) / (len(values) * len(parts))
        bound = 0.0
        for squares, covariance in parts:
            factor = looks_factor(squares, alpha)
            largest = float(payment_errors(values, covariance, self._train_micro).max())
            bound += inf if factor == inf else factor * largest
        return bound


def covariance_of_mean(squares: Floats) -> Floats:
    """Of the mean of independent squares (squares, K), from their spread: (K, K)."""
    covariance: Floats = np.cov(squares, rowvar=False) / len(squares)
    return covariance


def widening(squares: int) -> float:
    """What a standard error from the spread of `squares` draws is multiplied by, since the spread is an estimate too.

    Their mean lies about the true one as Student's t with one degree of freedom less than draws, whose standard
    deviation this is: two of them hold 95 to 96 of 100 cases however few the squares are.
    """
    freedom = squares - 1
    return sqrt(freedom / (freedom - 2))


def square_means(walked: Orders, values: Counts, empty: int, per_square: int) -> Floats:
    """Each client's mean marginal in each whole square, (squares, K).

    `walked` are the rankings of those squares, (squares·per_square, K); `values` the visited coalitions' values, of
    the same shape; `empty` is the value of ∅.
    """
    clients = walked.shape[1]
    before = np.concatenate([np.full((len(values), 1), empty, np.int64), values[:, :-1]], axis=1)
    marginals = np.empty(walked.shape, np.float64)
    np.put_along_axis(marginals, walked, (values - before).astype(np.float64), axis=1)
    means: Floats = marginals.reshape(-1, per_square, clients).mean(axis=1)
    return means


def payment_errors(values: Floats, covariance: Floats, train_micro: int) -> Floats:
    """Standard errors of the payments, (K,), from the values' estimates and the covariance of these."""
    if values.max() <= 0:
        return np.full(len(values), inf)
    weights = np.maximum(values, 0.0)
    shares = weights / weights.sum()
    margin = _KINK_ERRORS * np.sqrt(np.maximum(np.diag(covariance), 0.0))
    # In units of TrainPrice / Σ max(0, φ): a client's own value counts, less its share of the sum's.
    gains = np.diag((values > -margin).astype(np.float64))
    variances = [
        _variances(gains - np.outer(shares, values > limit), covariance) for limit in (-margin, 0.0, margin)
    ]
    errors: Floats = train_micro / weights.sum() * np.sqrt(np.max(variances, axis=0))
    return errors


def _variances(gradient: Floats, covariance: Floats) -> Floats:
    """Of K linear functions of the values, (K,): the diagonal of G·Σ·Gᵀ."""
    variances: Floats = np.maximum(((gradient @ covariance) * gradient).sum(axis=1), 0.0)
    return variances


def looks_factor(squares: int, alpha: float) -> float:
    """How many standard errors of a mean of `squares` draws hold it at all times with probability 1 − alpha.

    Lai's confidence sequence for a mean of unknown variance (T. L. Lai, "On confidence sequences", Annals of
    Statistics 4, 1976; in this form H. Wang and A. Ramdas, "Anytime-valid t-tests and confidence sequences for
    Gaussian means with unknown variance", 2023): the ratio of a Gaussian mixture over effect sizes to the null is a
    non-negative martingale, so it exceeds 1/alpha with probability at most alpha, however often one looks. It is
    exact for normal draws; a square averages at least K rankings. Infinite while the squares are too few.
    """
    prior = _PRECISION_OF_MIXTURE
    exponent = log((squares + prior) / (prior * alpha * alpha)) / squares
    room = (squares + prior) / prior
    if exponent >= log(room):
        return inf
    ratio = exp(exponent)
    return sqrt((squares - 1) * (ratio - 1) / (1 - ratio / room))
