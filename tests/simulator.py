"""Runs many simulated histories of real replicas and counts what went wrong; `simulated` is the world they live in.

The machines, the mempool, the vote log's records and the ledger's fold are the product's own; sockets, disks and the
mining child have twins in memory. In 5 % of the seeds chain file and vote log are the real ones; signatures are stubs
in 99 %. R = 1..7, in 1 % R = 8..20.

Run `python tests/simulator.py --seeds 2000 --start 0`; the last line counts forks and stalls.
"""

import argparse
import gc
import json
import multiprocessing
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chains import history_of
from simulated.signatures import stub_signatures
from simulated.world import WALLS, Faults, World

from ledger_store.transaction import Task, Transfer

LIMIT_MS = 3_600_000
# Ed25519 and messages as bytes in 1 % of the seeds; chain files and vote logs on a disk in 5 %, those among them.
REAL_EVERY, FILES_EVERY = 100, 20
RAM = Path("/dev/shm")


@dataclass
class Report:
    """What one history came to; a problem begins with the word of the property that it broke."""

    seed: int
    miners: int
    virtual_ms: int = 0
    height: int = 0
    head: str = ""
    steps: tuple[int, ...] = ()
    happened: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def forks(self) -> int:
        return sum(problem.startswith(("fork", "ledgers")) for problem in self.problems)

    @property
    def stalls(self) -> int:
        return sum(problem.startswith("stall") for problem in self.problems)


def run(
    seed: int,
    *,
    miners: int | None = None,
    faults: Faults | None = None,
    real: bool | None = None,
    files: bool | None = None,
    walls: float | None = None,
    live: Callable[[World], None] | None = None,
) -> Report:
    """One history; problems, whatever they are, are in the report. `live` lets it happen, `walls` puts them up."""
    real = seed % REAL_EVERY == REAL_EVERY - 1 if real is None else real
    on_files = seed % FILES_EVERY == FILES_EVERY - 1 if files is None else files
    with stub_signatures(not real), no_collections(), folder_for(on_files) as folder:
        world = World(seed, miners, faults, real, folder, walls)
        report = Report(seed, len(world.nodes))
        try:
            (live or trouble_and_calm)(world)
            report.problems = world.finish()
        except Exception as error:  # noqa: BLE001 (whatever a node dies of is this history's problem)
            report.problems = [f"error: {type(error).__name__}: {error} {_where(error)}"]
        tell(world, report)
        world.close()
        return report


@contextmanager
def folder_for(files: bool) -> Iterator[Path | None]:
    """A folder for real files, in memory where the system has such a disk; None for the twins."""
    if not files:
        yield None
        return
    with TemporaryDirectory(dir=RAM if RAM.is_dir() else None, prefix="simulated") as name:
        yield Path(name)


@contextmanager
def no_collections() -> Iterator[None]:
    """A history is thrown away as a whole: looking for garbage while it happens takes a sixth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def trouble_and_calm(world: World) -> None:
    """Two tasks and some transfers under faults for a while, then calm until all is done."""
    rng = world.rng
    for node in world.everybody:
        late = world.faults.late and node.index == len(world.nodes) - 1
        if late:
            world.count("late starts")
        world.after(rng.randint(20_000, 60_000) if late else rng.randint(0, 500), node.revive)
    for client in (0, 1):
        world.after(rng.randint(0, 20_000), partial(_ask, world, world.clients.task, client, 1))
    for client in (2, 3):
        for sequence in range(1, rng.randint(1, 4)):
            delay = rng.randint(0, 5_000) + 8_000 * sequence
            world.after(delay, partial(_ask, world, world.clients.transfer, client, sequence))
    trouble_ms = rng.randint(10_000, 60_000)
    world.after(rng.randint(0, trouble_ms), world.backup_logs)
    world.start_faults(trouble_ms)
    world.run_until(trouble_ms, lambda: False)
    world.heal()
    until = world.now + LIMIT_MS
    world.run_until(until, lambda: world.now > 30_000 and world.converged())


def calm(world: World) -> None:
    """One task and one transfer while nothing fails but what `world.planned` says; until both are done."""
    world.heal()
    world.after(100, partial(_ask, world, world.clients.task, 0, 1))
    world.after(200, partial(_ask, world, world.clients.transfer, 2, 1))
    world.run_until(LIMIT_MS, lambda: bool(world.clients.wanted) and world.converged())


def _ask(world: World, make: Callable[[int, int], Task | Transfer], client: int, sequence: int) -> None:
    world.clients.submit(make(client, sequence))


def tell(world: World, report: Report) -> Report:
    """Fill in what is counted."""
    ledger = max((node.ledger for node in world.nodes), key=lambda ledger: ledger.tip.height)
    state = ledger.tip.state
    report.virtual_ms, report.height, report.head = world.now, state.height, state.head
    report.steps = tuple(node.steps for node in world.nodes)
    report.happened = world.happened
    report.happened["tasks"] = len(history_of(ledger))
    report.happened["after view 0"] = sum(block.header.view > 0 for block in world.witness.blocks.values())
    return report


def _where(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"({frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name})"


def run_walled(seed: int) -> Report:
    """One task among liars, while nothing fails but that tables do not get from some miners to others, ever."""
    return run(seed, walls=WALLS[seed // 7 % len(WALLS)], live=calm)


def histories(seeds: Iterable[int], processes: int = 2, *, walled: bool = False) -> Iterator[Report]:
    """One history a seed on several cores, in their order."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context) as pool:
        yield from pool.map(run_walled if walled else run, seeds, chunksize=20)


@dataclass
class Summary:
    """What was run so far, what happened in it, and what went wrong."""

    seeds: int = 0
    first: int | None = None
    last: int = 0
    virtual_ms: int = 0
    blocks: int = 0
    forks: int = 0
    stalls: int = 0
    others: int = 0
    happened: Counter[str] = field(default_factory=Counter)

    def add(self, report: Report) -> None:
        self.first = report.seed if self.first is None else self.first
        self.last = report.seed
        self.seeds += 1
        self.virtual_ms += report.virtual_ms
        self.blocks += report.height
        self.forks += report.forks
        self.stalls += report.stalls
        self.others += bool(report.problems) and not report.forks and not report.stalls
        self.happened.update(report.happened)

    @property
    def failed(self) -> bool:
        """Whether anything went wrong."""
        return bool(self.forks or self.stalls or self.others)

    def to_json(self) -> dict[str, Any]:
        """One flat object."""
        return {
            "seeds": self.seeds,
            "first": self.first,
            "last": self.last,
            "hours": round(self.virtual_ms / 3_600_000, 1),
            "blocks": self.blocks,
            **dict(sorted(self.happened.items())),
            "forks": self.forks,
            "stalls": self.stalls,
            "other problems": self.others,
        }


def summary(reports: Iterable[Report]) -> dict[str, Any]:
    """The summary of these reports."""
    counts = Summary()
    for report in reports:
        counts.add(report)
    return counts.to_json()


def commit() -> str:
    """Which version of the program ran; a `+` when files were changed since."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def main() -> int:
    """Run many seeds and end with one line that counts forks and stalls; failures are told when they are found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--every", type=int, default=1_000, help="tell the counts after so many seeds")
    parser.add_argument("--walled", action="store_true", help="quiet but for tables that never arrive")
    arguments = parser.parse_args()
    began, counts, version = time.monotonic(), Summary(), commit()
    seeds = range(arguments.start, arguments.start + arguments.seeds)
    for report in histories(seeds, arguments.processes, walled=arguments.walled):
        counts.add(report)
        for problem in report.problems:
            print(f"seed {report.seed} (R = {report.miners}): {problem}", flush=True)
        if counts.seeds % arguments.every == 0 or counts.seeds == arguments.seeds:
            print(f"{json.dumps(counts.to_json())} in {time.monotonic() - began:.0f} s", flush=True)
    print(f"commit {version}, seeds {counts.first} to {counts.last}", flush=True)
    print(f"forks {counts.forks}, stalls {counts.stalls} in {counts.seeds} seeds")
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
