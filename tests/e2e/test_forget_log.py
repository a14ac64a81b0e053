"""A lost vote log where every miner is needed: the chain halts, and goes on once the others have reminded its miner."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from live import events_of, program, wait_until, workspace_of
from shell import Said, fedcoin

from fedcoin_cli.application.books.equivocations import read_evidence
from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.consensus.accountability import guilty
from fedcoin_cli.protocol.message import Certified, Vote

# Long enough for a payment to be proposed and voted on by whoever may vote.
HALTED_S = 6.0
START_S = 120.0


@contextmanager
def node(workspace: Workspace, number: int) -> Iterator[subprocess.Popen[str]]:
    """A miner that runs while the block does; it ends as if Ctrl-C were pressed."""
    before = len(events_of(workspace, number, "ready"))
    with program("node", str(number), "-q", folder=workspace.root) as process:
        wait_until(lambda: len(events_of(workspace, number, "ready")) > before, START_S)
        yield process
        process.send_signal(signal.SIGINT)
        process.wait(START_S)


def pay(workspace: Workspace) -> Said:
    """By the requester, who finds the miners up."""
    return fedcoin("pay", "server", "1", folder=workspace.root, timeout_s=300)


def said_by(workspace: Workspace) -> list[Vote | Certified]:
    """What stands in the vote logs and evidence files."""
    said: list[Vote | Certified] = []
    for miner in workspace.miners:
        address = workspace.address(miner.name)
        with closing(VoteLog(miner.votes, address, workspace.genesis().id)) as log:
            said += [one for one in log.load().records if isinstance(one, Vote | Certified)]
        for path in miner.evidence.glob("*.jsonl"):
            said += read_evidence(miner.evidence, int(path.stem))
    return said


def test_a_lost_log_is_made_anew(tmp_path: Path) -> None:
    """R = 2: the log is deleted, nothing is final any more; without the other miner it is refused; then all goes on."""
    with workspace_of(tmp_path / "net", 2, "--clients", "2") as net:
        first = net.miner(1)
        with node(net, 2):
            with node(net, 1):
                assert pay(net).code == 0
                before = first.chain.read_bytes()
            said = said_by(net)
            first.votes.unlink()
            with node(net, 1), program("pay", "server", "2", folder=net.root):
                wait_until(lambda: bool(events_of(net, 1, "votes lost")))
                time.sleep(HALTED_S)
            assert first.chain.read_bytes() == before
            reminded = fedcoin("repair", "--forget-log", "--json", folder=net.root, timeout_s=300)
            assert reminded.code == 0, reminded.err
            assert reminded.json["miners"][0]["witnesses"] == [net.address("miner-2")]
            with node(net, 1):
                paid = pay(net)
                assert paid.code == 0, paid.err
                wait_until(lambda: first.chain.read_bytes() == net.miner(2).chain.read_bytes())
        assert guilty(net.genesis(), [*said, *said_by(net)]) == ()
        again = fedcoin("repair", "--forget-log", folder=net.root)
        assert again.code == 11
        assert "no local miner has lost its vote log" in again.err
        first.votes.unlink()
        refused = fedcoin("repair", "--forget-log", folder=net.root, timeout_s=300)
        assert refused.code == 7
        assert "no reminder from miner-2" in refused.err
