"""The ledger as double-entry bookkeeping: every coin from genesis on, as entries whose postings sum to zero.

Pure: blocks in, entries out. How entries are written down for other tools lives in `export`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ledger_store.block import Block
from ledger_store.genesis import Genesis
from ledger_store.task_record import OPEN
from ledger_store.transaction import Cancel, Close, Outcome, Result, Task, Transaction, Transfer

ESCROW, SUPPLY = "escrow", "supply"
"""Two accounts that are nobody's: prices and deposits of unfinished tasks, and what genesis minted (negative)."""


@dataclass(frozen=True, slots=True)
class Posting:
    """A change of one account, which is an address, `ESCROW` or `SUPPLY`."""

    account: str
    micro: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What one transaction moved; `about` is the task that it belongs to, else its own id.

    Postings stand in the transaction's order, one an account; their sum is 0.
    """

    height: int
    time_ms: int
    kind: str
    about: str
    postings: tuple[Posting, ...]


def entries(genesis: Genesis, blocks: Iterable[Block]) -> Iterator[Entry]:
    """Everything that moved coins, from genesis to the last of these blocks."""
    minted = [*genesis.supply, (SUPPLY, -genesis.supply_micro)]
    yield Entry(0, genesis.time_ms, "genesis", genesis.id, _postings(minted))
    tasks: dict[str, Task] = {}
    for block in blocks:
        for transaction in block.transactions:
            if isinstance(transaction, Task):
                tasks[transaction.id] = transaction
            moved = _moved(transaction, tasks, genesis.bounds.task_deposit_micro)
            if moved is not None and (postings := _postings(moved.changes)):
                yield Entry(block.height, block.header.time_ms, moved.kind, moved.about, postings)


def balances(journal: Iterable[Entry]) -> dict[str, int]:
    """What every account holds after these entries, sorted by account."""
    totals: Counter[str] = Counter()
    for entry in journal:
        for posting in entry.postings:
            totals[posting.account] += posting.micro
    return dict(sorted(totals.items()))


@dataclass(frozen=True, slots=True)
class _Moved:
    kind: str
    about: str
    changes: list[tuple[str, int]]


def _moved(transaction: Transaction, tasks: Mapping[str, Task], deposit_micro: int) -> _Moved | None:
    match transaction:
        case Transfer(sender=sender, to=to, amount_micro=micro):
            return _Moved("transfer", transaction.id, [(sender, -micro), (to, micro)])
        case Task(sender=sender, price_micro=price):
            locked = price + deposit_micro
            return _Moved("task", transaction.id, [(sender, -locked), (ESCROW, locked)])
        case Cancel(task=task):
            locked = tasks[task].price_micro + deposit_micro
            return _Moved("cancel", task, [(ESCROW, -locked), (tasks[task].sender, locked)])
        case Close(task=task, outcome=Outcome() as outcome) | Result(task=task, outcome=outcome):
            # An attempt that failed and is followed by another moves nothing.
            if outcome.state != OPEN:
                return _Moved(outcome.state.lower(), task, _paid(tasks[task], outcome, deposit_micro))
    return None


def _paid(task: Task, outcome: Outcome, deposit_micro: int) -> list[tuple[str, int]]:
    pay = outcome.pay
    clients = zip((update.client for update in task.updates), pay.clients, strict=True)
    rest = (task.server, pay.server), *pay.miners, (task.sender, pay.requester + deposit_micro)
    return [(ESCROW, -task.price_micro - deposit_micro), *clients, *rest]


def _postings(changes: Iterable[tuple[str, int]]) -> tuple[Posting, ...]:
    """One an account (a miner may be a client as well), without those of nothing."""
    sums: dict[str, int] = {}
    for account, micro in changes:
        sums[account] = sums.get(account, 0) + micro
    assert sum(sums.values()) == 0
    return tuple(Posting(*pair) for pair in sums.items() if pair[1])
