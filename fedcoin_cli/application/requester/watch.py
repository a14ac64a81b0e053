"""What a waiting person is shown of a task: one line of progress from standings, transfers and the chain. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fedcoin_cli.network.files.transfers import TransferProgress as Sent
from fedcoin_cli.protocol.message import Errors, Phase, Standing
from ledger_store.base.words import TaskState
from ledger_store.state import TaskRecord
from ledger_store.transaction import Task


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` in `unit` ("B": bytes); equal titles belong to one bar.

    `errors` are the largest that a miner tells by its own rankings; by mining the agreed values are surer still.
    """

    title: str
    done: int
    total: int
    unit: str
    errors: Errors | None = None


def sending(sent: Collection[Sent], standings: Iterable[Standing] = ()) -> Progress:
    """Before a task is final: its files are on their way or being inspected; one `Sent` a miner.

    Of the miners that inspect the slowest is shown: the task waits for most of them.
    """
    done, total = sum(one.done_bytes for one in sent), sum(one.total_bytes for one in sent)
    if done < total:
        return Progress("sending files", done, total, "B")
    inspecting = [one for one in standings if one.phase == Phase.FILES and one.total]
    if inspecting:
        slowest = min(inspecting, key=lambda one: one.evaluated / one.total)
        return Progress("the miners inspect the files", slowest.evaluated, slowest.total, "coalitions")
    return Progress("the miners check the files", 0, 1, "")


def progress_of(record: TaskRecord, standings: Iterable[Standing]) -> Progress:
    """How a final task stands, by the chain and by what the miners say."""
    task = record.task
    if record.state == TaskState.QUEUED:
        return Progress("waiting for older tasks", 0, 1, "")
    attempt = f", attempt {record.attempt} of {task.attempts}" if record.attempt > 1 else ""
    if record.state == TaskState.CLOSED:
        return Progress(f"checking the estimates{attempt}", 0, 1, "")
    here = [one for one in standings if (one.task, one.attempt) == (task.id, record.attempt)]
    mining = [one for one in here if one.phase == Phase.MINING]
    if not mining:
        done = sum(one.phase == Phase.COMMITTED for one in here)
        return Progress(f"collecting estimates{attempt}", done, max(1, len(here)), "miners")
    return _mining(task, mining, attempt)


def _mining(task: Task, mining: Collection[Standing], attempt: str) -> Progress:
    errors = _largest([one.errors for one in mining if one.errors is not None])
    exact = max((one for one in mining if one.total), key=lambda one: one.evaluated, default=None)
    if exact is not None:
        return Progress(f"mining exact values{attempt}", exact.evaluated, exact.total, "coalitions", errors)
    left_ms = max(one.remaining_ms for one in mining)
    done_s = max(0, task.runtime_ms - left_ms) // 1000
    return Progress(f"mining{attempt}", done_s, max(1, task.runtime_ms // 1000), "s", errors)


def _largest(errors: Collection[Errors]) -> Errors | None:
    """Each of the errors at its largest, as far as miners know it."""
    if not errors:
        return None
    return Errors(
        max(one.values_pp_micro for one in errors),
        max((one.payments_micro for one in errors if one.payments_micro is not None), default=None),
        max((one.images_pp_micro for one in errors if one.images_pp_micro is not None), default=None),
        max((one.images_micro for one in errors if one.images_micro is not None), default=None),
    )
