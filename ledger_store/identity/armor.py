"""A key as a block of text to be printed, mailed to oneself or kept elsewhere; what it holds is the key file's line.

    -----BEGIN FEDCOIN KEY-----
    Name: requester
    Address: 8139770e…

    eyJhZGRyZXNzIjoi…
    =5d41c0ffee
    -----END FEDCOIN KEY-----

The last line before the end begins SHA-256 over the name and the decoded line: a block that was mistyped or cut is
refused, whatever around it (quotes, blank lines) may have changed on the way.
"""

import base64
import hashlib

from ledger_store.base.errors import Malformed
from ledger_store.identity.keyfile import KeyRecord

BEGIN, END = "-----BEGIN FEDCOIN KEY-----", "-----END FEDCOIN KEY-----"
TEXT_MOST = 64 * 1024
_WIDTH, _CHECK_LENGTH = 64, 10


def armored(name: str, record: KeyRecord) -> str:
    """The text block of a key."""
    line = record.to_bytes()
    text = base64.b64encode(line).decode("ascii")
    body = [text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH)]
    head = [BEGIN, f"Name: {name}", f"Address: {record.address}", ""]
    return "\n".join([*head, *body, f"={_checksum(name, line)}", END]) + "\n"


def dearmored(text: str) -> tuple[str, KeyRecord]:
    """Name and key of the one block in `text`; raises `Malformed`."""
    lines = [line.strip().lstrip("> ") for line in text.splitlines()]
    if lines.count(BEGIN) != 1 or END not in lines[lines.index(BEGIN) :]:
        raise Malformed(f"no text from {BEGIN!r} to {END!r}, or several")
    start = lines.index(BEGIN) + 1
    block = [line for line in lines[start : lines.index(END, start)] if line]
    names = [line.removeprefix("Name: ") for line in block if line.startswith("Name: ")]
    body = [line for line in block if ": " not in line]
    if len(names) != 1 or len(body) < 2 or not body[-1].startswith("="):
        raise Malformed("the block lacks its name, its key or its checksum")
    try:
        line = base64.b64decode("".join(body[:-1]), validate=True)
    except ValueError as error:  # not base64, or not even ASCII
        raise Malformed("the block is not base64: was it cut or retyped?") from error
    if body[-1][1:] != _checksum(names[0], line):
        raise Malformed("the checksum does not match: was the block cut or retyped?")
    record = KeyRecord.from_bytes(line)
    if f"Address: {record.address}" not in block:
        raise Malformed("the block's address is not its key's")
    return names[0], record


def _checksum(name: str, line: bytes) -> str:
    return hashlib.sha256(name.encode() + b"\0" + line).hexdigest()[:_CHECK_LENGTH]
