"""The open inbound connections of one door: who is behind each, and which must go.

ZeroMQ has no call that closes one connection of a bound socket. Its monitor names the file descriptor of
each, and shutting that descriptor down makes ZeroMQ drop the connection as if the peer had left. Nothing here
reads or writes.
"""

import os
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import Any

from fedcoin_cli.network.transport.base import owner
from ledger_store.base.names import Address

GUESTS_MOST = 64
CONNECTIONS_A_MEMBER = 4
# Several commands of one account at once; with more it would take the places of others.
CONNECTIONS_AN_ACCOUNT = 4
UNFINISHED_BYTES_MOST = 2**22
# `tcpi_bytes_received` in Linux's `struct tcp_info`: 8 bytes, 24 words, then the fourth of the long words.
_BYTES_RECEIVED = struct.Struct("=128xQ")


class Role(Enum):
    """What is known of the other end: nothing until its first frame."""

    SILENT = 0
    GUEST = 1
    ASKER = 2
    MEMBER = 3


NOBODY = Address("")


@dataclass(slots=True)
class Connection:
    """One accepted connection; `address` (an asker's name) and `identity` are known once it has sent a frame."""

    fd: int
    remote: object
    heard_s: float
    address: Address = NOBODY
    identity: bytes = b""
    role: Role = Role.SILENT
    received_bytes: int = 0
    delivered: bool = False


class Connections:
    """Accepted connections by file descriptor, and the newest one of each address."""

    def __init__(self, members: int) -> None:
        members_most = CONNECTIONS_A_MEMBER * members
        self._most = {
            Role.SILENT: members_most + GUESTS_MOST,
            Role.GUEST: GUESTS_MOST,
            Role.ASKER: members_most,
            Role.MEMBER: members_most,
        }
        self._open: dict[int, Connection] = {}
        self._newest: dict[Address, Connection] = {}

    def opened(self, fd: int, now_s: float) -> None:
        """The monitor accepted a connection."""
        self.closed(fd)
        remote = _look(fd, socket.socket.getpeername)
        if remote is not None:
            self._open[fd] = Connection(fd, remote, now_s)

    def closed(self, fd: int) -> Address | None:
        """The monitor saw it end; the address that can no longer be answered, if any."""
        gone = self._open.pop(fd, None)
        if gone is None or self._newest.get(gone.address) is not gone:
            return None
        del self._newest[gone.address]
        return gone.address

    def heard(self, fd: int, address: Address, identity: bytes, member: bool, now_s: float) -> None:
        """A frame came over a connection."""
        connection = self._open.get(fd)
        if connection is None:
            return
        connection.heard_s = now_s
        connection.delivered = True
        connection.address, connection.identity = address, identity
        member_role = Role.MEMBER if address == owner(address) else Role.ASKER
        connection.role = member_role if member else Role.GUEST
        self._newest[address] = connection

    def identity_of(self, address: Address) -> bytes | None:
        """The routing identity that answers to `address`, or None when it is not connected."""
        connection = self._newest.get(address)
        return None if connection is None else connection.identity

    def identities_of(self, address: Address) -> list[bytes]:
        """The routing identities of every open connection that has spoken for `address`."""
        return [connection.identity for connection in self._open.values() if connection.address == address]

    def __len__(self) -> int:
        return len(self._open)

    def dismiss_surplus(self) -> None:
        """Close those beyond the limits, see `surplus`: of members, of guests, of those that said nothing.

        Apart from each other, so that strangers who only connect push no guest out, and guests no member.
        """
        groups: dict[Role, list[Connection]] = {role: [] for role in Role}
        for connection in self._open.values():
            groups[connection.role].append(connection)
        for standing, group in groups.items():
            for connection in surplus(group, self._most[standing]):
                self._shut(connection)

    def dismiss_unfinished(self) -> None:
        """Close those that keep sending without ever ending a message.

        ZeroMQ bounds a frame, not a message of many frames, and holds all of it until its end. To be called
        after all that waits was received.
        """
        for connection in self._open.values():
            received_bytes = _look(connection.fd, _received_bytes) or 0
            if connection.delivered:
                connection.received_bytes, connection.delivered = received_bytes, False
            elif received_bytes - connection.received_bytes > UNFINISHED_BYTES_MOST:
                self._shut(connection)

    def dismiss(self, fd: int) -> None:
        """Close one."""
        if fd in self._open:
            self._shut(self._open[fd])

    def _shut(self, connection: Connection) -> None:
        # The descriptor may belong to something else by now.
        if _look(connection.fd, socket.socket.getpeername) == connection.remote:
            _look(connection.fd, lambda copy: copy.shutdown(socket.SHUT_RDWR))


def surplus(group: Iterable[Connection], most: int) -> list[Connection]:
    """Which must go: of the account with most connections the longest idle, then the next, until there are few enough.

    None of an account's first four goes while another has more. Of those that said nothing the account is unknown.
    (docs/adr/0028) [P-11.10]
    """
    groups: dict[Address, list[Connection]] = {}
    for connection in sorted(group, key=attrgetter("heard_s")):
        groups.setdefault(owner(connection.address), []).append(connection)
    gone = []
    for address, held in groups.items():
        while address and len(held) > CONNECTIONS_AN_ACCOUNT:
            gone.append(held.pop(0))
    for _ in range(sum(map(len, groups.values())) - most):
        # Of equals the longest idle.
        held = max(groups.values(), key=lambda held: (len(held), -held[0].heard_s if held else 0.0))
        gone.append(held.pop(0))
    return gone


def _look(fd: int, use: Callable[[socket.socket], Any]) -> Any:
    """Use a copy of ZeroMQ's descriptor for a moment; None when it is not an open connection (any more)."""
    try:
        copy = os.dup(fd)
    except OSError:
        return None
    try:
        connection = socket.socket(fileno=copy)
    except OSError:
        # The number is another file's by now. A copy that stayed open would keep that file from ending for
        # whoever waits for its end: a process that is being started, the reader of a pipe.
        os.close(copy)
        return None
    with connection:
        try:
            return use(connection)
        except OSError:
            return None


def _received_bytes(copy: socket.socket) -> int:
    """What the kernel has taken in on this connection since it began."""
    info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
    return int(_BYTES_RECEIVED.unpack(info)[0])
