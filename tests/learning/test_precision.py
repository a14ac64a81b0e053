from collections.abc import Callable, Sequence
from math import inf, sqrt

import numpy as np
import numpy.typing as npt
import pytest
from fedcoin_cli.learning.mining.proxy import ProxyCounts, make_proxy, proxy_sums
from oracles import shapley

from fedcoin_cli.consensus.rankings import on_grid, rows_per_square
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.precision import (
    Spread,
    looks_factor,
    payment_errors,
    square_means,
)
from fedcoin_cli.learning.mining.reference import Reference
from fedcoin_cli.learning.mining.sampling import Estimator, Plan, Session, Stakes
from fedcoin_cli.learning.mining.table import TableTerms
from fedcoin_cli.learning.mining.walks import orders, prefix_keys

TRAIN_MICRO = 700_000_000


def saturating(clients: int, seed: int = 0) -> list[int]:
    """A game like accuracy of 10,000 images: a huge first step, then little, one client worth nothing."""
    rng = np.random.default_rng(seed)
    worth = np.append(rng.uniform(0.2, 2.0, clients - 1), 0.0)
    bits = (np.arange(1 << clients)[:, None] >> np.arange(clients)) & 1
    values = 9000 * (1 - np.exp(-(bits @ worth))) + rng.normal(0, 40, 1 << clients) * (bits.sum(1) > 0)
    return [0, *np.rint(values[1:]).astype(int).tolist()]


class Looked:
    """A game's utilities by look-up, each coalition for nothing."""

    batch = 32

    def __init__(self, game: Sequence[int]) -> None:
        self.game = np.array(game, np.int64)

    def counts(self, masks: Sequence[int]) -> npt.NDArray[np.int64]:
        return np.asarray(self.game[list(masks)])


def session_of(
    game: Sequence[int],
    number: int,
    most: int,
    error_micro: int | None = None,
    estimator: Estimator = "balanced",
) -> Session:
    clients = len(game).bit_length() - 1
    stakes = Stakes(TRAIN_MICRO, (0.0,) * clients, error_micro)
    most = next(count for count in range(most, 0, -1) if on_grid(count))
    plan = Plan(bytes(32), number.to_bytes(32, "big"), 1, most, 1e9, estimator, stakes)
    return Session(Looked(game), TableTerms(clients, 10_000, game[0]), plan)


def payments(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    weights = np.maximum(values, 0.0)
    return np.asarray(TRAIN_MICRO * weights / weights.sum())


def run(session: Session) -> Session:
    while not session.advance(60).finished:
        pass
    return session


def test_square_means_by_hand() -> None:
    """The mean marginals of a square are those of its rankings, client by client."""
    game = saturating(5)
    walked = orders(bytes(32), bytes(32), 0, 20, 5)
    values = np.array(game)[prefix_keys(walked).astype(int)]
    means = square_means(walked, values, game[0], rows_per_square(5))
    for square in range(2):
        totals = np.zeros(5)
        for order in walked[10 * square : 10 * square + 10]:
            mask = 0
            for client in order.tolist():
                totals[client] += game[mask | 1 << client] - game[mask]
                mask |= 1 << client
        np.testing.assert_allclose(means[square], totals / 10)


def test_nothing_before_four_squares() -> None:
    """Below four whole squares the error of the error has no bound: no error is claimed before the fourth."""
    for most in (8, 28):
        assert run(session_of(saturating(8), 0, most)).estimate().precision is None
    four = run(session_of(saturating(8), 0, 38)).estimate().precision
    assert four is not None
    assert four.squares == 4
    assert min(four.values_pp) > 0
    assert four.bound_micro == inf


@pytest.mark.parametrize(("clients", "squares"), [(7, 20), (8, 20), (8, 5)])
def test_standard_errors_are_calibrated(clients: int, squares: int) -> None:
    """Over 200 keys the true values and payments lie within two standard errors in 90 to 99 of 100 cases."""
    game = saturating(clients)
    truth = np.array([float(value) for value in shapley(game)])
    within: list[npt.NDArray[np.bool_]] = []
    for number in range(200):
        session = run(session_of(game, number, squares * rows_per_square(clients)))
        mined = session.estimate()
        assert mined.precision is not None
        own = np.array(mined.sums) / mined.rankings
        errors = [100 * np.array(mined.precision.values_pp), np.array(mined.precision.payments_micro)]
        off = [own - truth, payments(own) - payments(truth)]
        within.append(np.abs(off) < 2 * np.array(errors))
    shares = np.mean(within, axis=(0, 2))
    assert (shares > 0.90).all(), shares
    assert (shares < 0.99).all(), shares


@pytest.mark.parametrize("rankings", [1, 5, 14, 19])
def test_estimates_are_unbiased(rankings: int) -> None:
    """For whole and partial squares alike the mean over 400 keys is the exact value, up to its own random error."""
    game = saturating(7)
    truth = np.array([float(value) for value in shapley(game)])
    found = [
        np.array(run(session_of(game, number, rankings)).estimate().sums) / rankings for number in range(400)
    ]
    z = (np.mean(found, axis=0) - truth) / (np.std(found, axis=0, ddof=1) / np.sqrt(400))
    # P(|N| > x) ≤ exp(−x²/2): one false alarm in 100,000 families of seven.
    assert np.abs(z).max() < sqrt(2 * np.log(7e5))


def test_payment_errors_at_the_kink() -> None:
    """Far from 0 the error is the derivative's; a value within two errors of 0 still has a payment that may move."""
    covariance = np.diag([4.0, 4.0, 4.0])
    far = payment_errors(np.array([60.0, 40.0, -100.0]), covariance, 1000)
    step = 1e-4

    def pay(values: list[float]) -> npt.NDArray[np.float64]:
        weights = np.maximum(values, 0)
        return np.asarray(1000 * weights / weights.sum())

    slopes = [(pay([60 + step, 40, -100]) - pay([60, 40, -100])) / step]
    slopes += [(pay([60, 40 + step, -100]) - pay([60, 40, -100])) / step]
    np.testing.assert_allclose(far, 2 * np.sqrt(np.sum(np.square(slopes), axis=0)), atol=1e-3)
    assert far[2] == 0
    near = payment_errors(np.array([60.0, 40.0, -1.0]), covariance, 1000)
    assert near[2] > 0
    assert near[0] >= far[0]
    assert payment_errors(np.array([-1.0, -2.0, 0.0]), covariance, 1000).tolist() == [inf] * 3


def test_bound_holds_however_often_one_looks() -> None:
    """Looking after every square up to 300, the mean of normal draws ever leaves the bound in at most 5% of runs.

    The plain two standard errors are left in most runs: that is why a bound of its own is needed.
    """
    rng = np.random.default_rng(0)
    runs, longest = 2_000, 300
    draws = rng.standard_normal((runs, longest))
    counts = np.arange(1, longest + 1)
    mean = draws.cumsum(1) / counts
    variance = ((draws**2).cumsum(1) / counts - mean**2)[:, 1:] / (counts[1:] - 1)
    z = np.abs(mean[:, 1:]) / np.sqrt(variance)
    factors = np.array([looks_factor(count, 0.05) for count in range(2, longest + 1)])
    left = (z > factors).any(axis=1).mean()
    assert left <= 0.05
    assert (z > 2).any(axis=1).mean() > 0.2
    # It costs less than twice the width of a single look.
    assert 1.96 < factors[30] < 2 * 1.96


def test_bound_shrinks_to_the_law_of_the_logarithm() -> None:
    """More squares never make the bound wider than √log: a fixed multiple of the standard error would be wrong."""
    factors = [looks_factor(count, 0.005) for count in (5, 10, 30, 100, 10**4, 10**6)]
    assert factors[:4] == sorted(factors[:4], reverse=True)
    assert factors[3:] == sorted(factors[3:])
    assert factors[-1] < sqrt(2 * np.log(10**6) + 2 * np.log(1 / 0.005))


@pytest.mark.parametrize("error_coins", [20, 60])
def test_payment_error_stops_and_holds(error_coins: int) -> None:
    """Mining ends before the most rankings, and in at least 95 of 100 runs all payments are within the error asked."""
    game = saturating(8)
    truth = payments(np.array([float(value) for value in shapley(game)]))
    held, walked = [], []
    for number in range(60):
        session = run(session_of(game, number, 10_000, error_coins * 10**6))
        mined = session.estimate()
        own = payments(np.array(mined.sums) / mined.rankings)
        held.append(np.abs(own - truth).max() <= error_coins * 10**6)
        walked.append(mined.rankings)
        assert mined.precision is not None
        assert mined.precision.bound_micro <= error_coins * 10**6
    assert np.mean(held) >= 0.95
    assert max(walked) < 10_000
    assert min(walked) >= 40


def test_payment_error_only_shortens() -> None:
    """With a wide error the walk is a prefix of the one without; least rankings are walked all the same."""
    game = saturating(8)
    short = run(session_of(game, 1, 2_000, 12 * 10**6)).estimate()
    again = run(session_of(game, 1, short.rankings)).estimate()
    assert short.sums == again.sums
    assert short.table == again.table


def test_another_attempt_walks_on() -> None:
    """After an attempt that payment-error ended, the next one walks on to RUNTIME's end or the most rankings."""
    session = run(session_of(saturating(8), 1, 2_000, 12 * 10**6))
    first = session.estimate().rankings
    session.extend(1e9)
    assert run(session).estimate().rankings == session.plan.most > first


def test_auto_prefers_what_ends_sooner() -> None:
    """With time for all coalitions: exact without a wanted error or for a tiny one, a short walk for a wide one."""
    game = saturating(12)
    assert run(session_of(game, 0, 100_000, None, "auto")).estimate().exact
    assert run(session_of(game, 0, 100_000, 1, "auto")).estimate().exact
    wide = run(session_of(game, 0, 100_000, 60 * 10**6, "auto"))
    assert not wide.estimate().exact
    assert len(wide.memo) < 2_000
    assert run(session_of(game, 0, 100_000, 60 * 10**6, "exact")).estimate().exact


def test_a_proxy_makes_precise(make_game: Callable[..., Game]) -> None:
    """With a proxy values are φ(p) plus the walked rest, and the errors of the rest hold the true values."""
    game = make_game(6, 400)
    utilities = [game.empty, *(Reference(game).count(mask) for mask in range(1, 64))]
    truth = np.array([float(value) for value in shapley(utilities)])
    proxy = ProxyCounts(make_proxy(game), game.test.labels, game.weights)
    sums, denominator = proxy_sums(proxy, bytes(32), game.empty)
    public = tuple(total / denominator for total in sums)
    terms = TableTerms(6, game.images, game.empty, proxy)
    deviations = []
    for number in range(30):
        stakes = Stakes(TRAIN_MICRO, public)
        plan = Plan(bytes(32), number.to_bytes(32, "big"), 1, 100, 1e9, "balanced", stakes)
        plan_most = next(count for count in range(100, 0, -1) if on_grid(count))
        mined = run(Session(Looked(utilities), terms, _with_most(plan, plan_most))).estimate()
        assert mined.precision is not None
        own = np.array(public) + np.array(mined.sums) / mined.rankings
        deviations.append(100 / game.images * (own - truth) / np.array(mined.precision.values_pp))
    assert 0.85 < np.mean(np.abs(deviations) < 2) <= 1


def _with_most(plan: Plan, most: int) -> Plan:
    return Plan(plan.seed, plan.key, plan.least, most, plan.runtime_s, plan.estimator, plan.stakes)


def test_spread_in_parts() -> None:
    """Squares taken in one by one or together give the same errors, those of NumPy's covariance."""
    squares = np.random.default_rng(1).normal(5, 2, (30, 4))
    whole, parts = (Spread(1000, np.full(4, 50.0), TRAIN_MICRO) for _ in range(2))
    whole.add(squares)
    for square in squares:
        parts.add(square[None])
    one, other = whole.precision(), parts.precision()
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one.values_pp, other.values_pp)
    wider = 29 / 27
    np.testing.assert_allclose(one.values_pp, 0.1 * squares.std(0, ddof=1) * sqrt(wider / 30))
    np.testing.assert_allclose(
        one.payments_micro, payment_errors(50 + squares.mean(0), wider * np.cov(squares.T) / 30, TRAIN_MICRO)
    )


def test_public_squares_are_part_of_the_error() -> None:
    """Where φ(p) comes from squares, errors and bounds allow for both, over 300 draws."""
    rng = np.random.default_rng(2)
    truth, within, held = np.array([50.0, 30.0, 20.0]), [], []
    for _ in range(300):
        public = truth + rng.normal(0, 3, (20, 3))
        spread = Spread(1000, public.mean(0), TRAIN_MICRO, public)
        spread.add(rng.normal(0, 1, (40, 3)))
        found = spread.precision()
        assert found is not None
        own = public.mean(0) + spread._sums / 40
        within.append(np.abs(own - truth) < 20 * np.array(found.values_pp))
        held.append((np.abs(payments(own) - payments(truth)) <= found.bound_micro).all())
    assert 0.90 < np.mean(within) < 0.99
    assert np.mean(held) >= 0.95
