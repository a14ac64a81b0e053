"""Blocks and transactions as lines for people; shared by the commands that read."""

import time
from collections.abc import Iterable

from fedcoin_cli.application.workspace.address_names import Names
from ledger_store.base.amount import format_micro
from ledger_store.block import Block
from ledger_store.transaction import Cancel, Close, Result, Signed, Task, Transaction, Transfer

SHORT = 16


def date(time_ms: int) -> str:
    """A block's time, local."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ms / 1000))


def facts(transaction: Transaction) -> dict[str, object]:
    """What a line of the log tells, as data: `id` is what `show` takes, `task` what `cancel` does."""
    data: dict[str, object] = {"type": transaction.kind, **_identity(transaction)}
    match transaction:
        case Transfer():
            data |= {"to": transaction.to, "amount": format_micro(transaction.amount_micro)}
        case Task():
            data |= {"price": format_micro(transaction.price_micro), "clients": transaction.clients}
        case Close():
            data |= {"attempt": transaction.attempt, "estimates": len(transaction.commits)}
        case Result():
            outcome = transaction.outcome
            data |= {"attempt": transaction.attempt, "state": outcome.state, "winner": outcome.winner}
    return data


def identified(transaction: Transaction) -> dict[str, object]:
    """A transaction as it stands on the ledger, with its id where it has one."""
    return {**_identity(transaction), **transaction.to_json()}


def _identity(transaction: Transaction) -> dict[str, object]:
    if isinstance(transaction, Task):
        return {"id": transaction.id, "task": transaction.id, "sender": transaction.sender}
    if isinstance(transaction, Signed):
        task = {"task": transaction.task} if isinstance(transaction, Cancel) else {}
        return {"id": transaction.id, "sender": transaction.sender, **task}
    return {"id": None, "task": transaction.task, "sender": None}


def summary(transaction: Transaction, names: Names) -> str:
    """A transaction in one line."""
    match transaction:
        case Transfer():
            ends = f"{names.name(transaction.sender)} → {names.name(transaction.to)}"
            return f"transfer {transaction.id[:SHORT]}  {format_micro(transaction.amount_micro)}  {ends}"
        case Task():
            price, who = format_micro(transaction.price_micro), names.name(transaction.sender)
            return f"task {transaction.id[:SHORT]}  {price} by {who} for {transaction.clients} clients"
        case Cancel():
            return f"cancel {transaction.task[:SHORT]}"
        case Close():
            return f"close {transaction.task[:SHORT]}  {len(transaction.commits)} estimates sealed"
        case Result():
            outcome = transaction.outcome
            winner = f", won by {names.name(outcome.winner)}" if outcome.winner else ""
            return f"result {transaction.task[:SHORT]}  {outcome.state.lower()}{winner}"


def block_lines(block: Block, signers: Iterable[str], names: Names) -> list[str]:
    """A block: its header, who certified it, its transactions."""
    header = block.header
    return [
        f"block      {block.height}",
        f"id         {block.id}",
        f"parent     {header.parent}",
        f"time       {date(header.time_ms)}",
        f"proposer   miner {header.proposer + 1} of the roster, view {header.view}",
        f"certified  {', '.join(map(names.name, signers)) or 'not yet'}",
        "",
        *(summary(transaction, names) for transaction in block.transactions),
    ]
