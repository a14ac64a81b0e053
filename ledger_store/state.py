"""The fold: block after block → balances, sequences and the life of tasks.

`apply(state, block)` is the whole state transition, a pure function that reads like sections 4 and 5 of SPEC.md.
It admits what the ledger itself can judge: signatures, sequences, funds, bounds, the task's phase, and that
an outcome pays out exactly the escrow. Whether it follows from the reveals is `contract.settlement`'s business.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ledger_store.accounts import Accounts
from ledger_store.base.canonical import write
from ledger_store.base.errors import BadSignature, InvalidTransaction, found_as, refuse
from ledger_store.base.names import Address, BlockId, TaskId
from ledger_store.base.words import TaskState
from ledger_store.block import Block
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import Verify, framed, verify_bytes
from ledger_store.layered import editable
from ledger_store.task_record import (
    UNFINISHED,
    TaskRecord,
    check_terms,
    eligible_refusals,
    opening_seed,
    served_by,
)
from ledger_store.transaction import (
    Cancel,
    Close,
    Commit,
    Outcome,
    Result,
    Task,
    Transaction,
    Transfer,
    commit_terms,
)

__all__ = [
    "UNFINISHED",
    "State",
    "TaskRecord",
    "Transition",
    "apply",
    "check_header",
    "check_order",
    "check_terms",
    "eligible_refusals",
    "initial",
    "opening_seed",
    "refuse",
    "served_by",
]


_NOWHERE = BlockId("")


@dataclass(frozen=True)
class State:
    """What the chain up to `head` leaves for the blocks after it; treat the mappings as frozen.

    `tasks` are the unfinished ones, in the order of their coming. Of a task that has ended nothing is left but its
    coins and, if it was ever opened, its call in `served` (a call serves once) with the height that opened it. `ended`
    are the tasks that the block `head` itself ended, as they ended: `history` and other readers collect them.
    `withheld` are the miners that the next task's commits refuse: they are known to have withheld their reveals.
    (docs/adr/0035)
    """

    genesis: Genesis
    """The network: its bounds decide what the next block may hold."""
    height: int = 0
    """The head's height."""
    head: BlockId = _NOWHERE
    """The head's id, which the next block must name."""
    time_ms: int = 0
    """The head's time, before which no later block may be."""
    balances: Mapping[Address, int] = field(default_factory=dict)
    """Micro-FedCoin by address; an account without coins is not listed."""
    sequences: Mapping[Address, int] = field(default_factory=dict)
    """The last sequence number that each account used: it never goes back, even of an empty account."""
    tasks: Mapping[TaskId, TaskRecord] = field(default_factory=dict)
    """The unfinished tasks by id, the one at work first."""
    ended: tuple[TaskRecord, ...] = ()
    """The tasks that the head itself ended, for whoever follows a chain."""
    withheld: frozenset[Address] = frozenset()
    """Miners that the next task's commits refuse."""
    served: Mapping[str, int] = field(default_factory=dict)
    """The calls that were used up, and the height at which each was."""

    @property
    def queue(self) -> tuple[TaskId, ...]:
        """The ids of the unfinished tasks, the one at work first."""
        return tuple(self.tasks)

    @property
    def current(self) -> TaskRecord | None:
        """The task that miners work on: OPEN or CLOSED."""
        return next(iter(self.tasks.values()), None)

    @property
    def total_micro(self) -> int:
        """Balances and escrow together: always the supply."""
        return sum(self.balances.values()) + _escrow_micro(self.tasks)

    def record(self, task: TaskId) -> TaskRecord:
        """An unfinished task, or one that the last block ended; raises `KeyError` for any other."""
        return self.tasks[task] if task in self.tasks else {one.task.id: one for one in self.ended}[task]


def initial(genesis: Genesis) -> State:
    """The state that genesis mints [P-4.1] [P-14.3]."""
    return State(genesis, 0, genesis.id, genesis.time_ms, dict(genesis.supply))


CODES = {"transfer": "E403", "task": "E404", "cancel": "E405", "close": "E406", "result": "E407"}
"""The finding that a transaction of each kind makes when the state does not admit it."""


def apply(state: State, block: Block, *, trusted: bool = False, verify: Verify = verify_bytes) -> State:
    """The state after `block`; raises `InvalidTransaction` when the block is not admissible on `state`.

    Raises `BadSignature` when a signature in it is wrong; either carries its finding's code. `verify` looks at a
    signature, at once or later. `trusted` leaves the signatures out: for the node's own file, whose blocks were checked
    before they were appended. [P-4.14]
    """
    with found_as("E401"):
        check_header(state, block)
    with found_as("E402"):
        check_order(state, block.transactions)
    transition = Transition(state, block, trusted, verify)
    for transaction in block.transactions:
        transition.execute(transaction)
    return transition.close_block()


def check_header(state: State, block: Block) -> None:
    """Height, link, turn, time and size; raises `InvalidTransaction`.

    (docs/adr/0005) [P-10.1] [P-13.5] [P-13.6] [P-13.7] [P-13.8]
    """
    genesis, header = state.genesis, block.header
    refuse(header.height != state.height + 1, f"height {header.height} does not follow {state.height}")
    refuse(header.parent != state.head, f"block {header.height} does not link to its parent")
    leader = genesis.leader(header.height, header.view)
    refuse(header.proposer != leader, f"block {header.height} was proposed out of turn")
    least = state.time_ms + (genesis.bounds.block_interval_ms if state.height else 0)
    refuse(header.time_ms < least, f"block {header.height} is too early after its parent")
    refuse((block.certificate is None) != (header.height == 1), f"block {header.height} lacks a certificate")
    refuse(not block.transactions, f"block {header.height} is empty")
    most = genesis.bounds.transactions_a_block
    refuse(len(block.transactions) > most, f"block {header.height} is too long")
    refuse(len(block.line) > genesis.bounds.block_bytes, f"block {header.height} is too large")


def check_order(state: State, transactions: Iterable[Transaction]) -> None:
    """Signed transactions sorted by (sender, sequence), few an account; then at most one close or result.

    [P-4.12] [P-4.13]
    """
    keys: list[tuple[str, int]] = []
    ended = False
    for transaction in transactions:
        refuse(ended, "nothing may follow a close or a result")
        if isinstance(transaction, Close | Result):
            ended = True
            continue
        keys.append((transaction.sender, transaction.sequence))
    refuse(keys != sorted(keys), "transactions are not ordered by sender and sequence")
    most = state.genesis.bounds.transactions_an_account
    if len(keys) > most:
        busiest = max(Counter(sender for sender, _ in keys).values())
        refuse(busiest > most, f"more than {most} transactions of one account")


class Transition:
    """The editable view that one block works on; leaders also try pending transactions on one."""

    def __init__(self, state: State, block: Block, trusted: bool, verify: Verify = verify_bytes) -> None:
        # What is applied; leaders try pending transactions on an empty one.
        self._block = block
        # Whether signatures are left out: the node's own file was checked before it was written.
        self._trusted = trusted
        # Looks at a signature, at once or in a batch later.
        self._verify = verify
        # Whose bounds everything keeps to.
        self._genesis = state.genesis
        # Who holds how much.
        self._accounts = Accounts(state.balances, state.genesis.bounds.least_transfer_micro)
        # Escrow before the block, to tell whether coins were made or lost.
        self._escrow_before_micro = _escrow_micro(state.tasks)
        # A layer over the parent's.
        self._sequences = editable(state.sequences)
        # The unfinished ones, the oldest first.
        self._tasks = dict(state.tasks)
        # What this block ends, for whoever follows the chain.
        self._ended: list[TaskRecord] = []
        # Who is refused by the next task that opens.
        self._withheld = state.withheld
        # A layer over the parent's.
        self._served = editable(state.served)

    def execute(self, transaction: Transaction) -> None:
        """Take one transaction; raises `InvalidTransaction` or `BadSignature`, having changed nothing [P-4.16]."""
        with found_as(CODES[transaction.kind]):
            self._take(transaction)
        if isinstance(transaction, Transfer | Task | Cancel):
            self._sequences[transaction.sender] = transaction.sequence

    def _take(self, transaction: Transaction) -> None:
        match transaction:
            case Transfer():
                self._authorise(transaction)
                self._transfer(transaction)
            case Task():
                self._authorise(transaction)
                self._enqueue(transaction)
            case Cancel():
                self._authorise(transaction)
                self._cancel(transaction)
            case Close():
                self._close(transaction)
            case Result():
                self._result(transaction)

    def close_block(self) -> State:
        """Open the oldest queued task, check that no coin was made or lost, and return the new state.

        [P-4.2] [P-5.16]
        """
        header, oldest = self._block.header, self._oldest
        if oldest is not None and oldest.state == TaskState.QUEUED:
            opened = replace(
                oldest,
                state=TaskState.OPEN,
                seed=opening_seed(oldest.task.id, header.parent),
                opened_height=header.height,
                refused=self._withheld,
            )
            self._put(opened)
            self._withheld = frozenset()
            self._served[served_by(opened.task)] = header.height
        # Balances are only told apart from before: adding all of them up at every block would cost more than the rest.
        escrow_micro = _escrow_micro(self._tasks)
        assert self._accounts.minted_micro + escrow_micro == self._escrow_before_micro, "money is conserved"
        return State(
            self._genesis,
            header.height,
            header.id,
            header.time_ms,
            self._accounts.balances.settled(),
            self._sequences.settled(),
            self._tasks,
            tuple(self._ended),
            self._withheld,
            self._served.settled(),
        )

    @property
    def _oldest(self) -> TaskRecord | None:
        return next(iter(self._tasks.values()), None)

    # Rules [P-4.5] [P-4.6].
    def _authorise(self, transaction: Transfer | Task | Cancel) -> None:
        expected = self._sequences.get(transaction.sender, 0) + 1
        refuse(transaction.sequence != expected, f"sequence {transaction.sequence} where {expected} is next")
        message = framed(transaction.kind, self._genesis.id, transaction.signed_part)
        self._require(transaction.sender, transaction.kind, message, transaction.signature)

    # Rule [P-4.9].
    def _transfer(self, transfer: Transfer) -> None:
        least = self._genesis.bounds.least_transfer_micro
        refuse(transfer.amount_micro < least, f"a transfer below {least} micro")
        self._accounts.debit(transfer.sender, transfer.amount_micro)
        self._accounts.credit(transfer.to, transfer.amount_micro)

    # Rule [P-5.13].
    def _enqueue(self, task: Task) -> None:
        deposit_micro = self._genesis.bounds.task_deposit_micro
        check_terms(task, self._genesis)
        self._check_queue(task)
        self._accounts.require(task.sender, task.price_micro + deposit_micro)
        # Last, for they are what costs: only who can pay has them looked at.
        for update in task.updates:
            self._signed(update.client, "update", task.update_terms(update), update.signature)
        self._accounts.debit(task.sender, task.price_micro + deposit_micro)
        self._put(TaskRecord(task.lean(), self._block.height, deposit_micro=deposit_micro))

    def _check_queue(self, task: Task) -> None:
        """Whether its call is fresh, and room for it; a task that is cancelled was never opened and frees its call.

        (docs/adr/0024) [P-5.4] [P-5.15]
        """
        bounds, queued = self._genesis.bounds, [record.task for record in self._tasks.values()]
        served = served_by(task) in self._served or served_by(task) in map(served_by, queued)
        refuse(served, "this call has served: a task of it was published")
        mine = sum(one.sender == task.sender for one in queued)
        refuse(mine >= bounds.unfinished_an_account, "this account has an unfinished task")
        refuse(len(queued) >= bounds.unfinished, "too many unfinished tasks")

    # Rule [P-4.15].
    def _cancel(self, cancel: Cancel) -> None:
        record = self._tasks.get(cancel.task)
        if record is None:
            raise InvalidTransaction("no such task is unfinished")
        refuse(record.task.sender != cancel.sender, "only its requester can cancel a task")
        refuse(record.state != TaskState.QUEUED, f"a task that is {record.state} cannot be cancelled")
        self._accounts.credit(cancel.sender, record.task.price_micro)
        self._end(record, TaskState.CANCELLED)

    def _close(self, close: Close) -> None:
        record = self._attempt(close.task, close.attempt, TaskState.OPEN)
        miners = [commit.miner for commit in close.commits]
        refuse(miners != sorted(set(miners)), "commits are not sorted, one a miner")
        refuse((close.outcome is None) != bool(close.commits), "a close has commits or an outcome")
        for commit in close.commits:
            self._check_commit(record, close, commit)
        if close.outcome is None:
            self._put(replace(record, state=TaskState.CLOSED, commits=close.commits))
            return
        refuse(close.outcome.state == TaskState.SETTLED, "a close without commits settles nothing")
        self._conclude(record, close.outcome)

    # Rule [P-8.9].
    def _check_commit(self, record: TaskRecord, close: Close, commit: Commit) -> None:
        refuse(commit.miner not in self._genesis.roster, "a commit by nobody on the roster")
        refuse(commit.miner in eligible_refusals(record), "a commit by a miner that is refused here")
        terms = commit_terms(close.task, close.attempt, commit.digest)
        self._signed(commit.miner, "commit", terms, commit.signature)

    # Rules [P-8.26] [P-8.27].
    def _result(self, result: Result) -> None:
        record = self._attempt(result.task, result.attempt, TaskState.CLOSED)
        clients = record.task.clients
        refuse(any(len(reveal.sums) != clients for reveal in result.reveals), "sums of a wrong length")
        miners = [reveal.miner for reveal in result.reveals]
        refuse(miners != sorted(set(miners)), "reveals are not sorted, one a miner")
        cheats = [fraud.miner for fraud in result.frauds]
        refuse(cheats != sorted(set(cheats)), "frauds are not sorted, one a miner")
        refuse(not set(cheats) <= set(miners), "a fraud names no included reveal")
        committed = {commit.miner: commit.digest for commit in record.commits}
        for reveal in result.reveals:
            opened = reveal.commitment(result.task, result.attempt)
            refuse(committed.get(reveal.miner) != opened, "a reveal that opens no commit")
            self._signed(reveal.miner, "reveal", reveal.terms(result.task, result.attempt), reveal.signature)
        honest = [reveal for reveal in result.reveals if reveal.miner not in cheats]
        honest.sort(key=lambda reveal: self._genesis.index_of(reveal.miner))
        good = tuple((reveal.miner, reveal.rankings) for reveal in honest)
        record = replace(record, frauds=record.frauds | set(cheats), verified=good or record.verified)
        self._conclude(record, result.outcome)
        if honest:
            self._bar(frozenset(committed) - frozenset(miners))

    def _bar(self, silent: frozenset[Address]) -> None:
        """Who committed and did not reveal, beside somebody whose reveal all could verify, is out of the next task.

        More than f who are silent are no liars but a network, disk or bound that failed: then nobody is known to have
        withheld anything. So no sequence of results bars more than f. (docs/adr/0025) [P-8.35]
        """
        withheld = self._withheld | silent
        if len(withheld) <= self._genesis.faults:
            self._withheld = withheld

    # Rules [P-8.8] [P-8.25].
    def _attempt(self, task: TaskId, attempt: int, state: TaskState) -> TaskRecord:
        current = self._oldest
        if current is None or current.task.id != task:
            raise InvalidTransaction("no such task at work")
        refuse((current.attempt, current.state) != (attempt, state), f"attempt {attempt} is not {state}")
        return current

    # Rules [P-9.9] [P-9.15].
    def _conclude(self, record: TaskRecord, outcome: Outcome) -> None:
        pay, task = outcome.pay, record.task
        refuse(len(pay.clients) != task.clients, "payments of a wrong length")
        last = record.attempt >= task.attempts
        refuse(outcome.state == TaskState.OPEN and last, "no attempt is left")
        refuse(outcome.state == TaskState.REFUNDED and not last, "an attempt is left")
        refuse(
            pay.total != (0 if outcome.state == TaskState.OPEN else task.price_micro),
            "payments that are not the price",
        )
        strangers = {miner for miner, _ in pay.miners} - set(self._genesis.roster)
        refuse(bool(strangers), "a payment to nobody on the roster")
        if outcome.state == TaskState.OPEN:
            self._put(replace(record, state=TaskState.OPEN, attempt=record.attempt + 1, commits=()))
            return
        self._pay(task, outcome)
        self._end(record, outcome.state)

    def _pay(self, task: Task, outcome: Outcome) -> None:
        pay = outcome.pay
        for owner, micro in zip(task.owners, pay.clients, strict=True):
            self._accounts.credit(owner, micro)
        self._accounts.credit(task.server, pay.server)
        for miner, micro in pay.miners:
            self._accounts.credit(miner, micro)
        self._accounts.credit(task.sender, pay.requester)

    # Rules [P-5.14] [P-5.18].
    def _end(self, record: TaskRecord, state: TaskState) -> None:
        self._accounts.credit(record.task.sender, record.deposit_micro)
        # What was sealed stands in the close.
        self._ended.append(replace(record, state=state, end_height=self._block.height, commits=()))
        del self._tasks[record.task.id]

    def _signed(self, address: Address, kind: str, fields: Mapping[str, Any], signature: str) -> None:
        if not self._trusted:
            self._require(address, kind, framed(kind, self._genesis.id, write(fields)), signature)

    def _require(self, address: Address, kind: str, message: bytes, signature: str) -> None:
        if not self._trusted and not self._verify(address, message, signature):
            raise BadSignature(f"the {kind} of {address[:16]} does not carry its signature", code="E303")

    def _put(self, record: TaskRecord) -> None:
        self._tasks[record.task.id] = record


def _escrow_micro(tasks: Mapping[TaskId, TaskRecord]) -> int:
    return sum(record.escrow_micro for record in tasks.values())
