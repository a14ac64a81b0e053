"""What a requester is told of a task that ended without values: why, and what would help."""

from dataclasses import replace

import pytest
from chains import ChainMaker
from places import refunded_round

from fedcoin_cli.application.books.task_report import report_of
from fedcoin_cli.application.requester.requester import Published
from fedcoin_cli.contract.settlement import settle
from ledger_store.base.errors import ConsensusFailure
from ledger_store.base.words import TaskState
from ledger_store.transaction import Close, Result, Task


def told(maker: ChainMaker, task: Task) -> str:
    """The hint of a task that the last block ended."""
    end = maker.blocks[-1].transactions[-1]
    assert isinstance(end, Close | Result)
    report = report_of(maker.records[task.id], maker.genesis, end)
    with pytest.raises(ConsensusFailure, match="refunded after 1 attempts") as caught:
        Published(task.id, report, 1.0, 1.0).check()
    return caught.value.hint


def test_a_refund_says_what_would_help() -> None:
    """Where nobody had an estimate, D had nothing to do with it; where nobody was near the others, it had."""
    maker = ChainMaker(2)
    assert told(maker, refunded_round(maker)).startswith("no miner's estimate was complete in time")
    task = maker.task(attempts=1, difficulty_micro=1)
    maker.add(task)
    reveals = [
        maker.reveal(task, 1, miner, sums=sums)
        for miner, sums in zip(maker.miners, [(10, 10, 10), (90, 10, 10)], strict=True)
    ]
    maker.add(maker.close(task, reveals))
    maker.add(maker.result(task, reveals, settle(maker.records[task.id], maker.genesis, reveals, ())))
    assert told(maker, task).startswith("no estimate came within D")


def test_a_task_that_was_withdrawn_was_not_refunded_for_want_of_anything() -> None:
    """Another command of the same account may cancel what waits."""
    maker = ChainMaker(2)
    task = maker.task()
    maker.add(task)
    record = replace(maker.records[task.id], state=TaskState.CANCELLED)
    report = report_of(record, maker.genesis, None)
    with pytest.raises(ConsensusFailure, match="the task was cancelled\\n") as caught:
        Published(task.id, report, 1.0, 0.0).check()
    assert caught.value.hint == "its requester withdrew it: fedcoin publish asks anew"
