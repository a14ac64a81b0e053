"""The fold: what every block does, and every reason for which one is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from chains import COIN, ChainMaker, digest, key

from ledger_store.base.canonical import tagged_hash
from ledger_store.base.errors import BadSignature, InvalidTransaction, PeerFault
from ledger_store.base.names import Address, BlockId, GenesisId, TaskId
from ledger_store.base.words import TaskState
from ledger_store.block import Block
from ledger_store.genesis import Bounds
from ledger_store.state import (
    State,
    Transition,
    apply,
    initial,
    opening_seed,
)
from ledger_store.transaction import Close, FraudMark, Pay, Reveal, Task, Transaction, sign

FRIEND = key("friend")


def balance(state: State, who: Address) -> int:
    return state.balances.get(who, 0)


def refused(
    maker: ChainMaker, *transactions: Transaction, match: str, error: type[PeerFault] = InvalidTransaction
) -> None:
    """The block of these transactions is refused, and for this reason."""
    with pytest.raises(error, match=match):
        apply(maker.tip.state, maker.propose(*transactions))
    maker.forget()


def test_genesis_mints_to_the_holders() -> None:
    """The supply is there before block 1, and nothing else [P-4.1]."""
    maker = ChainMaker(2, supply_micro=5 * COIN)
    state = initial(maker.genesis)
    assert state.balances == {maker.requester.address: 5 * COIN}
    assert (state.height, state.head, state.current) == (0, maker.genesis.id, None)


def test_a_transfer_moves_coins() -> None:
    """The sender loses what the receiver gains, and the sender's sequence counts."""
    maker = ChainMaker(2, supply_micro=5 * COIN)
    maker.add(maker.transfer(maker.requester, FRIEND.address, 2 * COIN))
    state = maker.tip.state
    assert balance(state, FRIEND.address) == 2 * COIN
    assert balance(state, maker.requester.address) == 3 * COIN
    assert state.sequences == {maker.requester.address: 1}


def test_an_emptied_account_is_forgotten_but_not_its_sequence() -> None:
    """Zero balances leave the state; a sequence number is never reused [P-4.5]."""
    maker = ChainMaker(2, supply_micro=COIN)
    maker.add(maker.transfer(maker.requester, FRIEND.address, COIN))
    assert maker.tip.state.balances == {FRIEND.address: COIN}
    replayed = maker.transfer(maker.requester, FRIEND.address, COIN, sequence=1)
    refused(maker, replayed, match="sequence 1 where 2 is next")


def test_coins_received_in_a_block_can_be_spent_in_it() -> None:
    """Transactions take effect in their order [P-4.14]."""
    maker = ChainMaker(2)
    first, second = sorted([maker.requester, FRIEND], key=lambda one: one.address)
    assert first is maker.requester, "the test needs keys that sort this way"
    pay = maker.transfer(first, second.address, COIN)
    on = maker.transfer(second, maker.server.address, COIN)
    maker.add(pay, on)
    assert balance(maker.tip.state, maker.server.address) == COIN


HEADERS: dict[str, tuple[Callable[[Block], Block], str]] = {
    "height": (lambda b: _header(b, height=b.height + 1), "does not follow"),
    "parent": (lambda b: _header(b, parent="00" * 32), "link"),
    "turn": (lambda b: _header(b, proposer=(b.header.proposer + 1) % 4), "out of turn"),
    "view": (lambda b: _header(b, view=1), "out of turn"),
    "time": (lambda b: _header(b, time_ms=b.header.time_ms - 801), "too early"),
    "certificate": (lambda b: replace(_header(b, certificate=None), certificate=None), "certificate"),
}


def _header(block: Block, **changes: object) -> Block:
    return Block(replace(block.header, **changes), block.transactions, block.certificate)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_breaks_the_rules_is_refused(name: str) -> None:
    """Height, link, turn, interval and the parent's certificate [P-10.1] [P-13.5] [P-13.6]."""
    maker = ChainMaker(4)
    maker.add_transfers(1)
    spoil, reason = HEADERS[name]
    block = spoil(maker.propose(maker.transfer(maker.requester, FRIEND.address, COIN)))
    with pytest.raises(InvalidTransaction, match=reason):
        apply(maker.tip.state, block)


def test_block_one_carries_no_certificate_and_is_not_before_genesis() -> None:
    """The first block has no certified parent, and its time starts at genesis [P-13.6] [P-13.8]."""
    maker = ChainMaker(4)
    transfer = maker.transfer(maker.requester, FRIEND.address, COIN)
    certified = replace(maker.propose(transfer), certificate=maker.certify(maker.propose(transfer)))
    with pytest.raises(InvalidTransaction, match="certificate"):
        apply(maker.tip.state, certified)
    with pytest.raises(InvalidTransaction, match="too early"):
        apply(maker.tip.state, maker.propose(transfer, time_ms=maker.genesis.time_ms - 1))
    assert apply(maker.tip.state, maker.propose(transfer, time_ms=maker.genesis.time_ms)).height == 1


def test_a_block_is_neither_empty_nor_too_large() -> None:
    """No block without a transaction; the network's bounds on their number and bytes hold to the byte [P-13.7]."""
    maker = ChainMaker(4, Bounds(transactions_a_block=2))
    refused(maker, match="empty")
    transfers = [maker.transfer(maker.requester, FRIEND.address, COIN) for _ in range(3)]
    refused(maker, *transfers, match="too long")
    size = len(maker.propose(transfers[0]).line)
    for bound, fits in ((size - 1, False), (size, True)):
        small = ChainMaker(4, Bounds(block_bytes=bound))
        block = small.propose(small.transfer(small.requester, FRIEND.address, COIN))
        if fits:
            assert apply(small.tip.state, block).height == 1
        else:
            with pytest.raises(InvalidTransaction, match="too large"):
                apply(small.tip.state, block)


def test_transactions_stand_in_order() -> None:
    """Sorted by sender and sequence, a few an account; nothing behind a close or result [P-4.12] [P-4.13]."""
    maker = ChainMaker(4, Bounds(transactions_an_account=2))
    transfers = [maker.transfer(maker.requester, FRIEND.address, COIN) for _ in range(3)]
    refused(maker, *transfers[1::-1], match="not ordered")
    refused(maker, *transfers, match="more than 2 transactions of one account")
    close = Close(TaskId(digest("a task")), 1, (), None)
    refused(maker, close, transfers[0], match="nothing may follow")
    refused(maker, close, close, match="nothing may follow")


def test_a_transaction_without_its_senders_signature_is_refused() -> None:
    """A forged, foreign-network or altered transaction is a wrong signature [P-4.6]."""
    maker = ChainMaker(2)
    good = maker.transfer(maker.requester, FRIEND.address, COIN)
    elsewhere = sign(good, maker.requester, GenesisId(BlockId(digest("another network"))))
    for bad in (elsewhere, replace(good, amount_micro=2 * COIN), replace(good, signature="00" * 64)):
        refused(maker, bad, match="signature", error=BadSignature)


@pytest.mark.parametrize(("sequence", "next_one"), [(2, 1), (7, 1)])
def test_sequences_have_no_gaps(sequence: int, next_one: int) -> None:
    """A transaction ahead of its turn is refused [P-4.5]."""
    maker = ChainMaker(2)
    early = maker.transfer(maker.requester, FRIEND.address, COIN, sequence)
    refused(maker, early, match=f"sequence {sequence} where {next_one} is next")


def test_nobody_overdraws_and_dust_is_refused() -> None:
    """The balance bounds a transfer from above, the network from below [P-4.9] [P-4.10]."""
    maker = ChainMaker(2, supply_micro=COIN)
    refused(maker, maker.transfer(maker.requester, FRIEND.address, COIN + 1, 1), match="does not cover")
    refused(maker, maker.transfer(FRIEND, maker.server.address, COIN, 1), match="does not cover")
    refused(maker, maker.transfer(maker.requester, FRIEND.address, 9_999, 1), match="below 10000")


def test_a_published_task_locks_its_price_and_opens() -> None:
    """Price and deposit leave the balance for the escrow; with nothing before it the task opens with its seed.

    [P-5.13] [P-5.17]
    """
    maker = ChainMaker(4, supply_micro=15 * COIN)
    parent = maker.head
    task = maker.task()
    maker.add(task)
    record = maker.records[task.id]
    assert balance(maker.tip.state, maker.requester.address) == 4 * COIN
    assert (record.state, record.escrow_micro, record.attempt) == (TaskState.OPEN, 11 * COIN, 1)
    assert record.seed == opening_seed(task.id, parent)
    assert record.seed == tagged_hash("seed", bytes.fromhex(task.id) + bytes.fromhex(parent))
    assert (record.height, record.opened_height) == (1, 1)
    assert maker.tip.state.current == record


TERMS: dict[str, tuple[dict[str, Any], str]] = {
    "parts": ({"train_micro": 8 * COIN}, "parts are not the price"),
    "one client": ({"clients": 1}, "2 to 4 clients"),
    "many clients": ({"clients": 5}, "2 to 4 clients"),
    "no images": ({"images": 0}, "1 to 2000 test images"),
    "many images": ({"images": 2_001}, "1 to 2000 test images"),
    "blocks of no images": ({"block_images": 0}, "holds 1 to 100 test images"),
    "blocks of many images": ({"block_images": 101}, "holds 1 to 100 test images"),
    "empty": ({"empty": 1_001}, "empty coalition"),
    "runtime": ({"runtime_ms": 3_600_001}, "RUNTIME"),
    "no attempts": ({"attempts": 0}, "attempts"),
    "many attempts": ({"attempts": 6}, "attempts"),
    "difficulty": ({"difficulty_micro": 99}, "least"),
    "no rankings": ({"least_rankings": 0}, "rankings"),
    "crossed rankings": ({"least_rankings": 11}, "rankings"),
    "many rankings": ({"most_rankings": 1_000_001}, "rankings"),
    "cheap": (
        {"shapley_micro": COIN, "price_micro": 9 * COIN, "runtime_ms": 101_000, "attempts": 1},
        "SapPrice",
    ),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_task_outside_the_bounds_is_refused(name: str) -> None:
    """Each bound of genesis, and what holds in any task [P-5.7]."""
    bounds = Bounds(
        clients=4,
        images=2_000,
        block_images=100,
        least_difficulty_micro=100,
        least_shapley_price_micro_a_second=10_000,
    )
    maker = ChainMaker(4, bounds)
    changes, reason = TERMS[name]
    refused(maker, maker.task(**changes), match=reason)


def test_the_least_shapley_price_counts_every_started_second_of_every_attempt() -> None:
    """At exactly the least price the task is admissible [P-5.8]."""
    maker = ChainMaker(4, Bounds(least_shapley_price_micro_a_second=10_000))
    terms: dict[str, Any] = {"shapley_micro": 160_000, "price_micro": 8 * COIN + 160_000, "attempts": 3}
    refused(maker, maker.task(**terms, runtime_ms=5_334), match="SapPrice")
    fitting = maker.task(**terms, runtime_ms=5_333)
    assert apply(maker.tip.state, maker.propose(fitting)).queue == (fitting.id,)


def test_a_task_whose_result_would_fit_no_block_is_refused() -> None:
    """Otherwise its escrow could never be paid out, and every later task would wait for ever [P-5.9]."""
    maker = ChainMaker(4, Bounds(block_bytes=10_000))
    refused(maker, maker.task(clients=20), match="would not fit")


def test_clients_are_distinct_and_signed_their_updates() -> None:
    """Two updates of one client, too many examples, or an update that its client did not sign [P-5.3] [P-5.6]."""
    maker = ChainMaker(4)
    first, second = maker.task().updates[:2]
    maker.forget()
    refused(maker, maker.task(updates=(first, first)), match="two updates of one client")
    maker = ChainMaker(4, Bounds(examples=99))
    refused(maker, maker.task(), match="too many examples")
    maker = ChainMaker(4)
    for forged in (replace(second, examples=101), replace(second, client=key("x").address)):
        maker = ChainMaker(4)
        refused(maker, maker.task(updates=(first, forged)), match="update of", error=BadSignature)
    maker = ChainMaker(4)
    signed = maker.task().updates
    maker.forget()
    task = maker.task(updates=signed, test=digest("another test set"))
    refused(maker, task, match="update of", error=BadSignature)


def test_the_price_must_be_covered() -> None:
    """No work is asked for that cannot be paid [P-5.13]."""
    maker = ChainMaker(4, supply_micro=11 * COIN - 1)
    refused(maker, maker.task(), match="does not cover")


def funded(*names: str, bounds: Bounds | None = None) -> ChainMaker:
    """A chain on which each of these accounts holds 100 coins."""
    maker = ChainMaker(4, bounds)
    for name in names:
        maker.add(maker.transfer(maker.requester, key(name).address, 100 * COIN))
    return maker


def test_tasks_queue_one_an_account_and_a_few_in_all() -> None:
    """The oldest is OPEN, the next QUEUED, and the bounds on unfinished tasks hold [P-5.15]."""
    maker = funded("a", "b", "c", bounds=Bounds(unfinished=2))
    first, second = maker.task(key("a")), maker.task(key("b"))
    maker.add(first)
    refused(maker, maker.task(key("a")), match="unfinished task")
    maker.add(second)
    assert [maker.records[task].state for task in maker.tip.state.queue] == [TaskState.OPEN, TaskState.QUEUED]
    refused(maker, maker.task(key("c")), match="too many unfinished tasks")


def test_only_a_queued_task_can_be_cancelled_by_its_requester() -> None:
    """A cancel returns the whole price; nobody else can, and not once the task is open [P-4.15]."""
    maker = funded("a", "b")
    first, second = maker.task(key("a")), maker.task(key("b"))
    maker.add(first)
    maker.add(second)
    refused(maker, maker.cancel(key("a"), first.id), match="OPEN cannot be cancelled")
    refused(maker, maker.cancel(maker.requester, second.id), match="only its requester")
    refused(maker, maker.cancel(maker.requester, TaskId(digest("nothing"))), match="no such task")
    maker.add(maker.cancel(key("b"), second.id))
    record = maker.records[second.id]
    assert (record.state, record.escrow_micro, record.end_height) == (
        TaskState.CANCELLED,
        0,
        maker.tip.height,
    )
    assert balance(maker.tip.state, key("b").address) == 100 * COIN
    refused(maker, maker.cancel(key("b"), second.id), match="no such task is unfinished")


def at_work(**terms: Any) -> tuple[ChainMaker, Task]:
    maker = ChainMaker(4)
    task = maker.task(**terms)
    maker.add(task)
    return maker, task


def closed(**terms: Any) -> tuple[ChainMaker, Task, list[Reveal]]:
    maker, task = at_work(**terms)
    reveals = maker.reveals(task)
    maker.add(maker.close(task, reveals))
    return maker, task, reveals


def test_a_round_pays_everybody() -> None:
    """OPEN, CLOSED, SETTLED: the escrow becomes the payments of the outcome."""
    maker, task, reveals = closed()
    assert maker.records[task.id].state == TaskState.CLOSED
    assert len(maker.records[task.id].commits) == 4
    maker.add(maker.result(task, reveals, maker.settled(task)))
    state = maker.tip.state
    record = state.record(task.id)
    assert (record.state, record.escrow_micro, record.end_height) == (TaskState.SETTLED, 0, 3)
    assert record.verified == tuple((miner.address, 10) for miner in maker.miners)
    paid = [balance(state, update.client) for update in task.updates]
    assert paid == [2_333_334, 2_333_333, 2_333_333]
    assert balance(state, task.server) == COIN
    assert balance(state, maker.miners[0].address) == 2 * COIN
    assert state.current is None


def test_the_next_task_opens_in_the_block_that_ends_the_last() -> None:
    """No height is lost between two tasks [P-5.16]."""
    maker = funded("a", "b")
    first, second = maker.task(key("a")), maker.task(key("b"))
    maker.add(first)
    maker.add(second)
    reveals = maker.reveals(first)
    maker.add(maker.close(first, reveals))
    parent = maker.head
    maker.add(maker.result(first, reveals, maker.settled(first)))
    record = maker.tip.state.current
    assert record is not None
    assert (record.task.id, record.state, record.opened_height) == (
        second.id,
        TaskState.OPEN,
        maker.tip.height,
    )
    assert record.seed == opening_seed(second.id, parent)


def test_a_failed_attempt_is_followed_by_another_or_by_the_refund() -> None:
    """Empty close or failed result: attempts are used up one by one, then all comes back."""
    maker, task = at_work(attempts=2)
    maker.add(Close(task.id, 1, (), maker.failed(task, TaskState.OPEN)))
    record = maker.records[task.id]
    assert (record.state, record.attempt, record.escrow_micro) == (TaskState.OPEN, 2, 11 * COIN)
    reveals = maker.reveals(task, 2)
    maker.add(maker.close(task, reveals, 2))
    maker.add(maker.result(task, reveals, maker.failed(task, TaskState.REFUNDED), 2))
    record = maker.records[task.id]
    assert (record.state, record.escrow_micro) == (TaskState.REFUNDED, 0)
    assert balance(maker.tip.state, maker.requester.address) == maker.genesis.supply_micro


def test_the_estimates_of_the_last_attempt_that_had_any_are_remembered() -> None:
    """An attempt without reveals does not wipe out what an earlier one verified."""
    maker, task, reveals = closed()
    maker.add(maker.result(task, reveals, maker.failed(task, TaskState.OPEN)))
    silent = maker.reveals(task, 2)
    maker.add(maker.close(task, silent, 2))
    maker.add(maker.result(task, [], maker.failed(task, TaskState.OPEN), 2))
    assert len(maker.records[task.id].verified) == 4


def test_frauds_are_refused_in_later_attempts() -> None:
    """A miner marked as a fraud is not counted and cannot commit again in this task [P-8.34]."""
    maker, task, reveals = closed()
    cheat = reveals[1].miner
    marks = [FraudMark(cheat, 3)]
    maker.add(maker.result(task, reveals, maker.failed(task, TaskState.OPEN), frauds=marks))
    record = maker.records[task.id]
    assert record.frauds == {cheat}
    assert cheat not in dict(record.verified)
    again = maker.reveals(task, 2)
    refused(maker, maker.close(task, again, 2), match="refused here")
    maker.add(maker.close(task, [reveal for reveal in again if reveal.miner != cheat], 2))


def test_who_withholds_a_reveal_is_refused_in_the_next_task_only() -> None:
    """Committed and not revealed: out of the next task's commits, back in the one after [P-8.35]."""
    maker, task, reveals = closed()
    silent = reveals[2].miner
    shown = [reveal for reveal in reveals if reveal.miner != silent]
    maker.add(maker.result(task, shown, maker.settled(task)))
    assert maker.tip.state.withheld == {silent}
    second = maker.task()
    maker.add(second)
    assert maker.tip.state.withheld == frozenset()
    refused(maker, maker.close(second, maker.reveals(second)), match="refused here")
    rest = [reveal for reveal in maker.reveals(second) if reveal.miner != silent]
    maker.add(maker.close(second, rest))
    maker.add(maker.result(second, rest, maker.settled(second)))
    third = maker.task()
    maker.add(third)
    maker.add(maker.close(third, maker.reveals(third)))


@pytest.mark.parametrize(("left", "admitted"), [(0, True), (1, False), (9_999, False), (10_000, True)])
def test_dust_costs_what_it_holds(left: int, admitted: bool) -> None:
    """Who pays leaves nothing or at least the least transfer: n accounts take n times that, not n micro.

    So it is for a task's price; who has less than that already may still ask for values without pay. [P-4.11]
    """
    maker = funded("a")
    account = key("a")
    spent = balance(maker.tip.state, account.address) - left
    payment = maker.transfer(account, FRIEND.address, spent, 1)
    price = spent - maker.genesis.bounds.task_deposit_micro
    parts = {"price_micro": price, "train_micro": price, "computation_micro": 0, "shapley_micro": 0}
    task = maker.task(account, sequence=1, **parts)
    if not admitted:
        refused(maker, payment, match="less than the least transfer")
        refused(maker, task, match="less than the least transfer")
        return
    maker.add(payment)
    assert balance(maker.tip.state, account.address) == left


def test_withholding_is_remembered_until_a_task_opens() -> None:
    """Neither the end of the task nor blocks without tasks, however many, give a miner back what it lost."""
    maker, task, reveals = closed()
    silent = reveals[2].miner
    maker.add(maker.result(task, [one for one in reveals if one.miner != silent], maker.settled(task)))
    for _ in range(3):
        maker.add(maker.transfer(maker.requester, maker.server.address, COIN))
        assert maker.tip.state.withheld == {silent}
    second = maker.task()
    maker.add(second)
    refused(maker, maker.close(second, maker.reveals(second)), match="refused here")


def test_withholding_in_an_attempt_that_failed_counts_at_the_tasks_end() -> None:
    """Who withheld in attempt 1 and revealed in attempt 2 is out of the next task."""
    maker, task, reveals = closed()
    silent = reveals[2].miner
    shown = [reveal for reveal in reveals if reveal.miner != silent]
    maker.add(maker.result(task, shown, maker.failed(task, TaskState.OPEN)))
    again = maker.reveals(task, 2)
    maker.add(maker.close(task, again, 2))
    maker.add(maker.result(task, again, maker.settled(task), 2))
    assert maker.tip.state.withheld == {silent}


@pytest.mark.parametrize("shown", [0, 1, 2])
def test_failures_of_others_bar_nobody(shown: int) -> None:
    """Where no reveal could be verified, or more than f are missing, nobody is known to have withheld: all commit.

    [P-8.35]
    """
    maker, task, reveals = closed()
    outcome = maker.settled(task) if shown else maker.failed(task, TaskState.OPEN)
    maker.add(maker.result(task, reveals[:shown], outcome))
    if not shown:
        again = maker.reveals(task, 2)
        maker.add(maker.close(task, again, 2))
        maker.add(maker.result(task, again, maker.settled(task), 2))
    assert maker.tip.state.withheld == frozenset()
    second = maker.task()
    maker.add(second)
    maker.add(maker.close(second, maker.reveals(second)))


def test_a_fraud_shows_nobody_that_others_withheld() -> None:
    """A result whose only reveals are frauds bars nobody: who lies may also have kept the others' tables away."""
    maker, task, reveals = closed()
    marks = [FraudMark(reveal.miner, 3) for reveal in reveals[:3]]
    maker.add(maker.result(task, reveals[:3], maker.failed(task, TaskState.OPEN), frauds=marks))
    assert maker.tip.state.withheld == frozenset()


def test_never_more_than_f_are_barred() -> None:
    """Another miner is silent in each attempt: the second name would be more than f, and one of two is honest.

    [P-8.35]
    """
    maker, task, reveals = closed()
    for attempt, silent in ((1, 2), (2, 3)):
        shown = [reveal for index, reveal in enumerate(reveals) if index != silent]
        outcome = maker.failed(task, TaskState.OPEN) if attempt == 1 else maker.settled(task)
        maker.add(maker.result(task, shown, outcome, attempt))
        if attempt == 1:
            reveals = maker.reveals(task, 2)
            maker.add(maker.close(task, reveals, 2))
    assert maker.tip.state.withheld == {reveals[2].miner}
    assert len(maker.tip.state.withheld) <= maker.genesis.faults


def test_frauds_are_remembered_through_all_attempts_and_after_the_end() -> None:
    """A fraud of attempt 1 is refused in attempt 3 as well, and stands in the record when the task has ended."""
    maker, task, reveals = closed()
    first, second = reveals[1].miner, reveals[3].miner
    maker.add(maker.result(task, reveals, maker.failed(task, TaskState.OPEN), frauds=[FraudMark(first, 3)]))
    again = [reveal for reveal in maker.reveals(task, 2) if reveal.miner != first]
    maker.add(maker.close(task, again, 2))
    maker.add(maker.result(task, again, maker.failed(task, TaskState.OPEN), 2, frauds=[FraudMark(second, 5)]))
    third = maker.reveals(task, 3)
    refused(maker, maker.close(task, [one for one in third if one.miner != second], 3), match="refused here")
    refused(maker, maker.close(task, [one for one in third if one.miner != first], 3), match="refused here")
    rest = [reveal for reveal in third if reveal.miner not in (first, second)]
    maker.add(maker.close(task, rest, 3))
    assert maker.records[task.id].frauds == {first, second}
    maker.add(maker.result(task, rest, maker.settled(task), 3))
    assert maker.records[task.id].frauds == {first, second}


def test_a_close_out_of_place_is_refused() -> None:
    """No task at work, another task, another attempt, or one that is closed already [P-8.8]."""
    maker = ChainMaker(4)
    refused(maker, Close(TaskId(digest("x")), 1, (), None), match="no such task at work")
    maker, task = at_work()
    refused(maker, Close(TaskId(digest("x")), 1, (), None), match="no such task at work")
    reveals = maker.reveals(task)
    refused(maker, maker.close(task, reveals, 2), match="attempt 2 is not OPEN")
    maker.add(maker.close(task, reveals))
    refused(maker, maker.close(task, reveals), match="attempt 1 is not OPEN")


def test_a_close_has_good_commits_or_an_outcome() -> None:
    """Sorted, one a miner, of the roster, signed; with none an outcome, which settles nothing [P-8.9]."""
    maker, task = at_work()
    close = maker.close(task, maker.reveals(task))
    first, second = close.commits[:2]
    refused(maker, replace(close, commits=(second, first)), match="not sorted")
    refused(maker, replace(close, commits=(first, first)), match="not sorted")
    stranger = maker.commit(task.id, 1, key("stranger"), digest("x"))
    refused(maker, replace(close, commits=(stranger,)), match="nobody on the roster")
    forged = replace(first, digest=digest("other"))
    refused(maker, replace(close, commits=(forged,)), match="signature", error=BadSignature)
    stale = maker.commit(task.id, 2, maker.miners[0], digest("x"))
    refused(maker, replace(close, commits=(stale,)), match="signature", error=BadSignature)
    refused(maker, replace(close, commits=()), match="commits or an outcome")
    refused(maker, replace(close, outcome=maker.failed(task, TaskState.OPEN)), match="commits or an outcome")
    refused(maker, Close(task.id, 1, (), maker.settled(task)), match="settles nothing")


def test_a_result_out_of_place_is_refused() -> None:
    """Before the close, for another task or attempt [P-8.25]."""
    maker, task = at_work()
    reveals = maker.reveals(task)
    refused(maker, maker.result(task, reveals, maker.settled(task)), match="attempt 1 is not CLOSED")
    maker, task, reveals = closed()
    result = maker.result(task, reveals, maker.settled(task))
    refused(maker, replace(result, task=TaskId(digest("x"))), match="no such task at work")
    refused(maker, replace(result, attempt=2), match="attempt 2 is not CLOSED")


def test_reveals_open_their_commits() -> None:
    """Sorted, one a miner, opening the commit, signed; sums as long as the task [P-8.26]."""
    maker, task, reveals = closed()
    result = maker.result(task, reveals, maker.settled(task))
    refused(maker, replace(result, reveals=tuple(reveals[::-1])), match="not sorted")
    refused(maker, replace(result, reveals=(reveals[0],) * 2), match="not sorted")
    other = maker.reveal(task, 1, maker.miners[0], rankings=9)
    refused(maker, replace(result, reveals=(other,)), match="opens no commit")
    forged = replace(reveals[0], signature=reveals[1].signature)
    refused(maker, replace(result, reveals=(forged,)), match="signature", error=BadSignature)


def test_every_client_has_a_sum() -> None:
    """A reveal of fewer sums than the task has clients is refused, though it opens its commit [P-8.26]."""
    maker = ChainMaker(4)
    task = maker.task(clients=3)
    maker.add(task)
    short = maker.reveal(task, 1, maker.miners[0], sums=(1, 2))
    maker.add(maker.close(task, [short]))
    refused(maker, maker.result(task, [short], maker.settled(task)), match="wrong length")


def test_frauds_name_included_reveals() -> None:
    """Sorted, one a miner, and only of miners whose reveal is in the result [P-8.27]."""
    maker, task, reveals = closed()
    marks = [FraudMark(reveal.miner, 3) for reveal in reveals]
    result = maker.result(task, reveals[:2], maker.settled(task))
    refused(maker, replace(result, frauds=(marks[1], marks[0])), match="not sorted")
    refused(maker, replace(result, frauds=(marks[0], marks[0])), match="not sorted")
    refused(maker, replace(result, frauds=(marks[2],)), match="no included reveal")


def test_an_outcome_pays_exactly_the_escrow() -> None:
    """Too much, too little, to a stranger, to too few clients, or anything while the task goes on [P-9.15]."""
    maker, task, reveals = closed()
    outcome = maker.settled(task)

    def result(pay: Pay, state: TaskState = TaskState.SETTLED) -> Transaction:
        return maker.result(task, reveals, replace(outcome, pay=pay, state=state))

    pay = outcome.pay
    refused(maker, result(replace(pay, server=pay.server + 1)), match="not the price")
    refused(maker, result(replace(pay, server=pay.server - 1)), match="not the price")
    refused(maker, result(replace(pay, clients=pay.clients[:2])), match="wrong length")
    stranger = ((key("stranger").address, pay.miners[0][1]),)
    refused(maker, result(replace(pay, miners=stranger)), match="nobody on the roster")
    refused(maker, result(pay, TaskState.OPEN), match="not the price")
    refused(maker, result(pay, TaskState.REFUNDED), match="an attempt is left")


def test_the_last_attempt_cannot_be_followed_by_another() -> None:
    """With no attempt left the outcome is SETTLED or REFUNDED [P-9.9]."""
    maker, task, reveals = closed(attempts=1)
    refused(
        maker, maker.result(task, reveals, maker.failed(task, TaskState.OPEN)), match="no attempt is left"
    )
    maker.add(maker.result(task, reveals, maker.failed(task, TaskState.REFUNDED)))


def test_a_task_of_price_zero_runs() -> None:
    """Values can be asked for without pay."""
    maker, task, reveals = closed(price_micro=0, train_micro=0, computation_micro=0, shapley_micro=0)
    maker.add(maker.result(task, reveals, maker.settled(task)))
    assert maker.records[task.id].state == TaskState.SETTLED


def test_a_refused_transaction_changes_nothing() -> None:
    """A leader that tries pending transactions on one transition can go on after a refusal [P-4.16]."""
    maker = ChainMaker(4, supply_micro=15 * COIN)
    block = maker.propose(maker.transfer(maker.requester, FRIEND.address, COIN, 1))
    trial = Transition(maker.tip.state, block, trusted=True)
    for bad in (
        maker.transfer(maker.requester, FRIEND.address, 16 * COIN, 1),
        sign(
            replace(maker.task(price_micro=30 * COIN, train_micro=27 * COIN), sequence=1),
            maker.requester,
            GenesisId(BlockId("")),
        ),
    ):
        with pytest.raises(InvalidTransaction, match="does not cover"):
            trial.execute(bad)
    trial.execute(block.transactions[0])
    assert trial.close_block() == apply(maker.tip.state, block)


def test_trust_leaves_out_signatures_and_nothing_else() -> None:
    """The node's own file is replayed without verifying; every other rule holds."""
    maker = ChainMaker(2, supply_micro=COIN)
    unsigned = replace(maker.transfer(maker.requester, FRIEND.address, COIN, 1), signature="00" * 64)
    assert apply(maker.tip.state, maker.propose(unsigned), trusted=True).height == 1
    with pytest.raises(BadSignature):
        apply(maker.tip.state, maker.propose(unsigned))
    over = replace(unsigned, amount_micro=COIN + 1)
    with pytest.raises(InvalidTransaction):
        apply(maker.tip.state, maker.propose(over), trusted=True)


def test_applying_leaves_the_old_state_alone() -> None:
    """States are values: the parent's can be extended again, with the same result."""
    maker = ChainMaker(4)
    before = maker.tip.state
    block = maker.propose(maker.task())
    frozen = (dict(before.balances), dict(before.sequences), dict(before.tasks))
    first, second = apply(before, block), apply(before, block)
    assert first == second
    assert (dict(before.balances), dict(before.sequences), dict(before.tasks)) == frozen
