"""One file on its way here: from one peer at a time, in order, by a window of credit. No socket, no clock.

Theory of operation. Bytes are kept when the source changes, so a peer that dies costs nothing. If the whole
has a wrong hash, a single giver is guilty; of several each is asked again from offset 0 (`alone`), which
finds the liar. While others wait to serve, a source has a turn of seconds: one that drips bytes delays nobody
for long.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from fedcoin_cli.network.files.pieces import CHUNK_BYTES, Chunk, Want
from fedcoin_cli.network.files.store import Partial
from ledger_store.base.names import Address, Digest

WINDOW_CHUNKS = 8
STALL_S = 15.0
TURN_S = 5.0
TURN_ALONE_S = 60.0
SOURCES_MOST = 128
# Whoever gave the bytes that an earlier process left behind; as a source: nobody is asked now.
NOBODY = Address("")


class Budget:
    """The bytes that a group of files may still take together, and those of the groups that it belongs to."""

    __slots__ = ("__weakref__", "above", "left_bytes")

    def __init__(self, total_bytes: int, above: "Budget | None" = None) -> None:
        self.left_bytes = total_bytes
        self.above = above

    def fits(self, size_bytes: int) -> bool:
        """Whether this and every group above has so much left."""
        return size_bytes <= self.left_bytes and (self.above is None or self.above.fits(size_bytes))

    def spend(self, size_bytes: int) -> None:
        """Take so much, here and above; a negative number gives it back."""
        self.left_bytes -= size_bytes
        if self.above is not None:
            self.above.spend(size_bytes)


@dataclass(frozen=True, slots=True)
class Grant:
    """Who wants a file: how large it may be, whose budget it burdens, how much of the disk it must leave free."""

    most_bytes: int
    budget: Budget
    reserve_bytes: int = 0


class DownloadOutcome(Enum):
    """What a chunk led to."""

    MORE = "go on"
    DONE = "the file is in the store"
    REFUSED = "larger than allowed"
    NO_ROOM = "the disk has no room for it"
    LIE = "the present source gave wrong bytes"
    MIXED = "some giver gave wrong bytes; start over"


class Download:
    """A wanted file, taken once one of its `grants` allows its size; the caller sends its wants and tells what came.

    Several may want one file: whoever wants it for little must not keep it from the others.
    `free_bytes` says what the disk has, less what other files have still to bring. [P-11.25]
    """

    def __init__(
        self,
        digest: Digest,
        grant: Grant,
        open_part: Callable[[], Partial],
        free_bytes: Callable[[], int] = lambda: sys.maxsize,
    ) -> None:
        self.digest = digest
        self.source = NOBODY
        self.waiting: deque[Address] = deque()
        self._liars: set[Address] = set()
        self.grants = [grant]
        self.charged: Budget | None = None
        self._free_bytes = free_bytes
        self._open_part = open_part
        self._part: Partial | None = None  # opened when the first source is asked
        self._givers: set[Address] = set()
        self._alone = self._gained = False
        self._total: int | None = None
        self._asked = 0
        self._heard_s = self._begun_s = 0.0

    def fits(self, size_bytes: int) -> bool:
        """Whether a file of this size would be taken now."""
        return self._granted(size_bytes) is not None

    def charge(self, size_bytes: int) -> DownloadOutcome:
        """Find a grant that allows a file of this size, and burden its budget."""
        grant = self._granted(size_bytes)
        if grant is None:
            return DownloadOutcome.REFUSED
        if self._free_bytes() - (size_bytes - self.held_bytes) < grant.reserve_bytes:
            return DownloadOutcome.NO_ROOM
        self._total, self.charged = size_bytes, grant.budget
        grant.budget.spend(size_bytes)
        return DownloadOutcome.MORE

    @property
    def held_bytes(self) -> int:
        """What has come so far."""
        return 0 if self._part is None else self._part.size

    @property
    def lacks_bytes(self) -> int:
        """What it has still to bring, as far as its source has said."""
        return max(0, (self._total or 0) - self.held_bytes)

    def _granted(self, size_bytes: int) -> Grant | None:
        """Of the grants that allow this size the one that leaves least of the disk free."""
        able = [one for one in self.grants if size_bytes <= one.most_bytes and one.budget.fits(size_bytes)]
        return min(able, key=lambda grant: grant.reserve_bytes, default=None)

    def add(self, sources: Iterable[Address]) -> None:
        """Name peers that may hold the file; known liars are passed over."""
        for source in sources:
            known = source in self._liars or source in self.waiting or source == self.source
            if not known and len(self.waiting) < SOURCES_MOST:
                self.waiting.append(source)

    def begin(self, source: Address, now_s: float) -> Want:
        """Turn to one of those waiting; the first want for it. Raises `StorageFailure`."""
        self.waiting.remove(source)
        part = self._opened()
        if self._alone:
            self._empty()
        self.source, self._gained = source, False
        self._heard_s = self._begun_s = now_s
        self._asked = part.size + CHUNK_BYTES
        return Want(self.digest, part.size)

    def take(self, chunk: Chunk, now_s: float) -> DownloadOutcome:
        """A chunk from the present source; raises `StorageFailure`."""
        part = self._opened()
        if self._total is None:
            outcome = self.charge(chunk.total_bytes)
            if outcome is not DownloadOutcome.MORE:
                return outcome
        if chunk.total_bytes != self._total:
            return DownloadOutcome.LIE
        if part.size > self._total:
            return self._wrong()
        if chunk.offset != part.size:
            return DownloadOutcome.MORE
        part.append(chunk.data)
        self._givers.add(self.source)
        self._heard_s, self._gained = now_s, True
        if part.size < self._total:
            return DownloadOutcome.MORE
        return DownloadOutcome.DONE if part.finish() else self._wrong()

    def wants(self) -> list[Want]:
        """The credit that may be granted now, beyond what was [P-11.26]."""
        most = min(self._total or 0, self._opened().size + WINDOW_CHUNKS * CHUNK_BYTES)
        offsets = range(self._asked, most, CHUNK_BYTES)
        self._asked += len(offsets) * CHUNK_BYTES
        return [Want(self.digest, offset) for offset in offsets]

    def is_overdue(self, now_s: float) -> bool:
        """Whether the present source must give way: silent for long, or its turn is over and others wait."""
        turn_s = TURN_ALONE_S if self._alone else TURN_S
        return now_s - self._heard_s > STALL_S or (now_s - self._begun_s > turn_s and bool(self.waiting))

    def leave(self) -> None:
        """Turn away from the present source; one that gave something may have another turn."""
        source, self.source = self.source, NOBODY
        self._release()
        if source and self._gained and not self._alone:
            self.add([source])

    def drop(self) -> Address:
        """Turn away from the present source for good, until it is named again; returns it."""
        source, self.source = self.source, NOBODY
        self._release()
        return source

    def blame(self) -> Address:
        """Note the present source as a liar and throw away what came; returns it."""
        liar = self.drop()
        self._liars.add(liar)
        self._empty()
        return liar

    def start_over(self) -> None:
        """Throw away what several gave, and ask each of them alone."""
        givers = {*self._givers, self.drop()} - {NOBODY}
        self._alone = True
        self._empty()
        self.add(sorted(givers))

    def abandon(self) -> None:
        """Give the file up and delete what came; raises `StorageFailure`."""
        self._release()
        if self._part is not None:
            self._part.discard()

    def close(self) -> None:
        """Leave what came for another process."""
        if self._part is not None:
            self._part.close()

    def _opened(self) -> Partial:
        if self._part is None:
            self._part = self._open_part()
            self._givers = {NOBODY} if self._part.size else set()
        return self._part

    def _wrong(self) -> DownloadOutcome:
        return DownloadOutcome.LIE if self._givers <= {self.source} else DownloadOutcome.MIXED

    def _empty(self) -> None:
        if self._part is not None:
            self._part.restart()
        self._givers.clear()

    def _release(self) -> None:
        """What a source said of the size binds nobody else."""
        if self.charged is not None:
            self.charged.spend(-(self._total or 0))
        self._total = self.charged = None
