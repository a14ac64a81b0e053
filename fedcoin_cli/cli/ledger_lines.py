"""Ledgers, blocks, transactions and tasks as lines for people; shared by the commands that read."""

import time
from collections.abc import Iterable

from fedcoin_cli.application.books import Books
from fedcoin_cli.application.names import Names
from fedcoin_cli.application.report import TaskReport
from fedcoin_cli.cli.options import Call
from fedcoin_cli.cli.output import table
from ledger_store.amount import format_micro
from ledger_store.block import Block
from ledger_store.transaction import Cancel, Close, Result, Signed, Task, Transaction, Transfer

SHORT = 16


def open_books(call: Call) -> Books:
    """The workspace's longest certified ledger; warns about longer ones that cannot be read."""
    books = Books.open(call.workspace())
    for error in books.ignored:
        call.output.warn(f"{error.message} ({error.where}); read another ledger instead")
    return books


def source(books: Books) -> str:
    """Which ledger an answer comes from."""
    return f"{books.path}, certified to height {books.height}"


def date(time_ms: int) -> str:
    """A block's time, local."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ms / 1000))


def sender(transaction: Transaction) -> str | None:
    """Who signed it; None for what the miners write."""
    return transaction.sender if isinstance(transaction, Signed) else None


def summary(transaction: Transaction, names: Names) -> str:
    """A transaction in one line."""
    match transaction:
        case Transfer():
            ends = f"{names.name(transaction.sender)} → {names.name(transaction.to)}"
            return f"transfer {format_micro(transaction.amount_micro)}  {ends}"
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


def task_lines(report: TaskReport, names: Names) -> list[str]:
    """A task and what came of it."""
    where = f"{report.state.lower()} at height {report.height}, attempt {report.attempts}"
    head = [f"task   {report.task}", f"state  {where}"]
    if not report.ended:
        return [*head, f"price  {report.price} FedCoin, in escrow"]
    return [*head, "", *_payments(report, names), "", *_estimates(report, names)]


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


def _payments(report: TaskReport, names: Names) -> list[str]:
    rows = [[names.name(line.client), line.shapley or "-", line.paid] for line in report.clients]
    rows.append([f"{names.name(report.server)} (FL server)", "", report.server_paid])
    rows += [[f"{names.name(one.miner)} (miner)", "", one.paid] for one in report.miners if one.paid != "0.0"]
    if report.returned != "0.0":
        rows.append(["returned to the requester", "", report.returned])
    return table(["paid to", "SV (pp)", "FedCoin"], [*rows, ["total", report.total or "-", report.price]])


def _estimates(report: TaskReport, names: Names) -> list[str]:
    if not report.miners:
        return ["no estimate was verified"]
    rows = []
    for one in report.miners:
        kind = "exact" if one.exact else f"{one.rankings} rankings"
        note = "false table" if one.fraud else "winner" if one.miner == report.winner else ""
        rows.append([names.name(one.miner), kind, one.distance or "-", note])
    what = "exact values" if report.exact else "the average of all rankings"
    lines = table(["miner", "estimate", "distance (pp)", ""], rows)
    return [*lines, "", f"distances are from {what}; D is {report.difficulty} pp"]
