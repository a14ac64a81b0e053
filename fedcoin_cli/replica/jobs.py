"""What a node orders from its mining child and what comes back: frozen values and their one-line JSON on the pipe.

Only these values cross between the process that votes and the process that computes.
"""

import json
from dataclasses import dataclass, fields
from typing import Any

from fedcoin_cli.protocol.message import Errors
from ledger_store.base.errors import Malformed
from ledger_store.base.names import Address, Digest, TaskId
from ledger_store.transaction import Estimate, Reveal, Task, parse_transaction, read_estimate, read_reveal


@dataclass(frozen=True, slots=True)
class Configure:
    """The first order: where files lie, whose rankings to walk, how many threads, which estimator."""

    store: str
    address: Address
    threads: int
    estimator: str


@dataclass(frozen=True, slots=True)
class Inspect:
    """Check a task's files before the vote on it."""

    task: Task


@dataclass(frozen=True, slots=True)
class Mine:
    """Walk up to `most_rankings` of (seed, own key) until `deadline_ms` on the host's monotonic clock.

    Or evaluate all coalitions, where `exact` values may be claimed.
    """

    task: Task
    attempt: int
    seed: str
    deadline_ms: int
    most_rankings: int
    exact: bool


@dataclass(frozen=True, slots=True)
class VerifyTable:
    """Derive a reveal's sums from its table; recompute entries against [lo, hi] of 2ε for about `budget_ms`."""

    task: Task
    attempt: int
    seed: str
    reveal: Reveal
    budget_ms: int


@dataclass(frozen=True, slots=True)
class VerifyEntry:
    """Recompute one entry of a reveal's table against [lo, hi] of ε."""

    task: Task
    attempt: int
    seed: str
    reveal: Reveal
    entry: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The task ended: drop what is memoised for it."""

    task: Task


Order = Configure | Inspect | Mine | VerifyTable | VerifyEntry | Forget


@dataclass(frozen=True, slots=True)
class Ready:
    """The child has loaded its backend; `engine` names it for people, for example "tensorflow 2.21 on cpu"."""

    engine: str


@dataclass(frozen=True, slots=True)
class Inspecting:
    """Progress of an inspection: so many coalitions of those that it looks at."""

    task: TaskId
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Inspected:
    """`error` None: the files are what the task says and no update makes rounding matter."""

    task: TaskId
    error: str | None


@dataclass(frozen=True, slots=True)
class Counting:
    """Mining begins; `engine` says for people what counts this task's coalitions and why."""

    task: TaskId
    attempt: int
    engine: str


@dataclass(frozen=True, slots=True)
class Mined:
    """Progress while mining: rankings that every block has walked, and what enumerating has done of its total.

    `total` is 2^K − 1 on the way to exact values, else 0; `errors` is None where none are known.
    """

    task: TaskId
    attempt: int
    rankings: int
    evaluated: int
    total: int
    errors: Errors | None


@dataclass(frozen=True, slots=True)
class Estimated:
    """The estimate of an attempt; its table lies in the store."""

    task: TaskId
    attempt: int
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class TableVerified:
    """`follows`: the sums follow from the table; `wrong`: entries found outside [lo, hi] of 2ε."""

    task: TaskId
    attempt: int
    miner: Address
    follows: bool
    wrong: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EntryVerified:
    """`wrong`: the claim lies outside [lo, hi] of ε."""

    task: TaskId
    attempt: int
    miner: Address
    entry: int
    wrong: bool


Answer = Ready | Inspecting | Inspected | Counting | Mined | Estimated | TableVerified | EntryVerified

_KINDS: dict[str, type[Order | Answer]] = {
    kind.__name__: kind
    for kind in (
        Configure,
        Inspect,
        Mine,
        VerifyTable,
        VerifyEntry,
        Forget,
        Ready,
        Inspecting,
        Inspected,
        Counting,
        Mined,
        Estimated,
        TableVerified,
        EntryVerified,
    )
}


def needed_files(order: Order) -> tuple[Digest, ...]:
    """The digests of all files that the child opens to carry it out."""
    match order:
        case VerifyTable() | VerifyEntry():
            return (*order.task.files, order.reveal.table)
        case Inspect() | Mine():
            return order.task.files
    return ()


def to_line(value: Order | Answer) -> bytes:
    """One line of JSON, newline included; integers of any size travel as decimal strings.

    Not canonical JSON, which is ASCII alone: a store lies wherever a person wants it, whatever its name's letters.
    """
    body = {field.name: _plain(field.name, getattr(value, field.name)) for field in fields(value)}
    return json.dumps({type(value).__name__: body}).encode("ascii") + b"\n"


def from_line(line: bytes) -> Order | Answer:
    """Read such a line; the pipe's other end is our own child, so only its form is checked."""
    try:
        ((name, body),) = json.loads(line, parse_float=_no_float).items()
    except (ValueError, AttributeError) as error:
        raise Malformed("pipe: no line of a child") from error
    kind = _KINDS.get(name)
    if kind is None:
        raise Malformed(f"pipe: unknown kind {name}")
    return kind(**{key: _rich(key, value) for key, value in body.items()})


def _no_float(text: str) -> float:
    raise Malformed(f"pipe: a fraction, {text[:20]}")


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Task | Estimate | Errors):
        return value.to_json()
    if name == "wrong" and isinstance(value, tuple):
        return [str(item) for item in value]
    return value


def _rich(name: str, value: Any) -> Any:
    if name == "task" and isinstance(value, dict):
        return parse_transaction(value)
    if name == "reveal":
        return read_reveal(value)
    if name == "estimate":
        return read_estimate(value)
    if name == "errors" and value is not None:
        return Errors(**value)
    if name == "wrong" and isinstance(value, list):
        return tuple(int(item) for item in value)
    return value
