import json
import os
import signal
import socket
from pathlib import Path

import pytest
from live import processes_in, runtime_of, wait_until, watched, workspace_of
from shell import fedcoin

from fedcoin_cli.application.workspace.peers import read_peers

FEW = ("--clients", "2")


def test_detached_miners_run_until_stop(tmp_path: Path) -> None:
    """--detach returns when all are ready; asked again it starts nothing; stop ends them, and only them."""
    with workspace_of(tmp_path / "net", 2, *FEW) as workspace:
        root, runtime = workspace.root, runtime_of(workspace)
        first = fedcoin("mine", "--detach", "--json", folder=root)
        assert (first.code, first.json["started"], first.json["spare"]) == (0, [1, 2], 0)
        assert first.err.count("ready") == 2
        pids = [runtime.pid(number) for number in (1, 2)]
        assert None not in pids

        again = fedcoin("mine", "--detach", folder=root)
        assert (again.code, again.err) == (0, "running already: miners 1, 2\n")
        assert "miners 1, 2 run; no more may end" in again.out
        assert [runtime.pid(number) for number in (1, 2)] == pids

        stopped = fedcoin("stop", "--json", folder=root)
        assert (stopped.code, stopped.json["stopped"], stopped.json["killed"]) == (0, [1, 2], [])
        wait_until(lambda: not processes_in(root))
        nothing = fedcoin("stop", folder=root)
        assert (nothing.code, nothing.out) == (0, "no miner of this workspace runs on this machine\n")


def test_stop_spares_other_workspaces(tmp_path: Path) -> None:
    """Miners of another workspace go on."""
    with workspace_of(tmp_path / "a", 1, *FEW) as here, workspace_of(tmp_path / "b", 1, *FEW) as elsewhere:
        for workspace in (here, elsewhere):
            runtime_of(workspace).start(1)
            wait_until(workspace.miner(1).process.exists)
        assert fedcoin("stop", folder=here.root).out == "miner 1 stopped\n"
        assert not runtime_of(here).alive(1)
        assert runtime_of(elsewhere).alive(1)


def test_an_interrupted_start(tmp_path: Path) -> None:
    """Ctrl-C while miners start is 130, and those that were started are stopped."""
    with workspace_of(tmp_path / "net", 1, *FEW) as workspace:
        with watched("mine", folder=workspace.root) as mine:
            wait_until(workspace.miner(1).process.exists)
            mine.process.send_signal(signal.SIGINT)
            assert mine.ended() == 130
        assert mine.err == "stopping; Ctrl-C kills\n"
        assert not runtime_of(workspace).alive(1)


def test_a_second_interrupt_kills(tmp_path: Path) -> None:
    """A miner that does not react to the first Ctrl-C is gone at once after the second."""
    with workspace_of(tmp_path / "net", 1, *FEW) as workspace:
        with watched("mine", folder=workspace.root) as mine:
            wait_until(workspace.miner(1).process.exists)
            pid = runtime_of(workspace).pid(1)
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            mine.process.send_signal(signal.SIGINT)
            wait_until(lambda: mine.err == "stopping; Ctrl-C kills\n")
            assert runtime_of(workspace).alive(1)
            mine.process.send_signal(signal.SIGINT)
            assert mine.ended() == 130
        assert not runtime_of(workspace).alive(1)


def test_a_miner_that_cannot_start(tmp_path: Path) -> None:
    """The miner's own error is shown with its number and passed on, and the others are stopped again."""
    with workspace_of(tmp_path / "net", 3, *FEW) as workspace:
        with socket.socket() as other:
            other.bind(("127.0.0.1", read_peers(workspace.peers_file)[1].port))
            other.listen()
            said = fedcoin("mine", folder=workspace.root)
        assert said.code == 7
        assert "error: miner 2: the port is in use\n" in said.err
        assert "network.port" in said.err
        wait_until(lambda: not processes_in(workspace.root))


def test_a_miner_runs_one_way_at_a_time(tmp_path: Path) -> None:
    """Who asks for containers beside miners that run as processes is told so, and how to go on; nothing is started."""
    with workspace_of(tmp_path / "net", 2, *FEW) as workspace:
        assert fedcoin("mine", "--detach", "--replicas", "1", folder=workspace.root).code == 0
        said = fedcoin("mine", "--via", "docker", "--detach", folder=workspace.root)
        assert said.code == 10
        assert "error: miner 1 runs as a process already\n" in said.err
        assert "fedcoin mine --via process --detach" in said.err
        assert not workspace.contained.exists()


def test_a_mining_process_that_cannot_start(tmp_path: Path) -> None:
    """When a miner's mining process ends (here NumPy is broken) that is exit code 8, naming the log that tells why."""
    broken = tmp_path / "broken" / "numpy"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('this NumPy is broken')")
    with workspace_of(tmp_path / "net", 1, *FEW) as workspace:
        path = os.pathsep.join([str(broken.parent), os.environ.get("PYTHONPATH", "")])
        said = fedcoin("mine", "--detach", folder=workspace.root, PYTHONPATH=path)
        assert said.code == 8
        assert "error: miner 1: its mining process does not start\n" in said.err
        words = workspace.miner(1).log.with_name("node.out")
        assert str(words) in said.err
        assert "this NumPy is broken" in words.read_text()
        assert all(map(json.loads, workspace.miner(1).log.read_text().splitlines()))
        assert not runtime_of(workspace).alive(1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--replicas", "3"), "has 2 miners"),
        (("--replicas", "0"), "--replicas"),
        (("--detach", "--once"), "--once"),
        (("--via", "pigeon"), "process"),
    ],
)
def test_a_wrong_command_line(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """What cannot be done is a usage error, and no miner is started."""
    with workspace_of(tmp_path / "net", 2, *FEW) as workspace:
        said = fedcoin("mine", *arguments, folder=workspace.root)
        assert said.code == 2
        assert words in said.err
        assert not workspace.miner(1).log.exists()
