"""What the state forgets and readers ask for: how every task of a chain ended.

A fold beside the fold: it walks the blocks once more and collects what each of them ended. No block is judged by it.
(docs/adr/0035)
"""

from collections.abc import Iterator, Mapping

from ledger_store.base.names import TaskId
from ledger_store.block import Block
from ledger_store.chain import replay, start
from ledger_store.genesis import Genesis
from ledger_store.outcome import Outcome
from ledger_store.task_record import UNFINISHED, TaskRecord
from ledger_store.transaction import Cancel, Task, Transaction, Transfer


class History(Mapping[TaskId, TaskRecord]):
    """Every task by its id, in the order of their coming, as it stands at `height`."""

    def __init__(self, genesis: Genesis) -> None:
        self._tip = start(genesis)
        self._records: dict[TaskId, TaskRecord] = {}

    @property
    def height(self) -> int:
        """Up to which block it was followed."""
        return self._tip.height

    def follow(self, block: Block) -> None:
        """The next block, checked before as those of `chain.replay`; raises `PeerFault`."""
        self._tip = replay(self._tip, block)
        state = self._tip.state
        self._records.update(state.tasks)
        self._records.update((record.task.id, record) for record in state.ended)

    def __getitem__(self, task_id: TaskId) -> TaskRecord:
        return self._records[task_id]

    def __iter__(self) -> Iterator[TaskId]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


def ended_by(transaction: Transaction) -> TaskId | None:
    """The task that a transaction of a valid block ends, if it ends one."""
    if isinstance(transaction, Transfer | Task):
        return None
    if isinstance(transaction, Cancel) or _ends(transaction.outcome):
        return transaction.task
    return None


def _ends(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.state not in UNFINISHED
