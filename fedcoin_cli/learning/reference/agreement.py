"""Whether this program reads a model as Keras does: asked by whoever makes a round, before anybody signs.

Miners and auditors never load Keras' description of a model; they trust their own reading of it. So its maker, who has
the model, runs both on random weights and some test images. Only a description that was parsed before, and so holds
plain layers alone, is given to Keras.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.game.game import Game
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


def check_reading(text: str, spec: ModelSpec, test: TestSet, *, where: str) -> bool:
    """Compare Keras' outputs of the model that `text` describes with those of `spec`; False where Keras is missing.

    Args:
        text: what `parse_model` has made `spec` of.
        spec: this program's reading.
        test: images of which up to `IMAGES` are tried.
        where: the description's file, for the error.

    Raises:
        RoundFilesInvalid: the two differ.
    """
    try:
        from fedcoin_cli.learning.model.backend import keras
    except MissingPart:
        return False
    try:
        model = keras.models.model_from_json(text)
    except (ValueError, TypeError, KeyError) as error:
        message = f"Keras cannot make the model of its description: {str(error).splitlines()[0][:200]}"
        raise RoundFilesInvalid(message, where=where, hint="write it with the model's to_json()") from error
    few = TestSet(test.images[:IMAGES], test.labels[:IMAGES])
    draw = np.random.default_rng(_SEED)
    for _ in range(_TRIALS):
        weights = [_drawn(draw, shape) for shape in spec.weight_shapes]
        ours = own_logits(Game(spec, few, (tuple(weights),), (1,)), 0)
        model.set_weights(weights)
        theirs = np.asarray(model.predict_on_batch(_pixels(few)), np.float64)
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
