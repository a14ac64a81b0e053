import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import events_of, program, wait_until, workspace_of
from shell import fedcoin

from fedcoin_cli.application.workspace.peers import read_peers
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.runtime.process import named_process


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Two miners, neither of which runs between the tests."""
    with workspace_of(tmp_path_factory.mktemp("node") / "net", 2, "--clients", "2") as made:
        yield made


def until_started(workspace: Workspace, process: subprocess.Popen[str]) -> None:
    """Wait for miner 1, started as `process`, to name itself."""
    wait_until(lambda: named_process(workspace.miner(1).process) == process.pid)


def last_word(workspace: Workspace) -> dict[str, object]:
    """Why miner 1 last failed, by its log."""
    return events_of(workspace, 1, "failed")[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(workspace: Workspace, number: signal.Signals) -> None:
    """Every polite signal is exit code 0, with the ledger closed and no file left that names the process."""
    folder = workspace.miner(1)
    stopped = len(events_of(workspace, 1, "stopped"))
    with program("node", "1", folder=workspace.root) as process:
        until_started(workspace, process)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert err == "miner 1 runs; Ctrl-C stops it\n"
    assert len(events_of(workspace, 1, "stopped")) == stopped + 1
    assert not folder.process.exists()


def test_no_tensorflow_in_it(workspace: Workspace) -> None:
    """The process that votes maps no library of TensorFlow, also when its mining process is ready."""
    ready = len(events_of(workspace, 1, "ready"))
    with program("node", "1", "-q", folder=workspace.root) as process:
        wait_until(lambda: len(events_of(workspace, 1, "ready")) > ready)
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        process.terminate()
        assert process.communicate(timeout=60) == ("", "")
    assert "libzmq" in maps
    assert "tensorflow" not in maps


def test_a_port_in_use(workspace: Workspace) -> None:
    """A taken port is exit code 7 with the setting's name, on stderr and in the log; the ledger is as before."""
    before = workspace.miner(1).chain.read_bytes()
    with socket.socket() as other:
        other.bind(("127.0.0.1", read_peers(workspace.peers_file)[0].port))
        other.listen()
        said = fedcoin("node", "1", folder=workspace.root)
    assert said.code == 7
    assert said.err.startswith("error: the port is in use\n")
    assert "network.port" in said.err
    assert (last_word(workspace)["code"], last_word(workspace)["message"]) == (7, "the port is in use")
    assert workspace.miner(1).chain.read_bytes() == before


def test_a_second_one(workspace: Workspace) -> None:
    """A second process on one ledger is exit code 10 with the way out, and the first one goes on, named as before."""
    with program("node", "1", folder=workspace.root) as process:
        until_started(workspace, process)
        said = fedcoin("node", "1", folder=workspace.root)
        assert (said.code, process.poll()) == (10, None)
        assert "hint: " in said.err
        assert "fedcoin stop" in said.err
        assert named_process(workspace.miner(1).process) == process.pid
        process.terminate()
        assert process.wait(60) == 0


def test_a_loose_key(workspace: Workspace) -> None:
    """A key file that others can read is exit code 9 with the command that closes it."""
    key = workspace.key_file("miner-1")
    key.chmod(0o644)
    said = fedcoin("node", "1", folder=workspace.root)
    key.chmod(0o600)
    assert said.code == 9
    assert f"chmod 600 {key}" in said.err


def test_no_such_miner(workspace: Workspace) -> None:
    """A number that no local miner has is exit code 11, naming those that there are."""
    said = fedcoin("node", "3", folder=workspace.root)
    assert said.code == 11
    assert "1, 2" in said.err


def test_a_damaged_vote_log(workspace: Workspace) -> None:
    """A vote log that lost its content is exit code 12, told in the log as well: the miner must not vote on."""
    votes = workspace.miner(1).votes
    aside = votes.with_suffix(".aside")
    for content in (b"", b"nothing that SQLite knows"):
        votes.rename(aside)
        votes.write_bytes(content)
        said = fedcoin("node", "1", folder=workspace.root)
        aside.replace(votes)
        assert (said.code, last_word(workspace)["code"]) == (12, 12)
        assert str(votes) in said.err


def test_it_ends_with_its_mining_process(workspace: Workspace) -> None:
    """The mining process of a killed miner ends by itself."""
    with program("node", "1", folder=workspace.root) as process:
        until_started(workspace, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
    assert len(children) == 1
    wait_until(lambda: not Path(f"/proc/{children[0]}/cmdline").exists())
