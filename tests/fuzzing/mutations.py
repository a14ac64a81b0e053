"""Hostile bytes made from good ones: cut, doubled, exchanged, and JSON whose values are replaced by awkward ones.

One seed makes one input, the same on every machine. Structure is kept now and then on purpose: what is refused at
the first byte tests nothing behind it.
"""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

# Values that a careless reader trips over, whatever it expects.
AWKWARD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**53 - 1, 2**53, -(2**63), 2**64, 10**400, 0.5, 1e308, -0.0,
    "", "0", "-0", "ff", "FF", "0" * 64, "g" * 64, "ü", "\x00", "\u2028", "../../etc/passwd", "1" * 2_000,
    [], [[]], {}, {"": None}, [0] * 100, ["0" * 64] * 3,
)  # fmt: skip
TOKENS = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"-",
    b"0",
    b"1e9",
    b"NaN",
    b"Infinity",
    b"\\u0000",
    b"\n",
    b"\xff",
)
NUMBERS = (0, 1, 7, 8, 255, 2**16, 2**31, 2**32 - 1, 2**53, 2**63, 2**64 - 1)

Change = Callable[[Random, bytes], bytes]


def mutated(random: Random, samples: Sequence[bytes]) -> bytes:
    """One to four changes to one of the samples; rarely bytes that owe nothing to them."""
    if random.random() < 0.02:
        return random.randbytes(random.randrange(200))
    data = random.choice(samples)
    if random.random() < 0.5:
        data = _in_json(random, data)
    for _ in range(random.randrange(4)):
        data = random.choice(_CHANGES)(random, data)
    return data


def _span(random: Random, data: bytes, most: int = 16) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.randrange(most + 1))


def _flip(random: Random, data: bytes) -> bytes:
    if not data:
        return data
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


def _cut(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data, max(1, len(data) // 2) if random.random() < 0.2 else 16)
    return data[:start] + data[end:]


def _double(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data, 200)
    return data[:end] + data[start:end] * random.randrange(1, 4) + data[end:]


def _insert(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    word = random.choice(TOKENS) if random.random() < 0.7 else random.randbytes(random.randrange(9))
    return data[:start] + word + data[end:]


def _number(random: Random, data: bytes) -> bytes:
    """A binary number, as headers hold them, is overwritten by one at a border."""
    size = random.choice((4, 8))
    start = random.choice((0, 1, 33, 41, random.randrange(len(data) + 1)))
    value = random.choice(NUMBERS) & ((1 << 8 * size) - 1)
    number = value.to_bytes(size, "little" if random.random() < 0.5 else "big")
    return data[:start] + number + data[start + size :]


def _nest(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    depth = random.choice((40, 2_000, 20_000))
    return data[:start] + b"[" * depth + b"]" * depth + data[end:]


_CHANGES: tuple[Change, ...] = (_flip, _flip, _cut, _cut, _double, _insert, _insert, _number)


def _in_json(random: Random, data: bytes) -> bytes:
    """Where the bytes begin with, or hold behind eight bytes, a JSON object: one of its values is replaced."""
    if random.random() < 0.002:
        return _nest(random, data)
    head = b"" if data[:1] in (b"{", b"[") else data[:8]
    line, rest = _first_value(data[len(head) :])
    if line is None:
        return data
    _replace(random, line)
    text = json.dumps(line, separators=(",", ":"), sort_keys=random.random() < 0.9).encode()
    if head:
        head = len(text).to_bytes(8, "little")
    return head + text + rest


def _first_value(data: bytes) -> tuple[Any, bytes]:
    try:
        text = data.decode("latin-1")
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None, b""
    return (value, data[end:]) if isinstance(value, dict | list) else (None, b"")


def _replace(random: Random, value: Any) -> None:
    """Walk down to some member and put another value, or a key, in its place."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = random.choice(keys)
        below = value[key]
        if isinstance(below, dict | list) and below and random.random() < 0.8:
            value = below
            continue
        _exchange(random, value, key)
        return


def _exchange(random: Random, value: Any, key: Any) -> None:
    kind = random.randrange(10)
    if kind == 0:
        del value[key]
    elif kind == 1 and isinstance(value, dict):
        value[str(random.choice(AWKWARD))[:40]] = value[key]
    elif kind == 2:
        value[key] = [value[key]] * random.randrange(1, 5)
    elif kind in (3, 4) and type(value[key]) is int:
        value[key] += random.choice((-1, 1, 2**16, -(2**16), 2**40))
    else:
        value[key] = random.choice(AWKWARD)
