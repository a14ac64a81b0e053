"""Convolutions and poolings: windows over the axes behind examples and channels, one to three of them."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from fedcoin_cli.learning.graph.namespace import Array, Namespace
from fedcoin_cli.learning.graph.operations.operation import (
    FLAG,
    MOST,
    Arrays,
    Operation,
    Setting,
    Settings,
    Types,
    always,
    floats,
    floats_first,
    given,
    integer,
    integers,
    one_at_most,
    shared,
)
from fedcoin_cli.learning.graph.tensor_type import Misfit, TensorType

_LONGEST: Final = 1 << 16
_SIZES: Final = integers(1, _LONGEST, longest=3)
_PADS: Final = Setting(integers(0, _LONGEST, longest=6))
_STRIDES: Final = Setting(_SIZES)


def images(one: TensorType) -> TensorType:
    """(examples, channels, one to three axes)."""
    if one.axis != 0 or not 3 <= one.rank <= 5:
        raise Misfit(f"it takes (examples, channels, one to three axes), not {one}")
    return one


def _each(value: Sequence[int] | None, axes: int, what: str) -> tuple[int, ...]:
    """One number an axis, 1 where nothing is said."""
    if value is None:
        return (1,) * axes
    if len(value) != axes:
        raise Misfit(f"{what} has {len(value)} numbers for {axes} axes")
    return tuple(value)


def _pairs(pads: Sequence[int] | None, axes: int) -> tuple[tuple[int, int], ...]:
    """ONNX has all beginnings before all ends."""
    if pads is None:
        return ((0, 0),) * axes
    if len(pads) != 2 * axes:
        raise Misfit(f"pads has {len(pads)} numbers for {axes} axes, which have two each")
    return tuple(zip(pads[:axes], pads[axes:], strict=True))


class Frame:
    """Where windows stand: size, strides, pads and dilations along each axis, with defaults filled in."""

    def __init__(self, its: Settings, size: Sequence[int]) -> None:
        self.size, axes = tuple(size), len(size)
        self.strides = _each(its["strides"], axes, "strides")
        self.pads = _pairs(its["pads"], axes)
        self.dilations = _each(its.get("dilations"), axes, "dilations")

    def places(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """How many windows there are along each axis."""
        if len(sizes) != len(self.size):
            raise Misfit(f"windows have {len(self.size)} axes, the input has {len(sizes)}")
        found = []
        for size, (before, after), window, stride, dilation in zip(
            sizes, self.pads, self.size, self.strides, self.dilations, strict=True
        ):
            free = size + before + after - (window - 1) * dilation - 1
            if free < 0:
                raise Misfit(f"a window of {window} is larger than an axis of {size}")
            found.append(free // stride + 1)
        return tuple(found)


def _conv_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    x, kernels, *rest = floats_first(types, 2)
    images(x)
    if kernels.axis is not None or kernels.rank != x.rank:
        raise Misfit(f"its kernels must be (filters, channels / group, …), not {kernels}")
    if its["kernel_shape"] not in (None, kernels.sizes[2:]):
        raise Misfit(f"kernel_shape is {list(its['kernel_shape'])}, the kernels are {kernels}")
    filters, channels, groups = kernels.sizes[0], kernels.sizes[1], its["group"]
    if filters % groups or channels * groups != x.sizes[1]:
        raise Misfit(
            f"{groups} groups of {channels} channels make {filters} filters of {x.sizes[1]} channels"
        )
    if rest:
        shared(rest[0], (filters,), "bias")
    return (x.of((x.sizes[0], filters, *Frame(its, kernels.sizes[2:]).places(x.sizes[2:])), 0),)


def _conv(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    kernels = values[1]
    frame = Frame(its, xp.shape(kernels)[2:])
    y = xp.convolve(values[0], kernels, frame.strides, frame.pads, frame.dilations, its["group"])
    if len(values) == 3 and values[2] is not None:
        y = xp.add(y, by_channel(xp, values[2], len(xp.shape(y))))
    return (y,)


def by_channel(xp: Namespace, values: Array, rank: int) -> Array:
    """One number a channel, (channels,), laid so that it meets axis 1."""
    return xp.reshape(values, (1, -1, *(1,) * (rank - 2)))


def _conv_work(_: Settings, types: Types, outputs: Sequence[TensorType], examples: int) -> int:
    kernels = given(types[:2])[1]
    return 2 * outputs[0].count(examples) * prod(kernels.sizes[1:])


def _conv_laid_out(its: Settings, types: Types, outputs: Sequence[TensorType], examples: int) -> int:
    kernels = given(types[:2])[1]
    windows = outputs[0].count(examples) // kernels.sizes[0]
    return windows * prod(kernels.sizes[1:]) * int(its["group"])


def _pool_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    (x,) = floats(types)
    images(x)
    frame = Frame(its, its["kernel_shape"])
    places = frame.places(x.sizes[2:])
    # What only padding fills has no largest entry, and no average.
    if any(max(pads) >= size for pads, size in zip(frame.pads, frame.size, strict=True)):
        raise Misfit("a window lies in the padding alone")
    return (x.of((*x.sizes[:2], *places), 0),)


def _max_pool(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    frame = Frame(its, its["kernel_shape"])
    return (xp.max_pool(values[0], frame.size, frame.strides, frame.pads, frame.dilations),)


def _average_pool(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    frame = Frame(its, its["kernel_shape"])
    sums = xp.sum_pool(values[0], frame.size, frame.strides, frame.pads)
    if its["count_include_pad"] or not any(map(any, frame.pads)):
        return (xp.divide(sums, float(prod(frame.size))),)
    return (xp.divide(sums, xp.constant(_inside(frame, xp.shape(values[0])[2:])[None, None])),)


def _inside(frame: Frame, sizes: Sequence[int]) -> Any:
    """How many entries of each window are no padding."""
    whole = np.ones(())
    for size, (before, after), window, stride in zip(
        sizes, frame.pads, frame.size, frame.strides, strict=True
    ):
        starts = np.arange(0, size + before + after - window + 1, stride) - before
        held = np.minimum(starts + window, size) - np.maximum(starts, 0)
        whole = whole[..., None] * held
    return whole.astype(np.float64)


def _pool_work(its: Settings, _: Types, outputs: Sequence[TensorType], examples: int) -> int:
    return outputs[0].count(examples) * prod(its["kernel_shape"])


def _global_typed(_: Settings, types: Types) -> tuple[TensorType, ...]:
    x = images(floats(types)[0])
    return (x.of((*x.sizes[:2], *(1,) * (x.rank - 2)), 0),)


def mean(xp: Namespace, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array:
    """The mean along axes."""
    shape = xp.shape(x)
    return xp.divide(xp.sum(x, axes, keepdims=keepdims), float(prod(shape[axis] for axis in axes)))


def _global_average(xp: Namespace, _: Settings, values: Arrays) -> tuple[Array, ...]:
    return (mean(xp, values[0], range(2, len(xp.shape(values[0]))), keepdims=True),)


def _input_work(_: Settings, types: Types, __: object, examples: int) -> int:
    (x,) = given(types[:1])
    return x.count(examples)


WINDOWS: Final[Mapping[str, Operation]] = {
    "Conv": Operation(
        (2, 3),
        _conv_typed,
        _conv,
        {
            "kernel_shape": Setting(_SIZES),
            "strides": _STRIDES,
            "pads": _PADS,
            "dilations": _STRIDES,
            "group": Setting(integer(1, MOST), 1),
        },
        work=_conv_work,
        affine=one_at_most,
        laid_out=_conv_laid_out,
    ),
    "MaxPool": Operation(
        (1, 1),
        _pool_typed,
        _max_pool,
        {
            "kernel_shape": Setting(_SIZES, required=True),
            "strides": _STRIDES,
            "pads": _PADS,
            "dilations": _STRIDES,
        },
        work=_pool_work,
    ),
    "AveragePool": Operation(
        (1, 1),
        _pool_typed,
        _average_pool,
        {
            "kernel_shape": Setting(_SIZES, required=True),
            "strides": _STRIDES,
            "pads": _PADS,
            "count_include_pad": Setting(FLAG, 0),
        },
        work=_pool_work,
        affine=always,
    ),
    "GlobalAveragePool": Operation((1, 1), _global_typed, _global_average, work=_input_work, affine=always),
}
