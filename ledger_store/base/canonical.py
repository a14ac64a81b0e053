"""The only place where values become bytes: canonical JSON and domain-separated SHA-256.

Canonical JSON here is RFC 8785 restricted to objects, arrays, ASCII strings, integers below 2⁵³ in magnitude,
booleans and null. A reader parses, checks types, re-encodes and requires the same bytes; that refuses
duplicate keys, spacing, escapes and floats at once. Larger integers travel as decimal strings.
"""

import hashlib
import json
from enum import StrEnum
from typing import Any

from ledger_store.base.errors import Malformed
from ledger_store.base.names import Digest

INTEGER_LIMIT = 2**53
DEPTH_LIMIT = 32
# Hexadecimal characters of a SHA-256.
DIGEST_LENGTH = 64


def encode(value: Any) -> bytes:
    """Return the canonical bytes of `value`; raises `Malformed` for a float or any other foreign type [P-1.1]."""
    _check(value)
    return write(value)


def decode(data: bytes, most_values: int | None = None) -> Any:
    """Read canonical bytes; raises `Malformed` for anything that `encode` would not have written.

    `most_values`: what may hold more values is refused before memory is taken for them. [P-1.2]
    """
    # A value begins the text, or stands behind one of these.
    if most_values is not None and sum(map(data.count, (b",", b"[", b"{"))) >= most_values:
        raise Malformed(f"more than {most_values} values")
    value = parse(data)
    _check(value)
    require_same(write(value), data)
    return value


def parse(data: bytes) -> Any:
    """The value alone, for a reader that checks every type and bound itself and compares what it writes.

    Raises `Malformed` for what is not JSON; text beyond ASCII is refused by `write`.
    """
    try:
        return _DECODER.decode(data.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not canonical JSON: {error}") from error


def write(value: Any) -> bytes:
    """The bytes of a value that `parse` has given, or of a part of it; no type is checked again."""
    try:
        return _ENCODER.encode(value).encode("ascii")
    except UnicodeEncodeError as error:
        raise Malformed("not canonical JSON: text beyond ASCII") from error


def require_same(written: bytes, data: bytes) -> None:
    """Raise `Malformed` unless what was read is written with the same bytes [P-1.2]."""
    if written != data:
        raise Malformed("not canonical JSON: the bytes are not the ones this value is written with")


def digest(data: bytes) -> Digest:
    """SHA-256 of a file's bytes, as hex [P-1.9]."""
    return Digest(hashlib.sha256(data).hexdigest())


def tagged_hash(tag: str, data: bytes) -> Digest:
    """SHA-256 over `fedcoin/v1/<tag>`, a zero byte and `data`, as hex [P-1.8]."""
    return Digest(tagged_hasher(tag, data).hexdigest())


def tagged_hasher(tag: str, data: bytes) -> "hashlib._Hash":
    """The same for data that goes on."""
    return hashlib.sha256(b"fedcoin/v1/" + tag.encode() + b"\0" + data)


def _no_float(text: str) -> Any:
    raise ValueError(f"{text[:40]} is not an integer")


# All text is ASCII by then; `ensure_ascii` would escape DEL, which RFC 8785 does not.
# No look-out for circles: what was parsed has none, and `_check` ends at its depth.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False)
_DECODER = json.JSONDecoder(parse_float=_no_float, parse_constant=_no_float)


def _check(value: Any) -> None:
    """Level by level: most of what is encoded is flat, and a call for each leaf is what this would cost.

    [P-1.3] [P-1.4]
    """
    level = [value]
    for _ in range(DEPTH_LIMIT + 1):
        deeper: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str:
                if not item.isascii():
                    raise Malformed("not canonical JSON: text beyond ASCII")
            elif kind is int:
                if not -INTEGER_LIMIT < item < INTEGER_LIMIT:
                    raise Malformed("not canonical JSON: an integer beyond 2**53")
            elif kind is list:
                deeper += item
            elif kind is dict:
                _check_keys(item)
                deeper += item.values()
            elif kind is not bool and item is not None and not isinstance(item, StrEnum):
                raise Malformed(f"not canonical JSON: {kind.__name__} has no place here")
        if not deeper:
            return
        level = deeper
    raise Malformed("not canonical JSON: nested too deeply")


def _check_keys(value: dict[Any, Any]) -> None:
    for key in value:
        if type(key) is not str or not key.isascii():
            raise Malformed("not canonical JSON: a key is not ASCII text")
