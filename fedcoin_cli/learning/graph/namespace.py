"""What operations ask of an array library: about forty functions, and NumPy's.

Operations compute with these functions alone, never with operators: so the same table runs in NumPy, over `keras.ops`,
and in passes whose every result is moved a little (`reference.perturbed`). Functions have NumPy's names and meanings;
a Python number may stand for an array in arithmetic, never in both places.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.graph.erf import erf
from fedcoin_cli.learning.graph.graph import Kind

Array = Any
"""An array of whatever library; a number where arithmetic takes one."""
Pairs = Sequence[tuple[int, int]]
"""Before and after, of each axis that is meant."""


class Namespace(Protocol):
    """An array library. Axes count from 0; windows stand on the axes behind the first two (examples, channels)."""

    def constant(self, values: npt.NDArray[Any]) -> Array:
        """A NumPy array as one of the library's; floats become the library's floats."""
        ...

    def shape(self, x: Array) -> tuple[int, ...]: ...
    def kind(self, x: Array) -> Kind:
        """What numbers an array holds, all of the library's floats being float32."""
        ...

    def add(self, a: Array, b: Array) -> Array: ...
    def subtract(self, a: Array, b: Array) -> Array: ...
    def multiply(self, a: Array, b: Array) -> Array: ...
    def divide(self, a: Array, b: Array) -> Array: ...
    def power(self, a: Array, exponent: float) -> Array: ...
    def negative(self, x: Array) -> Array: ...
    def absolute(self, x: Array) -> Array: ...
    def maximum(self, a: Array, b: Array) -> Array: ...
    def minimum(self, a: Array, b: Array) -> Array: ...

    def sqrt(self, x: Array) -> Array: ...
    def exp(self, x: Array) -> Array: ...
    def expm1(self, x: Array) -> Array: ...
    def log(self, x: Array) -> Array: ...
    def log1p(self, x: Array) -> Array: ...
    def tanh(self, x: Array) -> Array: ...
    def sigmoid(self, x: Array) -> Array: ...
    def erf(self, x: Array) -> Array: ...

    def equal(self, a: Array, b: Array) -> Array: ...
    def less(self, a: Array, b: Array) -> Array: ...
    def logical_and(self, a: Array, b: Array) -> Array: ...
    def logical_or(self, a: Array, b: Array) -> Array: ...
    def logical_not(self, x: Array) -> Array: ...
    def where(self, condition: Array, a: Array, b: Array) -> Array: ...
    def cast(self, x: Array, kind: Kind) -> Array:
        """To the library's numbers of that kind; the caller keeps floats within what int32 holds."""
        ...

    def matmul(self, a: Array, b: Array) -> Array:
        """Products of the last two axes; the others are broadcast."""
        ...

    def convolve(
        self,
        x: Array,
        kernels: Array,
        strides: Sequence[int],
        pads: Pairs,
        dilations: Sequence[int],
        groups: int,
    ) -> Array:
        """(n, channels, …) with kernels (filters, channels / groups, …), padded with zeros."""
        ...

    def max_pool(
        self, x: Array, size: Sequence[int], strides: Sequence[int], pads: Pairs, dilations: Sequence[int]
    ) -> Array:
        """The largest of each window; what is padded is never it."""
        ...

    def sum_pool(self, x: Array, size: Sequence[int], strides: Sequence[int], pads: Pairs) -> Array:
        """The sum of each window."""
        ...

    def sum(self, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array: ...
    def max(self, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array: ...
    def min(self, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array: ...

    def reshape(self, x: Array, shape: Sequence[int]) -> Array: ...
    def transpose(self, x: Array, order: Sequence[int]) -> Array: ...
    def broadcast_to(self, x: Array, shape: Sequence[int]) -> Array: ...
    def concatenate(self, parts: Sequence[Array], axis: int) -> Array: ...
    def slice(self, x: Array, axis: int, start: int, stop: int, step: int = 1) -> Array:
        """Entries start, start + step, … below stop of one axis; step is positive."""
        ...

    def flip(self, x: Array, axis: int) -> Array: ...
    def pad(self, x: Array, pads: Pairs, value: float) -> Array: ...
    def take(self, x: Array, indices: Array, axis: int) -> Array:
        """Entries of one axis by int32 indices of any shape, all of which are there."""
        ...


_LAID_OUT: Final = 1 << 21
"""Values of windows that are laid out at once: what a core's cache holds is quicker."""


class Numpy:
    """NumPy, with floats of one type: float64 for the reference."""

    def __init__(self, floats: type[np.floating[Any]] = np.float64) -> None:
        self._dtypes: Mapping[Kind, type[np.generic]] = {
            Kind.float32: floats,
            Kind.int32: np.int32,
            Kind.bool: np.bool_,
        }

    def constant(self, values: npt.NDArray[Any]) -> Array:
        return values.astype(self._dtypes[Kind.float32]) if values.dtype.kind == "f" else values

    def shape(self, x: Array) -> tuple[int, ...]:
        shape: tuple[int, ...] = x.shape
        return shape

    def kind(self, x: Array) -> Kind:
        return {"f": Kind.float32, "i": Kind.int32, "b": Kind.bool}[x.dtype.kind]

    add = staticmethod(np.add)
    subtract = staticmethod(np.subtract)
    multiply = staticmethod(np.multiply)
    divide = staticmethod(np.divide)
    power = staticmethod(np.power)
    negative = staticmethod(np.negative)
    absolute = staticmethod(np.abs)
    maximum = staticmethod(np.maximum)
    minimum = staticmethod(np.minimum)
    sqrt = staticmethod(np.sqrt)
    exp = staticmethod(np.exp)
    expm1 = staticmethod(np.expm1)
    log = staticmethod(np.log)
    log1p = staticmethod(np.log1p)
    tanh = staticmethod(np.tanh)
    erf = staticmethod(erf)
    equal = staticmethod(np.equal)
    less = staticmethod(np.less)
    logical_and = staticmethod(np.logical_and)
    logical_or = staticmethod(np.logical_or)
    logical_not = staticmethod(np.logical_not)
    where = staticmethod(np.where)
    transpose = staticmethod(np.transpose)
    broadcast_to = staticmethod(np.broadcast_to)
    flip = staticmethod(np.flip)

    def reshape(self, x: Array, shape: Sequence[int]) -> Array:
        return x.reshape(tuple(shape))

    def matmul(self, a: Array, b: Array) -> Array:
        if a.ndim > 2 and b.ndim == 2:  # one product instead of many
            return (a.reshape(-1, a.shape[-1]) @ b).reshape(*a.shape[:-1], b.shape[1])
        return a @ b

    def sigmoid(self, x: Array) -> Array:
        return 1 / (1 + np.exp(-x))

    def cast(self, x: Array, kind: Kind) -> Array:
        return x.astype(self._dtypes[kind])

    def convolve(
        self,
        x: Array,
        kernels: Array,
        strides: Sequence[int],
        pads: Pairs,
        dilations: Sequence[int],
        groups: int,
    ) -> Array:
        parts = _windows(self._padded(x, pads, 0.0), kernels.shape[2:], strides, dilations)
        spread = parts.shape[kernels.ndim :]
        # One product an example and group: kernels by what all windows hold, which is laid out for some at a time.
        flat = kernels.reshape(groups, kernels.shape[0] // groups, -1)
        some = max(1, _LAID_OUT // max(1, groups * flat.shape[2] * prod(spread)))
        found = [
            flat @ parts[start : start + some].reshape(-1, groups, flat.shape[2], prod(spread))
            for start in range(0, len(x), some)
        ]
        whole = found[0] if len(found) == 1 else np.concatenate(found)
        return whole.reshape(len(x), kernels.shape[0], *spread)

    def max_pool(
        self, x: Array, size: Sequence[int], strides: Sequence[int], pads: Pairs, dilations: Sequence[int]
    ) -> Array:
        parts = _windows(self._padded(x, pads, -np.inf), size, strides, dilations)
        return _reduced(np.maximum, parts, len(size))

    def sum_pool(self, x: Array, size: Sequence[int], strides: Sequence[int], pads: Pairs) -> Array:
        parts = _windows(self._padded(x, pads, 0.0), size, strides, (1,) * len(size))
        return _reduced(np.add, parts, len(size))

    def sum(self, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array:
        return np.sum(x, tuple(axes), dtype=x.dtype, keepdims=keepdims)

    def max(self, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array:
        return np.max(x, tuple(axes), keepdims=keepdims)

    def min(self, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array:
        return np.min(x, tuple(axes), keepdims=keepdims)

    def concatenate(self, parts: Sequence[Array], axis: int) -> Array:
        return np.concatenate(parts, axis)

    def slice(self, x: Array, axis: int, start: int, stop: int, step: int = 1) -> Array:
        return x[(*(slice(None),) * axis, slice(start, stop, step))]

    def pad(self, x: Array, pads: Pairs, value: float) -> Array:
        return np.pad(x, pads, constant_values=value)

    def take(self, x: Array, indices: Array, axis: int) -> Array:
        return np.take(x, indices, axis)

    def _padded(self, x: Array, pads: Pairs, value: float) -> Array:
        return self.pad(x, [(0, 0), (0, 0), *pads], value) if any(map(any, pads)) else x


NUMPY: Final[Namespace] = Numpy()
"""The reference's numbers: float64."""


def _windows(x: Array, size: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Array:
    """A view (n, channels, *size, *places) of what each window holds."""
    reach = [(one - 1) * dilation + 1 for one, dilation in zip(size, dilations, strict=True)]
    axes = tuple(range(2, 2 + len(size)))
    views = np.lib.stride_tricks.sliding_window_view(x, reach, axes)
    steps = (slice(None, None, stride) for stride in strides)
    views = views[(slice(None), slice(None), *steps, *(slice(None, None, one) for one in dilations))]
    behind = tuple(axis + len(size) for axis in axes)
    return views.transpose(0, 1, *behind, *axes)


def _reduced(two: np.ufunc, parts: Array, axes: int) -> Array:
    """The windows' entries taken together, place after place: quicker than along short axes."""
    whole = None
    for place in np.ndindex(parts.shape[2 : 2 + axes]):
        part = parts[(slice(None), slice(None), *place)]
        whole = np.array(part) if whole is None else two(whole, part, out=whole)
    return whole
