"""What a miner in a container gets of its workspace; no engine is needed."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from live import workspace_of

from fedcoin_cli.application.crew.containers import Contained, stages
from fedcoin_cli.application.workspace.configuration import Given, load
from fedcoin_cli.application.workspace.peers import Peer, read_peers, render_peers
from fedcoin_cli.application.workspace.settings import Settings
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.errors import SettingsError
from ledger_store.base.names import Address


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two miners, none of which runs, and a third elsewhere."""
    with workspace_of(tmp_path / "net", 2, "--clients", "2") as workspace:
        peers = read_peers(workspace.peers_file)
        elsewhere = Peer("far", Address("ab" * 32), "192.0.2.7", 9000)
        workspace.peers_file.write_text(render_peers([*peers, elsewhere]))
        return workspace


def test_a_container_spec(workspace: Workspace, tmp_path: Path) -> None:
    """A miner gets its own key alone, companions by name, others as they are, and the settings in force here."""
    flags = {
        "mining.estimator": Given("exact", "flag", "--set"),
        "network.bind": Given("127.0.0.9", "flag", "--set"),
    }
    settings = load(workspace.settings_file, flags).settings
    spec = Contained(workspace, settings, threads=3, secret=b"words\n").spec(2)
    assert set(spec.files) == {
        "genesis.json", "settings.toml", "peers.toml", "keys/miner-2.key", "passphrase",
    }  # fmt: skip
    assert spec.secrets == {"keys/miner-2.key", "passphrase"}
    assert spec.folders == {"miners/2": workspace.miner(2).path, "store": workspace.store}
    (tmp_path / "peers.toml").write_bytes(spec.files["peers.toml"])
    places = [(peer.name, peer.host, peer.port) for peer in read_peers(tmp_path / "peers.toml")]
    assert places == [("miner-1", "miner-1", 7460), ("miner-2", "miner-2", 7460), ("far", "192.0.2.7", 9000)]
    inside = tomllib.loads(spec.files["settings.toml"].decode())
    assert (inside["mining"], inside["network"]["bind"]) == ({"estimator": "exact", "threads": 3}, "0.0.0.0")  # noqa: S104 - its own
    assert (spec.host, spec.port) == ("127.0.0.9", read_peers(workspace.peers_file)[1].port)


def test_a_miner_without_a_place(workspace: Workspace) -> None:
    """A local miner that the peers file does not place cannot be reached: a settings error that names the file."""
    first, second, _ = read_peers(workspace.peers_file)
    workspace.peers_file.write_text(render_peers([first, replace(second, host="", port=0)]))
    with pytest.raises(SettingsError) as caught:
        Contained(workspace, Settings(), threads=1).spec(2)
    assert caught.value.where == str(workspace.peers_file)


def test_no_engine_is_asked_for_processes(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace that never had containers needs no engine to be stopped."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    assert stages(workspace, Settings()) == {}
