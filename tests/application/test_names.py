import json
from pathlib import Path

import pytest
from chains import ChainMaker, key
from places import place

from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.peers import read_peers
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.errors import KeyFailure, NotFound, SettingsError


def test_names_both_ways(tmp_path: Path) -> None:
    """Keys and peers give names to addresses; an address stands for itself; a stranger is shortened."""
    maker = ChainMaker(2)
    workspace = place(tmp_path, maker)
    workspace.key_file("miner-2").unlink()
    names = Names.of(workspace)
    assert names.name(maker.requester.address) == "requester"
    assert names.address("client-002") == key("client-2").address
    assert names.address("miner-2") == maker.miners[1].address
    stranger = key("stranger").address
    assert names.address(stranger) == stranger
    assert names.name(stranger) == f"{stranger[:16]}…"


def test_nobody_of_that_name(tmp_path: Path) -> None:
    """An unknown name is refused with the names there are; a key that cannot be read has none."""
    workspace = place(tmp_path, ChainMaker(1))
    workspace.key_file("client-001").chmod(0o644)
    with pytest.raises(NotFound, match="'client-001'") as caught:
        Names.of(workspace).address("client-001")
    assert "client-002" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["\x1b[2Jminer-1", "miner-1\nproven: all", "=1+1", "-1", "a b", "Käthe", "a" * 65, ""]
)
def test_names_that_a_terminal_or_a_spreadsheet_would_obey(tmp_path: Path, name: str) -> None:
    """A peers file may be a stranger's: such a name refuses the file; a key's file of that name is no key."""
    workspace = Workspace(tmp_path)
    workspace.peers_file.write_text(f'[{json.dumps(name)}]\naddress = "{"ab" * 32}"\n')
    with pytest.raises(SettingsError) as refusal:
        read_peers(workspace.peers_file)
    assert refusal.value.where == str(workspace.peers_file)
    assert refusal.value.hint
    with pytest.raises(KeyFailure):
        workspace.key_file(name)
    workspace.keys.mkdir()
    if name and "/" not in name:
        (workspace.keys / f"{name}.key").write_text("")
    assert workspace.key_names() == ()
