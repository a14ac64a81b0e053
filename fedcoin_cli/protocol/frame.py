"""A message as one frame of canonical JSON, at most 1 MiB, and back: the readers take nothing on trust but the form."""

from collections.abc import Callable
from typing import Any

from fedcoin_cli.protocol.message import (
    CHECKED_MOST,
    Ask,
    Beside,
    Certified,
    CommitNote,
    Errors,
    Fetch,
    FinalBlock,
    FraudNote,
    Message,
    Phase,
    Proposal,
    Recall,
    Recalled,
    Receipt,
    Remind,
    Reminder,
    RevealNote,
    Silence,
    Standing,
    Status,
    Taken,
    TransactionNote,
    Vote,
)
from ledger_store.base.canonical import decode, encode
from ledger_store.base.errors import Malformed
from ledger_store.base.fields import Fields
from ledger_store.base.names import BlockId
from ledger_store.base.words import VoteKind
from ledger_store.block import VIEW_MAX, Block, Certificate
from ledger_store.genesis import ROSTER_MAX
from ledger_store.identity.keys import SIGNATURE_LENGTH
from ledger_store.transaction import parse_transaction, read_commit, read_reveal

FRAME_MAX_BYTES = 2**20


def to_frame(message: Message) -> bytes:
    """The one frame of bytes that carries `message` [P-11.1]."""
    return encode({"fields": message.to_json(), "type": message.kind})


def from_frame(frame: bytes) -> Message:
    """Read a frame; raises `Malformed` for anything that `to_frame` would not have written [P-11.1]."""
    if len(frame) > FRAME_MAX_BYTES:
        raise Malformed("message: larger than a frame may be")
    outer = Fields(decode(frame), ("fields", "type"), "message")
    reader = _READERS.get(outer.text("type", 16))
    if reader is None:
        raise Malformed("message: unknown type")
    return reader(outer.raw("fields"))


def _certificate(value: Any) -> Certificate | None:
    return None if value is None else Certificate.from_json(value)


def _block(value: Any) -> Block | None:
    return None if value is None else Block.from_json(value)


# Rule [P-11.3].
def _read_proposal(value: Any) -> Proposal:
    keys = ("block", "justified", "notarisation", "proposer", "signature", "skips", "view")
    reader = Fields(value, keys, "proposal")
    return Proposal(
        proposer=reader.miner_index("proposer", ROSTER_MAX - 1),
        view=reader.integer("view", 0, VIEW_MAX),
        block=Block.from_json(reader.raw("block")),
        justified=reader.integer("justified", -1, VIEW_MAX),
        notarisation=_certificate(reader.raw("notarisation")),
        skips=tuple(Certificate.from_json(item) for item in reader.array("skips", VIEW_MAX)),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )


def _read_vote(kind: VoteKind) -> Callable[[Any], Vote]:
    def read(value: Any) -> Vote:
        reader = Fields(value, ("block", "height", "signature", "view", "voter"), kind)
        block = reader.optional_block_id("block")
        if (block is None) != (kind == VoteKind.SKIP):
            raise Malformed(f"{kind}: a block where none belongs, or none")
        return Vote(
            kind=kind,
            voter=reader.miner_index("voter", ROSTER_MAX - 1),
            height=reader.integer("height", 1),
            view=reader.integer("view", 0, VIEW_MAX),
            block=block,
            signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
        )

    return read


def _read_certified(value: Any) -> Certified:
    reader = Fields(value, ("block", "body", "certificate", "height", "votes"), "certified")
    votes = reader.choice("votes", VoteKind)
    certified = Certified(
        votes=votes,
        height=reader.integer("height", 1),
        block=reader.optional_block_id("block"),
        certificate=Certificate.from_json(reader.raw("certificate")),
        body=_block(reader.raw("body")),
    )
    body = certified.body
    if (certified.block is None) != (votes == VoteKind.SKIP) or (
        body is not None and body.id != certified.block
    ):
        raise Malformed("certified: the block is not the one that was voted on")
    return certified


def _round(reader: Fields) -> dict[str, Any]:
    return {"task": reader.task_id("task"), "attempt": reader.integer("attempt", 1)}


def _read_commit(value: Any) -> CommitNote:
    reader = Fields(value, ("attempt", "commit", "task"), "commit")
    return CommitNote(**_round(reader), commit=read_commit(reader.raw("commit")))


def _read_reveal(value: Any) -> RevealNote:
    reader = Fields(value, ("attempt", "reveal", "task"), "reveal")
    return RevealNote(**_round(reader), reveal=read_reveal(reader.raw("reveal")))


def _read_fraud(value: Any) -> FraudNote:
    reader = Fields(value, ("attempt", "by", "entry", "miner", "signature", "task"), "fraud")
    return FraudNote(
        **_round(reader),
        miner=reader.address("miner"),
        entry=reader.integer("entry"),
        by=reader.address("by"),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )


def _read_transaction(value: Any) -> TransactionNote:
    reader = Fields(value, ("transaction",), "transaction")
    return TransactionNote(parse_transaction(reader.raw("transaction")))


def _read_receipt(value: Any) -> Receipt:
    reader = Fields(value, ("error", "transaction"), "receipt")
    error = None if reader.raw("error") is None else reader.text("error", 400)
    return Receipt(reader.digest("transaction"), error)


def _read_status(value: Any) -> Status:
    reader = Fields(value, ("checked", "height", "nonce"), "status")
    checked = (Fields({"task": item}, ("task",), "status") for item in reader.array("checked", CHECKED_MOST))
    tasks = tuple(field.task_id("task") for field in checked)
    return Status(reader.integer("height"), reader.hexadecimal("nonce", 32), tasks)


def _read_fetch(value: Any) -> Fetch:
    return Fetch(Fields(value, ("height",), "fetch").integer("height", 1))


def _read_block(value: Any) -> FinalBlock:
    reader = Fields(value, ("block", "certificate"), "block")
    return FinalBlock(Block.from_json(reader.raw("block")), Certificate.from_json(reader.raw("certificate")))


def _read_recall(value: Any) -> Recall:
    Fields(value, (), "recall")
    return Recall()


def _read_recalled(value: Any) -> Recalled:
    reader = Fields(value, ("commit", "height", "votes"), "recalled")
    commit = reader.raw("commit")
    return Recalled(
        reader.integer("height", 1),
        _read_votes(reader, "votes"),
        None if commit is None else _read_commit(commit),
    )


def _read_votes(reader: Fields, key: str) -> tuple[Vote, ...]:
    pairs = reader.pairs(key, ("kind", "vote"), 4 * VIEW_MAX)
    return tuple(_read_vote(pair.choice("kind", VoteKind))(pair.raw("vote")) for pair in pairs)


def _read_remind(value: Any) -> Remind:
    return Remind(Fields(value, ("nonce",), "remind").hexadecimal("nonce", 32))


def _read_taken(value: Any) -> Taken:
    return Taken(Fields(value, ("nonce",), "taken").hexadecimal("nonce", 32))


def _read_beside(value: Any) -> Beside:
    reader = Fields(value, ("nonce", "signature"), "beside")
    return Beside(reader.hexadecimal("nonce", 32), reader.hexadecimal("signature", SIGNATURE_LENGTH))


def _read_reminder(value: Any) -> Reminder:
    keys = ("about", "height", "held", "nonce", "own", "signature", "witness")
    reader = Fields(value, keys, "reminder")
    return Reminder(
        witness=reader.integer("witness", 0, ROSTER_MAX - 1),
        about=reader.address("about"),
        nonce=reader.hexadecimal("nonce", 32),
        height=reader.integer("height", 1),
        own=tuple(_read_said(item) for item in reader.array("own", 4 * VIEW_MAX)),
        held=_read_votes(reader, "held"),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )


def _read_said(value: Any) -> tuple[VoteKind, int, BlockId | None]:
    if type(value) is not list or len(value) != 3:
        raise Malformed("reminder: own must hold [kind, view, block] triples")
    reader = Fields(
        dict(zip(("kind", "view", "block"), value, strict=True)), ("kind", "view", "block"), "vote"
    )
    kind, block = reader.choice("kind", VoteKind), reader.optional_block_id("block")
    if (block is None) != (kind == VoteKind.SKIP):
        raise Malformed(f"{kind}: a block where none belongs, or none")
    return kind, reader.integer("view", 0, VIEW_MAX), block


def _read_ask(value: Any) -> Ask:
    Fields(value, (), "ask")
    return Ask()


def _read_errors(value: Any) -> Errors:
    reader = Fields(value, ("images_micro", "images_pp_micro", "payments_micro", "values_pp_micro"), "errors")
    return Errors(
        values_pp_micro=reader.integer("values_pp_micro"),
        payments_micro=reader.optional_integer("payments_micro"),
        images_pp_micro=reader.optional_integer("images_pp_micro"),
        images_micro=reader.optional_integer("images_micro"),
    )


def _read_standing(value: Any) -> Standing:
    numbers = ("height", "attempt", "rankings", "evaluated", "total", "remaining_ms", "peers")
    reader = Fields(value, (*numbers, "task", "phase", "errors", "silence"), "standing")
    errors, silent = reader.raw("errors"), reader.raw("silence") is not None
    return Standing(
        errors=None if errors is None else _read_errors(errors),
        silence=reader.choice("silence", Silence) if silent else None,
        **{name: reader.integer(name) for name in numbers},
        task=reader.optional_task_id("task"),
        phase=reader.choice("phase", Phase),
    )


# Rule [P-11.2].
_READERS: dict[str, Callable[[Any], Message]] = {
    "proposal": _read_proposal,
    VoteKind.NOTAR: _read_vote(VoteKind.NOTAR),
    VoteKind.SKIP: _read_vote(VoteKind.SKIP),
    VoteKind.FINAL: _read_vote(VoteKind.FINAL),
    "certified": _read_certified,
    "commit": _read_commit,
    "reveal": _read_reveal,
    "fraud": _read_fraud,
    "transaction": _read_transaction,
    "receipt": _read_receipt,
    "status": _read_status,
    "fetch": _read_fetch,
    "block": _read_block,
    "recall": _read_recall,
    "recalled": _read_recalled,
    "remind": _read_remind,
    "reminder": _read_reminder,
    "taken": _read_taken,
    "beside": _read_beside,
    "ask": _read_ask,
    "standing": _read_standing,
}
# What anybody may say; the rest counts from the roster alone [P-11.7].
_FROM_ANYONE = frozenset({TransactionNote.kind, Fetch.kind, FinalBlock.kind, Ask.kind})
# The name of its type ends a frame, as canonical JSON has it.
_FROM_MINERS_ONLY = tuple(f'"type":"{kind}"}}'.encode() for kind in _READERS.keys() - _FROM_ANYONE)


def is_from_miners_only(frame: bytes) -> bool:
    """Whether it is of a type that says nothing when an account sends it; that is known without reading it."""
    return frame.endswith(_FROM_MINERS_ONLY)
