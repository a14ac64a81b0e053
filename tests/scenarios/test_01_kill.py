"""Scenario 1: kill −9 at every persist and send, enumerated in the simulator, and of real processes at random."""

import multiprocessing
import random
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import simulator
from planted import PLANTED
from real_miners import Miner, Network, network_of
from scenarios.rows import Row, quantile
from simulated.world import Faults, World
from statements import Statements

from fedcoin_cli.protocol.message import Vote

# A quiet round of R miners that settles soon, by seed.
QUIET_SEED = 6
PROCESSES = 2
MINERS, QUORUM = 4, 3
SAMPLE_KILLS, RELEASE_KILLS = 20, 1_000
REJOIN_P99_MS = 5_000
PATIENCE_S = 60.0


# Enumerated ---------------------------------------------------------------------------------------------------


def quiet_round(seed: int, miners: int, index: int, step: int, *, together: bool) -> list[str]:
    """The problems of a quiet round in which one miner, or all at the same moment, fall at that step of its."""

    def live(world: World) -> None:
        world.planned, world.together = {index: step}, together
        simulator.calm(world)

    return simulator.run(seed, miners=miners, faults=Faults(), real=False, live=live).problems


def boundaries(miners: int, every: int = 1) -> list[tuple[int, int]]:
    """Every so-manieth persist and send of each miner in a quiet round: (roster index, step)."""
    steps = simulator.run(QUIET_SEED, miners=miners, faults=Faults(), real=False, live=simulator.calm).steps
    return [(index, step) for index in range(miners) for step in range(1, steps[index] + 1)][::every]


def fall_at_each(miners: int, *, together: bool, every: int = 1) -> dict[tuple[int, int], list[str]]:
    """Fall at these boundaries, one history each; returns what went wrong in any."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        jobs = {
            place: pool.submit(partial(quiet_round, together=together), QUIET_SEED, miners, *place)
            for place in boundaries(miners, every)
        }
        return {place: job.result() for place, job in jobs.items()}


@pytest.mark.parametrize(
    ("miners", "together", "every"),
    [(1, False, 1), (2, False, 1), (2, True, 1), (3, False, 1), (3, True, 3), (4, False, 9), (5, True, 17)],
)
def test_a_crash_at_every_boundary_of_a_round(miners: int, together: bool, every: int) -> None:
    """kill −9 before and after each persist and before each send, of each miner in turn: nothing is said twice.

    [P-10.22] [P-13.10]
    """
    found = fall_at_each(miners, together=together, every=every)
    assert {place: problems for place, problems in found.items() if problems} == {}
    assert len(found) >= 40 * miners // every


@pytest.mark.parametrize("bug", ["log_ignored", "opening_not_persisted", "commit_not_persisted"])
def test_enumerated_crashes_find_what_a_restart_forgets(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The enumeration can fail: with a bug of persisting planted, some boundary of R = 2 shows it."""
    PLANTED[bug](monkeypatch)
    assert any(quiet_round(QUIET_SEED, 2, 0, step, together=False) for step in range(1, 60))


# Real processes -----------------------------------------------------------------------------------------------


@dataclass
class Killed:
    """What became of the kills: conflicts and lost blocks must stay 0."""

    kills: int = 0
    rejoined_ms: list[int] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    height: int = 0
    statements: int = 0


class Killing:
    """A network under load in which one miner after the other is killed and started again."""

    def __init__(self, network: Network, dice: random.Random) -> None:
        self._network = network
        self._dice = dice
        self._said = Statements(network.genesis)
        self._kept: list[tuple[Miner, int, str]] = []
        self._voted: dict[int, tuple[int, int]] = {}
        self.report = Killed()

    def kill_one(self) -> None:
        """SIGKILL at any moment, a start at once or a little later, and wait until it votes on a new block."""
        victim = self._dice.choice(self._network.miners)
        time.sleep(self._dice.uniform(0, 0.4))
        victim.kill()
        self._kept.append((victim, *victim.head()))
        time.sleep(self._dice.choice((0, 0, self._dice.uniform(0, 1))))
        height = max(miner.height for miner in self._network.miners if miner is not victim)
        began_ms = time.monotonic_ns() // 10**6
        victim.start()
        index = self._network.genesis.roster.index(victim.address)
        until_s = time.monotonic() + PATIENCE_S
        while self._voted.get(index, (0, 0))[0] <= height or self._voted[index][1] < began_ms:
            assert time.monotonic() < until_s, f"miner {victim.number} did not come back"
            time.sleep(0.02)
            self.listen()
        self.report.kills += 1
        self.report.rejoined_ms.append(self._voted[index][1] - began_ms)

    def listen(self) -> None:
        """Take in what everybody heard: what was said, and how far each miner's own votes have got."""
        for miner in self._network.miners:
            for heard in miner.heard():
                self._said.hear(heard.message)
                said = heard.message
                own = isinstance(said, Vote) and self._network.genesis.roster[said.voter] == heard.sender
                if isinstance(said, Vote) and own and said.height > self._voted.get(said.voter, (0, 0))[0]:
                    self._voted[said.voter] = said.height, heard.at_ms

    def judge(self) -> Killed:
        """With the load gone: all ledgers equal, and what was final before each kill still is."""
        until_s = time.monotonic() + PATIENCE_S
        while not self._network.equal() and time.monotonic() < until_s:
            time.sleep(0.1)
        self.listen()
        if not self._network.equal():
            self.report.lost.append("the ledgers differ at the end")
        for miner, height, block in self._kept:
            if miner.height < height or miner.block_id(height) != block:
                self.report.lost.append(f"block {height} of miner {miner.number}")
        self.report.conflicts = self._said.conflicts
        self.report.statements = len(self._said.said)
        self.report.height = self._network.miners[0].height
        return self.report


def kill_real_miners(folder: Path, kills: int, seed: int) -> Killed:
    """So many SIGKILLs of four miners that pay all the while."""
    with network_of(folder, MINERS) as network:
        network.start()
        killing = Killing(network, random.Random(seed))
        with network.paying():
            for _ in range(kills):
                killing.kill_one()
        return killing.judge()


def test_killed_miners_contradict_nobody_and_lose_nothing(tmp_path: Path) -> None:
    """Twenty real SIGKILLs under load: every miner comes back, no two signatures conflict, no block is lost."""
    report = kill_real_miners(tmp_path, SAMPLE_KILLS, 1)
    assert report.conflicts == []
    assert report.lost == []
    assert report.kills == SAMPLE_KILLS
    assert report.height > SAMPLE_KILLS
    # How many blocks there are depends on the machine; each of them takes two rounds of a quorum's votes.
    assert report.statements >= 2 * QUORUM * report.height


# The table ----------------------------------------------------------------------------------------------------


def measure(*, full: bool) -> list[Row]:
    """Every boundary of R = 1..5, one falling and all falling; then real kills."""
    rows = []
    for together in (False, True):
        found = {
            miners: fall_at_each(miners, together=together, every=1 if full else 5) for miners in range(1, 6)
        }
        crashes = sum(map(len, found.values()))
        wrong = sum(bool(problems) for places in found.values() for problems in places.values())
        who = "all miners at once" if together else "one miner"
        rows.append(
            Row(
                "kill −9 at every boundary",
                f"{crashes} crashes of {who} at persist/send boundaries, R = 1..5, simulated",
                "0 conflicting signatures, 0 lost final blocks",
                f"{wrong} rounds with any problem",
                wrong == 0,
            )
        )
    folder = Path(tempfile.mkdtemp(prefix="kills"))
    try:
        report = kill_real_miners(folder, RELEASE_KILLS if full else SAMPLE_KILLS, 1)
    finally:
        shutil.rmtree(folder)
    return [*rows, _row(report)]


def _row(report: Killed) -> Row:
    p50, p99 = (quantile(report.rejoined_ms, share) for share in (0.5, 0.99))
    measured = (
        f"{len(report.conflicts)} conflicts in {report.statements} signed statements, {len(report.lost)} blocks lost "
        f"of {report.height}; rejoin p50 {p50 / 1000:.2f} s, p99 {p99 / 1000:.2f} s"
    )
    return Row(
        "kill −9 of real miners",
        f"{report.kills} SIGKILLs, R = {MINERS}, an account paying all the time",
        "0 conflicting signatures, 0 lost final blocks, rejoin p99 ≤ 5 s",
        measured,
        not report.conflicts and not report.lost and p99 <= REJOIN_P99_MS,
    )
