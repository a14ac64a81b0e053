from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from chains import COIN, ChainMaker, key
from places import place
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.file.chain_file import SNAPSHOT_BLOCKS, ChainFile
from ledger_store.file.snapshot import Seal, Snapshot, claimed


def test_all_accounts(workspace: Workspace, maker: ChainMaker) -> None:
    """Without a name every account is listed by its name, and the balances sum to the supply."""
    said = fedcoin("balance", "--json", folder=workspace.root).json
    held = {one["name"]: Decimal(one["balance"]) for one in said["balances"]}
    assert sum(held.values()) == 10**6
    assert held["requester"] == 10**6 - 15
    assert held["server"] == 1
    assert (said["height"], said["escrow"]) == (4, [])
    lines = fedcoin("balance", folder=workspace.root).out.splitlines()
    assert any("requester" in line and maker.requester.address in line for line in lines)
    assert lines[-1] == f"{workspace.miner(1).chain}, certified to height 4"


def test_one_account(workspace: Workspace) -> None:
    """One account by name or address; one that was never paid holds nothing; an unknown name is exit code 11."""
    address = key("client-1").address
    for who in ("client-001", address):
        one = fedcoin("balance", who, "--json", folder=workspace.root).json["balances"]
        assert [(each["name"], each["address"]) for each in one] == [("client-001", address)]
    nobody = fedcoin("balance", key("nobody").address, "--json", folder=workspace.root).json
    assert nobody["balances"][0]["balance"] == "0.0"
    said = fedcoin("balance", "nobody", folder=workspace.root)
    assert (said.code, said.out) == (11, "")
    assert "hint: " in said.err


def test_escrow_and_earlier_heights(workspace: Workspace) -> None:
    """While a task is unfinished its price is in escrow; --at tells how it was, and refuses what is not there."""
    root = workspace.root
    first = fedcoin("balance", "--at", "1", "--json", folder=root).json
    assert [one["amount"] for one in first["escrow"]] == ["11.0"]
    assert sum(Decimal(one["balance"]) for one in first["balances"]) == 10**6 - 11
    assert "escrow of requester" in fedcoin("balance", "--at", "1", folder=root).out
    begin = fedcoin("balance", "requester", "--at", "0", "--json", folder=root).json
    assert begin["balances"][0]["balance"] == "1000000.0"
    assert fedcoin("balance", "--at", "5", folder=root).code == 11


def test_a_damaged_ledger_is_told(workspace: Workspace, maker: ChainMaker) -> None:
    """When the ledger that claims most cannot be read the next one answers, with a warning on stderr."""
    lines = maker.lines()
    workspace.miner(1).chain.write_bytes(b"".join([*lines[:2], b"{}\n", *lines[3:]]))
    said = fedcoin("balance", folder=workspace.root)
    assert said.code == 0
    assert str(workspace.miner(2).chain) in said.out
    assert "warning: " in said.err
    assert "height 2" in said.err


def test_an_empty_network(workspace: Workspace) -> None:
    """In a network without a block the requester holds the supply."""
    new = place(workspace.root / "new", ChainMaker(1))
    said = fedcoin("balance", "--json", folder=new.root).json
    assert [(one["name"], one["balance"]) for one in said["balances"]] == [("requester", "1000000.0")]


def test_an_edited_snapshot_moves_no_coin(tmp_path: Path) -> None:
    """Coins that somebody writes into a snapshot, sealed as well as they can: nobody is shown them, all are told."""
    maker = ChainMaker(1)
    maker.add_transfers(SNAPSHOT_BLOCKS + 1)
    workspace = place(tmp_path / "net", maker)
    folder, thief = workspace.miner(1).path, workspace.key("client-001")
    ChainFile.open_for_writing(folder, workspace.seal(folder)).close()
    assert "error" not in fedcoin("balance", folder=workspace.root).err
    good = claimed(folder, maker.genesis)
    assert good is not None
    moved = dict(good.state.balances) | {thief.address: 1000 * COIN}
    moved[maker.requester.address] -= 1000 * COIN
    Snapshot(good.chain, replace(good.state, balances=moved)).save(folder, Seal(thief, maker.genesis))
    said = fedcoin("balance", "client-001", "--json", folder=workspace.root)
    assert said.json["balances"][0]["balance"] == "0.0"
    assert "is not its miner's: all blocks were folded instead" in said.err
    audited = fedcoin("audit", folder=workspace.root)
    assert audited.code == 5
    assert "E304" in audited.out
    checked = fedcoin("doctor", folder=workspace.root)
    assert checked.code == 5
    assert "balances of 2 accounts" in checked.out
