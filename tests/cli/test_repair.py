from chains import ChainMaker
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.file.chain_file import ChainFile


def test_it_says_what_it_did(workspace: Workspace, maker: ChainMaker) -> None:
    """A torn tail is moved aside and told, with exit code 0; the second time there is nothing to repair."""
    path = workspace.miner(1).chain
    with path.open("ab") as file:
        file.write(b"\0" * 100)
    said = fedcoin("repair", folder=workspace.root)
    assert said.code == 0
    assert "moved a torn tail into chain.jsonl.torn-1" in said.out
    assert "miner 2  height 4, nothing to repair" in said.out
    assert path.read_bytes() == b"".join(maker.lines())
    data = fedcoin("repair", "--json", folder=workspace.root).json
    assert [(one["miner"], one["height"], one["certified"], one["done"]) for one in data["miners"]] == [
        (1, 4, True, []),
        (2, 4, True, []),
    ]


def test_a_running_miner_locks_its_ledger(workspace: Workspace) -> None:
    """A ledger that is being written is exit code 10."""
    with ChainFile.open_for_writing(workspace.miner(2).path):
        said = fedcoin("repair", folder=workspace.root)
    assert said.code == 10
    assert "miner 1  height 4" in said.out
    assert "fedcoin stop" in said.err


def test_what_cannot_be_repaired(workspace: Workspace, maker: ChainMaker) -> None:
    """Damage that no other ledger completes is exit code 5, with a hint, and nothing changes; --from helps."""
    lines = maker.lines()
    damaged = b"".join([*lines[:2], b"{}\n", *lines[3:]])
    for miner in workspace.miners:
        miner.chain.write_bytes(damaged)
    said = fedcoin("repair", folder=workspace.root)
    assert said.code == 5
    assert "hint: " in said.err
    assert workspace.miner(1).chain.read_bytes() == damaged
    maker.write(workspace.root / "copy")
    assert fedcoin("repair", "--from", "copy", folder=workspace.root).code == 0
    assert workspace.miner(1).chain.read_bytes() == b"".join(lines)
