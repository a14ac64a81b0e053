"""The clients' signatures of a task, looked at in slices: a thousand at once would make a miner deaf.

Pure, and the same at every miner: a slice is a number of signatures, not a time. The order of the clients is the
requester's, who would put a false one last; so a task with one costs as much as a good one, and its account must wait.
"""

from dataclasses import dataclass

from ledger_store.base.canonical import write
from ledger_store.base.names import Address, GenesisId
from ledger_store.identity.keys import framed, verify_bytes
from ledger_store.transaction import Task

SIGNATURES_A_TURN = 16
WAIT_MS, WAIT_MOST_MS = 10_000, 600_000
WAITING_MOST = 1_000


class Signatures:
    """How far a task's clients' signatures have been looked at."""

    def __init__(self, task: Task, genesis: GenesisId) -> None:
        self.task = task
        self._genesis = genesis
        self._done = 0

    def good(self, most: int) -> bool | None:
        """Look at up to `most` more: whether all are good, None while some are left and none was false."""
        upto = min(self._done + most, len(self.task.updates))
        for update in self.task.updates[self._done : upto]:
            terms = write(self.task.update_terms(update))
            if not verify_bytes(update.client, framed("update", self._genesis, terms), update.signature):
                return False
        self._done = upto
        return True if upto == len(self.task.updates) else None


@dataclass(slots=True)
class _Wait:
    until_ms: int
    times: int


class Waits:
    """Accounts whose task carried a false signature: each time they wait twice as long, wherever they come from.

    (docs/adr/0032) [P-11.16]
    """

    def __init__(self) -> None:
        self._waits: dict[Address, _Wait] = {}

    def add(self, account: Address, now_ms: int) -> None:
        """It has signed a task with a false signature of a client."""
        last = self._waits.pop(account, None)
        times = last.times + 1 if last is not None and now_ms < last.until_ms + WAIT_MOST_MS else 1
        if len(self._waits) >= WAITING_MOST:
            del self._waits[next(iter(self._waits))]
        wait_ms = min(WAIT_MOST_MS, WAIT_MS * 2 ** min(times - 1, 10))
        self._waits[account] = _Wait(now_ms + wait_ms, times)

    def left_ms(self, account: Address, now_ms: int) -> int:
        """How long it has to wait yet."""
        wait = self._waits.get(account)
        return 0 if wait is None else max(0, wait.until_ms - now_ms)
