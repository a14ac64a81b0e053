"""Which files of the store are kept: those of unfinished and pending tasks, and of the newest finished ones.

Tables of failed attempts are evidence like those of the last. The others go when their task has ended; what no result
names, such as a table that was never revealed, goes when it is a day old. Of a task that is pending no more and not on
the ledger goes what was fetched for it, and nothing else: anybody may name any digest. What the ledger says about tasks
is read here, nothing is decided.
"""

import time
from collections.abc import Collection, Iterable

from fedcoin_cli.application.node.fetched import Fetched
from fedcoin_cli.application.node.past_rounds import PastRound, Rounds
from fedcoin_cli.network.files.store import Store
from ledger_store.base.names import Digest, TaskId
from ledger_store.file.chain_file import ChainReader
from ledger_store.transaction import Task

SWEEP_EVERY_S = 3_600.0
# After a start, so many rounds that ended before it are looked at again: it may have come between end and removal.
LOOK_BACK = 64


class Housekeeping:
    """The store of one miner, of which the files of `keep_rounds` finished tasks are kept."""

    def __init__(self, ledger: ChainReader, store: Store, keep_rounds: int, fetched: Fetched) -> None:
        self._ledger, self._store, self._keep = ledger, store, keep_rounds
        self._fetched = fetched
        self._rounds = Rounds(ledger, keep_rounds + LOOK_BACK)
        self._at_work: tuple[TaskId | None, set[Digest]] = (None, set())
        self._swept_s = time.monotonic()

    def tidy(self, pending: Iterable[Task]) -> None:
        """Tasks have ended: remove what those leave behind that are no longer among the newest."""
        self._rounds.follow()
        needed = self._needed(pending)
        old = self._rounds.ended[: self._first_young]
        for one in old:
            self._remove({*one.task.files, *one.tables} - needed)
        del self._rounds.ended[: len(old)]
        now_s = time.monotonic()
        if now_s - self._swept_s >= SWEEP_EVERY_S:
            self._swept_s = now_s
            self._store.sweep(needed)

    def wanted(self, task: Task, dying: Collection[Digest] = ()) -> None:
        """A pending task's files are about to be asked for; those that are here for another reason are not its own.

        What another miner of this store fetched for a pending task is here for that reason only; what is `dying` is
        about to be deleted.
        """
        missing = {digest for digest in task.files if digest in dying or not self._store.has(digest)}
        present = set(task.files) - missing - self._fetched.digests
        self._fetched.add(missing | (present & self._fetched.elsewhere() if present else set()))

    def works_on(self, digests: Iterable[Digest]) -> None:
        """The attempt at work needs these, a table perhaps that no result names yet."""
        current = self._ledger.tip.state.current
        place = None if current is None else current.task.id
        kept = self._at_work[1] if self._at_work[0] == place else set[Digest]()
        self._at_work = (place, kept | set(digests))

    def settle(self, pending: Iterable[Task]) -> tuple[set[Digest], set[Digest]]:
        """What was fetched for tasks that are pending no more: what stays, needed by the ledger, and what must go.

        Whatever made an end of a task: its files may not stay. What another miner of this store has noted is its.
        """
        tasks = list(pending)
        loose = self._fetched.digests - {digest for task in tasks for digest in task.files}
        if not loose:
            return set(), set()
        self._rounds.follow()
        stays = loose & self._needed(tasks)
        self._fetched.drop(
            loose
        )  # before the others' are read: of two that let go at once one at least deletes
        return stays, loose - stays - self._fetched.elsewhere()

    @property
    def _first_young(self) -> int:
        """Where the newest finished tasks begin, whose files are kept."""
        return max(0, len(self._rounds.ended) - self._keep)

    def _needed(self, pending: Iterable[Task]) -> set[Digest]:
        kept: list[PastRound] = [*self._rounds.ended[self._first_young :], *self._rounds.unfinished.values()]
        tasks = [*pending, *(one.task for one in kept)]
        tables = {table for one in kept for table in one.tables}
        return self._at_work[1] | tables | {digest for task in tasks for digest in task.files}

    def _remove(self, digests: Iterable[Digest]) -> None:
        for digest in digests:
            self._store.remove(digest)
