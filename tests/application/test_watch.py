from dataclasses import replace
from typing import Any

import pytest
from chains import ChainMaker

from fedcoin_cli.application.requester.watch import Progress, progress_of, sending
from fedcoin_cli.network.files.transfers import TransferProgress as Sent
from fedcoin_cli.protocol.message import Errors, Phase, Standing
from ledger_store.base.names import TaskId
from ledger_store.base.words import TaskState
from ledger_store.state import TaskRecord


@pytest.fixture
def record() -> TaskRecord:
    maker = ChainMaker()
    task = maker.task(runtime_ms=8_000)
    maker.add(task)
    return maker.records[task.id]


def standing(record: TaskRecord, phase: str, **changes: Any) -> Standing:
    return replace(Standing(1, record.task.id, record.attempt, Phase(phase), 0, 0, 0, 0, 3), **changes)


def test_files_on_their_way() -> None:
    """While files are sent the bytes of all miners count; then the miners check."""
    assert sending([Sent(3, 10), Sent(10, 10)]) == Progress("sending files", 13, 20, "B")
    assert sending([Sent(10, 10)]).title == "the miners check the files"
    assert sending([]).title == "the miners check the files"


def test_inspections_are_shown(record: TaskRecord) -> None:
    """Once all bytes are there, how far the slowest of the miners is that inspect; who tells nothing is passed over."""
    tell = [
        standing(record, "files", evaluated=done, total=total) for done, total in ((30, 40), (9, 40), (0, 0))
    ]
    assert sending([Sent(10, 10)], tell) == Progress("the miners inspect the files", 9, 40, "coalitions")
    assert sending([Sent(3, 10)], tell).title == "sending files"


def test_mining_by_time_or_by_coalitions(record: TaskRecord) -> None:
    """Sampling is shown as seconds of RUNTIME by the slowest miner, exact work as coalitions by the fastest."""
    slow, fast = (
        standing(record, "mining", remaining_ms=6_500),
        standing(record, "mining", remaining_ms=2_000),
    )
    assert progress_of(record, [slow, fast]) == Progress("mining", 1, 8, "s")
    exact = standing(record, "mining", total=7, evaluated=5)
    assert progress_of(record, [slow, exact]) == Progress("mining exact values", 5, 7, "coalitions")


def test_the_least_sure_miner_is_told(record: TaskRecord) -> None:
    """While miners mine, each of the errors is shown at its largest; none until one is known."""
    told = (None, Errors(7, 70_000, 90, None), Errors(6, 310_000, 95, 5_000), Errors(9, None, 80, None))
    known = [standing(record, "mining", errors=errors) for errors in told]
    largest = Errors(9, 310_000, 95, 5_000)
    assert progress_of(record, known).errors == largest
    assert progress_of(record, [*known, standing(record, "mining", total=7)]).errors == largest
    assert progress_of(record, known[:1]).errors is None
    assert progress_of(record, known[3:]).errors == told[3]


def test_other_stages(record: TaskRecord) -> None:
    """Waiting, collecting and checking have their names; a later attempt is told; another task's miners are not."""
    committed = standing(record, "committed")
    assert progress_of(record, [committed]) == Progress("collecting estimates", 1, 1, "miners")
    other = replace(committed, task=TaskId("f" * 64))
    assert progress_of(record, [other]) == Progress("collecting estimates", 0, 1, "miners")
    assert progress_of(replace(record, state=TaskState.QUEUED), []).title == "waiting for older tasks"
    again = replace(record, state=TaskState.CLOSED, attempt=2)
    assert progress_of(again, []).title == "checking the estimates, attempt 2 of 3"
