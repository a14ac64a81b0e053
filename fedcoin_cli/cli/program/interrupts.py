"""Ctrl-C and its kin for commands that end in their own time: they are counted, and none is lost."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Counts SIGINT, SIGTERM and SIGHUP while the block runs; `wake` is called at each of them."""

    def __init__(self) -> None:
        self.count = 0
        self.wake: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        # What is ignored (nohup) stays so.
        heard = [one for one in _SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
        self._before = {one: signal.signal(one, self._hear) for one in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if one was heard: imports and callbacks of large libraries swallow it at times."""
        if self.count:
            raise KeyboardInterrupt

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.wake is not None:
            self.wake()


def interrupt() -> NoReturn:
    """To be woken by: what runs ends at once, as without a handler."""
    raise KeyboardInterrupt
