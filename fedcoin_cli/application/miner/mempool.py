"""Pending transactions: admission, what is ready to be packed, and the trial that packs it.

A transaction waits here from its arrival until a final block holds it or the state no longer admits it. A task is
ready once its files are held and checked and 3Δ have passed, so that the others have them too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fedcoin_cli.contract.task import check_task
from ledger_store.block import Block, Certificate, make_block
from ledger_store.canonical import encode
from ledger_store.errors import PeerFault
from ledger_store.state import State, Transition, refuse
from ledger_store.transaction import Cancel, Close, Result, Task, Transaction, Transfer

PENDING_AN_ACCOUNT = 16
PENDING = 10_000

Pendable = Transfer | Task | Cancel


@dataclass(slots=True)
class _Entry:
    transaction: Pendable
    ready_ms: int | None


class Mempool:
    """Pending transactions by sender and sequence."""

    def __init__(self, delta_ms: int) -> None:
        self._delta_ms = delta_ms
        self._senders: dict[str, dict[int, _Entry]] = {}
        self._ids: set[str] = set()

    def __contains__(self, transaction: str) -> bool:
        return transaction in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Pendable]:
        for entries in self._senders.values():
            for _, entry in sorted(entries.items()):
                yield entry.transaction

    def admit(self, transaction: Transaction, state: State, now_ms: int) -> None:
        """Take a transaction that would be valid after the sender's pending ones; raises `InvalidTransaction`."""
        refuse(isinstance(transaction, Close | Result), "only miners close and settle tasks")
        assert isinstance(transaction, Pendable)
        if transaction.id in self._ids:
            return
        entries = self._senders.get(transaction.sender, {})
        refuse(
            len(entries) >= PENDING_AN_ACCOUNT,
            f"{PENDING_AN_ACCOUNT} transactions of this account are pending",
        )
        refuse(len(self._ids) >= PENDING, "too many transactions are pending")
        refuse(not transaction.verified(state.genesis.id), "the signature is wrong")
        if isinstance(transaction, Task):
            check_task(transaction, state.genesis)
        trial = _trial(state, trusted=not isinstance(transaction, Task))
        for earlier in sorted(entries):
            trial.execute(entries[earlier].transaction)
        trial.execute(transaction)
        ready = None if isinstance(transaction, Task) else now_ms
        self._senders.setdefault(transaction.sender, {})[transaction.sequence] = _Entry(transaction, ready)
        self._ids.add(transaction.id)

    def at(self, sender: str, sequence: int) -> Pendable | None:
        """What is pending of `sender` under this sequence number."""
        entry = self._senders.get(sender, {}).get(sequence)
        return None if entry is None else entry.transaction

    def tasks(self) -> list[Task]:
        """Pending tasks."""
        return [transaction for transaction in self if isinstance(transaction, Task)]

    def task_checked(self, task: Task, now_ms: int) -> None:
        """The task's files are here and good: it may be packed 3Δ from now."""
        entry = self._senders.get(task.sender, {}).get(task.sequence)
        if entry is not None and entry.transaction.id == task.id and entry.ready_ms is None:
            entry.ready_ms = now_ms + 3 * self._delta_ms

    def task_ready(self, task: Task, now_ms: int) -> None:
        """All miners have checked the task's files: it may be packed at once."""
        entry = self._senders.get(task.sender, {}).get(task.sequence)
        if entry is not None and entry.transaction.id == task.id and entry.ready_ms is not None:
            entry.ready_ms = min(entry.ready_ms, now_ms)

    def drop(self, transaction: Pendable) -> None:
        """Forget a transaction and those of its sender behind it."""
        entries = self._senders.get(transaction.sender, {})
        for sequence in [sequence for sequence in entries if sequence >= transaction.sequence]:
            self._ids.discard(entries.pop(sequence).transaction.id)

    def prune(self, state: State) -> None:
        """Forget what the new state holds already or admits no longer."""
        for sender, entries in list(self._senders.items()):
            done = state.sequences.get(sender, 0)
            for sequence in [sequence for sequence in entries if sequence <= done]:
                self._ids.discard(entries.pop(sequence).transaction.id)
        trial = _trial(state)
        for sender in sorted(self._senders):
            waiting = [entry.transaction for _, entry in sorted(self._senders[sender].items())]
            if not all(_admits(trial, transaction) for transaction in waiting):
                self._keep_admissible(_trial(state), waiting)  # another's debit may be to blame: try it alone
            if not self._senders[sender]:
                del self._senders[sender]

    def _keep_admissible(self, trial: Transition, waiting: list[Pendable]) -> None:
        for transaction in waiting:
            if not _admits(trial, transaction):
                self.drop(transaction)
                return

    @property
    def armed(self) -> bool:
        """Whether something here waits for a block: an account's next transaction, a task once it is checked.

        What stands behind an unchecked task can be in no block: it must not make an idle chain burn views.
        """
        heads = (entries[min(entries)] for entries in self._senders.values() if entries)
        return any(head.ready_ms is not None for head in heads)

    def next_ready_ms(self, now_ms: int) -> int | None:
        """When the next task becomes packable, None when nothing waits for that."""
        if not self._senders:
            return None
        times = (entry.ready_ms for entries in self._senders.values() for entry in entries.values())
        return min((time for time in times if time is not None and time > now_ms), default=None)

    def pack(self, state: State, now_ms: int, *, tasks: bool, room_bytes: int) -> list[Pendable]:
        """What fits into a block on `state`, ordered by sender and sequence."""
        bounds = state.genesis.bounds
        trial, used = _trial(state), 0
        chosen: list[Pendable] = []
        for sender in sorted(self._senders):
            for count, (_, entry) in enumerate(sorted(self._senders[sender].items()), 1):
                item = entry.transaction
                ready = entry.ready_ms is not None and entry.ready_ms <= now_ms
                if (
                    count > bounds.transactions_an_account
                    or not ready
                    or (isinstance(item, Task) and not tasks)
                ):
                    break
                size = len(encode(item.to_json()))
                if len(chosen) + 2 > bounds.transactions_a_block or used + size > room_bytes:
                    return chosen
                if not _admits(trial, item):
                    break
                chosen.append(item)
                used += size
        return chosen


def _trial(state: State, *, trusted: bool = True) -> Transition:
    """A scratch transition; signatures were checked at admission."""
    empty = make_block(state.head, state.height + 1, state.time_ms, 0, 0, (), None)
    return Transition(state, empty, trusted)


def _admits(trial: Transition, transaction: Pendable) -> bool:
    try:
        trial.execute(transaction)
    except PeerFault:
        return False
    return True


def fresh_block(
    state: State, certificate: Certificate | None, view: int, transactions: list[Transaction], wall_ms: int
) -> Block:
    """A block on `state` for (next height, `view`), its time not before the ledger's least interval."""
    genesis, height = state.genesis, state.height + 1
    least = state.time_ms + (genesis.bounds.block_interval_ms if state.height else 0)
    leader = (height + view) % len(genesis.roster)
    return make_block(state.head, height, max(least, wall_ms), leader, view, transactions, certificate)
