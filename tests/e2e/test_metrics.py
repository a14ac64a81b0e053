"""Miners watched from outside: metrics over HTTP, a log of JSON lines and nothing else."""

import json
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest
from live import wait_until, watched, workspace_of
from shell import fedcoin

from benchmarks.network import free_ports


def scrape(port: int) -> dict[str, float]:
    """The samples without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    plain = (line.split() for line in lines if not line.startswith("#") and "{" not in line)
    return {name: float(value) for name, value in plain}


def _is_at(height: int, port: int) -> bool:
    return scrape(port).get("fedcoin_height") == height


def test_metrics_follow_a_running_network(tmp_path: Path) -> None:
    """Height, peers, finality and the child are served while miners run, a second miner's one port on; then no more."""
    port = free_ports(2)
    with workspace_of(tmp_path / "net", 2, "--clients", "2") as net:
        started = fedcoin("mine", "--detach", "--set", f"metrics.port={port}", folder=net.root, timeout_s=240)
        assert started.code == 0, started.err
        assert fedcoin("pay", "server", "1", folder=net.root).code == 0
        for place in (port, port + 1):
            wait_until(partial(_is_at, 1, place))
            found = scrape(place)
            assert (found["fedcoin_peers_connected"], found["fedcoin_child_up"]) == (1, 1)
            assert found["fedcoin_finality_seconds_count"] == 1
            assert found["fedcoin_pending_transactions"] == 0
            assert 0 < found["fedcoin_disk_reserve_bytes"] < found["fedcoin_disk_free_bytes"]
        poor = fedcoin("pay", "server", "99999999", folder=net.root)
        assert poor.code == 14
        assert fedcoin("stop", folder=net.root).code == 0
        with pytest.raises(urllib.error.URLError):
            scrape(port)
        for miner in net.miners:
            lines = miner.log.read_text().splitlines()
            assert [json.loads(line)["event"] for line in lines][:2] == ["started", "ready"]


def test_a_foreground_miner_prints_its_log(tmp_path: Path) -> None:
    """`node --json` prints the lines of its log on stdout, as a journal or a container's log takes them."""
    with (
        workspace_of(tmp_path / "net", 1, "--clients", "2") as net,
        watched("node", "1", "--json", folder=net.root) as node,
    ):
        wait_until(lambda: '"ready"' in node.out)
        assert node.out == net.miner(1).log.read_text()
        node.process.terminate()
        node.ended()
