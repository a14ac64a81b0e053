"""Scenario 6: partitions of a minority, into halves, one way; healed at random. Simulated, and between processes."""

import multiprocessing
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from planted import PLANTED
from real_miners import Network, network_of
from scenarios.heights import history, settle, start
from scenarios.rows import Row, quantile
from simulated.world import Faults, World

KINDS = ("minority", "halves", "one way")
SAMPLE_HISTORIES, RELEASE_HISTORIES = 20, 1_000
REAL_S = 3.0
HEALED_MOST_MS = 60_000
PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Parted:
    """One simulated partition: what broke, how many blocks the cut-off made, how long until all were equal."""

    problems: tuple[str, ...]
    alone: int
    healed_ms: int


def part(seed: int, kind: str) -> Parted:
    """R = 4..7 with something to decide all the time; parted for 5 to 60 s, in the middle of things."""
    dice = Random(f"{kind} {seed}")
    miners = dice.randint(4, 7)
    seen = [0, 0]

    def live(world: World) -> None:
        heights = start(world)
        world.run_until(dice.randint(2_000, 10_000), lambda: False)
        faults, quorum = world.genesis.faults, world.genesis.quorum
        size = faults if kind == "minority" else miners // 2
        island = set(dice.sample(range(miners), size))
        rest = set(range(miners)) - island
        roster = world.genesis.roster
        pairs = {(roster[a], roster[b]) for a in island for b in rest}
        world._blocked |= pairs
        if kind != "one way":
            world._blocked |= {(b, a) for a, b in pairs}
        before = max(node.ledger.tip.height for node in world.nodes)
        world.run_until(world.now + dice.randint(5_000, 60_000), lambda: False)
        if kind == "one way":
            seen[0] = 0  # who still hears may follow what the others decide
        else:
            parts = (island, rest) if kind == "halves" and len(rest) < quorum else (island,)
            tips = [world.nodes[index].ledger.tip.height for members in parts for index in members]
            seen[0] = max(0, max(tips) - before - 1)  # one block may have been on its way
        seen[1] = settle(world, heights)

    problems = history(seed, miners, Faults(delay_ms=(1, 100)), live)
    return Parted(tuple(problems), seen[0], seen[1])


def part_many(histories: int) -> dict[str, list[Parted]]:
    """So many of each kind."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        jobs = {kind: [pool.submit(part, seed, kind) for seed in range(histories)] for kind in KINDS}
        return {kind: [job.result() for job in several] for kind, several in jobs.items()}


def test_partitions_make_no_fork_and_heal() -> None:
    """Twenty histories a kind: no property breaks, no minority makes a block, and all are equal within a minute."""
    for kind, outcomes in part_many(SAMPLE_HISTORIES).items():
        assert [parted.problems for parted in outcomes if parted.problems] == [], kind
        assert [parted.alone for parted in outcomes if parted.alone] == [], kind
        assert max(parted.healed_ms for parted in outcomes) <= HEALED_MOST_MS, kind


def test_a_minority_that_could_decide_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The histories can fail: with q = 2f + 1 planted, halves of six decide on their own."""
    PLANTED["small_quorum"](monkeypatch)
    found = [problem for seed in range(12) for problem in part(seed, "halves").problems]
    assert any(problem.startswith("fork") for problem in found)


# Real processes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RealParted:
    """One partition between processes: blocks made by those cut off, and the time until all ledgers were equal."""

    kind: str
    alone: int
    healed_s: float


def part_real(network: Network, kind: str) -> RealParted:
    """Four miners that pay all the while; some wires carry nothing for a while."""
    everybody = {miner.number for miner in network.miners}
    island = {4} if kind == "minority" else {3, 4}
    if kind == "one way":
        network.wires.stall(4, 1)
        network.wires.stall(4, 2)
    else:
        network.wires.separate(island, everybody)
    cut_off = [miner for miner in network.miners if kind == "halves" or miner.number in island]
    time.sleep(1.0)  # what was on its way has arrived
    before = max(miner.height for miner in cut_off)
    time.sleep(REAL_S)
    after = max(miner.height for miner in cut_off)
    alone = 0 if kind == "one way" else after - before
    network.wires.heal()
    began_s = time.monotonic()
    target = max(miner.height for miner in network.miners) + 1
    while min(miner.height for miner in network.miners) < target:
        assert time.monotonic() - began_s < 90, "they did not come together again"
        time.sleep(0.05)
    return RealParted(kind, alone, time.monotonic() - began_s)


def real_partitions(folder: Path, rounds: int) -> list[RealParted]:
    """So many partitions of each kind; raises AssertionError when ledgers differ at the end."""
    with network_of(folder, 4) as network:
        network.start()
        with network.paying():
            found = [part_real(network, kind) for _ in range(rounds) for kind in KINDS]
        until_s = time.monotonic() + 60
        while not network.equal() and time.monotonic() < until_s:
            time.sleep(0.1)
        assert network.equal(), "the ledgers differ"
    return found


def test_parted_processes_come_together_again(tmp_path: Path) -> None:
    """Four real miners behind wires: cut-off ones make no block, and after the healing all go on together."""
    for parted in real_partitions(tmp_path, 1):
        assert parted.alone == 0, parted


# The table ----------------------------------------------------------------------------------------------------


def measure(*, full: bool) -> list[Row]:
    """Each kind simulated, then between real processes."""
    rows = []
    for kind, outcomes in part_many(RELEASE_HISTORIES if full else SAMPLE_HISTORIES).items():
        problems = sum(bool(parted.problems) for parted in outcomes)
        alone = sum(parted.alone for parted in outcomes)
        healed = [parted.healed_ms for parted in outcomes]
        rows.append(
            Row(
                f"partition: {kind}, simulated",
                f"{len(outcomes)} of 5–60 s, R = 4..7, healed at random",
                "0 forks; a minority finalises nothing; all equal soon after healing",
                f"{problems} histories with any problem, {alone} blocks by a minority; equal after "
                f"p50 {quantile(healed, 0.5) / 1000:.1f} s, worst {max(healed) / 1000:.1f} s (simulated time)",
                not problems and not alone and max(healed) <= HEALED_MOST_MS,
            )
        )
    folder = Path(tempfile.mkdtemp(prefix="parted"))
    try:
        found = real_partitions(folder, 10 if full else 1)
    finally:
        shutil.rmtree(folder)
    healed_s = [parted.healed_s for parted in found]
    alone = sum(parted.alone for parted in found)
    real = Row(
        "partitions, real miners",
        f"{len(found)} partitions (minority, 2–2, one way in turn) of 4 s between 4 processes under load",
        "ledgers byte-identical; those cut off finalise nothing",
        f"ledgers identical, {alone} blocks by those cut off; one more block on all after p50 "
        f"{quantile(healed_s, 0.5):.1f} s, worst {max(healed_s):.1f} s",
        alone == 0,
    )
    return [*rows, real]
