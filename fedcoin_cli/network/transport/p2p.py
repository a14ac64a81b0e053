"""The only ZeroMQ: opaque frames between authenticated peers. What a frame says is `message`'s business.

Each node binds one ROUTER behind a door that admits known keys only, and connects one DEALER to each peer; a
requester has no door and gets its answers on its DEALERs. The sender of a frame is the owner of the
connection's CURVE key, never what the frame or its routing identity claims. Who mines may ask with the same key, too:
what an asker sends has an empty part before it, and its sender here is named as that connection's, so that it is
answered there and is never taken for the miner. Delivery is not promised: what
waits is bounded and the oldest goes first; whoever needs certainty sends again. One thread uses a `P2P`, and
nothing in it blocks.
"""

import contextlib
import math
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import zmq

from fedcoin_cli.network.transport.admission import (
    own_transport_public,
    transport_public,
    transport_secret,
)
from fedcoin_cli.network.transport.base import Door, PeerState, Transport
from fedcoin_cli.network.transport.connections import Connections, asker, owner
from fedcoin_cli.network.transport.limits import KNOWN_MOST, Bars, Bucket, Limits, Outbox, SilenceLimit
from fedcoin_cli.protocol.frame import FRAME_MAX_BYTES
from ledger_store.base.errors import NetworkFailure
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair

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
ZAP_DOMAIN = "fedcoin"
FRAMES_A_POLL = 256
BYTES_A_POLL = 2**23
DENIED_RETRY_S = 1.0
RECONNECT_MS = (100, 5000)
BLOCKED_RETRY_MS = 5
LOOK_MS = 100
KEEPALIVE_S, GONE_MS = 2, 6_000
# A miner says how it stands every few seconds; one that is connected and says nothing for so long is dialled anew.
SILENT_S = 20.0
SELF_TEST_S = 5.0
# What taking in a frame costs at the least, however small, beside bytes.
FRAME_COST_BYTES = 2**9
# What encryption adds to a frame before ZeroMQ measures it.
CURVE_BYTES = 64

_DENIED = zmq.EVENT_HANDSHAKE_FAILED_AUTH
_OPENED = zmq.EVENT_ACCEPTED
_READY = zmq.EVENT_HANDSHAKE_SUCCEEDED
_CLOSED = zmq.EVENT_DISCONNECTED
_TRYING = zmq.EVENT_CONNECT_DELAYED
_PAUSING = zmq.EVENT_CONNECT_RETRIED
_names = count()


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
        self._links: dict[Address, _Link] = {}
        # The door; None: nobody can connect to this node.
        self._gate: _Gate | None = None
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
                self._gate = _Gate(self._context, key, door, limits)
                self._gate.refuse_a_stranger(key.address)
            # libzmq 4.3.5 aborts the process when a peer dies whose frames fill the pipe in here while something goes
            # out to it. A client may be slow to look and knows whom it called: its inbound pipes are longer.
            wide = limits if door is not None else replace(limits, inbound_frames=limits.waiting_frames)
            for address, endpoint in peers.items():
                if asking or address != key.address:
                    self._links[address] = _Link(self._context, key, address, endpoint, wide, asking=asking)
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
        for guest in self._bars.ended(now_s):
            assert self._admission is not None
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


class _Link:
    """One DEALER to one peer. A denied client never tries again by itself, so its socket is made anew."""

    def __init__(
        self,
        context: "zmq.Context[Any]",
        key: KeyPair,
        address: Address,
        endpoint: str,
        limits: Limits,
        *,
        asking: bool = False,
    ) -> None:
        self._context, self._key, self._limits = context, key, limits
        self._envelope = [b""] if asking else []
        self._address, self._endpoint = address, endpoint
        self.outbox = Outbox(limits)
        self.connected = self.denied = self._pausing = False
        self._retry_s = 0.0
        self._open()

    def send(self, frame: bytes, rank: int = 0) -> None:
        self.outbox.push(frame, rank)
        self.outbox.drain(self._try_send)

    def register(self, poller: zmq.Poller) -> int:
        """Watch this link; the most milliseconds to wait."""
        self.outbox.drain(self._try_send)
        poller.register(self._socket, zmq.POLLIN | (zmq.POLLOUT if self.outbox else 0))
        poller.register(self.monitor.socket, zmq.POLLIN)
        return int(DENIED_RETRY_S * 1000) if self.denied else 2**31 - 1

    def turn(self, ready: set[Any], now_s: float) -> list[tuple[Address, bytes]]:
        """Take what came; follow the connection's state."""
        frames = []
        if self._socket in ready:
            frames = [(self._address, parts[0].bytes) for parts in _received(self._socket) if len(parts) == 1]
        if self.monitor.socket in ready:
            self.follow(now_s)
        if self.denied and now_s >= self._retry_s:
            self.renew()
        return frames

    def hurry(self) -> None:
        """The peer was heard elsewhere: if this link is pausing between attempts, try now."""
        if self._pausing:
            self.renew()

    def follow(self, now_s: float) -> None:
        """Read the monitor."""
        for event, _ in self.monitor.events():
            if event == _READY:
                self.connected, self.denied = True, False
            elif event == _DENIED:
                self.denied, self._retry_s = True, now_s + DENIED_RETRY_S
            elif event == _CLOSED:
                self.connected = False
            else:
                self._pausing = event == _PAUSING

    def close(self) -> None:
        self.monitor.close()
        self._socket.close(linger=0)
        self.connected = self.denied = self._pausing = False

    def renew(self) -> None:
        """Hang up and dial again."""
        self.close()
        self._open()

    def _open(self) -> None:
        server = transport_public(self._address)
        if server is None:
            raise NetworkFailure(
                "a peer's address is not a key", where=self._address, hint="correct peers.toml"
            )
        self._socket = _socket(self._context, zmq.DEALER, self._key, self._limits)
        self._socket.curve_serverkey = server
        self.monitor = _Monitor(self._context, self._socket, _READY | _DENIED | _CLOSED | _TRYING | _PAUSING)
        try:
            self._socket.connect(self._endpoint)
        except zmq.ZMQError as error:
            self.close()
            hint = "an endpoint reads tcp://host:port; correct peers.toml"
            raise NetworkFailure("a peer's endpoint is wrong", where=self._endpoint, hint=hint) from error

    def _try_send(self, frame: bytes) -> bool:
        try:
            self._socket.send_multipart([*self._envelope, frame], zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True


class _Gate:
    """The ROUTER behind the door: authenticates, receives, and answers clients that have no link."""

    def __init__(self, context: "zmq.Context[Any]", key: KeyPair, door: Door, limits: Limits) -> None:
        self._context, self._admission, self._limits = context, door.admission, limits
        # Who only asks has no door: what a door needs is loaded with it.
        from fedcoin_cli.network.transport.zap import Zap

        self._authenticator = Zap(context, door.admission, ZAP_DOMAIN)
        self._authenticator.start()
        self._connections = Connections(len(door.admission.members))
        self._outboxes: dict[Address, Outbox] = {}
        self._look_s = 0.0
        self._socket = _socket(context, zmq.ROUTER, key, limits)
        self._socket.curve_server = True
        self._socket.zap_domain = ZAP_DOMAIN.encode()
        self._socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        # Without this a full pipe would swallow frames in silence.
        self._socket.router_mandatory = True
        self._monitor = _Monitor(context, self._socket, _OPENED | _CLOSED)
        self._endpoint = self._bind(door)
        self.port = int(self._endpoint.rsplit(":", 1)[1])

    def refuse_a_stranger(self, address: Address) -> None:
        """Knock with a throw-away key; raises `NetworkFailure` unless it is refused [P-11.11]."""
        endpoint = self._endpoint.replace("//0.0.0.0:", "//127.0.0.1:")
        stranger = _Link(self._context, KeyPair.generate(), address, endpoint, self._limits)
        until_s = time.monotonic() + SELF_TEST_S
        while not (stranger.denied or stranger.connected) and time.monotonic() < until_s:
            zmq.select([self._authenticator.zap_socket, stranger.monitor.socket], [], [], 0.05)
            self._authenticator.answer_all()
            stranger.follow(0.0)
        refused = stranger.denied
        stranger.close()
        if not refused:
            hint = "the node stays off: without authentication anyone could speak to it"
            raise NetworkFailure("the self-test of the door failed", where=endpoint, hint=hint)

    def register(self, poller: zmq.Poller) -> int:
        """Watch the door; the most milliseconds to wait."""
        self._flush()
        for socket in (self._socket, self._monitor.socket, self._authenticator.zap_socket):
            poller.register(socket, zmq.POLLIN)
        # A ROUTER cannot be watched for room towards one peer.
        if any(self._outboxes.values()):
            return BLOCKED_RETRY_MS
        return LOOK_MS if self._connections else 2**31 - 1

    def turn(self, now_s: float) -> list[tuple[Address, bytes]]:
        """Let people in and out, and take what they brought."""
        self._authenticator.answer_all()
        self._follow(now_s)
        frames = []
        for parts in _received(self._socket):
            sender = self._heard(parts, now_s)
            if sender is not None:
                frames.append((sender, parts[-1].bytes))
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_MS / 1000
            self._connections.dismiss_unfinished()
        return frames

    def send(self, address: Address, frame: bytes, rank: int = 0) -> bool:
        """Queue a frame for a connected client."""
        if not self.is_connected(address):
            return False
        outbox = self._outboxes.setdefault(address, Outbox(self._limits))
        outbox.push(frame, rank)
        outbox.drain(lambda waiting: self._try_send(address, waiting))
        return True

    def answer_each(self, address: Address, frame: bytes) -> int:
        identities = self._connections.identities_of(address)
        for identity in identities:
            with contextlib.suppress(zmq.ZMQError):  # gone, or full: there will be another occasion
                self._socket.send_multipart([identity, frame], zmq.NOBLOCK)
        return len(identities)

    def inbound(self, address: Address) -> int:
        return len(self._connections.identities_of(address))

    def is_connected(self, address: Address) -> bool:
        return self._connections.identity_of(address) is not None

    def has_room(self, address: Address) -> bool:
        return self.is_connected(address) and not self._outboxes.get(address)

    def close(self) -> None:
        self._monitor.close()
        self._socket.close(linger=0)
        self._authenticator.stop()

    def _heard(self, parts: "list[zmq.Frame]", now_s: float) -> Address | None:
        """Who sent this; None, and the end of the connection, for who may not or does not speak as agreed.

        [P-11.6] [P-11.9]
        """
        # Deprecated in the C manual for want of a use; here it is the only name of a connection.
        fd = int(parts[-1].get(zmq.SRCFD))
        sender = Address(str(parts[-1].get("User-Id")))
        asking = len(parts) == 3 and not len(parts[1])
        if not (asking or len(parts) == 2) or not self._admission.admits(sender):
            self._connections.dismiss(fd)
            return None
        member, identity = self._admission.is_member(sender), parts[0].bytes
        name = asker(sender, identity) if asking and member else sender
        self._connections.heard(fd, name, identity, member, now_s)
        return name

    def _follow(self, now_s: float) -> None:
        for event, fd in self._monitor.events():
            gone = None
            if event == _OPENED:
                self._connections.opened(fd, now_s)
            else:
                gone = self._connections.closed(fd)
            if gone is not None:
                self._outboxes.pop(gone, None)
        self._connections.dismiss_surplus()

    def _flush(self) -> None:
        for address, outbox in self._outboxes.items():
            outbox.drain(lambda frame, address=address: self._try_send(address, frame))  # type: ignore[misc]

    def _try_send(self, address: Address, frame: bytes) -> bool:
        """Whether the frame is off our hands; one for a client that has left is."""
        identity = self._connections.identity_of(address)
        try:
            if identity is not None:
                self._socket.send_multipart([identity, frame], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
        return True

    def _bind(self, door: Door) -> str:
        """Listen; the endpoint in numbers."""
        endpoint = f"tcp://{door.host}:{door.port or '*'}"
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            in_use = error.errno == zmq.EADDRINUSE
            message = "the port is in use" if in_use else f"cannot listen: {error.strerror}"
            hint = "choose another one: network.port" if in_use else "see network.bind and network.port"
            raise NetworkFailure(message, where=endpoint, hint=hint) from error
        return self._socket.get_string(zmq.LAST_ENDPOINT)


class _Monitor:
    """A socket's own news, as (event, value)."""

    def __init__(self, context: "zmq.Context[Any]", watched: "zmq.Socket[bytes]", events: int) -> None:
        self._watched = watched
        endpoint = f"inproc://monitor-{next(_names)}"
        watched.monitor(endpoint, events)
        self.socket: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        # ZeroMQ's own thread waits when news pile up, and closing would then wait for it.
        self.socket.rcvhwm = 0
        self.socket.linger = 0
        self.socket.connect(endpoint)

    def events(self) -> Iterator[tuple[int, int]]:
        """What happened since the last call."""
        while self.socket.poll(0):
            # As zmq.utils.monitor reads it, which brings asyncio with it.
            event, value = struct.unpack("=hi", self.socket.recv_multipart()[0])
            yield event, value

    def close(self) -> None:
        self._watched.disable_monitor()
        self.socket.close(linger=0)


def _socket(context: "zmq.Context[Any]", kind: int, key: KeyPair, limits: Limits) -> "zmq.Socket[bytes]":
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.curve_secretkey, socket.curve_publickey = transport_secret(key), own_transport_public(key)
    options = {
        zmq.LINGER: 0,
        zmq.SNDHWM: limits.pipe_frames,
        zmq.RCVHWM: limits.inbound_frames or limits.pipe_frames,
        zmq.IMMEDIATE: 1,
        zmq.RECONNECT_IVL: RECONNECT_MS[0],
        zmq.RECONNECT_IVL_MAX: RECONNECT_MS[1],
        zmq.CONNECT_TIMEOUT: 5000,
        # No heartbeats of ZeroMQ's: libzmq 4.3.5 may end the whole process when one is due on a connection that broke
        # while its owner was busy. The kernel finds out who is gone, `SilenceLimit` who is there and says nothing.
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: KEEPALIVE_S,
        zmq.TCP_KEEPALIVE_INTVL: KEEPALIVE_S,
        zmq.TCP_KEEPALIVE_CNT: 2,
        zmq.TCP_MAXRT: GONE_MS,
        zmq.HANDSHAKE_IVL: 5000,
        zmq.MAXMSGSIZE: limits.frame_bytes + CURVE_BYTES,
    }
    for option, value in options.items():
        socket.setsockopt(option, value)
    return socket


def _received(socket: "zmq.Socket[bytes]") -> "Iterator[list[zmq.Frame]]":
    """What waits on a socket, up to a fair share."""
    taken_bytes = 0
    for _ in range(FRAMES_A_POLL):
        try:
            parts = socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return
        yield parts
        taken_bytes += sum(map(len, parts))
        if taken_bytes > BYTES_A_POLL:
            return
