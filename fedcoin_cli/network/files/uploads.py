"""What others take from here: files offered until held, chunks served for credit. File thread only.

A chunk is read from the disk when there is room for it on the way out, so a peer that asks for much and reads
nothing holds a few chunks of memory. Who may not have a file hears what it hears of one that is not here.
"""

from collections import deque
from collections.abc import Iterable

from fedcoin_cli.network.files.download import WINDOW_CHUNKS
from fedcoin_cli.network.files.pieces import CHUNK_BYTES, Chunk, Have, Lack, Offer, Want, to_bytes
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.network.files.transfers import Delivered, MayRead, Report, TransferProgress
from fedcoin_cli.network.transport.base import Transport
from ledger_store.base.errors import NotFound, StorageFailure
from ledger_store.base.names import Address, Digest

OFFER_S = 0.25
OFFERS_AT_ONCE = 64
WANTS_MOST = 2 * WINDOW_CHUNKS
BLOCKED_MS, IDLE_MS = 5, 1000


class Uploads:
    """Offers by peer, and the wants that peers have sent."""

    def __init__(self, store: Store, wire: Transport, report: Report, may_read: MayRead) -> None:
        self._store, self._wire, self._report, self._may_read = store, wire, report, may_read
        self._wants: dict[Address, deque[Want]] = {}
        self._offers: dict[Address, _Offers] = {}
        self._offer_s = 0.0

    def offer(self, sizes: dict[Digest, int], addresses: Iterable[Address]) -> None:
        """Offer files (digest → bytes) to peers, again and again until each says that it has them."""
        for address in addresses:
            self._offers.setdefault(address, _Offers()).add(sizes)
        self._offer_s = 0.0

    def wanted(self, sender: Address, want: Want) -> None:
        """A peer grants credit for a chunk."""
        wants = self._wants.setdefault(sender, deque())
        if len(wants) < WANTS_MOST:
            wants.append(want)
        offers = self._offers.get(sender)
        if offers is not None:
            offers.reached(want.digest, want.offset)

    def held(self, sender: Address, have: Have) -> None:
        """A peer says that it holds a file."""
        offers = self._offers.get(sender)
        if offers is not None and offers.held(have.digest):
            self._report(Delivered(sender, have.digest))

    def progress(self) -> dict[Address, TransferProgress]:
        """How far each peer is with what was offered to it."""
        return {address: offers.progress() for address, offers in self._offers.items()}

    def turn(self, now_s: float) -> int:
        """Serve what there is room for and repeat offers; the most milliseconds to wait for the next turn."""
        if now_s >= self._offer_s:
            self._offer_s = now_s + OFFER_S
            self._repeat_offers()
        for address in list(self._wants):
            self._serve(address)
        if self._wants:
            return 0 if any(map(self._wire.has_room, self._wants)) else BLOCKED_MS
        return int(OFFER_S * 1000) if self._offers else IDLE_MS

    def _serve(self, address: Address) -> None:
        wants = self._wants[address]
        for _ in range(WINDOW_CHUNKS):
            if wants and self._wire.has_room(address):
                self._wire.send(address, to_bytes(self._answer(address, wants.popleft())))
        if not wants or not self._wire.is_connected(address):
            del self._wants[address]

    def _answer(self, address: Address, want: Want) -> Chunk | Lack:
        if not self._may_read(address, want.digest):
            return Lack(want.digest)
        try:
            total = self._store.size(want.digest)
            data = self._store.read(want.digest, want.offset, CHUNK_BYTES)
        except (NotFound, StorageFailure):
            return Lack(want.digest)
        # Beyond the end: an empty chunk at the end says how long the file is.
        return Chunk(want.digest, min(want.offset, total), total, data)

    def _repeat_offers(self) -> None:
        for address, offers in self._offers.items():
            if self._wire.is_connected(address):
                for digest, size_bytes in offers.next():
                    self._wire.send(address, to_bytes(Offer(digest, size_bytes)))


class _Offers:
    """What was offered to one peer: sizes, how far it is, and the order in which to remind it."""

    def __init__(self) -> None:
        self._sizes: dict[Digest, int] = {}
        self._reached: dict[Digest, int] = {}
        self._open: deque[Digest] = deque()
        self._done_bytes = 0

    def add(self, sizes: dict[Digest, int]) -> None:
        self._open.extend(digest for digest in sizes if digest not in self._sizes)
        self._sizes |= sizes

    def next(self) -> list[tuple[Digest, int]]:
        """The offers to repeat now; others come first next time."""
        digests = list(self._open)[:OFFERS_AT_ONCE]
        self._open.rotate(-len(digests))
        return [(digest, self._sizes[digest]) for digest in digests]

    def reached(self, digest: Digest, offset: int) -> None:
        if digest in self._open:
            self._reached[digest] = min(offset, self._sizes[digest])

    def held(self, digest: Digest) -> bool:
        """Whether this is news."""
        if digest not in self._open:
            return False
        self._open.remove(digest)
        self._reached.pop(digest, None)
        self._done_bytes += self._sizes[digest]
        return True

    def progress(self) -> TransferProgress:
        done_bytes = self._done_bytes + sum(self._reached.values())
        return TransferProgress(done_bytes, sum(self._sizes.values()))
