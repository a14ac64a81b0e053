"""The area under the ROC curve: of all pairs of a positive and a negative image, how many stand in the right order.

An image's score is the output of class 1 less that of class 0, in buckets of 2⁻¹²: equal models tie in every engine.
Its mark is the bucket. A score that is no finite number stands where it wins no pair.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.metrics.scorer import Counts, Floats, Marks, Places

_BUCKETS: Final = 2.0**12
_END: Final = 2.0**52
# Behind all scores that are numbers.
_LAST: Final = 2**53


class Ordering:
    """2 · #(positive above negative) + #(as high) over all pairs of images [P-6.18]."""

    def __init__(self, labels: npt.NDArray[np.integer]) -> None:
        self._positive = labels == 1
        self.whole = int(self.wholes([np.arange(len(labels))])[0])
        positives = int(self._positive.sum())
        self.swing = 2 * max(positives, len(labels) - positives)

    def marks(self, outputs: Floats, images: Places) -> Marks:
        with np.errstate(invalid="ignore", over="ignore"):
            return self._buckets(outputs[:, 1] - outputs[:, 0], np.where(self._positive[images], -1, 1))

    @np.errstate(invalid="ignore", over="ignore")
    def reaches(self, outputs: Floats, bounds: Floats, images: Places) -> Marks:
        scores = outputs[:, 1] - outputs[:, 0]
        reach = bounds[..., 1, :] + bounds[..., 0, :]
        up = np.where(self._positive[images], 1, -1)
        wide = ~np.isfinite(np.abs(scores) + reach)
        least = np.where(wide, np.nan, scores - up * reach)
        most = np.where(wide, np.nan, scores + up * reach)
        return np.stack([self._buckets(least, -up), self._buckets(scores, -up), self._buckets(most, up)])

    def unsure(self, outputs: Floats, bounds: Floats, images: Places) -> npt.NDArray[np.bool_]:
        least, _, most = self.reaches(outputs, bounds, images)
        unsure: npt.NDArray[np.bool_] = least != most
        return unsure

    def worth(self, marks: Marks, images: Places) -> Counts:
        positive = self._positive[images]
        rows = marks.reshape(-1, marks.shape[-1])
        found = [_ordered(row[positive], np.sort(row[~positive])) for row in rows]
        return np.array(found, np.int64).reshape(marks.shape[:-1])

    def wholes(self, parts: Sequence[Places]) -> Counts:
        positives = np.array([int(self._positive[part].sum()) for part in parts], np.int64)
        return 2 * positives * (np.array(list(map(len, parts)), np.int64) - positives)

    @staticmethod
    def _buckets(scores: Floats, side: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The bucket of each score, and the end on this side (−1, 1) of what is no number."""
        finite = np.isfinite(scores)
        with np.errstate(over="ignore"):
            places = np.floor(np.clip(np.where(finite, scores, 0.0) * _BUCKETS, -_END, _END))
        return np.where(finite, places.astype(np.int64), side * _LAST)


def _ordered(positives: npt.NDArray[np.int64], negatives: npt.NDArray[np.int64]) -> int:
    """Twice the pairs that the positives win, and once those that are as high; `negatives` ascend."""
    below = np.searchsorted(negatives, positives, "left").sum()
    return int(below + np.searchsorted(negatives, positives, "right").sum())
