"""Reading parsed JSON objects: exact keys, exact types, bounds; a refusal is `Malformed`, with the field."""

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

from ledger_store.base.canonical import DIGEST_LENGTH
from ledger_store.base.errors import Malformed
from ledger_store.base.names import ADDRESS_LENGTH, Address, BlockId, Digest, MinerIndex, TaskId

Word = TypeVar("Word", bound=str)

_HEX = re.compile(r"[0-9a-f]+")
_NAMED_MOST, _NAME_MOST = 3, 40
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)")


def _amiss(found: AbstractSet[str], expected: AbstractSet[str]) -> str:
    """What is wrong with these fields; of a stranger's a few are named, in ASCII and not at any length."""
    lacking, strange = sorted(expected - found), sorted(found - expected)
    named = [ascii(name)[1:-1][:_NAME_MOST] for name in strange[:_NAMED_MOST]]
    if len(strange) > _NAMED_MOST:
        named.append("...")
    parts = (("lacks", lacking), ("knows no", named))
    return "; ".join(f"{verb} {', '.join(names)}" for verb, names in parts if names)


class Fields:
    """A JSON object whose keys are exactly `keys`; the readers below check one field each [P-1.5]."""

    def __init__(self, value: Any, keys: Iterable[str], what: str) -> None:
        expected = set(keys)
        if type(value) is not dict:
            raise Malformed(f"{what}: expected an object with the fields {', '.join(sorted(expected))}")
        if value.keys() != expected:
            raise Malformed(f"{what}: {_amiss(value.keys(), expected)}")
        self._value: dict[str, Any] = value
        self._what = what

    def raw(self, key: str) -> Any:
        """The unchecked value of a field that another reader checks."""
        return self._value[key]

    def integer(self, key: str, least: int = 0, most: int = 2**53 - 1) -> int:
        """An integer within [least, most]; a boolean is refused."""
        value = self._value[key]
        if type(value) is not int or not least <= value <= most:
            raise self._malformed(key, f"an integer from {least} to {most}")
        return value

    def optional_integer(self, key: str, least: int = 0) -> int | None:
        """The same from `least` on, or null."""
        return None if self._value[key] is None else self.integer(key, least)

    def hexadecimal(self, key: str, length: int) -> str:
        """Lower-case hex text of exactly `length` characters."""
        return self._hex(key, self._value[key], length)

    def optional_hex(self, key: str, length: int) -> str | None:
        """The same, or null."""
        return None if self._value[key] is None else self.hexadecimal(key, length)

    def address(self, key: str) -> Address:
        """An account's address."""
        return Address(self.hexadecimal(key, ADDRESS_LENGTH))

    def optional_address(self, key: str) -> Address | None:
        """The same, or null."""
        return None if self._value[key] is None else self.address(key)

    def addresses(self, key: str, most: int, least: int = 0) -> tuple[Address, ...]:
        """An array of least..most addresses."""
        return tuple(Address(self._hex(key, item, ADDRESS_LENGTH)) for item in self.array(key, most, least))

    def address_groups(self, key: str, most: int) -> tuple[tuple[Address, ...], ...]:
        """An array of arrays of two or more addresses, at most so many of each."""
        groups = (Fields({key: one}, (key,), self._what) for one in self.array(key, most))
        return tuple(group.addresses(key, most, 2) for group in groups)

    def digest(self, key: str) -> Digest:
        """A SHA-256."""
        return Digest(self.hexadecimal(key, DIGEST_LENGTH))

    def optional_digest(self, key: str) -> Digest | None:
        """The same, or null."""
        return None if self._value[key] is None else self.digest(key)

    def task_id(self, key: str) -> TaskId:
        """A task's id."""
        return TaskId(self.hexadecimal(key, DIGEST_LENGTH))

    def optional_task_id(self, key: str) -> TaskId | None:
        """The same, or null."""
        return None if self._value[key] is None else self.task_id(key)

    def block_id(self, key: str) -> BlockId:
        """A block's id."""
        return BlockId(self.hexadecimal(key, DIGEST_LENGTH))

    def optional_block_id(self, key: str) -> BlockId | None:
        """The same, or null."""
        return None if self._value[key] is None else self.block_id(key)

    def miner_index(self, key: str, most: int) -> MinerIndex:
        """A miner's place in the roster."""
        return MinerIndex(self.integer(key, 0, most))

    def choice(self, key: str, choices: Iterable[Word]) -> Word:
        """One of a few words."""
        value, allowed = self._value[key], tuple(choices)
        if not isinstance(value, str) or value not in allowed:
            raise self._malformed(key, "one of " + ", ".join(allowed))
        return allowed[allowed.index(value)]

    def text(self, key: str, most: int) -> str:
        """Printable ASCII text of at most `most` characters: it may meet a terminal [P-1.13]."""
        value = self._value[key]
        if type(value) is not str or len(value) > most or not (value.isascii() and value.isprintable()):
            raise self._malformed(key, f"text of at most {most} printable characters")
        return value

    def boolean(self, key: str) -> bool:
        """true or false."""
        value = self._value[key]
        if type(value) is not bool:
            raise self._malformed(key, "true or false")
        return value

    def array(self, key: str, most: int, least: int = 0) -> list[Any]:
        """An array of least..most items, not yet checked."""
        value = self._value[key]
        if type(value) is not list or not least <= len(value) <= most:
            raise self._malformed(key, f"an array of {least} to {most} items")
        return value

    def pairs(self, key: str, names: tuple[str, str], most: int, least: int = 0) -> list["Fields"]:
        """An array of least..most two-item arrays, each to be read as an object with the fields `names`."""
        pairs = self.array(key, most, least)
        if any(type(pair) is not list or len(pair) != 2 for pair in pairs):
            raise self._malformed(key, f"[{', '.join(names)}] pairs")
        return [Fields(dict(zip(names, pair, strict=True)), names, f"{self._what} {key}") for pair in pairs]

    def signatures(
        self, key: str, most_number: int, length: int, most: int, least: int = 0
    ) -> tuple[tuple[MinerIndex, str], ...]:
        """An array of least..most pairs of a miner from 0 to `most_number` and a hex text of `length` characters."""
        pairs = []
        for item in self.array(key, most, least):
            if type(item) is not list or len(item) != 2:
                raise self._malformed(key, "pairs of a number and a hexadecimal text")
            number, text = item
            if type(number) is not int or not 0 <= number <= most_number:
                raise self._malformed(key, f"numbered from 0 to {most_number}")
            pairs.append((MinerIndex(number), self._hex(key, text, length)))
        return tuple(pairs)

    def hexes(self, key: str, length: int, most: int, least: int = 0) -> tuple[str, ...]:
        """An array of least..most hex texts of `length` characters."""
        return tuple(self._hex(key, item, length) for item in self.array(key, most, least))

    def big(self, key: str) -> int:
        """An integer of any size, written as a decimal string."""
        return self._big(key, self._value[key])

    def denominator(self, key: str) -> int:
        """The same, at least 1."""
        return self._positive(key, self.big(key))

    def fraction(self, key: str) -> tuple[int, int]:
        """Two integers of any size, the first at least 0, the second at least 1."""
        numerator, denominator = self.bigs(key, 2)
        if numerator < 0:
            raise self._malformed(key, "at least 0")
        return numerator, self._positive(key, denominator)

    def bigs(self, key: str, count: int) -> tuple[int, ...]:
        """Exactly `count` integers of any size, each a decimal string."""
        return tuple(self._big(key, item) for item in self.array(key, count, count))

    def integers(self, key: str, count: int, most: int = 2**53 - 1) -> tuple[int, ...]:
        """Exactly `count` non-negative integers."""
        items = self.array(key, count, count)
        if any(type(item) is not int or not 0 <= item <= most for item in items):
            raise self._malformed(key, f"{count} integers from 0 to {most}")
        return tuple(items)

    # Rule [P-1.7].
    def _hex(self, key: str, value: Any, length: int) -> str:
        if type(value) is not str or len(value) != length or not _HEX.fullmatch(value):
            raise self._malformed(key, f"{length} lower-case hexadecimal characters")
        return value

    # Rule [P-1.6].
    def _big(self, key: str, value: Any) -> int:
        if type(value) is not str or len(value) > 1024 or not _DECIMAL.fullmatch(value) or value == "-0":
            raise self._malformed(key, "an integer as a decimal string")
        return int(value)

    def _positive(self, key: str, value: int) -> int:
        if value < 1:
            raise self._malformed(key, "over a denominator of at least 1")
        return value

    def _malformed(self, key: str, expected: str) -> Malformed:
        return Malformed(f"{self._what}: {key} must be {expected}")
