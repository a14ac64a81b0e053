"""From outputs to u: what each image counts, and what all together are worth.

Outputs (coalitions, classes, images), taken before a closing softmax, become *marks*, one number an image; marks become
u. A mark that speaks more for the model never lowers u, so that the marks at the corners of the box in which outputs
may lie give the least and the most that u may be. (docs/adr/0037)
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[Any]
"""One number an image, (…, images): of a kind that the scorer alone knows."""
Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.integer]
"""Numbers of test images."""


class Scorer(Protocol):
    """A metric on one test set."""

    whole: int
    """M: what a perfect model is worth on all images."""
    swing: int
    """What one image can move u by."""

    def marks(self, outputs: Floats, images: Places) -> Marks:
        """What each of these images counts, (coalitions, images)."""
        ...

    def unsure(self, outputs: Floats, bounds: Floats, images: Places) -> npt.NDArray[np.bool_]:
        """Where outputs within their bounds, (classes, images), may give different marks, (coalitions, images)."""
        ...

    def reaches(self, outputs: Floats, bounds: Floats, images: Places) -> Marks:
        """The least marks, the own, and the most within the outputs' bounds, (3, coalitions, images)."""
        ...

    def worth(self, marks: Marks, images: Places) -> Counts:
        """u of marks (…, images) on these images."""
        ...

    def wholes(self, parts: Sequence[Places]) -> Counts:
        """What a perfect model is worth on each of these parts of the test set."""
        ...
