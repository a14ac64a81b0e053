"""The frames of the file channel, as frozen values and as bytes: a fixed header, then a chunk's data.

Header: kind (1 byte), digest (32), two unsigned integers of 8 bytes, big-endian. No socket, no file.
"""

import struct
from dataclasses import dataclass

from ledger_store.base.errors import Malformed
from ledger_store.base.names import Digest

CHUNK_BYTES = 2**16
FILE_BYTES_MAX = 2**53 - 1
_HEADER = struct.Struct(">B32sQQ")
PIECE_BYTES_MAX = _HEADER.size + CHUNK_BYTES
_OFFER, _WANT, _CHUNK, _LACK, _HAVE = range(1, 6)


@dataclass(frozen=True, slots=True)
class Offer:
    """I can give you this file."""

    digest: Digest
    """SHA-256 of the file."""
    size_bytes: int
    """How long it is: what is too large is never asked for."""


@dataclass(frozen=True, slots=True)
class Want:
    """Send me up to `CHUNK_BYTES` from here on: the credit for one chunk."""

    digest: Digest
    """SHA-256 of the file."""
    offset: int
    """From which byte on."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes at an offset of a file of `total_bytes`; empty only at its end."""

    digest: Digest
    """SHA-256 of the whole file."""
    offset: int
    """Where the bytes belong."""
    total_bytes: int
    """How long the whole file is."""
    data: bytes
    """Up to 65,536 bytes."""


@dataclass(frozen=True, slots=True)
class Lack:
    """What you want is not here."""

    digest: Digest
    """SHA-256 of the file."""


@dataclass(frozen=True, slots=True)
class Have:
    """I hold the whole file."""

    digest: Digest
    """SHA-256 of the file."""


Piece = Offer | Want | Chunk | Lack | Have


def to_bytes(piece: Piece) -> bytes:
    """The one frame that carries `piece` [P-11.24]."""
    match piece:
        case Offer(digest, size):
            return _pack(_OFFER, digest, size, 0)
        case Want(digest, offset):
            return _pack(_WANT, digest, offset, 0)
        case Chunk(digest, offset, total, data):
            return _pack(_CHUNK, digest, offset, total) + data
        case Lack(digest):
            return _pack(_LACK, digest, 0, 0)
        case Have(digest):
            return _pack(_HAVE, digest, 0, 0)


def from_bytes(frame: bytes) -> Piece:
    """Read a frame; raises `Malformed` for anything that `to_bytes` would not have written [P-11.24]."""
    if not _HEADER.size <= len(frame) <= PIECE_BYTES_MAX:
        raise Malformed("piece: no frame has this length")
    kind, raw, first, second = _HEADER.unpack_from(frame)
    digest, data = raw.hex(), frame[_HEADER.size :]
    if max(first, second) > FILE_BYTES_MAX:
        raise Malformed("piece: no file is that long")
    if kind == _CHUNK:
        return _chunk(digest, first, second, data)
    if data or second or (first and kind not in (_OFFER, _WANT)):
        raise Malformed("piece: bytes where none belong")
    match kind:
        case 1:
            return Offer(digest, first)
        case 2:
            return Want(digest, first)
        case 4:
            return Lack(digest)
        case 5:
            return Have(digest)
    raise Malformed("piece: unknown kind")


def _chunk(digest: Digest, offset: int, total: int, data: bytes) -> Chunk:
    if len(data) != min(CHUNK_BYTES, total - offset):
        raise Malformed("chunk: not the bytes that were due at this offset")
    return Chunk(digest, offset, total, data)


def _pack(kind: int, digest: Digest, first: int, second: int) -> bytes:
    return _HEADER.pack(kind, bytes.fromhex(digest), first, second)
