import stat
from pathlib import Path

import pytest

from fedcoin_cli.application.founding.founding import Founding, local_founding
from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.application.workspace.configuration import FlagError, Given, load
from fedcoin_cli.application.workspace.peers import read_peers
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.errors import Locked, SettingsError
from ledger_store.file.chain_file import ChainFile, ChainReader


def founding(root: Path, **settings: str) -> Founding:
    said = {"task.clients": "3", "network.miners": "4"}
    said |= {key.replace("__", "."): value for key, value in settings.items()}
    configuration = load(None, {key: Given(value, "flag", key) for key, value in said.items()}, {})
    return local_founding(root, configuration, 1000)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_workspace_is_whole(tmp_path: Path) -> None:
    """Genesis, keys, peers, settings and every miner's ledger and vote log exist and belong together."""
    genesis = founding(tmp_path / "new", genesis__supply="5").make(force=False)
    workspace = Workspace.find(tmp_path / "new")
    assert workspace.genesis() == genesis
    assert genesis.supply == ((workspace.key("requester").address, 5_000_000),)
    names = [
        "client-001",
        "client-002",
        "client-003",
        *(f"miner-{n}" for n in range(1, 5)),
        "requester",
        "server",
    ]
    assert list(workspace.key_names()) == names
    assert genesis.roster == tuple(workspace.key(f"miner-{number}").address for number in range(1, 5))
    assert tuple(peer.address for peer in read_peers(workspace.peers_file)) == genesis.roster
    for miner, address in zip(workspace.miners, genesis.roster, strict=True):
        with ChainReader(miner.path) as chain:
            assert chain.tip.state.genesis == genesis
        assert VoteLog(miner.votes, address, genesis.id).load().records == ()
    settings = load(workspace.settings_file, {}, {}).settings
    assert (settings.task.clients, settings.network.miners) == (3, 4)


def test_keys_are_closed_to_others(tmp_path: Path) -> None:
    """Nobody but the owner can list or read the keys."""
    founding(tmp_path).make(force=False)
    workspace = Workspace(tmp_path)
    assert stat.S_IMODE(workspace.keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in workspace.keys.iterdir()} == {0o600}


def test_two_foundings_share_no_key(tmp_path: Path) -> None:
    """Two networks founded alike have different keys and genesis ids."""
    one, other = (founding(tmp_path / name).make(force=False) for name in ("one", "other"))
    assert not set(one.roster) & set(other.roster)
    assert one.id != other.id


def test_an_old_workspace_is_never_lost(tmp_path: Path) -> None:
    """A second init is refused; forced, it moves every byte of the old workspace aside."""
    founding(tmp_path).make(force=False)
    (tmp_path / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(FlagError, match="already"):
        founding(tmp_path).make(force=False)
    assert contents(tmp_path) == before
    for number in (1, 2):
        standing = {
            name: data for name, data in contents(tmp_path).items() if not name.startswith("previous")
        }
        founding(tmp_path).make(force=True)
        moved = contents(tmp_path / f"previous-{number}")
        assert moved == {name: data for name, data in standing.items() if name != "notes.txt"}
        assert (tmp_path / "notes.txt").read_text() == "mine"


def test_running_miners_are_left_alone(tmp_path: Path) -> None:
    """A workspace whose ledger is being written is not moved, even when forced."""
    founding(tmp_path).make(force=False)
    chain = ChainFile.open_for_writing(Workspace(tmp_path).miner(2).path)
    before = contents(tmp_path)
    with pytest.raises(Locked):
        founding(tmp_path).make(force=True)
    chain.close()
    assert contents(tmp_path) == before


def test_every_miner_has_its_own_two_ports(tmp_path: Path) -> None:
    """Message and file ports of all miners are different, from the configured one on."""
    founding(tmp_path, network__port="9000", network__advertise="host.example").make(force=False)
    peers = read_peers(Workspace(tmp_path).peers_file)
    endpoints = [endpoint for peer in peers for endpoint in (peer.messages, peer.files)]
    assert endpoints == [f"tcp://host.example:{port}" for port in range(9000, 9008)]


@pytest.mark.parametrize(
    "text",
    [
        "[a",
        "a = 1",
        '[a]\naddress = "00"\nhost = "h"\nport = 1',
        f'[a]\naddress = "{"0" * 64}"\nhost = ""\nport = 1',
        f'[a]\naddress = "{"0" * 64}"\nhost = "h"\nport = 65535',
        f'[a]\naddress = "{"0" * 64}"\nhost = "h"\nport = true',
        f'[a]\naddress = "{"0" * 64}"\nhost = "h"\nport = 1\nweight = 2',
    ],
)
def test_a_wrong_peers_file_is_refused(tmp_path: Path, text: str) -> None:
    """A peers file with a wrong entry is a settings error that names the file."""
    path = tmp_path / "peers.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_peers(path)
    assert caught.value.where == str(path)
