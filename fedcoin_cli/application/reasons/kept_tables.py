"""What the miners' tables say of one client, as far as they are kept here: the store, and the folders of rounds.

How sure the values are follows from the tables, too; the test set's part of it from the round's files as well. Every
file is taken only if its bytes have the digest that the ledger names. Nothing is written, nothing fetched.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.books.lookup import end_of
from fedcoin_cli.application.books.spread import counted_reveals
from fedcoin_cli.application.books.task_report import points
from fedcoin_cli.application.reasons.certainty import Certainty
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.consensus.estimate import Agreement
from fedcoin_cli.contract.metric import metric_of
from fedcoin_cli.contract.settlement import agreement_of
from ledger_store.base.amount import format_micro
from ledger_store.base.errors import MissingPart, NotFound
from ledger_store.base.names import Digest
from ledger_store.state import TaskRecord
from ledger_store.transaction import Close, Result, Task

if TYPE_CHECKING:
    from fedcoin_cli.learning.shapley.attribution import Agreed, JoinedCoalition, Reasons
    from fedcoin_cli.learning.shapley.semivalues import Method, Semivalues
    from fedcoin_cli.learning.shapley.table import Claim, TableTerms

MOST = 5
"""How many coalitions are named for and against."""


@dataclass(frozen=True, slots=True)
class Coalition:
    """Who was there (client numbers from 1), worth before, gain, weight in percent, what it adds; in points."""

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
    """What the tables say of a client, in percentage points; `walked` is the agreed value where no table is missing."""

    tables: int
    coalitions: int
    walked: str
    sizes: tuple[Size, ...]
    helped: tuple[Coalition, ...]
    hurt: tuple[Coalition, ...]

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {name: getattr(self, name) for name in ("tables", "coalitions", "walked")}
        lists = ("sizes", "helped", "hurt")
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
        paths = [(reveal, find(workspace, reveal.table)) for reveal in reveals]
        self._reveals = [(reveal, path) for reveal, path in paths if path]
        self.missing = tuple(reveal.table for reveal, path in paths if not path)
        # What a block is worth by weighted labels, or by its tokens, only the test set tells.
        weighted = metric_of(record.task).uneven
        self._test = find(workspace, record.task.test) if weighted else None
        if weighted and self._test is None:
            self.missing, self._reveals = (record.task.test, *self.missing), []

    def __bool__(self) -> bool:
        return bool(self._reveals)

    def seen(self, client: int) -> Seen:
        """What the tables say of client number `client`, from 0."""
        from fedcoin_cli.learning.shapley.attribution import reasons

        task, exact = self._record.task, self._agreement.exact
        return _seen(reasons(self._tables, self._terms, client, MOST, exact=exact), task, len(self._tables))

    def semivalues(self, methods: "Sequence[Method]") -> "tuple[Semivalues, ...]":
        """What the tables say by several methods; raises `NotFound` where none is here."""
        if not self:
            hint = "fedcoin audit --level 4 --fetch gets them from the miners; or name the round's folder"
            raise NotFound("no table of this task is kept here", where=str(self._workspace.store), hint=hint)
        from fedcoin_cli.learning.shapley.semivalues import of_tables

        return tuple(of_tables(self._tables, self._terms, one) for one in methods)

    @cached_property
    def certainty(self) -> Certainty | None:
        """How sure the agreed values are: by all tables, else as far as the round's files tell; None without either."""
        task, exact = self._record.task, self._agreement.exact
        if exact or self.missing or not self:
            return self._by_files()
        from fedcoin_cli.learning.shapley.attribution import agreed

        found = agreed(self._tables, self._terms, self._values, task.train_micro)
        return None if found is None else _certainty(found, task)

    def _by_files(self) -> Certainty | None:
        task = self._record.task
        places = {digest: find(self._workspace, digest) for digest in task.files}
        if None in places.values():
            return None
        from fedcoin_cli.learning.shapley.attribution import test_set_error
        from fedcoin_cli.learning.task_game import load_game

        game = load_game(task, lambda digest: cast("Path", places[digest]))
        try:
            found = test_set_error(game, self._values, task.train_micro)
        except MissingPart:  # Keras counts this model, and is not installed
            return None
        return None if found is None else _certainty(found, task)

    def convergence(self) -> "dict[str, tuple[tuple[int, float], ...]]":
        """By miner: after how many rankings its estimate lay how many points from the agreed values."""
        from fedcoin_cli.learning.shapley.attribution import convergence

        return {
            reveal.miner: convergence(claim, data, self._terms, self._values)
            for (reveal, _), (claim, data) in zip(self._reveals, self._tables, strict=True)
            if not claim.exact
        }

    @cached_property
    def _tables(self) -> "list[tuple[Claim, bytes]]":
        # Here, because a ledger without tables is explained without NumPy.
        from fedcoin_cli.learning.shapley.table import Claim

        found = []
        for reveal, path in self._reveals:
            claim = Claim(self._seed, bytes.fromhex(reveal.miner), reveal.rankings, reveal.exact)
            found.append((claim, path.read_bytes()))
        return found

    @property
    def _seed(self) -> bytes:
        return bytes.fromhex(self._record.seed or "")

    @property
    def _values(self) -> list[float]:
        return [numerator / self._agreement.denominator for numerator in self._agreement.numerators]

    @cached_property
    def _terms(self) -> "TableTerms":
        from fedcoin_cli.learning.task_game import terms_without_files

        return terms_without_files(self._record.task, self._test)


def certainty_of(workspace: Workspace, record: TaskRecord, end: Close | Result | None) -> Certainty | None:
    """How sure a task's values are; None where it has none, or nothing here tells."""
    if not isinstance(end, Result) or end.outcome.shapley is None:
        return None
    return Kept(workspace, record, end, agreement_of(record, workspace.genesis(), end)).certainty


def kept_of(books: Books, workspace: Workspace, record: TaskRecord) -> Kept:
    """The tables of a settled task; raises `NotFound` for one without values."""
    end = end_of(books, record)
    if not isinstance(end, Result) or end.outcome.shapley is None:
        message = "no values were agreed on for this task"
        raise NotFound(message, where=record.task.id, hint="fedcoin show tells how it ended")
    return Kept(workspace, record, end, agreement_of(record, workspace.genesis(), end))


def find(workspace: Workspace, digest: Digest) -> Path | None:
    """A file of this digest: from the store, else from a round's folder; None where no copy is whole."""
    kept = workspace.store / digest
    if _is(kept, digest):
        return kept
    places = workspace.rounds.glob("*/*")
    return next((path for path in places if path.suffix in _ROUND_FILES and _is(path, digest)), None)


_ROUND_FILES = frozenset({".json", ".safetensors"})


def _is(path: Path, digest: Digest) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def _seen(found: "Reasons", task: Task, tables: int) -> Seen:
    def pp(images: Fraction) -> str:
        return points(images.numerator, images.denominator, task.whole)

    def coalition(one: "JoinedCoalition") -> Coalition:
        members = tuple(number + 1 for number in range(task.clients) if one.mask >> number & 1)
        before, gain = (points(count, 1, one.images) for count in (one.before, one.gain))
        weight = one.weight * one.images / task.whole
        return Coalition(members, before, gain, _percent(weight), pp(one.adds))

    return Seen(
        tables=tables,
        coalitions=found.coalitions,
        walked=pp(found.total),
        sizes=tuple(
            Size(step.size, pp(step.gain), _percent(step.weight), pp(step.adds)) for step in found.steps
        ),
        helped=tuple(map(coalition, found.helped)),
        hurt=tuple(map(coalition, found.hurt)),
    )


def _certainty(found: "Agreed", task: Task) -> Certainty:
    mined, told = found.rankings > 0, all(map(isfinite, found.images_pp))
    return Certainty(
        images=task.images,
        rankings=found.rankings,
        mining=_texts(found.values_pp) if mined else (),
        mining_paid=tuple(map(_coins, found.payments_micro)) if mined else (),
        test_set=_texts(found.images_pp) if told else (),
        test_set_paid=tuple(map(_coins, found.images_micro)) if told else (),
        alike=tuple((one + 1, other + 1) for one, other in found.alike),
    )


def _texts(errors: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{error:.6f}" for error in errors)


def _coins(micro: float) -> str | None:
    return format_micro(ceil(micro)) if isfinite(micro) else None


def _percent(weight: Fraction) -> str:
    """A weight in percent, as points of one image."""
    return points(weight.numerator, weight.denominator, 1)
