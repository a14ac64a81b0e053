"""What moves entries and computes nothing: shapes, orders, parts, rows by index. To move one is work, too."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

from fedcoin_cli.learning.graph.graph import Kind
from fedcoin_cli.learning.graph.namespace import Array, Namespace
from fedcoin_cli.learning.graph.operations.operation import (
    AXES,
    AXIS,
    MOST,
    PLACES,
    Arrays,
    Operation,
    Setting,
    Settings,
    Types,
    always,
    first_only,
    given,
    integers,
    number,
    of_kind,
)
from fedcoin_cli.learning.graph.tensor_type import Misfit, TensorType, broadcast

_MOST_PARTS: Final = 1024
_SIZES: Final = integers(1, MOST)


def _one(types: Types) -> TensorType:
    return given(types)[0]


# Shapes ----------------------------------------------------------------------------------------------------------


def reshaped(x: TensorType, shape: Sequence[int]) -> TensorType:
    """`x` in ONNX's words for a shape: 0 keeps the input's size, −1 is what is left.

    One of them must stand for the examples, whose number no description knows. [P-12.16]
    """
    if shape.count(-1) > 1:
        raise Misfit(f"more than one size of {list(shape)} is left open")
    sizes = []
    for place, size in enumerate(shape):
        if size == 0 and place >= x.rank:
            raise Misfit(f"{list(shape)} keeps axis {place}, which {x} does not have")
        sizes.append(x.sizes[place] if size == 0 else size)
    kept = [place for place, size in enumerate(shape) if size == 0 and place == x.axis]
    rest = prod(size for size in sizes if size != -1)
    if -1 in sizes:
        if x.each % rest:
            raise Misfit(f"{x} does not make {list(shape)}")
        sizes[sizes.index(-1)] = x.each // rest
    if prod(sizes) != x.each:
        raise Misfit(f"{x} does not make {list(shape)}")
    if x.axis is None:
        return x.of(sizes, None)
    moved = kept[0] if kept else (list(shape).index(-1) if -1 in shape else None)
    if moved is None:
        raise Misfit(f"no size of {list(shape)} is 0 or −1 and stands for the examples of {x}")
    if prod(sizes[:moved]) != prod(x.sizes[: x.axis]):
        raise Misfit(f"{list(shape)} would mix the examples of {x}")
    return x.of(sizes, moved)


def _reshape(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    shape = xp.shape(values[0])
    sizes = [shape[place] if size == 0 else size for place, size in enumerate(its["shape"])]
    if -1 in sizes:
        sizes[sizes.index(-1)] = prod(shape) // prod(size for size in sizes if size != -1)
    return (xp.reshape(values[0], sizes),)


def _flatten_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    x = _one(types)
    axis = _flattened_at(its, x.rank)
    sizes = prod(x.sizes[:axis]), prod(x.sizes[axis:])
    if x.axis is None:
        return (x.of(sizes, None),)
    moved = 0 if x.axis < axis else 1
    if prod(x.sizes[axis * moved : x.axis]) != 1:
        raise Misfit(f"it would mix the examples of {x}")
    return (x.of(sizes, moved),)


def _flattened_at(its: Settings, rank: int) -> int:
    axis: int = its["axis"]
    if not -rank <= axis <= rank:
        raise Misfit(f"there is no axis {axis} among {rank}")
    return axis % rank if axis < 0 else axis


def _flatten(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    shape = xp.shape(values[0])
    axis = _flattened_at(its, len(shape))
    return (xp.reshape(values[0], (prod(shape[:axis]), prod(shape[axis:]))),)


def _squeeze_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    x = _one(types)
    axes = x.inner(its["axes"], "squeeze")
    if any(x.sizes[axis] != 1 for axis in axes):
        raise Misfit(f"axes {list(axes)} of {x} are not all 1 long")
    kept = [place for place in range(x.rank) if place not in axes]
    return (x.of([x.sizes[place] for place in kept], None if x.axis is None else kept.index(x.axis)),)


def _squeeze(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    shape = xp.shape(values[0])
    axes = {axis % len(shape) for axis in its["axes"]}
    return (xp.reshape(values[0], [size for place, size in enumerate(shape) if place not in axes]),)


def _unsqueezed(axes: Sequence[int], rank: int) -> list[int | None]:
    """Which of the old axes each new one is; None where it is inserted."""
    whole = rank + len(axes)
    if any(not -whole <= axis < whole for axis in axes) or len({axis % whole for axis in axes}) < len(axes):
        raise Misfit(f"axes {list(axes)} are not each one of {whole}")
    inserted, old = {axis % whole for axis in axes}, iter(range(rank))
    return [None if place in inserted else next(old) for place in range(whole)]


def _unsqueeze_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    x = _one(types)
    places = _unsqueezed(its["axes"], x.rank)
    sizes = [1 if place is None else x.sizes[place] for place in places]
    return (x.of(sizes, None if x.axis is None else places.index(x.axis)),)


def _unsqueeze(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    shape = xp.shape(values[0])
    places = _unsqueezed(its["axes"], len(shape))
    return (xp.reshape(values[0], [1 if place is None else shape[place] for place in places]),)


def _transpose_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    x, order = _one(types), its["perm"]
    if sorted(order) != list(range(x.rank)):
        raise Misfit(f"{list(order)} is no order of the axes of {x}")
    return (x.of([x.sizes[place] for place in order], None if x.axis is None else order.index(x.axis)),)


def _expand_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    x = _one(types)
    return (x.of(*broadcast(x, TensorType(x.kind, its["shape"]))),)


def _expand(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    return (xp.broadcast_to(values[0], _stretched(xp.shape(values[0]), its["shape"])),)


def _stretched(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """Two shapes, of which one has 1 wherever they differ, aligned at the end."""
    rank = max(len(one), len(other))
    pairs = ((1,) * (rank - len(shape)) + tuple(shape) for shape in (one, other))
    return tuple(b if a == 1 else a for a, b in zip(*pairs, strict=True))


# Parts -----------------------------------------------------------------------------------------------------------


def _concat_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    found = given(types)
    of_kind(found, *Kind)
    if len({one.rank for one in found}) > 1:
        raise Misfit("its inputs have different numbers of axes")
    axis = found[0].place(its["axis"])
    for one in found:
        one.inner([axis], "concatenate")
    # What is the same for all examples has 1 where they stand, and is repeated.
    without = [
        one.of([1 if place == axis else size for place, size in enumerate(one.sizes)], one.axis)
        for one in found
    ]
    sizes, examples = broadcast(*without)
    for one in without:
        if any(
            size not in (own, 1) or (size != own and place != examples)
            for place, (own, size) in enumerate(zip(sizes, one.sizes, strict=True))
        ):
            raise Misfit(f"shapes differ elsewhere than along axis {axis}")
    whole = sum(one.sizes[axis] for one in found)
    return (found[0].of([whole if place == axis else size for place, size in enumerate(sizes)], examples),)


def _concat(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    shapes = [xp.shape(value) for value in values]
    axis = its["axis"] % len(shapes[0])
    most = [max(sizes) for sizes in zip(*shapes, strict=True)]
    parts = []
    for value, shape in zip(values, shapes, strict=True):
        wanted = (*most[:axis], shape[axis], *most[axis + 1 :])
        parts.append(value if tuple(shape) == wanted else xp.broadcast_to(value, wanted))
    return (xp.concatenate(parts, axis),)


def _split_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    x = _one(types)
    (axis,) = x.inner([its["axis"]], "split")
    if sum(its["split"]) != x.sizes[axis]:
        raise Misfit(f"{list(its['split'])} do not add up to axis {axis} of {x}")
    return tuple(x.of((*x.sizes[:axis], size, *x.sizes[axis + 1 :]), x.axis) for size in its["split"])


def _split(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    axis, start, parts = its["axis"] % len(xp.shape(values[0])), 0, []
    for size in its["split"]:
        parts.append(xp.slice(values[0], axis, start, start + size))
        start += size
    return tuple(parts)


def _cuts(its: Settings, sizes: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """(axis, start, stop, step) of each axis that is cut, within it."""
    starts, ends = its["starts"], its["ends"]
    axes = its["axes"] or tuple(range(len(starts)))
    steps = its["steps"] or (1,) * len(starts)
    if len({len(starts), len(ends), len(axes), len(steps)}) > 1:
        raise Misfit("starts, ends, axes and steps differ in length")
    cuts = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        place = axis % len(sizes)
        cuts.append((place, *slice(start, end, step).indices(sizes[place])))
    return cuts


def _slice_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    x = _one(types)
    x.inner(its["axes"] or range(len(its["starts"])), "cut")
    sizes = list(x.sizes)
    for place, start, stop, step in _cuts(its, sizes):
        sizes[place] = len(range(start, stop, step))
        if not sizes[place]:
            raise Misfit(f"nothing of axis {place} of {x} is left")
    return (x.of(sizes, x.axis),)


def _slice(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    x = values[0]
    for place, start, stop, step in _cuts(its, xp.shape(x)):
        x = xp.slice(x, place, start, stop, step)
    return (x,)


def _pad_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    x, pads = _one(types), its["pads"]
    of_kind([x], Kind.float32)
    if len(pads) != 2 * x.rank:
        raise Misfit(f"pads has {len(pads)} numbers for {x.rank} axes, which have two each")
    added = [before + after for before, after in zip(pads[: x.rank], pads[x.rank :], strict=True)]
    if x.axis is not None and added[x.axis]:
        raise Misfit(f"it would add to axis {x.axis}, where the examples stand")
    return (x.of([size + more for size, more in zip(x.sizes, added, strict=True)], x.axis),)


def _pad(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    pads = its["pads"]
    pairs = list(zip(pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True))
    return (xp.pad(values[0], pairs, its["value"]),)


def _gather_typed(its: Settings, types: Types) -> tuple[TensorType, ...]:
    x, indices = given(types)
    of_kind([indices], Kind.int32)
    (axis,) = x.inner([its["axis"]], "pick")
    if x.axis is not None and indices.axis is not None:
        raise Misfit(f"every example would pick of every other one: {x} and {indices}")
    sizes = (*x.sizes[:axis], *indices.sizes, *x.sizes[axis + 1 :])
    examples = None
    if x.axis is not None:
        examples = x.axis if x.axis < axis else x.axis - 1 + indices.rank
    elif indices.axis is not None:
        examples = axis + indices.axis
    return (x.of(sizes, examples),)


def _gather(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    x, indices = values
    shape = xp.shape(x)
    axis = its["axis"] % len(shape)
    last = shape[axis] - 1
    # Below 0 counts from the end; what is beyond either end is that end, as test sets are not to be trusted.
    indices = xp.where(xp.less(indices, 0), xp.add(indices, shape[axis]), indices)
    return (xp.take(x, xp.minimum(xp.maximum(indices, 0), last), axis),)


def _moves(typed: Any, run: Any, settings: Mapping[str, Setting], **more: Any) -> Operation:
    return Operation((1, 1), typed, run, settings, affine=always, **more)


LAYOUT: Final[Mapping[str, Operation]] = {
    "Reshape": _moves(
        lambda its, types: (reshaped(_one(types), its["shape"]),),
        _reshape,
        {"shape": Setting(integers(-1, MOST, shortest=0), required=True)},
    ),
    "Flatten": _moves(_flatten_typed, _flatten, {"axis": Setting(AXIS, 1)}),
    "Squeeze": _moves(_squeeze_typed, _squeeze, {"axes": AXES}),
    "Unsqueeze": _moves(_unsqueeze_typed, _unsqueeze, {"axes": AXES}),
    "Transpose": _moves(
        _transpose_typed,
        lambda xp, its, x: (xp.transpose(x[0], its["perm"]),),
        {"perm": Setting(integers(0, 7), required=True)},
    ),
    "Expand": _moves(_expand_typed, _expand, {"shape": Setting(_SIZES, required=True)}),
    "Concat": Operation(
        (1, _MOST_PARTS),
        _concat_typed,
        _concat,
        {"axis": Setting(AXIS, required=True)},
        affine=always,
    ),
    "Split": _moves(
        _split_typed,
        _split,
        {"axis": Setting(AXIS, 0), "split": Setting(integers(1, MOST, longest=_MOST_PARTS), required=True)},
        outputs=_MOST_PARTS,
    ),
    "Slice": _moves(
        _slice_typed,
        _slice,
        {
            "starts": Setting(PLACES, required=True),
            "ends": Setting(PLACES, required=True),
            "axes": Setting(integers(-8, 7)),
            "steps": Setting(_SIZES),
        },
    ),
    "Pad": _moves(
        _pad_typed,
        _pad,
        {"pads": Setting(integers(0, MOST, longest=16), required=True), "value": Setting(number, 0.0)},
    ),
    "Gather": Operation((2, 2), _gather_typed, _gather, {"axis": Setting(AXIS, 0)}, affine=first_only),
}
