from pathlib import Path

import pytest
from chains import ChainMaker, key
from places import place

from fedcoin_cli.application.workspace.names import Names
from ledger_store.errors import NotFound


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
