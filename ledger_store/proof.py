"""What the miners write: close and result, and the records of the proof of Shapley in them.

They carry no signature of their own: a close holds signed commits, a result signed reveals. Whether an
outcome follows from its reveals is `contract.settlement`'s business.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import lcm
from typing import Any, ClassVar

from ledger_store.base.canonical import encode, tagged_hash
from ledger_store.base.fields import Fields
from ledger_store.base.names import Address, Digest, TaskId
from ledger_store.genesis import CLIENTS_MAX, ROSTER_MAX
from ledger_store.identity.keys import SIGNATURE_LENGTH
from ledger_store.outcome import Outcome, read_outcome

SALT_LENGTH = 32
_ESTIMATE = ("exact", "rankings", "sums", "table")


@dataclass(frozen=True, slots=True)
class Commit:
    """A miner's sealed estimate: the digest of what it will reveal, and its signature as `commit`."""

    miner: Address
    """Address of the miner that sealed its estimate."""
    digest: Digest
    """Hash, tag `commitment`, of what the miner will reveal: nobody can copy it or change it afterwards."""
    signature: str
    """The miner's signature, kind `commit`, over task, attempt and digest."""

    def to_json(self) -> dict[str, Any]:
        return {"digest": self.digest, "miner": self.miner, "signature": self.signature}


def commit_terms(task_id: TaskId, attempt: int, digest: Digest) -> dict[str, Any]:
    """What a miner signs as `commit`."""
    return {"attempt": attempt, "digest": digest, "task": task_id}


@dataclass(frozen=True)
class Estimate:
    """What one miner says the values are: t, whether exact, its sums (N_j over t rankings, or E_j = Λ·φ_j), its table.

    The mining child answers with it, a reveal opens it, the average is taken over it. Either kind weighs as many
    rankings as it claims, an exact one the most that the task admits.
    """

    rankings: int
    """t, how many rankings it walked in every block: its weight in the average."""
    exact: bool
    """Whether it counted all coalitions: then its values have no error of mining."""
    sums: tuple[int, ...]
    """The clients' values in images as decimal strings: times t, or, where exact, times lcm(1 .. K)."""
    table: Digest
    """Digest of the table of counts that the sums follow from: everybody can compute them again."""

    @property
    def denominator(self) -> int:
        """What its sums are values times."""
        return exact_denominator(len(self.sums)) if self.exact else self.rankings

    @property
    def values(self) -> tuple[Fraction, ...]:
        """One a client, in units of u."""
        return tuple(Fraction(total, self.denominator) for total in self.sums)

    def opened(self, miner: Address, salt: str) -> "Reveal":
        """As `miner` opens it, not signed yet."""
        return Reveal(self.rankings, self.exact, self.sums, self.table, miner, salt, "")

    def to_json(self) -> dict[str, Any]:
        return {
            "exact": self.exact,
            "rankings": self.rankings,
            "sums": [str(value) for value in self.sums],
            "table": self.table,
        }


@dataclass(frozen=True)
class Reveal(Estimate):
    """An estimate, opened: whose it is, the salt of its commit, and the miner's signature."""

    miner: Address
    """Address of the miner, whose rankings nobody else has."""
    salt: str
    """128 random bits as hex: without it the digest of a commit could be guessed."""
    signature: str
    """The miner's signature, kind `reveal`, over task, attempt and these fields."""

    def opening(self) -> dict[str, Any]:
        """The fields without miner and signature."""
        return {**super().to_json(), "salt": self.salt}

    def to_json(self) -> dict[str, Any]:
        return {**self.opening(), "miner": self.miner, "signature": self.signature}

    def terms(self, task_id: TaskId, attempt: int) -> dict[str, Any]:
        """What the miner signs as `reveal`."""
        return {**self.opening(), "attempt": attempt, "task": task_id}

    def commitment(self, task_id: TaskId, attempt: int) -> Digest:
        """The digest that its commit must carry [P-8.1]."""
        return tagged_hash("commitment", encode({**self.terms(task_id, attempt), "miner": self.miner}))


@dataclass(frozen=True, slots=True)
class FraudMark:
    """One entry of an included reveal's table whose count is wrong; the miner drops out."""

    miner: Address
    """Address of the miner whose reveal is in the result and drops out of the average."""
    entry: int
    """The number, from 0, of a count of its table that no honest computation gives."""

    def to_json(self) -> dict[str, Any]:
        return {"entry": self.entry, "miner": self.miner}


@dataclass(frozen=True)
class Close:
    """The commits of an attempt; with none, the attempt failed and `outcome` says what follows."""

    kind: ClassVar[str] = "close"
    task: TaskId
    """Id of the task at work."""
    attempt: int
    """Which attempt of it this closes, from 1."""
    commits: tuple[Commit, ...]
    """One a miner, ascending by address: `miner`, `digest` and `signature`; from now on none can be added."""
    outcome: Outcome | None
    """Null with commits; without any what follows from an attempt that failed."""

    @cached_property
    def encoded(self) -> bytes:
        """The canonical bytes."""
        return encode(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return {
            "attempt": self.attempt,
            "commits": [commit.to_json() for commit in self.commits],
            "outcome": None if self.outcome is None else self.outcome.to_json(),
            "task": self.task,
            "type": self.kind,
        }


@dataclass(frozen=True)
class Result:
    """The reveals of an attempt, the frauds found in them, and the outcome."""

    kind: ClassVar[str] = "result"
    task: TaskId
    """Id of the task at work."""
    attempt: int
    """Which attempt of it this ends, from 1."""
    reveals: tuple[Reveal, ...]
    """Those that could be verified, ascending by address, each of which opens a commit of the close."""
    frauds: tuple[FraudMark, ...]
    """Of these the ones whose tables hold a false count: `miner` and `entry`, ascending by address."""
    outcome: Outcome
    """What follows from the reveals without the frauds; everybody computes it again."""

    @cached_property
    def encoded(self) -> bytes:
        """The canonical bytes."""
        return encode(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return {
            "attempt": self.attempt,
            "frauds": [fraud.to_json() for fraud in self.frauds],
            "outcome": self.outcome.to_json(),
            "reveals": [reveal.to_json() for reveal in self.reveals],
            "task": self.task,
            "type": self.kind,
        }


def exact_denominator(clients: int) -> int:
    """Λ = lcm(1..K): times Λ, every exact Shapley value of an integer utility is an integer."""
    return lcm(*range(1, clients + 1))


def mask_hex(mask: int, clients: int) -> str:
    """A coalition as fixed-width hex: client j is bit j."""
    return f"{mask:0{2 * ((clients + 7) // 8)}x}"


def read_commit(value: Any) -> Commit:
    """Read one commit; raises `Malformed`."""
    reader = Fields(value, ("digest", "miner", "signature"), "commit")
    return Commit(
        miner=reader.address("miner"),
        digest=reader.digest("digest"),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )


def read_estimate(value: Any) -> Estimate:
    """Read one estimate; raises `Malformed`."""
    return Estimate(**_estimate_in(Fields(value, _ESTIMATE, "estimate")))


def read_reveal(value: Any) -> Reveal:
    """Read one reveal; raises `Malformed`."""
    reader = Fields(value, (*_ESTIMATE, "miner", "salt", "signature"), "reveal")
    return Reveal(
        **_estimate_in(reader),
        miner=reader.address("miner"),
        salt=reader.hexadecimal("salt", SALT_LENGTH),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )


def _estimate_in(reader: Fields) -> dict[str, Any]:
    return {
        "rankings": reader.integer("rankings", 1),
        "exact": reader.boolean("exact"),
        "sums": reader.bigs("sums", len(reader.array("sums", CLIENTS_MAX, 1))),
        "table": reader.digest("table"),
    }


def _read_fraud(value: Any) -> FraudMark:
    reader = Fields(value, ("entry", "miner"), "fraud")
    return FraudMark(reader.address("miner"), reader.integer("entry"))


def read_close(value: Any) -> Close:
    """Read a close; raises `Malformed` [P-8.8]."""
    reader = Fields(value, ("attempt", "commits", "outcome", "task", "type"), "close")
    return Close(
        task=reader.task_id("task"),
        attempt=reader.integer("attempt", 1),
        commits=tuple(read_commit(item) for item in reader.array("commits", ROSTER_MAX)),
        outcome=None if reader.raw("outcome") is None else read_outcome(reader.raw("outcome")),
    )


def read_result(value: Any) -> Result:
    """Read a result; raises `Malformed` [P-8.25]."""
    reader = Fields(value, ("attempt", "frauds", "outcome", "reveals", "task", "type"), "result")
    return Result(
        task=reader.task_id("task"),
        attempt=reader.integer("attempt", 1),
        reveals=tuple(read_reveal(item) for item in reader.array("reveals", ROSTER_MAX)),
        frauds=tuple(_read_fraud(item) for item in reader.array("frauds", ROSTER_MAX)),
        outcome=read_outcome(reader.raw("outcome")),
    )
