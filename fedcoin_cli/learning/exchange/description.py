"""Model descriptions from what a person has in Python: a model of Keras or PyTorch, JSON, a file, or a few numbers.

What a description may say, and what is refused, is the business of `model` and `graph`; how other tools' models become
one is `importing`'s, which is loaded for them alone.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fedcoin_cli.contract.metric import Metric, Truth, forms, read_metric
from fedcoin_cli.learning.model.interface import Model as Read
from fedcoin_cli.learning.model.reading import read_model
from fedcoin_cli.learning.model.weights import FROZEN_NAME, Weights, read_frozen
from ledger_store.base.errors import RoundFilesInvalid, SettingsError

if TYPE_CHECKING:
    from fedcoin_cli.learning.exchange.importing import Made


class HasJson(Protocol):
    """A Keras model, or anything else that describes itself as one does."""

    def to_json(self) -> str:
        """What `keras.Model.to_json` gives."""
        ...


class Module(Protocol):
    """A PyTorch module."""

    def state_dict(self) -> Any:
        """Its weights by name."""
        ...


Model = str | Path | Mapping[str, Any] | HasJson | Module
"""A model: a description as text or as a mapping, a file of it, a Keras model, or a PyTorch module."""


@dataclass(frozen=True, slots=True)
class Described:
    """A model as miners read it: its JSON, what that says, and the weights that no client trains, in its order.

    `names` are those of all tensors in the original's own order, trained and frozen, where that is known.
    """

    text: str
    model: Read
    frozen: Weights
    names: tuple[str, ...] = ()


def described(model: Model, images: Any = None, labels: Any = None) -> Described:
    """The description of a model, and what of its weights nobody trains.

    Args:
        model: what a person has.
        images: what it will be given, as `fedcoin.shapley` takes it: PyTorch exports a module by an example.
        labels: what it will be judged by; of real-valued targets its outputs are taken as they are.

    Raises:
        RoundFilesInvalid: a file that cannot be read, a model that cannot be imported, or a description that freezes
            weights and has no file of them beside it.
        MissingPart: what a PyTorch module is exported with is not installed.
    """
    if isinstance(model, Mapping):
        return _read(json.dumps(model))
    if isinstance(model, str | Path):
        return _read(_text(model), None if _is_json(model) else Path(model).with_name(FROZEN_NAME))
    keras, torch = sys.modules.get("keras"), sys.modules.get("torch")
    if (torch is None or not isinstance(model, torch.nn.Module)) and (
        keras is None or not isinstance(model, keras.Model)
    ):
        return _read(str(model.to_json()))  # type: ignore[union-attr]  # whatever describes itself as Keras does
    given = [] if images is None else list(images.values()) if isinstance(images, Mapping) else [images]
    made = _made(model, given, Truth.targets if _are_real(labels) else None, (), "factors")
    return Described(made.text, made.model, made.frozen, () if made.imported is None else made.imported.names)


def _read(text: str, beside: Path | None = None) -> Described:
    """A description that is text, and the frozen weights of the file beside it, where it freezes any."""
    model = read_model(text, where="model")
    frozen = model.frozen and beside is not None and beside.is_file()
    return Described(text, model, read_frozen(beside if frozen else None, model.frozen, where="model"))


def model_of(
    model: Any,
    *example: Any,
    frozen: Sequence[str] = (),
    metric: str | None = None,
    lora: str = "factors",
    to: str | Path | None = None,
) -> str:
    """Describe a PyTorch module or a Keras model as miners read it: once, for all rounds.

    What it computes is compared with the model's own outputs on a few examples. Weights keep their names in the
    module's state_dict, so an update is that state_dict; a Keras layer is called by its class and place, and an update
    is what `get_weights()` gives. Parameters that ask for no gradient are frozen: they are the same for all clients.

    Args:
        model: a `torch.nn.Module` or a built `keras.Model`; it stays as it was.
        example: what a PyTorch module is called with, an array an input, the examples first; uint8 means x / 255.
        frozen: patterns of the names of further weights that no client trains, as "encoder.*".
        metric: what models will be judged by. Of real-valued targets outputs are what they are; else a closing
            sigmoid or softmax is taken away, since metrics of labels judge the scores before it.
        lora: "factors" averages low-rank factors A and B each by itself, as Flower's FedAvg does; "products" the
            products of them, as FedEx-LoRA and FLoRA do. Clients sign for it with the description.
        to: where to write the description; frozen weights go into frozen.safetensors beside it.

    Returns:
        The description, JSON.

    Raises:
        RoundFilesInvalid: what of it is not understood, or it holds frozen weights and `to` does not say where to.
        SettingsError: there is no such metric, or another word for `lora`.
        MissingPart: onnx and onnxscript, by which PyTorch exports, are not installed.
    """
    made = _made(model, example, None if metric is None else asked_metric(metric).truth, frozen, lora)
    if to is not None:
        made.write(Path(to))
    elif made.model.frozen:
        hint = (
            "to='model.json' writes them beside the description; shapley and others take the model as it is"
        )
        raise RoundFilesInvalid("it holds frozen weights, which need a file", where="model", hint=hint)
    return made.text


def _are_real(labels: Any) -> bool:
    kind = getattr(labels, "dtype", None)
    if kind is not None:
        return "float" in str(kind)
    try:
        return np.asarray(labels).dtype.kind == "f"
    except ValueError:  # of unlike rows: told when they are read
        return False


def _made(
    model: Any, example: Sequence[Any], truth: Truth | None, frozen: Sequence[str], lora: str
) -> "Made":
    from fedcoin_cli.learning.exchange.importing import Asked, as_float, import_model

    arrays = [np.asarray(one) for one in example]
    return import_model(
        model,
        [as_float(one) if one.dtype == np.uint8 else one for one in arrays],
        frozen=frozen,
        asked=Asked(truth, asked_products(lora)),
    )


def asked_metric(text: str) -> Metric:
    """A metric as a person names it; raises `SettingsError`."""
    try:
        return read_metric(text)
    except ValueError as error:
        raise SettingsError(str(error), where="metric", hint=f"one of: {', '.join(forms())}") from error


def asked_products(lora: str) -> bool:
    """Whether low-rank factors are averaged as products, as a person says it; raises `SettingsError`."""
    if lora not in {"factors", "products"}:
        message, hint = f"{lora!r} is no way to average LoRA's factors", "factors, or products"
        raise SettingsError(message, where="lora", hint=hint)
    return lora == "products"


def mlp(image_shape: Sequence[int] | int, hidden: Sequence[int], classes: int) -> str:
    """Describe a multilayer perceptron: the image laid flat, hidden ReLU layers, one logit a class.

    One output alone is a real number, or the logit of label 1 against label 0.

    It holds one kernel (inputs, units) and one bias (units,) a layer, in this order.

    Args:
        image_shape: one image without the batch axis, or how many values it has.
        hidden: units of the hidden layers; none makes a linear model.
        classes: how many labels there are; 1 for one output.

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


def _is_json(model: str | Path) -> bool:
    return isinstance(model, str) and model.lstrip()[:1] in {"{", "["}


def _text(model: str | Path) -> str:
    if _is_json(model):
        return str(model)
    try:
        return Path(model).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "give Keras' model.to_json(), a file that holds it, or fedcoin.mlp(shape, hidden, classes)"
        raise RoundFilesInvalid("no model description", where=str(model)[:200], hint=hint) from error
