"""A network for a long time, one miner after another being killed: does everything end, and does anything grow?

`python -m benchmarks.longrun [--quick] [--json] [--tasks N] [--transfers N]`. Four miner processes; tasks with tiny
exact games and transfers are published while miners 4, 3, 2, 4, ... are killed (kill -9) and started again all the
time. Miner 1 lives from the first minute to the last: its memory is a long life's, that of the others what a restart
brings. At the end every task must be settled, the four ledgers the same bytes, audited to level 3, and every coin
accounted for.

The table compares medians of the first and the last quarter of the run, and gives the slope of the second half a task
(with its share of transfers). What it says of growth: *chain* grows with the ledger by design; what has a bound in
words grows until it is there; of what remains, marked *none*, nothing may grow for ever.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import finish, machine
from benchmarks.network import Miner, end_tidily, network, wait_until
from benchmarks.payers import Payers
from benchmarks.tiny import make_tiny_round
from benchmarks.vitals import Vitals, as_row, vitals
from fedcoin_cli.application.books.equivocations import HEIGHTS_KEPT
from fedcoin_cli.application.node.events import LOG_BYTES_MOST
from fedcoin_cli.application.requester.publication import Publication
from fedcoin_cli.application.requester.requester import Requester
from fedcoin_cli.application.requester.session import Patience
from fedcoin_cli.application.rounds.files import read_round
from fedcoin_cli.application.rounds.terms import AskedTerms
from fedcoin_cli.application.workspace.configuration import load
from fedcoin_cli.application.workspace.workspace import SERVER
from ledger_store.file.chain_file import ChainReader

MINERS, CLIENTS, PUBLISHERS, PAYERS = 4, 3, 3, 8
LOOK_EVERY_S = 2.0
GROWS = {
    "chain": "chain",
    "snapshot": "chain",
    "votes": "4 MiB of journal",
    "log": f"{2 * LOG_BYTES_MOST // 2**20} MiB",
    "store": "the rounds that are kept",
    "store_files": "the rounds that are kept",
    "evidence": f"{HEIGHTS_KEPT:,} heights",
    "evidence_files": f"{HEIGHTS_KEPT:,} heights",
}


@dataclass(frozen=True, slots=True)
class Look:
    """All miners at one time, by number, and how many tasks had ended."""

    tasks: int
    miners: dict[int, Vitals]

    @classmethod
    def at(cls, crew: Sequence[Miner], tasks: int) -> "Look":
        return cls(tasks, {miner.number: look for miner in crew if (look := vitals(miner)) is not None})


@dataclass
class Publishers:
    """Accounts that publish one task after the other, until `left` tasks were published; each on a thread."""

    crew: Sequence[Miner]
    left: int
    keys: Sequence[Any]
    ends: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    given_up: int = 0
    _turn: threading.Lock = field(default_factory=threading.Lock)
    asked: int = field(init=False)

    def __post_init__(self) -> None:
        self.asked = self.left

    def start(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._publish, args=(key,), daemon=True) for key in self.keys]
        for thread in threads:
            thread.start()
        return threads

    def give_up(self) -> None:
        """Begin no more."""
        with self._turn:
            self.given_up += self.left
            self.left = 0

    def _publish(self, key: Any) -> None:
        workspace = self.crew[0].workspace
        settings, server = load(workspace.settings_file, environment={}).settings, workspace.address(SERVER)
        patience = Patience(reach_s=60.0, files_s=900.0, final_s=300.0)
        with Requester(workspace, key, patience=patience) as requester:
            while (number := self._next()) is not None:
                folder = make_tiny_round(workspace, CLIENTS, number)
                try:
                    files = read_round(folder, workspace.genesis())
                    wanted = Publication.of(workspace, files, AskedTerms(settings, server))
                    published = requester.publish(wanted)
                    self.ends[published.report.state] += 1
                    self.seconds.append(published.seconds)
                except Exception as error:  # noqa: BLE001 (whatever it was, the run goes on and says so at the end)
                    self.errors.append(f"{type(error).__name__}: {error}")
                    _say(self.errors[-1])
                    self.ends["error"] += 1
                shutil.rmtree(folder)

    def _next(self) -> int | None:
        with self._turn:
            if not self.left:
                return None
            self.left -= 1
            return self.left


class Killer:
    """Kills one miner after another but the first, starts it again at once, and measures how soon it works again."""

    def __init__(self, crew: Sequence[Miner], every_s: float) -> None:
        self._crew, self._every_s = crew, every_s
        self._victims = [miner for miner in reversed(crew) if miner.number != 1]
        self._due_s = time.monotonic()
        self._waits: dict[int, tuple[float, int]] = {}
        self.kills = 0
        self.rejoins_s: list[float] = []

    def turn(self) -> None:
        now_s = time.monotonic()
        highest = max(miner.height for miner in self._crew)
        for miner in self._crew:
            begun = self._waits.get(miner.number)
            if begun is not None and miner.height > begun[1]:
                self.rejoins_s.append(now_s - begun[0])
                del self._waits[miner.number]
        if now_s < self._due_s or self._waits:
            return
        victim = self._victims[self.kills % len(self._victims)]
        self._due_s = now_s + self._every_s
        self.kills += 1
        victim.kill()
        victim.start()
        self._waits[victim.number] = time.monotonic(), highest


def main() -> None:
    """Run, check, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.longrun", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 tasks and 300 transfers: about a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--transfers", type=int)
    parser.add_argument("--minutes", type=float, default=600, help="publish nothing more after so long")
    chosen = parser.parse_args()
    end_tidily()
    tasks = chosen.tasks or (20 if chosen.quick else 1_000)
    transfers = chosen.transfers or (300 if chosen.quick else 10_000)
    folder = Path(tempfile.mkdtemp(prefix="fedcoin-longrun-"))
    try:
        result = long_run(folder, tasks, transfers, _say, chosen.minutes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result["machine"] = machine()
    finish(result, chosen.json, {"growth": result["growth"]})
    if not result["sound"]:
        sys.exit(1)


def long_run(
    folder: Path,
    tasks: int,
    transfers: int,
    say: Callable[[str], None] = lambda _: None,
    minutes: float = 600.0,
    kill_every_s: float = 6.0,
) -> dict[str, Any]:
    """The whole of it; everything that is checked is in the result, `sound` says whether all of it is as it must be.

    What was not asked for in time is not missed: `asked` is in the result.
    """
    settings = (f"task.clients={CLIENTS}", "task.price=1", "task.runtime=1")
    with network(folder, MINERS, *settings) as crew:
        started_s = time.monotonic()
        payers = Payers(crew, PAYERS + PUBLISHERS, 4, coins=2_000)
        publishing = [payers.accounts.pop().key for _ in range(PUBLISHERS)]
        publishers = Publishers(crew, tasks, publishing)
        threads, killer = publishers.start(), Killer(crew, kill_every_s)
        until_s = started_s + 60 * minutes
        looks = _live(crew, payers, transfers, publishers, threads, killer, say, until_s)
        tasks, transfers = tasks - publishers.given_up, min(transfers, payers.sent)
        payers.close()
        ended_s = time.monotonic() - started_s
        heights = _come_together(crew)
        looks.append(Look.at(crew, sum(publishers.ends.values())))
        for miner in crew:
            miner.stop()
        result = {
            "seconds": ended_s,
            "asked": f"{tasks} tasks, {transfers} transfers",
            "tasks": dict(publishers.ends),
            "transfers": payers.finished,
            "blocks": heights,
            "kills": killer.kills,
            "rejoin_s_p50": _quantile(killer.rejoins_s, 0.5),
            "rejoin_s_p99": _quantile(killer.rejoins_s, 0.99),
            "task_s_p50": _quantile(publishers.seconds, 0.5),
            "task_s_p99": _quantile(publishers.seconds, 0.99),
            "errors": publishers.errors[:5],
            **_verdict(crew),
            "growth": growth(looks),
        }
    whole = result["tasks"].get("SETTLED", 0) == tasks and result["transfers"] == transfers
    result["sound"] = whole and result["identical"] and result["audit_ok"] and result["conserved"]
    return result


def _live(
    crew: Sequence[Miner],
    payers: Payers,
    transfers: int,
    publishers: Publishers,
    threads: Sequence[threading.Thread],
    killer: Killer,
    say: Callable[[str], None],
    until_s: float,
) -> list[Look]:
    """Until all is done; transfers are spread over the tasks' time."""
    looks: list[Look] = []
    look_s = 0.0
    while (running := any(thread.is_alive() for thread in threads)) or payers.finished < transfers:
        if time.monotonic() > until_s:
            publishers.give_up()
            transfers = min(transfers, payers.sent)
        done = sum(publishers.ends.values()) + 1
        allowed = transfers * min(done, publishers.asked) // publishers.asked if running else transfers
        payers.pump(max(0, allowed - payers.sent))
        killer.turn()
        if time.monotonic() >= look_s:
            look_s = time.monotonic() + LOOK_EVERY_S
            looks.append(Look.at(crew, done - 1))
            say(f"{dict(publishers.ends)}, {payers.finished} transfers, {killer.kills} kills")
    return looks


def _come_together(crew: Sequence[Miner]) -> int:
    """Until all ledgers are at one height and stay there."""
    wait_until(lambda: len({miner.height for miner in crew}) == 1)
    time.sleep(2.0)
    wait_until(lambda: len({miner.height for miner in crew}) == 1)
    return crew[0].height


def _verdict(crew: Sequence[Miner]) -> dict[str, Any]:
    ledgers = {miner.folder.chain.read_bytes() for miner in crew}
    program = [sys.executable, "-m", "fedcoin_cli", "audit", str(crew[0].folder.chain), "--json"]
    audit = subprocess.run(program, stdout=subprocess.PIPE, check=False)
    report = json.loads(audit.stdout)
    with ChainReader(crew[1].folder.path) as reader:
        state = reader.tip.state
    return {
        "identical": len(ledgers) == 1,
        "chain_bytes": len(next(iter(ledgers))),
        "audit_ok": bool(report["ok"]) and report["level"] == 3,
        "audit_s": float(report["seconds"]),
        "conserved": state.total_micro == state.genesis.supply_micro and not state.queue,
    }


def growth(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """Medians of the first and the last quarter and the slope a task, for miner 1 and for those that are killed."""
    quarter = max(1, len(looks) // 4)
    rows = []
    for who, numbers in (("miner 1, never killed", {1}), ("miners 2-4, killed", set(range(2, MINERS + 1)))):
        parts = [
            [
                (look.tasks, as_row(one))
                for look in part
                for number, one in look.miners.items()
                if number in numbers
            ]
            for part in (looks[:quarter], looks[-quarter:], looks[len(looks) // 2 :])
        ]
        for name in as_row(next(iter(looks[0].miners.values()))):
            first, last = (
                statistics.median(row[name] for _, row in part) if part else 0 for part in parts[:2]
            )
            slope = _slope([(tasks, row[name]) for tasks, row in parts[2]])
            rows.append(
                {
                    "of": f"{who}: {name}",
                    "first quarter": first,
                    "last quarter": last,
                    "a task": round(slope, 3),
                    "grows with": GROWS.get(name, "none"),
                }
            )
    return rows


def _slope(points: Sequence[tuple[int, int]]) -> float:
    """Least squares; 0 where no task ended meanwhile."""
    tasks = [x for x, _ in points]
    return statistics.linear_regression(tasks, [y for _, y in points]).slope if len(set(tasks)) > 1 else 0.0


def _quantile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else 0.0


def _say(text: str) -> None:
    if os.isatty(2) or os.environ.get("FEDCOIN_LONGRUN_PROGRESS"):
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
