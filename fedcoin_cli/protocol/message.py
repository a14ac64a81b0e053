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
    """Roster index of the leader of this view."""
    view: int
    """Which view this is for; a block that comes again keeps its first one in its header."""
    block: Block
    """The block itself: nobody votes for what it has not seen."""
    justified: int
    """The highest lower view with a notarisation, whose block this must be; -1: none, it is fresh."""
    notarisation: Certificate | None
    """The certificate of that view, None for a fresh block."""
    skips: tuple[Certificate, ...]
    """Skip certificates of the views between, the last 64: a frame is bounded, standstills bring the rest."""
    signature: str
    """The leader's, kind `proposal`, over block, height, justified and view."""

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
    """`notar`, `skip` or `final`: also the kind of its signature."""
    voter: MinerIndex
    """Roster index of who votes."""
    height: int
    """The height that is to be decided."""
    view: int
    """The view that the vote is for."""
    block: BlockId | None
    """Id of the block voted for; None of a skip, which is for none."""
    signature: str
    """The voter's, over block, height and view."""

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
    """Of which kind the votes are."""
    height: int
    """The height that they are for."""
    block: BlockId | None
    """Id of the block that they are for; None of skips."""
    certificate: Certificate
    """The votes' view and signatures."""
    body: Block | None
    """The block, where the receiver may lack it: without it a certificate decides nothing."""

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
    """Id of the task at work."""
    attempt: int
    """The attempt at work."""
    commit: Commit
    """The sealed estimate, with its miner's signature."""

    def to_json(self) -> dict[str, Any]:
        return {"attempt": self.attempt, "commit": self.commit.to_json(), "task": self.task}


@dataclass(frozen=True, slots=True)
class RevealNote:
    """REVEAL gossip; the table follows by digest on the file channel."""

    kind: ClassVar[str] = "reveal"
    task: TaskId
    """Id of the task at work."""
    attempt: int
    """The attempt at work."""
    reveal: Reveal
    """The opened estimate, with its miner's signature."""

    def to_json(self) -> dict[str, Any]:
        return {"attempt": self.attempt, "reveal": self.reveal.to_json(), "task": self.task}


@dataclass(frozen=True, slots=True)
class FraudNote:
    """FRAUD gossip: `by` says that `miner`'s table claims a wrong count as `entry`."""

    kind: ClassVar[str] = "fraud"
    task: TaskId
    """Id of the task at work."""
    attempt: int
    """The attempt at work."""
    miner: Address
    """Address of the miner that is accused."""
    entry: int
    """The number of the count that is said to be false; everybody recomputes it before believing it."""
    by: Address
    """Address of the accuser, who is not heard again in this attempt if that is not so."""
    signature: str
    """The accuser's, kind `fraud`, over the fields but `by`."""

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
    """What waits for a block."""

    def to_json(self) -> dict[str, Any]:
        return {"transaction": self.transaction.to_json()}


@dataclass(frozen=True, slots=True)
class Receipt:
    """To a requester: whether its transaction is pending here (`error` None) or why not."""

    kind: ClassVar[str] = "receipt"
    transaction: str
    """Id of what was taken or refused."""
    error: str | None
    """Why it was refused, printable ASCII; None: it is pending here."""

    def to_json(self) -> dict[str, Any]:
        return {"error": self.error, "transaction": self.transaction}


@dataclass(frozen=True, slots=True)
class Status:
    """Height of the sender's tip, its process nonce, and the pending tasks whose files it has checked.

    Sent at every standstill, after every block, and when a task's files turned out good.
    """

    kind: ClassVar[str] = "status"
    height: int
    """The height of the sender's tip: who is behind asks for blocks."""
    nonce: str
    """32 hex digits drawn when the process started: two processes of one key have two."""
    checked: tuple[TaskId, ...] = ()
    """Ids of pending tasks whose files the sender has inspected: when all have, nobody waits."""

    def to_json(self) -> dict[str, Any]:
        return {"checked": list(self.checked), "height": self.height, "nonce": self.nonce}


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask for final blocks from `height` on."""

    kind: ClassVar[str] = "fetch"
    height: int
    """From which height on final blocks are wanted."""

    def to_json(self) -> dict[str, Any]:
        return {"height": self.height}


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """The answer: a block and a FINAL certificate of it."""

    kind: ClassVar[str] = "block"
    block: Block
    """A decided block."""
    certificate: Certificate
    """q FINAL votes for it: who brings it need not be believed."""

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
    """At which height the answering miner works."""
    votes: tuple[Vote, ...]
    """The asker's votes that it holds there."""
    commit: CommitNote | None = None
    """The asker's commit in the attempt at work, if it is held."""

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
    """Drawn for this question, so that an old answer is none."""

    def to_json(self) -> dict[str, Any]:
        return {"nonce": self.nonce}


@dataclass(frozen=True, slots=True)
class Reminder:
    """The signed answer: `own` votes at `height` as (kind, view, block), and the votes held of the miner `about`."""

    kind: ClassVar[str] = "reminder"
    witness: int
    """Roster index of who answers."""
    about: Address
    """Address of the miner whose log was lost."""
    nonce: str
    """That of the question."""
    height: int
    """At which height the witness works."""
    own: tuple[tuple[VoteKind, int, BlockId | None], ...]
    """The witness's own votes there as (kind, view, block): they bound where the other can have been."""
    held: tuple[Vote, ...]
    """Votes of the other that the witness holds."""
    signature: str
    """The witness's, kind `reminder`, over all fields but `witness`."""

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
    """That of the process that came second."""

    def to_json(self) -> dict[str, Any]:
        return {"nonce": self.nonce}


@dataclass(frozen=True, slots=True)
class Beside:
    """The answer of a process of that key: it lives beside the one with this nonce, signed as `beside`.

    Handed on to every connection of the key: whoever did not run beside that nonce could not sign this.
    """

    kind: ClassVar[str] = "beside"
    nonce: str
    """That of the other process of the key."""
    signature: str
    """Of kind `beside` over the nonce: only a process of the key can have made it."""

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
    """Mining's error of the values, in millionths of a percentage point."""
    payments_micro: int | None
    """Mining's error of the payments in micro-FedCoin; None while no value is positive."""
    images_pp_micro: int
    """The test set's error of the values, in millionths of a percentage point."""
    images_micro: int | None
    """The test set's error of the payments in micro-FedCoin; None while no value is positive."""

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
    """The height of the miner's tip."""
    task: TaskId | None
    """Id of the task at work, None: there is none."""
    attempt: int
    """The attempt at work, 0 without one."""
    phase: Phase
    """What the miner does."""
    rankings: int
    """How many rankings it has walked in every block."""
    evaluated: int
    """How many coalitions it has counted or, while it inspects, looked at."""
    total: int
    """Of how many; 0 where that is not known."""
    remaining_ms: int
    """What is left of RUNTIME, in milliseconds."""
    peers: int
    """How many other miners are connected."""
    errors: Errors | None = None
    """How sure its own estimate is so far; None where nothing is known."""
    silence: Silence | None = None
    """Why it does not vote; None: it votes."""

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
    """Which goes first when much waits for a peer: finality, a task's proofs, what is new, what is old [P-11.13]."""
    match message:
        case TransactionNote() | Receipt() | Standing() | Ask():
            return 2
        case FinalBlock() | Fetch():
            return 3
        case CommitNote() | RevealNote() | FraudNote():
            return 1
        case _:
            return 0
