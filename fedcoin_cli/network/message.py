"""Every message between nodes, as a frozen value and as one frame of canonical JSON (at most 1 MiB).

Votes, proposals, commits, reveals, frauds and reminders carry Ed25519 signatures of their own; blocks and certificates
prove themselves; the rest (status, fetch, recall, taken, ask) is only as good as the authenticated connection it came
over, and nothing that matters is believed from it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ledger_store.block import VIEW_MAX, Block, Certificate
from ledger_store.canonical import decode, encode
from ledger_store.errors import Malformed
from ledger_store.fields import Fields
from ledger_store.genesis import ROSTER_MAX
from ledger_store.keys import ADDRESS_LENGTH, SIGNATURE_LENGTH
from ledger_store.transaction import (
    CLIENTS_MAX,
    DIGEST_LENGTH,
    Commit,
    Reveal,
    Transaction,
    mask_hex,
    parse_transaction,
    read_commit,
    read_reveal,
)

FRAME_MAX_BYTES = 2**20
VOTE_KINDS = ("notar", "skip", "final")
BLOCKS_A_FETCH = 64
CHECKED_MOST = 64


@dataclass(frozen=True, slots=True)
class Proposal:
    """A leader's block for (height, view).

    `justified` is the highest lower view with a notarisation (−1: none, the block is fresh); `notarisation` proves
    it and `skips` prove that each view between was skipped.
    """

    kind: ClassVar[str] = "proposal"
    proposer: int
    view: int
    block: Block
    justified: int
    notarisation: Certificate | None
    skips: tuple[Certificate, ...]
    signature: str

    @property
    def height(self) -> int:
        """The block's height."""
        return self.block.height

    def terms(self) -> dict[str, Any]:
        """What the proposer signs as `proposal`."""
        return {"block": self.block.id, "height": self.height, "justified": self.justified, "view": self.view}

    def to_json(self) -> dict[str, Any]:
        return {
            "block": self.block.to_json(),
            "justified": self.justified,
            "notarisation": None if self.notarisation is None else self.notarisation.to_json(),
            "proposer": self.proposer,
            "signature": self.signature,
            "skips": [skip.to_json() for skip in self.skips],
            "view": self.view,
        }


@dataclass(frozen=True, slots=True)
class Vote:
    """NOTAR, SKIP (block None) or FINAL of one miner; signed as its kind over `vote_terms`."""

    kind: str
    voter: int
    height: int
    view: int
    block: str | None
    signature: str

    def to_json(self) -> dict[str, Any]:
        return {
            "block": self.block,
            "height": self.height,
            "signature": self.signature,
            "view": self.view,
            "voter": self.voter,
        }


@dataclass(frozen=True, slots=True)
class Certified:
    """q votes of one kind; `body` travels with a notarisation or finalisation whose block others may lack."""

    kind: ClassVar[str] = "certified"
    votes: str
    height: int
    block: str | None
    certificate: Certificate
    body: Block | None

    def to_json(self) -> dict[str, Any]:
        return {
            "block": self.block,
            "body": None if self.body is None else self.body.to_json(),
            "certificate": self.certificate.to_json(),
            "height": self.height,
            "votes": self.votes,
        }

    def single_votes(self) -> Iterator[Vote]:
        """The votes that it is made of."""
        for voter, signature in self.certificate.signatures:
            yield Vote(self.votes, voter, self.height, self.certificate.view, self.block, signature)


@dataclass(frozen=True, slots=True)
class CommitNote:
    """COMMIT gossip."""

    kind: ClassVar[str] = "commit"
    task: str
    attempt: int
    commit: Commit

    def to_json(self) -> dict[str, Any]:
        return {"attempt": self.attempt, "commit": self.commit.to_json(), "task": self.task}


@dataclass(frozen=True, slots=True)
class RevealNote:
    """REVEAL gossip; the table follows by digest on the file channel."""

    kind: ClassVar[str] = "reveal"
    task: str
    attempt: int
    reveal: Reveal

    def to_json(self) -> dict[str, Any]:
        return {"attempt": self.attempt, "reveal": self.reveal.to_json(), "task": self.task}


@dataclass(frozen=True, slots=True)
class FraudNote:
    """FRAUD gossip: `by` says that `miner`'s table claims a wrong count for `mask` (fixed-width hex)."""

    kind: ClassVar[str] = "fraud"
    task: str
    attempt: int
    miner: str
    mask: str
    by: str
    signature: str

    def terms(self) -> dict[str, Any]:
        """What `by` signs as `fraud`."""
        return {"attempt": self.attempt, "mask": self.mask, "miner": self.miner, "task": self.task}

    def to_json(self) -> dict[str, Any]:
        return {**self.terms(), "by": self.by, "signature": self.signature}


@dataclass(frozen=True, slots=True)
class TransactionNote:
    """A pending transaction; it carries its sender's signature."""

    kind: ClassVar[str] = "transaction"
    transaction: Transaction

    def to_json(self) -> dict[str, Any]:
        return {"transaction": self.transaction.to_json()}


@dataclass(frozen=True, slots=True)
class Receipt:
    """To a requester: whether its transaction is pending here (`error` None) or why not."""

    kind: ClassVar[str] = "receipt"
    transaction: str
    error: str | None

    def to_json(self) -> dict[str, Any]:
        return {"error": self.error, "transaction": self.transaction}


@dataclass(frozen=True, slots=True)
class Status:
    """Height of the sender's tip, its process nonce, and the pending tasks whose files it has checked.

    Sent at every standstill, after every block, and when a task's files turned out good.
    """

    kind: ClassVar[str] = "status"
    height: int
    nonce: str
    checked: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"checked": list(self.checked), "height": self.height, "nonce": self.nonce}


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask for final blocks from `height` on."""

    kind: ClassVar[str] = "fetch"
    height: int

    def to_json(self) -> dict[str, Any]:
        return {"height": self.height}


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """The answer: a block and a FINAL certificate of it."""

    kind: ClassVar[str] = "block"
    block: Block
    certificate: Certificate

    def to_json(self) -> dict[str, Any]:
        return {"block": self.block.to_json(), "certificate": self.certificate.to_json()}


@dataclass(frozen=True, slots=True)
class Recall:
    """A restarted miner asks: which votes of mine do you hold, at your height?"""

    kind: ClassVar[str] = "recall"

    def to_json(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class Recalled:
    """The answer: the answering miner's working height, the asker's votes it holds there, and its commit at work."""

    kind: ClassVar[str] = "recalled"
    height: int
    votes: tuple[Vote, ...]
    commit: CommitNote | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "commit": None if self.commit is None else self.commit.to_json(),
            "height": self.height,
            "votes": [[vote.kind, vote.to_json()] for vote in self.votes],
        }


@dataclass(frozen=True, slots=True)
class Remind:
    """A miner that lost its vote log asks another: what have you said, and which votes of mine do you hold?"""

    kind: ClassVar[str] = "remind"
    nonce: str

    def to_json(self) -> dict[str, Any]:
        return {"nonce": self.nonce}


@dataclass(frozen=True, slots=True)
class Reminder:
    """The signed answer: `own` votes at `height` as (kind, view, block), and the votes held of the miner `about`."""

    kind: ClassVar[str] = "reminder"
    witness: int
    about: str
    nonce: str
    height: int
    own: tuple[tuple[str, int, str | None], ...]
    held: tuple[Vote, ...]
    signature: str

    def terms(self) -> dict[str, Any]:
        """What the witness signs as `reminder`."""
        return {
            "about": self.about,
            "height": self.height,
            "held": [[vote.kind, vote.to_json()] for vote in self.held],
            "nonce": self.nonce,
            "own": [list(vote) for vote in self.own],
        }

    def to_json(self) -> dict[str, Any]:
        return {**self.terms(), "signature": self.signature, "witness": self.witness}


@dataclass(frozen=True, slots=True)
class Taken:
    """To a miner's address: two processes speak with this key at once, and the one with this nonce came second."""

    kind: ClassVar[str] = "taken"
    nonce: str

    def to_json(self) -> dict[str, Any]:
        return {"nonce": self.nonce}


@dataclass(frozen=True, slots=True)
class Ask:
    """A person's tool asks how things stand."""

    kind: ClassVar[str] = "ask"

    def to_json(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand at one miner: for progress and `status`, never for decisions.

    `phase` is one of starting, idle, files, mining, committed, revealing; `total` is 2^K − 1 for an exact run, else 0.
    `error_micro` is the largest standard error of a payment by the miner's own rankings; None where none is known.
    """

    kind: ClassVar[str] = "standing"
    height: int
    task: str | None
    attempt: int
    phase: str
    rankings: int
    evaluated: int
    total: int
    remaining_ms: int
    peers: int
    error_micro: int | None = None

    def to_json(self) -> dict[str, Any]:
        names = (
            "height",
            "task",
            "attempt",
            "phase",
            "rankings",
            "evaluated",
            "total",
            "remaining_ms",
            "peers",
            "error_micro",
        )
        return {name: getattr(self, name) for name in names}


Message = (
    Proposal
    | Vote
    | Certified
    | CommitNote
    | RevealNote
    | FraudNote
    | TransactionNote
    | Receipt
    | Status
    | Fetch
    | FinalBlock
    | Recall
    | Recalled
    | Remind
    | Reminder
    | Taken
    | Ask
    | Standing
)


def to_frame(message: Message) -> bytes:
    """The one frame of bytes that carries `message`."""
    return encode({"fields": message.to_json(), "type": message.kind})


def from_frame(frame: bytes) -> Message:
    """Read a frame; raises `Malformed` for anything that `to_frame` would not have written."""
    if len(frame) > FRAME_MAX_BYTES:
        raise Malformed("message: larger than a frame may be")
    outer = Fields(decode(frame), ("fields", "type"), "message")
    reader = _READERS.get(outer.text("type", 16))
    if reader is None:
        raise Malformed("message: unknown type")
    return reader(outer.raw("fields"))


def fraud_note(task: str, attempt: int, miner: str, mask: int, clients: int, by: str) -> FraudNote:
    """An unsigned FRAUD of `mask` (an integer coalition of K = `clients`)."""
    return FraudNote(task, attempt, miner, mask_hex(mask, clients), by, "")


def _certificate(value: Any) -> Certificate | None:
    return None if value is None else Certificate.from_json(value)


def _block(value: Any) -> Block | None:
    return None if value is None else Block.from_json(value)


def _read_proposal(value: Any) -> Proposal:
    keys = ("block", "justified", "notarisation", "proposer", "signature", "skips", "view")
    reader = Fields(value, keys, "proposal")
    return Proposal(
        proposer=reader.integer("proposer", 0, ROSTER_MAX - 1),
        view=reader.integer("view", 0, VIEW_MAX),
        block=Block.from_json(reader.raw("block")),
        justified=reader.integer("justified", -1, VIEW_MAX),
        notarisation=_certificate(reader.raw("notarisation")),
        skips=tuple(Certificate.from_json(item) for item in reader.array("skips", VIEW_MAX)),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )


def _read_vote(kind: str) -> Callable[[Any], Vote]:
    def read(value: Any) -> Vote:
        reader = Fields(value, ("block", "height", "signature", "view", "voter"), kind)
        block = reader.optional_hex("block", DIGEST_LENGTH)
        if (block is None) != (kind == "skip"):
            raise Malformed(f"{kind}: a block where none belongs, or none")
        return Vote(
            kind=kind,
            voter=reader.integer("voter", 0, ROSTER_MAX - 1),
            height=reader.integer("height", 1),
            view=reader.integer("view", 0, VIEW_MAX),
            block=block,
            signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
        )

    return read


def _read_certified(value: Any) -> Certified:
    reader = Fields(value, ("block", "body", "certificate", "height", "votes"), "certified")
    votes = reader.choice("votes", VOTE_KINDS)
    certified = Certified(
        votes=votes,
        height=reader.integer("height", 1),
        block=reader.optional_hex("block", DIGEST_LENGTH),
        certificate=Certificate.from_json(reader.raw("certificate")),
        body=_block(reader.raw("body")),
    )
    body = certified.body
    if (certified.block is None) != (votes == "skip") or (body is not None and body.id != certified.block):
        raise Malformed("certified: the block is not the one that was voted on")
    return certified


def _round(reader: Fields) -> dict[str, Any]:
    return {"task": reader.hexadecimal("task", DIGEST_LENGTH), "attempt": reader.integer("attempt", 1)}


def _read_commit(value: Any) -> CommitNote:
    reader = Fields(value, ("attempt", "commit", "task"), "commit")
    return CommitNote(**_round(reader), commit=read_commit(reader.raw("commit")))


def _read_reveal(value: Any) -> RevealNote:
    reader = Fields(value, ("attempt", "reveal", "task"), "reveal")
    return RevealNote(**_round(reader), reveal=read_reveal(reader.raw("reveal")))


def _read_fraud(value: Any) -> FraudNote:
    reader = Fields(value, ("attempt", "by", "mask", "miner", "signature", "task"), "fraud")
    mask = reader.text("mask", 2 * ((CLIENTS_MAX + 7) // 8))
    return FraudNote(
        **_round(reader),
        miner=reader.hexadecimal("miner", ADDRESS_LENGTH),
        mask=reader.hexadecimal("mask", len(mask)),
        by=reader.hexadecimal("by", ADDRESS_LENGTH),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )


def _read_transaction(value: Any) -> TransactionNote:
    reader = Fields(value, ("transaction",), "transaction")
    return TransactionNote(parse_transaction(reader.raw("transaction")))


def _read_receipt(value: Any) -> Receipt:
    reader = Fields(value, ("error", "transaction"), "receipt")
    error = None if reader.raw("error") is None else reader.text("error", 400)
    return Receipt(reader.hexadecimal("transaction", DIGEST_LENGTH), error)


def _read_status(value: Any) -> Status:
    reader = Fields(value, ("checked", "height", "nonce"), "status")
    checked = (Fields({"task": item}, ("task",), "status") for item in reader.array("checked", CHECKED_MOST))
    tasks = tuple(field.hexadecimal("task", DIGEST_LENGTH) for field in checked)
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
    return tuple(_read_vote(pair.choice("kind", VOTE_KINDS))(pair.raw("vote")) for pair in pairs)


def _read_remind(value: Any) -> Remind:
    return Remind(Fields(value, ("nonce",), "remind").hexadecimal("nonce", 32))


def _read_taken(value: Any) -> Taken:
    return Taken(Fields(value, ("nonce",), "taken").hexadecimal("nonce", 32))


def _read_reminder(value: Any) -> Reminder:
    keys = ("about", "height", "held", "nonce", "own", "signature", "witness")
    reader = Fields(value, keys, "reminder")
    return Reminder(
        witness=reader.integer("witness", 0, ROSTER_MAX - 1),
        about=reader.hexadecimal("about", ADDRESS_LENGTH),
        nonce=reader.hexadecimal("nonce", 32),
        height=reader.integer("height", 1),
        own=tuple(_read_said(item) for item in reader.array("own", 4 * VIEW_MAX)),
        held=_read_votes(reader, "held"),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )


def _read_said(value: Any) -> tuple[str, int, str | None]:
    if type(value) is not list or len(value) != 3:
        raise Malformed("reminder: own must hold [kind, view, block] triples")
    reader = Fields(
        dict(zip(("kind", "view", "block"), value, strict=True)), ("kind", "view", "block"), "vote"
    )
    kind, block = reader.choice("kind", VOTE_KINDS), reader.optional_hex("block", DIGEST_LENGTH)
    if (block is None) != (kind == "skip"):
        raise Malformed(f"{kind}: a block where none belongs, or none")
    return kind, reader.integer("view", 0, VIEW_MAX), block


def _read_ask(value: Any) -> Ask:
    Fields(value, (), "ask")
    return Ask()


def _read_standing(value: Any) -> Standing:
    numbers = ("height", "attempt", "rankings", "evaluated", "total", "remaining_ms", "peers")
    reader = Fields(value, (*numbers, "task", "phase", "error_micro"), "standing")
    error = None if reader.raw("error_micro") is None else reader.integer("error_micro")
    return Standing(
        error_micro=error,
        **{name: reader.integer(name) for name in numbers},
        task=reader.optional_hex("task", DIGEST_LENGTH),
        phase=reader.choice("phase", ("starting", "idle", "files", "mining", "committed", "revealing")),
    )


_READERS: dict[str, Callable[[Any], Message]] = {
    "proposal": _read_proposal,
    "notar": _read_vote("notar"),
    "skip": _read_vote("skip"),
    "final": _read_vote("final"),
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
    "ask": _read_ask,
    "standing": _read_standing,
}
