"""What the state forgets of tasks that ended, and the history that readers make of the blocks."""

from pathlib import Path

import pytest
from chains import COIN, ChainMaker, history_of, key

from ledger_store.base.names import TaskId
from ledger_store.base.words import TaskState
from ledger_store.bookkeeping.history import History, ended_by
from ledger_store.file.chain_file import ChainReader
from ledger_store.file.snapshot import SNAPSHOT_NAME, Seal, Snapshot
from ledger_store.transaction import Close, Outcome, Pay, Task

# A nonce, the height of its opening, and what stands around them.
SERVED_BYTES = 32 + 16


def eventful() -> tuple[ChainMaker, list[Task]]:
    """Tasks that are settled in a second attempt, refunded by a close, cancelled, and one that goes on."""
    maker, other = ChainMaker(4), key("other")
    maker.add(maker.transfer(maker.requester, other.address, 100 * COIN))
    settled, cancelled = maker.task(), maker.task(sender=other)
    maker.add(settled)
    maker.add(cancelled)
    for attempt in (1, 2):
        reveals = maker.reveals(settled, attempt)
        maker.add(maker.close(settled, reveals, attempt))
        if attempt == 1:
            maker.add(maker.cancel(other, cancelled.id))
        outcome = maker.failed(settled, TaskState.OPEN) if attempt == 1 else maker.settled(settled)
        maker.add(maker.result(settled, reveals, outcome, attempt))
    refunded = maker.task(attempts=1)
    maker.add(refunded)
    nothing = Outcome(TaskState.REFUNDED, None, None, None, 1, Pay((0, 0, 0), 0, (), refunded.price_micro))
    maker.add(Close(refunded.id, 1, (), nothing))
    maker.add_transfers(2)
    last = maker.task()
    maker.add(last)
    return maker, [settled, cancelled, refunded, last]


def test_the_history_knows_what_the_state_forgets(tmp_path: Path) -> None:
    """Of four tasks the state holds the one that goes on; the history all, in the order of their coming [P-5.18]."""
    maker, tasks = eventful()
    maker.write(tmp_path)
    with ChainReader(tmp_path) as reader:
        assert list(reader.tip.state.tasks) == [tasks[-1].id]
        known = history_of(reader)
    assert list(known) == [task.id for task in tasks]
    assert [known[task.id].state for task in tasks] == [
        TaskState.SETTLED,
        TaskState.CANCELLED,
        TaskState.REFUNDED,
        "OPEN",
    ]
    assert dict(known) == maker.records
    assert (known.height, len(known)) == (len(maker.blocks), 4)
    assert known[tasks[0].id].task.files == tasks[0].files


def test_a_block_tells_what_it_ended() -> None:
    """The state after a block names the tasks that this block ended, by whatever transaction, and no other."""
    maker, _ = eventful()
    known = History(maker.genesis)
    ends = 0
    for block in maker.blocks:
        known.follow(block)
        state = known._tip.state
        told = [one for transaction in block.transactions if (one := ended_by(transaction)) is not None]
        assert [record.task.id for record in state.ended] == told
        assert all(record.end_height == block.height for record in state.ended)
        assert all(state.record(record.task.id) == record for record in state.ended)
        ends += len(told)
    assert ends == 3
    with pytest.raises(KeyError):
        state.record(TaskId(maker.blocks[0].id))


def test_published_and_withdrawn_in_one_block() -> None:
    """A task whose cancel stands beside it was never unfinished after a block, and is known all the same."""
    maker, other = ChainMaker(4), key("other")
    maker.add(maker.transfer(maker.requester, other.address, 100 * COIN))
    maker.add(maker.task())
    waiting = maker.task(sender=other)
    maker.add(waiting, maker.cancel(other, waiting.id))
    known = History(maker.genesis)
    for block in maker.blocks:
        known.follow(block)
    assert known[waiting.id].state == TaskState.CANCELLED
    assert TaskState.QUEUED not in [record.state for record in known.values()]


def test_an_ended_task_leaves_a_snapshot_its_call(tmp_path: Path) -> None:
    """What a snapshot grows by with every task that ends is the nonce of its call, whatever the task held [P-5.18]."""
    maker = ChainMaker(4)
    sizes = []
    for _ in range(3):
        for _ in range(10):
            maker.add_round()
        maker.add_transfers(1)  # the block that ends a task names it once more
        Snapshot("0" * 64, maker.tip.state).save(tmp_path, Seal(maker.miners[0], maker.genesis))
        sizes.append((tmp_path / SNAPSHOT_NAME).stat().st_size)
    first, second, third = sizes
    assert 0 < second - first <= 10 * SERVED_BYTES
    assert 0 < third - second <= 10 * SERVED_BYTES
