from pathlib import Path

from chains import build_chain
from live import free_ports
from places import place
from shell import fedcoin


def test_status_works_when_nobody_is_up(tmp_path: Path) -> None:
    """Without a running miner status tells so, how many must be up, how many may be offline, and exits with 0."""
    workspace = place(tmp_path, build_chain(miners=4, blocks=3), port=free_ports(8))
    said = fedcoin("status", folder=workspace.root)
    assert said.code == 0
    assert "0 of 4 miners up, 1 may be offline: at least 3 must be up" in said.out
    assert "certified to height 3" in said.out
    data = fedcoin("status", "--json", folder=workspace.root).json
    assert (data["reachable"], data["quorum"], data["offline_allowed"], data["height"]) == (0, 3, 1, 3)
    assert [one["name"] for one in data["miners"]] == ["miner-1", "miner-2", "miner-3", "miner-4"]
    assert not any(one["reachable"] for one in data["miners"])
