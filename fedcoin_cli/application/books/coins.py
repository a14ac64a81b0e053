"""How a part of a price became one payment, step by step in exact integers, for people who want to follow it.

`ledger_store.base.amount.split` is what the ledger obeys; here its steps are written down for one of the shares.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Share:
    """One share of `total_micro`: weight of `weights` in all, the whole micros, and who gets the rest.

    total · weight = whole_micro · weights + remainder. `left_micro` is what all whole parts leave over; it goes, one
    micro each, to the largest remainders, of which this one is number `place`.
    """

    total_micro: int
    weight: int
    weights: int
    whole_micro: int
    remainder: int
    left_micro: int
    place: int

    @property
    def extra_micro(self) -> int:
        """1 for one of the largest remainders, else 0."""
        return int(self.place <= self.left_micro)

    @property
    def paid_micro(self) -> int:
        """What the share comes to."""
        return self.whole_micro + self.extra_micro

    def to_json(self) -> dict[str, str]:
        """Every step as a decimal text: weights are larger than what JSON readers keep exactly."""
        steps = {field.name: str(getattr(self, field.name)) for field in fields(self)}
        return steps | {"extra_micro": str(self.extra_micro), "paid_micro": str(self.paid_micro)}


def share_of(total_micro: int, weights: Sequence[int], index: int) -> Share:
    """The share number `index`; some weight must be positive and none negative."""
    whole = sum(weights)
    quotas = [divmod(total_micro * weight, whole) for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda other: (-quotas[other][1], other))
    return Share(
        total_micro=total_micro,
        weight=weights[index],
        weights=whole,
        whole_micro=quotas[index][0],
        remainder=quotas[index][1],
        left_micro=total_micro - sum(part for part, _ in quotas),
        place=by_remainder.index(index) + 1,
    )
