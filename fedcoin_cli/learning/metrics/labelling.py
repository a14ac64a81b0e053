"""Counts of what is labelled correctly: accuracy, the true class among the k largest, and counts weighted by label.

The label is the class of the largest output, the lowest of equals; so a class stands ahead of another with the same
output when it is the lower one. An output that is no number puts nobody ahead.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedcoin_cli.contract.metric import WEIGHTS
from fedcoin_cli.learning.metrics.scorer import Counts, Floats, Marks, Places

Labels = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]


class Labelling:
    """How many images have their true class among the `rank` largest outputs, each with a weight [P-6.2] [P-6.16].

    Args:
        labels: of all test images.
        rank: k; 1 for the label itself.
        weights: what a right image of each label counts; None: 1.
    """

    def __init__(self, labels: Labels, rank: int = 1, weights: Counts | None = None) -> None:
        self._labels, self._rank = labels, rank
        self._weights = None if weights is None else weights[labels].astype(np.float64)
        self.swing = 1 if weights is None else int(weights.max())
        self.whole = int(self.wholes([np.arange(len(labels))])[0])

    def marks(self, outputs: Floats, images: Places) -> Marks:
        return self._right(outputs, outputs, self._labels[images])

    def reaches(self, outputs: Floats, bounds: Floats, images: Places) -> Marks:
        labels, low, high = self._labels[images], outputs - bounds, outputs + bounds
        return np.stack(
            [
                self._right(low, high, labels),
                self._right(outputs, outputs, labels),
                self._right(high, low, labels),
            ]
        )

    @np.errstate(invalid="ignore")
    def unsure(self, outputs: Floats, bounds: Floats, images: Places) -> Bools:
        """Where neither the true class is surely ahead of enough others nor enough surely ahead of it."""
        labels = self._labels[images]
        own, places = np.arange(outputs.shape[1])[:, None] == labels, np.arange(len(labels))
        gaps = outputs[:, labels, places][:, None] - outputs
        reach = bounds[labels, places] + bounds
        # What is no number is unsure: both comparisons fail.
        ahead, behind = (gaps > reach) | own, (gaps < -reach) & ~own
        if self._rank == 1:
            sure: Bools = ahead.all(axis=1) | behind.any(axis=1)
        else:
            sure = ((~ahead).sum(axis=1) < self._rank) | (behind.sum(axis=1) >= self._rank)
        return ~sure

    def worth(self, marks: Marks, images: Places) -> Counts:
        if self._weights is None:
            counts: Counts = marks.sum(axis=-1, dtype=np.int64)
            return counts
        # Integers that sum to less than 2⁵³ add exactly in float64.
        return (marks.astype(np.float64) @ self._weights[images]).astype(np.int64)

    def wholes(self, parts: Sequence[Places]) -> Counts:
        return np.array([int(self.worth(np.ones(len(part), np.bool_), part)) for part in parts], np.int64)

    def _right(self, true: Floats, others: Floats, labels: Labels) -> Bools:
        """Where so few classes in `others` are ahead of the true class in `true` that it is among the first."""
        classes, places = np.arange(true.shape[1])[:, None], np.arange(len(labels))
        own = true[:, labels, places][:, None]
        ahead = np.where(classes < labels, own > others, (own >= others) | (classes == labels))
        if self._rank == 1:
            right: Bools = np.all(ahead, axis=1)
            return right
        few: Bools = (~ahead).sum(axis=1) < self._rank
        return few


def balanced_weights(labels: Labels, classes: int) -> Counts:
    """What a right image of each label counts so that all labels there are count alike, (classes,) [P-6.16]."""
    numbers = np.bincount(labels, minlength=classes)
    share = WEIGHTS // np.count_nonzero(numbers)
    return np.where(numbers > 0, share // np.maximum(numbers, 1), 0).astype(np.int64)
