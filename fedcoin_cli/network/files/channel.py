"""Files by digest, in chunks, over a second set of sockets on a thread of its own.

Any holder serves what its store has to whoever may have it; a file is taken only when it was wanted, in the size
that was allowed, and it is in the store only when its hash is right. A requester behind a NAT offers on its own
connection and the miner pulls over the same one. The owner hands in wishes from its thread and reads events; a
pipe wakes its poll.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue

from fedcoin_cli.network.bell import Bell
from fedcoin_cli.network.files.downloads import Downloads
from fedcoin_cli.network.files.pieces import PIECE_BYTES_MAX, Chunk, Have, Lack, Offer, Want, from_bytes
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.network.files.transfers import Event, MayRead, Purse, TransferProgress, Wish
from fedcoin_cli.network.files.uploads import Uploads
from fedcoin_cli.network.transport.base import Door, PeerState, Transport
from fedcoin_cli.network.transport.limits import Limits
from fedcoin_cli.network.transport.p2p import P2P
from ledger_store.base.errors import Malformed, NetworkFailure
from ledger_store.base.names import Address, Digest
from ledger_store.identity.keys import KeyPair

PIECES = Limits(
    frame_bytes=PIECE_BYTES_MAX,
    pipe_frames=8,
    waiting_frames=256,
    waiting_bytes=2**21,
    frames_per_s=10_000,
    burst_frames=20_000,
)


class Blobs:
    """The file channel of one node; `peers` maps addresses to the endpoints of their file channels.

    `may_read` is asked on the file thread. Raises `NetworkFailure` like `P2P`. All methods may be called from any
    thread.
    """

    def __init__(
        self,
        key: KeyPair,
        store: Store,
        peers: Mapping[Address, str],
        door: Door | None = None,
        may_read: MayRead = lambda _address, _digest: True,
    ) -> None:
        asking = door is None
        self._wire: Transport = P2P(key, peers, door, PIECES, asking=asking)
        self.port = self._wire.port
        self._store, self._peers = store, tuple(peer for peer in peers if asking or peer != key.address)
        self._downloads = Downloads(store, key.address, self._wire, self._report)
        self._uploads = Uploads(store, self._wire, self._report, may_read)
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._progress: dict[Address, TransferProgress] = {}
        self._states: dict[Address, PeerState] = {}
        self._order_bell, self._event_bell = Bell(), Bell()
        self._closing = self._stopped = False
        self._thread = threading.Thread(target=self._run, name="blobs", daemon=True)
        self._thread.start()

    def want(
        self,
        digests: Iterable[Digest],
        *,
        each_bytes: int,
        all_bytes: int,
        holders: Iterable[Address] = (),
        purses: tuple[Purse, ...] = (),
        reserve_bytes: int = 0,
    ) -> None:
        """Take these files from whoever offers them, and ask `holders` for them.

        Each ends in `Arrived`, at once when it is here already. After all holders were asked in vain there is
        one `Failed`. `all_bytes` bounds those that were not wanted before, together; they burden `purses` (the
        widest first) until `release` or `remove`, and leave `reserve_bytes` of the disk free.
        """
        wish = Wish(tuple(digests), each_bytes, all_bytes, tuple(holders), purses, reserve_bytes)
        self._order(lambda: self._downloads.want(wish, time.monotonic()))

    def forget(self, digests: Iterable[Digest]) -> None:
        """Want these files no more."""
        gone = tuple(digests)
        self._order(lambda: self._downloads.forget(gone))

    def release(self, digests: Iterable[Digest]) -> None:
        """These files are needed for good: they burden no purse any more."""
        kept = tuple(digests)
        self._order(lambda: self._downloads.release(kept))

    def remove(self, digests: Iterable[Digest]) -> None:
        """Want these no more and delete them, also what is on its way: `Removed` follows for each."""
        gone = tuple(digests)
        self._order(lambda: self._downloads.remove(gone))

    def offer(self, digests: Iterable[Digest], to: Iterable[Address] | None = None) -> None:
        """Offer stored files to peers (default: all) until each says that it holds them: `Delivered`.

        Raises `NotFound` for a file that is not in the store.
        """
        sizes = {digest: self._store.size(digest) for digest in digests}
        addresses = self._peers if to is None else tuple(to)
        self._order(lambda: self._uploads.offer(sizes, addresses))

    def progress(self) -> dict[Address, TransferProgress]:
        """By peer, how much of what was offered it holds."""
        return self._progress

    def peers(self) -> dict[Address, PeerState]:
        """How each link stands."""
        return self._states

    def fileno(self) -> int:
        """A descriptor that is readable when there are events."""
        return self._event_bell.fileno()

    def events(self) -> list[Event]:
        """What happened since the last call; raises `NetworkFailure` when the file thread has died."""
        self._event_bell.silence()
        events = []
        with suppress(Empty):
            while True:
                events.append(self._events.get_nowait())
        if not events and self._stopped and not self._closing:
            raise NetworkFailure("the file channel has stopped", hint="its log names the cause; start again")
        return events

    def close(self) -> None:
        """Stop the thread and close the sockets; unfinished files are kept for the next start."""
        self._closing = True
        self._order_bell.ring()
        self._thread.join()
        self._order_bell.close()
        self._event_bell.close()

    def _run(self) -> None:
        try:
            while not self._closing:
                self._turn()
        finally:
            self._downloads.close()
            self._wire.close()
            self._stopped = True
            self._event_bell.ring()

    def _turn(self) -> None:
        """One round of the file thread."""
        now_s = time.monotonic()
        wait_ms = min(self._downloads.turn(now_s), self._uploads.turn(now_s))
        self._progress, self._states = self._uploads.progress(), self._wire.peers()
        frames, _ = self._wire.poll(wait_ms, [self._order_bell.fileno()])
        self._order_bell.silence()
        with suppress(Empty):
            while True:
                self._orders.get_nowait()()
        for sender, frame in frames:
            self._take(sender, frame)

    def _take(self, sender: Address, frame: bytes) -> None:
        try:
            piece = from_bytes(frame)
        except Malformed:
            return
        match piece:
            case Offer():
                self._downloads.offered(sender, piece)
            case Want():
                self._uploads.wanted(sender, piece)
            case Chunk():
                self._downloads.came(sender, piece, time.monotonic())
            case Lack():
                self._downloads.lacked(sender, piece)
            case Have():
                self._uploads.held(sender, piece)

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.put(order)
        self._order_bell.ring()

    def _report(self, event: Event) -> None:
        self._events.put(event)
        self._event_bell.ring()
