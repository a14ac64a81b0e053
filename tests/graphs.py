"""Everyday models as graphs, as tests need them: built by hand, with weights named as PyTorch's modules name them.

Each has a twin in `torch_twins`, from whose state_dict its weights come.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.graph.graph import Constant, Graph, Input, Kind, Node, Weight

Arrays = Mapping[str, npt.NDArray[Any]]


class Builder:
    """A graph in the making; methods give names of values."""

    def __init__(self, *inputs: Input) -> None:
        self.inputs, self.weights, self.frozen = inputs, list[Weight](), list[Weight]()
        self.constants, self.nodes = list[Constant](), list[Node]()

    def weight(self, name: str, *shape: int) -> str:
        self.weights.append(Weight(name, shape))
        return name

    def constant(self, values: Any, kind: Kind = Kind.float32) -> str:
        array = np.array(values)
        name = f"c{len(self.constants)}"
        self.constants.append(Constant(name, kind, array.shape, tuple(array.ravel().tolist())))
        return name

    def op(self, operation: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        first = f"v{len(self.nodes)}"
        names = (first,) if outputs == 1 else tuple(f"{first}.{number}" for number in range(outputs))
        self.nodes.append(Node(operation, inputs, names, attributes))
        return first if outputs == 1 else names

    def dense(self, x: str, name: str, inputs: int, units: int) -> str:
        """PyTorch's Linear of rows."""
        weight, bias = self.weight(f"{name}.weight", units, inputs), self.weight(f"{name}.bias", units)
        made: str = self.op("Gemm", x, weight, bias, transB=1)
        return made

    def dense_last(self, x: str, name: str, inputs: int, units: int) -> str:
        """PyTorch's Linear along the last of several axes."""
        weight, bias = self.weight(f"{name}.weight", units, inputs), self.weight(f"{name}.bias", units)
        product = self.op("MatMul", x, self.op("Transpose", weight, perm=(1, 0)))
        made: str = self.op("Add", product, bias)
        return made

    def norm(self, x: str, name: str, width: int) -> str:
        scale, bias = self.weight(f"{name}.weight", width), self.weight(f"{name}.bias", width)
        made: str = self.op("LayerNormalization", x, scale, bias)
        return made

    def batch_norm(self, x: str, name: str, channels: int) -> str:
        parts = ("weight", "bias", "running_mean", "running_var")
        made: str = self.op(
            "BatchNormalization", x, *(self.weight(f"{name}.{part}", channels) for part in parts)
        )
        return made

    def conv(self, x: str, name: str, shape: Sequence[int], **attributes: Any) -> str:
        weight, bias = self.weight(f"{name}.weight", *shape), self.weight(f"{name}.bias", shape[0])
        made: str = self.op("Conv", x, weight, bias, **attributes)
        return made

    def graph(self, output: str) -> Graph:
        return Graph(
            tuple(self.inputs),
            tuple(self.weights),
            tuple(self.frozen),
            tuple(self.constants),
            tuple(self.nodes),
            output,
        )


def floats(*shape: int) -> Input:
    return Input("x", Kind.float32, shape)


def mlp() -> Graph:
    make = Builder(floats(1, 28, 28))
    hidden = make.op("Relu", make.dense(make.op("Flatten", "x"), "fc1", 784, 128))
    return make.graph(make.dense(hidden, "fc2", 128, 10))


def cnn() -> Graph:
    """Two convolutions, each with BatchNorm, ReLU and max-pooling."""
    make = Builder(floats(1, 28, 28))
    x = "x"
    for number, channels in ((1, 1), (2, 16)):
        x = make.conv(x, f"conv{number}", (16 * number, channels, 3, 3))
        x = make.op("Relu", make.batch_norm(x, f"bn{number}", 16 * number))
        x = make.op("MaxPool", x, kernel_shape=(2, 2), strides=(2, 2))
    return make.graph(make.dense(make.op("Flatten", x), "fc", 800, 10))


def tabular(columns: int = 8) -> Graph:
    """One logit."""
    make, x, widths = Builder(floats(columns)), "x", (columns, 32, 16)
    for number in range(2):
        x = make.op("Sigmoid", make.dense(x, f"net.{2 * number}", widths[number], widths[number + 1]))
    return make.graph(make.dense(x, "net.4", 16, 1))


def lstm(hidden: int = 64) -> Graph:
    """PyTorch's LSTM over the rows of an image; its gates stand in the order input, forget, cell, output."""
    return _recurrent("LSTM", (0, 3, 1, 2), hidden)


def gru(hidden: int = 64) -> Graph:
    """PyTorch's GRU, likewise; its gates stand in the order reset, update, new."""
    return _recurrent("GRU", (1, 0, 2), hidden, linear_before_reset=1)


def _recurrent(operation: str, order: Sequence[int], hidden: int, **settings: int) -> Graph:
    """`order` has PyTorch's gates as ONNX orders them."""
    make = Builder(floats(28, 28))
    parts = {}
    for part, shape in (("weight_ih", (28,)), ("weight_hh", (hidden,)), ("bias_ih", ()), ("bias_hh", ())):
        name = make.weight(f"{operation.lower()}.{part}_l0", len(order) * hidden, *shape)
        gates = make.op("Split", name, outputs=len(order), axis=0, split=(hidden,) * len(order))
        parts[part] = make.op("Concat", *(gates[number] for number in order), axis=0)
    bias = make.op("Concat", parts["bias_ih"], parts["bias_hh"], axis=0)
    w, r, b = (
        make.op("Unsqueeze", each, axes=(0,)) for each in (parts["weight_ih"], parts["weight_hh"], bias)
    )
    x = make.op("Transpose", "x", perm=(1, 0, 2))
    _, last = make.op(operation, x, w, r, b, outputs=2, hidden_size=hidden, **settings)
    return make.graph(make.dense(make.op("Squeeze", last, axes=(0,)), "fc", hidden, 10))


def transformer(
    vocabulary: int = 6000, steps: int = 32, width: int = 64, heads: int = 4, layers: int = 2
) -> Graph:
    """Token ids to two classes; what is padded (0) is masked."""
    make, each = Builder(Input("ids", Kind.int32, (steps,))), width // heads
    kept = make.op("Cast", make.op("Not", make.op("Equal", "ids", make.constant(0, Kind.int32))), to=1)
    mask = make.op("Mul", make.op("Sub", make.constant(1.0), kept), make.constant(-1e4))
    mask = make.op("Unsqueeze", mask, axes=(1, 2))
    x = make.op("Gather", make.weight("emb.weight", vocabulary, width), "ids")
    x = make.op("Add", x, make.weight("pos", steps, width))
    for number in range(layers):
        name = f"blocks.{number}"
        joint = make.dense_last(make.norm(x, f"{name}.n1", width), f"{name}.qkv", width, 3 * width)
        joint = make.op("Reshape", joint, shape=(0, steps, 3, heads, each))
        query, key, value = (
            make.op("Squeeze", part, axes=(0,))
            for part in make.op(
                "Split", make.op("Transpose", joint, perm=(2, 0, 3, 1, 4)), outputs=3, axis=0, split=(1, 1, 1)
            )
        )
        scores = make.op("MatMul", query, make.op("Transpose", key, perm=(0, 1, 3, 2)))
        scores = make.op("Add", make.op("Div", scores, make.constant(each**0.5)), mask)
        seen = make.op("Transpose", make.op("MatMul", make.op("Softmax", scores), value), perm=(0, 2, 1, 3))
        seen = make.op("Reshape", seen, shape=(-1, steps, width))
        x = make.op("Add", x, make.dense_last(seen, f"{name}.o", width, width))
        inner = make.dense_last(make.norm(x, f"{name}.n2", width), f"{name}.f1", width, 2 * width)
        x = make.op("Add", x, make.dense_last(make.op("Gelu", inner), f"{name}.f2", 2 * width, width))
    x = make.norm(x, "n", width)
    weights = make.op("Unsqueeze", kept, axes=(2,))
    total = make.op("ReduceSum", make.op("Mul", x, weights), axes=(1,), keepdims=0)
    share = make.op("Clip", make.op("ReduceSum", weights, axes=(1,), keepdims=0), min=1.0)
    return make.graph(make.dense(make.op("Div", total, share), "out", width, 2))


def residual() -> Graph:
    """A convolution around which its input is led, an average over all places, two classes."""
    make = Builder(floats(3, 8, 8))
    x = make.op("Relu", make.conv("x", "stem", (8, 3, 3, 3), pads=(1, 1, 1, 1)))
    inner = make.op("Relu", make.conv(x, "inner", (8, 8, 3, 3), pads=(1, 1, 1, 1)))
    x = make.op("GlobalAveragePool", make.op("Add", x, inner))
    return make.graph(make.dense(make.op("Flatten", x), "out", 8, 2))


def tagger(vocabulary: int = 12, steps: int = 5, width: int = 8) -> Graph:
    """Token ids to a row of outputs for each token, the likes of what comes next; each sees those before it."""
    make = Builder(Input("ids", Kind.int32, (steps,)))
    x = make.op("Gather", make.weight("emb.weight", vocabulary, width), "ids")
    x = make.op("Add", x, make.weight("pos", steps, width))
    scores = make.op("MatMul", x, make.op("Transpose", x, perm=(0, 2, 1)))
    later = np.triu(np.full((steps, steps), -1e4), 1)
    seen = make.op("Softmax", make.op("Add", scores, make.constant(later)))
    x = make.op("Add", x, make.op("MatMul", seen, x))
    hidden = make.op("Gelu", make.dense_last(x, "inner", width, width))
    return make.graph(make.dense_last(hidden, "out", width, vocabulary))


def low_rank(width: int = 6, rank: int = 2, classes: int = 3) -> Graph:
    """x · W0, which is frozen, with LoRA's x · Aᵀ · Bᵀ beside it, twice of that, tanh, a dense layer."""
    make = Builder(floats(width))
    make.frozen.append(Weight("base", (width, width)))
    first, second = make.weight("lora.A", rank, width), make.weight("lora.B", width, rank)
    low = make.op("MatMul", "x", make.op("Transpose", first, perm=(1, 0)))
    low = make.op("MatMul", make.op("Identity", low), make.op("Transpose", second, perm=(1, 0)))
    whole = make.op("Add", make.op("MatMul", "x", "base"), make.op("Mul", low, make.constant(2.0)))
    return make.graph(make.dense(make.op("Tanh", whole), "out", width, classes))


def small() -> Graph:
    """A residual network with BatchNorm on images of 1 by 6 by 6, three classes."""
    make = Builder(floats(1, 6, 6))
    x = make.op("Relu", make.batch_norm(make.conv("x", "stem", (4, 1, 3, 3), pads=(1, 1, 1, 1)), "bn", 4))
    inner = make.op("Relu", make.conv(x, "inner", (4, 4, 3, 3), pads=(1, 1, 1, 1)))
    x = make.op("MaxPool", make.op("Add", x, inner), kernel_shape=(2, 2), strides=(2, 2))
    return make.graph(make.dense(make.op("Flatten", x), "out", 36, 3))


MODELS: Mapping[str, Callable[[], Graph]] = {
    "mlp": mlp,
    "cnn": cnn,
    "tabular": tabular,
    "lstm": lstm,
    "gru": gru,
    "transformer": transformer,
    "residual": residual,
}


def drawn_inputs(graph: Graph, examples: int, draw: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """Random inputs: normal numbers, and ids of which the later ones are padding."""
    found: dict[str, npt.NDArray[Any]] = {}
    rows = next((one.shape[0] for one in graph.weights if one.name == "emb.weight"), 6000)
    for one in graph.inputs:
        shape = (examples, *one.shape)
        if one.kind == Kind.float32:
            found[one.name] = draw.normal(size=shape).astype(np.float32)
        else:
            ids = draw.integers(1, rows, shape).astype(np.int32)
            found[one.name] = np.where(
                np.arange(one.shape[0]) < draw.integers(2, one.shape[0], (examples, 1)), ids, 0
            )
    return found


def drawn_weights(
    graph: Graph, draw: np.random.Generator, scale: float = 1.0
) -> dict[str, npt.NDArray[np.float32]]:
    """Random weights that keep values near 1 in size; variances are above 0."""
    found = {}
    for one in (*graph.weights, *graph.frozen):
        fan = int(np.prod(one.shape[1:])) if len(one.shape) > 1 else 10
        values = draw.normal(scale=scale / fan**0.5, size=one.shape)
        found[one.name] = (np.abs(values) + 0.5 if one.name.endswith("var") else values).astype(np.float32)
    return found
