"""Audit level 3: terms that miners could fulfil, and outcomes that follow from what closes and results hold.

Adds one `Check` to those of `ledger_store`. Whether the revealed sums follow from the tables needs the round's
files and is level 4 (`learning.recomputation`); here stands what of the ledger it takes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fedcoin_cli.contract.settlement import check_settlement
from ledger_store.audit.checks import Check, Finding, Subject
from ledger_store.base.errors import InvalidTransaction
from ledger_store.task_record import TaskRecord
from ledger_store.transaction import Result

LEVEL = 3

CODES = {
    "E411": "a task's terms are none that miners could fulfil",
    "E412": "what a close without commits leads to does not follow",
    "E413": "a result's values, winner or payments do not follow from its reveals",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One result on the ledger: its block's height, and its task's record before it."""

    height: int
    record: TaskRecord
    result: Result


def gather(subject: Subject) -> Iterator[Case]:
    """The results in a block that passed level 3."""
    tasks = subject.before.state.tasks
    for transaction in subject.block.transactions:
        if isinstance(transaction, Result):
            yield Case(subject.height, tasks[transaction.task], transaction)


def _settlement(subject: Subject) -> Iterator[Finding]:
    for transaction in subject.block.transactions:
        try:
            check_settlement(subject.before.state, transaction)
        except InvalidTransaction as error:
            yield subject.finding(error.code, error.message)


CHECKS = (Check("settlement", LEVEL, _settlement),)
