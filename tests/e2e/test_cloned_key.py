"""Scenario 12, a cloned key: a second process with a miner's key is noticed, never votes, and ends by itself."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from live import events_of, program, wait_until, workspace_of
from shell import fedcoin

from benchmarks.network import free_ports
from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.application.workspace.peers import Peer, read_peers, render_peers
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.network.transport.admission import Admission
from fedcoin_cli.network.transport.base import Door
from fedcoin_cli.network.transport.p2p import P2P
from fedcoin_cli.protocol.frame import from_frame, to_frame
from fedcoin_cli.protocol.message import Beside, Proposal, Status, Taken, Vote
from fedcoin_cli.replica.twins import beside

PATIENCE_S = 120


def clone(workspace: Workspace, root: Path) -> Workspace:
    """The same folder once more, as a backup would be, with miner 1 on another port."""
    shutil.copytree(workspace.root, root)
    copy = Workspace.find(root)
    first, *others = read_peers(copy.peers_file)
    peers = [type(first)(first.name, first.address, first.host, free_ports(2)), *others]
    copy.peers_file.write_text(render_peers(peers))
    return copy


@contextmanager
def node(workspace: Workspace, number: int) -> Iterator[subprocess.Popen[str]]:
    """A miner that is up, and runs while the block does."""
    before = len(events_of(workspace, number, "ready"))
    with program("node", str(number), "-q", folder=workspace.root) as process:
        wait_until(lambda: len(events_of(workspace, number, "ready")) > before, PATIENCE_S)
        yield process


def pay(workspace: Workspace) -> int:
    """By the requester; the exit code."""
    return fedcoin("pay", "server", "1", folder=workspace.root, timeout_s=2 * PATIENCE_S).code


def test_the_second_process_of_a_key_ends(tmp_path: Path) -> None:
    """R = 2: exit code 9, saying why; it has signed nothing, and the first one's network goes on."""
    with workspace_of(tmp_path / "net", 2, "--clients", "2") as net:
        copy = clone(net, tmp_path / "copy")
        with node(net, 1), node(net, 2):
            with program("node", "1", "-q", folder=copy.root) as second:
                assert pay(net) == 0
                assert second.wait(PATIENCE_S) == 9
                _, err = second.communicate()
            assert "error: another process already mines with this key\n" in err
            assert "hint: " in err
            assert pay(net) == 0
        with closing(VoteLog(copy.miner(1).votes, net.address("miner-1"), net.genesis().id)) as log:
            assert not [record for record in log.load().records if isinstance(record, Vote | Proposal)]


@pytest.mark.parametrize("miners", [2, 4])
def test_liars_end_nobody(tmp_path: Path, miners: int) -> None:
    """All others say to one process, whose nonce they heard, that another has its key: it lives on without one."""
    with workspace_of(tmp_path / "net", miners, "--clients", "2") as net, node(net, 1) as honest:
        first, *others = read_peers(net.peers_file)
        nonces = set()
        for peer in others:
            if peer.host:
                nonces |= accuse(net, peer, first)
        assert len(nonces) == 1
        with pytest.raises(subprocess.TimeoutExpired):
            honest.wait(2)


def accuse(net: Workspace, liar: Peer, victim: Peer) -> set[str]:
    """In the place of one miner: hear the victim's nonce, say that it came second, hand back all it signs, and more."""
    key, nonces = net.key(liar.name), set[str]()
    door = Door("127.0.0.1", liar.port, Admission([victim.address]))
    with closing(P2P(key, {victim.address: victim.messages}, door)) as wire:
        until_s = time.monotonic() + PATIENCE_S
        told_s: float | None = None
        while told_s is None or time.monotonic() < told_s + 2:
            assert time.monotonic() < until_s
            for message in (from_frame(frame) for _, frame in wire.poll(50)[0]):
                if isinstance(message, Status):
                    nonces.add(message.nonce)
                elif isinstance(message, Beside):
                    wire.send(victim.address, to_frame(message))
            for nonce in nonces:
                told_s = told_s or time.monotonic()
                lies = Taken(nonce), Taken("0f" * 16), beside(key, net.genesis().id, nonce)
                for lie in lies:
                    wire.send(victim.address, to_frame(lie))
    return nonces


def test_a_restart_is_not_taken_for_a_second_process(tmp_path: Path) -> None:
    """Killed and started again at once: it votes, and nobody tells it to end."""
    with workspace_of(tmp_path / "net", 2, "--clients", "2") as net, node(net, 2):
        with node(net, 1) as first:
            first.send_signal(signal.SIGKILL)
            first.wait()
        with node(net, 1) as again:
            assert pay(net) == 0
            assert again.poll() is None
