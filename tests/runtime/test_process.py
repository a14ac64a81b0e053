import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from live import wait_until

from fedcoin_cli.runtime.base import MinerFiles, stop
from fedcoin_cli.runtime.process import ProcessRuntime, named_process, naming_itself

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


def runtime(folder: Path) -> ProcessRuntime:
    """One miner's place; what runs there the test decides."""
    return ProcessRuntime(folder, [MinerFiles(1, folder / "node.log", folder / "node.pid")])


@contextmanager
def named(path: Path, before: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A process that names itself in `path` and sleeps."""
    code = (
        f"{before}"
        "import pathlib, sys, time\n"
        "from fedcoin_cli.runtime.process import naming_itself\n"
        "with naming_itself(pathlib.Path(sys.argv[1])):\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, path]) as process:
        try:
            wait_until(path.exists)
            yield process
        finally:
            process.kill()


def test_a_process_is_found_by_its_file(tmp_path: Path) -> None:
    """A miner started by another program is seen and stopped, and nothing is reported as killed."""
    miners = runtime(tmp_path)
    assert not miners.alive(1)
    with named(tmp_path / "node.pid") as process:
        assert miners.pid(1) == process.pid
        assert stop(miners, [1]) == ()
        assert process.wait() == -signal.SIGTERM
    assert not miners.alive(1)


@pytest.mark.parametrize(("patience_s", "hurry"), [(0.2, False), (600.0, True)])
def test_one_that_does_not_listen_is_killed(tmp_path: Path, patience_s: float, hurry: bool) -> None:
    """After the patience, or at once when there is no time, a miner that ignores the request is killed."""
    with named(tmp_path / "node.pid", DEAF) as process:
        miners = runtime(tmp_path)
        miners.patience_s = patience_s
        assert stop(miners, [1], lambda: hurry) == (1,)
        assert process.wait() == -signal.SIGKILL


def test_a_recycled_pid_is_left_alone(tmp_path: Path) -> None:
    """A file that names a living process by pid, but with another start or another boot, names nobody."""
    path = tmp_path / "node.pid"
    with naming_itself(path):
        pid, identity = path.read_text().splitlines()
        assert named_process(path) == os.getpid()
    boot, started = identity.split()
    for other in (f"{boot} {int(started) + 1}", f"{boot[::-1]} {started}"):
        path.write_text(f"{pid}\n{other}\n")
        assert named_process(path) is None
        assert stop(runtime(tmp_path), [1]) == ()


@pytest.mark.parametrize("text", ["", "1", "x\ny\n", "-1\n\n", "99999999\na b\n"])
def test_a_damaged_file_names_nobody(tmp_path: Path, text: str) -> None:
    """A torn or foreign file is no error: nobody is named."""
    (tmp_path / "node.pid").write_text(text)
    assert named_process(tmp_path / "node.pid") is None


def test_a_corpse_is_not_alive(tmp_path: Path) -> None:
    """A process that has ended but was not yet waited for does not count as running."""
    path = tmp_path / "node.pid"
    with named(path) as process:
        assert named_process(path) == process.pid
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: named_process(path) is None)
        assert Path(f"/proc/{process.pid}").exists()


def test_the_file_of_a_successor_stays(tmp_path: Path) -> None:
    """A process that ends removes only a file that names itself."""
    path = tmp_path / "node.pid"
    with ExitStack() as own:
        own.enter_context(naming_itself(path))
        path.unlink()
        with named(path) as successor:
            own.close()
            assert named_process(path) == successor.pid
