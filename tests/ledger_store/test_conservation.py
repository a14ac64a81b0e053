"""Money is conserved, and forgetting changes no verdict: random scripts of good and bad transactions, by Hypothesis.

The script remembers every task that there ever was; what it expects of a call that comes again, and of whatever is
tried on an ended task, follows from that.
"""

from chains import ChainMaker, key
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ledger_store.base.amount import split
from ledger_store.base.errors import InvalidTransaction
from ledger_store.base.words import TaskState
from ledger_store.bookkeeping.history import History
from ledger_store.chain import Tip
from ledger_store.genesis import Bounds
from ledger_store.identity.keys import KeyPair
from ledger_store.state import UNFINISHED, State, TaskRecord, apply
from ledger_store.transaction import Close, FraudMark, Outcome, Pay, Reveal, Task, Transaction

SUPPLY_MICRO = 1_000_000
CLIENTS = 2
ACCOUNTS = [key(f"account-{number}") for number in range(4)]
ACCOUNT = st.sampled_from(ACCOUNTS)
PART = st.integers(0, SUPPLY_MICRO // 8)
# Shares of clients, server, two miners, requester; then how far the sum is off the price.
WEIGHTS = st.lists(st.integers(0, 5), min_size=CLIENTS + 4, max_size=CLIENTS + 4).filter(any)
ERROR = st.sampled_from([0, 0, 0, 0, 1, -1])
BOUNDS = Bounds(least_transfer_micro=1, unfinished=3, task_deposit_micro=7)
FREE = {"price_micro": 0, "train_micro": 0, "computation_micro": 0, "shapley_micro": 0}
OUTCOME = st.sampled_from([TaskState.OPEN, TaskState.SETTLED, TaskState.SETTLED, TaskState.REFUNDED])


class Script(RuleBasedStateMachine):
    """Blocks of one transaction each. What the fold refuses must leave everything as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.maker = ChainMaker(2, BOUNDS, SUPPLY_MICRO)
        self.reveals: list[Reveal] = []
        self.records: dict[str, TaskRecord] = {}
        self.known = History(self.maker.genesis)

    def attempt(self, transaction: Transaction) -> bool:
        """Apply a block with this transaction, if it is admissible."""
        block = self.maker.propose(transaction)
        try:
            self.maker.tip = Tip(apply(self.state, block, trusted=True))
        except InvalidTransaction:
            return False
        else:
            self.maker.force(block)
            self.known.follow(block)
            for record in (*self.state.tasks.values(), *self.state.ended):
                self.records[record.task.id] = record
            return True
        finally:
            self.maker.forget()

    @property
    def state(self) -> State:
        return self.maker.tip.state

    @initialize()
    def share(self) -> None:
        for account in ACCOUNTS:
            part = self.maker.transfer(self.maker.requester, account.address, SUPPLY_MICRO // 5)
            assert self.attempt(part)

    @rule(sender=ACCOUNT, to=ACCOUNT, micro=st.integers(1, SUPPLY_MICRO // 3))
    def transfer(self, sender: KeyPair, to: KeyPair, micro: int) -> None:
        covered = self.state.balances.get(sender.address, 0) >= micro
        assert self.attempt(self.maker.transfer(sender, to.address, micro)) == covered

    @rule(sender=ACCOUNT, train=PART, computation=PART, shapley=PART, attempts=st.integers(1, 2))
    def publish(self, sender: KeyPair, train: int, computation: int, shapley: int, attempts: int) -> None:
        self.attempt(
            self.maker.task(
                sender,
                CLIENTS,
                price_micro=train + computation + shapley,
                train_micro=train,
                computation_micro=computation,
                shapley_micro=shapley,
                attempts=attempts,
            )
        )

    @rule(sender=ACCOUNT, place=st.integers(0, 50), same=st.booleans())
    def publish_again(self, sender: KeyPair, place: int, same: bool) -> None:
        """A call that was called before: refused while it waits and once it was opened, free when it was withdrawn."""
        if not self.records:
            return
        before = list(self.records.values())[place % len(self.records)].task
        if same:
            assert not self.attempt(before)
            return
        task = self.maker.task(sender, CLIENTS, nonce=before.nonce, **FREE)
        used = any(
            (record.task.sender, record.task.nonce) == (task.sender, task.nonce)
            and (record.opened_height or record.state == TaskState.QUEUED)
            for record in self.records.values()
        )
        waits = any(record.task.sender == task.sender for record in self.state.tasks.values())
        poor = self.state.balances.get(sender.address, 0) < BOUNDS.task_deposit_micro
        full = len(self.state.tasks) >= self.maker.genesis.bounds.unfinished
        assert self.attempt(task) == (not used and not waits and not full and not poor)

    @rule(place=st.integers(0, 50), attempt=st.integers(1, 3))
    def disturb_the_dead(self, place: int, attempt: int) -> None:
        """Whatever is said of a task that has ended is refused."""
        ended = [record for record in self.records.values() if record.state not in UNFINISHED]
        if ended:
            record = ended[place % len(ended)]
            sender = next(one for one in ACCOUNTS if one.address == record.task.sender)
            reveals = self.maker.reveals(record.task, attempt)
            assert not self.attempt(self.maker.cancel(sender, record.task.id))
            assert not self.attempt(self.maker.close(record.task, reveals, attempt))
            paid = self.maker.settled(record.task)
            assert not self.attempt(self.maker.result(record.task, reveals, paid, attempt))

    @rule(place=st.integers(0, 2))
    def cancel(self, place: int) -> None:
        if place < len(self.state.queue):
            record = list(self.state.tasks.values())[place]
            sender = next(one for one in ACCOUNTS if one.address == record.task.sender)
            cancel = self.maker.cancel(sender, record.task.id)
            assert self.attempt(cancel) == (record.state == TaskState.QUEUED)

    @rule(miners=st.integers(0, 2), weights=WEIGHTS, error=ERROR, outcome=OUTCOME)
    def close(self, miners: int, weights: list[int], error: int, outcome: TaskState) -> None:
        record = self.state.current
        if record is None:
            return
        attempt = record.attempt
        reveals = self.maker.reveals(record.task, attempt, self.maker.miners[:miners])
        if reveals:
            transaction = self.maker.close(record.task, reveals, attempt)
        else:
            transaction = Close(record.task.id, attempt, (), self.outcome(record, weights, error, outcome))
        if self.attempt(transaction):
            self.reveals = reveals

    @rule(shown=st.integers(0, 2), fraud=st.booleans(), weights=WEIGHTS, error=ERROR, outcome=OUTCOME)
    def result(self, shown: int, fraud: bool, weights: list[int], error: int, outcome: TaskState) -> None:
        record = self.state.current
        if record is not None and record.state == TaskState.CLOSED:
            reveals = self.reveals[:shown]
            frauds = [FraudMark(reveals[0].miner, 1)] if fraud and reveals else []
            end = self.outcome(record, weights, error, outcome)
            self.attempt(self.maker.result(record.task, reveals, end, record.attempt, frauds))

    def outcome(self, record: TaskRecord, weights: list[int], error: int, state: TaskState) -> Outcome:
        """Some way to pay the price, sometimes a micro too much or too little."""
        task: Task = record.task
        whole = max(0, (0 if state == TaskState.OPEN else task.price_micro) + error)
        *clients, server, first, second, requester = split(whole, weights)
        roster = self.maker.genesis.roster
        pay = Pay(tuple(clients), server, ((roster[0], first), (roster[1], second)), requester)
        return Outcome(state, None, None, None, 1, pay)

    @invariant()
    def every_coin_is_accounted_for(self) -> None:
        """Balances and what unfinished tasks lock sum to the supply; no balance is negative or zero."""
        locked = sum(
            record.task.price_micro + BOUNDS.task_deposit_micro for record in self.state.tasks.values()
        )
        assert sum(self.state.balances.values()) + locked == SUPPLY_MICRO
        assert all(micro > 0 for micro in self.state.balances.values())

    @invariant()
    def one_task_is_worked_on(self) -> None:
        """The head of the queue is OPEN or CLOSED, the rest QUEUED, and whatever the last block ended has left it."""
        states = [record.state for record in self.state.tasks.values()]
        assert all(state in {TaskState.OPEN, TaskState.CLOSED} for state in states[:1])
        assert all(state == TaskState.QUEUED for state in states[1:])
        assert all(record.state not in UNFINISHED for record in self.state.ended)

    @invariant()
    def what_is_forgotten_is_known(self) -> None:
        """The history holds every record; of the state's calls none is missing and none too many."""
        assert dict(self.known) == self.records
        opened = [record for record in self.records.values() if record.opened_height]
        calls = {record.task.sender + record.task.nonce: record.opened_height for record in opened}
        assert dict(self.state.served) == calls


def test_random_scripts_conserve_money() -> None:
    """Whatever is tried, in whatever order, no coin appears or vanishes, one task is at work, no call serves twice.

    [P-4.2] [P-5.16]
    """
    limits = settings(max_examples=60, stateful_step_count=40)
    run_state_machine_as_test(Script, settings=limits)
