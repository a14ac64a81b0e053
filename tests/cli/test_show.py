from dataclasses import replace
from pathlib import Path

import pytest
from chains import COIN, ChainMaker, build_chain
from places import place, settled_round, won_by
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.names import MinerIndex
from ledger_store.block import Certificate
from ledger_store.transaction import Transfer


def task_of(maker: ChainMaker) -> str:
    return next(iter(maker.records))


def test_a_task(workspace: Workspace, maker: ChainMaker) -> None:
    """A settled task shows values, payments that sum to the price, the winner and every estimate."""
    task = task_of(maker)
    data = fedcoin("show", task[:10], "--json", folder=workspace.root).json
    assert (data["task"], data["state"], data["height"]) == (task, "SETTLED", 3)
    clients = [(one["client_name"], one["shapley"]) for one in data["clients"]]
    assert clients == [("client-001", "1.000000"), ("client-002", "1.010000"), ("client-003", "1.020000")]
    assert (data["price"], data["difficulty"], data["winner"]) == ("10.000000", "1.500000", won_by(maker))
    assert data["winner_name"] in {"miner-1", "miner-2"}
    assert {one["miner_name"] for one in data["miners"]} == {"miner-1", "miner-2"}
    assert {one["miner"] for one in data["miners"]} == set(maker.genesis.roster)
    said = fedcoin("show", task, folder=workspace.root).out
    for words in (
        "client-003",
        "1.020000",
        "server (FL server)",
        "total",
        "3.030000",
        "10.0",
        "winner",
        "2 miners tie",
    ):
        assert words in said


def test_a_task_in_which_nothing_was_gained(tmp_path: Path) -> None:
    """Show, explain and report say in words why the clients' part returned; with one image more nothing is said."""
    for number, (sums, said) in enumerate((((-30, 20, 10), True), ((-30, 20, 11), False))):
        maker = ChainMaker()
        task = settled_round(maker, sums)
        root = place(tmp_path / str(number), maker).root
        shown = fedcoin("show", task.id, folder=root).out
        assert ("returned to the requester" in shown) == said
        assert ("together the clients gained nothing: their part of the price returned" in shown) == said
        explained = fedcoin("explain", "client-002", folder=root).out
        assert ("together the clients gained nothing (0.000000 pp)" in explained) == said
        fedcoin("report", "-o", "report.html", folder=root)
        assert ("gained nothing, so their part returned" in (root / "report.html").read_text()) == said


@pytest.mark.parametrize("by_height", [True, False])
def test_a_block(workspace: Workspace, maker: ChainMaker, by_height: bool) -> None:
    """A block by height or id shows its header, who certified it, and its transactions."""
    block = maker.blocks[3]
    which = "4" if by_height else block.id[:8]
    data = fedcoin("show", which, "--json", folder=workspace.root).json
    assert (data["id"], data["header"]["height"]) == (block.id, 4)
    assert data["certified_by"] == list(maker.genesis.roster)
    said = fedcoin("show", which, folder=workspace.root).out
    assert block.header.parent in said
    transfer = data["transactions"][0]
    assert f"transfer {transfer['id'][:16]}  5.0  requester → client-001" in said
    assert fedcoin("show", transfer["id"], "--json", folder=workspace.root).json["height"] == 4
    assert data["names"][transfer["to"]] == "client-001"


def test_a_transaction(workspace: Workspace, maker: ChainMaker) -> None:
    """A payment by its id shows what was signed and where it stands."""
    transfer = maker.blocks[3].transactions[0]
    name = str(getattr(transfer, "id", ""))
    data = fedcoin("show", name[:12], "--json", folder=workspace.root).json
    assert (data["id"], data["height"], data["transaction"]) == (name, 4, transfer.to_json())
    assert "requester → client-001" in fedcoin("show", name, folder=workspace.root).out


def test_nothing_of_that_id(workspace: Workspace) -> None:
    """An id that nothing has is exit code 11 with a hint, and no answer."""
    said = fedcoin("show", "f" * 64, folder=workspace.root)
    assert (said.code, said.out) == (11, "")
    assert "hint: fedcoin log" in said.err


def test_a_number_that_no_height_has(workspace: Workspace) -> None:
    """Not found, however long it is."""
    assert fedcoin("show", "9" * 5_000, folder=workspace.root).code == 11


def test_no_proof_of_what_nobody_signed(tmp_path: Path) -> None:
    """Of a ledger whose end nobody certified nothing is proven, also what was certified; without that end it is."""
    maker = build_chain(4, 2)
    forged = Certificate(0, tuple((MinerIndex(index), "00" * 64) for index in range(maker.genesis.quorum)))
    paid = [transaction for block in maker.blocks for transaction in block.transactions]
    for _ in range(2):
        transfer = maker.transfer(maker.requester, maker.server.address, COIN)
        paid.append(replace(transfer, signature="11" * 64))
        maker.force(maker.propose(paid[-1]), forged)
    workspace = place(tmp_path / "workspace", maker)
    good, bad = (transfer.id for transfer in (paid[0], paid[2]) if isinstance(transfer, Transfer))
    said = fedcoin("show", bad, "--proof", "-o", "proof.json", folder=workspace.root)
    assert said.code == 5
    assert not (workspace.root / "proof.json").exists()
    assert fedcoin("show", good, "--proof", folder=workspace.root).code == 5
    sound = place(tmp_path / "sound", build_chain(4, 2))
    assert fedcoin("show", good, "--proof", folder=sound.root).code == 0


def test_values_have_bars_and_an_error(workspace: Workspace, maker: ChainMaker) -> None:
    """Each client's value has a bar beside it, and below them stands how sure they are, as in the JSON."""
    said = fedcoin("show", task_of(maker)[:10], folder=workspace.root)
    rows = [line for line in said.out.splitlines() if line.startswith("client-00")]
    assert [row.count("█") for row in rows] == [24, 24, 24]
    error = fedcoin("show", task_of(maker)[:10], "--json", folder=workspace.root).json["standard_error"]
    assert error == "0.000000"
    assert f"standard error of mining: SVs ± {error} pp" in said.out
