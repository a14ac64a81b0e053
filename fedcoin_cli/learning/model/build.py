"""Keras models from a `ModelSpec`.

Models are built layer by layer from checked sizes; `model_from_json` is never called. Layer names are fixed, so
that `model.json` has the same bytes whenever the same model is written.
"""

from typing import Any

from fedcoin_cli.learning.model.backend import keras
from fedcoin_cli.learning.model.features import Conv, Feature
from fedcoin_cli.learning.model.model import ModelSpec


def build(spec: ModelSpec) -> Any:
    """A `keras.Sequential` of this shape with freshly drawn weights; it gives class logits."""
    layers = [_feature(feature, f"feature_{index}") for index, feature in enumerate(spec.features)]
    if len(spec.input_shape) > 1:
        layers.append(keras.layers.Flatten(data_format="channels_last", name="flatten"))
    layers += [
        keras.layers.Dense(layer.units, layer.activation, use_bias=layer.use_bias, name=f"dense_{index}")
        for index, layer in enumerate(spec.layers)
    ]
    return keras.Sequential([keras.Input(spec.input_shape, name="images"), *layers], name="fedcoin")


def _feature(feature: Feature, name: str) -> Any:
    if isinstance(feature, Conv):
        return keras.layers.Conv2D(
            feature.filters,
            feature.kernel,
            feature.strides,
            padding="same" if feature.same else "valid",
            data_format="channels_last",
            activation=feature.activation,
            use_bias=feature.use_bias,
            name=name,
        )
    kind = keras.layers.MaxPooling2D if feature.largest else keras.layers.AveragePooling2D
    return kind(feature.size, feature.strides, data_format="channels_last", name=name)
