"""What the miners' tables say of one client, as far as they are kept here: the store, and the folders of rounds.

Every file is taken only if its bytes have the digest that the ledger names. Nothing is written, nothing fetched.
"""

import hashlib
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
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
    from fedcoin_cli.learning.mining.table import Claim, Table, TableTerms

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


class Kept:
    """The tables of a task's counted reveals that are here, and what follows from them.

    `missing` are the digests of those that are not. Nothing but `missing` may be asked for without any table.
    """

    def __init__(
        self, workspace: Workspace, record: TaskRecord, result: Result, agreement: Agreement
    ) -> None:
        self._workspace, self._record, self._result, self._agreement = workspace, record, result, agreement
        reveals = counted_reveals(result, agreement)
        self._paths = {reveal.table: find(workspace, reveal.table) for reveal in reveals}
        self._reveals = [reveal for reveal in reveals if self._paths[reveal.table] is not None]
        self.missing = tuple(reveal.table for reveal in reveals if self._paths[reveal.table] is None)

    def __bool__(self) -> bool:
        return bool(self._reveals)

    def seen(self, client: int) -> Seen:
        """What the tables say of client number `client`, from 0."""
        from fedcoin_cli.learning.mining.reasons import reasons

        task, agreement = self._record.task, self._agreement
        found = reasons(self._tables, self._terms, client, MOST, exact=agreement.exact)
        value = Fraction(agreement.numerators[client], agreement.denominator)
        return _seen(found, self.agreed, task, client, len(self._tables), None if self.missing else value)

    @cached_property
    def agreed(self) -> "Agreed | None":
        """How sure the agreed values are; None for exact ones, and where a table or the proxy's files are missing."""
        from fedcoin_cli.learning.mining.reasons import agreed

        task, agreement = self._record.task, self._agreement
        terms = self._whole_terms
        if agreement.exact or self.missing or terms is None:
            return None
        return agreed(self._tables, terms, self._seed, self._values, task.train_micro)

    def convergence(self) -> "dict[str, tuple[tuple[int, float], ...]]":
        """By miner: after how many rankings its estimate lay how many points from the agreed values."""
        from fedcoin_cli.learning.mining.reasons import convergence

        terms, result = self._whole_terms, self._result
        if terms is None or self._agreement.exact:
            return {}
        public = [total / result.proxy_denominator for total in result.proxy_sums]
        return {
            reveal.miner: convergence(claim, table, terms, public, self._values)
            for reveal, (claim, table) in zip(self._reveals, self._tables, strict=True)
        }

    @cached_property
    def _tables(self) -> "list[tuple[Claim, Table]]":
        # Here, because a ledger without tables is explained without NumPy.
        from fedcoin_cli.learning.mining.table import Claim, decode

        found = []
        for reveal in self._reveals:
            path = self._paths[reveal.table]
            assert path is not None
            claim = Claim(self._seed, bytes.fromhex(reveal.miner), reveal.rankings, reveal.exact)
            found.append((claim, decode(path.read_bytes(), self._terms, exact=reveal.exact)))
        return found

    @property
    def _seed(self) -> bytes:
        return bytes.fromhex(self._record.seed or "")

    @property
    def _values(self) -> list[float]:
        return [numerator / self._agreement.denominator for numerator in self._agreement.numerators]

    @property
    def _terms(self) -> "TableTerms":
        from fedcoin_cli.learning.mining.table import TableTerms

        task = self._record.task
        return TableTerms(task.clients, task.images, task.empty)

    @cached_property
    def _whole_terms(self) -> "TableTerms | None":
        """With the proxy's counts; None where its files are not here."""
        from fedcoin_cli.learning.mining.reasons import proxy_of

        task = self._record.task
        if task.proxy is None:
            return self._terms
        model, test, logits = (find(self._workspace, one) for one in (task.model, task.test, task.proxy))
        if model is None or test is None or logits is None:
            return None
        weights = None if task.aggregation == "mean" else [update.examples for update in task.updates]
        return replace(self._terms, proxy=proxy_of(model, test, logits, weights, task.clients))


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
