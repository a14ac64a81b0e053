"""Real miners for benchmarks: R processes on this machine, each with a workspace of its own as if on another machine.

Nothing is shared between them but the network. The first workspace is also the person's, who pays and publishes.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fedcoin_cli.application.crew.crew import posts
from fedcoin_cli.application.node.events import read_events
from fedcoin_cli.application.workspace.workspace import MinerFolder, Workspace
from fedcoin_cli.runtime.process import ProcessRuntime

PATIENCE_S = 180.0
_GIVEN: set[int] = set()


class Miner:
    """One miner: its workspace, its files, and its process when it has one."""

    def __init__(self, root: Path, number: int) -> None:
        self.number = number
        self.workspace = Workspace(root)
        self.folder: MinerFolder = self.workspace.miner_folder(number)
        self._runtime = ProcessRuntime(root, posts(self.workspace))

    def start(self) -> None:
        """Start its process and return at once."""
        self._runtime.start(self.number)

    def kill(self) -> None:
        """kill -9, and wait until it is dead."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: self.pid is None)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._runtime.terminate(self.number)
        wait_until(lambda: self.pid is None)

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return self._runtime.pid(self.number)

    @property
    def height(self) -> int:
        """Of its ledger on the disk."""
        with contextlib.suppress(OSError, ValueError):
            return int(json.loads(self.folder.tip.read_bytes())["height"])
        return 0

    def ready(self, times: int = 1) -> bool:
        """Whether its mining child has said so as often."""
        events, _ = read_events(self.folder.log)
        return [event["event"] for event in events].count("ready") >= times


@contextmanager
def network(root: Path, miners: int, *settings: str) -> Iterator[list[Miner]]:
    """A new network of running miners; at the end nothing of it runs any more."""
    _found(root / "1", miners, settings)
    for number in range(2, miners + 1):
        shutil.copytree(root / "1", root / str(number))
    for number in range(1, miners + 1):
        for other in set(range(1, miners + 1)) - {number}:
            shutil.rmtree(root / str(number) / "miners" / str(other))
    crew = [Miner(root / str(number), number) for number in range(1, miners + 1)]
    try:
        for miner in crew:
            miner.start()
        wait_until(lambda: all(miner.ready() for miner in crew))
        yield crew
    finally:
        for miner in crew:
            miner.kill()


def _found(root: Path, miners: int, settings: tuple[str, ...]) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    chosen = [f"network.port={free_ports(2 * miners)}", *settings]
    words = [word for one in chosen for word in ("--set", one)]
    command = [sys.executable, "-m", "fedcoin_cli", "init", str(root), "--miners", str(miners), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def free_ports(count: int) -> int:
    """The first of `count` consecutive ports that nobody listens on now, and that this process was not given before.

    Whoever was given some may not listen yet: a wire must not take the place of a miner that has still to start.
    """
    while True:
        # Below the range from which the system hands out ports by itself.
        first = random.SystemRandom().randrange(15_000, 32_000)
        ports = range(first, first + count)
        if not _GIVEN.isdisjoint(ports):
            continue
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in ports:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            _GIVEN.update(ports)
            return first


def end_tidily() -> None:
    """Let SIGTERM, which `timeout` sends, unwind this program: what it has started ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def wait_until(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait for what must come true."""
    until_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until_s:
            raise TimeoutError(f"not true within {within_s:.0f} s")
        time.sleep(0.02)
