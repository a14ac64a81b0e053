"""A client's value and payment in one task, explained: from the ledger alone, and more where tables are kept.

Everything is recomputed from the ledger's own numbers; nothing is asked of anybody. What the coalitions say is in
`tables`, how it reads on a terminal in `cli.views.explanation_lines`.
"""

from dataclasses import dataclass
from typing import Any

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.books.coins import Share, share_of
from fedcoin_cli.application.books.lookup import end_of, task_id
from fedcoin_cli.application.books.task_report import TaskReport, points, report_of
from fedcoin_cli.application.reasons.certainty import Certainty
from fedcoin_cli.application.reasons.kept_tables import Kept, Seen
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.consensus.estimate import Agreement
from fedcoin_cli.contract.settlement import agreement_of, pay_weights
from ledger_store.base.errors import LedgerInvalid, NotFound
from ledger_store.base.names import Address, Digest
from ledger_store.bookkeeping.history import History
from ledger_store.genesis import Genesis
from ledger_store.state import TaskRecord
from ledger_store.transaction import Close, Result, Task


@dataclass(frozen=True, slots=True)
class View:
    """One miner's estimate of this client: its own value in percentage points, None where it does not count.

    `table` is the digest of its counts, `kept` whether they are here.
    """

    miner: Address
    rankings: int
    exact: bool
    value: str | None
    distance: str | None
    within: bool
    table: Digest
    kept: bool

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why `client` was paid what it was paid in a task.

    number:       its place among the task's clients, from 1
    value:        its value in percentage points; None while none is agreed, or when none was
    rank:         its place by value, from 1
    error:        mining's standard error of the value, percentage points: "0.000000" for exact values
    error_from:   "tables", "ledger", "exact" or None
    certainty:    both errors of all clients, where tables or the round's files tell them
    share:        the payment step by step; None where nothing was to be shared
    views:        every miner whose reveal is on the ledger
    seen:         what the tables say; None without any
    missing:      digests of tables of which no copy is here
    """

    ledger: str
    client: Address
    number: int
    report: TaskReport
    value: str | None
    rank: int | None
    error: str | None
    error_from: str | None
    paid: str
    certainty: Certainty | None
    share: Share | None
    views: tuple[View, ...]
    seen: Seen | None
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Decimals are texts, so that no reader rounds them."""
        return {
            "ledger": self.ledger,
            "task": self.report.task_id,
            "state": self.report.state,
            "height": self.report.height,
            "client": self.client,
            "number": self.number,
            "clients": len(self.report.clients),
            "shapley": self.value,
            "rank": self.rank,
            "standard_error": self.error,
            "standard_error_from": self.error_from,
            "payment": self.paid,
            "certainty": None if self.certainty is None else self.certainty.to_json(),
            "coins": None if self.share is None else self.share.to_json(),
            "estimates": [view.to_json() for view in self.views],
            "difficulty": self.report.difficulty,
            "winner": self.report.winner,
            "coalitions": None if self.seen is None else self.seen.to_json(),
            "missing_tables": list(self.missing),
        }


def explain(books: Books, workspace: Workspace, client: Address, beginning: str | None) -> Explanation:
    """Explain a client's part in the task whose id has this beginning, else in the newest of its tasks that has ended.

    Raises `NotFound` for an account that was not a client of the task, or of any, and `LedgerInvalid` for a payment
    that does not follow from what was revealed.
    """
    record = _record(books.history, client, beginning)
    end = end_of(books, record)
    index = _accounts(record)[client]
    report = report_of(record, books.state.genesis, end)
    line = report.clients[index]
    agreement = agreement_of(record, books.state.genesis, end) if isinstance(end, Result) else None
    seen: Seen | None = None
    certainty: Certainty | None = None
    missing: tuple[str, ...] = ()
    if isinstance(end, Result) and agreement is not None and agreement.counted:
        kept = Kept(workspace, record, end, agreement)
        seen, missing, certainty = kept.seen(index) if kept else None, kept.missing, kept.certainty
    error, source = _error(report, certainty, index)
    return Explanation(
        ledger=str(books.path),
        client=client,
        number=index + 1,
        report=report,
        value=line.shapley,
        rank=_rank(end, index),
        error=error,
        error_from=source,
        paid=line.paid,
        certainty=certainty,
        share=_share(record.task, books.state.genesis, end, agreement, index),
        views=_views(record.task, end, agreement, report, index, missing),
        seen=seen,
        missing=missing,
    )


def _record(tasks: History, client: Address, beginning: str | None) -> TaskRecord:
    hint = "fedcoin log --account WHO lists the tasks in which an account was paid"
    if beginning is not None:
        record = tasks[task_id(tasks, beginning)]
        if client not in _accounts(record):
            raise NotFound(
                "this account is not a client of the task", where=f"task {record.task.id}", hint=hint
            )
        return record
    records = [record for record in tasks.values() if client in _accounts(record)]
    if not records:
        raise NotFound("this account has been a client of no task", where=client, hint=hint)
    return max(records, key=lambda record: (record.end_height or 0, record.height))


def _accounts(record: TaskRecord) -> dict[str, int]:
    """The place among the owners of every account that is one, or whose update is an owner's."""
    members, updates = record.task.members, record.task.updates
    return {
        account: place
        for place, (owner, numbers) in enumerate(members.items())
        for account in (owner, *(updates[number].client for number in numbers))
    }


def _rank(end: Close | Result | None, index: int) -> int | None:
    if end is None or end.outcome is None or end.outcome.shapley is None:
        return None
    values = end.outcome.shapley
    return 1 + sum(value > values[index] for value in values)


def _error(report: TaskReport, certainty: Certainty | None, index: int) -> tuple[str | None, str | None]:
    """The best that is known of mining's: the tables' rankings, else the spread between the miners."""
    if report.exact:
        return report.error, "exact"
    if certainty is not None and certainty.mining:
        return certainty.mining[index], "tables"
    return report.error, None if report.error is None else "ledger"


def _share(
    task: Task, genesis: Genesis, end: Close | Result | None, agreement: Agreement | None, index: int
) -> Share | None:
    """The steps, where TrainPrice was shared among the clients."""
    if end is None or end.outcome is None or agreement is None or not any(end.outcome.pay.clients):
        return None
    share = share_of(task.train_micro, pay_weights(task, genesis, agreement), index)
    if share.paid_micro != end.outcome.pay.clients[index]:
        hint = "fedcoin audit tells more"
        raise LedgerInvalid(
            "this payment does not follow from what was revealed", where=f"task {task.id}", hint=hint
        )
    return share


def _views(
    task: Task,
    end: Close | Result | None,
    agreement: Agreement | None,
    report: TaskReport,
    index: int,
    missing: tuple[str, ...],
) -> tuple[View, ...]:
    if not isinstance(end, Result) or agreement is None:
        return ()
    distances = {line.miner: line.distance for line in report.miners}
    views = []
    for reveal in end.reveals:
        value = reveal.values[index] if reveal.miner in agreement.counted else None
        views.append(
            View(
                miner=reveal.miner,
                rankings=reveal.rankings,
                exact=reveal.exact,
                value=None if value is None else points(value.numerator, value.denominator, task.whole),
                distance=distances[reveal.miner],
                within=reveal.miner in agreement.within,
                table=reveal.table,
                kept=reveal.miner in agreement.counted and reveal.table not in missing,
            )
        )
    return tuple(views)
