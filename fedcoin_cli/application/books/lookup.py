"""What an id means in a ledger: a height, or the beginning of a task's, a block's or a transaction's id."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcoin_cli.application.books.books import Books
from ledger_store.base.errors import NotFound
from ledger_store.base.names import Address, TaskId
from ledger_store.block import Block
from ledger_store.state import TaskRecord
from ledger_store.transaction import Cancel, Close, Outcome, Pay, Result, Task, Transaction, Transfer

if TYPE_CHECKING:
    from fedcoin_cli.application.books.task_report import TaskReport

PREFIX_LEAST = 4
HEIGHT_DIGITS = 16


@dataclass(frozen=True, slots=True)
class FoundTask:
    """A task and what came of it."""

    report: "TaskReport"


@dataclass(frozen=True, slots=True)
class FoundBlock:
    """A block and the addresses of the miners in its certificate."""

    block: Block
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundTransaction:
    """A transfer or cancel and the height of its block."""

    transaction: Transfer | Cancel
    height: int


Found = FoundTask | FoundBlock | FoundTransaction


def find(books: Books, text: str) -> Found:
    """What `text` names; raises `NotFound`, also for a beginning that several ids share."""
    if text.isdecimal() and len(text) <= HEIGHT_DIGITS and int(text) <= books.height:
        return _block(books, books.block(int(text)))
    found = list(_matches(books, text)) if len(text) >= PREFIX_LEAST else []
    if len(found) == 1:
        return found[0]
    hint = "fedcoin log lists blocks and tasks" if not found else "write more of the id"
    what = f"{len(found)} ids begin with" if found else "no task, block or transaction is"
    raise NotFound(f"{what} {text!r}", where=str(books.path), hint=hint)


def task_id(tasks: Iterable[TaskId], text: str, kind: str = "task") -> TaskId:
    """The id of the one of these tasks that `text` begins; raises `NotFound`. `kind` says what they are."""
    found = [task for task in tasks if task.startswith(text)]
    if len(found) == 1 and len(text) >= PREFIX_LEAST:
        return found[0]
    reason = f"no {kind}" if not found else f"more than one {kind}"
    raise NotFound(f"{reason} begins with {text!r}", where="the ledger", hint="fedcoin log lists the tasks")


def report_on(books: Books, record: TaskRecord) -> "TaskReport":
    """What came of a task, from the block that ended it."""
    from fedcoin_cli.application.books.task_report import report_of

    return report_of(record, books.state.genesis, end_of(books, record))


def end_of(books: Books, record: TaskRecord) -> Close | Result | None:
    """The close or result that ended a task; None for one that is unfinished or was cancelled."""
    if record.end_height is None:
        return None
    for transaction in books.block(record.end_height).transactions:
        if isinstance(transaction, Close | Result) and transaction.task == record.task.id:
            return transaction
    return None


def _matches(books: Books, text: str) -> Iterator[Found]:
    for block in books.blocks():
        if block.id.startswith(text):
            yield _block(books, block)
        for transaction in block.transactions:
            match transaction:
                case Task() if transaction.id.startswith(text):
                    yield FoundTask(report_on(books, books.history[transaction.id]))
                case Transfer() | Cancel() if transaction.id.startswith(text):
                    yield FoundTransaction(transaction, block.height)
                case _:
                    pass


def _block(books: Books, block: Block) -> FoundBlock:
    certificate, roster = books.certificate_of(block.height), books.state.genesis.roster
    signed = () if certificate is None else certificate.signatures
    return FoundBlock(block, tuple(roster[index] for index, _ in signed))


def concerns(tasks: Mapping[TaskId, TaskRecord], transaction: Transaction, address: Address) -> bool:
    """Whether an account signed a transaction, is named in it, or was paid by it; `tasks` are its ledger's."""
    match transaction:
        case Transfer():
            return address in (transaction.sender, transaction.to)
        case Task() | Cancel():
            return address == transaction.sender
        case Close(outcome=Outcome() as outcome) | Result(outcome=outcome):
            return address in _paid(tasks[transaction.task].task, outcome.pay)
        case Close():
            return any(commit.miner == address for commit in transaction.commits)


def _paid(task: Task, pay: Pay) -> set[str]:
    """Who got something."""
    amounts = [*zip(task.owners, pay.clients, strict=True), *pay.miners]
    amounts += [(task.server, pay.server), (task.sender, pay.requester)]
    return {address for address, micro in amounts if micro}
