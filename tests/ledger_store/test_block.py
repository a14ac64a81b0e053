from dataclasses import replace
from typing import Any

import pytest
from chains import ChainMaker, build_chain
from memory import peak_bytes

from ledger_store.base.canonical import decode, encode
from ledger_store.base.errors import BadSignature, Malformed
from ledger_store.base.merkle import climb, path
from ledger_store.base.names import BlockId, MinerIndex
from ledger_store.base.words import VoteKind
from ledger_store.block import VIEW_MAX, Block, Certificate, transaction_root
from ledger_store.genesis import BLOCK_BYTES_MAX

MAKER = build_chain(4, 5)
BLOCK = MAKER.blocks[3]


def copy() -> Any:
    return decode(BLOCK.line)


def test_a_block_reads_back() -> None:
    """The line gives the block, the block gives the line, the id is the same [P-13.2]."""
    for block in MAKER.blocks:
        again = Block.from_line(block.line)
        assert again == block
        assert again.id == block.id
        assert encode(again.to_json()) == block.line == again.line


def test_a_line_longer_than_any_block_costs_nothing() -> None:
    """No network may have such a block: the line is refused before memory is taken for what it means."""
    line = b"[" + b"[]," * (BLOCK_BYTES_MAX // 3 + 1) + b"[]]"

    def read() -> None:
        with pytest.raises(Malformed, match="longer"):
            Block.from_line(line)

    assert peak_bytes(read) < 2**20


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 0),
        ("height", True),
        ("parent", None),
        ("time_ms", -1),
        ("time_ms", 253_402_214_400_000),
        ("proposer", 64),
        ("view", VIEW_MAX + 1),
        ("transactions", "00" * 32),
        ("certificate", "00" * 32),
        ("certificate", None),
    ],
)
def test_a_header_that_does_not_cover_its_body_is_refused(field: str, value: Any) -> None:
    """Wrong types, bounds, or the digest of another body."""
    changed = copy()
    changed["header"][field] = value
    with pytest.raises(Malformed):
        Block.from_json(changed)


@pytest.mark.parametrize("value", [None, [], {}, {"header": {}, "transactions": [], "certificate": None}])
def test_what_is_no_block_is_refused(value: Any) -> None:
    """Another shape is Malformed, not a crash [P-13.2]."""
    with pytest.raises(Malformed):
        Block.from_json(value)


def test_the_body_cannot_be_exchanged() -> None:
    """Fewer, other or reordered transactions and another certificate do not fit the header [P-13.4]."""
    for field, value in (
        ("transactions", []),
        ("transactions", copy()["transactions"] * 2),
        ("certificate", None),
    ):
        with pytest.raises(Malformed, match="header names"):
            Block.from_json(copy() | {field: value})


def test_a_transaction_can_be_shown_to_be_in_a_block() -> None:
    """The root is a Merkle root over the transactions' canonical bytes [P-13.4]."""
    maker = ChainMaker(1)
    transfers = [maker.transfer(maker.requester, maker.server.address, 10_000 + n) for n in range(5)]
    leaves = [encode(transfer.to_json()) for transfer in transfers]
    expected = bytes.fromhex(transaction_root(transfers))
    assert climb(leaves[3], path(leaves, 3)) == expected


CERTIFICATE = MAKER.certificates[3]


def check(certificate: Certificate, kind: str = "final", height: int = 4, block: BlockId = BLOCK.id) -> None:
    certificate.check(MAKER.genesis, VoteKind(kind), height, block)


def test_a_quorum_certifies() -> None:
    """Exactly q distinct miners in order, any q of them, in any view [P-10.2]."""
    check(CERTIFICATE)
    check(MAKER.certify(BLOCK, view=7, signers=[0, 2, 3]))


@pytest.mark.parametrize("signers", [[0, 1], [0, 1, 2, 3], [0, 1, 1], [2, 1, 0]])
def test_fewer_more_twice_or_unordered_is_no_quorum(signers: list[int]) -> None:
    """There is one form: q, ascending, each once; anything else would make equal chains unequal files [P-10.2]."""
    with pytest.raises(BadSignature):
        check(MAKER.certify(BLOCK, signers=signers))


def test_a_certificate_is_for_one_vote() -> None:
    """Another kind, height, view or block is not certified [P-10.3]."""
    with pytest.raises(BadSignature):
        check(CERTIFICATE, kind="notar")
    with pytest.raises(BadSignature):
        check(CERTIFICATE, height=5)
    with pytest.raises(BadSignature):
        check(CERTIFICATE, block=MAKER.blocks[2].id)
    with pytest.raises(BadSignature, match="miner 1"):
        check(replace(CERTIFICATE, view=1))


def test_a_strangers_or_misplaced_signature_does_not_count() -> None:
    """Each signature belongs to the roster's key at its index; an index beyond the roster is nobody."""
    (zero, first), (_, second), third = CERTIFICATE.signatures
    for forged in (
        ((zero, second), (MinerIndex(1), first), third),
        ((zero, first), (MinerIndex(1), second), (MinerIndex(9), third[1])),
        ((zero, first), (MinerIndex(1), "00" * 64), third),
    ):
        with pytest.raises(BadSignature):
            check(replace(CERTIFICATE, signatures=forged))


@pytest.mark.parametrize(
    "value",
    [
        {"signatures": [], "view": 0},
        {"signatures": [[0]], "view": 0},
        {"signatures": [["0", "00" * 64]], "view": 0},
        {"signatures": [[0, "00"]], "view": 0},
        {"signatures": [[64, "00" * 64]], "view": 0},
        {"signatures": [[0, "00" * 64]], "view": -1},
        {"signatures": [[0, "00" * 64]]},
    ],
)
def test_what_is_no_certificate_is_refused(value: Any) -> None:
    """Another shape is Malformed, not a crash."""
    with pytest.raises(Malformed):
        Certificate.from_json(value)
