"""What one setting may be: its type, range, decimals, choices and line of help, and how raw values are read.

The settings themselves are in `settings`, the places that they come from in `configuration`.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ledger_store.base.amount import MICRO, SUPPLY_MAX_MICRO

# The greatest decimal whose millionths are one exact integer on the chain.
_MOST = Decimal(SUPPLY_MAX_MICRO) / MICRO
_INTEGER = re.compile(r"-?[0-9]{1,16}")
_DECIMAL = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,20})?")

Value = int | Decimal | str


@dataclass(frozen=True, slots=True)
class Rule:
    """What one setting may be; `places` is the greatest number of decimals, `choices` the words allowed."""

    key: str
    default: Value
    help: str
    unit: str = ""
    least: Decimal = Decimal(0)
    most: Decimal = Decimal(0)
    places: int = 0
    choices: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """What it is and what it may be: 'part of the price to the FL clients: a decimal from 0 to 1'."""
        return f"{self.help}: {self.expected}" if self.expected else self.help

    @property
    def expected(self) -> str:
        """The admissible values in words; empty for a free text."""
        if isinstance(self.default, str):
            return " | ".join(self.choices)
        noun = "an integer" if isinstance(self.default, int) else "a decimal"
        bounds = f"of at least {self.least}" if self.most == _MOST else f"from {self.least} to {self.most}"
        return f"{noun} {bounds} {self.unit}".rstrip()

    def parse(self, raw: object) -> Value:
        """The value that a TOML file (int, Decimal, str) or a flag (str) means; ValueError says why not."""
        if isinstance(self.default, str):
            return self._word(raw)
        number = self._number(raw)
        if not self.least <= number <= self.most:
            raise ValueError("is out of range")
        if isinstance(self.default, int):
            return int(number)
        if number != round(number, self.places):
            raise ValueError(f"has more than {self.places} decimals")
        return number

    def _number(self, raw: object) -> Decimal:
        whole = isinstance(self.default, int)
        if type(raw) is int or (isinstance(raw, Decimal) and raw.is_finite() and not whole):
            return Decimal(raw)
        if isinstance(raw, str) and (_INTEGER if whole else _DECIMAL).fullmatch(raw):
            return Decimal(raw)
        raise ValueError("has the wrong type")

    def _word(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise ValueError("has the wrong type")
        if self.choices and raw not in self.choices:
            raise ValueError("is not a choice")
        return raw


def integer(default: int, text: str, least: int, most: int, unit: str = "") -> Any:
    """A dataclass field for a whole number."""
    return _field(default, text, unit=unit, least=Decimal(least), most=Decimal(most))


def decimal(
    default: str, text: str, unit: str = "", *, least: str = "0", most: Decimal = _MOST, places: int = 6
) -> Any:
    """A dataclass field for an exact decimal with at most `places` decimals."""
    return _field(Decimal(default), text, unit=unit, least=Decimal(least), most=most, places=places)


def word(default: str, text: str, choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field for a text, or for one of `choices`."""
    return _field(default, text, choices=choices)


def _field(default: Value, text: str, **limits: Any) -> Any:
    return field(default=default, metadata={"help": text, **limits})
