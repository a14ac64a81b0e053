"""Metrics of tokens: each is judged as an image of its own is, and an example's mark is the sum of its tokens' marks.

An example's outputs are rows of all classes, one for each token. Tokens with the label `IGNORED` count nothing.
(docs/adr/0042)
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.metrics.scorer import Counts, Floats, Marks, Places, Scorer
from fedcoin_cli.learning.model.truth import IGNORED


class Tokens:
    """What all judged tokens are worth by a metric that is a sum of numbers, one a token [P-6.24].

    Args:
        labels: of all tokens, (examples, tokens).
        inner: makes the scorer of that many labels, (examples · tokens,).
    """

    def __init__(
        self, labels: npt.NDArray[np.integer], inner: Callable[[npt.NDArray[np.integer]], Scorer]
    ) -> None:
        self._judged = labels != IGNORED
        self._inner = inner(np.where(self._judged, labels, 0).ravel())
        self._numbers = self._judged.sum(axis=1, dtype=np.int64)
        self.swing = self._inner.swing * int(self._numbers.max())
        self.whole = self._inner.swing * int(self._numbers.sum())

    def marks(self, outputs: Floats, images: Places) -> Marks:
        return self._summed(self._inner.marks(self._apart(outputs), self._places(images)), images)

    def reaches(self, outputs: Floats, bounds: Floats, images: Places) -> Marks:
        found = self._inner.reaches(self._apart(outputs), self._apart(bounds), self._places(images))
        return self._summed(found, images)

    def unsure(self, outputs: Floats, bounds: Floats, images: Places) -> npt.NDArray[np.bool_]:
        found = self._inner.unsure(self._apart(outputs), self._apart(bounds), self._places(images))
        unsure: npt.NDArray[np.bool_] = self._summed(found, images) > 0
        return unsure

    def worth(self, marks: Marks, images: Places) -> Counts:  # noqa: ARG002 -- a mark says it all
        counts: Counts = marks.sum(axis=-1, dtype=np.int64)
        return counts

    def wholes(self, parts: Sequence[Places]) -> Counts:
        return np.array([self._inner.swing * int(self._numbers[part].sum()) for part in parts], np.int64)

    def _apart(self, values: Floats) -> Floats:
        """Rows in a row, (…, tokens · classes, examples), as (…, classes, examples · tokens)."""
        *before, wide, examples = values.shape
        tokens = self._judged.shape[1]
        rows = values.reshape(*before, tokens, wide // tokens, examples)
        moved: Floats = np.moveaxis(rows, -3, -1).reshape(*before, wide // tokens, examples * tokens)
        return moved

    def _places(self, images: Places) -> Places:
        tokens = self._judged.shape[1]
        places: Places = (images[:, None] * tokens + np.arange(tokens)).ravel()
        return places

    def _summed(self, marks: Marks, images: Places) -> Marks:
        """Of marks (…, examples · tokens) the sums over an example's judged tokens, (…, examples)."""
        rows = marks.reshape(*marks.shape[:-1], *self._judged[images].shape)
        summed: Marks = np.where(self._judged[images], rows, 0).sum(axis=-1, dtype=np.int64)
        return summed
