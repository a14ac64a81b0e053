"""Losses of single images in steps: how much of `cap` an image does not lose, of `STEPS` steps.

A loss falls with the output of the true class and grows with all others, or with how far an output is from its target;
either gives its least and its most within the outputs' bounds. Exponentials and logarithms differ between machines in
their last digits: `_SLACK` is more than that.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.contract.metric import STEPS
from fedcoin_cli.learning.metrics.scorer import Counts, Floats, Marks, Places

_SLACK: Final = 2.0**-36

Labels = npt.NDArray[np.integer]
Targets = npt.NDArray[np.floating]
Loss = Callable[[Floats, Floats, npt.NDArray[Any]], Floats]
"""The loss (coalitions, images) with the others' outputs from one array (coalitions, classes, images) and the true
class's from another. With the upper and the lower ends of all outputs that is the most, with both exchanged the
least."""


class Losses:
    """Σ ⌊STEPS · max(0, 1 − loss / cap) + ½⌋; an image with an output that is no finite number adds nothing.

    [P-6.17]
    """

    def __init__(self, labels: npt.NDArray[Any], loss: Loss, cap: float) -> None:
        self._labels, self._loss, self._cap = labels, loss, cap
        self.whole, self.swing = STEPS * len(labels), STEPS

    def marks(self, outputs: Floats, images: Places) -> Marks:
        return self._steps(outputs, outputs, images, 0.0)

    def reaches(self, outputs: Floats, bounds: Floats, images: Places) -> Marks:
        with np.errstate(invalid="ignore"):
            low, high = outputs - bounds, outputs + bounds
        least = self._steps(high, low, images, -_SLACK)
        most = self._steps(low, high, images, _SLACK)
        # Where an output may be anything the loss may be.
        open_ = ~(np.isfinite(low) & np.isfinite(high)).all(axis=1)
        least[open_], most[open_] = 0, STEPS
        return np.stack([least, self.marks(outputs, images), most])

    def unsure(self, outputs: Floats, bounds: Floats, images: Places) -> npt.NDArray[np.bool_]:
        least, _, most = self.reaches(outputs, bounds, images)
        unsure: npt.NDArray[np.bool_] = least != most
        return unsure

    def worth(self, marks: Marks, images: Places) -> Counts:  # noqa: ARG002 -- all images lose alike
        counts: Counts = marks.sum(axis=-1, dtype=np.int64)
        return counts

    def wholes(self, parts: Sequence[Places]) -> Counts:
        return np.array([STEPS * len(part) for part in parts], np.int64)

    @np.errstate(invalid="ignore", over="ignore")
    def _steps(self, others: Floats, true: Floats, images: Places, slack: float) -> Marks:
        kept = 1 - self._loss(others, true, self._labels[images]) / self._cap + slack
        steps = np.floor(STEPS * np.clip(np.nan_to_num(kept, nan=0.0), 0.0, 1.0) + 0.5).astype(np.int32)
        steps[~(np.isfinite(others) & np.isfinite(true)).all(axis=1)] = 0
        return steps


def log_loss(others: Floats, true: Floats, labels: Labels) -> Floats:
    """−ln of the true class's softmax, in nats."""
    mixed, own = _mixed(others, true, labels)
    largest = mixed.max(axis=1)
    loss: Floats = largest - own + np.log(np.exp(mixed - largest[:, None]).sum(axis=1))
    return loss


def brier_loss(others: Floats, true: Floats, labels: Labels) -> Floats:
    """Σ over classes of (softmax − what it should be)², from 0 to 2.

    A rival's share is taken where all other outputs stand at the far end: that bounds it, if not tightly.
    """
    own = np.arange(true.shape[1])[:, None] == labels
    share = _softmax(_mixed(others, true, labels)[0])
    loss: Floats = np.where(own, (1 - share) ** 2, _share_among(others, true) ** 2).sum(axis=1)
    return loss


def square_loss(upper: Floats, lower: Floats, targets: Targets) -> Floats:
    """The mean over an example's targets of (output − target)².

    A single target is that of the second of two outputs, whose first is 0 [P-12.17]. An output between two ends is at
    most as far from its target as the further of them; with both exchanged this is how near it may come.
    """
    if targets.ndim == 1:
        upper, lower, targets = upper[:, 1:], lower[:, 1:], targets[:, None]
    wanted = targets.T.astype(np.float64)
    gaps = np.maximum(np.maximum(upper - wanted, wanted - lower), 0.0)
    loss: Floats = np.add.reduce(gaps**2, axis=1) / wanted.shape[0]
    return loss


def _mixed(others: Floats, true: Floats, labels: Labels) -> tuple[Floats, Floats]:
    """The outputs of the others with the true class's own, and that."""
    own = np.arange(true.shape[1])[:, None] == labels
    return np.where(own, true, others), true[:, labels, np.arange(len(labels))]


def _softmax(outputs: Floats) -> Floats:
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _share_among(own: Floats, others: Floats) -> Floats:
    """Each class's softmax with its output from `own` and all others' from `others`."""
    largest = np.maximum(own.max(axis=1, keepdims=True), others.max(axis=1, keepdims=True))
    mine, theirs = np.exp(own - largest), np.exp(others - largest)
    rest = theirs.sum(axis=1, keepdims=True) - theirs
    shares: Floats = mine / (mine + np.maximum(rest, 0.0))
    return shares
