"""A graph's nodes in ONNX's own words (opset 21): what is an attribute here and an input there is put back.

Shapes are those of so many examples, so nothing is left to be found out at run time. A few operations are composed of
others where onnxruntime's own are too coarse or lose what is no number: its sigmoid is off by 1e-7 whatever the result,
its Elu by as much near 0, its Clip makes infinity a number, its GroupNormalization cancels.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.graph.graph import Kind, Node
from fedcoin_cli.learning.graph.operations.operation import Settings
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.graph.tensor_type import TensorType

_OPSET: Final = 21
_IR: Final = 10
"""The format that goes with it: onnxruntime has read both since 1.18."""
_KINDS: Final = {Kind.float32: np.float32, Kind.int32: np.int32, Kind.bool: np.bool_}
_FLOAT32, _INT32 = 1, 6

Form = Callable[["Scribe", Node, Settings], None]


class Scribe:
    """A model in the making. Values get names of their own: those of a graph may be any text.

    Args:
        types: of every value.
        examples: how many there are.
        read: the values that anything reads.
    """

    def __init__(self, types: Mapping[str, TensorType], examples: int, read: Collection[str]) -> None:
        self.read = read
        self._helper = import_module("onnx.helper")
        self._types, self._examples = types, examples
        self._names: dict[str, str] = {}
        self._nodes: list[Any] = []
        self._initial: list[Any] = []
        self._made = 0
        self._watched: list[str] = []

    def name(self, value: str) -> str:
        """What a value of the graph is called here."""
        return self._names.setdefault(value, f"v{len(self._names)}") if value else ""

    def names(self, values: Sequence[str]) -> list[str]:
        return [self.name(value) for value in values]

    def kind(self, value: str) -> Kind:
        return self._types[value].kind

    def rank(self, value: str) -> int:
        return self._types[value].rank

    def shape(self, value: str) -> tuple[int, ...]:
        """Of all examples."""
        return self._types[value].shape(self._examples)

    def number(self, value: float) -> str:
        """A number of float32."""
        return self.constant(np.array(value, np.float32))

    def integers(self, values: Sequence[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def constant(self, values: npt.NDArray[Any]) -> str:
        """An array that the model holds."""
        return self._hold(self.unnamed(), values)

    def held(self, value: str, values: npt.NDArray[Any]) -> None:
        """A value of the graph that the model holds."""
        self._hold(self.name(value), values)

    def op(self, operation: str, *inputs: str, into: str = "", **attributes: Any) -> str:
        """One node of one output, whose name is returned."""
        name = into or self.unnamed()
        self.node(operation, inputs, [name], attributes)
        return name

    def node(
        self, operation: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any]
    ) -> None:
        self._nodes.append(self._helper.make_node(operation, inputs, outputs, **attributes))

    def write(self, node: Node) -> None:
        """A node of the graph."""
        its = OPERATIONS[node.operation].completed(OPERATIONS[node.operation].checked(node.attributes))
        _FORMS.get(node.operation, _plain)(self, node, its)

    def watch(self, value: str) -> None:
        """A value is read by something that drops what is no number: the model's second output tells of it."""
        axes = self.integers(range(self.rank(value)))
        self._watched.append(self.op("ReduceSum", self.name(value), axes, keepdims=0))

    def text(self, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
        """The model of these inputs, as a file has it."""
        made = [self._described(value) for value in outputs]
        if self._watched:
            told = self.op("Sum", *self._watched)
            made.append(self._helper.make_tensor_value_info(told, _FLOAT32, []))
        given = [self._described(value) for value in inputs]
        graph = self._helper.make_graph(self._nodes, "rest", given, made, self._initial)
        opset = [self._helper.make_opsetid("", _OPSET)]
        text: bytes = self._helper.make_model(graph, opset_imports=opset, ir_version=_IR).SerializeToString()
        return text

    def unnamed(self) -> str:
        """A name that no value of the graph has."""
        self._made += 1
        return f"m{self._made}"

    def _hold(self, name: str, values: npt.NDArray[Any]) -> str:
        made = import_module("onnx.numpy_helper").from_array(np.asarray(values, order="C"), name)
        self._initial.append(made)
        return name

    def _described(self, value: str) -> Any:
        kind = self._helper.np_dtype_to_tensor_dtype(np.dtype(_KINDS[self.kind(value)]))
        return self._helper.make_tensor_value_info(self.name(value), kind, self.shape(value))


def written(
    nodes: Sequence[Node],
    types: Mapping[str, TensorType],
    examples: int,
    held: Mapping[str, npt.NDArray[Any]],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> tuple[bytes, dict[str, str]]:
    """Some nodes of a graph as ONNX, and what its inputs are called there.

    Where there is one output more and that is no finite number, the others may lack what is no number.

    Args:
        nodes: in order.
        types: of all values that these read and make.
        examples: how many.
        held: values that the model holds.
        inputs: values that it is given.
        outputs: values that it gives.
    """
    read = {name for node in nodes for name in node.inputs}.union(outputs)
    scribe = Scribe(types, examples, read)
    for name, values in held.items():
        scribe.held(name, values)
    for node in nodes:
        scribe.write(node)
    return scribe.text(inputs, outputs), {value: scribe.name(value) for value in inputs}


def _plain(scribe: Scribe, node: Node, its: Settings) -> None:
    """The same here and there; what is left out here is ONNX's default."""
    its = {name: value for name, value in its.items() if value is not None}
    scribe.node(node.operation, scribe.names(node.inputs), scribe.names(node.outputs), its)


def _laid(scribe: Scribe, node: Node, _: Settings) -> None:
    shape = scribe.integers(scribe.shape(node.outputs[0]))
    scribe.op("Reshape", scribe.name(node.inputs[0]), shape, into=scribe.name(node.outputs[0]))


def _expand(scribe: Scribe, node: Node, _: Settings) -> None:
    shape = scribe.integers(scribe.shape(node.outputs[0]))
    scribe.op("Expand", scribe.name(node.inputs[0]), shape, into=scribe.name(node.outputs[0]))


def _slice(scribe: Scribe, node: Node, its: Settings) -> None:
    places = range(len(its["starts"]))
    axes, steps = its["axes"] or tuple(places), its["steps"] or (1,) * len(places)
    cuts = [scribe.integers(one) for one in (its["starts"], its["ends"], axes, steps)]
    scribe.op("Slice", scribe.name(node.inputs[0]), *cuts, into=scribe.name(node.outputs[0]))


def _split(scribe: Scribe, node: Node, its: Settings) -> None:
    # All of them have names: releases of onnxruntime do not agree on those that are left out.
    unnamed = [scribe.unnamed() for _ in its["split"][len(node.outputs) :]]
    outputs = [scribe.name(name) or scribe.unnamed() for name in node.outputs] + unnamed
    parts = scribe.integers(its["split"])
    scribe.node("Split", [scribe.name(node.inputs[0]), parts], outputs, {"axis": its["axis"]})


def _pad(scribe: Scribe, node: Node, its: Settings) -> None:
    pads, value = scribe.integers(its["pads"]), scribe.number(its["value"])
    scribe.op("Pad", scribe.name(node.inputs[0]), pads, value, into=scribe.name(node.outputs[0]))


def _watched(form: Form) -> Form:
    """Of an operation in which onnxruntime drops what is no number, or keeps it, as it comes."""

    def written(scribe: Scribe, node: Node, its: Settings) -> None:
        for name in node.inputs:
            if name and scribe.kind(name) is Kind.float32:
                scribe.watch(name)
        form(scribe, node, its)

    return written


def _reduce(scribe: Scribe, node: Node, its: Settings) -> None:
    x, axes = scribe.name(node.inputs[0]), scribe.integers(its["axes"])
    scribe.op(node.operation, x, axes, into=scribe.name(node.outputs[0]), keepdims=its["keepdims"])


def _concat(scribe: Scribe, node: Node, its: Settings) -> None:
    """What is the same for all examples is repeated."""
    whole, axis = scribe.shape(node.outputs[0]), its["axis"] % scribe.rank(node.outputs[0])
    parts = []
    for value in node.inputs:
        own = scribe.shape(value)
        wanted = (*whole[:axis], own[axis], *whole[axis + 1 :])
        name = scribe.name(value)
        parts.append(name if own == wanted else scribe.op("Expand", name, scribe.integers(wanted)))
    scribe.op("Concat", *parts, into=scribe.name(node.outputs[0]), axis=axis)


def _gather(scribe: Scribe, node: Node, its: Settings) -> None:
    """Below 0 counts from the end, what is beyond either end is that end."""
    x, indices = scribe.names(node.inputs)
    size = scribe.shape(node.inputs[0])[its["axis"] % scribe.rank(node.inputs[0])]
    zero, all_of_them, last = (scribe.constant(np.array(one, np.int32)) for one in (0, size, size - 1))
    turned = scribe.op(
        "Where", scribe.op("Less", indices, zero), scribe.op("Add", indices, all_of_them), indices
    )
    kept = scribe.op("Min", scribe.op("Max", turned, zero), last)
    scribe.op("Gather", x, kept, into=scribe.name(node.outputs[0]), axis=its["axis"])


def _clip(scribe: Scribe, node: Node, its: Settings) -> None:
    x = scribe.name(node.inputs[0])
    if its["min"] is not None:
        x = scribe.op("Max", x, scribe.number(its["min"]))
    if its["max"] is not None:
        x = scribe.op("Min", x, scribe.number(its["max"]))
    scribe.op("Identity", x, into=scribe.name(node.outputs[0]))


def _power(scribe: Scribe, node: Node, its: Settings) -> None:
    scribe.op(
        "Pow",
        scribe.name(node.inputs[0]),
        scribe.number(its["exponent"]),
        into=scribe.name(node.outputs[0]),
    )


def _sigmoid(scribe: Scribe, node: Node, _: Settings) -> None:
    power = scribe.op("Exp", scribe.op("Neg", scribe.name(node.inputs[0])))
    whole = scribe.op("Add", power, scribe.number(1.0))
    scribe.op("Reciprocal", whole, into=scribe.name(node.outputs[0]))


def _elu(scribe: Scribe, node: Node, its: Settings) -> None:
    """exp(x) − 1 as 2t / (1 − t), where t is tanh(x / 2): near 0, too."""
    x = scribe.name(node.inputs[0])
    gamma = its.get("gamma", 1.0)
    below = scribe.op("Min", x, scribe.number(0.0))
    half = scribe.op("Tanh", scribe.op("Mul", below, scribe.number(0.5)))
    less = scribe.op("Div", half, scribe.op("Sub", scribe.number(1.0), half))
    negative = scribe.op("Mul", less, scribe.number(2.0 * its["alpha"] * gamma))
    positive = x if gamma == 1 else scribe.op("Mul", x, scribe.number(gamma))
    scribe.op(
        "Where",
        scribe.op("Less", x, scribe.number(0.0)),
        negative,
        positive,
        into=scribe.name(node.outputs[0]),
    )


def _gelu(scribe: Scribe, node: Node, its: Settings) -> None:
    scribe.op(
        "Gelu",
        scribe.name(node.inputs[0]),
        into=scribe.name(node.outputs[0]),
        approximate="tanh" if its["approximate"] else "none",
    )


def _cast(scribe: Scribe, node: Node, its: Settings) -> None:
    """NaN is 0 as an integer, and what no int32 holds is the largest: 2^30."""
    x = scribe.name(node.inputs[0])
    if its["to"] == _INT32 and scribe.kind(node.inputs[0]) is Kind.float32:
        bounded = scribe.op("Min", scribe.op("Max", x, scribe.number(-(2.0**30))), scribe.number(2.0**30))
        x = scribe.op("Where", scribe.op("Equal", x, x), bounded, scribe.number(0.0))
    scribe.op("Cast", x, into=scribe.name(node.outputs[0]), to=its["to"])


def _instances(scribe: Scribe, node: Node, its: Settings) -> None:
    """onnxruntime wants places behind the channels."""
    if scribe.rank(node.inputs[0]) > 2:
        _plain(scribe, node, its)
        return
    shape = scribe.shape(node.inputs[0])
    x = scribe.op("Reshape", scribe.name(node.inputs[0]), scribe.integers((*shape, 1)))
    made = scribe.op("InstanceNormalization", x, *scribe.names(node.inputs[1:]), epsilon=its["epsilon"])
    scribe.op("Reshape", made, scribe.integers(shape), into=scribe.name(node.outputs[0]))


def _groups(scribe: Scribe, node: Node, its: Settings) -> None:
    """ONNX's own takes the mean's square from the mean of squares: where the mean is large nothing is left of it."""
    shape, groups = scribe.shape(node.inputs[0]), its["num_groups"]
    x, scale, bias = scribe.names(node.inputs)
    apart = scribe.op("Reshape", x, scribe.integers((shape[0], groups, prod(shape[1:]) // groups)))
    one, zero = (scribe.constant(np.full(groups, each, np.float32)) for each in (1.0, 0.0))
    alike = scribe.op("InstanceNormalization", apart, one, zero, epsilon=its["epsilon"])
    along = scribe.integers((1, shape[1], *(1,) * (len(shape) - 2)))
    factor, offset = (scribe.op("Reshape", each, along) for each in (scale, bias))
    scaled = scribe.op("Mul", scribe.op("Reshape", alike, scribe.integers(shape)), factor)
    scribe.op("Add", scaled, offset, into=scribe.name(node.outputs[0]))


def _recurrent(scribe: Scribe, node: Node, its: Settings) -> None:
    its = dict(its)
    directions = scribe.shape(node.inputs[1])[0]
    direction = "bidirectional" if directions == 2 else "reverse" if its.pop("reverse") else "forward"
    its.pop("reverse", None)
    size = (directions, scribe.shape(node.inputs[0])[1], its["hidden_size"])
    inputs = scribe.names(node.inputs)
    for place, value in enumerate(node.inputs):
        if place > 4 and value and scribe.shape(value) != size:
            inputs[place] = scribe.op("Expand", inputs[place], scribe.integers(size))
    # All steps of a recurrent layer are much where only the last is read.
    outputs = [scribe.name(name) if name in scribe.read else "" for name in node.outputs]
    scribe.node(node.operation, inputs, outputs, {**its, "direction": direction})


_FORMS: Final[Mapping[str, Form]] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _laid),
    **dict.fromkeys(("ReduceSum", "ReduceMean"), _reduce),
    **dict.fromkeys(("ReduceMax", "ReduceMin"), _watched(_reduce)),
    "MaxPool": _watched(_plain),
    "Expand": _expand,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Concat": _concat,
    "Gather": _gather,
    "Clip": _clip,
    "Pow": _power,
    "Sigmoid": _sigmoid,
    "Elu": _elu,
    "Selu": _elu,
    "Gelu": _gelu,
    "Cast": _cast,
    "InstanceNormalization": _watched(_instances),
    "GroupNormalization": _watched(_groups),
    "LSTM": _watched(_recurrent),
    "GRU": _watched(_recurrent),
}
