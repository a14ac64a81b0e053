"""The timer of a view: when it is to be skipped, and when a notarised one is left without a decision."""


class ViewTimer:
    """It knows no clock: whoever asks tells the time."""

    def __init__(self) -> None:
        # When the view's SKIP is due; None: its timer does not run.
        self._timeout_at: int | None = None
        # When a notarised view is left without a decision; None: no notarisation.
        self._leave_at: int | None = None

    def restart(self) -> None:
        """Another view begins."""
        self._timeout_at = self._leave_at = None

    def rings(self, now_ms: int, length_ms: int, *, armed: bool) -> bool:
        """Whether the view has lasted too long, once in each such time; it begins when the height is armed."""
        if self._timeout_at is None:
            if armed:
                self._timeout_at = now_ms + length_ms
            return False
        if now_ms < self._timeout_at:
            return False
        self._timeout_at = now_ms + length_ms
        return True

    def may_leave(self, now_ms: int, wait_ms: int) -> bool:
        """Whether a notarised view has waited long enough for its decision; the first question begins the wait."""
        if self._leave_at is None:
            self._leave_at = now_ms + wait_ms
        return now_ms >= self._leave_at

    @property
    def deadline_ms(self) -> int | None:
        """When either is due; None: never of its own."""
        return min((at for at in (self._timeout_at, self._leave_at) if at is not None), default=None)
