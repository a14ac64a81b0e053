"""Miners in real containers of a real engine."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from containers import (
    base,
    build_images,
    compose,
    contained,
    container_of,
    engine_or_skip,
    forget,
    layers_kept,
    runs,
)
from docker.errors import ImageNotFound
from live import PATIENCE_S, events_of, ledgers, program, wait_until, workspace_of
from rounds import make_round
from shell import Said, fedcoin
from small_disks import fill, small_disk

from benchmarks.network import free_ports
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.runtime.container_spec import user_of
from fedcoin_cli.runtime.docker_engine import CODE, EngineWorkspace

ROOT = Path(__file__).resolve().parents[2]
FEW = ("--clients", "3", "--set", "task.runtime=1")
START = ("mine", "--via", "docker", "--detach", "--json")


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    """An engine with both images of this code."""
    engine = engine_or_skip()
    build_images(engine)
    yield engine
    engine.close()


def start(workspace: Workspace, *arguments: str) -> Said:
    """All miners up."""
    said = fedcoin(*START, *arguments, folder=workspace.root)
    assert said.code == 0, said.err
    return said


def equal(workspace: Workspace, height: int) -> bool:
    """Whether all ledgers have that height and the same bytes."""
    found = ledgers(workspace)
    return len(set(found)) == 1 and found[0].count(b"\n") == height + 1


def outside(command: list[str], workspace: Workspace, engine: Any) -> str:
    """What the lightweight image answers with the workspace mounted, as a user without fedcoin would run it."""
    owner = workspace.root.stat()
    mount = {str(workspace.root): {"bind": "/workspace", "mode": "rw"}}
    user = f"{owner.st_uid}:{owner.st_gid}"
    out: bytes = engine.containers.run(
        "fedcoin_lw", command, remove=True, network_mode="host", user=user, volumes=mount
    )
    return out.decode()


def test_a_round_with_faults(tmp_path: Path, engine: Any) -> None:
    """A round settles, with equal ledgers, though one container is killed and another cut off for ten seconds.

    Both happen while they mine. The lightweight image then publishes two more rounds and audits them.
    """
    sampled = ("--clients", "3", "--set", "task.runtime=14", "--set", "mining.estimator=balanced")
    with contained(tmp_path / "net", 4, *sampled) as workspace:
        make_round(workspace)
        start(workspace)
        assert events_of(workspace, 1, "ready")[0]["engine"].startswith("C kernel")
        beside = fedcoin("mine", "--detach", folder=workspace.root)
        assert (beside.code, "miners 1, 2, 3, 4 run in a container already" in beside.err) == (10, True)
        ports = fedcoin("doctor", "--json", folder=workspace.root).json["checks"]
        assert ["0 free, 8 used" in one["said"] for one in ports if one["check"] == "ports"] == [True]
        policy = container_of(workspace, 1).attrs["HostConfig"]["RestartPolicy"]
        assert (
            policy["Name"] == "unless-stopped"
        )  # else a restart of the engine or the machine ends the network
        network = engine.networks.get(EngineWorkspace(workspace.root).stem)
        with program("publish", "--json", folder=workspace.root) as publish:
            wait_until(lambda: len(events_of(workspace, 3, "mined")) > 0)
            container_of(workspace, 4).kill()
            network.disconnect(container_of(workspace, 3))
            assert start(workspace).json["started"] == [4]
            time.sleep(10)
            network.connect(container_of(workspace, 3), aliases=["miner-3"])
            out, err = publish.communicate(timeout=120)
        assert publish.returncode == 0, err
        first = json.loads(out)
        assert first["state"] == "SETTLED"
        wait_until(lambda: equal(workspace, first["height"]))

        short = ["publish", "--json", "--runtime", "1", "--set", "mining.estimator=auto"]
        heights = [json.loads(outside(short, workspace, engine))["height"] for _ in range(2)]
        assert first["height"] < heights[0] < heights[1]
        wait_until(lambda: equal(workspace, heights[1]))
        said = json.loads(outside(["audit", "--json"], workspace, engine))
        assert (said["ok"], said["height"]) == (True, heights[1])

        stopped = fedcoin("stop", "--json", folder=workspace.root)
        assert (stopped.json["stopped"], stopped.json["killed"]) == ([1, 2, 3, 4], [])
        assert not any(runs(workspace, number) for number in (1, 2, 3, 4))


@pytest.mark.usefixtures("engine")
def test_what_a_container_may(tmp_path: Path) -> None:
    """A miner is no root, may write its ledger and the store and nothing else, and sees its own sealed key alone."""
    with contained(tmp_path / "net", 2, *FEW) as workspace:
        words = tmp_path / "words"
        words.write_text("correct horse\n")
        words.chmod(0o600)
        passphrase = ("--new-passphrase-file", str(words))
        assert fedcoin("key", "passwd", *passphrase, folder=workspace.root).code == 0
        start(workspace, "--passphrase-file", str(words))
        miner = container_of(workspace, 1)

        def inside(script: str) -> str:
            return str(miner.exec_run(["bash", "-c", script]).output, "utf-8")

        assert inside("id -u").strip() != "0"
        assert inside("ls keys; stat -c %a keys/* passphrase").split() == ["miner-1.key", "400", "400"]
        assert "Read-only" in inside("touch /workspace/x")
        assert "Read-only" in inside("touch /opt/x")
        assert inside("touch miners/1/x store/x && rm miners/1/x store/x && echo yes") == "yes\n"
        assert inside("ls miners").split() == ["1"]
        host = miner.attrs["HostConfig"]
        assert (host["Memory"], host["CapDrop"], host["PidsLimit"]) == (4096 * 2**20, ["ALL"], 512)
        assert fedcoin("balance", "--json", folder=workspace.root).code == 0
        health = miner.image.attrs["Config"]["Healthcheck"]["Test"]
        assert health[0] == "CMD"
        assert miner.exec_run(health[1:]).exit_code == 0
        assert miner.exec_run([*health[1:-1], health[-1].replace("7460", "7462")]).exit_code != 0


@pytest.mark.usefixtures("engine")
def test_a_full_disk(tmp_path: Path) -> None:
    """The miner whose disk is full ends and says so, the others settle; with space again the engine brings it back.

    Nobody starts it: its container outlives falls, and it catches up.
    """
    with contained(tmp_path / "net", 4, *FEW) as workspace:
        make_round(workspace)
        ledger = workspace.miner(4).path
        ledger.rename(tmp_path / "own")
        with small_disk(ledger, kib=512) as disk:
            shutil.copytree(tmp_path / "own", disk, dirs_exist_ok=True)
            start(workspace)
            filler = fill(disk, 0)
            done = fedcoin("publish", "--json", folder=workspace.root)
            assert done.code == 0, done.err
            wait_until(lambda: not runs(workspace, 4))
            assert container_of(workspace, 4).attrs["State"]["ExitCode"] == 12
            assert b"disk is full" in container_of(workspace, 4).logs()

            filler.unlink()
            wait_until(lambda: equal(workspace, done.json["height"]))
            assert fedcoin("stop", folder=workspace.root).code == 0


def test_another_version_is_refused(tmp_path: Path, engine: Any) -> None:
    """An image of other code, or of none that is known, starts no miner: exit code 8, and what to do."""
    image = engine.images.get("fedcoin")
    made = engine.containers.create("fedcoin")
    try:
        made.commit("fedcoin-other", "test", changes=f'LABEL {CODE}="0123456789ab"')
        with contained(tmp_path / "net", 1, *FEW) as workspace:
            said = fedcoin(*START, "--set", "containers.image=fedcoin-other:test", folder=workspace.root)
            assert said.code == 8
            assert "the image fedcoin-other:test is of another version than this program" in said.err
            assert json.loads(said.err)["where"] == f"image: 0123456789ab, program: {image.labels[CODE]}"
            missing = fedcoin(*START, "--set", "containers.image=fedcoin-none:test", folder=workspace.root)
            assert missing.code == 8
            assert json.loads(missing.err)["hint"] == "fedcoin mine --via docker --build makes both images"
    finally:
        made.remove()
        engine.images.remove("fedcoin-other:test")


@pytest.mark.usefixtures("engine")
def test_one_way_at_a_time(tmp_path: Path) -> None:
    """Containers beside processes of the same workspace are refused with exit code 10, and nobody is left behind."""
    with contained(tmp_path / "net", 2, *FEW) as workspace:
        assert fedcoin("mine", "--detach", folder=workspace.root).code == 0
        said = fedcoin(*START, folder=workspace.root)
        assert (said.code, "run as a process already" in said.err) == (10, True), said.err
        assert fedcoin("stop", "--json", folder=workspace.root).json["stopped"] == [1, 2]


def test_no_gpu(tmp_path: Path, engine: Any) -> None:
    """Where the engine passes no GPU through, --gpus is refused with exit code 8 and a line that says so."""
    if "nvidia" in engine.info()["Runtimes"]:
        pytest.skip("this engine has GPUs")
    with contained(tmp_path / "net", 1, *FEW) as workspace:
        said = fedcoin(*START, "--gpus", "all", folder=workspace.root)
        assert said.code == 8
        assert "miner 1: this engine passes no GPU through" in said.err


def nameless(engine: Any, image: str) -> str:
    """A new image that has no name, made from `image`; its id."""
    made = engine.containers.create(image, ["true"])
    try:
        return str(made.commit().id)
    finally:
        made.remove()


def test_prune(tmp_path: Path, engine: Any) -> None:
    """What a paused and a running miner leave is removed, and our images without a name, and nothing else.

    A stranger's container, network and image without a name stay, and so do our images with names.
    """
    stranger = engine.containers.create(base(engine), ["true"], name="fedcoin-test-stranger")
    network = engine.networks.create("fedcoin-test-strangers")
    foreign = nameless(engine, base(engine))
    try:
        with layers_kept(engine), contained(tmp_path / "net", 2, *FEW) as workspace:
            ours = nameless(engine, "fedcoin_lw")
            start(workspace)
            container_of(workspace, 2).pause()
            said = fedcoin("stop", "--prune", "--json", folder=workspace.root)
            assert said.code == 0, said.err
            assert said.json["stopped"] == [1, 2]
            stem = EngineWorkspace(workspace.root).stem
            everything = (*engine.containers.list(all=True), *engine.networks.list(), *engine.volumes.list())
            assert not [one.name for one in everything if one.name.startswith(stem)]
            with pytest.raises(ImageNotFound):
                engine.images.get(ours)
        for kept in (foreign, "fedcoin", "fedcoin_lw"):
            engine.images.get(kept)
        assert engine.containers.get("fedcoin-test-stranger").id == stranger.id
        assert engine.networks.get(network.id).name == "fedcoin-test-strangers"
    finally:
        stranger.remove()
        network.remove()
        engine.images.remove(foreign)


def test_two_hosts(tmp_path: Path, engine: Any) -> None:
    """Two owners on two hosts, each a network of containers of its own, share one ledger and settle a round.

    One of the two stands still for a while. Both hosts are this machine: they reach each other through its ports
    alone, never from container to container.
    """
    street = engine.networks.create("fedcoin-test-street")
    street.reload()
    here = street.attrs["IPAM"]["Config"][0]["Gateway"]
    port, owners = free_ports(4), [Workspace(tmp_path / name) for name in ("ann", "ben")]
    try:
        for number, owner in enumerate(owners):
            owner.root.mkdir()
            assert fedcoin("key", "new", "miner-1", folder=owner.root).code == 0
            at = f"{here}:{port + 2 * number}"
            entry = fedcoin("key", "show", "miner-1", "--at", at, folder=owner.root).out
            with (tmp_path / "roster.toml").open("a") as roster:
                roster.write(entry.replace("[miner-1]", f"[{owner.root.name}]") + "\n")
        ann, ben = owners
        assert fedcoin("init", "--roster", "../roster.toml", folder=ann.root).code == 0
        assert fedcoin("init", "--join", "../ann/genesis.json", folder=ben.root).code == 0
        starting = [program(*START, folder=owner.root) for owner in owners]
        with starting[0] as first, starting[1] as second:
            for process in (first, second):
                assert process.wait(PATIENCE_S) == 0, process.communicate()[1]
        networks = {
            name for owner in owners for name in container_of(owner, 1).attrs["NetworkSettings"]["Networks"]
        }
        assert networks == {EngineWorkspace(owner.root).stem for owner in owners}
        for name in ("client-001", "client-002"):
            assert fedcoin("key", "new", name, folder=ann.root).code == 0
        make_round(ann, 2)
        with program("publish", "--json", "--runtime", "1", folder=ann.root) as publish:
            wait_until(lambda: len(events_of(ann, 1, "block")) > 0)
            container_of(ben, 1).pause()
            time.sleep(3)
            container_of(ben, 1).unpause()
            assert publish.wait(PATIENCE_S) == 0, publish.communicate()[1]
        wait_until(lambda: ledgers(ann) == ledgers(ben))
    finally:
        for owner in owners:
            forget(owner)
        street.remove()


def test_compose(tmp_path: Path, engine: Any) -> None:
    """Compose alone, without the program: four miners settle a round, their ledgers are equal; metrics are served."""
    ports = ("--set", "network.port=7460", "--set", "metrics.port=9464")
    with workspace_of(tmp_path / "net", 4, *FEW, *ports) as workspace:
        make_round(workspace)
        owner = user_of(workspace.root)
        _give(workspace.root, owner)
        words = {"WORKSPACE": str(workspace.root), "OWNER": f"{owner[0]}:{owner[1]}"}
        command = [*compose(), "-p", "fedcoin-test", "-f", str(ROOT / "docker" / "compose.yaml")]

        def run(*arguments: str) -> str:
            done = subprocess.run(
                [*command, *arguments], env=os.environ | words, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        try:
            run("up", "-d")
            wait_until(lambda: all(events_of(workspace, number, "ready") for number in (1, 2, 3, 4)))
            said = json.loads(run("run", "--rm", "-T", "lw", "publish", "--json"))
            assert said["state"] == "SETTLED"
            wait_until(lambda: equal(workspace, said["height"]))
            script = "import urllib.request as u; print(u.urlopen('http://localhost:9467/metrics').read().decode())"
            scrape = ("run", "--rm", "-T", "--entrypoint", "python", "lw", "-c", script)
            wait_until(lambda: f"fedcoin_height {said['height']}.0\n" in run(*scrape))
        finally:
            run("down")
        assert not engine.containers.list(all=True, filters={"name": "fedcoin-test"})


def _give(root: Path, owner: tuple[int, int]) -> None:
    for path in (root, *root.rglob("*")):
        os.chown(path, *owner)


def test_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an engine the exit code is 8 with a way out, and stop still stops processes."""
    with workspace_of(tmp_path / "net", 1, *FEW) as workspace:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
        for via in ("docker", "swarm"):
            said = fedcoin("mine", "--via", via, "--build", folder=workspace.root)
            assert said.code == 8
            assert said.err.startswith("error: no Docker engine answers here\n")
            assert "fedcoin mine --via process" in said.err
        assert fedcoin("mine", "--detach", folder=workspace.root).code == 0
        stopped = fedcoin("stop", "--json", folder=workspace.root)
        assert stopped.json["stopped"] == [1]


@pytest.mark.parametrize(
    "words",
    [("--build",), ("--gpus", "1"), ("--via", "docker", "--gpus", "0"), ("--via", "swarm", "--gpus", "all")],
)
def test_options_that_do_not_fit(tmp_path: Path, words: tuple[str, ...]) -> None:
    """What means nothing for this way to run miners, or nothing at all, is a usage error before anything starts."""
    assert fedcoin("mine", *words, folder=tmp_path).code == 2
