"""Every message between nodes as a frozen value; `frame` makes bytes of it.

Votes, proposals, commits, reveals, frauds and reminders carry Ed25519 signatures of their own; blocks and certificates
prove themselves; the rest (status, fetch, recall, taken, ask) is only as good as the authenticated connection it came
over, and nothing that matters is believed from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar

from ledger_store.base.names import Address, BlockId, MinerIndex, TaskId
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate
from ledger_store.transaction import (
    Commit,
    Reveal,
    Transaction,
)

BLOCKS_A_FETCH = 64
CHECKED_MOST = 64


@dataclass(frozen=True, slots=True)
class Proposal:
    """A leader's block for (height, view).

    `justified` is the highest lower view with a notarisation (−1: none, the block is fresh); `notarisation` proves
    it and `skips` prove that each view between was skipped.
    """

    kind: ClassVar[str] = "proposal"
    proposer: MinerIndex
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

    kind: VoteKind
    voter: MinerIndex
    height: int
    view: int
    block: BlockId | None
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
    votes: VoteKind
    height: int
    block: BlockId | None
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
    task: TaskId
    attempt: int
    commit: Commit

    def to_json(self) -> dict[str, Any]:
        return {"attempt": self.attempt, "commit": self.commit.to_json(), "task": self.task}


@dataclass(frozen=True, slots=True)
class RevealNote:
    """REVEAL gossip; the table follows by digest on the file channel."""

    kind: ClassVar[str] = "reveal"
    task: TaskId
    attempt: int
    reveal: Reveal

    def to_json(self) -> dict[str, Any]:
        return {"attempt": self.attempt, "reveal": self.reveal.to_json(), "task": self.task}


@dataclass(frozen=True, slots=True)
class FraudNote:
    """FRAUD gossip: `by` says that `miner`'s table claims a wrong count as `entry`."""

    kind: ClassVar[str] = "fraud"
    task: TaskId
    attempt: int
    miner: Address
    entry: int
    by: Address
    signature: str

    def terms(self) -> dict[str, Any]:
        """What `by` signs as `fraud`."""
        return {"attempt": self.attempt, "entry": self.entry, "miner": self.miner, "task": self.task}

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
    checked: tuple[TaskId, ...] = ()

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
    about: Address
    nonce: str
    height: int
    own: tuple[tuple[VoteKind, int, BlockId | None], ...]
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
class Beside:
    """The answer of a process of that key: it lives beside the one with this nonce, signed as `beside`.

    Handed on to every connection of the key: whoever did not run beside that nonce could not sign this.
    """

    kind: ClassVar[str] = "beside"
    nonce: str
    signature: str

    def to_json(self) -> dict[str, Any]:
        return {"nonce": self.nonce, "signature": self.signature}


@dataclass(frozen=True, slots=True)
class Ask:
    """A person's tool asks how things stand."""

    kind: ClassVar[str] = "ask"

    def to_json(self) -> dict[str, Any]:
        return {}


class Phase(StrEnum):
    """What a miner does: nothing, a task's inspection, or its part in the attempt at work."""

    STARTING = "starting"
    IDLE = "idle"
    FILES = "files"
    MINING = "mining"
    COMMITTED = "committed"
    REVEALING = "revealing"


class Silence(StrEnum):
    """Why a miner that runs votes for nothing: the first two last until somebody acts, the third for seconds."""

    VOTES_LOST = "votes lost"
    CLOCK_BEHIND = "clock behind"
    RECALLING = "recalling"


@dataclass(frozen=True, slots=True)
class Errors:
    """The largest standard errors among the clients by one miner's own rankings, mining's and the test set's.

    Mining's are of values (10⁻⁶ percentage points) and payments (micro-FedCoin): more rankings remove them. The test
    set's, of both as well, only more images remove. Payments' are None while no value is positive.
    """

    values_pp_micro: int
    payments_micro: int | None
    images_pp_micro: int
    images_micro: int | None

    def to_json(self) -> dict[str, int | None]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand at one miner: for progress and `status`, never for decisions.

    `phase` is one of starting, idle, files, mining, committed, revealing; `total` is 2^K − 1 for an exact run, else 0.
    `errors` is None where none are known. `silence` says why it does not vote; None: it votes.
    """

    kind: ClassVar[str] = "standing"
    height: int
    task: TaskId | None
    attempt: int
    phase: Phase
    rankings: int
    evaluated: int
    total: int
    remaining_ms: int
    peers: int
    errors: Errors | None = None
    silence: Silence | None = None

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
        )
        errors = None if self.errors is None else self.errors.to_json()
        silence = None if self.silence is None else str(self.silence)
        return {name: getattr(self, name) for name in names} | {"errors": errors, "silence": silence}


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
    | Beside
    | Ask
    | Standing
)


def rank(message: Message) -> int:
    """Which goes first when much waits for a peer: finality, a task's proofs, what is new, what is old."""
    match message:
        case TransactionNote() | Receipt() | Standing() | Ask():
            return 2
        case FinalBlock() | Fetch():
            return 3
        case CommitNote() | RevealNote() | FraudNote():
            return 1
        case _:
            return 0
