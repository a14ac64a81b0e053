import subprocess
import sys
from pathlib import Path

import pytest
from chains import ChainMaker
from shell import PROGRAM, fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace


def names(maker: ChainMaker) -> tuple[str, str]:
    """The ids of the task and of the transfer."""
    return next(iter(maker.records)), str(getattr(maker.blocks[3].transactions[0], "id", ""))


def test_a_settlement_is_proven_elsewhere(workspace: Workspace, maker: ChainMaker, tmp_path: Path) -> None:
    """A client without ledger, workspace or keys sees from one file and a genesis id what it was paid, and what not."""
    task, _ = names(maker)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    file = str(elsewhere / "proof.json")
    made = fedcoin("show", "--proof", task[:12], "-o", file, "--json", folder=workspace.root).json
    assert (made["height"], made["genesis"]) == (3, maker.genesis.id)
    said = fedcoin("verify", "proof.json", "--genesis", maker.genesis.id, "--json", folder=elsewhere)
    assert said.code == 0, said.err
    data = said.json
    shown = fedcoin("show", task, "--json", folder=workspace.root).json
    assert [one["amount"] for one in data["payments"][:3]] == [one["paid"] for one in shown["clients"]]
    assert [one["to"] for one in data["payments"][:3]] == [one["client"] for one in shown["clients"]]
    assert "2 of the 2 miners" in data["proven"]
    assert len(data["not_proven"]) == 3


def test_a_transfer_is_proven_here(workspace: Workspace, maker: ChainMaker) -> None:
    """In a workspace the genesis is known and addresses have names; a proof also goes through a pipe."""
    _, transfer = names(maker)
    proof = fedcoin("show", "--proof", transfer, folder=workspace.root).out
    done = subprocess.run(
        [PROGRAM, "verify", "-"], input=proof, cwd=workspace.root, capture_output=True, text=True, check=True
    )
    for words in ("client-001", "5.0", "certified    miner-1, miner-2", "proven: 2 of the 2", "not proven: "):
        assert words in done.stdout


def test_a_changed_proof_is_refused(workspace: Workspace, maker: ChainMaker) -> None:
    """Another amount, another network, no file, no genesis: exit codes 5, 5, 11 and 4, and no answer."""
    _, transfer = names(maker)
    path = workspace.root / "proof.json"
    fedcoin("show", "--proof", transfer, "-o", str(path), folder=workspace.root)
    other = fedcoin("verify", str(path), "--genesis", "0" * 64, folder=workspace.root)
    assert (other.code, other.out) == (5, "")
    assert "another network" in other.err
    path.write_bytes(path.read_bytes().replace(b'"amount_micro":5000000', b'"amount_micro":9000000'))
    assert fedcoin("verify", str(path), folder=workspace.root).code == 5
    assert fedcoin("verify", "nothing.json", folder=workspace.root).code == 11
    outside = workspace.root.parent.parent
    assert fedcoin("verify", str(path), folder=outside).code == 4


def test_blocks_are_not_proven(workspace: Workspace) -> None:
    """A block by its height is no payment: exit code 11 and a hint."""
    said = fedcoin("show", "--proof", "2", folder=workspace.root)
    assert (said.code, said.out) == (11, "")
    assert "hint: " in said.err


def test_a_verifier_needs_no_arrays() -> None:
    """What verifies a proof loads neither NumPy nor sockets: it runs wherever PyNaCl does."""
    code = "import sys; import ledger_store.audit.inclusion; sys.exit(bool({'numpy', 'zmq'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("command", [("audit", "miners/1"), ("verify", "proof.json")])
@pytest.mark.parametrize("given", ["ab12cd", "AB" * 32, "x" * 64, ""])
def test_half_an_id_names_no_network(workspace: Workspace, command: tuple[str, ...], given: str) -> None:
    """A genesis id that is none is a mistake of the command line, and no finding about a ledger or proof."""
    said = fedcoin(*command, "--genesis", given, folder=workspace.root)
    assert said.code == 2
    assert "--genesis takes a whole id, 64 lower-case hex digits" in said.err


def test_verify_says_what_it_needs(tmp_path: Path) -> None:
    """Where no workspace tells which network is meant, the option that does is named."""
    said = fedcoin("verify", "proof.json", folder=tmp_path)
    assert said.code == 4
    assert "which network is meant?" in said.err
    assert "--genesis ID" in said.err
