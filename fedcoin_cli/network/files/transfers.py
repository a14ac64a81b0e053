"""What is asked of the file channel and what it reports: plain values that cross the file thread's border."""

from collections.abc import Callable
from dataclasses import dataclass

from ledger_store.base.names import Address, Digest


@dataclass(frozen=True, slots=True)
class Purse:
    """What files wanted in somebody's name may weigh together, from their wish until they are let go."""

    name: str
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Wish:
    """Files wanted together: how large each and all of them may be, and peers that may hold them.

    They burden the `purses`, the widest first, and are not taken where the disk would keep less than `reserve_bytes`.
    """

    digests: tuple[Digest, ...]
    each_bytes: int
    all_bytes: int
    holders: tuple[Address, ...]
    purses: tuple[Purse, ...] = ()
    reserve_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Arrived:
    """A wanted file is in the store, verified."""

    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """No holder that was named gave the file.

    It stays wanted: an offer, or new holders, may still bring it. When the disk refused, or the file here is
    larger than allowed, it is wanted no more.
    """

    digest: Digest
    reason: str


@dataclass(frozen=True, slots=True)
class Lied:
    """A peer gave bytes that do not have the digest it gave them for."""

    address: Address
    digest: Digest


@dataclass(frozen=True, slots=True)
class Delivered:
    """A peer says that it holds a file that was offered to it."""

    address: Address
    digest: Digest


@dataclass(frozen=True, slots=True)
class Removed:
    """A file that was to be forgotten and deleted is gone, whatever was on its way."""

    digest: Digest


Event = Arrived | Failed | Lied | Delivered | Removed
Report = Callable[[Event], None]
MayRead = Callable[[Address, Digest], bool]
"""Whether (the owner of a connection, a digest) go together: who may have which file."""


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """How much of what was offered to one peer is with it."""

    done_bytes: int
    total_bytes: int
