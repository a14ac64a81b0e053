"""Scenario 7: 30 % loss, duplicates, reordering, queues that overflow; real miners whose connections are cut."""

import random
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from real_miners import Network, network_of
from scenarios.heights import HOUR_MS, Heights, history, settle, start
from scenarios.rows import Row, quantile
from simulated.world import Faults, World

SAMPLE_HEIGHTS, RELEASE_HEIGHTS = 60, 1_000
SAMPLE_TRANSFERS, RELEASE_TRANSFERS = 12, 200
TIMES_MOST = 20
MINERS = 4
LOSSY = Faults(loss=0.3, duplicate=0.05, delay_ms=(1, 300), queue=8)
# The same delays, so that what is compared is the loss.
QUIET = replace(LOSSY, loss=0.0, duplicate=0.0, queue=0)


def heights_under(faults: Faults, count: int, seed: int = 3) -> tuple[list[int], World]:
    """How long each of so many heights took, in ms; the histories' own properties are checked."""
    seen: list[tuple[Heights, World]] = []

    def live(world: World) -> None:
        heights = start(world)
        seen.append((heights, world))
        world.run_until(HOUR_MS * 24, lambda: len(heights.at_ms) > count)
        settle(world, heights)

    problems = history(seed, MINERS, faults, live)
    assert problems == [], problems
    heights, world = seen[0]
    return heights.gaps_ms[:count], world


def test_every_height_is_reached_in_spite_of_loss() -> None:
    """60 of 60 simulated heights; p99 at most 20 times the median without loss; every fault happened [P-10.24]."""
    quiet, _ = heights_under(QUIET, SAMPLE_HEIGHTS)
    lossy, world = heights_under(LOSSY, SAMPLE_HEIGHTS)
    assert len(lossy) == SAMPLE_HEIGHTS
    assert quantile(lossy, 0.99) <= TIMES_MOST * statistics.median(quiet)
    assert all(world.happened[what] for what in ("lost", "duplicated", "overflowed"))


# Real processes -----------------------------------------------------------------------------------------------


def cutting(network: Network, dice: random.Random, until: int, times_s: list[float]) -> int:
    """Cut or stall one wire after the other until so many transfers are final; returns the cuts."""
    cuts, miners = 0, len(network.miners)
    began_s = time.monotonic()
    while len(times_s) < until:
        assert time.monotonic() - began_s < 60 + 20 * until, f"{len(times_s)} of {until} transfers are final"
        source, target = dice.sample(range(1, miners + 1), 2)
        cuts += network.wires.cut(source, target)
        network.wires.stall(*dice.sample(range(1, miners + 1), 2))
        time.sleep(dice.uniform(0.05, 0.3))
        if dice.random() < 0.3:
            network.wires.heal()
    network.wires.heal()
    return cuts


def real_loss(folder: Path, transfers: int) -> tuple[list[float], list[float], int]:
    """How long transfers took without and with cut connections, in seconds; how many were cut. Ledgers end equal."""
    with network_of(folder, MINERS) as network:
        network.start()
        with network.paying() as payer:
            while len(payer.times_s) < transfers:
                time.sleep(0.05)
            quiet = list(payer.times_s)
            payer.times_s.clear()
            cuts = cutting(network, random.Random(7), transfers, payer.times_s)
            cut = list(payer.times_s)
        until_s = time.monotonic() + 60
        while not network.equal() and time.monotonic() < until_s:
            time.sleep(0.1)
        assert network.equal(), "the ledgers differ"
    return quiet, cut, cuts


def test_real_miners_go_on_while_connections_are_cut(tmp_path: Path) -> None:
    """Wires between four real miners are cut and stalled all the time: every transfer becomes final, ledgers equal."""
    _, cut, cuts = real_loss(tmp_path, SAMPLE_TRANSFERS)
    assert len(cut) >= SAMPLE_TRANSFERS
    assert cuts > 0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_queue_that_overflows_loses_nothing_for_good(seed: int) -> None:
    """Two messages under way at most from one node to another: the heights are reached all the same."""
    gaps, world = heights_under(Faults(queue=2, delay_ms=(1, 200)), 10, seed)
    assert len(gaps) == 10
    assert world.happened["overflowed"] > 20


# The table ----------------------------------------------------------------------------------------------------


def measure(*, full: bool) -> list[Row]:
    """Simulated heights with and without loss; real transfers with and without cut connections."""
    count = RELEASE_HEIGHTS if full else SAMPLE_HEIGHTS
    quiet, _ = heights_under(QUIET, count)
    lossy, world = heights_under(LOSSY, count)
    median, p99 = statistics.median(quiet), quantile(lossy, 0.99)
    rows = max(len(node.log.load().records) for node in world.nodes)
    simulated = Row(
        "loss, simulated",
        f"30 % loss, 5 % duplicates, delays of 1–300 ms, 8 messages a queue, R = {MINERS}: "
        f"{world.happened['lost']} lost, {world.happened['duplicated']} doubled, "
        f"{world.happened['overflowed']} overflowed",
        f"{count} of {count} heights; p99 ≤ 20 × the loss-free median",
        f"{len(lossy)} of {count}; p99 {p99:.0f} ms = {p99 / median:.1f} × {median:.0f} ms; "
        f"{rows} records in the largest vote log at the end",
        len(lossy) == count and p99 <= TIMES_MOST * median,
    )
    folder = Path(tempfile.mkdtemp(prefix="loss"))
    try:
        calm, cut, cuts = real_loss(folder, RELEASE_TRANSFERS if full else SAMPLE_TRANSFERS)
    finally:
        shutil.rmtree(folder)
    middle, worst = statistics.median(calm), quantile(cut, 0.99)
    real = Row(
        "loss, real miners",
        f"{cuts} connections cut and wires stalled among {MINERS} processes during {len(cut)} transfers",
        "all final, ledgers equal; p99 ≤ 20 × the median without cuts",
        f"{len(cut)} final; p99 {worst:.2f} s = {worst / middle:.1f} × {middle:.2f} s",
        worst <= TIMES_MOST * middle,
    )
    return [simulated, real]
