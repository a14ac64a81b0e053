"""A miner that runs and does not vote: every place that is asked names it and the way out."""

from pathlib import Path

from live import events_of, wait_until, workspace_of
from shell import fedcoin


def test_a_lost_vote_log_is_told_everywhere(tmp_path: Path) -> None:
    """R = 3, one log deleted: `mine`, `status`, the log and a payment name it and its remedy, which then works."""
    with workspace_of(tmp_path / "net", 3, "--clients", "2") as net:
        started = fedcoin("mine", "--detach", folder=net.root, timeout_s=240)
        assert started.code == 0, started.err
        assert fedcoin("status", "--wait", "60", folder=net.root).code == 0
        assert fedcoin("stop", "2", folder=net.root).out == "miner 2 stopped\n"
        assert fedcoin("status", folder=net.root).code == 7
        net.miner(2).votes.unlink()
        again = fedcoin("mine", "--detach", folder=net.root, timeout_s=240)
        assert "miner 2 has lost its vote log" in again.err
        (event,) = events_of(net, 2, "votes lost")
        assert "repair --forget-log" in event["hint"]
        wait_until(lambda: fedcoin("status", "--json", folder=net.root).json["reachable"] == 3)
        status = fedcoin("status", folder=net.root)
        assert status.code == 6
        assert "3 of 3 miners up, 0 may be offline: nothing becomes final: 2 of them vote" in status.out
        assert "miner-2 has lost its vote log" in status.out
        assert "repair --forget-log" in status.out
        paid = fedcoin("pay", "server", "1", folder=net.root)
        assert paid.code == 6
        assert "2 miners vote, 3 are needed: miner-2 has lost its vote log" in paid.err
        assert "repair --forget-log" in paid.err
        assert "sent" not in paid.err
        assert fedcoin("stop", "2", folder=net.root).code == 0
        assert fedcoin("repair", "--forget-log", folder=net.root, timeout_s=120).code == 0
        assert fedcoin("mine", "--detach", folder=net.root, timeout_s=240).code == 0
        assert fedcoin("status", "--wait", "60", folder=net.root).code == 0
        paid = fedcoin("pay", "server", "1", folder=net.root)
        assert paid.code == 0, paid.err


def test_a_log_lost_by_one_of_four_comes_back_by_itself(tmp_path: Path) -> None:
    """Where the others can move on, the miner's log says at first that votes are lost and two blocks later that not."""
    with workspace_of(tmp_path / "net", 4, "--clients", "2") as net:
        net.miner(2).votes.unlink()
        assert fedcoin("mine", "--detach", folder=net.root, timeout_s=240).code == 0
        assert fedcoin("status", "--wait", "60", folder=net.root).code == 0
        for _ in range(4):
            paid = fedcoin("pay", "server", "1", folder=net.root)
            assert paid.code == 0, paid.err
        wait_until(lambda: bool(events_of(net, 2, "votes again")))
        assert len(events_of(net, 2, "votes lost")) == 1
