"""What the chain knows of a task: its record, its states, and the terms that the ledger itself judges.

Theory of operation, a task's life:

    QUEUED ──(no older task unfinished)──▶ OPEN ──close with commits──▶ CLOSED ──result──▶ SETTLED
      │                                     ▲ │                            │
      │ cancel                              │ └─close without commits─┐    │ result that failed
      ▼                                     │                         ▼    ▼
    CANCELLED                               └──(attempts left, a + 1)──┴──(none left)──▶ REFUNDED

`state` walks it; whether an outcome follows from its reveals is `contract.settlement`'s business.
"""

from dataclasses import dataclass

from ledger_store.base.canonical import tagged_hash
from ledger_store.base.errors import refuse
from ledger_store.base.names import Address, BlockId, TaskId
from ledger_store.base.words import TaskState
from ledger_store.genesis import Genesis
from ledger_store.transaction import Commit, Task

UNFINISHED = frozenset({TaskState.QUEUED, TaskState.OPEN, TaskState.CLOSED})


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task and where it stands.

    `seed` is fixed when it opens. `commits` are those of the last close, until the task has ended. `verified` pairs
    miners with t in roster order: the estimates of the last attempt that had any, for the refund. `frauds` may not
    commit again in this task, `refused` are who withheld a reveal in the task before. `deposit_micro` is locked beside
    the price and returns however the task ends.
    """

    task: Task
    """What its requester signed."""
    height: int
    """The height at which it was admitted, which is its place in the queue."""
    state: TaskState = TaskState.QUEUED
    """Where it is in its life: QUEUED, OPEN, CLOSED, SETTLED, REFUNDED or CANCELLED."""
    attempt: int = 1
    """The attempt at work, from 1."""
    seed: str | None = None
    """What all rankings follow from; None until it opens, so that nobody walks earlier."""
    opened_height: int = 0
    """The height that opened it, 0 before."""
    commits: tuple[Commit, ...] = ()
    """The close's, which reveals must open; empty when no attempt is closed."""
    frauds: frozenset[Address] = frozenset()
    """Miners that lied in this task: they may not commit again in it."""
    refused: frozenset[Address] = frozenset()
    """Miners that withheld a reveal in an earlier task: they may not commit in this one."""
    verified: tuple[tuple[Address, int], ...] = ()
    """Miners and their t, in roster order, of the last attempt that had any: a refund pays their work."""
    end_height: int | None = None
    """The height that ended it, None before."""
    deposit_micro: int = 0
    """What is locked beside the price, in micro-FedCoin, as genesis asked when it was admitted."""

    @property
    def seed_of_opened(self) -> str:
        """The seed of a task that has been opened."""
        assert self.seed, "a task that still waits has no seed"
        return self.seed

    @property
    def escrow_micro(self) -> int:
        """What is locked until the task ends: price and deposit."""
        return self.task.price_micro + self.deposit_micro if self.state in UNFINISHED else 0


def opening_seed(task_id: TaskId, parent: BlockId) -> str:
    """The public seed of a task's rankings: SHA-256 over task id and the parent id of the opening block.

    (docs/adr/0018) [P-5.17]
    """
    return tagged_hash("seed", bytes.fromhex(task_id) + bytes.fromhex(parent))


def served_by(task: Task) -> str:
    """The call that a task uses up, by whose it is and its nonce: the one behind the other."""
    return task.sender + task.nonce


def eligible_refusals(record: TaskRecord) -> frozenset[Address]:
    """Whose commits this attempt refuses: this task's frauds, and who withheld in the task before [P-8.34]."""
    return record.frauds | record.refused


def check_terms(task: Task, genesis: Genesis) -> None:
    """What genesis bounds and what must hold in any task, signatures apart; raises `InvalidTransaction`.

    [P-5.5] [P-5.6] [P-5.7] [P-5.8] [P-5.21]
    """
    bounds = genesis.bounds
    parts = task.train_micro + task.computation_micro + task.shapley_micro
    refuse(parts != task.price_micro, "parts are not the price")
    asked = 2 <= task.least_clients <= task.most_clients <= bounds.clients
    refuse(not asked, f"a task needs 2 to {bounds.clients} clients")
    fitting = task.least_clients <= len(task.updates) <= task.most_clients
    refuse(not fitting, f"its call asks for {task.least_clients} to {task.most_clients} clients")
    refuse(not 1 <= task.images <= bounds.images, f"a task needs 1 to {bounds.images} test images")
    fitting = 1 <= task.block_images <= bounds.block_images
    refuse(not fitting, f"a block of this network holds 1 to {bounds.block_images} test images")
    refuse(task.whole < 1, "a perfect model is worth at least 1")
    refuse(task.empty > task.whole, "the empty coalition is worth more than a perfect model")
    refuse(task.runtime_ms > bounds.runtime_ms, f"RUNTIME is bounded by {bounds.runtime_ms} ms")
    refuse(not 1 <= task.attempts <= bounds.attempts, f"attempts are bounded by {bounds.attempts}")
    refuse(task.difficulty_micro < bounds.least_difficulty_micro, "D is below the network's least")
    rankings = 1 <= task.least_rankings <= task.most_rankings <= bounds.rankings
    refuse(not rankings, "rankings out of bounds")
    work_s = -(-task.runtime_ms * task.attempts // 1_000)
    least_micro = bounds.least_shapley_price_micro + bounds.least_shapley_price_micro_a_second * work_s
    refuse(task.shapley_micro < least_micro, "SapPrice is below the least")
    refuse(result_bytes(task, genesis) > bounds.block_bytes, "its result would not fit into a block")
    clients = [update.client for update in task.updates]
    refuse(len(set(clients)) != len(clients), "two updates of one client")
    grouped = [address for group in task.groups for address in group]
    refuse(len(set(grouped)) != len(grouped), "an address is in two groups, or twice in one")
    refuse(task.clients < 2, "all its clients are one owner: there is nobody to share with")
    refuse(any(update.examples > bounds.examples for update in task.updates), "too many examples")


def result_bytes(task: Task, genesis: Genesis) -> int:
    """What the block with this task's result takes at most, if all miners reveal sampled estimates.

    A task whose result fits into no block could never end. A sum is at most t·M in magnitude; the settlement
    adds a numerator and a payment a client, each reveal and the certificate their fixed fields. [P-5.9]
    """
    number = len(str(task.most_rankings * task.whole)) + 4
    miners = len(genesis.roster)
    settlement = number + len(str(miners)) + 64
    return task.clients * (miners * number + settlement) + miners * 1_024 + 4_096
