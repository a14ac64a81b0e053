"""The operation table's array library over `keras.ops`, in float32: TensorFlow, JAX or PyTorch compute.

Axes stand as ONNX has them, channels before places. Libraries on CPUs convolve with channels last, so windows turn
their input round and their result back.
"""

import operator
from collections.abc import Sequence
from itertools import pairwise
from math import inf, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.graph.graph import Kind
from fedcoin_cli.learning.graph.namespace import Array, Pairs
from fedcoin_cli.learning.model.backend import keras, ops

DROPS = keras.backend.backend() == "tensorflow"
"""Whether a pooling that met an infinite or no number gives none at all, instead of what NumPy gives."""

_DTYPES = {Kind.float32: "float32", Kind.int32: "int32", Kind.bool: "bool"}


class KerasArrays:
    """A `Namespace` over `keras.ops`."""

    # Not `ops.add`: on TensorFlow it takes (1, c, 1, 1) for a bias of the last axis where that is c long as well.
    add = staticmethod(operator.add)
    subtract = staticmethod(ops.subtract)
    multiply = staticmethod(ops.multiply)
    divide = staticmethod(ops.divide)
    power = staticmethod(ops.power)
    negative = staticmethod(ops.negative)
    absolute = staticmethod(ops.absolute)
    maximum = staticmethod(ops.maximum)
    minimum = staticmethod(ops.minimum)
    sqrt = staticmethod(ops.sqrt)
    exp = staticmethod(ops.exp)
    expm1 = staticmethod(ops.expm1)
    log = staticmethod(ops.log)
    log1p = staticmethod(ops.log1p)
    tanh = staticmethod(ops.tanh)
    sigmoid = staticmethod(ops.sigmoid)
    erf = staticmethod(ops.erf)
    equal = staticmethod(ops.equal)
    less = staticmethod(ops.less)
    logical_and = staticmethod(ops.logical_and)
    logical_or = staticmethod(ops.logical_or)
    logical_not = staticmethod(ops.logical_not)
    where = staticmethod(ops.where)
    matmul = staticmethod(ops.matmul)
    reshape = staticmethod(ops.reshape)
    transpose = staticmethod(ops.transpose)
    broadcast_to = staticmethod(ops.broadcast_to)

    def constant(self, values: npt.NDArray[Any]) -> Array:
        single = values.astype(np.float32) if values.dtype.kind == "f" else values
        return ops.convert_to_tensor(single)

    def shape(self, x: Array) -> tuple[int, ...]:
        return tuple(x.shape)

    def kind(self, x: Array) -> Kind:
        return Kind(keras.backend.standardize_dtype(x.dtype))

    def cast(self, x: Array, kind: Kind) -> Array:
        return ops.cast(x, _DTYPES[kind])

    def convolve(
        self,
        x: Array,
        kernels: Array,
        strides: Sequence[int],
        pads: Pairs,
        dilations: Sequence[int],
        groups: int,
    ) -> Array:
        order = _order(x)
        turned = ops.transpose(self._padded(x, pads, 0.0), order.last)
        # (filters, channels / groups, …) → (…, channels / groups, filters)
        kernels = ops.transpose(kernels, (*range(2, len(kernels.shape)), 1, 0))
        # No library has steps and holes at once: what the steps leave out is left out afterwards.
        apart = max(strides) > 1 and max(dilations) > 1
        steps = (1,) * len(strides) if apart else tuple(strides)
        if groups > 1:
            y = _grouped(turned, kernels, steps, tuple(dilations), groups)
        else:
            y = _convolved(turned, kernels, steps, tuple(dilations))
        if apart:
            y = y[(slice(None), *(slice(None, None, step) for step in strides))]
        return ops.transpose(y, order.first)

    def max_pool(
        self, x: Array, size: Sequence[int], strides: Sequence[int], pads: Pairs, dilations: Sequence[int]
    ) -> Array:
        padded = self._padded(x, pads, -inf)
        if max(dilations) > 1:
            return _spread_maximum(padded, size, strides, dilations)
        order = _order(x)
        y = ops.max_pool(
            ops.transpose(padded, order.last), tuple(size), tuple(strides), data_format="channels_last"
        )
        y = ops.transpose(y, order.first)
        # TensorFlow's drops what is no number: where there is any, all is made none, and told from what is right.
        return y + 0.0 * ops.sum(x) if DROPS else y

    def sum_pool(self, x: Array, size: Sequence[int], strides: Sequence[int], pads: Pairs) -> Array:
        order = _order(x)
        turned = ops.transpose(self._padded(x, pads, 0.0), order.last)
        y = ops.average_pool(turned, tuple(size), tuple(strides), data_format="channels_last")
        return ops.transpose(ops.multiply(y, float(prod(size))), order.first)

    def sum(self, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array:
        # JAX adds up int32 as int64.
        return ops.cast(ops.sum(x, tuple(axes), keepdims=keepdims), x.dtype)

    def max(self, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array:
        return ops.max(x, tuple(axes), keepdims=keepdims)

    def min(self, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array:
        return ops.min(x, tuple(axes), keepdims=keepdims)

    def concatenate(self, parts: Sequence[Array], axis: int) -> Array:
        return ops.concatenate(list(parts), axis)

    def slice(self, x: Array, axis: int, start: int, stop: int, step: int = 1) -> Array:
        return x[(*(slice(None),) * axis, slice(start, stop, step))]

    def flip(self, x: Array, axis: int) -> Array:
        return ops.flip(x, axis)

    def pad(self, x: Array, pads: Pairs, value: float) -> Array:
        return ops.pad(x, [tuple(pair) for pair in pads], constant_values=value)

    def take(self, x: Array, indices: Array, axis: int) -> Array:
        return ops.take(x, indices, axis)

    def _padded(self, x: Array, pads: Pairs, value: float) -> Array:
        return self.pad(x, [(0, 0), (0, 0), *pads], value) if any(map(any, pads)) else x


class _order:  # noqa: N801 -- a pair of values, made where it is used
    """The orders of axes that put an array's channels last and back again."""

    def __init__(self, x: Array) -> None:
        rank = len(x.shape)
        self.last = (0, *range(2, rank), 1)
        self.first = (0, rank - 1, *range(1, rank - 1))


def _convolved(x: Array, kernels: Array, strides: tuple[int, ...], dilations: tuple[int, ...]) -> Array:
    return ops.conv(
        x, kernels, strides=strides, padding="valid", data_format="channels_last", dilation_rate=dilations
    )


def _grouped(
    x: Array, kernels: Array, strides: tuple[int, ...], dilations: tuple[int, ...], groups: int
) -> Array:
    """Group after group: few libraries have a fast grouped convolution on CPUs, and some none."""
    channels, filters = kernels.shape[-2], kernels.shape[-1] // groups
    cuts = list(pairwise(range(groups + 1)))
    return ops.concatenate(
        [
            _convolved(
                x[..., start * channels : stop * channels],
                kernels[..., start * filters : stop * filters],
                strides,
                dilations,
            )
            for start, stop in cuts
        ],
        axis=-1,
    )


def _spread_maximum(x: Array, size: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Array:
    """The largest of windows with holes, place after place."""
    whole = None
    for place in np.ndindex(*size):
        cuts = []
        for at, length, window, step, hole in zip(place, x.shape[2:], size, strides, dilations, strict=True):
            last = length - (window - 1) * hole
            cuts.append(slice(at * hole, at * hole + last, step))
        part = x[(slice(None), slice(None), *cuts)]
        whole = part if whole is None else ops.maximum(whole, part)
    return whole
