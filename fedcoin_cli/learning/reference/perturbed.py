"""Passes in float64 of which every result is moved as float32 may move it: how far from the reference an engine may be.

Beside the exact values run `DRAWS` others. Each result of an arithmetic function is moved by 2⁻²⁴ × the sum of the
absolute values that were added up in it × a draw of variance 1 (Monte Carlo arithmetic: Parker, Monte Carlo Arithmetic,
1997; Verificarlo: Denis et al. 2016). What is only moved about, compared or chosen is exact, and so is zero. Whatever
leaves float32's range becomes what an engine makes of it. Draws follow from a seed and from how many results were moved
before: all who compute the same pass draw the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import shake_256
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.graph.graph import Kind
from fedcoin_cli.learning.graph.namespace import NUMPY, Array, Pairs

DRAWS: Final = 4
"""Passes beside the exact one."""
PASSES: Final = DRAWS + 2
"""What an interval takes, in passes: the exact one, its companions, and one of absolute values."""

_UNIT: Final = 2.0**-24
# Results below float32's normal range may be flushed to zero: one unit of this is as much.
_TINY: Final = 2.0**-102
_SMALL: Final = 2.0**-76
_LARGEST: Final = float.fromhex("0x1.fffffep+127")
# Companions that are so far from the exact value that they reach float32's end from here are far off anyway.
_NEAR: Final = 2.0**112
# Libraries' functions err by a few units, whatever the result.
_FUNCTION: Final = 4.0
# Sigmoids are made of tanh as well, which errs beside 1.
_BESIDE_ONE: Final = 0.5

_TAG: Final = b"fedcoin/v1/perturbation\0"
_TABLE: Final = 1 << 19
_STARTS: Final = 1 << 16

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moved:
    """A value of all passes: the exact one and its `DRAWS` companions."""

    exact: Array
    companions: tuple[Array, ...]


class Perturbed:
    """A `Namespace` over `Moved` values; arrays that stand alone are the same in all passes.

    Args:
        seed: what draws follow from.
        results: how many were moved before.
    """

    def __init__(self, seed: int, results: int = 0) -> None:
        self._seed, self._results = seed, results

    # What rounds ----------------------------------------------------------------------------------------------------

    def rounded(self, value: Moved, sizes: Floats | None = None, *, summed: bool = False) -> Moved:
        """Each companion moved by 2⁻²⁴ times `sizes`, the exact value's own where nothing is said.

        Beyond float32's range is what float32 has there: infinity, and anything where so much was `summed` up.
        """
        sizes = np.abs(value.exact) if sizes is None else sizes
        lost, large = None, not sizes.max() <= _NEAR
        if large:
            lost = sizes > _LARGEST if summed else None
            sizes = np.where(sizes <= _LARGEST, sizes, 0.0)
        if sizes.min() < _SMALL:
            sizes = np.where(sizes > 0, sizes + _TINY, 0.0)
        self._results += 1
        moved = []
        for number, companion in enumerate(value.companions):
            found = sizes * _noise(self._seed, DRAWS * self._results + number, sizes.shape)
            found += companion
            if large:
                found = np.where(np.abs(found) > _LARGEST, np.copysign(np.inf, found), found)
            moved.append(found if lost is None else np.where(lost, np.nan, found))
        return Moved(value.exact, tuple(moved))

    def _arithmetic(self, function: Callable[..., Array], *values: Array, factor: float = 1.0) -> Array:
        found = _each(function, *values)
        if not isinstance(found, Moved) or found.exact.dtype.kind != "f":
            return found
        return self.rounded(found, factor * np.abs(found.exact))

    def add(self, a: Array, b: Array) -> Array:
        return self._arithmetic(np.add, a, b)

    def subtract(self, a: Array, b: Array) -> Array:
        return self._arithmetic(np.subtract, a, b)

    def multiply(self, a: Array, b: Array) -> Array:
        return self._arithmetic(np.multiply, a, b)

    def divide(self, a: Array, b: Array) -> Array:
        return _without_sign_of_zero(self._arithmetic(np.divide, a, b), b)

    def sqrt(self, x: Array) -> Array:
        return self._arithmetic(np.sqrt, x)

    def power(self, a: Array, exponent: float) -> Array:
        found = self._arithmetic(np.power, a, exponent, factor=_FUNCTION)
        return _without_sign_of_zero(found, a) if exponent < 0 else found

    def exp(self, x: Array) -> Array:
        return self._arithmetic(np.exp, x, factor=_FUNCTION)

    def expm1(self, x: Array) -> Array:
        return self._arithmetic(np.expm1, x, factor=_FUNCTION)

    def log(self, x: Array) -> Array:
        return self._arithmetic(np.log, x, factor=_FUNCTION)

    def log1p(self, x: Array) -> Array:
        return self._arithmetic(np.log1p, x, factor=_FUNCTION)

    def tanh(self, x: Array) -> Array:
        return self._arithmetic(np.tanh, x, factor=_FUNCTION)

    def erf(self, x: Array) -> Array:
        return self._arithmetic(NUMPY.erf, x, factor=_FUNCTION)

    def sigmoid(self, x: Array) -> Array:
        found = _each(NUMPY.sigmoid, x)
        if not isinstance(found, Moved):
            return found
        return self.rounded(found, _FUNCTION * np.maximum(found.exact, _BESIDE_ONE))

    def _summed(self, function: Callable[..., Array], *values: Array) -> Array:
        """A sum of products, of which the absolute values are what rounds."""
        found = _each(function, *values)
        if not isinstance(found, Moved) or found.exact.dtype.kind != "f":
            return found
        sizes = function(*(np.abs(_exact(value)) for value in values))
        return self.rounded(found, sizes + np.abs(found.exact), summed=True)

    def matmul(self, a: Array, b: Array) -> Array:
        return self._summed(NUMPY.matmul, a, b)

    def convolve(
        self,
        x: Array,
        kernels: Array,
        strides: Sequence[int],
        pads: Pairs,
        dilations: Sequence[int],
        groups: int,
    ) -> Array:
        def convolve(one: Array, other: Array) -> Array:
            return NUMPY.convolve(one, other, strides, pads, dilations, groups)

        return self._summed(convolve, x, kernels)

    def sum_pool(self, x: Array, size: Sequence[int], strides: Sequence[int], pads: Pairs) -> Array:
        return self._summed(lambda one: NUMPY.sum_pool(one, size, strides, pads), x)

    def sum(self, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array:
        return self._summed(lambda one: NUMPY.sum(one, axes, keepdims=keepdims), x)

    # What is exact --------------------------------------------------------------------------------------------------

    def constant(self, values: npt.NDArray[Any]) -> Array:
        return NUMPY.constant(values)

    def shape(self, x: Array) -> tuple[int, ...]:
        return NUMPY.shape(_exact(x))

    def kind(self, x: Array) -> Kind:
        return NUMPY.kind(_exact(x))

    def negative(self, x: Array) -> Array:
        return _each(np.negative, x)

    def absolute(self, x: Array) -> Array:
        return _each(np.abs, x)

    def maximum(self, a: Array, b: Array) -> Array:
        return _each(np.maximum, a, b)

    def minimum(self, a: Array, b: Array) -> Array:
        return _each(np.minimum, a, b)

    def equal(self, a: Array, b: Array) -> Array:
        return _each(np.equal, a, b)

    def less(self, a: Array, b: Array) -> Array:
        return _each(np.less, a, b)

    def logical_and(self, a: Array, b: Array) -> Array:
        return _each(np.logical_and, a, b)

    def logical_or(self, a: Array, b: Array) -> Array:
        return _each(np.logical_or, a, b)

    def logical_not(self, x: Array) -> Array:
        return _each(np.logical_not, x)

    def where(self, condition: Array, a: Array, b: Array) -> Array:
        return _each(np.where, condition, a, b)

    def cast(self, x: Array, kind: Kind) -> Array:
        return _each(lambda one: NUMPY.cast(one, kind), x)

    def max_pool(
        self, x: Array, size: Sequence[int], strides: Sequence[int], pads: Pairs, dilations: Sequence[int]
    ) -> Array:
        return _each(lambda one: NUMPY.max_pool(one, size, strides, pads, dilations), x)

    def max(self, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array:
        return _each(lambda one: NUMPY.max(one, axes, keepdims=keepdims), x)

    def min(self, x: Array, axes: Sequence[int], *, keepdims: bool) -> Array:
        return _each(lambda one: NUMPY.min(one, axes, keepdims=keepdims), x)

    def reshape(self, x: Array, shape: Sequence[int]) -> Array:
        return _each(lambda one: NUMPY.reshape(one, shape), x)

    def transpose(self, x: Array, order: Sequence[int]) -> Array:
        return _each(lambda one: np.transpose(one, order), x)

    def broadcast_to(self, x: Array, shape: Sequence[int]) -> Array:
        return _each(lambda one: np.broadcast_to(one, shape), x)

    def concatenate(self, parts: Sequence[Array], axis: int) -> Array:
        return _each(lambda *each: np.concatenate(each, axis), *parts)

    def slice(self, x: Array, axis: int, start: int, stop: int, step: int = 1) -> Array:
        return _each(lambda one: NUMPY.slice(one, axis, start, stop, step), x)

    def flip(self, x: Array, axis: int) -> Array:
        return _each(lambda one: np.flip(one, axis), x)

    def pad(self, x: Array, pads: Pairs, value: float) -> Array:
        return _each(lambda one: NUMPY.pad(one, pads, value), x)

    def take(self, x: Array, indices: Array, axis: int) -> Array:
        return _each(lambda one, two: np.take(one, two, axis), x, indices)


def seed_of(members: npt.NDArray[np.uint8]) -> int:
    """What a coalition, given as zeros and ones, draws by: the same in every task."""
    return int.from_bytes(shake_256(_TAG + members.tobytes()).digest(8), "big")


def unmoved(exact: Array) -> Moved:
    """A value that all passes begin with, to be `rounded`."""
    return Moved(exact, (exact,) * DRAWS)


def deviations(outputs: Array) -> Floats:
    """E of outputs (examples, classes): how far companions are from the exact ones, at least a quarter of all.

    Root mean squares. What is the same in all passes, no number included, has none; what is none in some may be
    anything. [P-6.22]
    """
    if not isinstance(outputs, Moved):
        return np.zeros(outputs.shape)
    exact = outputs.exact
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.zeros_like(exact)
        for companion in outputs.companions:
            same = (companion == exact) | (np.isnan(companion) & np.isnan(exact))
            found += np.where(same, 0.0, companion - exact) ** 2
        found = np.where(np.isnan(found), np.inf, np.sqrt(found / DRAWS))
    finite = np.isfinite(found)
    squares = np.where(finite, found, 0.0) ** 2
    floor = np.sqrt(squares.sum(axis=0) / np.maximum(finite.sum(axis=0), 1)) / 4
    deviation: Floats = np.maximum(found, floor)
    return deviation


def _without_sign_of_zero(found: Array, divisor: Array) -> Array:
    """Nobody agrees on a zero's sign, and so on that of an infinity by which it divides: its companions are none.

    onnxruntime, to name one, leaves out what adds 0, and ends a sum of −0 with 0.
    """
    if not isinstance(found, Moved):
        return found
    lost = (_exact(divisor) == 0) & np.isinf(found.exact)
    if not lost.any():
        return found
    return Moved(found.exact, tuple(np.where(lost, np.nan, companion) for companion in found.companions))


def _exact(value: Array) -> Array:
    return value.exact if isinstance(value, Moved) else value


def _each(function: Callable[..., Array], *values: Array) -> Array:
    """A function of each pass's values."""
    if not any(isinstance(value, Moved) for value in values):
        return function(*values)
    companions = (
        function(*(value.companions[number] if isinstance(value, Moved) else value for value in values))
        for number in range(DRAWS)
    )
    return Moved(function(*map(_exact, values)), tuple(companions))


@cache
def _table() -> Floats:
    """Draws of variance 1, times 2⁻²⁴."""
    raw = np.frombuffer(shake_256(_TAG).digest(4 * (_TABLE + _STARTS)), "<u4")
    return (raw / 2.0**31 - 1) * 3**0.5 * _UNIT


def _noise(seed: int, number: int, shape: tuple[int, ...]) -> Floats:
    """Draws for one result: a run of the table, from a place that seed and number tell."""
    start = _mixed(seed ^ _mixed(number)) % _STARTS
    size = int(np.prod(shape))
    if size <= _TABLE:
        return _table()[start : start + size].reshape(shape)
    return np.resize(_table()[start : start + _TABLE], shape)


def _mixed(number: int) -> int:
    """SplitMix64 (Steele, Lea and Flood 2014)."""
    number = (number + 0x9E3779B97F4A7C15) & (2**64 - 1)
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return number ^ (number >> 31)
