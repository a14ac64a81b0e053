"""Products of matrices."""

from collections.abc import Mapping, Sequence
from typing import Final

from fedcoin_cli.learning.graph.namespace import Array, Namespace
from fedcoin_cli.learning.graph.operations.operation import (
    FLAG,
    Arrays,
    Operation,
    Setting,
    Settings,
    Types,
    floats,
    floats_first,
    given,
    number,
    one_at_most,
)
from fedcoin_cli.learning.graph.tensor_type import Misfit, TensorType, broadcast


def _matmul_typed(_: Settings, types: Types) -> tuple[TensorType, ...]:
    first, second = floats(types)
    if min(first.rank, second.rank) < 2:
        raise Misfit(f"a matrix has two axes at least: {first} and {second}")
    return (_product(first, second),)


def _product(first: TensorType, second: TensorType) -> TensorType:
    """Of the last two axes; those before are stretched to each other."""
    if first.axis == first.rank - 1 or second.axis == second.rank - 2:
        raise Misfit(f"it would sum along the axis where the examples stand: {first} and {second}")
    if first.sizes[-1] != second.sizes[-2]:
        raise Misfit(f"{first.sizes[-1]} columns meet {second.sizes[-2]} rows: {first} and {second}")
    outer, axis = broadcast(*(_outer(one) for one in (first, second)))
    inner = [first.axis == first.rank - 2, second.axis == second.rank - 1]
    if sum(inner) + (axis is not None) > 1:
        raise Misfit(f"every example would meet every other one: {first} and {second}")
    if any(inner):
        axis = len(outer) + inner.index(True)
    return first.of((*outer, first.sizes[-2], second.sizes[-1]), axis)


def _outer(one: TensorType) -> TensorType:
    outside = one.axis is not None and one.axis < one.rank - 2
    return one.of(one.sizes[:-2], one.axis if outside else None)


def _matmul_work(_: Settings, types: Types, outputs: Sequence[TensorType], examples: int) -> int:
    (first,) = given(types[:1])
    return 2 * outputs[0].count(examples) * first.sizes[-1]


def _turned(one: TensorType, turn: int) -> TensorType:
    if one.rank != 2:
        raise Misfit(f"a matrix has two axes: {one}")
    if not turn:
        return one
    return one.of(one.sizes[::-1], None if one.axis is None else 1 - one.axis)


def _gemm_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    first, second, *rest = floats_first(types, 2)
    product = _product(_turned(first, its["transA"]), _turned(second, its["transB"]))
    if rest and broadcast(product, rest[0]) != (product.sizes, product.axis):
        raise Misfit(f"what is added has another shape: {product} and {rest[0]}")
    return (product,)


def _gemm(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    a, b = values[:2]
    a = xp.transpose(a, (1, 0)) if its["transA"] else a
    b = xp.transpose(b, (1, 0)) if its["transB"] else b
    y = _times(xp, xp.matmul(a, b), its["alpha"])
    if len(values) == 3 and values[2] is not None:
        y = xp.add(y, _times(xp, values[2], its["beta"]))
    return (y,)


def _times(xp: Namespace, x: Array, factor: float) -> Array:
    return x if factor == 1 else xp.multiply(x, factor)


def _gemm_work(its: Settings, types: Types, outputs: Sequence[TensorType], examples: int) -> int:
    (first,) = given(types[:1])
    return 2 * outputs[0].count(examples) * first.sizes[0 if its["transA"] else 1]


PRODUCTS: Final[Mapping[str, Operation]] = {
    "MatMul": Operation(
        (2, 2), _matmul_typed, lambda xp, _, x: (xp.matmul(*x),), work=_matmul_work, affine=one_at_most
    ),
    "Gemm": Operation(
        (2, 3),
        _gemm_typed,
        _gemm,
        {
            "alpha": Setting(number, 1.0),
            "beta": Setting(number, 1.0),
            "transA": Setting(FLAG, 0),
            "transB": Setting(FLAG, 0),
        },
        work=_gemm_work,
        affine=one_at_most,
    ),
}
