"""Tasks that are not taken again, for good or for a while, and why."""

from dataclasses import dataclass

from fedcoin_cli.replica.ports import Ports
from ledger_store.base.names import TaskId

REASON_MOST = 400
REFUSALS_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a task is not taken; `until_ms` None: for good."""

    reason: str
    until_ms: int | None


class Refusals:
    """The newest thousand."""

    def __init__(self, ports: Ports) -> None:
        # The clock.
        self._ports = ports
        # Why, and until when, by task.
        self._refused: dict[TaskId, _Refusal] = {}

    def add(self, task: TaskId, reason: str, until_ms: int | None = None) -> None:
        """From now on it is not taken; `until_ms` None: for good."""
        if len(self._refused) >= REFUSALS_KEPT:
            del self._refused[next(iter(self._refused))]
        self._refused[task] = _Refusal(reason, until_ms)

    def reason(self, task: TaskId) -> str | None:
        """Why it is not taken now; None: it may be."""
        refusal = self._refused.get(task)
        if refusal is None or (refusal.until_ms is not None and self._ports.now_ms() >= refusal.until_ms):
            return None
        return refusal.reason
