"""One miner's work on one task: what it ends with, when it ends, and what survives it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from block_games import BlockGame, finish, picture_game, random_game, sums_by_hand
from memory import peak_bytes
from oracles import shapley

from fedcoin_cli.consensus.rankings import grid_up_to, on_grid
from fedcoin_cli.learning.shapley.sampling import Estimator, MinedEstimate, MiningPlan, MiningSession, Stakes
from fedcoin_cli.learning.shapley.table import Claim, TableTerms, derive
from ledger_store.transaction import exact_denominator

SEED, KEY = bytes(range(32)), bytes(range(32, 64))
STAKES = Stakes(700_000_000)

Counts = npt.NDArray[np.int64]
Edit = Callable[[bytes], bytes]


class Clock:
    """Seconds that pass only when work is done."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Walking:
    """A walker that takes `cost_s` a ranking and block, and counts how often each is walked."""

    together = 1

    def __init__(self, game: BlockGame, clock: Clock, cost_s: float = 0.001) -> None:
        self.game, self._clock, self._cost_s = game, clock, cost_s
        self.walked, self.slices = 0, list[tuple[int, int]]()

    def ends(self) -> tuple[Counts, Counts]:
        return self.game.ends()

    def walk(self, blocks: range, walked: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
        self._clock.now += self._cost_s * len(blocks) * walked.shape[1]
        self.walked += len(blocks) * walked.shape[1]
        self.slices.append((len(blocks), walked.shape[1]))
        return self.game.walk(blocks, walked)


class Enumerating:
    """All coalitions of a game, one after the other, a tenth of a second a step."""

    def __init__(self, game: BlockGame, clock: Clock, seconds: float) -> None:
        self.total, self._counts = (1 << game.clients) - 1, np.array(game.whole[1:])
        self._clock, self._seconds, self._spent = clock, seconds, 0.0

    @property
    def done(self) -> int:
        return min(self.total, int(self.total * (self._spent + 1e-9) / self._seconds))

    def step(self) -> None:
        self._clock.now += 0.1
        self._spent += 0.1

    def seconds_left(self) -> float | None:
        return self._seconds - self._spent if self._spent else None

    def counts(self) -> Counts:
        assert self.done == self.total
        return self._counts

    def save(self, path: Path) -> None:
        path.write_text(str(self._spent))

    def restore(self, path: Path) -> None:
        if path.is_file():
            self._spent = float(path.read_text())


class Work:
    """A session of `clients` over 20 blocks, its walker, enumeration and clock."""

    def __init__(
        self,
        clients: int = 5,
        runtime_s: float = 10.0,
        estimator: Estimator = "auto",
        *,
        least: int = 1,
        most: int = 9_535,
        cost_s: float = 0.001,
        exact_s: float | None = 1.0,
        stakes: Stakes | None = STAKES,
    ) -> None:
        self.clock = Clock()
        self.game = random_game(clients, [16] * 13 + [15] * 7, seed=clients)
        self.walker = Walking(self.game, self.clock, cost_s)
        self.enumeration = None if exact_s is None else Enumerating(self.game, self.clock, exact_s)
        plan = MiningPlan(SEED, KEY, least, most, runtime_s, estimator, stakes)
        # The task's u(∅) need not be the sum of the blocks'.
        self.terms = replace(self.game.terms, empty=3)
        self.session = MiningSession(self.walker, self.enumeration, self.terms, plan, self.clock)

    def finish(self) -> MinedEstimate:
        while not self.session.advance(0.05).finished:
            pass
        return self.session.estimate()

    def save(self, path: Path) -> None:
        self.session.save(path, path.with_name("all"))

    def restore(self, path: Path) -> None:
        self.session.restore(path, path.with_name("all"))

    @property
    def taken_s(self) -> float:
        return self.clock.now - 100


# What it ends with ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ["auto", "exact"])
def test_exact_when_it_fits(estimator: Estimator) -> None:
    """With time for all coalitions the estimate is exact: Λ·φ with the task's u(∅), t the most, and no waiting."""
    work = Work(7, estimator=estimator)
    mined = work.finish()
    utilities = [3, *work.game.whole[1:]]
    assert (mined.exact, mined.rankings, mined.precision) == (True, 9_535, None)
    assert mined.sums == tuple(int(exact_denominator(7) * value) for value in shapley(utilities))
    assert work.session.known() is not None
    assert work.taken_s < 1.5


@pytest.mark.parametrize("exact_s", [None, 40.0])
@pytest.mark.parametrize("clients", [2, 9])
def test_sampled_when_it_does_not_fit(clients: int, exact_s: float | None) -> None:
    """Without the time for all coalitions: rankings until RUNTIME, t on the grid, sums of the walk by hand."""
    work = Work(clients, runtime_s=5, exact_s=exact_s)
    mined = work.finish()
    assert not mined.exact
    assert on_grid(mined.rankings)
    assert mined.rankings <= work.session.progress().rankings < 1.11 * mined.rankings + 1
    assert mined.sums == sums_by_hand(work.game, SEED, KEY, range(mined.rankings))
    assert mined.rankings > 150
    assert 5 <= work.taken_s < 5.3
    assert work.session.known() is None


@pytest.mark.parametrize("estimator", ["auto", "exact", "balanced"])
@pytest.mark.parametrize("runtime_s", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("clients", [1, 2, 3, 8])
@pytest.mark.parametrize("stakes", [None, STAKES, Stakes(700_000_000, 90_000_000)])
def test_everyone_derives_the_same(
    clients: int, runtime_s: float, estimator: Estimator, stakes: Stakes | None
) -> None:
    """Whatever a session ends with, its table proves exactly its sums to any other miner."""
    work = Work(clients, runtime_s, estimator, stakes=stakes)
    mined = work.finish()
    assert derive(mined.table, Claim(SEED, KEY, mined.rankings, mined.exact), work.terms) == mined.sums


def test_least_rankings_are_always_walked() -> None:
    """With RUNTIME 0 the least number of rankings is walked all the same, and an estimate before that is an error."""
    work = Work(8, runtime_s=0, least=5, estimator="balanced")
    with pytest.raises(ValueError, match="fewer"):
        work.session.estimate()
    assert work.finish().rankings == 5
    # Also before anything is enumerated.
    assert Work(8, runtime_s=0, least=5, estimator="exact").finish().rankings == 5


def test_balanced_never_enumerates() -> None:
    """`balanced` walks to the most rankings although all coalitions would fit."""
    work = Work(3, runtime_s=1e6, estimator="balanced", most=50)
    mined = work.finish()
    assert (mined.exact, mined.rankings) == (False, 50)
    assert work.enumeration is not None
    assert work.enumeration.done == 0


def test_too_many_clients_are_never_enumerated() -> None:
    """Beyond the clients of which a table of all coalitions is no file, `exact` walks."""

    class Many(Walking):
        def ends(self) -> tuple[Counts, Counts]:
            return np.zeros(2, np.int64), np.full(2, 7)

        def walk(self, blocks: range, walked: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
            self._clock.now += 0.1
            return np.full((len(blocks), walked.shape[1], walked.shape[2] - 1), 5, np.uint8)

    clock, game = Clock(), random_game(3, [8, 8])
    session = MiningSession(
        Many(game, clock),
        Enumerating(game, clock, 1.0),
        TableTerms(25, game.sizes, 0),
        MiningPlan(SEED, KEY, 1, 39, 1.0, "exact"),
        clock,
    )
    assert not finish(session).estimate().exact


def test_exact_is_tried_even_if_it_does_not_fit() -> None:
    """`exact` enumerates as long as RUNTIME lasts; what it walked before is its estimate until the next attempt."""
    work = Work(10, runtime_s=4, estimator="exact", least=2, exact_s=6.0)
    mined = work.finish()
    assert not mined.exact
    assert 2 <= mined.rankings < 10
    work.session.extend(10)
    assert work.finish().exact
    assert work.taken_s < 6.5


# When it works at what -----------------------------------------------------------------------------------------------


def test_slices_stop_soon_and_add_up() -> None:
    """A slice ends soon after its budget, however slow a block is; slices make the table of one long run."""
    slow, fast = (
        Work(6, 60.0, "balanced", most=50, cost_s=0.02),
        Work(6, 60.0, "balanced", most=50, cost_s=1e-5),
    )
    while not slow.session.progress().finished:
        before = slow.clock.now
        slow.session.advance(0.1)
        assert slow.clock.now - before <= 0.1 + 16 * 0.02
    fast.session.advance(1e9)
    one, other = slow.session.estimate(), fast.session.estimate()
    assert (one.table, one.sums, one.rankings) == (other.table, other.sums, other.rankings)
    # A slow walker is asked for few blocks of few rankings, a fast one for several rankings of all.
    assert slow.walker.slices[0][1] == 1
    assert slow.walker.slices[-1][0] < 16
    assert max(rankings for blocks, rankings in fast.walker.slices if blocks == 20) > 1


def test_attempts_go_on() -> None:
    """The next attempt continues the rankings: nothing is walked again, the old table is the new one's beginning.

    [P-7.9]
    """
    work = Work(12, runtime_s=2, exact_s=None)
    first = work.finish()
    work.clock.now += 60
    work.session.extend(2)
    second = work.finish()
    assert second.rankings > 1.8 * first.rankings
    # At most one part more than the whole rankings.
    assert 0 <= work.walker.walked - 20 * work.session.progress().rankings < 20 * 10
    assert sums_by_hand(work.game, SEED, KEY, range(first.rankings)) == first.sums
    ends, steps = 40, 11 * first.rankings
    for block in range(20):
        start = ends + block * 11 * second.rankings
        assert first.table[ends + block * steps :][:steps] == second.table[start:][:steps]


def test_auto_decides_anew_in_the_next_attempt() -> None:
    """What does not fit into the first attempt is enumerated in a longer second one."""
    work = Work(8, runtime_s=2, exact_s=5.0)
    assert not work.finish().exact
    work.session.extend(20)
    assert work.finish().exact


def test_progress_counts_up() -> None:
    """Progress tells rankings that every block has walked, and what is enumerated of how much once that is decided."""
    work, seen = Work(7, exact_s=3.0), []
    while not (progress := work.session.advance(0.05)).finished:
        seen.append(progress)
    assert [step.enumerated for step in seen] == sorted(step.enumerated for step in seen)
    assert (seen[0].exact_total, seen[-1].exact_total, progress.enumerated) == (None, 127, 127)
    walk = Work(7, 3.0, "balanced", cost_s=0.02)
    while not (progress := walk.session.advance(0.05)).finished:
        assert progress.rankings == walk.walker.walked // 20


def test_nothing_is_said_of_errors_without_stakes() -> None:
    """Without stakes neither progress nor estimate has a precision; with stakes both have, from two rankings on."""
    assert Work(5, 1.0, "balanced", stakes=None).finish().precision is None
    assert Work(5, 1.0, "balanced", most=1).finish().precision is None
    two = Work(5, 1.0, "balanced", most=2)
    assert two.finish().precision is not None
    assert two.session.progress().precision == two.session.estimate().precision


# Payments known well enough ------------------------------------------------------------------------------------------


def session_of(
    game: BlockGame,
    number: int = 0,
    *,
    most: int = 9_535,
    error_micro: int | None = None,
    estimator: Estimator = "balanced",
) -> MiningSession:
    """A session over a game by look-up, on a clock that its enumeration alone moves."""
    clock = Clock()
    plan = MiningPlan(
        SEED, number.to_bytes(32, "big"), 1, most, 1e9, estimator, Stakes(700_000_000, error_micro)
    )
    return MiningSession(Walking(game, clock, 1e-5), Enumerating(game, clock, 1.0), game.terms, plan, clock)


def test_payment_error_only_shortens() -> None:
    """With a wide error the walk is a beginning of the one without, and says a bound within it."""
    game = picture_game(6, 400)
    short = finish(session_of(game, error_micro=8_000_000)).estimate()
    again = finish(session_of(game, most=short.rankings)).estimate()
    assert 1 < short.rankings < 9_535
    assert (short.sums, short.table) == (again.sums, again.table)
    assert short.precision is not None
    assert short.precision.bound_micro <= 8_000_000


def test_least_rankings_are_walked_for_any_error() -> None:
    """An error that two rankings reach does not end the walk before the least."""
    game = picture_game(6, 400)
    session = session_of(game, error_micro=10**15)
    session.plan = replace(session.plan, least=30)
    assert finish(session).estimate().rankings >= 30


def test_another_attempt_walks_on() -> None:
    """After an attempt that payment-error ended, the next one walks on to RUNTIME's end or the most rankings."""
    session = finish(session_of(picture_game(6, 400), most=94, error_micro=20_000_000))
    assert session.estimate().rankings < 94
    session.extend(1e9)
    assert finish(session).estimate().rankings == 94


def test_auto_prefers_what_ends_sooner() -> None:
    """With time for all coalitions: exact without a wanted error or for a tiny one, a short walk for a wide one."""
    game = picture_game(8, 400)
    for error_micro, exact in ((None, True), (1, True), (40_000_000, False)):
        found = finish(session_of(game, error_micro=error_micro, estimator="auto")).estimate()
        assert found.exact == exact
    some = finish(session_of(game, error_micro=4_000_000, estimator="auto")).estimate()
    assert (some.exact, some.rankings > 16) == (False, True)
    assert finish(session_of(game, error_micro=40_000_000, estimator="exact")).estimate().exact


# A crash -------------------------------------------------------------------------------------------------------------


def interrupted(path: Path, at: int, cost_s: float = 0.005) -> Work:
    """A session of 60 rankings that restores what one of `at` rankings has left in the file."""
    first = Work(5, 60.0, "balanced", cost_s=cost_s)
    while first.session.progress().rankings < at:
        first.session.advance(0.0)
        first.save(path)
    again = Work(5, 60.0, "balanced", most=60, cost_s=0.005)
    again.restore(path)
    return again


@pytest.mark.parametrize("cost_s", [0.005, 1e-4])
@pytest.mark.parametrize("at", [1, 9, 10, 11, 37, 60])
def test_a_session_outlives_its_process(at: int, cost_s: float, tmp_path: Path) -> None:
    """Restored at any ranking: the same bytes, sums and errors as an uninterrupted run, and nothing is walked again."""
    again, whole = (
        interrupted(tmp_path / "kept", at, cost_s),
        Work(5, 60.0, "balanced", most=60, cost_s=0.005),
    )
    kept = again.session.progress().rankings
    assert at <= kept < at + (2 if cost_s == 0.005 else 10)
    one, other = again.finish(), whole.finish()
    assert (one.table, one.sums, one.rankings) == (other.table, other.sums, other.rankings)
    assert again.walker.walked == 20 * (60 - kept)
    assert one.precision is not None
    assert other.precision is not None
    np.testing.assert_allclose(one.precision.values_pp, other.precision.values_pp)
    np.testing.assert_allclose(one.precision.images_micro, other.precision.images_micro)


def test_what_is_restored_is_saved_on(tmp_path: Path) -> None:
    """Two crashes one after the other: the file grows ranking by ranking and holds each once."""
    path = tmp_path / "kept"
    again = interrupted(path, 20)
    while again.session.progress().rankings < 40:
        again.session.advance(0.0)
        again.save(path)
    third = Work(5, 60.0, "balanced", most=60)
    third.restore(path)
    assert third.session.progress().rankings == again.session.progress().rankings
    assert path.stat().st_size == 20 * 4 * third.session.progress().rankings
    assert third.finish().table == Work(5, 60.0, "balanced", most=60).finish().table


def test_a_file_that_went_away_is_written_anew(tmp_path: Path) -> None:
    """Removed or cut short between two saves, the file does not begin in the middle: what it holds is the beginning."""
    for spoil in (Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-100])):
        path, first = tmp_path / "kept", Work(5, 60.0, "balanced", most=60, cost_s=0.005)
        while (done := first.session.progress().rankings) < 40:
            first.session.advance(0.0)
            first.save(path)
            if done == 20 and path.exists():
                spoil(path)
        again = Work(5, 60.0, "balanced", most=60)
        again.restore(path)
        assert again.finish().table == Work(5, 60.0, "balanced", most=60).finish().table


@pytest.mark.parametrize("cut", [1, 79, 81, 500])
def test_half_a_ranking_is_walked_again(cut: int, tmp_path: Path) -> None:
    """A file whose last bytes were not written holds its whole rankings; the rest is walked and saved as well."""
    path = tmp_path / "kept"
    interrupted(path, 30)
    path.write_bytes(path.read_bytes()[:-cut])
    again = Work(5, 60.0, "balanced", most=60)
    again.restore(path)
    assert again.session.progress().rankings == path.stat().st_size // 80
    assert again.finish().table == Work(5, 60.0, "balanced", most=60).finish().table
    again.save(path)
    third = Work(5, 60.0, "balanced", most=60)
    third.restore(path)
    assert third.session.estimate().table == again.session.estimate().table


FOREIGN: dict[str, Edit] = {
    "none": lambda _: b"",
    "a few bytes": lambda data: data[:79],
    "counts above a block": lambda data: data[:33] + b"\x11" + data[34:],
    "counts above the last block": lambda data: data[:77] + b"\x10" + data[78:],
    "text": lambda _: b"This is not a file of counts. " * 99,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_cannot_be_of_this_game_is_not_restored(kind: str, tmp_path: Path) -> None:
    """A file of something else changes nothing, and is overwritten by what is walked."""
    path = tmp_path / "kept"
    interrupted(path, 12)
    path.write_bytes(FOREIGN[kind](path.read_bytes()))
    again = Work(5, 60.0, "balanced", most=60)
    again.restore(path)
    assert again.session.progress().rankings == 0
    table = again.finish().table
    assert table == Work(5, 60.0, "balanced", most=60).finish().table
    again.save(path)
    third = Work(5, 60.0, "balanced", most=60)
    third.restore(path)
    assert third.session.estimate().table == table


@pytest.mark.parametrize("estimator", ["auto", "exact"])
def test_what_is_enumerated_outlives_its_process_too(estimator: Estimator, tmp_path: Path) -> None:
    """Half of all coalitions before the crash, the other half after it; where all were done, nothing is left to do."""
    first = Work(6, 60.0, estimator, exact_s=4.0)
    while first.clock.now < 102:
        first.session.advance(0.1)
    first.save(tmp_path / "kept")
    again = Work(6, 60.0, estimator, exact_s=4.0)
    again.restore(tmp_path / "kept")
    assert again.finish() == first.finish()
    assert again.taken_s < 2.6
    first.save(tmp_path / "kept")
    done = Work(6, 60.0, estimator, exact_s=4.0)
    done.restore(tmp_path / "kept")
    assert done.finish() == first.finish()
    assert done.taken_s < 0.3


def test_no_file_and_no_room_are_no_error(tmp_path: Path) -> None:
    """Nothing to restore, a folder in its place, a place that cannot be written: the session goes on as ever."""
    work = Work(5, 60.0, "balanced", most=60)
    work.restore(tmp_path / "missing")
    work.restore(tmp_path)
    work.session.advance(0.1)
    assert work.session.progress().rankings > 0
    work.save(tmp_path / "missing" / "kept")
    assert work.finish().table == Work(5, 60.0, "balanced", most=60).finish().table


def test_more_than_the_most_rankings_are_cut(tmp_path: Path) -> None:
    """A file of more rankings than this attempt admits gives the most, at once."""
    path = tmp_path / "kept"
    interrupted(path, 50)
    work = Work(5, 60.0, "balanced", most=grid_up_to(33))
    work.restore(path)
    assert work.finish().rankings == work.session.progress().rankings == 33
    assert work.walker.walked == 0


def test_many_clients_are_restored_in_little_memory(tmp_path: Path) -> None:
    """What is laid out to take over the rankings of 150 clients is a few times the file, not all orders at once."""
    blocks, clients, most = 80, 150, 278
    terms = TableTerms(clients, np.full(blocks, 16), 0)
    path, game = tmp_path / "kept", random_game(1, [16] * blocks)
    path.write_bytes(bytes(blocks * (clients - 1) * most))
    plan = MiningPlan(SEED, KEY, 1, most, 60.0, "balanced", STAKES)
    session = MiningSession(Walking(game, Clock()), None, terms, plan)
    assert peak_bytes(lambda: session.restore(path, tmp_path / "all")) < 12 * path.stat().st_size
    assert session.progress().rankings == most


def test_one_client_is_restored_too(tmp_path: Path) -> None:
    """The rankings of a single client visit nothing between the ends; its empty file is no error."""
    work = Work(1, 60.0, "balanced", most=20)
    work.finish()
    work.save(tmp_path / "kept")
    again = Work(1, 60.0, "balanced", most=20)
    again.restore(tmp_path / "kept")
    assert again.finish().sums == work.session.estimate().sums
