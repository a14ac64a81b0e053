"""The way in: a node's door, loaded by nodes that have one. Who only asks has none."""

import contextlib
import time
from typing import Any

import zmq

from fedcoin_cli.network.transport.base import Door, asker
from fedcoin_cli.network.transport.connections import Connections
from fedcoin_cli.network.transport.limits import Limits, Outbox
from fedcoin_cli.network.transport.link import Link
from fedcoin_cli.network.transport.sockets import CLOSED, OPENED, Monitor, open_socket, received
from fedcoin_cli.network.transport.zap import Zap
from ledger_store.base.errors import NetworkFailure
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair

ZAP_DOMAIN = "fedcoin"
BLOCKED_RETRY_MS = 5
LOOK_MS = 100
SELF_TEST_S = 5.0


class Gate:
    """The ROUTER behind the door: authenticates, receives, and answers clients that have no link."""

    def __init__(self, context: "zmq.Context[Any]", key: KeyPair, door: Door, limits: Limits) -> None:
        self._context, self._admission, self._limits = context, door.admission, limits
        self._authenticator = Zap(context, door.admission, ZAP_DOMAIN)
        self._authenticator.start()
        self._connections = Connections(len(door.admission.members))
        self._outboxes: dict[Address, Outbox] = {}
        self._look_s = 0.0
        self._socket = open_socket(context, zmq.ROUTER, key, limits)
        self._socket.curve_server = True
        self._socket.zap_domain = ZAP_DOMAIN.encode()
        self._socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        # Without this a full pipe would swallow frames in silence.
        self._socket.router_mandatory = True
        self._monitor = Monitor(context, self._socket, OPENED | CLOSED)
        self._endpoint = self._bind(door)
        self.port = int(self._endpoint.rsplit(":", 1)[1])

    def refuse_a_stranger(self, address: Address) -> None:
        """Knock with a throw-away key; raises `NetworkFailure` unless it is refused [P-11.11]."""
        endpoint = self._endpoint.replace("//0.0.0.0:", "//127.0.0.1:")
        stranger = Link(self._context, KeyPair.generate(), address, endpoint, self._limits)
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
        for parts in received(self._socket):
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
            if event == OPENED:
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
