"""What a report shows of a ledger: its audit, its newest tasks with errors and convergence, balances over blocks.

Plain values, the same for equal ledgers, tables and names: no clock, no path. How they are drawn is the command
line's work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.books.lookup import end_of, task_id
from fedcoin_cli.application.books.task_report import TaskReport, report_of
from fedcoin_cli.application.reasons.certainty import Certainty
from fedcoin_cli.application.reasons.kept_tables import Kept
from fedcoin_cli.application.reasons.worth_looking import looked_at, with_report
from fedcoin_cli.application.rounds.inspecting import Inspected
from fedcoin_cli.application.rounds.recalling import recipe_of
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.contract.outcome_check import CHECKS
from fedcoin_cli.contract.settlement import agreement_of
from ledger_store.audit.audit import AuditReport, audit
from ledger_store.bookkeeping.journal import SUPPLY, entries
from ledger_store.genesis import Genesis
from ledger_store.state import TaskRecord
from ledger_store.transaction import Result

AUDIT_LEVEL = 3

Walk = tuple[tuple[int, float], ...]
"""After how many rankings an estimate lay how many percentage points from the agreed values."""


@dataclass(frozen=True, slots=True)
class TaskPicture:
    """A task as it is drawn: `certainty` where tables or the round's files tell it; `walks` is by miner.

    `recipe`: how its clients were trained, where known. `inspected`: what its updates look like, where they are kept.
    """

    report: TaskReport
    certainty: Certainty | None
    walks: dict[str, Walk]
    recipe: dict[str, Any] | None
    inspected: Inspected | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """An account's balance in micro-FedCoin: after block `height`, where it changed."""

    account: str
    steps: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """A ledger as it is drawn; `records` are all its tasks, the newest first, `pictures` those shown in full."""

    genesis: Genesis
    height: int
    time_ms: int
    audit: AuditReport
    records: tuple[TaskReport, ...]
    pictures: tuple[TaskPicture, ...]
    balances: tuple[Series, ...]


def overview(books: Books, workspace: Workspace, tasks: Sequence[str], newest: int) -> Overview:
    """Everything that is drawn of a ledger: the named tasks (beginnings of ids), else the `newest` that ended."""
    state, known = books.state, books.history
    records = sorted(known.values(), key=lambda one: one.end_height or one.height, reverse=True)
    if tasks:
        chosen = [known[task_id(known, task)] for task in tasks]
    else:
        chosen = [record for record in records if record.end_height is not None][:newest]
    return Overview(
        genesis=state.genesis,
        height=books.height,
        time_ms=state.time_ms,
        audit=audit(books.path, AUDIT_LEVEL, CHECKS),
        records=tuple(report_of(record, state.genesis, end_of(books, record)) for record in records),
        pictures=tuple(_picture(books, workspace, record) for record in chosen),
        balances=_balances(books),
    )


def _picture(books: Books, workspace: Workspace, record: TaskRecord) -> TaskPicture:
    end = end_of(books, record)
    report = report_of(record, books.state.genesis, end)
    recipe, inspected = recipe_of(workspace, record.task), looked_at(workspace, record)
    if not isinstance(end, Result):
        return TaskPicture(report, None, {}, recipe, inspected)
    kept = Kept(workspace, record, end, agreement_of(record, books.state.genesis, end))
    certainty = kept.certainty
    if inspected is not None:
        inspected = with_report(inspected, report, certainty) or inspected
    return TaskPicture(report, certainty, kept.convergence(), recipe, inspected)


def _balances(books: Books) -> tuple[Series, ...]:
    """Every account's steps, in the order in which they first held something; the supply is left out."""
    held: dict[str, list[tuple[int, int]]] = {}
    for entry in entries(books.state.genesis, books.blocks()):
        for posting in entry.postings:
            if posting.account == SUPPLY:
                continue
            steps = held.setdefault(posting.account, [])
            before = steps[-1][1] if steps else 0
            if steps and steps[-1][0] == entry.height:
                steps.pop()
            steps.append((entry.height, before + posting.micro))
    return tuple(Series(account, tuple(steps)) for account, steps in held.items())
