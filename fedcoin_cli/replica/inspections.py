"""Inspections: the files of pending tasks, gathered from others and looked at by the mining child.

A task may be packed once its files are held and checked here and either all miners say the same or 3Δ have passed.
"""

from collections.abc import Iterable

from fedcoin_cli.protocol.message import CHECKED_MOST, Receipt
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.mempool import Mempool
from fedcoin_cli.replica.ports import Orders, Ports
from fedcoin_cli.replica.refusals import REASON_MOST, Refusals
from ledger_store.base.names import Address, Digest, TaskId
from ledger_store.genesis import Genesis
from ledger_store.transaction import Task

FILES_PATIENCE_MS = 600_000
DEATHS_MOST = 3


class Inspections:
    """What is known of pending tasks' files, here and at the other miners; a task whose files are bad is refused."""

    def __init__(
        self,
        genesis: Genesis,
        address: Address,
        ports: Ports,
        orders: Orders,
        mempool: Mempool,
        refusals: Refusals,
    ) -> None:
        # The network: roster and bounds.
        self._genesis = genesis
        # This miner's.
        self._address = address
        # Clocks, peers and files.
        self._ports = ports
        # Inspections that the child has not answered.
        self._orders = orders
        # The tasks that wait for a block.
        self._mempool = mempool
        # Why tasks are not taken again.
        self._refusals = refusals
        # Tasks whose inspection was ordered: the child is told when it may forget them.
        self._given: dict[TaskId, Task] = {}
        # Ids of tasks whose files are here and good: only these get a vote.
        self._checked: set[TaskId] = set()
        # Which other miners say the same of a task: when all do, nobody waits 3Δ.
        self._elsewhere: dict[TaskId, set[Address]] = {}
        # When a file of a task last came: what never comes is given up.
        self._moved: dict[TaskId, int] = {}

    # Questions --------------------------------------------------------------------------------------------------

    @property
    def checked(self) -> tuple[TaskId, ...]:
        """Pending tasks whose files are held and good."""
        return tuple(sorted(self._checked & {task.id for task in self._mempool.tasks()}))[:CHECKED_MOST]

    def has_checked(self, task: TaskId) -> bool:
        """Whether this miner may vote for a fresh block with this task."""
        return task in self._checked

    def holders(self, task: TaskId) -> frozenset[Address]:
        """Which other miners say that its files are good."""
        return frozenset(self._elsewhere.get(task, ()))

    # Inputs -----------------------------------------------------------------------------------------------------

    def gather(self, task: Task, sender: Address) -> None:
        """Have the files of a pending task fetched, and looked at once all are here."""
        if not all(map(self._ports.has_file, task.files)):
            self._checked.discard(task.id)  # it was away for a while, and its files with it
        if task.id not in self._checked:
            holders = dict.fromkeys([task.sender, sender, *self._genesis.roster])
            holders.pop(self._address, None)
            self._ports.want_files(task.files, holders, self._genesis.bounds.files_bytes, task)
        self._inspect_if_complete(task)

    def inspected(self, answer: jobs.Inspected) -> bool:
        """The child's verdict on a task's files; True when the task is good and others should know."""
        order = self._orders.done(("inspect", answer.task))
        if not isinstance(order, jobs.Inspect):
            return False
        if answer.error is None:
            self._checked.add(answer.task)
            self._mempool.task_checked(order.task, self._ports.now_ms())
            self._hurry(order.task)
            return True
        # Whoever wrote the files chose some of these letters: messages are ASCII.
        reason = answer.error.encode("ascii", "backslashreplace").decode("ascii")
        self._refuse(order.task, reason[:REASON_MOST], None)
        return False

    def child_died(self) -> None:
        """A task may be made to bring down whoever looks at it: after some deaths nobody looks again for a while."""
        until_ms = self._ports.now_ms() + FILES_PATIENCE_MS
        for task in self._mempool.tasks():
            key = ("inspect", task.id)
            if self._orders.deaths(key) >= DEATHS_MOST:
                self._orders.done(key)
                self._refuse(task, "its inspection ended the mining process", until_ms)

    def checked_elsewhere(self, miner: Address, tasks: tuple[TaskId, ...]) -> None:
        """Another miner says that it has checked these tasks."""
        pending = {task.id: task for task in self._mempool.tasks()}
        for task in pending.keys() & set(tasks):
            self._elsewhere.setdefault(task, set()).add(miner)
            self._hurry(pending[task])

    def file_arrived(self, digest: Digest) -> None:
        """The store holds `digest` now."""
        for task in self._mempool.tasks():
            if digest in task.files:
                self._moved[task.id] = self._ports.now_ms()
                self._inspect_if_complete(task)

    def applied(self, queue: Iterable[TaskId]) -> None:
        """A final block: what is neither pending nor in the chain's `queue` any more is forgotten."""
        pending = {task.id for task in self._mempool.tasks()}
        self._checked &= pending
        for memory in (self._elsewhere, self._moved):
            for task in memory.keys() - pending:
                del memory[task]
        for task in self._given.keys() - pending - set(queue):
            self._ports.order(jobs.Forget(self._given.pop(task)))

    def standstill(self) -> None:
        """Ask again for files that did not come, and give up those that never will."""
        now = self._ports.now_ms()
        for task in self._mempool.tasks():
            if task.id in self._checked or ("inspect", task.id) in self._orders:
                continue
            if now - self._moved.setdefault(task.id, now) < FILES_PATIENCE_MS:
                self.gather(task, task.sender)
            else:
                # It would hold up everything else that its account signs.
                self._refuse(task, "its files never came", now + FILES_PATIENCE_MS)

    # Inside -----------------------------------------------------------------------------------------------------

    def _inspect_if_complete(self, task: Task) -> None:
        if task.id in self._checked:  # it was pending before
            self._mempool.task_checked(task, self._ports.now_ms())
            self._hurry(task)
        elif ("inspect", task.id) not in self._orders and all(
            self._ports.has_file(digest) for digest in task.files
        ):
            self._given[task.id] = task
            self._orders.give(("inspect", task.id), jobs.Inspect(task))

    def _hurry(self, task: Task) -> None:
        """The wait of 3Δ is for miners that have not checked the files yet: without such there is no wait."""
        others = set(self._genesis.roster) - {self._address}
        if task.id in self._checked and others <= self._elsewhere.get(task.id, set()):
            self._mempool.task_ready(task, self._ports.now_ms())

    def _refuse(self, task: Task, reason: str, until_ms: int | None) -> None:
        """Forget a pending task and tell its account why."""
        self._refusals.add(task.id, reason, until_ms)
        self._moved.pop(task.id, None)
        if self._given.pop(task.id, None) is not None:
            self._ports.order(jobs.Forget(task))
        self._mempool.drop(task)
        self._ports.send(task.sender, Receipt(task.id, reason))
