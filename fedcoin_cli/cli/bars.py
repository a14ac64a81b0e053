"""Bars of block characters beside numbers: how much, to which side of zero, and how surely. Pure text."""

from collections.abc import Sequence
from decimal import Decimal

WIDTH = 24
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bars(values: Sequence[Decimal | None], width: int = WIDTH) -> list[str]:
    """One bar a value, on one scale: to the right of the axis what is positive, to the left what is negative.

    Every bar is as wide as the others' scale needs it; None has no bar.
    """
    known = [value for value in values if value is not None]
    most, least = max([Decimal(0), *known]), min([Decimal(0), *known])
    span = most - least
    if not span:
        return ["" for _ in values]
    left = round(width * -least / span)
    return ["" if value is None else _bar(value, span, left, width).rstrip() for value in values]


def _bar(value: Decimal, span: Decimal, left: int, width: int) -> str:
    eighths = round(8 * width * abs(value) / span)
    whole, part = divmod(eighths, 8)
    if value < 0:
        # Blocks fill from the left, so a bar that grows to the left has whole blocks only.
        return ("▒" * max(1, min(left, round(eighths / 8)))).rjust(left)
    return " " * left + "█" * whole + _EIGHTHS[part].strip()
