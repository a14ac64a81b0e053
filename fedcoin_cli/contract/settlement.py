"""From reveals to outcome, recomputed by every voter; with it a block's full validity and audit level 3.

The rules are section 9 of SPEC.md: someone within D settles the task; otherwise the attempt failed, and the next
begins or, when none is left, the task is refunded.
"""

from collections.abc import Sequence
from fractions import Fraction

from fedcoin_cli.consensus.estimate import Agreement, Terms, agree
from fedcoin_cli.contract.task import attempt_of, check_task
from fedcoin_cli.incentive.payment import Price, pay_refunded, pay_settled, shapley_shares, without_dust
from ledger_store.base.canonical import tagged_hash
from ledger_store.base.errors import InvalidTransaction, Malformed, found_as
from ledger_store.base.names import Address, TaskId
from ledger_store.base.words import TaskState
from ledger_store.block import Block
from ledger_store.chain import Tip, candidate
from ledger_store.genesis import Genesis
from ledger_store.state import State, TaskRecord, refuse
from ledger_store.transaction import Close, FraudMark, Outcome, Pay, Result, Reveal, Task, Transaction


def settle(
    record: TaskRecord,
    genesis: Genesis,
    reveals: Sequence[Reveal],
    frauds: Sequence[FraudMark],
) -> Outcome:
    """What follows from an attempt's reveals; raises `InvalidTransaction` for reveals and frauds that cannot be.

    [P-8.26] [P-8.27] [P-9.8] [P-9.14]
    """
    attempt = attempt_of(record, genesis)
    refuse(not all(attempt.admits(reveal) for reveal in reveals), "a reveal with rankings off the grid")
    entries = {reveal.miner: attempt.entries(reveal) for reveal in reveals}
    named = all(fraud.entry < entries.get(fraud.miner, 0) for fraud in frauds)
    refuse(not named, "a fraud names no entry of a revealed table")
    estimates = _estimates(genesis, reveals, {fraud.miner for fraud in frauds})
    agreement = _agree(record.task, genesis, estimates)
    if not agreement.within:
        verified = tuple((estimate.miner, estimate.rankings) for estimate in estimates) or record.verified
        return _failed(record, verified, agreement)
    task = record.task
    shares = shapley_shares(task.sap_rule, agreement, estimates)
    return Outcome(
        state=TaskState.SETTLED,
        winner=_winner(task.id, agreement),
        distance=_distance(agreement),
        shapley=agreement.numerators,
        denominator=agreement.denominator,
        pay=pay_settled(price_of(task), pay_weights(task, genesis, agreement), shares),
    )


def pay_weights(task: Task, genesis: Genesis, agreement: Agreement) -> tuple[int, ...]:
    """By which weights TrainPrice is split, one an owner [P-9.10] [P-9.16]."""
    return without_dust(task.train_micro, agreement.weights, genesis.bounds.least_transfer_micro)


def give_up(record: TaskRecord) -> Outcome:
    """What follows from a close without commits."""
    return _failed(record, record.verified, None)


def agreement_of(record: TaskRecord, genesis: Genesis, result: Result) -> Agreement:
    """The agreement behind a result on the chain: every miner's distance, for people and audits."""
    estimates = _estimates(genesis, result.reveals, {fraud.miner for fraud in result.frauds})
    return _agree(record.task, genesis, estimates)


def validate(tip: Tip, block: Block) -> State:
    """The state after `block` on `tip`, with every outcome recomputed; raises `PeerFault`.

    This is the deterministic check of a vote: a pure function of parent state and block bytes. [P-10.10]
    """
    after = candidate(tip, block)
    check_settlements(tip.state, block)
    return after


def check_settlements(before: State, block: Block) -> None:
    """Level 3 for every transaction of a block; raises `InvalidTransaction`."""
    for transaction in block.transactions:
        check_settlement(before, transaction)


def check_settlement(before: State, transaction: Transaction) -> None:
    """Level 3: terms on the grid, and a close's or result's outcome follows from what it holds.

    Raises `InvalidTransaction` with the code of its finding. [P-9.14]
    """
    match transaction:
        case Task():
            with found_as("E411"):
                check_task(transaction, before.genesis)
        case Close() if transaction.outcome is not None:
            expected = give_up(before.tasks[transaction.task])
            with found_as("E412"):
                refuse(transaction.outcome != expected, "a close whose outcome does not follow")
        case Result():
            with found_as("E413"):
                _check_result(before, transaction)


def price_of(task: Task) -> Price:
    """The task's price in its parts."""
    return Price(task.train_micro, task.computation_micro, task.shapley_micro)


def _check_result(before: State, result: Result) -> None:
    record = before.tasks[result.task]
    try:
        expected = settle(record, before.genesis, result.reveals, result.frauds)
    except Malformed as error:
        raise InvalidTransaction(error.message) from error
    refuse(result.outcome != expected, "a result whose outcome does not follow from its reveals")


def _estimates(genesis: Genesis, reveals: Sequence[Reveal], cheats: set[Address]) -> list[Reveal]:
    """The honest reveals in roster order [P-9.1]."""
    by_miner = {reveal.miner: reveal for reveal in reveals if reveal.miner not in cheats}
    return [by_miner[miner] for miner in genesis.roster if miner in by_miner]


def _agree(task: Task, genesis: Genesis, estimates: Sequence[Reveal]) -> Agreement:
    return agree(estimates, Terms(task.clients, task.whole, task.difficulty_micro, genesis.faults))


def _failed(
    record: TaskRecord, verified: Sequence[tuple[Address, int]], agreement: Agreement | None
) -> Outcome:
    """Another attempt while one is left; otherwise the refund, with SapPrice for verified work [P-9.9]."""
    counted = agreement is not None and bool(agreement.counted)
    again = record.attempt < record.task.attempts
    nothing = Pay((0,) * record.task.clients, 0, (), 0)
    return Outcome(
        state=TaskState.OPEN if again else TaskState.REFUNDED,
        winner=None,
        distance=_distance(agreement) if agreement is not None and counted else None,
        shapley=agreement.numerators if agreement is not None and counted else None,
        denominator=agreement.denominator if agreement is not None and counted else 1,
        pay=nothing if again else pay_refunded(price_of(record.task), record.task.clients, verified),
    )


def _winner(task_id: TaskId, agreement: Agreement) -> Address:
    """Of those that tie for nearest, the key with the least hash with the task [P-9.6]."""
    return min(agreement.nearest, key=lambda miner: tagged_hash("winner", bytes.fromhex(task_id + miner)))


def _distance(agreement: Agreement) -> tuple[int, int]:
    """The least of those that count as nearest: exact estimates tie whatever their distances are [P-9.7]."""
    candidates = (item for item in agreement.distances if item.miner in agreement.nearest)
    least = min(candidates, key=lambda item: Fraction(item.numerator, item.denominator))
    return least.numerator, least.denominator
