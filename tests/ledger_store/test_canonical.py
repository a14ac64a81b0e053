from enum import StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledger_store.base.canonical import DEPTH_LIMIT, decode, digest, encode, tagged_hash
from ledger_store.base.errors import Malformed
from ledger_store.base.words import TaskState, VoteKind

ASCII = st.text(st.characters(max_codepoint=127), max_size=12)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | ASCII
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ASCII, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_our_bytes_are_those_of_rfc_8785(value: Any) -> None:
    """On the subset that the ledger uses, control characters and DEL included, the bytes are the RFC's [P-1.1]."""
    assert encode(value) == rfc8785.dumps(value)


@given(VALUES)
def test_reading_is_the_inverse_of_writing(value: Any) -> None:
    """What was written is read back as the same value with the same types."""
    again = decode(encode(value))
    assert again == value
    assert encode(again) == encode(value)


@given(VALUES, st.sampled_from([" %s", "%s ", "%s\n", "[%s,1.0]", "[%s,1e2]", "[%s,-0]", '[%s,"\\u0041"]']))
def test_other_spellings_are_refused(value: Any, spelling: str) -> None:
    """Spacing, floats, a negative zero and needless escapes are not canonical [P-1.2]."""
    with pytest.raises(Malformed):
        decode((spelling % encode(value).decode()).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"{",
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'"\xc3\xa9"',
        b'"\\u00e9"',
        b"NaN",
        b"Infinity",
        b"-0",
        b"01",
        b"1E400",
        b"9007199254740992",
        b"-9007199254740992",
        b"1" * 5_000,
        b"[" * 100_000,
        b"[" * (DEPTH_LIMIT + 2) + b"]" * (DEPTH_LIMIT + 2),
        b'{"a":1}{"a":1}',
    ],
    ids=lambda data: data[:12].hex(),
)
def test_what_is_not_canonical_is_refused(data: bytes) -> None:
    """Duplicate or unsorted keys, text beyond ASCII, special numbers, deep nesting: one refusal for all [P-1.4]."""
    with pytest.raises(Malformed):
        decode(data)


def test_32_levels_are_read_and_33_are_not() -> None:
    """Around a number; either way [P-1.4]."""
    value: Any = 0
    for _ in range(32):
        value = [value]
    assert decode(encode(value)) == value
    for refused in (lambda: encode([value]), lambda: decode(b"[" * 33 + b"0" + b"]" * 33)):
        with pytest.raises(Malformed):
            refused()


@pytest.mark.parametrize("data", [b"[1,2,3]", b"[[[1]]]", b'{"a":{"b":{}}}', b'{"a":[],"b":1}'])
def test_what_may_hold_too_many_values_is_refused(data: bytes) -> None:
    """A value begins the text, or stands behind a comma or an open bracket: four of them here."""
    assert decode(data, 4) == decode(data)
    with pytest.raises(Malformed, match="more than 3 values"):
        decode(data, 3)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Reading never fails in another way, and what is read is written with the same bytes [P-1.2]."""
    try:
        value = decode(data)
    except Malformed:
        return
    assert encode(value) == data


@pytest.mark.parametrize("value", [1.5, {1: 2}, (1,), {"é": 1}, "é", 2**53, [{"a": [1.0]}], b"", {"a": {1}}])
def test_foreign_values_cannot_be_written(value: Any) -> None:
    """Floats, tuples, sets, bytes, foreign keys and large integers never reach the chain [P-1.3]."""
    with pytest.raises(Malformed):
        encode(value)


def test_a_digest_is_sha_256() -> None:
    """In hexadecimal; the example of FIPS 180-2."""
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_integer_limit_is_exact() -> None:
    """2**53 - 1 is written, and read back as an int and not as a boolean or a float [P-1.3]."""
    assert decode(encode([2**53 - 1, 1, True])) == [2**53 - 1, 1, True]
    assert [type(item) for item in decode(b"[1,true]")] == [int, bool]


def test_tags_separate_domains() -> None:
    """The same bytes under two tags have two hashes [P-1.8]."""
    assert tagged_hash("block", b"x") != tagged_hash("transaction", b"x")


def test_a_word_of_the_format_is_written_as_its_text() -> None:
    """A state or a kind is a text like any other in the bytes; a word beyond ASCII is refused as a text is."""
    assert encode({"state": TaskState.OPEN, "votes": [VoteKind.SKIP]}) == b'{"state":"OPEN","votes":["skip"]}'
    beyond = StrEnum("beyond", {"WORD": "offen für alle"})
    with pytest.raises(Malformed):
        encode([next(iter(beyond))])
