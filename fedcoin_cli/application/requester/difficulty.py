"""D for `publish --difficulty auto`: what the last sampled task tells about how far miners' estimates lie apart.

An estimate of t rankings has, over all clients, the variance V/t around the value, so its squared distance to the
average of R such estimates is (1 − 1/R)·V/t in the mean. V follows from the reveals on the ledger, and t from how many
rankings the miners walked in how much time. With D the root of that, about half of honest miners lie within it, and
one of several nearly always does. Pure but for reading blocks.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import isqrt

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.books.spread import counted_reveals, ranking_variance
from fedcoin_cli.application.rounds.terms import AskedTerms
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.contract.settlement import agreement_of
from ledger_store.base.errors import NotFound
from ledger_store.base.names import TaskId
from ledger_store.base.words import TaskState
from ledger_store.genesis import Genesis
from ledger_store.state import TaskRecord
from ledger_store.transaction import Result, Reveal

# Percentage points in 10⁻⁶ are parts of the test set in 10⁻⁸.
_UNITS = 10**8


@dataclass(frozen=True, slots=True)
class Learnt:
    """D in 10⁻⁶ percentage points, and the task that it follows from."""

    difficulty_micro: int
    task_id: TaskId


def learn_difficulty(books: Books, clients: int, runtime_ms: int, metric: str = "accuracy") -> Learnt:
    """D for a task of so many clients, so much RUNTIME and a metric, from the newest such task settled by sampling.

    Raises:
        NotFound: no task of so many clients and this metric was settled by two or more sampled estimates.
    """
    genesis = books.state.genesis
    for height in range(books.height, 0, -1):
        for transaction in books.block(height).transactions:
            if not isinstance(transaction, Result) or transaction.outcome.state != TaskState.SETTLED:
                continue
            if len(transaction.outcome.pay.clients) != clients:
                continue
            record = books.history[transaction.task]
            if record.task.metric != metric:
                continue
            reveals = _sampled(record, genesis, transaction)
            if len(reveals) >= 2:
                found = spread_micro(record, reveals, runtime_ms)
                return Learnt(max(found, genesis.bounds.least_difficulty_micro), record.task.id)
    message = f"no settled task of {clients} clients by {metric} tells how far sampled estimates lie apart"
    hint = "give --difficulty a number this time; where values are exact, any D is met"
    raise NotFound(message, where=str(books.path), hint=hint)


def with_learnt_difficulty(
    workspace: Workspace, terms: AskedTerms, clients: int
) -> tuple[AskedTerms, Learnt]:
    """Terms for a task of so many clients with the D that this workspace's ledger tells; raises `NotFound`."""
    with Books.open(workspace) as books:
        found = learn_difficulty(books, clients, terms.settings.task.runtime_ms, terms.settings.task.metric)
    return replace(terms, difficulty_micro=found.difficulty_micro), found


def spread_micro(record: TaskRecord, reveals: list[Reveal], runtime_ms: int) -> int:
    """The root of (1 − 1/R)·V/t, upwards to whole 10⁻⁶ percentage points; V from R ≥ 2 reveals of a task.

    t is what a miner walks in `runtime_ms` at the pace of that task, whose rankings are those of all its attempts.
    """
    total = sum(reveal.rankings for reveal in reveals)
    count = len(reveals)
    mined_ms = record.attempt * record.task.runtime_ms
    rankings = max(Fraction(total, count) * Fraction(runtime_ms, mined_ms), Fraction(1))
    variance = Fraction(count - 1, count) * ranking_variance(reveals)
    squared = variance / rankings * Fraction(_UNITS, record.task.whole) ** 2
    return isqrt(int(squared)) + 1


def _sampled(record: TaskRecord, genesis: Genesis, result: Result) -> list[Reveal]:
    """The reveals that made the average, unless it was one of exact values."""
    agreement = agreement_of(record, genesis, result)
    if agreement.exact:
        return []
    return counted_reveals(result, agreement)
