"""The format is frozen: these bytes were written once and must stay what a chain is written with."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from chains import ChainMaker, digest, key

from ledger_store.base.canonical import decode, encode
from ledger_store.base.names import BlockId, Digest, GenesisId
from ledger_store.base.words import TaskState
from ledger_store.block import Block, Certificate
from ledger_store.file.chain_file import TipRecord
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import signed_bytes
from ledger_store.transaction import FraudMark, Signed, parse_transaction, update_terms

GOLDEN = Path(__file__).parent.parent / "golden"


@cache
def examples() -> dict[str, bytes]:
    """One of each kind, as canonical bytes."""
    maker = ChainMaker(4)
    transfer = maker.transfer(maker.requester, maker.server.address, 12_500_000)
    maker.add(transfer, view=1)
    owned = ((key("client-2").address, key("client-4").address),)
    named: dict[str, Any] = {"baseline": digest("update-1"), "frozen": digest("frozen")}
    task = maker.task(clients=4, **named, groups=owned, payment_error_micro=250_000)
    maker.add(task)
    reveals = maker.reveals(task, miners=maker.miners[:3])
    exact = maker.reveal(task, 1, maker.miners[3], exact=True, sums=(-(2**64), 0, 2**64))
    reveals = sorted([*reveals, exact], key=lambda reveal: reveal.miner)
    close = maker.close(task, reveals)
    maker.add(close)
    result = maker.result(task, reveals, maker.settled(task), frauds=[FraudMark(reveals[1].miner, 5)])
    maker.add(result)
    cancel = maker.cancel(maker.requester, task.id)
    values: dict[str, Any] = {
        "genesis": maker.genesis,
        "transfer": transfer,
        "task": task,
        "cancel": cancel,
        "close": close,
        "close-failed": type(close)(task.id, 2, (), maker.failed(task, TaskState.OPEN)),
        "result": result,
        "certificate": maker.certificates[0],
        "block-1": maker.blocks[0],
        "block-4": maker.blocks[3],
        "tip": TipRecord(4, maker.head, maker.certificates[3]),
    }
    return {name: encode(value.to_json()) for name, value in values.items()}


@pytest.mark.parametrize("name", examples())
def test_bytes_have_not_changed(name: str) -> None:
    """A value of each kind is written as it was when the format was frozen."""
    assert examples()[name] + b"\n" == (GOLDEN / f"{name}.json").read_bytes()


def test_ids_have_not_changed() -> None:
    """Ids and digests are hashes with domain tags over those bytes [P-1.8] [P-13.3]."""
    read = {name: decode(line) for name, line in examples().items()}
    ids = {
        "genesis": Genesis.from_json(read["genesis"]).id,
        "certificate": Certificate.from_json(read["certificate"]).digest,
        "block-1": Block.from_json(read["block-1"]).id,
        "block-4": Block.from_json(read["block-4"]).id,
        **{name: _transaction_id(read[name]) for name in ("transfer", "task", "cancel")},
    }
    assert encode(ids) + b"\n" == (GOLDEN / "ids.json").read_bytes()


def _transaction_id(value: object) -> str:
    transaction = parse_transaction(value)
    assert isinstance(transaction, Signed)
    return transaction.id


def test_what_a_signature_covers_has_not_changed() -> None:
    """Tag, zero byte, genesis id, canonical fields: written out by hand [P-2.2]."""
    terms = update_terms(Digest("aa" * 32), Digest("cc" * 32), 7)
    assert signed_bytes("update", GenesisId(BlockId("11" * 32)), terms) == (
        b"fedcoin/v1/update\0"
        + b"\x11" * 32
        + b'{"call":"%s","examples":7,"update":"%s"}' % (b"aa" * 32, b"cc" * 32)
    )
