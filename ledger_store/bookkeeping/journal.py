"""The ledger as double-entry bookkeeping: every coin from genesis on, as entries whose lines sum to zero.

They do so for each party by itself, so that anybody's book can be taken out and stands alone. Pure: blocks in, entries
out. How entries are written down for other tools lives in `export`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ledger_store.base.names import Address, TaskId
from ledger_store.base.words import TaskState
from ledger_store.block import Block
from ledger_store.genesis import Genesis
from ledger_store.transaction import Cancel, Close, Outcome, Result, Signed, Task, Transaction, Transfer

ESCROW, SUPPLY = "escrow", "supply"
"""Two accounts that are nobody's: prices and deposits of unfinished tasks, and what genesis minted (negative)."""

COINS, LOCKED = "Assets:Coins", "Assets:Escrow"
MINTED, OPENING = "Equity:Supply", "Equity:Opening"
TASKS, SENT, RECEIVED = "Expenses:Tasks", "Expenses:Transfers", "Income:Transfers"
TRAINING, SERVING, MINING = "Income:Training", "Income:Server", "Income:Mining"
"""A party's accounts. What is locked in escrow stays its requester's until the task ends."""


@dataclass(frozen=True, slots=True)
class JournalLine:
    """A change of one account in the book of one party, an address."""

    party: str
    account: str
    micro: int


@dataclass(frozen=True, slots=True)
class Posting:
    """A change of one account, which is an address, `ESCROW` or `SUPPLY`."""

    account: str
    micro: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What one transaction moved; `about` is the task that it belongs to, else its own id.

    `id` is its own id where it has one, `ends` who paid and who was paid by a transfer, or a task's requester. Lines
    sum to 0 for each party.
    """

    height: int
    time_ms: int
    kind: str
    about: str
    id: str | None
    ends: tuple[str, ...]
    lines: tuple[JournalLine, ...]

    @property
    def postings(self) -> tuple[Posting, ...]:
        """Where coins went, in the transaction's order, one an account; their sum is 0."""
        whose = {COINS: None, LOCKED: ESCROW, MINTED: SUPPLY}
        moved = [(whose[one.account] or one.party, one.micro) for one in self.lines if one.account in whose]
        return _postings(moved)


def entries(genesis: Genesis, blocks: Iterable[Block]) -> Iterator[Entry]:
    """Everything that moved coins, from genesis to the last of these blocks."""
    minted = [JournalLine(holder, COINS, micro) for holder, micro in genesis.supply]
    minted += [JournalLine(holder, MINTED, -micro) for holder, micro in genesis.supply]
    yield Entry(0, genesis.time_ms, "genesis", genesis.id, None, (), tuple(minted))
    tasks: dict[TaskId, Task] = {}
    for block in blocks:
        for transaction in block.transactions:
            if isinstance(transaction, Task):
                tasks[transaction.id] = transaction
            moved = _moved(transaction, tasks, genesis.bounds.task_deposit_micro)
            if moved is None:
                continue
            lines = tuple(line for line in moved.lines if line.micro)
            own = transaction.id if isinstance(transaction, Signed) else None
            place = block.height, block.header.time_ms
            entry = Entry(*place, moved.kind, moved.about, own, moved.ends, lines)
            if entry.postings:
                yield entry


def balances(journal: Iterable[Entry]) -> dict[str, int]:
    """What every account holds after these entries, sorted by account."""
    totals: Counter[str] = Counter()
    for entry in journal:
        for posting in entry.postings:
            totals[posting.account] += posting.micro
    return dict(sorted(totals.items()))


def excerpt(
    journal: Iterable[Entry], party: str | None, first_ms: int | None, last_ms: int | None
) -> tuple[Entry, ...]:
    """The entries of one party, or all, from `first_ms` to before `last_ms`; what was before is in an opening one.

    Income and expenses before the period have become equity.
    """
    held: dict[tuple[str, str], int] = {}
    within = []
    for entry in journal:
        lines = tuple(line for line in entry.lines if party in {None, line.party})
        if not lines or (last_ms is not None and entry.time_ms >= last_ms):
            continue
        if first_ms is None or entry.time_ms >= first_ms:
            within.append(replace(entry, lines=lines))
            continue
        for line in lines:
            account = line.account if line.account in {COINS, LOCKED} else OPENING
            held[line.party, account] = held.get((line.party, account), 0) + line.micro
    opening = tuple(JournalLine(*place, micro) for place, micro in held.items() if micro)
    begun = [Entry(0, first_ms, "opening balances", "", None, (), opening)] if first_ms and opening else []
    return (*begun, *within)


@dataclass(frozen=True, slots=True)
class _Moved:
    kind: str
    about: str
    ends: tuple[str, ...]
    lines: list[JournalLine]


def _moved(transaction: Transaction, tasks: Mapping[TaskId, Task], deposit_micro: int) -> _Moved | None:
    match transaction:
        case Transfer(sender=sender, to=to, amount_micro=micro):
            sent = [JournalLine(sender, COINS, -micro), JournalLine(sender, SENT, micro)]
            return _Moved("transfer", transaction.id, (sender, to), [*sent, *_earned(to, RECEIVED, micro)])
        case Task(sender=sender, price_micro=price):
            return _Moved("task", transaction.id, (sender,), _locked(sender, price + deposit_micro))
        case Cancel(task=task):
            locked = tasks[task].price_micro + deposit_micro
            return _Moved("cancel", task, (tasks[task].sender,), _locked(tasks[task].sender, -locked))
        case Close(task=task, outcome=Outcome() as outcome) | Result(task=task, outcome=outcome):
            # An attempt that failed and is followed by another moves nothing.
            if outcome.state != TaskState.OPEN:
                lines = _paid(tasks[task], outcome, deposit_micro)
                return _Moved(outcome.state.lower(), task, (tasks[task].sender,), lines)
    return None


def _locked(requester: Address, micro: int) -> list[JournalLine]:
    return [JournalLine(requester, COINS, -micro), JournalLine(requester, LOCKED, micro)]


def _earned(party: str, account: str, micro: int) -> list[JournalLine]:
    return [JournalLine(party, COINS, micro), JournalLine(party, account, -micro)]


def _paid(task: Task, outcome: Outcome, deposit_micro: int) -> list[JournalLine]:
    pay, locked = outcome.pay, task.price_micro + deposit_micro
    back = pay.requester + deposit_micro
    lines = [JournalLine(task.sender, LOCKED, -locked)]
    for owner, micro in zip(task.owners, pay.clients, strict=True):
        lines += _earned(owner, TRAINING, micro)
    lines += _earned(task.server, SERVING, pay.server)
    for miner, micro in pay.miners:
        lines += _earned(miner, MINING, micro)
    return [*lines, JournalLine(task.sender, COINS, back), JournalLine(task.sender, TASKS, locked - back)]


def _postings(changes: Iterable[tuple[str, int]]) -> tuple[Posting, ...]:
    """One an account (a miner may be a client as well), without those of nothing."""
    sums: dict[str, int] = {}
    for account, micro in changes:
        sums[account] = sums.get(account, 0) + micro
    assert sum(sums.values()) == 0
    return tuple(Posting(*pair) for pair in sums.items() if pair[1])
