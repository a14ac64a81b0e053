"""What a test set's y says of its examples: a label each, a label for each token, or real-valued targets.

Which of them a model takes follows from the outputs that it gives an example: a row of them is judged by a label or by
as many targets, a row for each token by a label for each. Files and arrays are checked alike.
(docs/adr/0042)
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.contract.metric import Truth
from fedcoin_cli.learning.model.interface import Model

IGNORED: Final = -100
"""The label of a token that nobody is judged by; PyTorch's losses leave it out, too."""
MAX_TARGET: Final = 1e6

Said = npt.NDArray[Any]
"""Labels (n,) or labels of tokens (n, T), int32, or targets (n,) or (n, outputs), float32."""


class Unfit(ValueError):
    """A y that a model is not judged by; its text says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def truth_of(said: Said) -> Truth:
    """Of which kind it is."""
    if said.dtype.kind == "f":
        return Truth.targets
    return Truth.labels if said.ndim == 1 else Truth.tokens


def shape_of(model: Model, images: int, *, real: bool) -> tuple[int, ...]:
    """The shape of the targets or, where they are not real, labels of so many images; raises `Unfit` [P-12.3]."""
    row = model.row
    if not real:
        return (images, *row[:-1])
    if len(row) > 1:
        message = (
            f"real-valued targets for a model with a row of {row[-1]} outputs for each of {row[0]} tokens"
        )
        raise Unfit(message, "targets are judged by one row of outputs an example; labels are whole numbers")
    return (images,) if row == (1,) else (images, *row)


def check_shape(found: tuple[int, ...], model: Model, images: int, *, real: bool) -> None:
    """Refuse a y of another shape than the model's outputs; raises `Unfit`."""
    wanted = shape_of(model, images, real=real)
    if found == wanted:
        return
    if real:
        outputs = "one output" if model.row == (1,) else f"{model.row[0]} outputs"
        message = f"targets are {found}, a model of {outputs} is judged by {wanted}"
        hint = "give as many targets an example as the model has outputs; labels are whole numbers (int32)"
    elif len(wanted) > 1:
        message = f"labels are {found}, the model has outputs for {wanted[1]} tokens an example"
        hint = f"give labels {wanted}, {IGNORED} where a token is not judged"
    else:
        message = f"labels are {found} for {images} images"
        hint = "give one integer an image: 0, 1, 2, …; of one-hot rows labels.argmax(axis=1)"
    raise Unfit(message, hint)


def check_values(said: npt.NDArray[Any], model: Model) -> None:
    """Refuse targets that are not finite or too large, and labels that the model does not have; raises `Unfit`.

    A token may be ignored, but not all of an example.
    """
    if said.dtype.kind == "f":
        # NaN fails every comparison.
        if not (said.min() >= -MAX_TARGET and said.max() <= MAX_TARGET):
            hint = "leave such examples out, or scale the targets"
            raise Unfit(f"a target is not finite or beyond ±{MAX_TARGET:g}", hint)
        return
    judged = said
    if said.ndim > 1:
        empty = np.flatnonzero((said == IGNORED).all(axis=1))
        if len(empty):
            hint = "leave such examples out: nothing of them is judged"
            raise Unfit(f"all labels of example {empty[0]} are {IGNORED}", hint)
        judged = said[said != IGNORED]
    if judged.min() < 0 or judged.max() >= model.classes:
        hint = f"the model tells {model.classes} classes apart: give its last layer one unit a label"
        if model.row == (1,):
            hint = "a model of one output tells 0 from 1; real-valued targets are floats: y.astype('float32')"
        raise Unfit(f"a label lies outside 0..{model.classes - 1}", hint)


def strata(said: Said) -> Said:
    """A number an image by which images are alike: its label or target, and 0 where there are several [P-6.8]."""
    return said if said.ndim == 1 else np.zeros(len(said), np.int32)


def classes_of(said: Said) -> npt.NDArray[np.int32]:
    """A label an image: its own, and 0 where it has none or several."""
    return said.astype(np.int32) if truth_of(said) is Truth.labels else np.zeros(len(said), np.int32)
