"""One way out: a node's own connection to a peer, dialled again when it was refused or fell."""

from typing import Any

import zmq

from fedcoin_cli.network.transport.admission import transport_public
from fedcoin_cli.network.transport.limits import Limits, Outbox
from fedcoin_cli.network.transport.sockets import (
    CLOSED,
    DENIED,
    PAUSING,
    READY,
    TRYING,
    Monitor,
    open_socket,
    received,
)
from ledger_store.base.errors import NetworkFailure
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair

DENIED_RETRY_S = 1.0


class Link:
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
            frames = [(self._address, parts[0].bytes) for parts in received(self._socket) if len(parts) == 1]
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
            if event == READY:
                self.connected, self.denied = True, False
            elif event == DENIED:
                self.denied, self._retry_s = True, now_s + DENIED_RETRY_S
            elif event == CLOSED:
                self.connected = False
            else:
                self._pausing = event == PAUSING

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
        self._socket = open_socket(self._context, zmq.DEALER, self._key, self._limits)
        self._socket.curve_serverkey = server
        self.monitor = Monitor(self._context, self._socket, READY | DENIED | CLOSED | TRYING | PAUSING)
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
