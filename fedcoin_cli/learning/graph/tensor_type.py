"""What is known of a value of a graph before anything is computed: its kind, its sizes, and where the examples stand.

An example's output must depend on that example alone. So every value either has one axis along which the examples
stand, all of one example's entries together, or holds the same for all of them. Sizes count one example; for n of
them that axis is n times as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from fedcoin_cli.learning.graph.graph import Kind


class Misfit(ValueError):
    """An operation cannot be applied to these values; its text says why."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """`sizes` of one example; `axis` along which the examples stand, None where there is no such axis."""

    kind: Kind
    sizes: tuple[int, ...]
    axis: int | None = None

    @property
    def rank(self) -> int:
        return len(self.sizes)

    @property
    def each(self) -> int:
        """The values of one example, or of all where they share them."""
        return prod(self.sizes)

    @property
    def lane(self) -> tuple[int, int]:
        """The axis along which the examples stand, and how many places each takes there; there must be one."""
        if self.axis is None:
            raise Misfit(f"no examples stand in {self}")
        return self.axis, self.sizes[self.axis]

    def shape(self, examples: int) -> tuple[int, ...]:
        """What an array of so many examples has."""
        return tuple(size * examples if place == self.axis else size for place, size in enumerate(self.sizes))

    def count(self, examples: int) -> int:
        """The values of so many examples."""
        return self.each * (1 if self.axis is None else examples)

    def of(self, sizes: Sequence[int], axis: int | None) -> "TensorType":
        """Another of the same kind."""
        return TensorType(self.kind, tuple(sizes), axis)

    def to(self, kind: Kind) -> "TensorType":
        return replace(self, kind=kind)

    def place(self, axis: int) -> int:
        """An axis that may count from the end, from the beginning; it must be there."""
        if not -self.rank <= axis < self.rank:
            raise Misfit(f"there is no axis {axis} in {self}")
        return axis % self.rank

    def inner(self, axes: Sequence[int], deed: str) -> tuple[int, ...]:
        """These axes, each once, in order; none may be the examples' [P-12.16]."""
        places = tuple(sorted(self.place(axis) for axis in axes))
        if len(set(places)) < len(places):
            raise Misfit(f"axis {list(axes)} is named twice")
        if self.axis in places:
            raise Misfit(
                f"it would {deed} along axis {self.axis}, where the examples stand: each counts alone"
            )
        return places

    def __str__(self) -> str:
        sizes = (
            ("examples" if size == 1 else f"{size}·examples") if place == self.axis else str(size)
            for place, size in enumerate(self.sizes)
        )
        return f"{self.kind} ({', '.join(sizes)})"


def broadcast(*types: TensorType) -> tuple[tuple[int, ...], int | None]:
    """Sizes and axis of what values have when they are stretched to each other's shapes, aligned at the end."""
    rank = max(one.rank for one in types)
    axes = {rank - one.rank + one.axis for one in types if one.axis is not None}
    if len(axes) > 1:
        raise Misfit(f"the examples stand along different axes: {_list(types)}")
    axis = next(iter(axes), None)
    sizes = []
    for place in range(rank):
        found = set()
        for one in types:
            own = place - rank + one.rank
            if own < 0:
                continue
            moved = own == one.axis
            if place == axis and not moved and one.sizes[own] != 1:
                raise Misfit(f"examples meet an axis of {one.sizes[own]}: {_list(types)}")
            if (place == axis) == moved and (moved or one.sizes[own] != 1):
                found.add(one.sizes[own])
        if len(found) > 1:
            raise Misfit(f"shapes do not fit together: {_list(types)}")
        sizes.append(next(iter(found), 1))
    return tuple(sizes), axis


def _list(types: Sequence[TensorType]) -> str:
    return " and ".join(map(str, types))
