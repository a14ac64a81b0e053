"""What every computation in `keras.ops` here keeps to: sums of few terms in a row, and the precision that is needed.

How far a backend's rounding can move a logit then depends on no order of its own (see `tolerance`).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.model.backend import keras


def product(left: Any, right: Any, most: int) -> Any:
    """The matrix product, with at most `most` terms of a sum in a row."""
    terms = left.shape[-1]
    total = left[..., :most] @ right[..., :most, :]
    for start in range(most, terms, most):
        total += left[..., start : start + most] @ right[..., start : start + most, :]
    return total


def activated(name: str, values: Any) -> Any:
    """The activation, in the precision of its input: Keras' tanh is float32 on JAX whatever comes in."""
    if name == "tanh":
        return 2 * keras.ops.sigmoid(2 * values) - 1
    return keras.activations.get(name)(values)


def kept(values: Any, real: str) -> Any:
    """Values that are as precise as the tolerance takes them to be: some operations narrow.

    Raises:
        TypeError: they are not.
    """
    found = keras.backend.standardize_dtype(values.dtype)
    if found != real:
        raise TypeError(f"{keras.backend.backend()} gives {found} where {real} is needed")
    return values


def constant(layer: Any, name: str, value: npt.NDArray[Any]) -> Any:
    """Data in float32 as a frozen weight of a layer: every backend then keeps it on its device."""
    weight = layer.add_weight(
        name=name, shape=value.shape, initializer="zeros", trainable=False, dtype="float32"
    )
    weight.assign(value.astype(np.float32))
    return weight
