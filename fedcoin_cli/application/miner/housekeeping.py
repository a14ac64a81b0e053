"""Which files of the store are kept: those of unfinished and pending tasks, and of the newest finished ones.

Tables of failed attempts are evidence like those of the last. The others go when their task has ended; what no result
names, such as a table that was never revealed, goes when it is a day old. Of a task that is pending no more and not on
the ledger goes what was fetched for it, and nothing else: anybody may name any digest. What the ledger says about tasks
is read here, nothing is decided.
"""

import time
from collections.abc import Collection, Iterable

from fedcoin_cli.application.miner.fetched import Fetched
from fedcoin_cli.application.miner.ports import Ledger
from fedcoin_cli.network.store import Store
from ledger_store.state import State, TaskRecord
from ledger_store.transaction import Result, Task

SWEEP_EVERY_S = 3_600.0
# After a start, so many rounds that ended before it are looked at again: it may have come between end and removal.
LOOK_BACK = 64


class Housekeeping:
    """The store of one miner, of which the files of `keep_rounds` finished tasks are kept."""

    def __init__(self, ledger: Ledger, store: Store, keep_rounds: int, fetched: Fetched) -> None:
        self._ledger, self._store, self._keep = ledger, store, keep_rounds
        self._fetched = fetched
        self._at_work: tuple[str | None, set[str]] = (None, set())
        self._tables: dict[str, tuple[str, ...]] = {}
        self._removed_to = 0
        self._swept_s = time.monotonic()

    def tidy(self, pending: Iterable[Task]) -> None:
        """Tasks have ended: remove what those leave behind that are no longer among the newest."""
        young, old = self._finished()
        needed = self._needed(young, pending)
        for record in old:
            self._remove({*record.task.files, *self._tables_of(record)} - needed)
        self._removed_to = max((record.end_height or 0 for record in old), default=self._removed_to)
        self._tables = {record.task.id: self._tables_of(record) for record in young}
        now_s = time.monotonic()
        if now_s - self._swept_s >= SWEEP_EVERY_S:
            self._swept_s = now_s
            self._store.sweep(needed)

    def wanted(self, task: Task, dying: Collection[str] = ()) -> None:
        """A pending task's files are about to be asked for; those that are here for another reason are not its own.

        What another miner of this store fetched for a pending task is here for that reason only; what is `dying` is
        about to be deleted.
        """
        missing = {digest for digest in task.files if digest in dying or not self._store.has(digest)}
        present = set(task.files) - missing - self._fetched.digests
        self._fetched.add(missing | (present & self._fetched.elsewhere() if present else set()))

    def works_on(self, digests: Iterable[str]) -> None:
        """The attempt at work needs these, a table perhaps that no result names yet."""
        current = self._state.current
        place = None if current is None else current.task.id
        kept = self._at_work[1] if self._at_work[0] == place else set[str]()
        self._at_work = (place, kept | set(digests))

    def settle(self, pending: Iterable[Task]) -> tuple[set[str], set[str]]:
        """What was fetched for tasks that are pending no more: what stays, needed by the ledger, and what must go.

        Whatever made an end of a task: its files may not stay. What another miner of this store has noted is its.
        """
        tasks = list(pending)
        loose = self._fetched.digests - {digest for task in tasks for digest in task.files}
        if not loose:
            return set(), set()
        stays = loose & self._needed(self._finished()[0], tasks)
        self._fetched.drop(
            loose
        )  # before the others' are read: of two that let go at once one at least deletes
        return stays, loose - stays - self._fetched.elsewhere()

    @property
    def _state(self) -> State:
        return self._ledger.tip.state

    def _finished(self) -> tuple[list[TaskRecord], list[TaskRecord]]:
        """The newest finished tasks, and of the others those whose files may still be here."""
        ended = [record for record in self._state.tasks.values() if record.end_height is not None]
        ended.sort(key=lambda record: record.end_height or 0, reverse=True)
        others = ended[self._keep : self._keep + LOOK_BACK]
        return ended[: self._keep], [one for one in others if (one.end_height or 0) >= self._removed_to]

    def kept(self) -> list[tuple[Task, tuple[str, ...]]]:
        """The tasks whose files are kept, with the tables that their results name."""
        records = [*self._finished()[0], *(self._state.tasks[task] for task in self._state.queue)]
        return [(record.task, self._tables_of(record)) for record in records]

    def _needed(self, young: list[TaskRecord], pending: Iterable[Task]) -> set[str]:
        kept = [*young, *(self._state.tasks[task] for task in self._state.queue)]
        tasks = [*pending, *(record.task for record in kept)]
        tables = {table for record in kept for table in self._tables_of(record)}
        return self._at_work[1] | tables | {digest for task in tasks for digest in task.files}

    def _tables_of(self, record: TaskRecord) -> tuple[str, ...]:
        """The tables that a task's results name, those of failed attempts too."""
        known = self._tables.get(record.task.id)
        if known is not None:
            return known
        end = record.end_height or self._state.height
        first = end if record.attempt == 1 and record.end_height else record.opened_height or end
        blocks = (self._ledger.block(height) for height in range(max(1, first), end + 1))
        return tuple(
            reveal.table
            for block in blocks
            for one in block.transactions
            if isinstance(one, Result) and one.task == record.task.id
            for reveal in one.reveals
        )

    def _remove(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._store.remove(digest)
