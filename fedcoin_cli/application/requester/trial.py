"""Whether the ledger would admit a transaction, asked before it is sent: refusals as errors a person may meet. Pure."""

from fedcoin_cli.contract.task import check_task
from ledger_store.base.amount import format_micro
from ledger_store.base.errors import (
    ConsensusFailure,
    InsufficientFunds,
    NotFound,
    PeerFault,
    SettingsError,
    Unfinished,
)
from ledger_store.base.names import MinerIndex
from ledger_store.base.words import TaskState
from ledger_store.block import make_block
from ledger_store.state import State, Transition, served_by
from ledger_store.transaction import Cancel, Task, Transfer


def check_admissible(state: State, transaction: Transfer | Task | Cancel) -> None:
    """Raise what a person should read when `transaction` is not admissible on `state`.

    Raises `InsufficientFunds`, `NotFound` for a task to cancel, `ConsensusFailure` when another task is in the way,
    `SettingsError` for terms that genesis does not allow.
    """
    _check_funds(state, transaction)
    if isinstance(transaction, Task):
        _check_no_other(state, transaction)
        _check_fresh(state, transaction)
    if isinstance(transaction, Cancel):
        _check_cancel(state, transaction)
    try:
        if isinstance(transaction, Task):
            check_task(transaction, state.genesis)
        empty = make_block(state.head, state.height + 1, state.time_ms, MinerIndex(0), 0, (), None)
        Transition(state, empty, trusted=False).execute(transaction)
    except PeerFault as error:
        hint = "genesis.json holds this network's bounds"
        raise SettingsError(f"this network does not admit it: {error.message}", hint=hint) from error


def _check_funds(state: State, transaction: Transfer | Task | Cancel) -> None:
    deposit, needed_micro = "", 0
    match transaction:
        case Transfer():
            needed_micro = transaction.amount_micro
        case Task():
            deposit_micro = state.genesis.bounds.task_deposit_micro
            needed_micro = transaction.price_micro + deposit_micro
            deposit = f", of which {format_micro(deposit_micro)} is a deposit," if deposit_micro else ""
    balance_micro = state.balances.get(transaction.sender, 0)
    if balance_micro < needed_micro:
        message = f"{format_micro(needed_micro)} FedCoin{deposit} exceed the balance of {format_micro(balance_micro)}"
        hint = "fedcoin balance shows all accounts of this workspace"
        raise InsufficientFunds(message, where=f"account {transaction.sender}", hint=hint)


def _check_no_other(state: State, task: Task) -> None:
    own = [name for name, record in state.tasks.items() if record.task.sender == task.sender]
    if len(own) >= state.genesis.bounds.unfinished_an_account:
        hint = f"wait for its end: fedcoin show {own[0][:16]}"
        raise Unfinished("this account has an unfinished task", where=f"task {own[0]}", hint=hint)


def _check_fresh(state: State, task: Task) -> None:
    if served_by(task) in state.served:
        hint = "ask the clients anew: fedcoin round call; fedcoin log lists the tasks"
        raise ConsensusFailure(
            "this call has served: a task of it was published", where=f"call {task.call}", hint=hint
        )


def _check_cancel(state: State, cancel: Cancel) -> None:
    record = state.tasks.get(cancel.task)
    if record is None:
        hint = f"fedcoin show {cancel.task[:16]} says what became of it"
        raise NotFound("no unfinished task", where=f"task {cancel.task}", hint=hint)
    if record.task.sender != cancel.sender:
        message = "only its requester can cancel a task"
        raise ConsensusFailure(message, where=f"task {cancel.task}", hint=f"sign as {record.task.sender}")
    if record.state != TaskState.QUEUED:
        message = f"the task is {record.state}: only one that waits for others can be cancelled"
        raise ConsensusFailure(message, where=f"task {cancel.task}", hint=f"fedcoin show {cancel.task[:16]}")
