"""Intake: what comes to be packed. Transactions are admitted and passed on; a task's files are gathered and inspected.

What costs is done late and in slices: a task of many clients is admitted some turns after it came, one a peer.
A task may be packed once its files are held and checked here and either all miners say the same or 3Δ have passed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

from fedcoin_cli.protocol.message import CHECKED_MOST, Receipt, TransactionNote
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.mempool import Mempool, Pendable
from fedcoin_cli.replica.ports import Ledger, Orders, Ports
from fedcoin_cli.replica.signatures import SIGNATURES_A_TURN, Signatures, Waits
from ledger_store.base.canonical import encode
from ledger_store.base.errors import BadSignature, PeerFault
from ledger_store.base.names import Address, Digest, TaskId
from ledger_store.block import Block
from ledger_store.genesis import Genesis
from ledger_store.transaction import Close, Result, Task, Transaction, Transfer

REASON_MOST = 400
REFUSALS_KEPT = 1_000
FILES_PATIENCE_MS = 600_000
DEATHS_MOST = 3
# What a miner says again of its pending transactions at one standstill.
REMINDED_BYTES = 2**18


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a task is not taken; `until_ms` None: for good."""

    reason: str
    until_ms: int | None

    def holds(self, now_ms: int) -> bool:
        return self.until_ms is None or now_ms < self.until_ms


class Intake:
    """Pending transactions and the files that tasks among them need; `leader` says who proposes next."""

    def __init__(
        self,
        genesis: Genesis,
        address: Address,
        ledger: Ledger,
        ports: Ports,
        orders: Orders,
        leader: Callable[[], Address],
    ) -> None:
        # What waits for a block.
        self.mempool = Mempool(genesis.delta_ms)
        # The network: roster and bounds.
        self._genesis = genesis
        # This miner's.
        self._address = address
        # Whose tip decides what is admissible.
        self._ledger = ledger
        # Clocks, peers and files.
        self._ports = ports
        # Inspections that the child has not answered.
        self._orders = orders
        # Says who proposes next: transfers go there alone.
        self._leader = leader
        # Tasks whose inspection was ordered: the child is told when it may forget them.
        self._given: dict[TaskId, Task] = {}
        # Ids of tasks whose files are here and good: only these get a vote.
        self._checked: set[TaskId] = set()
        # Which other miners say the same of a task: when all do, nobody waits 3Δ.
        self._elsewhere: dict[TaskId, set[Address]] = {}
        # Why tasks are not taken again, the newest thousand.
        self._refused: dict[TaskId, _Refusal] = {}
        # When a file of a task last came: what never comes is given up.
        self._moved: dict[TaskId, int] = {}
        # Tasks whose clients' signatures are being looked at, one a peer.
        self._verifying: dict[Address, Signatures] = {}
        # Accounts that have to wait since they signed for a false signature.
        self._waits = Waits()
        # How many transactions were said again so far: the next standstill goes on there.
        self._reminded = 0

    @property
    def checked(self) -> tuple[TaskId, ...]:
        """Pending tasks whose files are held and good."""
        return tuple(sorted(self._checked & {task.id for task in self.mempool.tasks()}))[:CHECKED_MOST]

    def has_checked(self, task: TaskId) -> bool:
        """Whether this miner may vote for a fresh block with this task."""
        return task in self._checked

    def receive(self, sender: Address, transaction: Transaction) -> None:
        """A transaction from a peer or an account: answer an account, pass on what is new."""
        if isinstance(transaction, Close | Result):
            return
        known = transaction.id in self.mempool
        if not known and self._is_long(transaction):
            error = self._begin(transaction, sender)
            if error is not None:
                self._answer(sender, transaction, error)
            return
        error = self._admit(transaction, sender)
        self._answer(sender, transaction, error)
        if error is None and not known:
            self._pass_on(sender, transaction)

    @property
    def is_verifying(self) -> bool:
        """Whether signatures of a task wait to be looked at."""
        return bool(self._verifying)

    def verify(self) -> None:
        """Look at some signatures of the task whose turn it is; when it is done, admit or refuse it [P-11.15]."""
        if not self._verifying:
            return
        sender = next(iter(self._verifying))
        signatures = self._verifying.pop(sender)
        good = signatures.good(SIGNATURES_A_TURN)
        if good is None:
            self._verifying[sender] = signatures
            return
        task = signatures.task
        error = self._admit(task, sender, signed=True) if good else self._accuse(task)
        self._answer(sender, task, error)
        if error is None:
            self._pass_on(sender, task)

    def learn(self, block: Block, sender: Address) -> None:
        """A proposal is gossip too: its tasks' files must be fetched and checked before the vote.

        An account that signs two things with one sequence number must not divide the miners: the proposed one counts.
        (docs/adr/0007, docs/adr/0022) [P-11.19]
        """
        for transaction in block.transactions:
            if isinstance(transaction, Close | Result) or transaction.id in self.mempool:
                continue
            rival = self.mempool.at(transaction.sender, transaction.sequence)
            if (
                rival is not None
                and not self._is_refused(transaction)
                and transaction.verified(self._genesis.id)
            ):
                self.mempool.drop(rival)
            if self._is_long(transaction):
                self._begin(transaction, sender)
            else:
                self._admit(transaction, sender)

    def inspected(self, answer: jobs.Inspected) -> bool:
        """The child's verdict on a task's files; True when the task is good and others should know."""
        order = self._orders.done(("inspect", answer.task))
        if not isinstance(order, jobs.Inspect):
            return False
        if answer.error is None:
            self._checked.add(answer.task)
            self.mempool.task_checked(order.task, self._ports.now_ms())
            self._hurry(order.task)
            return True
        # Whoever wrote the files chose some of these letters: messages are ASCII.
        reason = answer.error.encode("ascii", "backslashreplace").decode("ascii")
        self._refuse(order.task, _Refusal(reason[:REASON_MOST], None))
        return False

    def child_died(self) -> None:
        """A task may be made to bring down whoever looks at it: after some deaths nobody looks again for a while."""
        until_ms = self._ports.now_ms() + FILES_PATIENCE_MS
        for task in self.mempool.tasks():
            key = ("inspect", task.id)
            if self._orders.deaths(key) >= DEATHS_MOST:
                self._orders.done(key)
                self._refuse(task, _Refusal("its inspection ended the mining process", until_ms))

    def checked_elsewhere(self, miner: Address, tasks: tuple[TaskId, ...]) -> None:
        """Another miner says that it has checked these tasks."""
        pending = {task.id: task for task in self.mempool.tasks()}
        for task in pending.keys() & set(tasks):
            self._elsewhere.setdefault(task, set()).add(miner)
            self._hurry(pending[task])

    def file_arrived(self, digest: Digest) -> None:
        """The store holds `digest` now."""
        for task in self.mempool.tasks():
            if digest in task.files:
                self._moved[task.id] = self._ports.now_ms()
                self._inspect_if_complete(task)

    def applied(self, block: Block) -> None:
        """A final block took some transactions and may have made others impossible."""
        state = self._ledger.tip.state
        self.mempool.prune(state, self._touched(block))
        pending = {task.id for task in self.mempool.tasks()}
        self._checked &= pending
        for memory in (self._elsewhere, self._moved):
            for task in memory.keys() - pending:
                del memory[task]
        for task in self._given.keys() - pending - set(state.queue):
            self._ports.order(jobs.Forget(self._given.pop(task)))

    def standstill(self) -> None:
        """Pass on what is pending; ask again for files that did not come."""
        self._remind()
        now = self._ports.now_ms()
        for task in self.mempool.tasks():
            if task.id in self._checked or ("inspect", task.id) in self._orders:
                continue
            if now - self._moved.setdefault(task.id, now) < FILES_PATIENCE_MS:
                self._gather(task, task.sender)
            else:
                # It would hold up everything else that its account signs.
                self._refuse(task, _Refusal("its files never came", now + FILES_PATIENCE_MS))

    def _pass_on(self, sender: Address, transaction: Pendable) -> None:
        """A task to all, whose files take time; the rest to who proposes next: all hear at standstill what still waits.

        Told to everybody by everybody, a transfer among R miners would be R² messages. (docs/adr/0019) [P-11.17]
        """
        note, leader = TransactionNote(transaction), self._leader()
        if isinstance(transaction, Task):
            self._ports.broadcast(note)
        elif leader not in {self._address, sender}:
            self._ports.send(leader, note)

    def _remind(self) -> None:
        """Say again what is pending, in turn and within a budget, but no task to those who say that they have it.

        (docs/adr/0032) [P-11.18]
        """
        waiting = list(self.mempool)
        others = [miner for miner in self._genesis.roster if miner != self._address]
        room, first = REMINDED_BYTES, self._reminded % len(waiting) if waiting else 0
        for count, transaction in enumerate(waiting[first:] + waiting[:first]):
            room -= len(encode(transaction.to_json()))
            if count and room < 0:
                break
            self._reminded += 1
            have = self._elsewhere.get(transaction.id, set()) if isinstance(transaction, Task) else set()
            for miner in others:
                if miner not in have:
                    self._ports.send(miner, TransactionNote(transaction))

    def _touched(self, block: Block) -> set[Address]:
        """Whose balance, sequence or tasks the block has changed."""
        touched: set[Address] = set()
        for transaction in block.transactions:
            if isinstance(transaction, Close | Result):
                task = self._ledger.tip.state.record(transaction.task).task
                touched |= {task.sender, task.server, *self._genesis.roster}
                touched |= {update.client for update in task.updates}
            else:
                touched |= {
                    transaction.sender,
                    *([transaction.to] if isinstance(transaction, Transfer) else []),
                }
        return touched

    def _answer(self, sender: Address, transaction: Pendable, error: str | None) -> None:
        if sender not in self._genesis.roster:
            self._ports.send(sender, Receipt(transaction.id, error))

    @staticmethod
    def _is_long(transaction: Pendable) -> TypeGuard[Task]:
        return isinstance(transaction, Task) and len(transaction.updates) > SIGNATURES_A_TURN

    def _begin(self, task: Task, sender: Address) -> str | None:
        """Have its clients' signatures looked at, turn by turn, if nothing else is wrong with it; say what is."""
        if any(other.task.id == task.id for other in self._verifying.values()):
            return None
        error = self._barred(task)
        if error is not None:
            return error
        if sender in self._verifying:
            return "another task that came this way is being verified: send this one later"
        try:
            self.mempool.examine(task, self._ledger.tip.state)
        except PeerFault as fault:
            return fault.message[:REASON_MOST]
        self._verifying[sender] = Signatures(task, self._genesis.id)
        return None

    def _accuse(self, task: Task) -> str:
        """A client's signature is false, and the account has signed that it is there."""
        now = self._ports.now_ms()
        self._waits.add(task.sender, now)
        reason = "a client's signature is wrong"
        self._note(task, _Refusal(reason, None))
        return reason

    def _barred(self, transaction: Pendable) -> str | None:
        """Why it is not even looked at."""
        if not isinstance(transaction, Task):
            return None
        if self._is_refused(transaction):
            return self._refused[transaction.id].reason
        left_ms = self._waits.left_ms(transaction.sender, self._ports.now_ms())
        seconds = (left_ms + 999) // 1_000
        return f"a task of this account had a false signature: wait {seconds} s" if left_ms else None

    def _admit(self, transaction: Pendable, sender: Address, *, signed: bool = False) -> str | None:
        """Take it, or say why not."""
        if transaction.id not in self.mempool and (error := self._barred(transaction)) is not None:
            return error
        try:
            self.mempool.admit(transaction, self._ledger.tip.state, self._ports.now_ms(), signed=signed)
        except BadSignature:
            assert isinstance(transaction, Task)
            return self._accuse(transaction)
        except PeerFault as error:
            return error.message[:REASON_MOST]
        if isinstance(transaction, Task):
            self._gather(transaction, sender)
        return None

    def _is_refused(self, transaction: Pendable) -> bool:
        refusal = self._refused.get(transaction.id) if isinstance(transaction, Task) else None
        return refusal is not None and refusal.holds(self._ports.now_ms())

    def _refuse(self, task: Task, refusal: "_Refusal") -> None:
        """Forget a pending task and tell its account why."""
        self._note(task, refusal)
        self._moved.pop(task.id, None)
        if self._given.pop(task.id, None) is not None:
            self._ports.order(jobs.Forget(task))
        self.mempool.drop(task)
        self._ports.send(task.sender, Receipt(task.id, refusal.reason))

    def _note(self, task: Task, refusal: "_Refusal") -> None:
        if len(self._refused) >= REFUSALS_KEPT:
            del self._refused[next(iter(self._refused))]
        self._refused[task.id] = refusal

    def _gather(self, task: Task, sender: Address) -> None:
        if not all(map(self._ports.has_file, task.files)):
            self._checked.discard(task.id)  # it was away for a while, and its files with it
        if task.id not in self._checked:
            holders = dict.fromkeys([task.sender, sender, *self._genesis.roster])
            holders.pop(self._address, None)
            self._ports.want_files(task.files, holders, self._genesis.bounds.files_bytes, task)
        self._inspect_if_complete(task)

    def _inspect_if_complete(self, task: Task) -> None:
        if task.id in self._checked:  # it was pending before
            self.mempool.task_checked(task, self._ports.now_ms())
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
            self.mempool.task_ready(task, self._ports.now_ms())
