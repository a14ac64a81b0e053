"""Money as integers: decimal text ↔ micro-FedCoin, and splits that lose nothing.

One FedCoin is 10⁶ micro. No float ever touches an amount.
"""

import re
from collections.abc import Sequence

from ledger_store.base.errors import SettingsError

MICRO = 10**6
SUPPLY_MAX_MICRO = 2**53 - 1

_DECIMAL = re.compile(r"([0-9]{1,16})(?:\.([0-9]{1,6}))?")


def parse_micro(text: str, what: str = "amount") -> int:
    """Read a non-negative decimal with at most six decimals as integer micro units.

    Raises `SettingsError` for a sign, an exponent, a seventh decimal, or a value above the greatest supply.
    """
    match = _DECIMAL.fullmatch(text.strip())
    micro = int(match[1]) * MICRO + int((match[2] or "").ljust(6, "0")) if match else SUPPLY_MAX_MICRO + 1
    if micro > SUPPLY_MAX_MICRO:
        raise SettingsError(
            f"{what} {text!r} is not an amount",
            hint="write a non-negative decimal with at most six decimals, for example 12.5",
        )
    return micro


def format_micro(micro: int) -> str:
    """Write integer micro units as the shortest decimal with at least one decimal: 12500000 → '12.5'."""
    sign, magnitude = ("-", -micro) if micro < 0 else ("", micro)
    whole, fraction = divmod(magnitude, MICRO)
    return f"{sign}{whole}.{fraction:06d}".rstrip("0").ljust(len(f"{sign}{whole}.0"), "0")


def split(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Share `total` in proportion to non-negative integer `weights` by largest remainder, ties by index.

    The parts sum to `total` exactly. Raises ValueError when no weight is positive or one is negative. [P-1.11]
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0 or total < 0:
        raise ValueError("a split needs non-negative weights with a positive sum")
    quotas = [divmod(total * weight, whole) for weight in weights]
    left = total - sum(part for part, _ in quotas)
    by_remainder = sorted(range(len(weights)), key=lambda index: (-quotas[index][1], index))
    lucky = frozenset(by_remainder[:left])
    parts = tuple(part + (index in lucky) for index, (part, _) in enumerate(quotas))
    assert sum(parts) == total
    return parts
