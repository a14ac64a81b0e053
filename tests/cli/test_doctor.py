import os
import socket
from pathlib import Path

import pytest
from chains import ChainMaker
from places import place, settled_round
from shell import Said, fedcoin

from benchmarks.network import free_ports
from fedcoin_cli.application.diagnosis import workspace_checks
from fedcoin_cli.application.node.events import EventLog
from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.application.workspace.workspace import Workspace


@pytest.fixture
def healthy(tmp_path: Path) -> Workspace:
    """A workspace of two miners on free ports, with a ledger; none runs."""
    maker = ChainMaker(2)
    settled_round(maker)
    return place(tmp_path, maker, port=free_ports(4))


def checks(said: Said) -> dict[str, dict[str, str]]:
    return {one["check"]: one for one in said.json["checks"]}


def test_a_healthy_workspace(healthy: Workspace) -> None:
    """Nothing is in the way: versions, ports, keys, ledger, clock and disk are told, and the exit code is 0."""
    said = fedcoin("doctor", "--json", folder=healthy.root)
    found = checks(said)
    assert (said.code, said.json["ok"]) == (0, True)
    assert {"python", "packages", "backend", "gpu", "kernel", "docker"} < found.keys()
    assert found["ports"]["said"].startswith("4 free")
    assert "certified to height 3" in found["ledger"]["said"]
    assert not any(one["state"] == "bad" for one in found.values())
    plain = fedcoin("doctor", folder=healthy.root)
    assert plain.out.endswith("\nnothing is in the way\n")


def test_outside_a_workspace(tmp_path: Path) -> None:
    """Outside a workspace the machine is checked all the same; a workspace that is named must be one."""
    said = fedcoin("doctor", "--json", folder=tmp_path)
    assert said.code == 0
    assert checks(said)["workspace"]["state"] == "note"
    assert "keys" not in checks(said)
    assert fedcoin("doctor", "-C", "nowhere", folder=tmp_path).code == 4


def test_what_will_not_work(healthy: Workspace) -> None:
    """A loose key, a taken port and a setting out of range are each found, with the exit code of the first."""
    (healthy.root / "settings.toml").write_text('[task]\nprice = "-1"\n')
    (healthy.keys / "server.key").chmod(0o644)
    _, port = healthy.peers_file.read_text().split("port = ")[-2:]
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(port)))
        other.listen()
        said = fedcoin("doctor", "--json", folder=healthy.root)
    found = checks(said)
    assert [name for name, one in found.items() if one["state"] == "bad"] == ["settings", "keys", "ports"]
    assert said.code == 3
    assert port.strip() in found["ports"]["said"]
    assert str(healthy.keys / "server.key") in found["keys"]["hint"]


def test_ports_of_a_miner_that_others_call_otherwise(healthy: Workspace) -> None:
    """Ports are tried where miners listen, not where others reach them, whatever the keys are called."""
    healthy.key_file("zed").write_bytes(healthy.key_file("miner-2").read_bytes())
    named = healthy.peers_file.read_text().replace("miner-2", "ben").replace("127.0.0.1", "203.0.113.7")
    healthy.peers_file.write_text(named)
    healthy.settings_file.write_text('[network]\nbind = "127.0.0.5"\n')
    port = int(named.split("port = ")[-1])
    with socket.socket() as other:
        other.bind(("127.0.0.5", port + 1))
        other.listen()
        found = workspace_checks.ports(healthy)
    assert (found.state, found.said) == ("bad", f"somebody else listens on {port + 1} (miner-2)")
    assert workspace_checks.ports(healthy).said.startswith("4 free, 0 used")


def test_an_address_that_is_not_this_machines(healthy: Workspace) -> None:
    """A miner that could not listen at all, or that the peers file does not name, is found before it starts."""
    healthy.settings_file.write_text('[network]\nbind = "203.0.113.7"\n')
    assert workspace_checks.ports(healthy).said.startswith("nothing can listen on 203.0.113.7")
    first, _, _ = healthy.peers_file.read_text().rpartition("[miner-2]")
    healthy.peers_file.write_text(first)
    assert workspace_checks.ports(healthy).said == "no entry in peers.toml: miner-2"


def test_a_clock_that_is_behind(healthy: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock more than ten minutes behind the newest block is bad; up to there it is not."""
    newest_ms = 1_700_000_003_000
    monkeypatch.setattr("time.time_ns", lambda: (newest_ms - 599_000) * 10**6)
    assert workspace_checks.clock(healthy).state == "ok"
    monkeypatch.setattr("time.time_ns", lambda: (newest_ms - 601_000) * 10**6)
    assert workspace_checks.clock(healthy).state == "bad"


def test_a_miner_whose_clock_is_behind_what_others_offer(healthy: Workspace) -> None:
    """Nothing becomes final, so no ledger shows it: its log does, until it is started again or a block is final."""
    log = EventLog(healthy.miners[0].log)
    log.write("clock behind", minutes=60, hint="blocks are 60 minutes ahead of this clock")
    found = workspace_checks.clock(healthy)
    assert found.state == "bad"
    assert "60 minutes" in found.said
    log.write("block", height=9)
    log.close()
    assert workspace_checks.clock(healthy).state == "ok"


def test_a_lost_vote_log(healthy: Workspace) -> None:
    """A vote log that is gone, or known to lack something, is bad where all miners are needed; both have a remedy."""
    assert workspace_checks.votes(healthy).state == "ok"
    first = healthy.miners[0]
    first.votes.unlink()
    found = workspace_checks.votes(healthy)
    assert (found.state, found.code) == ("bad", 6)
    assert "miner-1: vote log lost" in found.said
    assert "repair --forget-log" in found.hint
    assert not first.votes.exists()
    VoteLog.create(first.votes, healthy.address("miner-1"), healthy.genesis().id, whole=False).close()
    assert workspace_checks.votes(healthy).said == found.said
    first.votes.write_bytes(b"no log" * 200)
    assert workspace_checks.votes(healthy).code == 12


def test_a_lost_vote_log_that_others_can_do_without(tmp_path: Path) -> None:
    """One of four is a note: it votes again when the others have moved on."""
    four = place(tmp_path, ChainMaker(4))
    four.miners[0].votes.unlink()
    assert workspace_checks.votes(four).state == "note"
    four.miners[1].votes.unlink()
    assert workspace_checks.votes(four).state == "bad"


def test_a_damaged_ledger(healthy: Workspace) -> None:
    """When no ledger can be read, that is said, with what repairs it."""
    for miner in healthy.miners:
        miner.chain.write_bytes(b"{}\n")
    found = workspace_checks.ledger(healthy)
    assert (found.state, found.hint) == ("bad", "fedcoin repair")


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
def test_a_disk_that_refuses(healthy: Workspace) -> None:
    """A folder that cannot be written is found, and nothing is left behind."""
    healthy.root.chmod(0o500)
    assert workspace_checks.disk(healthy).state == "bad"
    healthy.root.chmod(0o700)
