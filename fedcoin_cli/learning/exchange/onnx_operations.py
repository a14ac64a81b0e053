"""What each operation of ONNX becomes in a graph: most keep their name; constant inputs become attributes.

A function takes a node and gives what its outputs are. Operations without a function are refused; so is every
attribute that none of them reads.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from fedcoin_cli.learning.exchange.folding import EXAMPLES, Folded
from fedcoin_cli.learning.exchange.onnx_node import OnnxNode, Rows, Value

Translation = Callable[[OnnxNode], Sequence[Value]]

_MOST: Final = 2**31 - 1
# ONNX's codes of kinds; float64 and int64 are read as their shorter ones, as a graph has no others.
_KINDS: Final[Mapping[int, int]] = {1: 1, 11: 1, 6: 6, 7: 6, 5: 6, 3: 6, 2: 6, 9: 9}
_CODES: Final[Mapping[str, int]] = {"float32": 1, "int32": 6, "bool": 9}
_UNCHANGED: Final = (
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Neg",
    "Abs",
    "Sqrt",
    "Reciprocal",
    "Exp",
    "Log",
    "Erf",
    "Tanh",
    "Sigmoid",
    "Relu",
    "Softplus",
    "HardSwish",
    "Min",
    "Max",
    "Where",
    "Equal",
    "Less",
    "Greater",
    "LessOrEqual",
    "GreaterOrEqual",
    "And",
    "Or",
    "Not",
    "MatMul",
    "GlobalAveragePool",
)
_SAME_BEHIND: Final = "SAME_UPPER"


def _plain(*attributes: str) -> Translation:
    """Of the same name here, with these attributes."""

    def translate(node: OnnxNode) -> Sequence[Value]:
        node.only(*attributes)
        return [node.make(node.operation, *node.every(), **node.attributes)]

    return translate


def _same(node: OnnxNode) -> Sequence[Value]:
    """Nothing happens to the first input."""
    return [node.value(0)]


# Shapes ----------------------------------------------------------------------------------------------------------


def _shape(node: OnnxNode) -> Sequence[Value]:
    node.only("start", "end")
    cut = slice(node.attributes.get("start", 0), node.attributes.get("end"))
    return [Folded.each(lambda which: np.array(node.shapes()[which][cut], np.int64))]


def _size(node: OnnxNode) -> Sequence[Value]:
    return [Folded.each(lambda which: np.array(prod(node.shapes()[which]), np.int64))]


def _reshape(node: OnnxNode) -> Sequence[Value]:
    node.only("allowzero")
    asked, value = node.needed(1, "shape"), node.value(0)

    def whole(which: int) -> Any:
        sizes, own = [int(size) for size in asked.values[which].ravel()], node.shapes()[which]
        if not node.attributes.get("allowzero"):
            sizes = [
                own[place] if size == 0 and place < len(own) else size for place, size in enumerate(sizes)
            ]
        if -1 in sizes:
            rest = prod(size for size in sizes if size != -1)
            sizes[sizes.index(-1)] = prod(own) // rest if rest else 0
        return sizes

    sizes, place = node.settled(Folded.each(whole).sizes)
    shape = [-1 if number == place else size for number, size in enumerate(sizes)]
    x = node.maker.types[value.name if isinstance(value, Rows) else node.computed(0)]
    if isinstance(value, Rows):
        if place == x.axis and sizes[: x.rank - 1] == x.sizes[:-1]:
            return [node.make("Reshape", value.name, shape=shape)]
    elif len(sizes) == 2 and place == 0 and x.axis and prod(x.sizes[x.axis + 1 :]) == sizes[1]:
        kept = [0] * (x.axis + 1)
        return [Rows(node.make("Reshape", node.computed(0), shape=[*kept, sizes[1]]))]
    return [node.make("Reshape", node.computed(0), shape=shape)] if tuple(sizes) != x.sizes else _same(node)


def _expand(node: OnnxNode) -> Sequence[Value]:
    asked = node.needed(1, "shape")
    sizes, place = node.settled(asked.sizes)
    if place is not None and sizes[place] != 1:
        node.refuse("it repeats something several times for each example")
    # Where examples stand, what is the same for all of them stays 1 long.
    shape = [1 if number == place else size for number, size in enumerate(sizes)]
    own = node.type().sizes
    if len(shape) <= len(own) and all(
        size in {1, had} for size, had in zip(shape[::-1], own[::-1], strict=False)
    ):
        return _same(node)
    return [node.make("Expand", node.computed(0), shape=shape)]


def _tile(node: OnnxNode) -> Sequence[Value]:
    repeats = node.needed(1, "repeats")
    sizes, place = node.settled(repeats.sizes)
    own = node.type().sizes
    if any(size > 1 and own[number] > 1 for number, size in enumerate(sizes) if number != place):
        node.refuse("it repeats an axis that is longer than 1", "use expand or broadcasting")
    shape = [1 if number == place else size for number, size in enumerate(sizes)]
    return [node.make("Expand", node.computed(0), shape=shape)] if max(shape) > 1 else _same(node)


def _flatten(node: OnnxNode) -> Sequence[Value]:
    node.only("axis")
    return [node.make("Flatten", node.computed(0), axis=node.attributes.get("axis", 1))]


def _squeeze(node: OnnxNode) -> Sequence[Value]:
    node.only("axes")
    axes = node.numbers(1, "axes", "axes")
    if axes is None:
        axes = tuple(place for place, size in enumerate(node.shapes()[0]) if size == 1)
    return [node.make("Squeeze", node.computed(0), axes=axes)] if axes else _same(node)


def _unsqueeze(node: OnnxNode) -> Sequence[Value]:
    node.only("axes")
    axes = node.numbers(1, "axes", "axes")
    return [node.make("Unsqueeze", node.computed(0), axes=axes)] if axes else _same(node)


def _transpose(node: OnnxNode) -> Sequence[Value]:
    node.only("perm")
    order = node.attributes.get("perm", range(node.type().rank)[::-1])
    return [node.make("Transpose", node.computed(0), perm=tuple(order))]


def _slice(node: OnnxNode) -> Sequence[Value]:
    node.only("starts", "ends", "axes")
    starts, ends = (node.numbers(place, what, what) or () for place, what in ((1, "starts"), (2, "ends")))
    axes = node.numbers(3, "axes", "axes") or tuple(range(len(starts)))
    steps = node.numbers(4, "steps") or (1,) * len(starts)
    x, cuts = node.type(), []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = axis % x.rank
        if at == x.axis and (start, step) == (0, 1) and end >= EXAMPLES[1]:
            continue  # all examples
        cuts.append((max(-_MOST, min(start, _MOST)), max(-_MOST, min(end, _MOST)), at, step))
    if not cuts:
        return _same(node)
    begun, ended, placed, stepped = (tuple(column) for column in zip(*cuts, strict=True))
    return [node.make("Slice", node.computed(0), starts=begun, ends=ended, axes=placed, steps=stepped)]


def _split(node: OnnxNode) -> Sequence[Value]:
    node.only("axis", "split", "num_outputs")
    axis = node.attributes.get("axis", 0)
    sizes = node.numbers(1, "split", "split")
    if sizes is None:
        whole, parts = node.type().sizes[axis], node.attributes.get("num_outputs", node.outputs)
        each = -(-whole // parts)
        sizes = tuple(min(each, whole - each * number) for number in range(parts))
    made = node.make("Split", node.computed(0), outputs=len(sizes), axis=axis, split=sizes)
    return [made] if isinstance(made, str) else list(made)


def _pad(node: OnnxNode) -> Sequence[Value]:
    node.only("mode", "pads", "value")
    if node.attributes.get("mode", "constant") != "constant":
        node.refuse(f"padding by {node.attributes['mode']} is not understood", "pad with a constant")
    rank = node.type().rank
    pads, axes = node.numbers(1, "pads", "pads") or (), node.numbers(3, "axes")
    if axes is not None:
        whole = [0] * (2 * rank)
        for number, axis in enumerate(axes):
            whole[axis % rank], whole[axis % rank + rank] = pads[number], pads[number + len(axes)]
        pads = tuple(whole)
    value = node.scalar(2, "value", "value")
    return [node.make("Pad", node.computed(0), pads=pads, value=value)] if any(pads) else _same(node)


# Arithmetic ------------------------------------------------------------------------------------------------------


def _power(node: OnnxNode) -> Sequence[Value]:
    return [node.make("Pow", node.computed(0), exponent=node.scalar(1, "exponent"))]


def _clip(node: OnnxNode) -> Sequence[Value]:
    node.only("min", "max")
    least, most = node.scalar(1, "least value", "min"), node.scalar(2, "largest value", "max")
    return [node.make("Clip", node.computed(0), min=least, max=most)]


def _cast(node: OnnxNode) -> Sequence[Value]:
    node.only("to", "saturate", "round_mode")
    return _to(node, node.attributes["to"])


def _cast_like(node: OnnxNode) -> Sequence[Value]:
    node.only("saturate", "round_mode")
    like = node.inputs[1]
    if isinstance(like, Folded):
        return _to(node, {"f": 1, "i": 6, "u": 6, "b": 9}[like.values[0].dtype.kind])
    return _to(node, _CODES[node.type(1).kind])


def _to(node: OnnxNode, code: int) -> Sequence[Value]:
    if code not in _KINDS:
        node.refuse("it makes numbers of less than 32 bits, or none", "export the model in float32")
    if _CODES[node.type().kind] == _KINDS[code]:
        return _same(node)
    return [node.make("Cast", node.computed(0), to=_KINDS[code])]


def _gelu(node: OnnxNode) -> Sequence[Value]:
    node.only("approximate")
    tanh = node.attributes.get("approximate", "none") == "tanh"
    return [node.make("Gelu", node.computed(0), approximate=1 if tanh else None)]


def _not_a_number(node: OnnxNode) -> Sequence[Value]:
    x = node.computed(0)
    return [node.make("Not", node.make("Equal", x, x))]


def _sum(node: OnnxNode) -> Sequence[Value]:
    first, *others = node.every()
    for other in others:
        first = node.make("Add", first, other)
    return [first]


def _sloped(node: OnnxNode) -> Sequence[Value]:
    """PRelu: a slope below 0 that is trained."""
    x, zero = node.computed(0), node.maker.constant(np.float32(0))
    below = node.make("Mul", node.make("Min", x, zero), node.computed(1))
    return [node.make("Add", node.make("Relu", x), below)]


def _swish(node: OnnxNode) -> Sequence[Value]:
    node.only()
    return [node.make("Mul", node.computed(0), node.make("Sigmoid", node.computed(0)))]


def _mish(node: OnnxNode) -> Sequence[Value]:
    return [node.make("Mul", node.computed(0), node.make("Tanh", node.make("Softplus", node.computed(0))))]


def _softsign(node: OnnxNode) -> Sequence[Value]:
    x = node.computed(0)
    return [node.make("Div", x, node.make("Add", node.make("Abs", x), node.maker.constant(np.float32(1))))]


# Reductions, products, windows -----------------------------------------------------------------------------------


def _reduce(node: OnnxNode, operation: str = "", x: str = "") -> Sequence[Value]:
    node.only("axes", "keepdims", "noop_with_empty_axes")
    axes = node.numbers(1, "axes", "axes")
    if not axes:
        if node.attributes.get("noop_with_empty_axes"):
            return _same(node)
        axes = tuple(range(node.type().rank))
    keep = node.attributes.get("keepdims", 1)
    return [node.make(operation or node.operation, x or node.computed(0), axes=axes, keepdims=keep)]


def _reduce_squares(node: OnnxNode) -> Sequence[Value]:
    squares = node.make("Mul", node.computed(0), node.computed(0))
    (whole,) = _reduce(node, "ReduceSum", squares)
    assert isinstance(whole, str)
    return [node.make("Sqrt", whole) if node.operation == "ReduceL2" else whole]


def _gemm(node: OnnxNode) -> Sequence[Value]:
    node.only("alpha", "beta", "transA", "transB")
    rows = node.inputs[0]
    if isinstance(rows, Rows) and not node.attributes.get("transA"):
        weights = node.computed(1)
        if node.attributes.get("transB"):
            weights = node.make("Transpose", weights, perm=(1, 0))
        made = node.make("MatMul", rows.name, weights)
        return [Rows(node.make("Add", made, node.computed(2)) if node.has(2) else made)]
    return [node.make("Gemm", *node.every(), **node.attributes)]


def _window(node: OnnxNode, size: Sequence[int]) -> dict[str, Any]:
    """Where windows stand; pads that ONNX leaves to whoever reads it are computed."""
    its = node.attributes
    found = {name: its[name] for name in ("strides", "pads", "dilations") if name in its}
    strides = its.get("strides") or [1] * len(size)
    dilations = its.get("dilations") or [1] * len(size)
    spread = [(window - 1) * wide + 1 for window, wide in zip(size, dilations, strict=True)]
    match its.get("auto_pad", "NOTSET"):
        case "NOTSET" | "VALID":
            pass
        case how:
            before, after = [], []
            for length, stride, window in zip(node.type().sizes[2:], strides, spread, strict=True):
                missing = max((-(-length // stride) - 1) * stride + window - length, 0)
                less, more = missing // 2, missing - missing // 2
                before.append(less if how == _SAME_BEHIND else more)
                after.append(more if how == _SAME_BEHIND else less)
            found["pads"] = before + after
    if its.get("ceil_mode"):
        pads = found.get("pads") or [0] * (2 * len(size))
        for place, length in enumerate(node.type().sizes[2:]):
            if (length + pads[place] + pads[place + len(size)] - spread[place]) % strides[place]:
                node.refuse(
                    "windows that reach beyond the edge (ceil_mode) are not understood", "use padding"
                )
    return found


def _convolution(node: OnnxNode) -> Sequence[Value]:
    node.only("kernel_shape", "strides", "pads", "dilations", "group", "auto_pad")
    size = node.type(1).sizes[2:]
    made = node.make("Conv", *node.every(), group=node.attributes.get("group"), **_window(node, size))
    return [made]


def _pool(node: OnnxNode) -> Sequence[Value]:
    node.only("kernel_shape", "strides", "pads", "dilations", "auto_pad", "ceil_mode", "count_include_pad")
    if node.outputs > 1:
        node.refuse("it also gives the places of the largest values", "return values alone")
    size, window = node.attributes["kernel_shape"], _window(node, node.attributes["kernel_shape"])
    if node.operation == "AveragePool":
        if any(wide != 1 for wide in window.pop("dilations", ())):
            node.refuse("an average of a dilated window is not understood")
        window["count_include_pad"] = node.attributes.get("count_include_pad")
    return [node.make(node.operation, node.computed(0), kernel_shape=size, **window)]


def _global_max(node: OnnxNode) -> Sequence[Value]:
    return [node.make("ReduceMax", node.computed(0), axes=tuple(range(2, node.type().rank)), keepdims=1)]


# Normalisations and recurrent layers -----------------------------------------------------------------------------


def _batch_norm(node: OnnxNode) -> Sequence[Value]:
    node.only("epsilon", "training_mode", "spatial")
    if node.attributes.get("training_mode") or node.outputs > 1:
        node.refuse("it normalises by the examples of a batch", "export the model in eval mode: model.eval()")
    return [node.make("BatchNormalization", *node.every(), epsilon=node.attributes.get("epsilon"))]


def _layer_norm(node: OnnxNode) -> Sequence[Value]:
    node.only("axis", "epsilon")
    return [node.make("LayerNormalization", *node.every(), **_meant(node, "axis", "epsilon"))]


def _dropout(node: OnnxNode) -> Sequence[Value]:
    training = node.known(2, "mode")
    if training is not None and node.settled(training.fixed).any():
        node.refuse("it drops values at random", "export the model in eval mode: model.eval()")
    return _same(node)


def _recurrent(node: OnnxNode) -> Sequence[Value]:
    node.only("hidden_size", "direction", "layout", "linear_before_reset", "activations", "input_forget")
    its = node.attributes
    if its.get("layout") or its.get("input_forget"):
        node.refuse("this layout of a recurrent layer is not understood")
    usual = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}[node.operation]
    if its.get("activations", usual) not in (usual, usual * 2):
        node.refuse(f"a {node.operation} with other activations than {', '.join(usual)} is not understood")
    inputs = [node.computed(number) for number in range(4)]
    inputs.append(_lengths(node))
    inputs += [_begin(node, number) for number in (5, 6)]
    if node.has(7):
        node.refuse("peepholes are not understood")
    more = {"linear_before_reset": its.get("linear_before_reset")} if node.operation == "GRU" else {}
    reverse = 1 if its.get("direction") == "reverse" else None
    outputs = {"LSTM": 3, "GRU": 2}[node.operation]
    if node.operation == "GRU":
        inputs = inputs[:6]
    made = node.make(
        node.operation, *inputs, outputs=outputs, hidden_size=its["hidden_size"], reverse=reverse, **more
    )
    return list(made)


def _lengths(node: OnnxNode) -> str:
    """Nothing, where all sequences are as long as they can be."""
    if not node.has(4):
        return ""
    lengths = node.inputs[4]
    if not isinstance(lengths, Folded) or any((one != node.type().sizes[0]).any() for one in lengths.values):
        node.refuse("sequences of different lengths are not understood", "mask what is padded")
    return ""


def _begin(node: OnnxNode, number: int) -> str:
    """A state at the beginning; nothing where it is zero, as it is then."""
    value = node.inputs[number] if node.has(number) else None
    if isinstance(value, Folded) and not any(one.any() for one in value.values):
        return ""
    return node.computed(number)


def _meant(node: OnnxNode, *names: str) -> dict[str, Any]:
    return {name: node.attributes[name] for name in names if name in node.attributes}


TRANSLATIONS: Final[Mapping[str, Translation]] = {
    **{name: _plain() for name in _UNCHANGED},
    "LeakyRelu": _plain("alpha"),
    "Elu": _plain("alpha"),
    "Selu": _plain("alpha", "gamma"),
    "HardSigmoid": _plain("alpha", "beta"),
    "Softmax": _plain("axis"),
    "LogSoftmax": _plain("axis"),
    "Gather": _plain("axis"),
    "Concat": _plain("axis"),
    "InstanceNormalization": _plain("epsilon"),
    "GroupNormalization": _plain("epsilon", "num_groups"),
    "Identity": _same,
    "Shape": _shape,
    "Size": _size,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Pow": _power,
    "Clip": _clip,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Gelu": _gelu,
    "IsNaN": _not_a_number,
    "Sum": _sum,
    "PRelu": _sloped,
    "Swish": _swish,
    "Mish": _mish,
    "Softsign": _softsign,
    "ReduceSum": _reduce,
    "ReduceMean": _reduce,
    "ReduceMax": _reduce,
    "ReduceMin": _reduce,
    "ReduceL2": _reduce_squares,
    "ReduceSumSquare": _reduce_squares,
    "Gemm": _gemm,
    "Conv": _convolution,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalMaxPool": _global_max,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Dropout": _dropout,
    "LSTM": _recurrent,
    "GRU": _recurrent,
}
"""Of ONNX's operations, those that have a meaning in a graph."""
