"""Flower's own processes on the loopback: a SuperLink, SuperNodes and `flwr run`, all ended with the block.

Whoever shares a FLWR_HOME shares what is unpacked of an app, and one takes for whole what another still unpacks: every
process has a folder of its own, or all of a HOME. Programs are found by PATH, since Flower starts its own by name.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hosts import Hosts
from live import wait_until

from benchmarks.network import free_ports

# An interpreter with Flower starts for each message: on a busy machine that takes its time.
PATIENCE_S = 300.0
_MARK = "FEDCOIN_TEST_OF"


@dataclass(slots=True)
class Fleet:
    """Processes that end together; `root` holds a log each, and a home for each that has one of its own.

    Where there are `hosts`, whoever has a home is one of them.
    """

    root: Path
    port: int
    hosts: Hosts | None = None
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, name: str) -> dict[str, str]:
        """What a process called `name` is started with; its HOME is the folder of that name where there is one."""
        home, shared = (
            self.root / name,
            os.environ
            | {
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
                "FLWR_DISABLE_UPDATE_CHECK": "1",
                "FLWR_TELEMETRY_ENABLED": "0",
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                _MARK: str(self.root),
            },
        )
        if home.is_dir():
            return shared | {"HOME": str(home)}
        return shared | {"HOME": str(self.root), "FLWR_HOME": str(self.root / f"flwr-{name}")}

    def inside(self, name: str) -> tuple[str, ...]:
        """The words before a command of this one's, which say where it runs."""
        return () if self.hosts is None else self.hosts.inside(name)

    def log(self, name: str) -> str:
        """What a process has said so far."""
        return (self.root / f"{name}.log").read_text(errors="replace")

    def start(self, name: str, *command: str, folder: Path | None = None, of: str = "") -> None:
        """A program that runs until the fleet ends, in the environment of `of`; what it says is in its log."""
        with (self.root / f"{name}.log").open("wb") as log:
            self.started[name] = subprocess.Popen(
                (*self.inside(of or name), *command),
                cwd=folder or self.root,
                env=self.environment(of or name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self, name: str, words: str) -> None:
        """Until a program says this; fails where it ends before, and tells what all have said."""
        process = self.started[name]
        with contextlib.suppress(AssertionError):
            wait_until(lambda: process.poll() is not None or words in self.log(name), PATIENCE_S)
        assert words in self.log(name), self.told()

    def told(self) -> str:
        """All logs, for whoever has to find out why."""
        return "\n".join(f"== {one}\n{self.log(one)}" for one in self.started)

    def ended(self, name: str) -> int:
        """A program's exit code, once it has ended; fails where it says nothing for too long before."""
        process = self.started[name]
        while process.poll() is None:
            wait_until(partial(self._went_on, name, len(self.log(name))), PATIENCE_S)
        return process.returncode

    def _went_on(self, name: str, said: int) -> bool:
        return self.started[name].poll() is not None or len(self.log(name)) > said

    def kill(self, name: str) -> None:
        """A host is gone at once, as by a power cut: whatever was started with its HOME."""
        for pid in _processes("HOME", self.environment(name)["HOME"]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.started.pop(name).wait()

    def run(self, name: str, app: Path, *options: str) -> None:
        """`flwr run` of an app by whoever knows no other SuperLink; it tells the ServerApp's log and ends with it."""
        home = Path(self.environment(name)["FLWR_HOME"])
        home.mkdir()
        connection = f'[superlink.here]\naddress = "127.0.0.1:{self.port}"\ninsecure = true\n'
        (home / "config.toml").write_text(f'[superlink]\ndefault = "here"\n\n{connection}')
        self.start(name, "flwr", "run", ".", "--stream", *options, folder=app)


@contextmanager
def fleet(root: Path, hosts: Hosts | None = None) -> Iterator[Fleet]:
    """Nothing runs yet; all that is started is killed at the end."""
    made = Fleet(root, free_ports(1), hosts)
    try:
        yield made
    finally:
        for pid in _processes(_MARK, str(root)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in made.started.values():
            process.wait()


def blocks(page: Path, heading: str) -> list[str]:
    """The commands under a heading of a page, as a reader copies them: a fenced block each."""
    section = page.read_text("utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [part.partition("\n")[2] for part in section.split("```")[1::2]]


def _processes(variable: str, value: str) -> list[int]:
    """The processes that were started with this in their environment."""
    entry, found = os.fsencode(f"{variable}={value}"), []
    for place in Path("/proc").iterdir():
        if place.name.isdecimal() and int(place.name) != os.getpid():
            with contextlib.suppress(OSError):
                if entry in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
    return found
