"""The mining child under its node's eyes: started, and started again a moment after it fell."""

from fedcoin_cli.application.node.child import Child
from fedcoin_cli.replica.jobs import Answer, Configure, Order

CHILD_RESTART_MS = 2_000


class SupervisedChild:
    """A child that is there, or that will be there again; while there is none, nothing is ordered and nothing said."""

    def __init__(self, configure: Configure) -> None:
        # What each child is told first.
        self._configure = configure
        # The process; None: it fell and waits to be started again.
        self._child: Child | None = Child(configure)
        # When it is, monotonic.
        self._restart_at = 0

    @property
    def fds(self) -> list[int]:
        """What a poll waits for as well: answers, or the end."""
        return [] if self._child is None else [self._child.fileno()]

    def order(self, order: Order) -> None:
        """Queue an order; while there is no child it is lost."""
        if self._child is not None:
            self._child.order(order)

    def answers(self) -> list[Answer]:
        """What has been answered since the last call."""
        return [] if self._child is None else self._child.answers()

    def has_fallen(self, now_ms: int) -> bool:
        """Whether the child has ended since the last call."""
        if self._child is None or self._child.alive:
            return False
        self._child.close()
        self._child = None
        self._restart_at = now_ms + CHILD_RESTART_MS
        return True

    def is_back(self, now_ms: int) -> bool:
        """Whether a new child was started just now, in the place of one that fell."""
        if self._child is not None or now_ms < self._restart_at:
            return False
        self._child = Child(self._configure)
        return True

    def close(self) -> None:
        """End it for good."""
        if self._child is not None:
            self._child.close()
