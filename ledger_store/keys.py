"""Ed25519 identities: addresses, domain-separated signatures and key files.

An address is the hex public key. A signature covers `fedcoin/v1/<type>`, a zero byte, the genesis id and the
canonical fields, so that no signature of one kind or network can be taken for another. Key files are JSON,
readable by their owner only. The transport derives its CURVE key from the same seed (see `network.p2p`).
"""

import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from ledger_store.canonical import decode, encode
from ledger_store.disk import refusals, sync_folder
from ledger_store.errors import KeyFailure, Malformed
from ledger_store.fields import Fields

ADDRESS_LENGTH = 64
SIGNATURE_LENGTH = 128


def signed_bytes(kind: str, genesis: str, fields: Any) -> bytes:
    """The bytes that a signature of `kind` in the network `genesis` (hex id) covers."""
    return b"fedcoin/v1/" + kind.encode() + b"\0" + bytes.fromhex(genesis) + encode(fields)


class KeyPair:
    """A secret signing key and its address."""

    __slots__ = ("_key", "address")

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.address = self._key.verify_key.encode().hex()

    @classmethod
    def generate(cls) -> "KeyPair":
        """A fresh key from the operating system's randomness."""
        return cls(SigningKey.generate().encode())

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes; only key files and the transport need them."""
        return self._key.encode()

    def sign(self, kind: str, genesis: str, fields: Any) -> str:
        """Sign canonical `fields` as `kind` in the network `genesis`; 128 hex characters."""
        return self._key.sign(signed_bytes(kind, genesis, fields)).signature.hex()


def verify(address: str, kind: str, genesis: str, fields: Any, signature: str) -> bool:
    """Whether `signature` (hex) of `address` covers exactly these fields, kind and network."""
    return verify_bytes(address, signed_bytes(kind, genesis, fields), signature)


def verify_bytes(address: str, message: bytes, signature: str) -> bool:
    """Whether `signature` (hex) of `address` covers `message`, made by `signed_bytes`."""
    try:
        _verify_key(address).verify(message, bytes.fromhex(signature))
    except (BadSignatureError, ValueError):
        return False
    return True


@lru_cache(maxsize=4096)
def _verify_key(address: str) -> VerifyKey:
    return VerifyKey(bytes.fromhex(address))


def save_key(path: Path, key: KeyPair) -> None:
    """Write a new key file with mode 0600, durably; an existing file is never overwritten.

    Raises `KeyFailure` where one stands, `StorageFailure` when the disk refuses; no half of a key stays.
    """
    data = encode({"address": key.address, "format": 1, "seed": key.seed.hex()}) + b"\n"
    with refusals(path):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            hint = "choose another name, or move the old key away"
            raise KeyFailure("this key exists already", where=str(path), hint=hint) from error
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            path.unlink()
            raise
        sync_folder(path.parent)


def load_key(path: Path) -> KeyPair:
    """Read a key file; refuses one that other users can read, and one whose address is not its key's."""
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise KeyFailure("no such key", where=str(path), hint="fedcoin init makes keys") from error
    except OSError as error:
        raise KeyFailure(f"cannot read the key: {error.strerror}", where=str(path)) from error
    if stat.S_IMODE(mode) & 0o077:
        hint = f"chmod 600 {path}"
        raise KeyFailure("other users can read this key", where=str(path), hint=hint)
    try:
        fields = Fields(decode(data.rstrip(b"\n")), ("address", "format", "seed"), "key file")
        fields.integer("format", 1, 1)
        key = KeyPair(bytes.fromhex(fields.hexadecimal("seed", 64)))
        if fields.hexadecimal("address", ADDRESS_LENGTH) != key.address:
            raise Malformed("key file: the address does not belong to the key")
    except Malformed as error:
        raise KeyFailure(error.message, where=str(path), hint="restore it from a backup") from error
    return key
