"""A clock that other programs on the machine do not move."""

import time
from collections.abc import Callable
from typing import Any


class Spent:
    """Seconds that the work so far takes on a machine of its own: processor time, that of threads side by side.

    Args:
        threads: how many share what is `shared`; all else is done by one.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._saved_s = 0.0

    def __call__(self) -> float:
        return time.process_time() - self._saved_s

    def shared(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same work; its time is that of one of the threads which it is shared by."""

        def timed(*arguments: Any) -> Any:
            began_s = time.process_time()
            result = work(*arguments)
            self._saved_s += (time.process_time() - began_s) * (1 - 1 / self._threads)
            return result

        return timed
