"""Flower's own processes on the loopback: a SuperLink, SuperNodes and `flwr run`, all ended with the block.

Every process has a folder of its own as FLWR_HOME: what one unpacks of an app another takes for whole. Programs are
found by PATH, since Flower starts its own by name.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from live import free_ports, wait_until

# An interpreter with Flower starts for each message: on a busy machine that takes its time.
PATIENCE_S = 300.0
_MARK = "FEDCOIN_TEST_OF"


@dataclass(slots=True)
class Fleet:
    """A SuperLink and its SuperNodes; `root` is everybody's HOME and holds a log each."""

    root: Path
    port: int
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, name: str) -> dict[str, str]:
        """What a process called `name` is started with."""
        return os.environ | {
            "HOME": str(self.root),
            "FLWR_HOME": str(self.root / f"flwr-{name}"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_TELEMETRY_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            _MARK: str(self.root),
        }

    def log(self, name: str) -> str:
        """What a process has said so far."""
        return (self.root / f"{name}.log").read_text(errors="replace")

    def start(self, name: str, *command: str, folder: Path | None = None) -> subprocess.Popen[bytes]:
        """A program that runs until the fleet ends; what it says is in its log."""
        with (self.root / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=folder or self.root,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def node(self, name: str, config: str) -> None:
        """A SuperNode with this configuration, until it is ended."""
        link = ("--insecure", "--superlink", f"127.0.0.1:{self.port}", "--port", str(free_ports(1)))
        self.nodes[name] = self.start(name, "flower-supernode", *link, "--node-config", config)

    def kill(self, name: str) -> None:
        """A SuperNode and whatever it has started are gone at once, as by a power cut."""
        home = self.environment(name)["FLWR_HOME"]
        for pid in _processes("FLWR_HOME", home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.nodes.pop(name).wait()

    def run(self, name: str, app: Path, *options: str) -> subprocess.Popen[bytes]:
        """`flwr run` of an app, which tells the ServerApp's log and ends with it."""
        home = Path(self.environment(name)["FLWR_HOME"])
        home.mkdir()
        connection = f'[superlink.here]\naddress = "127.0.0.1:{self.port}"\ninsecure = true\n'
        (home / "config.toml").write_text(f'[superlink]\ndefault = "here"\n\n{connection}')
        return self.start(name, "flwr", "run", ".", "--stream", *options, folder=app)


def _processes(variable: str, value: str) -> list[int]:
    """The processes that were started with this in their environment."""
    entry, found = os.fsencode(f"{variable}={value}"), []
    for place in Path("/proc").iterdir():
        if place.name.isdecimal() and int(place.name) != os.getpid():
            with contextlib.suppress(OSError):
                if entry in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
    return found


@contextmanager
def fleet(root: Path, *options: str) -> Iterator[Fleet]:
    """A SuperLink in `root` that answers; all that was started with it is killed at the end."""
    port = free_ports(1)
    made = Fleet(root, port)
    here = ("--insecure", "--host", "127.0.0.1", "--port", str(port))
    link = made.start("superlink", "flower-superlink", *here, *options)
    try:
        wait_until(lambda: link.poll() is not None or "startup complete" in made.log("superlink"), PATIENCE_S)
        assert link.poll() is None, made.log("superlink")
        yield made
    finally:
        for pid in _processes(_MARK, str(root)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in (link, *made.nodes.values()):
            process.wait()
