"""A mapping in two layers: a base that many states share, and on top what has changed since.

So a block, or a trial of a pending transaction, copies what changed lately and not all accounts. When the top has
grown, the next state gets a new base: one copy of everything in `TOP_MOST` changes. Keys come in a dict's order, that
of their coming, whatever the layers are; who goes and comes back is last. (docs/adr/0026)
"""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TypeVar

TOP_MOST = 1_024

K = TypeVar("K", bound=str)
V = TypeVar("V")


class Layered(MutableMapping[K, V]):
    """Changes over a base that nobody changes; frozen by custom once it is part of a state."""

    __slots__ = ("_base", "_changed", "_gone")

    def __init__(self, base: Mapping[K, V]) -> None:
        """An editable view of `base`, which stays as it is."""
        self._base = base
        self._changed: dict[K, V] = {}
        # Keys that are no more at their place in the base, or not at all.
        self._gone: set[K] = set()

    @property
    def base(self) -> Mapping[K, V]:
        """What lies below."""
        return self._base

    def touched(self) -> set[K]:
        """The keys of the top: whatever differs from the base, and perhaps more."""
        return {*self._changed, *self._gone}

    def edited(self) -> "Layered[K, V]":
        """An editable copy: of the top, over the same base."""
        other = Layered(self._base)
        other._changed, other._gone = self._changed.copy(), self._gone.copy()
        return other

    def settled(self) -> Mapping[K, V]:
        """The same for keeps: itself, or all in one piece when the top has grown."""
        if len(self._changed) + len(self._gone) <= TOP_MOST:
            return self
        whole = dict(self._base)
        for key in self._gone:
            del whole[key]
        whole.update(self._changed)
        return whole

    def __getitem__(self, key: K) -> V:
        if key in self._changed:
            return self._changed[key]
        if key in self._gone:
            raise KeyError(key)
        return self._base[key]

    def __setitem__(self, key: K, value: V) -> None:
        self._changed[key] = value

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        self._changed.pop(key, None)
        if key in self._base:
            self._gone.add(key)

    def __contains__(self, key: object) -> bool:
        return key in self._changed or (key in self._base and key not in self._gone)

    def __iter__(self) -> Iterator[K]:
        yield from (key for key in self._base if key not in self._gone)
        yield from self._appended()

    def __len__(self) -> int:
        return len(self._base) - len(self._gone) + sum(1 for _ in self._appended())

    def _appended(self) -> Iterator[K]:
        return (key for key in self._changed if key not in self._base or key in self._gone)


def differences(before: Mapping[K, V], after: Mapping[K, V]) -> set[K]:
    """The keys whose values differ; where both have one base only what lies on top of it is looked at."""
    layers = [mapping for mapping in (before, after) if isinstance(mapping, Layered)]
    below = [mapping.base if isinstance(mapping, Layered) else mapping for mapping in (before, after)]
    keys = {key for layer in layers for key in layer.touched()}
    if below[0] is not below[1]:
        keys = {*before, *after}
    return {key for key in keys if before.get(key) != after.get(key)}


def editable(mapping: Mapping[K, V]) -> Layered[K, V]:
    """What a block may change without changing `mapping`."""
    return mapping.edited() if isinstance(mapping, Layered) else Layered(mapping)
