"""One transaction on its way to the miners: who took it, who refused it, whom to tell again. Pure.

A miner takes a task first and checks its files afterwards: a refusal that follows an acceptance is about the files.
"""

from collections.abc import Collection

from ledger_store.base.names import Address
from ledger_store.transaction import Cancel, Task, Transfer

RESEND_S = 1.0
# Those that took it, too, should they have lost it in a restart.
REMIND_EVERY = 10


class Submission:
    """The receipts for one transaction from `miners`, of which `quorum` must take it."""

    def __init__(
        self, transaction: Transfer | Task | Cancel, miners: Collection[Address], quorum: int
    ) -> None:
        self.transaction = transaction
        self.took: set[Address] = set()
        self.refused: dict[Address, str] = {}
        self.files_refused: dict[Address, str] = {}
        self._miners, self._quorum = tuple(miners), quorum
        self._send_s = 0.0
        self._rounds = 0

    @property
    def taken(self) -> bool:
        """Whether a quorum holds it as pending."""
        return len(self.took) >= self._quorum

    @property
    def refusal(self) -> str | None:
        """Why so many refuse it now that a quorum cannot be had; this may change with the next block."""
        return self._verdict(self.refused)

    @property
    def files_refusal(self) -> str | None:
        """Why so many refuse the task's files, having checked them, that it will never be final."""
        return self._verdict(self.files_refused)

    def receipt(self, miner: Address, error: str | None) -> None:
        """A miner's answer."""
        if miner not in self._miners:
            return
        if error is None:
            self.took.add(miner)
            self.refused.pop(miner, None)
        elif miner in self.took or miner in self.files_refused:
            self.took.discard(miner)
            self.files_refused[miner] = error
        else:
            self.refused[miner] = error

    def due(self, now_s: float) -> tuple[Address, ...]:
        """Whom to send it (again) now: at intervals everybody who has not taken it, now and then all."""
        if now_s < self._send_s:
            return ()
        self._send_s = now_s + RESEND_S
        self._rounds += 1
        settled = self.files_refused.keys() | (self.took if self._rounds % REMIND_EVERY else set())
        return tuple(miner for miner in self._miners if miner not in settled)

    def _verdict(self, refusals: dict[Address, str]) -> str | None:
        """The reason that most give, once too few miners are left."""
        if len(self._miners) - len(refusals) >= self._quorum:
            return None
        reasons = list(refusals.values())
        return max(reasons, key=reasons.count)
