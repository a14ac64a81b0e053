"""Model descriptions from what a person has in Python: a Keras model, its JSON, a file, or a few numbers.

No Keras is needed for any of them. What a description may say, and what is refused, is `model`'s business.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ledger_store.base.errors import RoundFilesInvalid


class HasJson(Protocol):
    """A Keras model, or anything else that describes itself as one does."""

    def to_json(self) -> str:
        """What `keras.Model.to_json` gives."""
        ...


Model = str | Path | Mapping[str, Any] | HasJson
"""A model: its Keras 3 JSON as text or as a mapping, a file of it, or an object with `to_json()`."""


def description_of(model: Model) -> str:
    """The JSON text of a model; raises `RoundFilesInvalid` for a file that cannot be read."""
    if isinstance(model, Mapping):
        return json.dumps(model)
    if isinstance(model, str | Path):
        return _text(model)
    return str(model.to_json())


def mlp(image_shape: Sequence[int] | int, hidden: Sequence[int], classes: int) -> str:
    """Describe a multilayer perceptron: the image laid flat, hidden ReLU layers, one logit a class.

    It holds one kernel (inputs, units) and one bias (units,) a layer, in this order.

    Args:
        image_shape: one image without the batch axis, or how many values it has.
        hidden: units of the hidden layers; none makes a linear model.
        classes: how many labels there are.

    Returns:
        The JSON that Keras' `model_from_json` reads too.
    """
    shape = [image_shape] if isinstance(image_shape, int) else [int(size) for size in image_shape]
    layers = [_layer("InputLayer", batch_shape=[None, *shape])]
    if len(shape) > 1:
        layers.append(_layer("Flatten"))
    layers += [_layer("Dense", units=int(units), activation="relu") for units in hidden]
    layers.append(_layer("Dense", units=int(classes), activation="linear"))
    config = {"name": "mlp", "layers": layers}
    return json.dumps(
        {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}
    )


def _layer(name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": name, "config": config, "registered_name": None}


def _text(model: str | Path) -> str:
    if isinstance(model, str) and model.lstrip()[:1] in {"{", "["}:
        return model
    try:
        return Path(model).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "give Keras' model.to_json(), a file that holds it, or fedcoin.mlp(shape, hidden, classes)"
        raise RoundFilesInvalid("no model description", where=str(model)[:200], hint=hint) from error
