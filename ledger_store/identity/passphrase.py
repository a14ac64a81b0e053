"""Passphrases: how one seals a secret. Argon2id makes the key, SecretBox (XSalsa20-Poly1305) the box.

Where a passphrase comes from (a prompt, a file, a pipe) is decided above; it never is in an argument, in the
environment or in a message of an error. (docs/adr/0010)
"""

from dataclasses import dataclass
from typing import Any

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from nacl.utils import random

from ledger_store.base.errors import KeyFailure
from ledger_store.base.fields import Fields

MOST_BYTES = 1024
# RFC 9106's second recommendation, on one lane: about 0.1 s, and every guess costs a thief as much.
PASSES, MEMORY_BYTES = 3, 64 * 2**20
_SALT_BYTES = 16
_BOX_LENGTH = 2 * (SecretBox.NONCE_SIZE + 32 + SecretBox.MACBYTES)
# What a file may ask of who opens it.
_PASSES_MOST, _MEMORY_MOST = 16, 2**30


@dataclass(frozen=True, slots=True)
class Sealed:
    """A box and how its key follows from the passphrase; `salt` and `box` are hex."""

    salt: str
    passes: int
    memory_bytes: int
    box: str

    def to_json(self) -> dict[str, Any]:
        """The fields as they stand in a key file."""
        return {
            "box": self.box,
            "memory_bytes": self.memory_bytes,
            "passes": self.passes,
            "salt": self.salt,
        }

    @classmethod
    def from_json(cls, value: Any) -> "Sealed":
        """Read and check; raises `Malformed`."""
        fields = Fields(value, ("box", "memory_bytes", "passes", "salt"), "sealed key")
        return cls(
            salt=fields.hexadecimal("salt", 2 * _SALT_BYTES),
            passes=fields.integer("passes", 1, _PASSES_MOST),
            memory_bytes=fields.integer("memory_bytes", 8192, _MEMORY_MOST),
            box=fields.hexadecimal("box", _BOX_LENGTH),
        )


class Passphrase:
    """A passphrase; what it seals in one life shares a salt, so that opening many keys costs one derivation."""

    __slots__ = ("_derived", "_salt", "words")

    def __init__(self, words: bytes) -> None:
        self.words = words
        self._salt = random(_SALT_BYTES)
        self._derived: dict[tuple[bytes, int, int], SecretBox] = {}

    @classmethod
    def of(cls, text: bytes, where: str) -> "Passphrase":
        """The first line of `text`, without its end; raises `KeyFailure` when it is empty or overlong."""
        words = text.partition(b"\n")[0].removesuffix(b"\r")
        if not 0 < len(words) <= MOST_BYTES:
            hint = f"the first line is the passphrase: 1 to {MOST_BYTES} bytes"
            raise KeyFailure(
                "no passphrase here" if not words else "not a passphrase", where=where, hint=hint
            )
        return cls(words)

    def seal(self, secret: bytes) -> Sealed:
        """A box that only this passphrase opens."""
        box = self._box(self._salt, PASSES, MEMORY_BYTES).encrypt(secret)
        return Sealed(self._salt.hex(), PASSES, MEMORY_BYTES, bytes(box).hex())

    def open(self, sealed: Sealed) -> bytes | None:
        """The secret; None when another passphrase sealed it or the box was altered."""
        key = self._box(bytes.fromhex(sealed.salt), sealed.passes, sealed.memory_bytes)
        try:
            return key.decrypt(bytes.fromhex(sealed.box))
        except CryptoError:
            return None

    def _box(self, salt: bytes, passes: int, memory_bytes: int) -> SecretBox:
        from nacl.pwhash import argon2id

        terms = (salt, passes, memory_bytes)
        if terms not in self._derived:
            key = argon2id.kdf(SecretBox.KEY_SIZE, self.words, salt, passes, memory_bytes)
            self._derived[terms] = SecretBox(key)
        return self._derived[terms]
