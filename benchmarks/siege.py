"""What guests with one coin each can do to a network, and to the people who pay on it meanwhile.

`python -m benchmarks.siege [--minutes M] [--window S] [--guests N] [--kind NAME ...] [--each] [--json]`. Four miner
processes; honest accounts pay at a steady rate, each payment over connections of its own: for a minute alone, then for
a minute while the guests throw at all miners, and so on in turns, so that whatever else the machine does falls on
both. Ten minutes of siege take 21. The kinds, all or those that are named, are shared out among the guests; what gets
an account kept out is left to one of them. `--each` gives every kind a network of its own, and all guests throw it. A
payment's time runs from when it was due until the payer holds the certified block with it, so whoever must wait for a
turn is counted; it is lost when no such block comes within a minute. Memory and disk are the largest of any miner when
the guests come, half-way and in the end; processor time is a miner's mean share of one core, its child included.
Agreement is the time from a block's own time of day to its being final at a quorum, by the miners' logs. Who attacks
is `tests/attacking/guests.py`; it meets the miners that this program has started, and nobody else.

It ends with 1 where a kind was never thrown, a miner fell, a payment was lost, ledgers differ, or the besieged p99 is
more than twice the quiet one (from 100 payments of each on: of fewer the p99 is the slowest).
"""

import argparse
import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import finish, machine
from benchmarks.network import Miner, end_tidily, network, wait_until
from benchmarks.payers import Payers, final_at
from benchmarks.vitals import Vitals, cpu_s, vitals
from fedcoin_cli.application.requester.session import Patience, Session
from fedcoin_cli.application.workspace.peers import read_peers
from fedcoin_cli.application.workspace.workspace import SERVER, Workspace
from ledger_store.base.errors import FedCoinError
from ledger_store.file.chain_file import ChainReader
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import Transfer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from attacking.guests import KINDS, Orders, shares

ROOT = Path(__file__).resolve().parents[1]
MINERS, PAYERS, EVERY_S, LOOK_EVERY_S = 4, 12, 1.0, 1.0
# All kinds at their full pace would be more than an account may send without being kept out.
PACE_OF_MANY = 0.75
# Guests have loaded their programs by then; and after a siege what still waits is served before it counts as quiet.
LOADING_S, AFTERMATH_S = 6.0, 5.0
AMOUNT_MICRO, LOST_S = 10_000, 60.0
MOST_RATIO, ENOUGH = 2.0, 100
PATIENCE = Patience(reach_s=LOST_S, silence_s=LOST_S, refusal_s=LOST_S, final_s=LOST_S)


@dataclass
class Waits:
    """How long payments of one phase took, in seconds, and which were lost, by reason."""

    seconds: list[float] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)

    def quantile(self, part: float) -> float:
        """Infinite when none came through; a lost one waits for ever."""
        every = sorted([*self.seconds, *[float("inf")] * self.lost.total()])
        return every[min(len(every) - 1, int(part * len(every)))] if every else float("inf")


class Honest:
    """Accounts that pay one coin-hundredth when it is due, whoever of them is free; each on a thread."""

    def __init__(self, workspace: Workspace, keys: Sequence[KeyPair]) -> None:
        self._workspace, self._to = workspace, workspace.address(SERVER)
        self._due: queue.Queue[tuple[float, Waits] | None] = queue.Queue()
        self._threads = [threading.Thread(target=self._live, args=(key,), daemon=True) for key in keys]
        for thread in self._threads:
            thread.start()

    def order(self, due_s: float, waits: Waits) -> None:
        """One payment."""
        self._due.put((due_s, waits))

    def end(self, meanwhile: Callable[[], None]) -> None:
        """Wait for all that were ordered."""
        for _ in self._threads:
            self._due.put(None)
        while any(thread.is_alive() for thread in self._threads):
            meanwhile()
            time.sleep(LOOK_EVERY_S)

    def _live(self, key: KeyPair) -> None:
        while (order := self._due.get()) is not None:
            due_s, waits = order
            if time.monotonic() - due_s > LOST_S:
                waits.lost["nobody was free to pay within a minute"] += 1
                continue
            try:
                self._pay(key)
            except FedCoinError as error:
                waits.lost[str(error)] += 1
            else:
                waits.seconds.append(time.monotonic() - due_s)

    def _pay(self, key: KeyPair) -> None:
        with contextlib.closing(Session(self._workspace, key, PATIENCE)) as session:
            session.connect()
            session.submit(lambda sequence: Transfer(key.address, sequence, "", self._to, AMOUNT_MICRO))


@dataclass
class Watch:
    """Looks at all miners, now and then; a miner that has ended is counted and started again."""

    crew: Sequence[Miner]
    looks: list[list[Vitals]] = field(default_factory=list)
    ended: int = 0
    words: Counter[str] = field(default_factory=Counter)

    def look(self) -> None:
        for miner in self.crew:
            if miner.pid is None:
                self.ended += 1
                self.words[_last_words(miner)] += 1
                miner.start()
        self.looks.append([one for miner in self.crew if (one := vitals(miner)) is not None])

    def row(self, begun: int) -> dict[str, str]:
        """The largest miner at the look `begun`, half-way to the last, and at the last, in MiB."""
        places = (begun, (begun + len(self.looks) - 1) // 2, len(self.looks) - 1)
        memory = [max((one.rss for one in self.looks[at]), default=0) / 1024 for at in places]
        disk = [
            max((one.store + one.log + one.votes for one in self.looks[at]), default=0) / 1024
            for at in places
        ]
        return {
            name: " → ".join(f"{mib:.1f}" for mib in values)
            for name, values in (("RSS MiB", memory), ("disk MiB", disk))
        }


@dataclass
class Phase:
    """What was seen of the quiet or of the besieged windows."""

    waits: Waits = field(default_factory=Waits)
    busy_s: float = 0.0
    windows: list[tuple[float, float]] = field(default_factory=list)
    """By the time of day, in seconds."""

    @property
    def seconds(self) -> float:
        return sum(until_s - from_s for from_s, until_s in self.windows)

    @property
    def cpu(self) -> float:
        """A miner's share of one core."""
        return self.busy_s / self.seconds

    def holds(self, time_ms: int) -> bool:
        """Whether this time of day is in one of them."""
        return any(from_s <= time_ms / 1e3 < until_s for from_s, until_s in self.windows)


def siege(
    folder: Path, kinds: Sequence[str], turns: int, window_s: float, guests: int = 3, *settings: str
) -> dict[str, Any]:
    """A network of its own, quiet and besieged in turns of `window_s` each; all figures of it."""
    with network(folder, MINERS, "task.clients=2", *settings) as crew:
        workspace, watch = crew[0].workspace, Watch(crew)
        honest = Honest(workspace, _funded(crew, PAYERS, 100))
        keys = _funded(crew, guests, 1)
        quiet, besieged = Phase(), Phase()
        first_s = time.monotonic() + LOADING_S + window_s
        starts_s = [first_s + turn * (2 * window_s + AFTERMATH_S) for turn in range(turns)]
        begun = 0
        with _guests(
            workspace, keys, kinds, [(start_s, start_s + window_s) for start_s in starts_s]
        ) as enemies:
            for start_s in starts_s:
                _rest(watch, start_s - window_s)
                _live(honest, watch, quiet, start_s)
                begun = begun or len(watch.looks) - 1
                _live(honest, watch, besieged, start_s + window_s)
            said = [json.loads(enemy.communicate(timeout=120)[0]) for enemy in enemies]
        honest.end(watch.look)
        watch.look()
        return {
            "kinds": ", ".join(kinds) if len(kinds) < len(KINDS) else "all",
            "guests": said,
            "thrown": {kind: sum(each.get(kind, 0) for each in said) for kind in kinds},
            "quiet": quiet.waits,
            "siege": besieged.waits,
            "CPU": [quiet.cpu, besieged.cpu],
            "ended": watch.ended,
            "last words": dict(watch.words),
            "identical": _identical(crew),
            **watch.row(begun),
            "blocks": _blocks(crew, {"quiet": quiet, "siege": besieged}),
        }


def faults(result: dict[str, Any]) -> list[str]:
    """Where what was promised is not shown."""
    quiet, during = result["quiet"], result["siege"]
    ratio = during.quantile(0.99) / quiet.quantile(0.99)
    found = [f"{kind} was never thrown" for kind, thrown in result["thrown"].items() if not thrown]
    if result["ended"]:
        found.append(f"miners fell {result['ended']} times: {result['last words']}")
    if lost := quiet.lost + during.lost:
        found.append(f"payments were lost: {dict(lost)}")
    if not result["identical"]:
        found.append("the ledgers differ")
    if min(len(quiet.seconds), len(during.seconds)) >= ENOUGH and ratio > MOST_RATIO:
        found.append(f"the besieged p99 is {ratio:.1f} times the quiet one")
    return found


def _busy_s(crew: Sequence[Miner]) -> float:
    """The processor time of all miners so far, by miner."""
    return sum(cpu_s(miner.pid) for miner in crew if miner.pid is not None) / len(crew)


def _funded(crew: Sequence[Miner], accounts: int, coins: int) -> list[KeyPair]:
    payers = Payers(crew, accounts, 1, coins)
    payers.close()
    return [account.key for account in payers.accounts]


def _live(honest: Honest, watch: Watch, phase: Phase, until_s: float) -> None:
    """Order payments at their times and look at the miners."""
    start_s, ordered, from_s, busy_s = time.monotonic(), 0, time.time(), _busy_s(watch.crew)
    look_s = start_s
    while (now_s := time.monotonic()) < until_s:
        if now_s >= start_s + ordered * EVERY_S:
            honest.order(start_s + ordered * EVERY_S, phase.waits)
            ordered += 1
        if now_s >= look_s:
            watch.look()
            look_s += LOOK_EVERY_S
        time.sleep(0.02)
    watch.look()
    phase.busy_s += _busy_s(watch.crew) - busy_s
    phase.windows.append((from_s, time.time()))


def _rest(watch: Watch, until_s: float) -> None:
    """Look at the miners, and let them be."""
    while time.monotonic() < until_s:
        watch.look()
        time.sleep(max(0.0, min(LOOK_EVERY_S, until_s - time.monotonic())))


@contextmanager
def _guests(
    workspace: Workspace,
    keys: Sequence[KeyPair],
    kinds: Sequence[str],
    windows: list[tuple[float, float]],
) -> Iterator[list["subprocess.Popen[str]"]]:
    """The guests, at work; none is left when this ends."""
    miners = [(peer.address, peer.host, peer.port) for peer in read_peers(workspace.peers_file) if peer.host]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    # What guests compute they compute elsewhere; here they share the cores, and give way. What they threw is counted.
    program = ["nice", "-n", "10", sys.executable, "-m", "attacking.guests"]
    with contextlib.ExitStack() as stack:
        enemies = []
        pace = 1.0 if len(kinds) == 1 else PACE_OF_MANY
        for key, share in zip(keys, shares(kinds, len(keys)), strict=True):
            enemy = subprocess.Popen(
                program, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(enemy)
            stack.callback(enemy.kill)
            assert enemy.stdin is not None
            orders = Orders(key.seed.hex(), workspace.genesis().id, miners, share, windows, pace)
            enemy.stdin.write(orders.line() + "\n")
            enemy.stdin.flush()
            enemies.append(enemy)
        yield enemies


def _last_words(miner: Miner) -> str:
    """The last line of its log that is not an event."""
    lines = miner.folder.log.read_text("utf-8", "replace").splitlines()
    return next((line for line in reversed(lines) if line and not line.startswith("{")), "nothing")


def _identical(crew: Sequence[Miner]) -> bool:
    """Whether all ledgers come to be the same bytes."""
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: len({miner.folder.chain.read_bytes() for miner in crew}) == 1)
        return True
    return False


def _blocks(crew: Sequence[Miner], phases: dict[str, Phase]) -> dict[str, Any]:
    """Of the blocks of each phase: how long agreement took, and how many were not of the first view."""
    final = final_at(crew, crew[0].workspace.genesis().quorum)
    with ChainReader(crew[0].folder.path) as ledger:
        headers = [block.header for block in ledger.blocks()]
    rows = {}
    for name, phase in phases.items():
        part = [one for one in headers if phase.holds(one.time_ms)]
        took = sorted(final[one.height] - one.time_ms / 1e3 for one in part if one.height in final)
        rows[name] = {
            "blocks": len(part),
            "later views": sum(one.view > 0 for one in part),
            "agreed s p50": took[len(took) // 2] if took else None,
            "agreed s p99": took[int(0.99 * len(took))] if took else None,
        }
    return rows


def shown(result: dict[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    quiet, during = result["quiet"], result["siege"]
    agreed = [result["blocks"][phase]["agreed s p99"] for phase in ("quiet", "siege")]
    return {
        "kinds": result["kinds"],
        "thrown": sum(result["thrown"].values()),
        "pay s p50": f"{quiet.quantile(0.5):.2f} → {during.quantile(0.5):.2f}",
        "p99": f"{quiet.quantile(0.99):.2f} → {during.quantile(0.99):.2f}",
        "ratio": f"{during.quantile(0.99) / quiet.quantile(0.99):.1f}",
        "lost": f"{during.lost.total()} of {len(during.seconds) + during.lost.total()}",
        "agreed s p99": " → ".join("-" if one is None else f"{one:.2f}" for one in agreed),
        "CPU": " → ".join(f"{share:.0%}" for share in result["CPU"]),
        "RSS MiB": result["RSS MiB"],
        "disk MiB": result["disk MiB"],
        "ended": result["ended"],
        "one ledger": "yes" if result["identical"] else "NO",
    }


def throws(result: dict[str, Any]) -> list[dict[str, Any]]:
    """How often each guest threw each kind."""
    return [
        {"guest": number, "kind": kind, "thrown": thrown}
        for number, each in enumerate(result["guests"], 1)
        for kind, thrown in each.items()
    ]


def plain(result: dict[str, Any]) -> dict[str, Any]:
    """As JSON."""
    waits = {
        phase: {"paid": len(result[phase].seconds), "lost": dict(result[phase].lost)}
        | {f"p{part}": result[phase].quantile(part / 100) for part in (50, 99)}
        for phase in ("quiet", "siege")
    }
    return result | waits


def main() -> None:
    """Besiege, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.siege", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the guests attack")
    parser.add_argument("--window", type=float, default=60.0, help="seconds of quiet, of siege, and so on")
    parser.add_argument("--guests", type=int, default=3)
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this one; may be repeated")
    parser.add_argument("--each", action="store_true", help="every kind on a network of its own")
    parser.add_argument(
        "--port", type=int, help="the first of the miners' eight ports; free ones if not given"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    end_tidily()
    kinds = chosen.kind or list(KINDS)
    turns = max(1, round(60 * chosen.minutes / chosen.window))
    settings = [] if chosen.port is None else [f"network.port={chosen.port}"]
    results = []
    for part in [[kind] for kind in kinds] if chosen.each else [kinds]:
        folder = Path(tempfile.mkdtemp(prefix="fedcoin-siege-"))
        try:
            results.append(siege(folder, part, turns, chosen.window, chosen.guests, *settings))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    found = [f"{result['kinds']}: {fault}" for result in results for fault in faults(result)]
    rows = [plain(result) for result in results]
    finish(
        {"siege": rows, "faults": found, "machine": machine()},
        chosen.json,
        {
            "siege": [shown(result) for result in results],
            "throws": [row for result in results for row in throws(result)],
        },
    )
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
