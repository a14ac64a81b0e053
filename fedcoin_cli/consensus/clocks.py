"""The clocks of one attempt: when commits and reveals freeze here, and when this miner's patience ends."""

from collections.abc import Iterable, Iterator, Mapping

from fedcoin_cli.consensus.attempt import Attempt, Effect, Frozen, Persist, Stage
from fedcoin_cli.protocol.message import CommitNote, RevealNote
from ledger_store.base.names import Address


class Clocks:
    """What ran out, and what was held then. The machine has no clock: `advance` tells the time."""

    def __init__(self, attempt: Attempt, now_ms: int) -> None:
        # What the chain fixes for all miners: how long each clock runs.
        self._attempt = attempt
        # When the attempt opened here, monotonic: commits freeze by it.
        self.opened_ms = now_ms
        # When the close was applied here; None before: reveals freeze by it.
        self.closed_ms: int | None = None
        # The time of the last tick.
        self._now = now_ms
        # What was held when each clock ran out; it never changes, or a veto would move.
        self.frozen: dict[Stage, frozenset[Address]] = {}
        # When this process first saw CLOSED, plus the time since then in which it saw fewer than q miners.
        self._watched_ms: int | None = None

    def advance(self, now_ms: int, *, together: bool) -> None:
        """Time has passed; the clocks of patience stand still while fewer than q miners are in sight [P-8.33]."""
        passed_ms, self._now = now_ms - self._now, now_ms
        if self.closed_ms is not None and self._watched_ms is None:
            self._watched_ms = now_ms
        elif self._watched_ms is not None and not together:
            self._watched_ms += passed_ms

    def run_out(self) -> Iterator[Stage]:
        """The stages whose time is over, in their order."""
        return (stage for stage, at_ms in self._stages() if self._now >= at_ms)

    # The reason is in docs/adr/0006.
    # Rule [P-8.6].
    def freeze(self, stage: Stage, held: Mapping[Address, CommitNote | RevealNote]) -> list[Effect]:
        """What is held now is the frozen set of this stage: persisted with the items themselves, and only once."""
        if stage in self.frozen:
            return []
        self.frozen[stage] = frozenset(held)
        items = [Persist(note) for _, note in sorted(held.items())]
        frozen = Frozen(self._attempt.task, self._attempt.number, stage, tuple(sorted(held)))
        return [*items, Persist(frozen)]

    @property
    def deadline_ms(self) -> int | None:
        """When the next freeze is due."""
        return min((at_ms for stage, at_ms in self._stages() if stage not in self.frozen), default=None)

    @property
    def is_patient(self) -> bool:
        """Whether tables may still be on their way: who has abandoned and then restarted checks them again first."""
        began = self._watched_ms
        return began is None or self._now < began + self._attempt.reveal_ms

    def _stages(self) -> Iterable[tuple[Stage, int]]:
        """When commits freeze or, once they are closed, reveals do; and when patience ends.

        After a restart reveals freeze not before they could be checked again. [P-8.23]
        """
        began, attempt = self._watched_ms, self._attempt
        if self.closed_ms is None:
            return ((Stage.COMMITS, self.opened_ms + attempt.freeze_ms),)
        if began is None:
            return ()
        reveals_ms = max(self.closed_ms + attempt.reveal_ms, began + attempt.check_budget_ms)
        return (
            (Stage.REVEALS, reveals_ms),
            (Stage.ABANDONED, began + attempt.abandon_ms),
            (Stage.GIVEN_UP, began + attempt.give_up_ms),
        )
