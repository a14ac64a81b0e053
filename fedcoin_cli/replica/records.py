"""What a miner keeps of what it said: records as values and as bytes, whoever keeps them.

A record is written before what it tells of is said, and read back after a restart: `VoteLog` keeps them in a file.
"""

from dataclasses import dataclass
from typing import Any

from fedcoin_cli.consensus.amnesia import Forgotten
from fedcoin_cli.consensus.attempt import Abstained, Frozen, Opening, Stage, Started
from fedcoin_cli.protocol.frame import from_frame, to_frame
from fedcoin_cli.protocol.message import Certified, CommitNote, Proposal, RevealNote, Vote
from ledger_store.base.canonical import decode, encode
from ledger_store.base.errors import Malformed
from ledger_store.base.fields import Fields
from ledger_store.base.words import TaskState
from ledger_store.block import VIEW_MAX, Block, Certificate
from ledger_store.genesis import ROSTER_MAX
from ledger_store.transaction import read_reveal

Record = (
    Proposal | Vote | Certified | Forgotten | CommitNote | RevealNote | Opening | Frozen | Started | Abstained
)


# Beside attempt and task, what each of a miner's own records holds.
_OWN_FIELDS: dict[str, tuple[str, ...]] = {
    "Opening": ("reveal",),
    "Frozen": ("miners", "stage"),
    "Started": ("stage", "wall_ms"),
    "Abstained": (),
}


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a log holds: records in the order in which they were made, and the last decided block.

    `whole` False: it is known to lack something that this miner said.
    """

    records: tuple[Record, ...]
    """What was said and may still matter, in its order."""
    decided: tuple[Block, Certificate] | None
    """The last block that was seen decided, and its certificate: the ledger may lack it."""
    whole: bool = True
    """Whether the log holds all that this miner said."""


def place_of(record: Record) -> tuple[int, str]:
    """Height for finality's records, task for mining's: what decides when a record may be forgotten."""
    if isinstance(record, Proposal | Vote | Certified):
        return record.height, ""
    if isinstance(record, Forgotten):
        return record.height + 1, ""
    return 0, record.task


def to_bytes(record: Record) -> bytes:
    """A record's canonical bytes."""
    match record:
        case Opening():
            body: dict[str, Any] = {"reveal": record.reveal.to_json()}
        case Frozen():
            body = {"miners": list(record.miners), "stage": record.stage}
        case Started():
            body = {"stage": record.stage, "wall_ms": record.wall_ms}
        case Abstained():
            body = {}
        case Forgotten():
            return encode({"Forgotten": {"height": record.height, "view": record.view}})
        case _:
            return to_frame(record)
    name = type(record).__name__
    return encode({name: {**body, "attempt": record.attempt, "task": record.task}})


def from_bytes(data: bytes) -> Record:
    """Read them back; raises `Malformed` for anything that `to_bytes` would not have written."""
    value = decode(data)
    if type(value) is dict and "type" in value:
        message = from_frame(data)
        if not isinstance(message, Proposal | Vote | Certified | CommitNote | RevealNote):
            raise Malformed(f"record: a {message.kind} is not kept")
        return message
    name = next(iter(value)) if type(value) is dict and len(value) == 1 else ""
    if name == "Forgotten":
        forgotten = Fields(value[name], ("height", "view"), name)
        return Forgotten(forgotten.integer("height", 1), forgotten.integer("view", 0, VIEW_MAX))
    if name not in _OWN_FIELDS:
        raise Malformed("record: neither a message nor one of a miner's own records")
    fields = Fields(value[name], ("attempt", "task", *_OWN_FIELDS[name]), name)
    place = fields.task_id("task"), fields.integer("attempt", 1)
    if name == "Opening":
        return Opening(*place, read_reveal(fields.raw("reveal")))
    if name == "Abstained":
        return Abstained(*place)
    if name == "Frozen":
        return Frozen(*place, fields.choice("stage", Stage), fields.addresses("miners", ROSTER_MAX))
    stage = fields.choice("stage", (TaskState.OPEN, TaskState.CLOSED))
    return Started(*place, stage, fields.integer("wall_ms"))
