"""Bars of block characters beside numbers: how much, to which side of zero, and how surely. Pure text."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

Number = Fraction | Decimal | float

WIDTH = 24
_SURE, _LIKELY, _POSSIBLE, _LOSS = "█", "▓", "░", "▒"


def as_decimal(value: Number) -> Decimal:
    """A number that is about to be drawn or printed, to as many digits as a decimal keeps."""
    exact = Fraction(value)
    return Decimal(exact.numerator) / exact.denominator


def bars(values: Sequence[Decimal], errors: Sequence[Decimal] | None = None, width: int = WIDTH) -> list[str]:
    """One bar a value, all on one scale around a common zero: ahead of it what is positive, before it what is not.

    A bar is solid; with `errors` (to each side) its uncertain end is shaded, and beyond it what may still be there.
    What is not zero has at least one character.
    """
    off = errors or [Decimal(0)] * len(values)
    ends = [value + side * error for value, error in zip(values, off, strict=True) for side in (1, -1)]
    most, least = max([Decimal(0), *ends]), min([Decimal(0), *ends])
    if most == least:
        return ["" for _ in values]
    cell, left = (most - least) / width, _cells(-least, (most - least) / width)
    return [_bar(value, error, cell, left) for value, error in zip(values, off, strict=True)]


def _bar(value: Decimal, error: Decimal, cell: Decimal, left: int) -> str:
    size = max(_cells(abs(value), cell), int(value != 0))
    unsure = _cells(error, cell)
    sure, beyond = max(size - unsure, 0), unsure
    solid, shaded = (_SURE, _LIKELY) if value >= 0 else (_LOSS, _POSSIBLE)
    drawn = solid * sure + shaded * (size - sure) + _POSSIBLE * beyond
    return " " * left + drawn if value >= 0 else drawn[:left][::-1].rjust(left)


def _cells(amount: Decimal, cell: Decimal) -> int:
    return int((amount / cell).to_integral_value())
