"""Normalisations by statistics of the model or of an example's own values, and softmax."""

from collections.abc import Mapping, Sequence
from typing import Final

from fedcoin_cli.learning.graph.namespace import Array, Namespace
from fedcoin_cli.learning.graph.operations.operation import (
    AXIS,
    MOST,
    Arrays,
    Depends,
    Operation,
    Setting,
    Settings,
    Types,
    floats,
    integer,
    number,
    shared,
)
from fedcoin_cli.learning.graph.operations.windows import by_channel, mean
from fedcoin_cli.learning.graph.tensor_type import Misfit, TensorType

_EPSILON: Final = Setting(number, 1e-5)
# Of which an output's value takes about so many operations.
_NORMALISED: Final = 8
_SOFTMAX: Final = 20


def _channels(one: TensorType) -> int:
    if one.axis != 0 or one.rank < 2:
        raise Misfit(f"it takes (examples, channels, …), not {one}")
    return one.sizes[1]


def _batch_typed(_: Settings, types: Types) -> tuple[TensorType, ...]:
    x, *statistics = floats(types)
    for one, what in zip(statistics, ("scale", "bias", "mean", "variance"), strict=True):
        shared(one, (_channels(x),), what)
    return (x,)


def _batch(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    x, scale, bias, middle, variance = values
    factor = xp.divide(scale, xp.sqrt(xp.add(variance, its["epsilon"])))
    offset = xp.subtract(bias, xp.multiply(middle, factor))
    rank = len(xp.shape(x))
    return (xp.add(xp.multiply(x, by_channel(xp, factor, rank)), by_channel(xp, offset, rank)),)


def _batch_affine(_: Settings, depends: Depends) -> bool:
    x, scale, _bias, middle, variance = depends
    return not variance and not (scale and (x or middle))


def _layer_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    x, *rest = floats([one for one in types if one is not None])
    axes = x.inner(range(x.place(its["axis"]), x.rank), "normalise")
    for one, what in zip(rest, ("scale", "bias"), strict=False):
        shared(one, x.sizes[axes[0] :], what)
    return (x,)


def _layer(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    x, scale = values[:2]
    rank = len(xp.shape(x))
    y = xp.multiply(_standard(xp, x, range(its["axis"] % rank, rank), its["epsilon"]), scale)
    return (xp.add(y, values[2]) if len(values) == 3 and values[2] is not None else y,)


def _standard(xp: Namespace, x: Array, axes: Sequence[int], epsilon: float) -> Array:
    """Of mean 0 and, but for epsilon, variance 1 along axes."""
    centred = xp.subtract(x, mean(xp, x, axes, keepdims=True))
    variance = mean(xp, xp.multiply(centred, centred), axes, keepdims=True)
    return xp.divide(centred, xp.sqrt(xp.add(variance, epsilon)))


def _scale_only(_: Settings, depends: Depends) -> bool:
    return not depends[0]


def _group_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    x, scale, bias = floats(types)
    channels = _channels(x)
    if channels % its["num_groups"]:
        raise Misfit(f"{channels} channels do not make {its['num_groups']} groups")
    shared(scale, (channels,), "scale")
    shared(bias, (channels,), "bias")
    return (x,)


def _group(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    return (_grouped(xp, values, its["num_groups"], its["epsilon"]),)


def _grouped(xp: Namespace, values: Arrays, groups: int, epsilon: float) -> Array:
    x, scale, bias = values
    shape = xp.shape(x)
    y = _standard(xp, xp.reshape(x, (shape[0], groups, -1)), (2,), epsilon)
    y = xp.multiply(xp.reshape(y, shape), by_channel(xp, scale, len(shape)))
    return xp.add(y, by_channel(xp, bias, len(shape)))


def _instance_typed(_: Settings, types: Types) -> tuple[TensorType, ...]:
    x, scale, bias = floats(types)
    shared(scale, (_channels(x),), "scale")
    shared(bias, (_channels(x),), "bias")
    return (x,)


def _instance(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    return (_grouped(xp, values, xp.shape(values[0])[1], its["epsilon"]),)


def _softmax_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    (x,) = floats(types)
    x.inner([its["axis"]], "sum")
    return (x,)


def _softmax(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    axes = (its["axis"] % len(xp.shape(values[0])),)
    powers = xp.exp(_below(xp, values[0], axes))
    return (xp.divide(powers, xp.sum(powers, axes, keepdims=True)),)


def _log_softmax(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    axes = (its["axis"] % len(xp.shape(values[0])),)
    below = _below(xp, values[0], axes)
    return (xp.subtract(below, xp.log(xp.sum(xp.exp(below), axes, keepdims=True))),)


def _below(xp: Namespace, x: Array, axes: Sequence[int]) -> Array:
    return xp.subtract(x, xp.max(x, axes, keepdims=True))


def _normalised(_: Settings, __: Types, outputs: Sequence[TensorType], examples: int) -> int:
    return _NORMALISED * outputs[0].count(examples)


def _exponentials(_: Settings, __: Types, outputs: Sequence[TensorType], examples: int) -> int:
    return _SOFTMAX * outputs[0].count(examples)


_SOFTMAX_AXIS: Final = {"axis": Setting(AXIS, -1)}

NORMALISATIONS: Final[Mapping[str, Operation]] = {
    "BatchNormalization": Operation(
        (5, 5), _batch_typed, _batch, {"epsilon": _EPSILON}, work=_normalised, affine=_batch_affine
    ),
    "LayerNormalization": Operation(
        (2, 3),
        _layer_typed,
        _layer,
        {"axis": Setting(AXIS, -1), "epsilon": _EPSILON},
        work=_normalised,
        affine=_scale_only,
    ),
    "GroupNormalization": Operation(
        (3, 3),
        _group_typed,
        _group,
        {"num_groups": Setting(integer(1, MOST), required=True), "epsilon": _EPSILON},
        work=_normalised,
        affine=_scale_only,
    ),
    "InstanceNormalization": Operation(
        (3, 3), _instance_typed, _instance, {"epsilon": _EPSILON}, work=_normalised, affine=_scale_only
    ),
    "Softmax": Operation((1, 1), _softmax_typed, _softmax, _SOFTMAX_AXIS, work=_exponentials),
    "LogSoftmax": Operation((1, 1), _softmax_typed, _log_softmax, _SOFTMAX_AXIS, work=_exponentials),
}
