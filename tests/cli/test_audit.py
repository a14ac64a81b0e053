import shutil
from pathlib import Path

from chains import ChainMaker
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.jsonl import CHAIN_NAME


def test_a_good_ledger(workspace: Workspace, maker: ChainMaker) -> None:
    """The audit of the workspace's ledger tells height, head and `audit ok`, and exits with 0."""
    said = fedcoin("audit", folder=workspace.root)
    assert said.code == 0
    for words in ("height     4", maker.head, "certified  to height 4", "audit ok: 4 blocks, level 3"):
        assert words in said.out
    data = fedcoin("audit", "--json", folder=workspace.root).json
    assert (data["ok"], data["height"], data["head"], data["level"]) == (True, 4, maker.head, 3)
    assert (data["certified_to"], data["findings"], data["skipped"]) == (4, [], [])


def test_a_copy_elsewhere(workspace: Workspace, tmp_path: Path) -> None:
    """A copied file, or its folder, is audited without any workspace; without tip file to the block before."""
    elsewhere = tmp_path / "copy"
    elsewhere.mkdir()
    shutil.copy(workspace.miner(2).chain, elsewhere)
    shutil.rmtree(workspace.root / "keys")
    (workspace.root / "genesis.json").unlink()
    for place in (elsewhere, elsewhere / CHAIN_NAME):
        data = fedcoin("audit", str(place), "--json", folder=elsewhere).json
        assert (data["ok"], data["height"], data["certified_to"]) == (True, 4, 3)
        assert len(data["skipped"]) == 1
    (elsewhere / CHAIN_NAME).rename(elsewhere / "other.jsonl")
    assert fedcoin("audit", "other.jsonl", folder=elsewhere).code == 0
    assert fedcoin("audit", "nothing.jsonl", folder=elsewhere).code == 11


def test_an_edited_ledger(workspace: Workspace, maker: ChainMaker) -> None:
    """An edited block is a finding with code, height and line, exit code 5, and the bytes stay as they are."""
    path = workspace.miner(1).chain
    lines = maker.lines()
    edited = b"".join([*lines[:2], lines[2].replace(b'"height":2', b'"height":7'), *lines[3:]])
    path.write_bytes(edited)
    said = fedcoin("audit", str(path), "--json", folder=workspace.root)
    assert said.code == 5
    assert (said.json["ok"], said.json["height"]) == (False, 1)
    assert [(one["code"], one["height"], one["line"]) for one in said.json["findings"]] == [("E201", 2, 3)]
    assert said.err.startswith("error: ")
    assert "hint: " in said.err
    assert "E201  height 2, line 3" in fedcoin("audit", folder=workspace.root).out
    assert path.read_bytes() == edited


def test_wrong_payments_are_seen_from_level_3_on(workspace: Workspace) -> None:
    """A certified settlement that does not follow passes level 2 and fails level 3."""
    maker = ChainMaker(2)
    maker.add_round()
    maker.write(workspace.root / "other")
    assert fedcoin("audit", "other", "--level", "2", folder=workspace.root).code == 0
    said = fedcoin("audit", "other", folder=workspace.root)
    assert said.code == 5
    assert "E413" in said.out


def test_levels(workspace: Workspace) -> None:
    """Below level 2 nothing is certified; a level that does not exist is a usage error."""
    data = fedcoin("audit", "--level", "1", "--json", folder=workspace.root).json
    assert (data["ok"], data["level"], data["certified_to"]) == (True, 1, None)
    assert fedcoin("audit", "--level", "9", folder=workspace.root).code == 2
