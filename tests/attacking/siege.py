"""Real miners besieged by real sockets: what gets in, what it costs in memory, and what honest people wait meanwhile.

Miner 4 of four is the enemy: it never runs, its key floods. The other enemies are accounts that hold a few coins and
one that the network does not know.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes

from live import runtime_of, wait_until, workspace_of
from scenarios.rows import quantile

from fedcoin_cli.application.requester.session import Patience, Session
from fedcoin_cli.application.workspace.peers import read_peers
from fedcoin_cli.application.workspace.workspace import REQUESTER, Workspace, miner_name
from fedcoin_cli.network.transport.p2p import P2P
from fedcoin_cli.protocol.frame import from_frame, to_frame
from fedcoin_cli.protocol.message import Ask, Standing
from ledger_store.base.names import Address
from ledger_store.file.chain_file import ChainReader
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import Transfer

TESTS = Path(__file__).resolve().parents[1]
COIN = 10**6
HONEST = (1, 2, 3)
GUESTS = ("spoofer", "nonsense", "messages", "uploads", "giants")
PATIENCE = Patience(reach_s=90, silence_s=600, refusal_s=60, final_s=600)


@dataclass(slots=True)
class Sieged:
    """What was thrown, by kind; what strangers heard; memory; how long honest people waited, calm and besieged."""

    thrown: dict[str, int] = field(default_factory=dict)
    answered_strangers: int = 0
    foreign: int = 0
    ended: int = 0
    grown_mib: float = 0.0
    calm_ask_ms: list[float] = field(default_factory=list)
    siege_ask_ms: list[float] = field(default_factory=list)
    calm_pay_ms: list[float] = field(default_factory=list)
    siege_pay_ms: list[float] = field(default_factory=list)
    equal: bool = False


class Siege:
    """A running network, an honest account, and its enemies."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._peers = read_peers(workspace.peers_file)
        self._key = workspace.key(REQUESTER)
        self._guests = {kind: KeyPair(token_bytes(32)) for kind in GUESTS}
        self._session = Session(workspace, self._key, PATIENCE)
        self._wire = P2P(KeyPair(token_bytes(32)), {})
        self._paid: list[str] = []
        self.report = Sieged()

    def prepare(self) -> None:
        """Connect, and give every enemy the coins that admit it."""
        self._session.connect()
        for guest in self._guests.values():
            self.pay(guest.address, 2 * COIN)
        asker = KeyPair(token_bytes(32))
        self.pay(asker.address, 2 * COIN)
        self._wire = P2P(asker, {peer.address: peer.messages for peer in self._peers[:3]})
        wait_until(lambda: bool(self._wire.poll(5)) and all(s.connected for s in self._wire.peers().values()))

    def pay(self, to: Address, micro: int = 10_000) -> float:
        """One transfer until it is final; returns milliseconds."""
        began_s = time.monotonic()
        key = self._key
        self._session.submit(lambda sequence: Transfer(key.address, sequence, "", to, micro))
        return 1_000 * (time.monotonic() - began_s)

    def ask(self) -> float:
        """One question to the first miner until it answers; returns milliseconds. Asked again after a second."""
        began_s = time.monotonic()
        first = self._peers[0].address
        while True:
            self._wire.send(first, to_frame(Ask()))
            again_s = time.monotonic() + 1
            while time.monotonic() < again_s:
                frames, _ = self._wire.poll(50)
                if any(isinstance(from_frame(frame), Standing) for _, frame in frames):
                    return 1_000 * (time.monotonic() - began_s)

    def watch(self, seconds: float) -> tuple[list[float], list[float]]:
        """Ask and pay for a while; returns how long each question and each transfer took, in ms."""
        asked, paid, until_s = [], [], time.monotonic() + seconds
        while time.monotonic() < until_s:
            asked += [self.ask() for _ in range(10)]
            paid.append(self.pay(self._peers[1].address))
        return asked, paid

    def run(self, seconds: float) -> Sieged:
        """Calm, then a siege of the first miner by everybody at once."""
        report = self.report
        report.calm_ask_ms, report.calm_pay_ms = self.watch(seconds / 2)
        before_mib = self.memory_mib("VmRSS")
        with self._enemies(seconds + 1) as enemies:
            report.siege_ask_ms, report.siege_pay_ms = self.watch(seconds)
            for kind, enemy in enemies.items():
                out, _ = enemy.communicate(timeout=120)
                sent, answers = map(int, out.split())
                report.thrown[kind] = sent
                report.answered_strangers += answers if kind == "stranger" else 0
        report.grown_mib = max(0.0, self.memory_mib("VmHWM") - before_mib)
        self.judge()
        return report

    @contextlib.contextmanager
    def _enemies(self, seconds: float) -> Iterator[dict[str, "subprocess.Popen[str]"]]:
        keys = {
            **self._guests,
            "stranger": KeyPair(token_bytes(32)),
            "frauds": self._workspace.key(miner_name(4)),
        }
        first = self._peers[0]
        with contextlib.ExitStack() as stack:
            enemies = {}
            for kind, key in keys.items():
                endpoint = first.files if kind == "uploads" else first.messages
                words = [kind, key.seed.hex(), first.address, endpoint, str(seconds)]
                enemy = subprocess.Popen(
                    [sys.executable, "-m", "attacking.besiege", *words],
                    env=os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
                    stdout=subprocess.PIPE,
                    text=True,
                )
                stack.callback(enemy.kill)
                enemies[kind] = stack.enter_context(enemy)
            yield enemies

    def memory_mib(self, what: str) -> float:
        """What the first miner's process holds now (VmRSS), or the most that it ever held (VmHWM)."""
        pid = runtime_of(self._workspace).pid(1)
        status = Path(f"/proc/{pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith(what))
        return int(line.split()[1]) / 1024

    def judge(self) -> None:
        """Miners that run no more, transactions in the ledger that the honest account did not send, equal ledgers."""
        runtime = runtime_of(self._workspace)
        self.report.ended = sum(not runtime.alive(number) for number in HONEST)
        wait_until(lambda: len({self._workspace.miner(n).chain.read_bytes() for n in HONEST}) == 1)
        self.report.equal = True
        with ChainReader(self._workspace.miner(1).path) as chain:
            senders = [getattr(t, "sender", "") for block in chain.blocks() for t in block.transactions]
        self.report.foreign = sum(sender != self._key.address for sender in senders)

    def close(self) -> None:
        """Give back the sockets."""
        self._session.close()
        self._wire.close()


def besiege(folder: Path, seconds: float) -> Sieged:
    """A network of its own, besieged for so long."""
    with workspace_of(folder / "siege", 4, "--clients", "3") as workspace:
        runtime = runtime_of(workspace)
        for number in HONEST:
            runtime.start(number)
        siege = Siege(workspace)
        with contextlib.closing(siege):
            siege.prepare()
            return siege.run(seconds)


def p99(values: list[float]) -> float:
    """The p99 of some milliseconds."""
    return quantile(values, 0.99)
