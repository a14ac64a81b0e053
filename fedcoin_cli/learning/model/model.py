"""What a round's `model.json` may say: an allow-list of plain layers, read without Keras.

A description comes from a stranger, so nothing in it is executed or deserialised: it is read as data into a
`ModelSpec`, and whoever needs a Keras model builds one from that (`learning.model.build`). Everything that Keras could
resolve to code (Lambda, custom objects, registered names, initialisers, other number formats) is refused or never
looked at. Weights do not live here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Final

from fedcoin_cli.learning.graph.graph import Input, Kind, Weight
from fedcoin_cli.learning.model.features import Conv, Feature, Pool, read_feature
from fedcoin_cli.learning.model.layer_keys import odd_entry, odd_key
from ledger_store.base.errors import RoundFilesInvalid

MAX_MODEL_BYTES: Final = 1 << 20
MAX_LAYERS: Final = 64
MAX_INPUT_VALUES: Final = 1 << 20
MAX_UNITS: Final = 1 << 16
MAX_WEIGHTS: Final = 1 << 28
SEED_UNITS: Final = 128

HIDDEN_ACTIVATIONS: Final = frozenset({"linear", "relu", "tanh", "sigmoid"})
# The largest logit is the largest probability: a closing softmax changes no label.
OUTPUT_ACTIVATIONS: Final = frozenset({"linear", "softmax"})

_KNOWN_LAYERS: Final = (
    "InputLayer, Conv2D, MaxPooling2D, AveragePooling2D, GlobalAveragePooling2D, Flatten, Dense, Activation "
    "and ReLU"
)


@dataclass(frozen=True, slots=True)
class Dense:
    """One fully connected layer: `inputs` values in, `units` values out, then the activation."""

    inputs: int
    units: int
    activation: str
    use_bias: bool

    @property
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        kernel = (self.inputs, self.units)
        return (kernel, (self.units,)) if self.use_bias else (kernel,)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A chain of layers that starts linear in its weights.

    `input_shape` is one image without the batch axis; `features` are the convolutional front, empty or beginning with
    a convolution; `layers` run from the flattened image, or the front's flattened output, to the class logits (a
    closing softmax is left out).
    """

    input_shape: tuple[int, ...]
    layers: tuple[Dense, ...]
    features: tuple[Feature, ...] = ()

    @property
    def classes(self) -> int:
        """How many labels the model tells apart."""
        return max(2, self.layers[-1].units)

    @property
    def row(self) -> tuple[int, ...]:
        """The outputs of an image."""
        return (self.layers[-1].units,)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What it is given of an image: one tensor."""
        return (Input("x", Kind.float32, self.input_shape),)

    @property
    def weight_names(self) -> tuple[str, ...]:
        """What an update's tensors are called, in order: "000", "001", …."""
        return tuple(f"{index:03d}" for index in range(len(self.weight_shapes)))

    @property
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes in the order of Keras' `model.get_weights()`."""
        return tuple(shape for layer in self._chain for shape in layer.weight_shapes)

    @property
    def frozen(self) -> tuple[Weight, ...]:
        """No weights: a chain trains all that it has."""
        return ()

    @property
    def first(self) -> Conv | Dense:
        """The layer whose outputs are linear in the weights."""
        return self.convolutions[0] if self.features else self.layers[0]

    @property
    def above(self) -> tuple[Dense, ...]:
        """The Dense layers that are not the first layer."""
        return self.layers if self.features else self.layers[1:]

    @property
    def first_values(self) -> int:
        """How many values the first layer gives for an image."""
        return self._outputs[0]

    @property
    def widest(self) -> int:
        """The most values that any layer gives for an image."""
        return max(self._outputs)

    @property
    def values(self) -> int:
        """How many values all layers give for an image."""
        return sum(self._outputs)

    @property
    def flop_once(self) -> int:
        """None: a chain trains all that it has."""
        return 0

    @property
    def flop_first(self) -> int:
        """The work of an image in one client's first layer."""
        return 2 * self.first.inputs * self.first_values

    @property
    def flop_above(self) -> int:
        """The work of an image in the layers above the first."""
        convolved = sum(2 * conv.inputs * prod(conv.output_shape) for conv in self.convolutions[1:])
        convolved += sum(feature.laid_out for feature in self.features if isinstance(feature, Pool))
        return convolved + sum(2 * layer.inputs * layer.units for layer in self.above)

    @property
    def laid_out(self) -> int:
        """The most values that the windows of a convolution or pooling hold together, for an image."""
        return max((feature.laid_out for feature in self.features), default=0)

    @property
    def convolutions(self) -> tuple[Conv, ...]:
        return tuple(feature for feature in self.features if isinstance(feature, Conv))

    @property
    def _chain(self) -> tuple[Feature | Dense, ...]:
        return (*self.features, *self.layers)

    @property
    def _outputs(self) -> tuple[int, ...]:
        dense = tuple(layer.units for layer in self.layers)
        return (*(prod(feature.output_shape) for feature in self.features), *dense)


def seed_spec(input_shape: tuple[int, ...], classes: int) -> ModelSpec:
    """The model of the original code: Flatten, Dense 128 ReLU, Dense `classes`."""
    hidden = Dense(prod(input_shape), SEED_UNITS, "relu", use_bias=True)
    return ModelSpec(input_shape, (hidden, Dense(SEED_UNITS, classes, "linear", use_bias=True)))


def parse_model(text: str | bytes, *, where: str = "model.json") -> ModelSpec:
    """Read Keras' `model.to_json()` of an allowed Sequential model [P-12.1].

    Args:
        text: the JSON, at most `MAX_MODEL_BYTES`.
        where: the file's name for error messages.

    Raises:
        RoundFilesInvalid: not JSON, not Sequential, a layer or activation off the list, or a size out of bounds.
    """
    reader = _Reader(where)
    if len(text) > MAX_MODEL_BYTES:
        raise reader.refused("the model description is larger than 1 MiB")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise reader.refused("the model description is not JSON") from error
    return reader.sequential(document)


class _Reader:
    """Turns one parsed document into a `ModelSpec`; knows the file's name for its errors."""

    def __init__(self, where: str) -> None:
        self.where = where

    def refused(self, message: str) -> RoundFilesInvalid:
        hint = f"a model is a Keras Sequential chain of {_KNOWN_LAYERS} that ends in Dense class logits"
        return RoundFilesInvalid(message, where=self.where, hint=hint)

    def sequential(self, document: object) -> ModelSpec:
        if not isinstance(document, dict) or document.get("class_name") != "Sequential":
            raise self.refused("only Sequential models are allowed")
        if "module" not in document:
            version = str(document.get("keras_version", "2"))[:10]
            raise self.refused(
                f"this is a description by Keras {version}; write it with to_json() of Keras 3"
            )
        _, config = self._object(document, outermost=True)
        entries = config.get("layers")
        if not isinstance(entries, list) or not 2 <= len(entries) <= MAX_LAYERS:
            raise self.refused(f"a model has 2 to {MAX_LAYERS} layers")
        return self._chain([self._object(entry) for entry in entries])

    def _chain(self, entries: list[tuple[str, Mapping[str, object]]]) -> ModelSpec:
        first, config = entries[0]
        if first != "InputLayer":
            raise self.refused(
                "the first layer must be an InputLayer: sizes are checked before anything is built"
            )
        input_shape = self._input_shape(config.get("batch_shape"))
        features, entries = self._front(input_shape, entries[1:])
        width = prod(features[-1].output_shape if features else input_shape)
        flat = len(input_shape) == 1
        layers: list[Dense] = []
        for class_name, layer in entries:
            # Of an image, or of what a global pooling has left.
            if class_name in ("Flatten", "GlobalAveragePooling2D") and not layers:
                flat = True
            elif class_name == "Dense" and flat:
                layers.append(self._dense(layer, width))
                width = layers[-1].units
            elif class_name in ("Activation", "ReLU") and layers:
                activation = self._named(layers[-1].activation, class_name, layer)
                layers[-1] = replace(layers[-1], activation=activation)
            else:
                raise self.refused(f"a {class_name!r} layer is not allowed here")
        return self._checked(ModelSpec(input_shape, tuple(layers), features))

    def _front(
        self, input_shape: tuple[int, ...], entries: list[tuple[str, Mapping[str, object]]]
    ) -> tuple[tuple[Feature, ...], list[tuple[str, Mapping[str, object]]]]:
        """The convolutional front, and the entries from the flattening on."""
        features: list[Feature] = []
        for place, (class_name, config) in enumerate(entries):
            shape = features[-1].output_shape if features else input_shape
            last = features[-1] if features else None
            if class_name in ("Activation", "ReLU") and isinstance(last, Conv):
                features[-1] = replace(last, activation=self._named(last.activation, class_name, config))
                continue
            feature = self._feature(class_name, config, shape) if len(shape) == 3 else None
            if feature is None:
                return tuple(features), entries[place:]
            if not features and not isinstance(feature, Conv):
                raise self.refused("the first layer must be linear in weights: a convolution, not a pooling")
            features.append(feature)
            if class_name == "GlobalAveragePooling2D":
                return tuple(features), entries[place:]
        return tuple(features), []

    def _feature(
        self, class_name: str, config: Mapping[str, object], shape: tuple[int, ...]
    ) -> Feature | None:
        rows, columns, channels = shape
        try:
            feature = read_feature(class_name, config, (rows, columns, channels))
        except ValueError as error:
            raise self.refused(str(error)) from error
        if isinstance(feature, Conv):
            self._refuse_adapted(config)
            return replace(feature, activation=self._activation(config.get("activation", "linear")))
        return feature

    def _checked(self, spec: ModelSpec) -> ModelSpec:
        if not spec.layers:
            raise self.refused("the model has no Dense layer")
        *hidden, output = spec.layers
        if output.activation not in OUTPUT_ACTIVATIONS or (output.units, output.activation) == (1, "softmax"):
            raise self.refused(
                "the last layer must give one output or class logits (linear, or softmax of several)"
            )
        inner: tuple[Conv | Dense, ...] = (*spec.convolutions, *hidden)
        if any(layer.activation not in HIDDEN_ACTIVATIONS for layer in inner):
            raise self.refused("softmax is allowed after the last layer only")
        if sum(prod(shape) for shape in spec.weight_shapes) > MAX_WEIGHTS:
            raise self.refused(f"the model has more than {MAX_WEIGHTS} weights")
        return replace(spec, layers=(*hidden, replace(output, activation="linear")))

    def _dense(self, config: Mapping[str, object], inputs: int) -> Dense:
        units, use_bias = config.get("units"), config.get("use_bias", True)
        if type(units) is not int or not 1 <= units <= MAX_UNITS or not isinstance(use_bias, bool):
            raise self.refused(f"a Dense layer has 1 to {MAX_UNITS} units")
        self._refuse_adapted(config)
        return Dense(inputs, units, self._activation(config.get("activation", "linear")), use_bias)

    def _refuse_adapted(self, config: Mapping[str, object]) -> None:
        if config.get("quantization_config") is not None or config.get("lora_rank") is not None:
            raise self.refused("quantised and LoRA layers are not allowed")

    def _named(self, before: str, class_name: str, config: Mapping[str, object]) -> str:
        """The activation that a layer of its own gives to the layer before it."""
        if before != "linear":
            raise self.refused("two activations follow each other")
        named = class_name == "Activation"
        return self._activation(config.get("activation")) if named else self._plain_relu(config)

    def _plain_relu(self, config: Mapping[str, object]) -> str:
        unusual = (
            config.get("max_value"),
            config.get("negative_slope") or None,
            config.get("threshold") or None,
        )
        if any(value is not None for value in unusual):
            raise self.refused("a ReLU layer with a slope, a threshold or a cap is not allowed")
        return "relu"

    def _activation(self, name: object) -> str:
        if not isinstance(name, str) or name not in HIDDEN_ACTIVATIONS | OUTPUT_ACTIVATIONS:
            raise self.refused(f"the activation {str(name)[:40]!r} is not on the allow-list")
        return name

    def _input_shape(self, batch_shape: object) -> tuple[int, ...]:
        if not isinstance(batch_shape, list) or not 2 <= len(batch_shape) <= 5:
            raise self.refused("the input must be a batch of images of 1 to 4 axes")
        # How many images a batch holds says nothing of what the model makes of one.
        if batch_shape[0] is not None and type(batch_shape[0]) is not int:
            raise self.refused("the input's first axis must be the batch")
        sizes = batch_shape[1:]
        if any(type(size) is not int or size < 1 for size in sizes) or prod(sizes) > MAX_INPUT_VALUES:
            raise self.refused(f"an image has 1 to {MAX_INPUT_VALUES} values, of known size")
        return tuple(sizes)

    def _object(self, entry: object, *, outermost: bool = False) -> tuple[str, Mapping[str, object]]:
        """The class name and configuration of a Keras built-in; nothing registered, nothing but float32.

        Every key of the configuration is understood.
        """
        if not isinstance(entry, dict) or entry.get("module") not in ("keras", "keras.layers"):
            raise self.refused("only Keras' own layers are allowed")
        class_name, config = entry.get("class_name"), entry.get("config")
        if not isinstance(class_name, str) or not isinstance(config, dict):
            raise self.refused("a layer lacks its class name or configuration")
        if entry.get("registered_name") is not None:
            raise self.refused(f"the registered object {class_name[:40]!r} is not allowed")
        if _dtype(config.get("dtype", "float32")) != "float32":
            raise self.refused("only float32 models are allowed")
        odd = odd_entry(entry, outermost=outermost) or odd_key(class_name, config)
        if odd is not None:
            name = config.get("name")
            named = f" {name[:40]!r}" if isinstance(name, str) else ""
            raise self.refused(f"the {class_name[:40]} layer{named} is set to {odd}: not understood")
        return class_name[:40], config


def _dtype(policy: object) -> object:
    if isinstance(policy, dict) and policy.get("class_name") == "DTypePolicy":
        config = policy.get("config")
        return config.get("name") if isinstance(config, dict) else None
    return policy
