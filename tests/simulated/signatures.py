"""Signatures for the simulation: stubs that cost a tenth of Ed25519, and the liar's second signature of one text.

Ed25519 lets a signer make any number of valid signatures of the same bytes, one for each secret number that it
draws; an honest signer derives that number and always makes the same one.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from hashlib import blake2b, sha256, sha512
from typing import Any
from unittest.mock import patch

from nacl import bindings
from nacl.exceptions import BadSignatureError

from ledger_store.base.names import Address, GenesisId
from ledger_store.identity import keys
from ledger_store.identity.keys import KeyPair


class StubKey:
    """A key whose signature is a keyed hash: as unforgeable as the simulation needs."""

    def __init__(self, seed: bytes) -> None:
        self.address = sha256(seed).hexdigest()

    def sign(self, kind: str, genesis: GenesisId, fields: Any) -> str:
        return _seal(Address(self.address), keys.signed_bytes(kind, genesis, fields)).hex()


def open_stub(signed: bytes, key: bytes) -> bytes:
    """The other half, in the place of PyNaCl's `crypto_sign_open`; as there, a text has more than one signature."""
    signature, message = signed[:64], signed[64:]
    address = key.hex()
    if signature not in (_seal(Address(address), message), _seal(Address(address), message, b"second")):
        raise BadSignatureError
    return message


def _seal(address: Address, message: bytes, salt: bytes = b"") -> bytes:
    """64 bytes that depend on everything a real signature covers."""
    return blake2b(message, key=bytes.fromhex(address), salt=salt).digest()


def second_signature(key: Any, kind: str, genesis: GenesisId, fields: Any) -> str:
    """A valid signature that differs from `key.sign`'s."""
    message = keys.signed_bytes(kind, genesis, fields)
    if isinstance(key, StubKey):
        return _seal(Address(key.address), message, b"second").hex()
    return _second_ed25519(key, message).hex()


def _second_ed25519(key: KeyPair, message: bytes) -> bytes:
    """RFC 8032's signature with another number than the one that it derives."""
    hashed = bytearray(sha512(key.seed).digest()[:32])
    hashed[0] &= 248
    hashed[31] = hashed[31] & 127 | 64
    secret = _scalar(bytes(hashed) + bytes(32))
    number = _scalar(sha512(b"a second signature" + key.seed + message).digest())
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(number)
    challenge = _scalar(sha512(point + bytes.fromhex(key.address) + message).digest())
    product = bindings.crypto_core_ed25519_scalar_mul(challenge, secret)
    return point + bindings.crypto_core_ed25519_scalar_add(product, number)


def _scalar(data: bytes) -> bytes:
    return bindings.crypto_core_ed25519_scalar_reduce(data)


@contextmanager
def stub_signatures(stubs: bool) -> Iterator[None]:
    """Let the ledger accept stub signatures for as long as the context lasts."""
    with patch.object(keys, "crypto_sign_open", open_stub) if stubs else nullcontext():
        yield
