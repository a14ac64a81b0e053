"""Miners as services of a real Swarm of one node."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from containers import build_images, contained, engine_or_skip, layers_kept
from live import events_of, ledgers, program, wait_until
from rounds import make_round
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.runtime.docker_engine import MINER, EngineWorkspace

METRICS = 29_464
START = ("mine", "--via", "swarm", "--detach", "--json")


@pytest.fixture(scope="module")
def swarm() -> Iterator[Any]:
    """A Swarm with both images of this code; one that was there before stays."""
    engine = engine_or_skip()
    build_images(engine)
    own = engine.info()["Swarm"]["LocalNodeState"] == "inactive"
    if own:
        engine.swarm.init(advertise_addr="127.0.0.1")
    yield engine
    if own:
        engine.swarm.leave(force=True)
    engine.close()


def container_of(engine: Any, workspace: Workspace, number: int) -> Any:
    """The container in which Swarm runs a miner now."""
    labels = [*EngineWorkspace(workspace.root).filters["label"], f"{MINER}={number}"]
    (found,) = engine.containers.list(filters={"label": labels})
    return found


# A scraper asks again: the swarm tells a new container of its neighbours when it has started already.
SCRAPER = """
import sys, time, urllib.request
for _ in range(60):
    try:
        sys.exit(print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode()))
    except OSError:
        time.sleep(0.5)
sys.exit("nobody answers there")
"""


def scraped(engine: Any, workspace: Workspace, number: int) -> str:
    """What a scraper in the miners' network is told of one of them."""
    network, port = f"{EngineWorkspace(workspace.root).stem}-swarm", METRICS + number - 1
    with socket.socket() as outside:
        assert outside.connect_ex(("127.0.0.1", port))
    command = ["-c", SCRAPER, f"http://miner-{number}:{port}/metrics"]
    out: bytes = engine.containers.run(
        "fedcoin_lw", command, entrypoint=["python"], network=network, remove=True
    )
    return next(line for line in out.decode().splitlines() if line.startswith("fedcoin_height"))


# First: afterwards there is a swarm until the file's end.
def test_no_swarm(tmp_path: Path) -> None:
    """An engine that manages no swarm is told apart from no engine at all: exit code 8, and how to make one."""
    engine = engine_or_skip()
    if engine.info()["Swarm"].get("ControlAvailable"):
        pytest.skip("this machine's engine manages a swarm already")
    with contained(tmp_path / "net", 1, "--clients", "3") as workspace:
        said = fedcoin(*START, folder=workspace.root)
        assert said.code == 8
        assert "this Docker engine manages no swarm" in said.err
        assert "docker swarm init" in said.err


def test_a_round_with_a_restart(tmp_path: Path, swarm: Any) -> None:
    """A service killed while it mines is started again by Swarm: without it the round could not settle, and it does.

    Metrics are served within the workspace's network, under the miners' names, and at no port of the machine.
    Services stop and start again, and a prune leaves nothing of them.
    """
    sampled = ("--clients", "3", "--set", "task.runtime=8", "--set", "mining.estimator=balanced")
    metrics = ("--set", f"metrics.port={METRICS}")
    with contained(tmp_path / "net", 2, *sampled) as workspace:
        make_round(workspace)
        said = fedcoin(*START, *metrics, folder=workspace.root)
        assert said.code == 0, said.err
        assert len(swarm.secrets.list(filters=EngineWorkspace(workspace.root).filters)) == 2
        assert [scraped(swarm, workspace, number) for number in (1, 2)] == ["fedcoin_height 0.0"] * 2
        with program("publish", "--json", folder=workspace.root) as publish:
            wait_until(lambda: len(events_of(workspace, 2, "mined")) > 0)
            before = container_of(swarm, workspace, 2)
            before.kill()
            wait_until(lambda: len(events_of(workspace, 2, "ready")) == 2)
            assert container_of(swarm, workspace, 2).id != before.id
            out, err = publish.communicate(timeout=120)
        assert publish.returncode == 0, err
        height = json.loads(out)["height"]
        wait_until(lambda: {ledger.count(b"\n") for ledger in ledgers(workspace)} == {height + 1})
        assert len(set(ledgers(workspace))) == 1
        assert fedcoin("status", "--json", folder=workspace.root).json["reachable"] == 2

        stopped = fedcoin("stop", "--json", folder=workspace.root)
        assert stopped.code == 0, stopped.err
        assert (stopped.json["stopped"], stopped.json["killed"]) == ([1, 2], [])
        again = fedcoin(*START, folder=workspace.root)
        assert again.code == 0, again.err
        assert again.json["started"] == [1, 2]
        with layers_kept(swarm):
            pruned = fedcoin("stop", "--prune", "--json", folder=workspace.root)
        assert pruned.code == 0, pruned.err
        filters = EngineWorkspace(workspace.root).filters
        for kind in (swarm.services, swarm.secrets, swarm.configs, swarm.networks):
            assert kind.list(filters=filters) == []
