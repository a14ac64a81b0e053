"""Signatures verified in bulk: collected while a chain is folded, then checked batch by batch, on several cores.

Nothing is concluded from a signature before its batch was checked; whoever collects marks where each batch began, and
goes back there when one fails. A batch at a time is also quicker on one core: the curve's tables stay in its cache.
(docs/adr/0012)
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from ledger_store.base.names import Address
from ledger_store.identity.keys import verify_bytes

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

BATCH = 2048

Claim = tuple[Address, bytes, str]
"""Address, message and signature."""

Mark = TypeVar("Mark")


def all_hold(claims: Sequence[Claim]) -> bool:
    """Whether every signature covers its message."""
    return all(verify_bytes(*claim) for claim in claims)


class Bulk(Generic[Mark]):
    """Batches in the order in which they were handed in; at most two a core wait, so memory stays flat.

    Other processes are started for a second batch, where `jobs` asks for them and no thread runs here (a process
    must not be forked beside threads). Use as a context manager.
    """

    def __init__(self, jobs: int = 1) -> None:
        self._jobs = jobs if threading.active_count() == 1 else 1
        self._claims: list[Claim] = []
        self._waiting: deque[tuple[Mark, Callable[[], bool]]] = deque()
        self._pool: ProcessPoolExecutor | None = None  # most ledgers are short and need none

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def collect(self, address: Address, message: bytes, signature: str) -> bool:
        """Take a signature for later; in the place of `verify_bytes`, hence True."""
        self._claims.append((address, message, signature))
        return True

    @property
    def full(self) -> bool:
        """Whether a batch is complete."""
        return len(self._claims) >= BATCH

    def hand_in(self, mark: Mark) -> None:
        """Let what was collected be checked; `mark` says where it began."""
        claims, self._claims = self._claims, []
        if self._jobs == 1 or not (self._waiting or self._pool):
            self._waiting.append((mark, lambda: all_hold(claims)))
            return
        if self._pool is None:
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor

            self._pool = ProcessPoolExecutor(self._jobs, multiprocessing.get_context("fork"))
        future: Future[bool] = self._pool.submit(all_hold, claims)
        self._waiting.append((mark, future.result))

    def failed(self, *, wait: bool) -> Mark | None:
        """The mark of the first batch with a false signature; without `wait` batches may be left for later."""
        most = 0 if wait else 2 * self._jobs if self._pool is not None else self._jobs - 1
        while len(self._waiting) > most:
            mark, holds = self._waiting.popleft()
            if not holds():
                return mark
        return None
