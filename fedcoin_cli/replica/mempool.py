"""Pending transactions: admission, what is ready to be packed, and the trial that packs it.

A transaction waits here from its arrival until a final block holds it or the state no longer admits it. Every kind has
room of its own, so that none keeps out another. A task is ready once its files are held and checked and 3Δ have passed,
so that the others have them too.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fedcoin_cli.contract.task import check_task
from fedcoin_cli.replica.signatures import Signatures
from ledger_store.base.canonical import encode
from ledger_store.base.errors import BadSignature, PeerFault
from ledger_store.base.names import Address, MinerIndex
from ledger_store.block import Block, Certificate, make_block
from ledger_store.state import State, Transition, refuse
from ledger_store.transaction import Cancel, Close, Result, Task, Transaction, Transfer

PENDING_AN_ACCOUNT = 16
PENDING = {"transfer": 8_000, "task": 128, "cancel": 1_000}

Pendable = Transfer | Task | Cancel


@dataclass(slots=True)
class _Entry:
    transaction: Pendable
    ready_ms: int | None


class Mempool:
    """Pending transactions by sender and sequence."""

    def __init__(self, delta_ms: int) -> None:
        # The network's message delay in milliseconds: a task waits three of them.
        self._delta_ms = delta_ms
        # What waits, by account and sequence number.
        self._senders: dict[Address, dict[int, _Entry]] = {}
        # The ids of all of it.
        self._ids: set[str] = set()
        # How many wait of each kind, which has room of its own.
        self._kinds: Counter[str] = Counter()

    def __contains__(self, transaction: str) -> bool:
        return transaction in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Pendable]:
        for entries in self._senders.values():
            for _, entry in sorted(entries.items()):
                yield entry.transaction

    def admit(self, transaction: Transaction, state: State, now_ms: int, *, signed: bool = False) -> None:
        """Take a transaction that would be valid after the sender's pending ones; raises `InvalidTransaction`.

        A false signature of a client is a `BadSignature`; `signed` says that those were looked at.
        """
        refuse(isinstance(transaction, Close | Result), "only miners close and settle tasks")
        assert isinstance(transaction, Pendable)
        if transaction.id in self._ids:
            return
        self.examine(transaction, state)
        if isinstance(transaction, Task) and not signed and not _signed(transaction, state):
            raise BadSignature("a client's signature is wrong")
        ready = None if isinstance(transaction, Task) else now_ms
        self._senders.setdefault(transaction.sender, {})[transaction.sequence] = _Entry(transaction, ready)
        self._ids.add(transaction.id)
        self._kinds[transaction.kind] += 1

    def examine(self, transaction: Pendable, state: State) -> None:
        """All that keeps a transaction out but its clients' signatures, what costs least first [P-11.14] [P-11.15]."""
        entries = self._senders.get(transaction.sender, {})
        refuse(
            len(entries) >= PENDING_AN_ACCOUNT,
            f"{PENDING_AN_ACCOUNT} transactions of this account are pending",
        )
        done, number = state.sequences.get(transaction.sender, 0), transaction.sequence
        taken = number <= done or number in entries
        refuse(taken, f"sequence {number} where {done + len(entries) + 1} is next")
        full = self._kinds[transaction.kind] >= PENDING[transaction.kind]
        refuse(full, f"too many transactions of this kind are pending: {transaction.kind}")
        # Whoever holds nothing has not even its own signature looked at.
        least, balance = _least_micro(transaction, state), state.balances.get(transaction.sender, 0)
        refuse(balance < least, f"a balance of {balance} micro does not cover {least}")
        refuse(not transaction.verified(state.genesis.id), "the signature is wrong")
        if isinstance(transaction, Task):
            check_task(transaction, state.genesis)
        trial = _trial(state)
        for earlier in sorted(entries):
            trial.execute(entries[earlier].transaction)
        trial.execute(transaction)

    def at(self, sender: Address, sequence: int) -> Pendable | None:
        """What is pending of `sender` under this sequence number."""
        entry = self._senders.get(sender, {}).get(sequence)
        return None if entry is None else entry.transaction

    def tasks(self) -> list[Task]:
        """Pending tasks."""
        return [transaction for transaction in self if isinstance(transaction, Task)]

    def task_checked(self, task: Task, now_ms: int) -> None:
        """The task's files are here and good: it may be packed 3Δ from now [P-10.26]."""
        entry = self._senders.get(task.sender, {}).get(task.sequence)
        if entry is not None and entry.transaction.id == task.id and entry.ready_ms is None:
            entry.ready_ms = now_ms + 3 * self._delta_ms

    def task_ready(self, task: Task, now_ms: int) -> None:
        """All miners have checked the task's files: it may be packed at once (docs/adr/0003) [P-10.26]."""
        entry = self._senders.get(task.sender, {}).get(task.sequence)
        if entry is not None and entry.transaction.id == task.id and entry.ready_ms is not None:
            entry.ready_ms = min(entry.ready_ms, now_ms)

    def drop(self, transaction: Pendable) -> None:
        """Forget a transaction and those of its sender behind it."""
        entries = self._senders.get(transaction.sender, {})
        for sequence in [sequence for sequence in entries if sequence >= transaction.sequence]:
            self._forget(entries, sequence)
        if not entries:
            self._senders.pop(transaction.sender, None)

    def prune(self, state: State, touched: Iterable[Address]) -> None:
        """Forget what the new state holds already or admits no longer.

        Only accounts that the block touched are looked at, and those with a task or a cancellation: these depend on
        the queue, too.
        """
        moved = set(touched)
        for sender, entries in list(self._senders.items()):
            if sender not in moved and all(isinstance(one.transaction, Transfer) for one in entries.values()):
                continue
            done = state.sequences.get(sender, 0)
            for sequence in [sequence for sequence in entries if sequence <= done]:
                self._forget(entries, sequence)
            self._keep_admissible(_trial(state), [entry.transaction for _, entry in sorted(entries.items())])
            if not entries:
                self._senders.pop(sender, None)

    def _forget(self, entries: dict[int, _Entry], sequence: int) -> None:
        gone = entries.pop(sequence).transaction
        self._ids.discard(gone.id)
        self._kinds[gone.kind] -= 1

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


def _trial(state: State) -> Transition:
    """A scratch transition; signatures are checked at admission."""
    empty = make_block(state.head, state.height + 1, state.time_ms, MinerIndex(0), 0, (), None)
    return Transition(state, empty, trusted=True)


def _least_micro(transaction: Pendable, state: State) -> int:
    match transaction:
        case Transfer():
            return transaction.amount_micro
        case Task():
            return transaction.price_micro + state.genesis.bounds.task_deposit_micro
        case Cancel():
            return 0


def _signed(task: Task, state: State) -> bool:
    return Signatures(task, state.genesis.id).good(len(task.updates)) is True


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
    leader = genesis.leader(height, view)
    return make_block(state.head, height, max(least, wall_ms), leader, view, transactions, certificate)
