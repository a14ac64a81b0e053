"""Sums, means and largest values along axes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from fedcoin_cli.learning.graph.namespace import Array, Namespace
from fedcoin_cli.learning.graph.operations.operation import (
    AXES,
    FLAG,
    Arrays,
    Depends,
    Operation,
    Setting,
    Settings,
    Types,
    always,
    floats,
    given,
    never,
    numbers,
)
from fedcoin_cli.learning.graph.operations.windows import mean
from fedcoin_cli.learning.graph.tensor_type import TensorType

Reduce = Callable[[Namespace, Array, Sequence[int], bool], Array]


def _typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    (x,) = numbers(types)
    axes = x.inner(its["axes"], "reduce")
    sizes = [1 if place in axes else size for place, size in enumerate(x.sizes)]
    if its["keepdims"]:
        return (x.of(sizes, x.axis),)
    kept = [place for place in range(x.rank) if place not in axes]
    return (x.of([sizes[place] for place in kept], None if x.axis is None else kept.index(x.axis)),)


def _typed_floats(its: Settings, types: Types) -> tuple[TensorType, ...]:
    floats(types)
    return _typed(its, types)


def _work(_: Settings, types: Types, __: object, examples: int) -> int:
    (x,) = given(types[:1])
    return x.count(examples)


def _reduction(
    reduce: Reduce, affine: Callable[[Settings, Depends], bool] = never, *, whole: bool = True
) -> Operation:
    def run(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
        rank = len(xp.shape(values[0]))
        axes = sorted(axis % rank for axis in its["axes"])
        return (reduce(xp, values[0], axes, bool(its["keepdims"])),)

    settings = {"axes": AXES, "keepdims": Setting(FLAG, 1)}
    return Operation((1, 1), _typed if whole else _typed_floats, run, settings, work=_work, affine=affine)


REDUCTIONS: Final[Mapping[str, Operation]] = {
    "ReduceSum": _reduction(lambda xp, x, axes, keep: xp.sum(x, axes, keepdims=keep), always),
    "ReduceMean": _reduction(lambda xp, x, axes, keep: mean(xp, x, axes, keepdims=keep), always, whole=False),
    "ReduceMax": _reduction(lambda xp, x, axes, keep: xp.max(x, axes, keepdims=keep)),
    "ReduceMin": _reduction(lambda xp, x, axes, keep: xp.min(x, axes, keepdims=keep)),
}
