"""What the miners' tables say of one client, as far as they are kept here: the store, and the folders of rounds.

Every file is taken only if its bytes have the digest that the ledger names. Nothing is written, nothing fetched.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcoin_cli.application.books.report import points
from fedcoin_cli.application.books.spread import counted_reveals
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.consensus.estimate import Agreement
from ledger_store.amount import format_micro
from ledger_store.state import TaskRecord
from ledger_store.transaction import Result, Task

if TYPE_CHECKING:
    from fedcoin_cli.learning.mining.reasons import Agreed, Joined, Reasons
    from fedcoin_cli.learning.mining.table import Claim, Table

MOST = 5
"""How many coalitions are named for and against."""


@dataclass(frozen=True, slots=True)
class Coalition:
    """Who was there (client numbers from 1), accuracy before, gain, weight in percent, what it adds; in points."""

    members: tuple[int, ...]
    before: str
    gain: str
    weight: str
    adds: str

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Size:
    """All coalitions of `others` members that the client joined: mean gain, weight in percent, what they add."""

    others: int
    gain: str
    weight: str
    adds: str

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the tables say of a client, in percentage points: `walked` + `proxy_part` is the agreed value.

    With tables missing `proxy_part` is None: `walked` then speaks for the miners whose tables are here. `error` and
    `paid_error` are standard errors in points and coins, None where the proxy's files or whole squares are missing.
    """

    tables: int
    coalitions: int
    walked: str
    proxy_part: str | None
    sizes: tuple[Size, ...]
    helped: tuple[Coalition, ...]
    hurt: tuple[Coalition, ...]
    squares: int
    error: str | None
    paid_error: str | None

    def to_json(self) -> dict[str, Any]:
        plain = ("tables", "coalitions", "walked", "proxy_part", "squares")
        lists = ("sizes", "helped", "hurt")
        found: dict[str, Any] = {name: getattr(self, name) for name in plain}
        return found | {name: [one.to_json() for one in getattr(self, name)] for name in lists}


def look_into(
    workspace: Workspace, record: TaskRecord, result: Result, agreement: Agreement, client: int
) -> tuple[Seen | None, tuple[str, ...]]:
    """What the tables say of client number `client` (from 0), and the digests of the tables that are not here."""
    reveals = counted_reveals(result, agreement)
    missing = tuple(reveal.table for reveal in reveals if find(workspace, reveal.table) is None)
    if len(missing) == len(reveals):
        return None, missing
    # Here, because a ledger without tables is explained without NumPy.
    from fedcoin_cli.learning.mining.reasons import reasons
    from fedcoin_cli.learning.mining.table import Claim, TableTerms, decode

    task = record.task
    terms = TableTerms(task.clients, task.images, task.empty)
    tables = []
    for reveal in reveals:
        path = find(workspace, reveal.table)
        if path is not None:
            seed, key = bytes.fromhex(record.seed or ""), bytes.fromhex(reveal.miner)
            table = decode(path.read_bytes(), terms, exact=reveal.exact)
            tables.append((Claim(seed, key, reveal.rankings, reveal.exact), table))
    found = reasons(tables, terms, client, MOST, exact=agreement.exact)
    sure = None if agreement.exact or missing else _agreed(workspace, record, agreement, tables)
    value = Fraction(agreement.numerators[client], agreement.denominator)
    return _seen(found, sure, task, client, len(tables), None if missing else value), missing


def find(workspace: Workspace, digest: str) -> Path | None:
    """A file of this digest: from the store, else from a round's folder; None where no copy is whole."""
    kept = workspace.store / digest
    if _is(kept, digest):
        return kept
    places = workspace.rounds.glob("*/*")
    return next((path for path in places if path.suffix in _ROUND_FILES and _is(path, digest)), None)


_ROUND_FILES = frozenset({".json", ".safetensors"})


def _is(path: Path, digest: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def _agreed(
    workspace: Workspace,
    record: TaskRecord,
    agreement: Agreement,
    tables: "Sequence[tuple[Claim, Table]]",
) -> "Agreed | None":
    """How sure the values are; None where the proxy's files are not here."""
    from fedcoin_cli.learning.mining.reasons import agreed, proxy_of
    from fedcoin_cli.learning.mining.table import TableTerms

    task, proxy = record.task, None
    if task.proxy is not None:
        paths = [find(workspace, digest) for digest in (task.model, task.test, task.proxy)]
        model, test, logits = paths
        if model is None or test is None or logits is None:
            return None
        weights = None if task.aggregation == "mean" else [update.examples for update in task.updates]
        proxy = proxy_of(model, test, logits, weights, task.clients)
    values = [numerator / agreement.denominator for numerator in agreement.numerators]
    terms = TableTerms(task.clients, task.images, task.empty, proxy)
    return agreed(tables, terms, bytes.fromhex(record.seed or ""), values, task.train_micro)


def _seen(
    found: "Reasons", sure: "Agreed | None", task: Task, client: int, tables: int, value: Fraction | None
) -> Seen:
    def pp(images: Fraction) -> str:
        return points(images.numerator, images.denominator, task.images)

    def coalition(one: "Joined") -> Coalition:
        members = tuple(number + 1 for number in range(task.clients) if one.mask >> number & 1)
        return Coalition(members, pp(one.before), pp(one.gain), _percent(one.weight), pp(one.adds))

    paid = None if sure is None else sure.payments_micro[client]
    return Seen(
        tables=tables,
        coalitions=found.coalitions,
        walked=pp(found.total),
        proxy_part=None if value is None else pp(value - found.total),
        sizes=tuple(
            Size(step.size, pp(step.gain), _percent(step.weight), pp(step.adds)) for step in found.steps
        ),
        helped=tuple(map(coalition, found.helped)),
        hurt=tuple(map(coalition, found.hurt)),
        squares=0 if sure is None else sure.squares,
        error=None if sure is None else f"{sure.values_pp[client]:.6f}",
        paid_error=format_micro(ceil(paid)) if paid is not None and isfinite(paid) else None,
    )


def _percent(weight: Fraction) -> str:
    """A weight in percent, as points of one image."""
    return points(weight.numerator, weight.denominator, 1)
