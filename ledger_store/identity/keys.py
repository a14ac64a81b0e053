"""Ed25519 identities: addresses and domain-separated signatures.

An address is the hex public key. A signature covers `fedcoin/v1/<type>`, a zero byte, the genesis id and the
canonical fields, so that no signature of one kind or network can be taken for another. How keys are kept is
`keyfile`'s business. The transport derives its CURVE key from the same seed (see `network.p2p`).
"""

from collections.abc import Callable
from typing import Any

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from ledger_store.base.canonical import encode
from ledger_store.base.names import Address, GenesisId

SIGNATURE_LENGTH = 128

Verify = Callable[[Address, bytes, str], bool]
"""Whether (address, message, signature) belong together: `verify_bytes`, or what stands in its place for a while."""

_KEY_BYTES, _SIGNATURE_BYTES = 32, 64


def signed_bytes(kind: str, genesis_id: GenesisId, fields: Any) -> bytes:
    """The bytes that a signature of `kind` in the network of this genesis covers [P-2.4]."""
    return framed(kind, genesis_id, encode(fields))


def framed(kind: str, genesis_id: GenesisId, encoded: bytes) -> bytes:
    """The same for fields whose canonical bytes are known [P-2.2]."""
    return b"fedcoin/v1/" + kind.encode() + b"\0" + bytes.fromhex(genesis_id) + encoded


class KeyPair:
    """A secret signing key and its address [P-2.1]."""

    __slots__ = ("_key", "address")

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.address = Address(self._key.verify_key.encode().hex())

    @classmethod
    def generate(cls) -> "KeyPair":
        """A fresh key from the operating system's randomness."""
        return cls(SigningKey.generate().encode())

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes; only key files and the transport need them."""
        return self._key.encode()

    def sign(self, kind: str, genesis_id: GenesisId, fields: Any) -> str:
        """Sign canonical `fields` as `kind` in the network of this genesis; 128 hex characters."""
        return self._key.sign(signed_bytes(kind, genesis_id, fields)).signature.hex()


def verify(address: Address, kind: str, genesis_id: GenesisId, fields: Any, signature: str) -> bool:
    """Whether `signature` (hex) of `address` covers exactly these fields, kind and network."""
    return verify_bytes(address, signed_bytes(kind, genesis_id, fields), signature)


def verify_bytes(address: Address, message: bytes, signature: str) -> bool:
    """Whether `signature` (hex) of `address` covers `message`, made by `signed_bytes` [P-2.3]."""
    try:
        key, signed = bytes.fromhex(address), bytes.fromhex(signature)
        if len(key) != _KEY_BYTES or len(signed) != _SIGNATURE_BYTES:
            return False
        crypto_sign_open(signed + message, key)
    except (BadSignatureError, ValueError):
        return False
    return True
