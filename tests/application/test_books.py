from pathlib import Path

import pytest
from chains import COIN, ChainMaker, build_chain, key
from places import place

from fedcoin_cli.application.books.books import Books, certified_tip, claimed_height
from ledger_store.base.errors import LedgerInvalid, NotFound
from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME


def test_the_longest_certified_ledger_is_read(tmp_path: Path) -> None:
    """Of several ledgers the longest is opened, and it is the one that is named."""
    maker = build_chain(blocks=4)
    workspace = place(tmp_path, maker)
    maker.add_transfers(2)
    maker.write(workspace.miner(3).path)
    with Books.open(workspace) as books:
        assert (books.path, books.height) == (workspace.miner(3).chain, 6)
        assert books.state == maker.tip.state
        assert list(books.blocks()) == maker.blocks


def test_without_its_certificate_a_block_does_not_count(tmp_path: Path) -> None:
    """A ledger without tip file is certified to the block before its last, in state, blocks and certificate."""
    maker = build_chain(blocks=5)
    workspace = place(tmp_path, maker)
    for miner in workspace.miners:
        (miner.path / TIP_NAME).unlink()
    with Books.open(workspace) as books:
        assert books.height == 4
        assert books.tip.state.head == maker.blocks[3].id
        assert books.tip.certificate == maker.certificates[3]
        with pytest.raises(NotFound, match="ends at 4"):
            books.block(5)


def test_a_damaged_ledger_is_passed_over_and_told(tmp_path: Path) -> None:
    """When the ledger that claims most cannot be read another is, and what was wrong is kept for a warning."""
    maker = build_chain(blocks=5)
    workspace = place(tmp_path, maker)
    lines = maker.lines()
    for miner in workspace.miners[1:]:
        miner.chain.write_bytes(b"".join(lines[:4]))
        miner.tip.unlink()
    first = workspace.miner(1).chain
    first.write_bytes(b"".join([*lines[:2], b"{}\n", *lines[3:]]))
    with Books.open(workspace) as books:
        assert (books.height, len(books.ignored)) == (2, 1)
        assert str(first) in books.ignored[0].where
    for miner in workspace.miners[1:]:
        miner.chain.unlink()
    with pytest.raises(LedgerInvalid):
        Books.open(workspace)


def test_balances_at_a_height(tmp_path: Path) -> None:
    """The state after any certified block can be asked for, and none beyond."""
    maker = ChainMaker()
    maker.add_transfers(3)
    with Books.open(place(tmp_path, maker)) as books:
        friend = key("friend-1").address
        assert [books.state_at(height).balances.get(friend, 0) for height in range(4)] == [0, 0, COIN, COIN]
        with pytest.raises(NotFound, match="ends at 3"):
            books.state_at(4)


def test_a_workspace_without_ledger(tmp_path: Path) -> None:
    """Where no ledger is, reading says so, and a requester begins at genesis."""
    maker = ChainMaker()
    workspace = place(tmp_path, maker)
    for miner in workspace.miners:
        miner.chain.unlink()
    with pytest.raises(NotFound, match="no ledger"):
        Books.open(workspace)
    assert certified_tip(workspace).state.head == maker.genesis.id


def test_a_ledgers_claim(tmp_path: Path) -> None:
    """A ledger's length is claimed by its tip file, or by its lines when that is missing or damaged."""
    maker = build_chain(blocks=4)
    maker.write(tmp_path)
    assert claimed_height(tmp_path) == 4
    (tmp_path / TIP_NAME).write_text("{}")
    assert claimed_height(tmp_path) == 4
    with (tmp_path / CHAIN_NAME).open("ab") as file:
        file.write(b"torn")
    assert claimed_height(tmp_path) == 5
