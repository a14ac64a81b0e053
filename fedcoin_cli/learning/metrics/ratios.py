"""F1: how many images of a class a model finds, against how many it finds wrongly and misses; of one class or the mean.

An image's mark is the label that the model gives it. Where that is unsure the least mark says that it is wrong and
counts against every class that it may have been given; the most that it is right, or wrong and counts against none.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.contract.metric import RATIO
from fedcoin_cli.learning.metrics.scorer import Counts, Floats, Marks, Places

MOST_CLASSES: Final = 61
"""So many classes an int64 holds as bits of a mark below 0."""

_NONE: Final = -1
"""Wrong, and of no class."""
_ANY: Final = -2
"""Less the bits of the classes that it may be of: wrong, and against each of them."""


class Ratios:
    """Σ over the counted classes of ⌊share · 2·found / (found + given + images of it)⌋ [P-6.20].

    Args:
        labels: of all test images.
        classes: how many outputs a model has.
        counted: the classes that count alike, each of which has images.
    """

    def __init__(self, labels: npt.NDArray[np.integer], classes: int, counted: Sequence[int]) -> None:
        self._labels, self._classes, self._counted = labels, classes, counted
        self._images = np.bincount(labels, minlength=classes)
        self._share = RATIO // len(counted)
        self.whole = self._share * len(counted)
        # One image more or less is found of one class and given to two.
        rarest = int(self._images[list(counted)].min())
        self.swing = min(self.whole, 4 * self._share // rarest + 1)

    @np.errstate(invalid="ignore")
    def marks(self, outputs: Floats, images: Places) -> Marks:
        found: Marks = np.argmax(outputs, axis=1)
        return np.where(np.isfinite(outputs).all(axis=1), found, self._wrong(self._bits(), images))

    @np.errstate(invalid="ignore")
    def reaches(self, outputs: Floats, bounds: Floats, images: Places) -> Marks:
        low, high = outputs - bounds, outputs + bounds
        possible = self._possible(low, high)
        reach: Floats = np.abs(outputs) + bounds
        possible |= (~np.isfinite(reach)).any(axis=1, keepdims=True)
        own, labels = self.marks(outputs, images), self._labels[images]
        right = possible[:, labels, np.arange(len(labels))]
        only = np.where(possible.sum(axis=1) == 1, possible.argmax(axis=1), _NONE)
        bits = (possible * self._bit_of_class()[:, None]).sum(axis=1)
        least = np.where(only == _NONE, self._wrong(bits, images), only)
        return np.stack([least, own, np.where(right, labels, only)])

    @np.errstate(invalid="ignore")
    def unsure(self, outputs: Floats, bounds: Floats, images: Places) -> npt.NDArray[np.bool_]:
        """Where the given label is not surely above all others; `images` say nothing of that."""
        del images
        given = np.argmax(outputs, axis=1)[:, None]
        others = outputs + bounds
        np.put_along_axis(others, given, -np.inf, axis=1)
        lowest = np.take_along_axis(outputs - bounds, given, axis=1)[:, 0]
        sure: npt.NDArray[np.bool_] = lowest > others.max(axis=1)
        return ~(sure & np.isfinite(outputs).all(axis=1) & np.isfinite(bounds).all(axis=0))

    def worth(self, marks: Marks, images: Places) -> Counts:
        labels, total = self._labels[images], np.zeros(marks.shape[:-1], np.int64)
        for one in self._counted:
            own = labels == one
            found = ((marks == one) & own).sum(axis=-1)
            given = ((marks == one) | (marks <= _ANY) & ((_ANY - marks) >> one & 1).astype(bool)).sum(axis=-1)
            total += 2 * self._share * found // (given + self._images[one])
        return total

    def wholes(self, parts: Sequence[Places]) -> Counts:
        return np.full(len(parts), self.whole, np.int64)

    def _possible(self, low: Floats, high: Floats) -> npt.NDArray[np.bool_]:
        """Which classes may be given, (coalitions, classes, images): the lowest of equals is."""
        classes = np.arange(self._classes)
        ahead = [
            np.where((classes < one)[:, None], high[:, one, None] > low, high[:, one, None] >= low).all(
                axis=1
            )
            for one in classes
        ]
        return np.stack(ahead, axis=1)

    def _wrong(self, bits: npt.NDArray[np.int64] | np.int64, images: Places) -> Marks:
        """Wrong, and against each class of these bits but the true one."""
        wrong: Marks = _ANY - (bits & ~self._bit_of_class()[self._labels[images]])
        return wrong

    def _bit_of_class(self) -> npt.NDArray[np.int64]:
        return np.int64(1) << np.arange(self._classes, dtype=np.int64)

    def _bits(self) -> np.int64:
        return np.int64((1 << self._classes) - 1)
