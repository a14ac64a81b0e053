"""What each layer of Keras becomes in a graph; layers without a function here are refused."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from fedcoin_cli.learning.exchange.keras_scribe import Laid, Layer, Scribe
from fedcoin_cli.learning.exchange.keras_sequences import attention, both_ways, recurrent

# Plain layers ----------------------------------------------------------------------------------------------------


def _nothing(_: Scribe, values: Sequence[Laid]) -> Laid:
    return values[0]


def _dense(write: Scribe, values: Sequence[Laid]) -> Laid:
    layer, x = write.layer, write.last(values[0])
    kernel = write.weight(layer.kernel)
    if write.maker.types[x].rank == 2:
        bias = [write.weight(layer.bias)] if layer.use_bias else []
        made = write.make("Gemm", x, kernel, *bias)
    else:
        made = write.make("MatMul", x, kernel)
        made = write.make("Add", made, write.weight(layer.bias)) if layer.use_bias else made
    return write.activated(Laid(made), layer.activation)


def _flatten(write: Scribe, values: Sequence[Laid]) -> Laid:
    write.only(data_format="channels_last")
    x = write.last(values[0])
    return Laid(
        write.make("Flatten", x) if write.maker.types[x].rank > 1 else write.make("Unsqueeze", x, axes=(1,))
    )


def _reshape(write: Scribe, values: Sequence[Laid]) -> Laid:
    x = write.last(values[0])
    sizes, each = [int(size) for size in write.layer.target_shape], write.maker.types[x].each
    if -1 in sizes:
        sizes[sizes.index(-1)] = each // prod(size for size in sizes if size != -1)
    return Laid(write.make("Reshape", x, shape=(-1, *sizes)))


def _permute(write: Scribe, values: Sequence[Laid]) -> Laid:
    return Laid(write.make("Transpose", write.last(values[0]), perm=(0, *write.layer.dims)))


def _activation(write: Scribe, values: Sequence[Laid]) -> Laid:
    return write.activated(values[0], write.layer.activation)


def _relu(write: Scribe, values: Sequence[Laid]) -> Laid:
    layer, (value, *_) = write.layer, values
    if layer.threshold:
        write.refuse("a ReLU with a threshold is not understood")
    if layer.negative_slope and layer.max_value is not None:
        write.refuse("a ReLU with both a slope and a cap is not understood")
    if layer.negative_slope:
        return Laid(write.make("LeakyRelu", value.name, alpha=float(layer.negative_slope)), value.first)
    if layer.max_value is not None:
        return Laid(write.make("Clip", value.name, min=0.0, max=float(layer.max_value)), value.first)
    return Laid(write.make("Relu", value.name), value.first)


def _leaky(write: Scribe, values: Sequence[Laid]) -> Laid:
    made = write.make("LeakyRelu", values[0].name, alpha=float(write.layer.negative_slope))
    return Laid(made, values[0].first)


def _elu(write: Scribe, values: Sequence[Laid]) -> Laid:
    return Laid(write.make("Elu", values[0].name, alpha=float(write.layer.alpha)), values[0].first)


def _sloped(write: Scribe, values: Sequence[Laid]) -> Laid:
    x = write.last(values[0])
    below = write.make("Mul", write.make("Min", x, write.number(0)), write.weight(write.layer.alpha))
    return Laid(write.make("Add", write.make("Relu", x), below))


def _softmax(write: Scribe, values: Sequence[Laid]) -> Laid:
    axis = write.layer.axis
    if not isinstance(axis, int):
        write.refuse("a Softmax over several axes is not understood")
    return Laid(write.make("Softmax", write.last(values[0]), axis=axis))


def _rescaling(write: Scribe, values: Sequence[Laid]) -> Laid:
    scaled = write.make("Mul", values[0].name, write.number(float(write.layer.scale)))
    return Laid(write.make("Add", scaled, write.number(float(write.layer.offset))), values[0].first)


def _embedding(write: Scribe, values: Sequence[Laid]) -> Laid:
    if write.layer.mask_zero:
        hint = "leave mask_zero out, and multiply by a mask where it matters"
        write.refuse("an Embedding that masks zeros is not understood", hint)
    x = values[0].name
    if write.maker.types[x].kind == "float32":
        x = write.make("Cast", x, to=6)
    return Laid(write.make("Gather", write.weight(write.layer.embeddings), x))


# Several inputs --------------------------------------------------------------------------------------------------


def _together(operation: str) -> Layer:
    """Element by element; in whichever order all of them stand."""

    def write_layer(write: Scribe, values: Sequence[Laid]) -> Laid:
        whole = [value for value in values if write.type(value).rank]
        first = all(value.first for value in whole)
        names = [value.name if first else write.last(value) for value in values]
        made = names[0]
        for name in names[1:]:
            made = write.make(operation, made, name)
        return Laid(made, first)

    return write_layer


def _average(write: Scribe, values: Sequence[Laid]) -> Laid:
    whole = _together("Add")(write, values)
    return Laid(write.make("Mul", whole.name, write.number(1 / len(values))), whole.first)


def _concatenate(write: Scribe, values: Sequence[Laid]) -> Laid:
    rank = write.type(values[0]).rank
    axis = write.layer.axis % rank
    if axis == rank - 1 and all(value.first for value in values):
        return Laid(write.make("Concat", *(value.name for value in values), axis=1), first=True)
    return Laid(write.make("Concat", *(write.last(value) for value in values), axis=axis))


# Windows ---------------------------------------------------------------------------------------------------------


def _pads(write: Scribe, x: str, size: Sequence[int], strides: Sequence[int], wide: Sequence[int]) -> Any:
    """What Keras' padding "same" adds, most of it behind."""
    if write.layer.padding == "valid":
        return None
    if write.layer.padding != "same":
        write.refuse(f"padding {write.layer.padding!r} is not understood")
    before, after = [], []
    for length, window, stride, dilation in zip(
        write.maker.types[x].sizes[2:], size, strides, wide, strict=True
    ):
        missing = max((-(-length // stride) - 1) * stride + (window - 1) * dilation + 1 - length, 0)
        before.append(missing // 2)
        after.append(missing - missing // 2)
    return (*before, *after)


def _convolved(write: Scribe, value: Laid, kernel: str, groups: int, *bias: str) -> str:
    layer, x = write.layer, write.first(value)
    write.only(data_format="channels_last")
    size, strides, wide = layer.kernel_size, tuple(layer.strides), tuple(layer.dilation_rate)
    return str(
        write.make(
            "Conv",
            x,
            kernel,
            *bias,
            strides=strides,
            dilations=wide,
            pads=_pads(write, x, size, strides, wide),
            group=groups,
        )
    )


def _biased(write: Scribe, made: str) -> Laid:
    layer = write.layer
    if layer.use_bias:
        axes = tuple(range(1, write.maker.types[made].rank - 1))
        made = write.make("Add", made, write.make("Unsqueeze", write.weight(layer.bias), axes=axes))
    return write.activated(Laid(made, first=True), layer.activation)


def _convolution(write: Scribe, values: Sequence[Laid]) -> Laid:
    layer, axes = write.layer, len(write.layer.kernel_size)
    order = (axes + 1, axes, *range(axes))
    kernel = write.make("Transpose", write.weight(layer.kernel), perm=order)
    bias = [write.weight(layer.bias)] if layer.use_bias else []
    made = _convolved(write, values[0], kernel, layer.groups, *bias)
    return write.activated(Laid(made, first=True), layer.activation)


def _by_channel(write: Scribe, value: Laid, variable: Any) -> str:
    """A convolution of each channel alone: (size…, channels, multiplier) become filters."""
    shape = [int(size) for size in variable.shape]
    axes, channels = len(shape) - 2, shape[-2]
    turned = write.make("Transpose", write.weight(variable), perm=(axes, axes + 1, *range(axes)))
    kernel = write.make("Reshape", turned, shape=(channels * shape[-1], 1, *shape[:axes]))
    return _convolved(write, value, kernel, channels)


def _depthwise(write: Scribe, values: Sequence[Laid]) -> Laid:
    return _biased(write, _by_channel(write, values[0], write.layer.kernel))


def _separable(write: Scribe, values: Sequence[Laid]) -> Laid:
    layer, axes = write.layer, len(write.layer.kernel_size)
    made = _by_channel(write, values[0], layer.depthwise_kernel)
    points = write.make(
        "Transpose", write.weight(layer.pointwise_kernel), perm=(axes + 1, axes, *range(axes))
    )
    return _biased(write, write.make("Conv", made, points))


def _pool(operation: str) -> Layer:
    def write_layer(write: Scribe, values: Sequence[Laid]) -> Laid:
        write.only(data_format="channels_last")
        x, size, strides = write.first(values[0]), tuple(write.layer.pool_size), tuple(write.layer.strides)
        pads = _pads(write, x, size, strides, (1,) * len(size))
        return Laid(write.make(operation, x, kernel_shape=size, strides=strides, pads=pads), first=True)

    return write_layer


def _global(operation: str) -> Layer:
    def write_layer(write: Scribe, values: Sequence[Laid]) -> Laid:
        write.only(data_format="channels_last")
        x = write.first(values[0])
        axes = tuple(range(2, write.maker.types[x].rank))
        made = write.make(operation, x, axes=axes, keepdims=1 if write.layer.keepdims else 0)
        return Laid(made, first=bool(write.layer.keepdims))

    return write_layer


def _zero_padding(write: Scribe, values: Sequence[Laid]) -> Laid:
    write.only(data_format="channels_last")
    x, padding = write.first(values[0]), write.layer.padding
    pairs = [padding] if isinstance(padding[0], int) else padding
    before, after = zip(*pairs, strict=True)
    return Laid(write.make("Pad", x, pads=(0, 0, *before, 0, 0, *after)), first=True)


# Normalisations --------------------------------------------------------------------------------------------------


def _batch_norm(write: Scribe, values: Sequence[Laid]) -> Laid:
    layer, value = write.layer, values[0]
    if getattr(layer, "renorm", False):
        write.refuse("batch renormalisation is not understood")
    rank = write.type(value).rank
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    if axis % rank != rank - 1:
        write.refuse("a BatchNormalization along another axis than the last is not understood")
    channels = int(layer.moving_mean.shape[0])
    scale = write.weight(layer.gamma) if layer.scale else write.maker.constant(np.ones(channels, np.float32))
    centre = (
        write.weight(layer.beta) if layer.center else write.maker.constant(np.zeros(channels, np.float32))
    )
    middle, variance = write.weight(layer.moving_mean), write.weight(layer.moving_variance)
    made = write.make(
        "BatchNormalization",
        write.first(value),
        scale,
        centre,
        middle,
        variance,
        epsilon=float(layer.epsilon),
    )
    return Laid(made, first=rank > 2)


def _layer_norm(write: Scribe, values: Sequence[Laid]) -> Laid:
    layer, x = write.layer, write.last(values[0])
    rank = write.maker.types[x].rank
    axes = [axis % rank for axis in ([layer.axis] if isinstance(layer.axis, int) else layer.axis)]
    if axes != [rank - 1] or getattr(layer, "rms_scaling", False):
        write.refuse("a LayerNormalization of other axes than the last is not understood")
    width = write.maker.types[x].sizes[-1]
    scale = write.weight(layer.gamma) if layer.scale else write.maker.constant(np.ones(width, np.float32))
    centre = [write.weight(layer.beta)] if layer.center else []
    return Laid(write.make("LayerNormalization", x, scale, *centre, epsilon=float(layer.epsilon)))


LAYERS: Final[Mapping[str, Layer]] = {
    **dict.fromkeys(
        (
            "Dropout",
            "SpatialDropout1D",
            "SpatialDropout2D",
            "GaussianNoise",
            "GaussianDropout",
            "AlphaDropout",
        ),
        _nothing,
    ),
    **dict.fromkeys(("ActivityRegularization", "Identity"), _nothing),
    "Dense": _dense,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "Activation": _activation,
    "ReLU": _relu,
    "LeakyReLU": _leaky,
    "ELU": _elu,
    "PReLU": _sloped,
    "Softmax": _softmax,
    "Rescaling": _rescaling,
    "Embedding": _embedding,
    "Add": _together("Add"),
    "Subtract": _together("Sub"),
    "Multiply": _together("Mul"),
    "Divide": _together("Div"),
    "TrueDivide": _together("Div"),
    "Maximum": _together("Max"),
    "Minimum": _together("Min"),
    "Average": _average,
    "Concatenate": _concatenate,
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), _convolution),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable),
    **dict.fromkeys(("MaxPooling1D", "MaxPooling2D", "MaxPooling3D"), _pool("MaxPool")),
    **dict.fromkeys(("AveragePooling1D", "AveragePooling2D", "AveragePooling3D"), _pool("AveragePool")),
    **dict.fromkeys(("GlobalAveragePooling1D", "GlobalAveragePooling2D"), _global("ReduceMean")),
    **dict.fromkeys(("GlobalMaxPooling1D", "GlobalMaxPooling2D"), _global("ReduceMax")),
    **dict.fromkeys(("ZeroPadding1D", "ZeroPadding2D"), _zero_padding),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "LSTM": recurrent,
    "GRU": recurrent,
    "Bidirectional": both_ways,
    "MultiHeadAttention": attention,
}
"""Of Keras' layers, and of the operations that `a + b` of its tensors makes, those that have a meaning in a graph."""
