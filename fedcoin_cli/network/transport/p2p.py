"""Opaque frames between authenticated peers, over ZeroMQ. What a frame says is `message`'s business.

Each node binds one ROUTER behind a door that admits known keys only, and connects one DEALER to each peer; a
requester has no door and gets its answers on its DEALERs. The sender of a frame is the owner of the
connection's CURVE key, never what the frame or its routing identity claims. Who mines may ask with the same key, too:
what an asker sends has an empty part before it, and its sender here is named as that connection's, so that it is
answered there and is never taken for the miner. Delivery is not promised: what
waits is bounded and the oldest goes first; whoever needs certainty sends again. One thread uses a `P2P`, and
nothing in it blocks. The ways out are `link`'s, the way in is `gate`'s.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import zmq

from fedcoin_cli.network.transport.base import Door, PeerState, Transport, asker, owner
from fedcoin_cli.network.transport.limits import KNOWN_MOST, Bars, Bucket, Limits, SilenceLimit
from fedcoin_cli.network.transport.link import Link
from fedcoin_cli.protocol.frame import FRAME_MAX_BYTES
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair

if TYPE_CHECKING:
    from fedcoin_cli.network.transport.gate import Gate

MESSAGES = Limits(
    frame_bytes=FRAME_MAX_BYTES,
    pipe_frames=16,
    waiting_frames=200,
    waiting_bytes=2**25,
    frames_per_s=500,
    burst_frames=2000,
    guest_bytes_per_s=2**18,
    guest_burst_bytes=2**21,
)
# A miner says how it stands every few seconds; one that is connected and says nothing for so long is dialled anew.
SILENT_S = 20.0
# What taking in a frame costs at the least, however small, beside bytes.
FRAME_COST_BYTES = 2**9


class P2P(Transport):
    """The sockets of one channel of one node.

    `peers` maps addresses to endpoints (`tcp://host:port`). With `asking` it speaks for a person, and to the own miner
    like to any other; otherwise an own address among the peers is passed over. Raises `NetworkFailure` when the port is
    in use, or when the door would let a stranger in.
    """

    def __init__(
        self,
        key: KeyPair,
        peers: Mapping[Address, str],
        door: Door | None = None,
        limits: Limits = MESSAGES,
        *,
        asking: bool = False,
    ) -> None:
        # How much one peer may send, and how much waits for it.
        self._limits = limits
        # ZeroMQ's own, with its threads.
        self._context: zmq.Context[Any] = zmq.Context()
        # One outgoing connection a peer.
        self._links: dict[Address, Link] = {}
        # The door; None: nobody can connect to this node.
        self._gate: Gate | None = None
        # What each sender may still send: frames, and for guests bytes.
        self._buckets: dict[Address, tuple[Bucket, Bucket | None]] = {}
        # Who may connect; None: nobody can.
        self._admission = None if door is None else door.admission
        # Who went on far beyond its bytes, and is kept out for a while.
        self._bars = Bars()
        # Who is not weighed.
        self._members = frozenset(peers) if door is None else door.admission.members
        # Which links are dialled anew because nothing was heard.
        self._silence = SilenceLimit(SILENT_S if door is not None and limits is MESSAGES else math.inf)
        try:
            if door is not None:
                self._gate = _gate(self._context, key, door, limits)
                self._gate.refuse_a_stranger(key.address)
            # libzmq 4.3.5 aborts the process when a peer dies whose frames fill the pipe in here while something goes
            # out to it. A client may be slow to look and knows whom it called: its inbound pipes are longer.
            wide = limits if door is not None else replace(limits, inbound_frames=limits.waiting_frames)
            for address, endpoint in peers.items():
                if asking or address != key.address:
                    self._links[address] = Link(self._context, key, address, endpoint, wide, asking=asking)
        except BaseException:
            self.close()
            raise

    @property
    def port(self) -> int | None:
        return None if self._gate is None else self._gate.port

    def peers(self) -> dict[Address, PeerState]:
        return {
            address: PeerState(link.connected, link.denied, link.outbox.dropped)
            for address, link in self._links.items()
        }

    def send(self, address: Address, frame: bytes, rank: int = 0) -> bool:
        link = self._links.get(address)
        if link is not None:
            link.send(frame, rank)
            return True
        return self._gate is not None and self._gate.send(address, frame, rank)

    def answer_each(self, address: Address, frame: bytes) -> int:
        return 0 if self._gate is None else self._gate.answer_each(address, frame)

    def inbound(self, address: Address) -> int:
        return 0 if self._gate is None else self._gate.inbound(address)

    def broadcast(self, frame: bytes, rank: int = 0) -> None:
        for link in self._links.values():
            link.send(frame, rank)

    def is_connected(self, address: Address) -> bool:
        link = self._links.get(address)
        if link is not None:
            return link.connected
        return self._gate is not None and self._gate.is_connected(address)

    def has_room(self, address: Address) -> bool:
        link = self._links.get(address)
        if link is not None:
            return link.connected and not link.outbox
        return self._gate is not None and self._gate.has_room(address)

    def poll(
        self, timeout_ms: int, extra_fds: Sequence[int] = ()
    ) -> tuple[list[tuple[Address, bytes]], list[int]]:
        until_s = time.monotonic() + timeout_ms / 1000
        while True:
            remaining_ms = max(0, math.ceil((until_s - time.monotonic()) * 1000))
            ready = self._wait(remaining_ms, extra_fds)
            frames = self._turn(ready)
            fds = [fd for fd in extra_fds if fd in ready]
            if frames or fds or time.monotonic() >= until_s:
                return frames, fds

    def close(self) -> None:
        """Close all sockets at once; what was queued is lost."""
        for link in self._links.values():
            link.close()
        if self._gate is not None:
            self._gate.close()
        self._context.destroy(linger=0)

    def _turn(self, ready: set[Any]) -> list[tuple[Address, bytes]]:
        """Serve every socket once; the frames that came and were allowed."""
        now_s = time.monotonic()
        if self._admission is not None:
            for guest in self._bars.ended(now_s):
                self._admission.unbar(guest)
        frames = [] if self._gate is None else self._gate.turn(now_s)
        for sender in {sender for sender, _ in frames} & self._links.keys():
            self._links[sender].hurry()
        for link in self._links.values():
            frames += link.turn(ready, now_s)
        connected = [address for address, link in self._links.items() if link.connected]
        for address in self._silence.turn({sender for sender, _ in frames}, connected, now_s):
            self._links[address].renew()
        return [item for item in frames if self._allows(item[0], len(item[1]), now_s)]

    def _bar(self, sender: Address, size: int, now_s: float) -> None:
        """What is dropped has been received all the same: whoever goes on has no connection for a while."""
        cost = max(size, FRAME_COST_BYTES)
        if self._admission is not None and self._bars.over(owner(sender), cost, now_s):
            self._admission.bar(owner(sender))

    def _wait(self, timeout_ms: int, extra_fds: Sequence[int]) -> set[Any]:
        poller = zmq.Poller()
        for fd in extra_fds:
            poller.register(fd, zmq.POLLIN)
        for link in self._links.values():
            timeout_ms = min(timeout_ms, link.register(poller))
        if self._gate is not None:
            timeout_ms = min(timeout_ms, self._gate.register(poller))
        return {socket for socket, _ in poller.poll(timeout_ms)}

    def _allows(self, sender: Address, size: int, now_s: float) -> bool:
        if sender not in self._links:
            # All connections of an account have one allowance, apart from its miner's.
            sender = asker(owner(sender))
        if sender not in self._buckets:
            if len(self._buckets) >= KNOWN_MOST:
                self._buckets.clear()
            limits, by_bytes = self._limits, None
            if limits.guest_bytes_per_s and owner(sender) not in self._members:
                by_bytes = Bucket(limits.guest_bytes_per_s, limits.guest_burst_bytes, now_s)
            self._buckets[sender] = Bucket(limits.frames_per_s, limits.burst_frames, now_s), by_bytes
        frames, by_bytes = self._buckets[sender]
        allowed = frames.take(now_s) and (by_bytes is None or by_bytes.take(now_s, size))
        if not allowed and by_bytes is not None:
            self._bar(sender, size, now_s)
        return allowed


def _gate(context: "zmq.Context[Any]", key: KeyPair, door: Door, limits: Limits) -> "Gate":
    """Who only asks has no door: what a door needs is loaded with it."""
    from fedcoin_cli.network.transport.gate import Gate

    return Gate(context, key, door, limits)
