from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from oracles import shapley, walk

from fedcoin_cli.consensus.rankings import on_grid, prefixes, ranking
from fedcoin_cli.learning.mining import sampling
from fedcoin_cli.learning.mining.engine import UtilityEngine
from fedcoin_cli.learning.mining.exact import common_denominator
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.proxy import ProxyCounts, make_proxy
from fedcoin_cli.learning.mining.sampling import Estimator, Plan, Session
from fedcoin_cli.learning.mining.table import Claim, TableTerms, derive

SEED, KEY = bytes(range(32)), bytes(range(32, 64))


class Clock:
    """Seconds that pass only when work is done."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Table:
    """A game given by its utilities; each coalition takes `cost_s` on the clock, and none is asked twice."""

    batch = 8

    def __init__(self, clients: int, clock: Clock, cost_s: float = 0.01) -> None:
        rng = np.random.default_rng(clients)
        self.values = [5, *rng.integers(0, 1000, (1 << clients) - 1).tolist()] if clients <= 20 else []
        self.asked: set[int] = set()
        self._clock = clock
        self._cost_s = cost_s

    def value(self, mask: int) -> int:
        return self.values[mask] if self.values else mask % 997

    def counts(self, masks: Sequence[int]) -> npt.NDArray[np.int64]:
        assert 0 < len(masks) <= self.batch
        assert not self.asked & set(masks)
        self.asked |= set(masks)
        self._clock.now += self._cost_s * len(masks)
        return np.array([self.value(mask) for mask in masks], np.int64)


def start(
    clients: int,
    runtime_s: float,
    estimator: Estimator = "auto",
    least: int = 1,
    most: int = 1000,
    cost_s: float = 0.01,
) -> tuple[Session, Table, Clock]:
    clock = Clock()
    table = Table(clients, clock, cost_s)
    most = next(number for number in range(most, 0, -1) if on_grid(number))
    plan = Plan(SEED, KEY, least, most, runtime_s, estimator)
    return Session(table, TableTerms(clients, 1000, 5), plan, clock), table, clock


def finish(session: Session) -> None:
    while not session.advance(0.05).finished:
        pass


def test_exact_when_it_fits() -> None:
    """With time for all coalitions the estimate is exact: Λ·φ, t = most, and each coalition evaluated once."""
    session, table, clock = start(7, runtime_s=10)
    finish(session)
    mined = session.estimate()
    assert mined.exact
    assert mined.values == tuple(int(common_denominator(7) * value) for value in shapley(table.values))
    assert mined.rankings == session.plan.most
    assert mined.sums == walk(table.values, [ranking(SEED, KEY, index, 7) for index in range(mined.rankings)])
    assert len(table.asked) == 127
    # It does not wait for RUNTIME.
    assert clock.now - 100 == pytest.approx(1.27)


@pytest.mark.parametrize("clients", [12, 30])
def test_sampled_when_it_does_not_fit(clients: int) -> None:
    """Without the time for all coalitions: balanced rankings until RUNTIME, t on the grid, sums of the pure walk."""
    session, table, clock = start(clients, runtime_s=5)
    finish(session)
    mined = session.estimate()
    assert not mined.exact
    assert mined.values is None
    assert on_grid(mined.rankings)
    assert mined.rankings <= session.progress().rankings < 1.11 * mined.rankings + 1
    totals = [0] * clients
    for index in range(mined.rankings):
        before = 5
        order = ranking(SEED, KEY, index, clients)
        for client, mask in zip(order, prefixes(order), strict=True):
            totals[client] += table.value(mask) - before
            before = table.value(mask)
    assert mined.sums == tuple(totals)
    assert 5 <= clock.now - 100 < 5.1


@pytest.mark.parametrize("estimator", ["auto", "exact", "balanced"])
@pytest.mark.parametrize("runtime_s", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("clients", [2, 3, 8, 25])
def test_everyone_derives_the_same(clients: int, runtime_s: float, estimator: Estimator) -> None:
    """Whatever a session ends with, its table proves exactly its sums to any other miner."""
    session, _, _ = start(clients, runtime_s, estimator)
    finish(session)
    mined = session.estimate()
    derived = derive(mined.table, Claim(SEED, KEY, mined.rankings, mined.exact), session.terms)
    assert (derived.sums, derived.values) == (mined.sums, mined.values)


def test_least_rankings_are_always_walked() -> None:
    """With RUNTIME 0 the least number of rankings is walked all the same, and an estimate before that is an error."""
    session, _, _ = start(14, runtime_s=0, least=5)
    with pytest.raises(ValueError, match="fewer"):
        session.estimate()
    finish(session)
    assert session.estimate().rankings == 5


def test_slices() -> None:
    """A slice stops soon after its budget, and slices add up to the same work as one long run."""
    session, _, clock = start(20, runtime_s=3)
    before = clock.now
    session.advance(0.1)
    assert 0.1 <= clock.now - before <= 0.1 + 8 * 0.01
    finish(session)
    whole, _, _ = start(20, runtime_s=3)
    whole.advance(1000)
    assert whole.estimate() == session.estimate()


def test_balanced_never_claims_exactness() -> None:
    """`balanced` walks to the most rankings although it has met every coalition on the way."""
    session, table, _ = start(3, runtime_s=100, estimator="balanced", most=50)
    finish(session)
    mined = session.estimate()
    assert len(table.asked) == 7
    assert (mined.exact, mined.rankings) == (False, session.plan.most)


def test_exact_is_tried_even_if_it_does_not_fit() -> None:
    """`exact` enumerates as long as RUNTIME lasts; what it walked before is its estimate if that was too short."""
    session, table, _ = start(10, runtime_s=4, estimator="exact", least=2)
    finish(session)
    assert session.estimate().rankings == 2
    assert not session.estimate().exact
    assert len(table.asked) >= 400
    session.extend(10)
    finish(session)
    assert session.estimate().exact


def test_attempts_go_on() -> None:
    """The next attempt continues the rankings: nothing is evaluated again, t grows."""
    session, table, clock = start(25, runtime_s=2)
    finish(session)
    first, asked = session.estimate(), len(table.asked)
    clock.now += 60
    session.extend(2)
    finish(session)
    assert session.estimate().rankings > first.rankings
    assert len(table.asked) > 1.9 * asked


def test_progress_counts_up() -> None:
    """Progress tells rankings, coalitions, and how many exactness needs once that is what is worked for."""
    session, _, _ = start(7, runtime_s=10)
    seen = []
    while not (progress := session.advance(0.1)).finished:
        seen.append(progress)
    assert [step.evaluated for step in seen] == sorted({step.evaluated for step in seen})
    assert seen[0].exact_total is None
    assert seen[-1].exact_total == progress.evaluated == 127


@pytest.mark.parametrize("clients", [6, 18])
def test_a_real_game_with_a_proxy(clients: int, make_game: Callable[..., Game]) -> None:
    """Engine, proxy and session together: the table of a sampled estimate proves the sums of u − p."""
    game = make_game(clients, 200)
    proxy = ProxyCounts(make_proxy(game), game.test.labels, game.weights)
    terms = TableTerms(clients, game.images, game.empty, proxy)
    session = Session(UtilityEngine(game), terms, Plan(SEED, KEY, 1, 60, 1000.0, "balanced"))
    finish(session)
    mined = session.estimate()
    derived = derive(mined.table, Claim(SEED, KEY, mined.rankings, exact=False), terms)
    assert (mined.rankings, mined.sums) == (session.plan.most, derived.sums)
    assert sum(mined.sums) == mined.rankings * (
        int(UtilityEngine(game).counts([game.full])[0]) - int(proxy.counts([game.full])[0])
    )


def test_walking_ends_where_memory_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far from its most rankings a session is full: it says so, ends, and its table still proves its sums."""
    monkeypatch.setattr(sampling, "MOST_BYTES", 2**20)
    session, _, _ = start(40, runtime_s=10_000)
    finish(session)
    assert session.progress().full
    mined = session.estimate()
    assert 50 < mined.rankings < session.plan.most
    terms = TableTerms(40, 1000, 5)
    assert derive(mined.table, Claim(SEED, KEY, mined.rankings, exact=False), terms).sums == mined.sums
