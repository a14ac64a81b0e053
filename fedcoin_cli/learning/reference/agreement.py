"""Whether this program reads a model as Keras does: asked by whoever makes a round, before anybody signs.

Miners and auditors never load Keras' description of a model; they trust their own reading of it. So its maker, who has
the model, runs both on random weights and some test images. Only a description that was parsed before, and so holds
plain layers alone, is given to Keras.
"""

import random
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.interface import Model
from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.reference.forward import own_logits
from ledger_store.base.errors import MissingPart, RoundFilesInvalid

IMAGES: Final = 64
_SEED: Final = 1
_TRIALS: Final = 3
# Outputs of three random models in float32; a setting that is read over changes them by their own size.
_TOLERANCE: Final = 1e-3

Floats = npt.NDArray[np.float64]


def check_reading(text: str, model: Model, test: TestSet, *, where: str) -> bool:
    """Compare Keras' outputs of the model that `text` describes with ours; False where Keras is missing.

    Of a graph no framework knows more than its text says: who made it has compared it with what it was made of.

    Args:
        text: what `read_model` has made `model` of.
        model: this program's reading.
        test: images of which up to `IMAGES` are tried.
        where: the description's file, for the error.

    Raises:
        RoundFilesInvalid: the two differ.
    """
    if not isinstance(model, ModelSpec):
        return False
    # Keras' initializers draw from it, and whoever seeded it, as Flower's users do, is to find it as it was.
    state = random.getstate()
    try:
        return _compared(text, model, test, where)
    finally:
        random.setstate(state)


def _compared(text: str, model: ModelSpec, test: TestSet, where: str) -> bool:
    try:
        from fedcoin_cli.learning.model.backend import keras
    except MissingPart:
        return False
    try:
        made = keras.models.model_from_json(text)
    except (ValueError, TypeError, KeyError) as error:
        message = f"Keras cannot make the model of its description: {str(error).splitlines()[0][:200]}"
        raise RoundFilesInvalid(message, where=where, hint="write it with the model's to_json()") from error
    few = test.first(IMAGES)
    draw = np.random.default_rng(_SEED)
    for _ in range(_TRIALS):
        weights = [_drawn(draw, shape) for shape in model.weight_shapes]
        ours = own_logits(Game(model, few, (tuple(weights),), (1,)), 0)
        made.set_weights(weights)
        theirs = np.asarray(made.predict_on_batch(_pixels(few)), np.float64)
        if theirs.shape != ours.shape or not _agree(ours, theirs):
            message = "Keras computes other outputs of this model than miners would"
            hint = "report this model: a setting of one of its layers is not understood"
            raise RoundFilesInvalid(message, where=where, hint=hint)
    return True


def _agree(ours: Floats, theirs: Floats) -> bool:
    """Logits, or the probabilities that a closing softmax makes of them."""
    allowed = _TOLERANCE * max(1.0, float(np.abs(theirs).max()))
    exponents = np.exp(ours - ours.max(axis=1, keepdims=True))
    softmax = exponents / exponents.sum(axis=1, keepdims=True)
    return any(bool(np.abs(one - theirs).max() <= allowed) for one in (ours, softmax))


def _drawn(draw: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Weights that keep activations near 1 in size, biases too."""
    inputs = int(np.prod(shape[:-1])) if len(shape) > 1 else 4
    return draw.normal(scale=inputs**-0.5, size=shape).astype(np.float32)


def _pixels(test: TestSet) -> Any:
    images = test.images.astype(np.float32)
    return images / np.float32(255) if test.images.dtype == np.uint8 else images
