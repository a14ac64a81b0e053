"""What a transport is to those who speak over it: frames to addresses, and frames whose senders are certain.

`p2p` is the one that there is. Nodes, a person's line and the file channel know no more of it than this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fedcoin_cli.network.transport.admission import Admission
from ledger_store.base.names import Address


def asker(address: Address, identity: bytes = b"") -> Address:
    """The name of a person who asks with the key of a member, on one connection: never the member's own.

    (docs/adr/0028) [P-11.8]
    """
    return Address(f"{address}/{identity.hex()}")


def owner(name: str) -> Address:
    """Whose key is behind a sender's name."""
    return Address(name.partition("/")[0])


@dataclass(frozen=True, slots=True)
class Door:
    """Where a node listens (port 0: any free one) and whom it admits."""

    host: str
    port: int
    admission: Admission


@dataclass(frozen=True, slots=True)
class PeerState:
    """What `status` shows of a link: connected, refused by the other side, frames dropped as too many."""

    connected: bool
    denied: bool
    dropped: int


class Transport(Protocol):
    """One channel of one node, or of a person without a door. Frames may be lost; none comes under another's name."""

    @property
    def port(self) -> int | None:
        """The TCP port that the door listens on; None without a door."""
        ...

    def peers(self) -> dict[Address, PeerState]:
        """How each link stands."""
        ...

    def send(self, address: Address, frame: bytes, rank: int = 0) -> bool:
        """Queue a frame for a peer or for a client connected here; False when there is no way to it.

        When much waits rank 0 leaves first, and the highest is dropped first.
        """
        ...

    def broadcast(self, frame: bytes, rank: int = 0) -> None:
        """Queue a frame for every peer."""
        ...

    def answer_each(self, address: Address, frame: bytes) -> int:
        """Say something once on every connection here that speaks for `address`; how many there are."""
        ...

    def inbound(self, address: Address) -> int:
        """How many connections here speak for `address`: a peer has one, its twin another."""
        ...

    def is_connected(self, address: Address) -> bool:
        """Whether there is a connection on which `address` can be reached now."""
        ...

    def has_room(self, address: Address) -> bool:
        """Whether `address` is connected and nothing waits for it on this side."""
        ...

    def poll(
        self, timeout_ms: int, extra_fds: Sequence[int] = ()
    ) -> tuple[list[tuple[Address, bytes]], list[int]]:
        """Wait for frames or for a readable descriptor of the caller's, at most `timeout_ms`.

        Returns (sender's address, frame) in order of arrival and the readable descriptors. Frames beyond a
        sender's allowance are dropped.
        """
        ...

    def close(self) -> None:
        """Close every connection; what still waits is lost."""
        ...
