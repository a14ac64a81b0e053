"""Inspections beside what is known by now: the values of a task that was settled, and updates that are kept here."""

from collections.abc import Sequence
from math import hypot, sqrt
from pathlib import Path
from typing import cast

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.books.lookup import end_of
from fedcoin_cli.application.books.task_report import TaskReport, report_of
from fedcoin_cli.application.reasons.certainty import Certainty
from fedcoin_cli.application.reasons.kept_tables import certainty_of
from fedcoin_cli.application.rounds.inspecting import Inspected, inspect_files
from fedcoin_cli.application.rounds.past_files import evidence
from fedcoin_cli.application.rounds.recalling import initial_of
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.errors import RoundFilesInvalid
from ledger_store.state import TaskRecord
from ledger_store.transaction import Update


def valued(found: Inspected, books: Books, workspace: Workspace) -> tuple[Inspected, str | None]:
    """An inspection with the values of the newest task of these very updates, and that task's id.

    The same and None where no such task was settled.
    """
    for record in sorted(books.history.values(), key=lambda one: one.height, reverse=True):
        if _same(record.task.updates, found.updates):
            end = end_of(books, record)
            report = report_of(record, books.state.genesis, end)
            if (beside := with_report(found, report, certainty_of(workspace, record, end))) is not None:
                return beside, record.task.id
    return found, None


def with_report(found: Inspected, report: TaskReport, certainty: Certainty | None) -> Inspected | None:
    """An inspection beside a task's values, with errors of mining and test set together; None without values."""
    # An owner's value is that of each of its updates: they are valued together.
    place = {address: number for number, one in enumerate(report.clients) for address in one.addresses}
    places = [place[update.client] for update in found.updates]
    values = [None if one.value is None else float(one.value) for one in report.clients]
    mining, test_set = _errors(report, certainty)
    known = [value for value in values if value is not None]
    if len(known) != len(values):
        return None
    errors = [hypot(one, other) for one, other in zip(mining, test_set, strict=True)]
    return found.with_values(tuple(known[one] for one in places), tuple(errors[one] for one in places))


def looked_at(workspace: Workspace, record: TaskRecord) -> Inspected | None:
    """What a task's updates look like, where all of them are kept here and whole; None else."""
    task, kept = record.task, evidence(workspace, [workspace.rounds] if workspace.rounds.is_dir() else [])
    paths = [kept.find(update.digest) for update in task.updates]
    if not paths or None in paths:
        return None
    begun = initial_of(workspace, task) or (None if task.named is None else kept.find(task.named))
    try:
        return inspect_files(task.updates, cast("list[Path]", paths), begun)
    except RoundFilesInvalid:
        return None


def _same(some: Sequence[Update], others: Sequence[Update]) -> bool:
    """Whether these are the same updates of the same clients, whatever was signed for them."""
    return [(one.digest, one.client) for one in some] == [(one.digest, one.client) for one in others]


def _errors(report: TaskReport, certainty: Certainty | None) -> tuple[Sequence[float], Sequence[float]]:
    """Standard errors of mining and of the test set, as far as they are known."""
    nothing = (0.0,) * len(report.clients)
    mining = (0.0 if report.exact else sqrt(report.variance or 0),) * len(report.clients)
    if certainty is None:
        return mining, nothing
    return tuple(map(float, certainty.mining)) or mining, tuple(map(float, certainty.test_set)) or nothing
