"""A graph from a Keras model: layer by layer, whatever connects them.

A weight is called as Keras' own files call it, by the class of its layer and its place among those of that class, as
`conv2d_1/kernel`: names of layers are counted on from model to model, so two clients may have different ones. Weights
stand in the order of `model.get_weights()`.
"""

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.exchange.graph_maker import GraphMaker, Imported
from fedcoin_cli.learning.exchange.keras_layers import LAYERS
from fedcoin_cli.learning.exchange.keras_scribe import Laid, Scribe
from fedcoin_cli.learning.graph.graph import Kind
from ledger_store.base.errors import RoundFilesInvalid

_HINT: Final = "build it of Keras' own layers; fedcoin model import also reads ONNX"
# Where layers keep the layers that hold their weights, in the order of their weights.
_INNER: Final[Mapping[str, tuple[str, ...]]] = {
    "LSTM": ("cell",),
    "GRU": ("cell",),
    "Bidirectional": ("forward_layer", "backward_layer"),
    "MultiHeadAttention": ("query_dense", "key_dense", "value_dense", "output_dense"),
}
_MODELS: Final = frozenset({"Functional", "Sequential", "Model"})


def is_model(model: object) -> bool:
    """Whether it is a Keras model; loads nothing."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(model, keras.Model)


def load(source: Path) -> Any:
    """The Keras model in a .keras or .h5 file, or described by `to_json()`; code in it is not run.

    Raises:
        RoundFilesInvalid: no such file, or none that Keras reads without running what it holds.
        MissingPart: Keras is not installed.
    """
    from fedcoin_cli.learning.model.backend import keras

    if not source.is_file():
        raise RoundFilesInvalid("no such file", where=str(source), hint="name a .keras, .h5 or .json file")
    try:
        if source.suffix == ".json":
            return keras.models.model_from_json(source.read_text("utf-8"))
        return keras.models.load_model(source, compile=False, safe_mode=True)
    # Keras raises whatever its parts raise for what they do not know.
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        message = f"Keras cannot read it: {(lines or [type(error).__name__])[0][:160]}"
        raise RoundFilesInvalid(message, where=str(source), hint=_HINT) from error


def import_keras(model: Any, *, where: str, frozen: Collection[str] = (), real: bool = False) -> Imported:
    """The graph of a functional or sequential model that has been built.

    Args:
        model: a `keras.Model`.
        where: its name for errors.
        frozen: patterns of the names of weights that no client trains, beside those of layers that are not trainable.
        real: outputs are meant for real-valued targets: a closing sigmoid or softmax stays.

    Raises:
        RoundFilesInvalid: a layer or a setting that is not understood; the place is the layer.
    """
    maker = GraphMaker(where, _HINT, real)
    if not model.built or not model.inputs:
        maker.refuse("the model has no input yet", hint="begin with keras.Input(shape), or call it once")
    names: dict[int, str] = {}
    for name, variable, layer in _weights(model):
        fixed = not layer.trainable or any(fnmatchcase(name, pattern) for pattern in frozen)
        names[id(variable)] = maker.weight(name, np.asarray(variable), frozen=fixed)
    if [id(one) for one in model.weights] != list(names):
        maker.refuse("it holds weights outside its layers, or in layers that are not understood")
    walk = _Walk(Scribe(maker, names))
    inputs = [_input(maker, one) for one in model.inputs]
    outputs = walk.model(model, inputs)
    if len(outputs) != 1:
        maker.refuse(f"it has {len(outputs)} outputs", hint="make a model of the logits alone")
    return maker.finish(walk.write.last(outputs[0]), "its output")


def run_keras(model: Any, inputs: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """What the model itself gives when it does not train."""
    from fedcoin_cli.learning.model.backend import ops

    given = [ops.convert_to_tensor(one) for one in inputs]
    return np.asarray(ops.convert_to_numpy(model(given if len(given) > 1 else given[0], training=False)))


def file_names(layers: Sequence[Any]) -> list[str]:
    """What Keras' files call layers: class names in lower case, counted."""
    from keras.src.utils.naming import to_snake_case

    counts: dict[str, int] = {}
    names = []
    for layer in layers:
        name = to_snake_case(type(layer).__name__)
        counts[name] = counts.get(name, -1) + 1
        names.append(f"{name}_{counts[name]}" if counts[name] else name)
    return names


def _weights(model: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, variable and layer of every weight, in the order of `get_weights()`."""
    seen: set[int] = set()
    for key, layer in zip(file_names(model.layers), model.layers, strict=True):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if type(layer).__name__ in _MODELS:
            yield from ((f"{key}/{name}", variable, own) for name, variable, own in _weights(layer))
        else:
            inner = _INNER.get(type(layer).__name__, ())
            yield from _own(key, layer, inner)


def _own(key: str, layer: Any, inner: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    if not inner:
        yield from ((f"{key}/{one.name}", one, layer) for one in layer.weights)
    for attribute in inner:
        part = getattr(layer, attribute)
        yield from _own(f"{key}/{attribute}", part, _INNER.get(type(part).__name__, ()))


def _input(maker: GraphMaker, tensor: Any) -> Laid:
    name, dtype, shape = tensor.name, str(tensor.dtype), tuple(tensor.shape)
    kind = {"float32": Kind.float32, "int32": Kind.int32, "int64": Kind.int32}.get(dtype)
    if kind is None:
        maker.refuse(f"the input {name!r} holds {dtype}, not float32 or int32")
    if any(size is None for size in shape[1:]):
        maker.refuse(
            f"the input {name!r} has an axis of no fixed size: {shape}", hint="give keras.Input all sizes"
        )
    return Laid(maker.input(name, kind, [int(size) for size in shape[1:]]))


class _Walk:
    """Layers in the order in which they are connected; models within models, too."""

    def __init__(self, write: Scribe) -> None:
        self.write = write

    def model(self, model: Any, inputs: Sequence[Laid]) -> list[Laid]:
        if type(model).__name__ == "Sequential":
            values = list(inputs)
            for layer in model.layers:
                values = self._layer(layer, values)
            return values
        return self._functional(model, inputs)

    def _functional(self, model: Any, inputs: Sequence[Laid]) -> list[Laid]:
        operations = {one.name: one for one in model.operations}
        config = model.get_config()
        made = dict(zip(_histories(config["input_layers"]), inputs, strict=True))
        waiting = [
            (entry["name"], number, node)
            for entry in config["layers"]
            for number, node in enumerate(entry["inbound_nodes"])
        ]
        while waiting:
            ready = [one for one in waiting if all(key in made for key in _keys(one[2]))]
            if not ready:
                self.write.refuse("its layers are connected in a way that is not understood")
            for name, number, node in ready:
                values = self._layer(operations[name], self._arguments(node, made, operations[name]))
                made.update(((name, number, place), value) for place, value in enumerate(values))
            waiting = [one for one in waiting if one not in ready]
        return [made[key] for key in _histories(config["output_layers"])]

    def _arguments(
        self, node: Mapping[str, Any], made: Mapping[tuple[str, int, int], Laid], layer: Any
    ) -> list[Laid]:
        self._place(layer)
        for name, value in node["kwargs"].items():
            if value not in (None, False) and not _is_tensor(value):
                self.write.refuse(f"it is called with {name}, which is not understood")
        return [
            made[_history(one)] if _is_tensor(one) else Laid(self.write.number(float(one)))
            for one in (*_flat(node["args"]), *filter(_is_tensor, node["kwargs"].values()))
            if one is not None
        ]

    def _layer(self, layer: Any, values: Sequence[Laid]) -> list[Laid]:
        kind = type(layer).__name__
        if kind in _MODELS:
            return self.model(layer, values)
        if kind == "InputLayer":
            return list(values)
        self._place(layer)
        if kind not in LAYERS or not type(layer).__module__.startswith("keras."):
            hint = f"these are: {', '.join(LAYERS)}"
            self.write.refuse(f"the layer {kind} is not understood", hint)
        policy = getattr(getattr(layer, "dtype_policy", None), "name", "float32")
        if policy != "float32":
            self.write.refuse(f"it computes in {policy}", "build the model in float32")
        return [LAYERS[kind](self.write, values)]

    def _place(self, layer: Any) -> None:
        self.write.layer = layer
        self.write.place = f"layer {layer.name!r} ({type(layer).__name__})"


def _flat(values: Any) -> Iterator[Any]:
    for one in values:
        if isinstance(one, (list, tuple)):
            yield from _flat(one)
        else:
            yield one


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__"


def _history(value: Mapping[str, Any]) -> tuple[str, int, int]:
    name, node, tensor = value["config"]["keras_history"]
    return name, node, tensor


def _keys(node: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    values = (*_flat(node["args"]), *_flat(node["kwargs"].values()))
    return [_history(one) for one in values if _is_tensor(one)]


def _histories(value: Any) -> list[tuple[str, int, int]]:
    """Where a model's inputs or outputs come from: one, or a list or a mapping of several."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if len(value) == 3 and isinstance(value[0], str):
        return [(value[0], value[1], value[2])]
    return [(name, node, tensor) for name, node, tensor in value]
