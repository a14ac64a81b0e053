"""Who may connect: transport keys derived from identities, and the table of admitted addresses.

A CURVE (X25519) key follows from an Ed25519 key but not the other way round, so a node that wants to know who
is connecting must have converted the addresses it admits beforehand. No socket lives here.
"""

from collections.abc import Iterable
from functools import lru_cache

from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair


def transport_secret(key: KeyPair) -> bytes:
    """The 32 secret bytes of the X25519 key that belongs to an identity [P-2.5]."""
    return SigningKey(key.seed).to_curve25519_private_key().encode()


def own_transport_public(key: KeyPair) -> bytes:
    """The public half of that."""
    return SigningKey(key.seed).to_curve25519_private_key().public_key.encode()


@lru_cache(maxsize=2**16)
def transport_public(address: Address) -> bytes | None:
    """The 32 public bytes of the X25519 key of `address`; None when the address is not a point of the curve [P-2.5]."""
    try:
        return VerifyKey(bytes.fromhex(address)).to_curve25519_public_key().encode()
    except (CryptoError, ValueError):
        return None


class Admission:
    """The admitted addresses by transport key: members for ever, guests (accounts) as the ledger says.

    Safe to share between threads: a table is built aside and swapped in whole, or changed by one entry at a time.
    [P-11.4]
    """

    __slots__ = ("_barred", "_by_key", "_members", "_members_by_key")

    def __init__(self, members: Iterable[Address]) -> None:
        self._members_by_key = _table(members)
        self._members = frozenset(self._members_by_key.values())
        self._by_key = dict(self._members_by_key)
        self._barred: set[bytes] = set()

    def admit(self, guests: Iterable[Address]) -> None:
        """Replace the guests; an address that is not a key is passed over, since coins can be sent to one.

        Two addresses (a point and its negative) share a transport key: members win, then the first given.
        So give those that have signed something first: nobody can sign for another's negative.
        """
        self._by_key = {**_table(guests), **self._members_by_key}

    def come(self, guest: Address, *, signed: bool) -> None:
        """Admit one more; one that has `signed` something wins the transport key over another guest's address."""
        key = transport_public(guest)
        if key is not None and key not in self._members_by_key and (signed or key not in self._by_key):
            self._by_key[key] = guest

    def gone(self, guest: Address) -> None:
        """Admit a guest no more."""
        key = transport_public(guest)
        if key is not None and key not in self._members_by_key and self._by_key.get(key) == guest:
            del self._by_key[key]

    def bar(self, guest: Address) -> None:
        """Keep a guest out whatever the ledger says, until `unbar`; members are never kept out."""
        key = transport_public(guest)
        if key is not None and key not in self._members_by_key:
            self._barred.add(key)

    def unbar(self, guest: Address) -> None:
        """Let a guest in again as the ledger says."""
        key = transport_public(guest)
        if key is not None:
            self._barred.discard(key)

    def address_of(self, transport_key: bytes) -> Address | None:
        """The admitted address of a connecting key; None: refuse it."""
        return None if transport_key in self._barred else self._by_key.get(transport_key)

    def admits(self, address: Address) -> bool:
        """Whether the transport key of `address` is admitted now."""
        key = transport_public(address)
        return key is not None and self.address_of(key) is not None

    def is_member(self, address: Address) -> bool:
        """Whether `address` belongs to the roster or the peers file."""
        return address in self._members

    @property
    def members(self) -> frozenset[Address]:
        """Roster and peers file."""
        return self._members


def _table(addresses: Iterable[Address]) -> dict[bytes, Address]:
    table: dict[bytes, Address] = {}
    for address in addresses:
        key = transport_public(address)
        if key is not None:
            table.setdefault(key, address)
    return table
