"""Real miners for tests: a workspace on free ports, and no process left behind whatever happens."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shell import PROGRAM, fedcoin

from benchmarks.network import free_ports
from fedcoin_cli.application.crew.crew import posts
from fedcoin_cli.application.node.events import read_events
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.runtime.process import ProcessRuntime

# Generous: machines that run tests have other work, too.
PATIENCE_S = 90.0


@contextmanager
def workspace_of(root: Path, miners: int, *arguments: str) -> Iterator[Workspace]:
    """A new workspace with so many miners; whatever runs in it at the end is killed."""
    port = f"network.port={free_ports(2 * miners)}"
    said = fedcoin("init", str(root), "--miners", str(miners), "--set", port, *arguments, folder=root.parent)
    assert said.code == 0, said.err
    try:
        yield Workspace.find(root)
    finally:
        for pid in processes_in(root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not processes_in(root))


def processes_in(root: Path) -> list[int]:
    """The programs that work in a folder: its path stands on their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if os.fsencode(root.resolve()) in words:
                    found.append(int(entry.name))
    return found


def runtime_of(workspace: Workspace) -> ProcessRuntime:
    """Starts, finds and ends the miners of a workspace."""
    return ProcessRuntime(workspace.root, posts(workspace))


@contextmanager
def program(*arguments: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A `fedcoin` that runs while the block does."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [PROGRAM, *arguments, "-C", folder], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Watched:
    """A running `fedcoin` and what it has said so far."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def out(self) -> str:
        """Its standard output."""
        return (self.folder / "watched.out").read_text()

    @property
    def err(self) -> str:
        """Its standard error."""
        return (self.folder / "watched.err").read_text()

    def ended(self) -> int:
        """Its exit code, once it has ended by itself."""
        return self.process.wait(PATIENCE_S)


@contextmanager
def watched(*arguments: str, folder: Path) -> Iterator[Watched]:
    """A `fedcoin` that runs while the block does and is read while it runs."""
    with (folder / "watched.out").open("wb") as out, (folder / "watched.err").open("wb") as err:
        command = [str(PROGRAM), *arguments, "-C", str(folder)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    with process:
        try:
            yield Watched(process, folder)
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> float:
    """Wait for a condition that must come true; returns the seconds that it took."""
    start_s = time.monotonic()
    while not condition():
        assert time.monotonic() - start_s < within_s, f"not true within {within_s} s"
        time.sleep(0.02)
    return time.monotonic() - start_s


def events_of(workspace: Workspace, number: int, kind: str) -> list[dict[str, Any]]:
    """What a miner's log holds of one kind of event."""
    events, _ = read_events(workspace.miner(number).log)
    return [event for event in events if event["event"] == kind]


def ledgers(workspace: Workspace) -> list[bytes]:
    """The bytes of every local miner's chain file."""
    return [miner.chain.read_bytes() for miner in workspace.miners]
