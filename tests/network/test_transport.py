import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from fedcoin_cli.network.files.downloads import Downloads
from fedcoin_cli.network.files.pieces import Chunk, Have, Offer, Want, from_bytes
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.network.files.transfers import Arrived, Delivered, Event, Wish
from fedcoin_cli.network.files.uploads import Uploads
from fedcoin_cli.network.transport.base import PeerState, Transport
from ledger_store.base.names import Address

GIVER, TAKER = Address("giver"), Address("taker")
MIB = 2**20


class Lines(Transport):
    """A transport without sockets: frames lie in a line a receiver, and the first `lost` are lost."""

    def __init__(self, own: Address, lines: dict[Address, deque[tuple[Address, bytes]]], lost: int) -> None:
        self._own, self._lines, self._lost = own, lines, lost
        lines[own] = deque()

    @property
    def port(self) -> int | None:
        return None

    def peers(self) -> dict[Address, PeerState]:
        return {one: PeerState(True, False, 0) for one in self._lines if one != self._own}

    def send(self, address: Address, frame: bytes, rank: int = 0) -> bool:
        self._lost -= 1
        if self._lost < 0:
            self._lines[address].append((self._own, frame))
        return True

    def broadcast(self, frame: bytes, rank: int = 0) -> None:
        for address in self.peers():
            self.send(address, frame, rank)

    def answer_each(self, address: Address, frame: bytes) -> int:
        return int(self.send(address, frame))

    def inbound(self, address: Address) -> int:
        return int(address in self._lines)

    def is_connected(self, address: Address) -> bool:
        return address in self._lines

    def has_room(self, address: Address) -> bool:
        return address in self._lines

    def poll(
        self, timeout_ms: int, extra_fds: Sequence[int] = ()
    ) -> tuple[list[tuple[Address, bytes]], list[int]]:
        frames = list(self._lines[self._own])
        self._lines[self._own].clear()
        return frames, []

    def close(self) -> None:
        del self._lines[self._own]


def test_files_travel_over_any_transport(tmp_path: Path) -> None:
    """The file channel's two halves need no more of a transport than its interface says, lost frames included."""
    lines: dict[Address, deque[tuple[Address, bytes]]] = {}
    here, there = Lines(GIVER, lines, 2), Lines(TAKER, lines, 1)
    giving, taking = Store(tmp_path / "giver"), Store(tmp_path / "taker")
    events: list[Event] = []
    data = os.urandom(MIB + 1)
    digest = giving.put_bytes(data)
    uploads = Uploads(giving, here, events.append, lambda _who, _what: True)
    downloads = Downloads(taking, TAKER, there, events.append)
    downloads.want(Wish((digest,), 2 * MIB, 2 * MIB, ()), 0.0)
    uploads.offer({digest: len(data)}, [TAKER])
    now_s = 0.0
    while len(events) < 2 and now_s < 600:
        now_s += 1.0
        uploads.turn(now_s)
        downloads.turn(now_s)
        for sender, frame in there.poll(0)[0]:
            match from_bytes(frame):
                case Offer() as offer:
                    downloads.offered(sender, offer)
                case Chunk() as chunk:
                    downloads.came(sender, chunk, now_s)
        for sender, frame in here.poll(0)[0]:
            match from_bytes(frame):
                case Want() as want:
                    uploads.wanted(sender, want)
                case Have() as have:
                    uploads.held(sender, have)
    assert taking.path(digest).read_bytes() == data
    assert set(events) == {Arrived(digest, len(data)), Delivered(TAKER, digest)}
