"""Miners as real processes that are killed, cut off and listened to; and an account that pays all the time.

Each miner works in a copy of the workspace of its own, as on a machine of its own, so its way to every other miner can
lead through a wire of `wires`. What it hears is written down by `recording`.
"""

import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from live import PATIENCE_S, wait_until, workspace_of
from wires import Wires

from fedcoin_cli.application.requester.session import Patience, Session
from fedcoin_cli.application.workspace.peers import read_peers, render_peers
from fedcoin_cli.application.workspace.workspace import REQUESTER, Workspace, miner_name
from fedcoin_cli.protocol.frame import from_frame
from fedcoin_cli.protocol.message import Message
from ledger_store.base.errors import FedCoinError
from ledger_store.base.names import Address
from ledger_store.block import Block
from ledger_store.transaction import Transfer

RECORDING = Path(__file__).with_name("recording.py")
AMOUNT_MICRO = 10_000
PATIENCE = Patience(reach_s=PATIENCE_S, silence_s=3_600, refusal_s=600, final_s=3_600)


@dataclass(frozen=True, slots=True)
class Heard:
    """One frame that a miner took: when (ms of the monotonic clock), from whom, what."""

    at_ms: int
    sender: Address
    message: Message


class Miner:
    """One miner: its workspace, its process while it runs, and what it heard."""

    def __init__(self, workspace: Workspace, number: int) -> None:
        self.workspace = workspace
        self.number = number
        self.address = workspace.key(miner_name(number)).address
        self._recording = workspace.root / f"heard-{number}"
        self._recording.touch()
        self._read = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it, as `fedcoin node` would."""
        words = [sys.executable, str(RECORDING), str(self._recording), "node", str(self.number), "-vv"]
        with self.workspace.miner(self.number).log.with_suffix(".out").open("ab") as log:
            self._process = subprocess.Popen(
                [*words, "-C", str(self.workspace.root)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def heard(self) -> list[Heard]:
        """What it heard since this was last asked."""
        with self._recording.open("rb") as file:
            file.seek(self._read)
            lines = file.read().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        self._read += sum(map(len, whole))
        return [_heard(line) for line in whole]

    @property
    def chain(self) -> bytes:
        """The bytes of its ledger."""
        return self.workspace.miner(self.number).chain.read_bytes()

    @property
    def height(self) -> int:
        """How many blocks its ledger has."""
        return max(0, self.chain.count(b"\n") - 1)

    def head(self) -> tuple[int, str]:
        """Height and id of the last whole block of its ledger; ('', at genesis)."""
        lines = self.chain.split(b"\n")[:-1]
        return len(lines) - 1, Block.from_line(lines[-1]).id if len(lines) > 1 else ""

    def block_id(self, height: int) -> str:
        """The id of a block of its ledger."""
        return Block.from_line(self.chain.split(b"\n")[height]).id if height else ""


def _heard(line: bytes) -> Heard:
    at_ms, sender, frame = line.rstrip(b"\n").split(b" ", 2)
    return Heard(int(at_ms), Address(sender.decode()), from_frame(frame))


class Network:
    """R miners that reach each other through wires, and the workspace that they were founded in."""

    def __init__(self, founded: Workspace, miners: list[Miner], wires: Wires) -> None:
        self.founded = founded
        self.miners = miners
        self.wires = wires
        self.genesis = founded.genesis()

    def start(self) -> None:
        """All of them; returns when each has heard from another."""
        for miner in self.miners:
            miner.start()
        if len(self.miners) > 1:
            names = [miner.workspace.root / f"heard-{miner.number}" for miner in self.miners]
            wait_until(lambda: all(name.stat().st_size for name in names))

    def equal(self) -> bool:
        """Whether all ledgers are the same bytes."""
        return len({miner.chain for miner in self.miners}) == 1

    @contextmanager
    def paying(self, pause_s: float = 0.0) -> Iterator["Payer"]:
        """An account pays, one transfer after the other, while the block runs; raises what stopped it."""
        payer = Payer(self.founded, pause_s)
        payer.start()
        try:
            yield payer
        finally:
            payer.stop()
        if payer.failed is not None:
            raise payer.failed


class Payer(threading.Thread):
    """Pays all the time; `times_s`: how long each transfer took to be final."""

    def __init__(self, workspace: Workspace, pause_s: float) -> None:
        super().__init__(daemon=True)
        self._workspace, self._pause_s = workspace, pause_s
        self._stopping = threading.Event()
        self.times_s: list[float] = []
        self.failed: FedCoinError | None = None

    def run(self) -> None:
        """The thread."""
        try:
            self._pay()
        except FedCoinError as error:
            self.failed = error

    def _pay(self) -> None:
        to = self._workspace.genesis().roster[0]
        key = self._workspace.key(REQUESTER)
        session = Session(self._workspace, key, PATIENCE)
        with contextlib.closing(session):
            session.connect()
            while not self._stopping.wait(self._pause_s):
                began_s = time.monotonic()
                session.submit(lambda sequence: Transfer(key.address, sequence, "", to, AMOUNT_MICRO))
                self.times_s.append(time.monotonic() - began_s)

    def stop(self) -> None:
        """Finish the transfer that is under way, then end."""
        self._stopping.set()
        self.join(PATIENCE_S)
        assert not self.is_alive(), "a transfer is not final"


@contextmanager
def network_of(folder: Path, miners: int, *arguments: str) -> Iterator[Network]:
    """A network of real miners, not started; no process and no socket is left behind."""
    with ExitStack() as stack:
        founded = stack.enter_context(workspace_of(folder / "founded", miners, *arguments))
        wires = stack.enter_context(Wires())
        peers = read_peers(founded.peers_file)
        members = []
        for number, own in enumerate(peers, 1):
            root = folder / f"machine-{number}"
            shutil.copytree(founded.root, root)
            through = [
                own if peer is own else replace(peer, port=wires.pair(number, other, peer.port))
                for other, peer in enumerate(peers, 1)
            ]
            (root / founded.peers_file.name).write_text(render_peers(through), "utf-8")
            members.append(Miner(Workspace.find(root), number))
            stack.callback(members[-1].kill)
        yield Network(founded, members, wires)
