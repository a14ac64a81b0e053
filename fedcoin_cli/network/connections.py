"""The open inbound connections of one door: who is behind each, and which must go when they are too many.

ZeroMQ has no call that closes one connection of a bound socket. Its monitor names the file descriptor of
each, and shutting that descriptor down makes ZeroMQ drop the connection as if the peer had left. Nothing here
reads or writes.
"""

import os
import socket
from dataclasses import dataclass
from operator import attrgetter

GUESTS_MOST = 64
CONNECTIONS_A_MEMBER = 4


@dataclass(slots=True)
class Connection:
    """One accepted connection; `address` and `identity` are known once it has sent a frame."""

    fd: int
    remote: object
    heard_s: float
    address: str = ""
    identity: bytes = b""
    member: bool = False


class Connections:
    """Accepted connections by file descriptor, and the newest one of each address."""

    def __init__(self, members: int) -> None:
        self._members_most = CONNECTIONS_A_MEMBER * members
        self._open: dict[int, Connection] = {}
        self._newest: dict[str, Connection] = {}

    def opened(self, fd: int, now_s: float) -> None:
        """The monitor accepted a connection."""
        self.closed(fd)
        remote = _remote(fd)
        if remote is not None:
            self._open[fd] = Connection(fd, remote, now_s)

    def closed(self, fd: int) -> str | None:
        """The monitor saw it end; the address that can no longer be answered, if any."""
        gone = self._open.pop(fd, None)
        if gone is None or self._newest.get(gone.address) is not gone:
            return None
        del self._newest[gone.address]
        return gone.address

    def heard(self, fd: int, address: str, identity: bytes, member: bool, now_s: float) -> None:
        """A frame came over a connection."""
        connection = self._open.get(fd)
        if connection is None:
            return
        connection.heard_s = now_s
        connection.address, connection.identity, connection.member = address, identity, member
        self._newest[address] = connection

    def identity_of(self, address: str) -> bytes | None:
        """The routing identity that answers to `address`, or None when it is not connected."""
        connection = self._newest.get(address)
        return None if connection is None else connection.identity

    def __len__(self) -> int:
        return len(self._open)

    def dismiss_surplus(self) -> None:
        """Close the longest idle connections beyond the limits: of members, and of all others."""
        for member, most in ((True, self._members_most), (False, GUESTS_MOST)):
            group = [connection for connection in self._open.values() if connection.member is member]
            if len(group) > most:
                for connection in sorted(group, key=attrgetter("heard_s"))[: len(group) - most]:
                    _shut(connection)


def _remote(fd: int) -> object | None:
    """The other end's address; None when the descriptor is no open connection (any more)."""
    try:
        with socket.socket(fileno=os.dup(fd)) as copy:
            return copy.getpeername()  # type: ignore[no-any-return]
    except OSError:
        return None


def _shut(connection: Connection) -> None:
    """End a connection, unless its descriptor belongs to something else by now."""
    try:
        with socket.socket(fileno=os.dup(connection.fd)) as copy:
            if copy.getpeername() == connection.remote:
                copy.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
