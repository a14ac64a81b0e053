from pathlib import Path

import pytest
from chains import COIN, ChainMaker, key
from places import place, refunded_round, settled_round

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.books.lookup import (
    FoundBlock,
    FoundTask,
    FoundTransaction,
    concerns,
    find,
    task_id,
)
from ledger_store.base.errors import NotFound


def test_ids_are_found_by_their_beginning(tmp_path: Path) -> None:
    """A height, and the beginning of a task's, block's or transfer's id, find what they name."""
    maker = ChainMaker()
    task = settled_round(maker)
    transfer = maker.transfer(maker.requester, key("friend").address, COIN)
    maker.add(transfer)
    with Books.open(place(tmp_path, maker)) as books:
        found = find(books, "2")
        assert isinstance(found, FoundBlock)
        assert found.block == maker.blocks[1]
        assert found.signers == maker.genesis.roster[: maker.genesis.quorum]
        assert find(books, maker.blocks[1].id[:10]) == found
        paid = find(books, transfer.id)
        assert paid == FoundTransaction(transfer, 4)
        report = find(books, task.id[:8])
        assert isinstance(report, FoundTask)
        assert (report.report.state, report.report.height) == ("SETTLED", 3)
        for nothing in ("999", task.id[:3], "f" * 64):
            with pytest.raises(NotFound):
                find(books, nothing)
        assert task_id(books.history, task.id[:8]) == task.id
        with pytest.raises(NotFound):
            task_id(books.history, "")


def test_whom_a_transaction_concerns() -> None:
    """Signers, receivers and everybody who is paid are concerned; others are not."""
    maker = ChainMaker()
    settled, refunded = settled_round(maker), refunded_round(maker)
    friend, stranger = key("friend").address, key("stranger").address
    transfer = maker.transfer(maker.requester, friend, COIN)
    maker.add(transfer)
    close, result, failed = (maker.blocks[index].transactions[0] for index in (1, 2, 4))
    client, requester = key("client-1").address, maker.requester.address
    concerned = {
        transfer: (friend, requester),
        settled: (requester,),
        close: maker.genesis.roster,
        result: (client, maker.server.address),
        failed: (requester,),
    }
    assert refunded.id in maker.records
    for transaction, addresses in concerned.items():
        assert all(concerns(maker.records, transaction, address) for address in addresses)
        assert not concerns(maker.records, transaction, stranger)
