"""Updates one at a time as a few numbers each: extremes, norms by tensor, and a sketch that keeps inner products.

A sketch is linear: every weight's step from a common origin gets a seeded random sign and falls into one of a
tensor's buckets, so that the inner product of two sketches is that of the two steps, give or take 1/√buckets of their
norms (Charikar, Chen and Farach-Colton, "Finding Frequent Items in Data Streams", 2002; inner products: Pham and Pagh,
2013). All K² cosines of K updates then cost K² · buckets, and memory one model and K sketches, however large the
updates. What a sketch finds alike is compared number by number before anybody is told.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isqrt, prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Tensors = Iterable[tuple[str, npt.NDArray[Any]]]
"""An update as named tensors, one after the other."""
Source = Callable[[], Tensors]
"""An update that can be read again: each call begins anew."""

BUCKETS: Final = 2048
"""Numbers of a sketch, about: unlike steps then have a cosine of 0 ± 0.02."""
_LEAST_BUCKETS: Final = 8
HUGE: Final = 1e6
"""What no weight may exceed in size, the rounds' own bound [P-12.2]; a sum of squares then stays finite, too."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """What was seen of K updates of T tensors.

    Attributes:
        tensors: their names.
        norms: the length of each tensor's step from the origin, (K, T).
        sketches: (K, buckets), the tensors' side by side.
        starts: where each tensor's buckets begin, and the last end, (T + 1,).
        extremes: the largest size of a weight, (K,); infinite where one is no finite number.
    """

    tensors: tuple[str, ...]
    norms: Floats
    sketches: Floats
    starts: tuple[int, ...]
    extremes: Floats

    @property
    def sound(self) -> npt.NDArray[np.bool_]:
        """Whose weights are all numbers of a sensible size, (K,); the others have neither norm nor sketch."""
        return np.asarray(self.extremes <= HUGE)

    @property
    def lengths(self) -> Floats:
        """The length of each whole step, (K,)."""
        return np.asarray(np.sqrt((self.norms**2).sum(axis=1)))


class Sketcher:
    """Takes in updates of one layout, tensors of these shapes.

    Steps are taken from `origin`; where that is None, from zero: in float64 sums, to be centred by whoever reads them.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], origin: Mapping[str, npt.NDArray[Any]] | None, seed: int
    ) -> None:
        self._shapes = dict(shapes)
        # Flat and in float32, as updates come.
        self._origin = None if origin is None else dict(checked(origin.items(), shapes))
        self._widths = _widths({name: prod(shape) for name, shape in shapes.items()})
        draw = np.random.default_rng(seed)
        # +1 or −1 a weight: one more model in memory, and nothing to draw again for each update.
        self._signs = {name: _drawn_signs(draw, prod(shape)) for name, shape in shapes.items()}
        self._norms: list[Floats] = []
        self._sketches: list[Floats] = []
        self._extremes: list[float] = []

    def add(self, update: Tensors) -> None:
        """Take in one update; raises `ValueError` where it has other tensors."""
        norms, sketches = dict.fromkeys(self._shapes, 0.0), dict[str, Floats]()
        extreme = 0.0
        for name, tensor in checked(update, self._shapes):
            extreme = max(extreme, _largest(tensor))
            if extreme <= HUGE:
                step = tensor if self._origin is None else tensor - self._origin[name]
                norms[name] = float(np.sqrt(np.dot(step, step)))
                sketches[name] = _folded(step, self._signs[name], self._widths[name])
        sound = extreme <= HUGE
        self._extremes.append(extreme)
        self._norms.append(np.array(list(norms.values())) if sound else np.zeros(len(norms)))
        whole = [sketches[name] for name in self._shapes] if sound else [np.zeros(sum(self._widths.values()))]
        self._sketches.append(np.concatenate(whole))

    def profiles(self) -> Profiles:
        """Of everything that was taken in."""
        starts = (0, *np.cumsum(list(self._widths.values())).tolist())
        norms, sketches = np.array(self._norms), np.array(self._sketches)
        return Profiles(tuple(self._shapes), norms, sketches, starts, np.array(self._extremes))


def sketched(updates: Sequence[Source], origin: Mapping[str, npt.NDArray[Any]] | None, seed: int) -> Profiles:
    """All updates against one origin, read once each; raises `ValueError` that names the client whose do not fit."""
    first = {name: np.shape(tensor) for name, tensor in updates[0]()} if origin is None else None
    shapes = first or {name: np.shape(tensor) for name, tensor in (origin or {}).items()}
    sketcher = Sketcher(shapes, origin, seed)
    for number, update in enumerate(updates, 1):
        try:
            sketcher.add(update())
        except ValueError as error:
            raise ValueError(f"client {number}: {error}") from error
    return sketcher.profiles()


def checked(update: Tensors, shapes: Mapping[str, tuple[int, ...]]) -> Iterable[tuple[str, Any]]:
    """An update's tensors flat in float32; raises `ValueError` unless they are exactly those of `shapes`."""
    missing = set(shapes)
    for name, tensor in update:
        if name not in missing:
            raise ValueError(f"tensor {name!r} is there twice, or the others have none of that name")
        if np.shape(tensor) != shapes[name]:
            raise ValueError(f"tensor {name!r} has shape {np.shape(tensor)}, the others' {shapes[name]}")
        missing.remove(name)
        yield name, np.ascontiguousarray(tensor, np.float32).ravel()
    if missing:
        raise ValueError(f"tensor {min(missing)!r} is missing")


def _largest(tensor: npt.NDArray[np.float32]) -> float:
    """The largest size of a number; infinite where one is no finite number."""
    # One NaN makes both ends NaN, whatever else is there.
    ends = np.array([tensor.min(initial=0), tensor.max(initial=0)])
    return float(np.abs(ends).max()) if np.isfinite(ends).all() else inf


def _widths(sizes: Mapping[str, int]) -> dict[str, int]:
    """How many buckets each tensor gets: by its size, a few at least, and a prime where several weights share one.

    Buckets take turns along a tensor: a prime number of them never keeps step with its rows.
    """
    whole = max(1, sum(sizes.values()))
    found = {}
    for name, size in sizes.items():
        wanted = max(_LEAST_BUCKETS, BUCKETS * size // whole)
        found[name] = size if size <= wanted else _prime_from(wanted)
    return found


def _prime_from(number: int) -> int:
    while any(number % divisor == 0 for divisor in range(2, isqrt(number) + 1)):
        number += 1
    return number


def _drawn_signs(draw: np.random.Generator, size: int) -> npt.NDArray[np.float32]:
    bits = np.unpackbits(np.frombuffer(draw.bytes(-(-size // 8)), np.uint8), count=size)
    return 2 * bits.astype(np.float32) - 1


def _folded(step: npt.NDArray[np.float32], signs: npt.NDArray[np.float32], width: int) -> Floats:
    """Signed numbers summed into buckets that take turns."""
    signed = step * signs
    whole = len(signed) // width * width if width else 0
    sums: Floats = signed[:whole].reshape(-1, max(1, width)).sum(axis=0, dtype=np.float64)
    sums[: len(signed) - whole] += signed[whole:]
    return sums
