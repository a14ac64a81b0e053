import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from chains import ChainMaker
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.names import BlockId
from ledger_store.chain import start
from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME


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
        assert ["certificate of height 4" in text for text in data["skipped"]] == [True, False]
    (elsewhere / CHAIN_NAME).rename(elsewhere / "other.jsonl")
    assert fedcoin("audit", "other.jsonl", folder=elsewhere).code == 0
    assert fedcoin("audit", "nothing.jsonl", folder=elsewhere).code == 11


def test_another_network(workspace: Workspace, maker: ChainMaker, tmp_path: Path) -> None:
    """A perfect ledger is worth its genesis: it is named, asked for, and a ledger of another is no answer."""
    other = ChainMaker(3)
    other.add_transfers(3)
    path = other.write(tmp_path / "other")
    mine, theirs = maker.genesis.id, other.genesis.id
    said = fedcoin("audit", str(path), "--json", folder=workspace.root)
    assert (said.code, said.json["genesis"], said.json["network"]) == (0, theirs, other.genesis.network)
    assert [theirs in text for text in said.json["skipped"]] == [True]
    assert (
        fedcoin("audit", str(path), "--genesis", theirs, "--json", folder=workspace.root).json["skipped"]
        == []
    )
    refused = fedcoin("audit", str(path), "--genesis", mine, "--json", folder=workspace.root)
    assert (refused.code, refused.json["findings"][0]["code"], refused.json["blocks"]) == (5, "E105", 0)
    assert f"genesis {mine}" in fedcoin("audit", folder=workspace.root).out


def test_a_ledger_of_another_network_is_none_of_the_workspace(
    workspace: Workspace, maker: ChainMaker
) -> None:
    """A longer one in the workspace's own folder is passed over, and found by an audit."""
    other = ChainMaker(3)
    other.add_transfers(9)
    other.write(workspace.copy)
    said = fedcoin("log", "--json", folder=workspace.root)
    assert said.code == 0
    assert [block["height"] for block in said.json["blocks"]] == list(range(1, maker.tip.height + 1))
    assert fedcoin("audit", "--json", folder=workspace.root).json["findings"][0]["code"] == "E105"


def test_what_follows_an_older_chain_is_open_without_it(tmp_path: Path) -> None:
    """A genesis that names a predecessor mints what an audit of this ledger alone cannot check."""
    maker = ChainMaker(2)
    maker.genesis = replace(maker.genesis, predecessor=BlockId("ab" * 32))
    maker.tip = start(maker.genesis)
    maker.add_transfers(2)
    path = maker.write(tmp_path / "next")
    data = fedcoin("audit", str(path), "--genesis", maker.genesis.id, "--json", folder=tmp_path).json
    assert [text for text in data["skipped"] if "ab" * 32 in text]


def test_heights_that_are_not_there(workspace: Workspace) -> None:
    """Beyond the end nothing was audited, and that is no success; one block is one block."""
    assert fedcoin("audit", "--from", "5", folder=workspace.root).code == 11
    data = fedcoin("audit", "--from", "4", "--json", folder=workspace.root).json
    assert (data["blocks"], data["certified_to"], data["height"]) == (1, 4, 4)


def test_a_report_file_needs_its_folder(workspace: Workspace) -> None:
    """Said at once, not after a long audit."""
    assert fedcoin("audit", "-o", "nowhere/report.json", folder=workspace.root).code == 11


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
    assert "E201" in json.loads(said.err)["error"]
    assert json.loads(said.err)["hint"]
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


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_pipe, _socket, _device])
@pytest.mark.parametrize("name", [CHAIN_NAME, TIP_NAME])
def test_what_is_no_file_ends_an_audit_at_once(
    workspace: Workspace, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    """A pipe, a socket or a device in the place of a ledger's file is told; nobody waits for its other end."""
    folder = tmp_path / "copy"
    shutil.copytree(workspace.miner(1).path, folder)
    (folder / name).unlink()
    make(folder / name)
    said = fedcoin("audit", str(folder), folder=tmp_path, timeout_s=60)
    assert said.code == 11
    assert "a pipe, a socket or a device" in said.err
    assert name in said.err


@pytest.mark.parametrize("begins", [0, 1, 3])
def test_a_hole_of_200_gib_ends_an_audit_at_once(workspace: Workspace, tmp_path: Path, begins: int) -> None:
    """A ledger that goes on with nothing for ever is told after as many lines as are some."""
    folder = tmp_path / "copy"
    shutil.copytree(workspace.miner(1).path, folder)
    lines = (folder / CHAIN_NAME).read_bytes().splitlines(keepends=True)
    (folder / CHAIN_NAME).write_bytes(b"".join(lines[:begins]))
    os.truncate(folder / CHAIN_NAME, 200 * 2**30)
    said = fedcoin("audit", str(folder), folder=tmp_path, timeout_s=60)
    assert said.code == 5
    assert "they hang on what was altered" in said.out
    assert fedcoin("balance", str(folder), folder=tmp_path, timeout_s=60).code == 5


def test_empty_lines_for_ever_end_an_audit_at_once(workspace: Workspace, tmp_path: Path) -> None:
    """100 million of them behind the last block: nobody counts or reads them all."""
    folder = tmp_path / "copy"
    shutil.copytree(workspace.miner(1).path, folder)
    with (folder / CHAIN_NAME).open("ab") as file:
        for _ in range(100):
            file.write(b"\n" * 10**6)
    for verb in ("audit", "balance"):
        assert fedcoin(verb, str(folder), folder=tmp_path, timeout_s=20).code == 5
