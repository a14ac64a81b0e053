"""Every operation of the table with inputs that show what it does, and how PyTorch says it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.graph.graph import Kind
from fedcoin_cli.learning.graph.namespace import NUMPY, Numpy
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.graph.tensor_type import TensorType

Array = npt.NDArray[Any]
Torch = Callable[..., Any]

N = 3
"""Examples."""
_KINDS = {"f": Kind.float32, "i": Kind.int32, "b": Kind.bool}


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def some(*values: Any, kind: Any = np.float64) -> Array:
    return np.array(values, kind)


@dataclass(frozen=True)
class Case:
    """An operation with inputs of which those along `axes` have examples; `torch` is PyTorch's way to say it."""

    operation: str
    inputs: Sequence[Array | None]
    axes: Sequence[int | None]
    torch: Torch | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1


def of_one(operation: str, torch: Torch | None, x: Array | None = None, **attributes: Any) -> Case:
    """Of one value, examples first."""
    return Case(operation, [normal(N, 4, 5) * 3 if x is None else x], [0], torch, attributes)


def of_two(operation: str, torch: Torch, a: Array | None = None, b: Array | None = None) -> Case:
    """Of one value with examples and of one without, which is stretched."""
    first, second = normal(N, 4, 5) if a is None else a, normal(4, 1, seed=1) if b is None else b
    return Case(operation, [first, second], [0, None], torch)


def functional(name: str, **more: Any) -> Torch:
    def call(*tensors: Any) -> Any:
        from torch.nn import functional as found

        return getattr(found, name)(*tensors, **more)

    return call


def plain(name: str, **more: Any) -> Torch:
    def call(*tensors: Any) -> Any:
        import torch

        return getattr(torch, name)(*tensors, **more)

    return call


TIES = some([[0.0, 1.0, -1.0], [2.0, 2.0, 0.5]], [[1.0, 1.0, 0.0], [3.0, 2.0, -0.5]])
IDS = some([[0, 2, 1], [3, 3, 0]], kind=np.int32)
TRUTH = some([[True, False], [False, False]], kind=np.bool_)
IMAGES = normal(N, 4, 9, 8)


def convolution(**attributes: Any) -> Torch:
    pads = attributes.get("pads", (0, 0, 0, 0))

    def call(x: Any, kernels: Any, bias: Any) -> Any:
        from torch.nn import functional as found

        half = len(pads) // 2
        around = [one for axis in reversed(range(half)) for one in (pads[axis], pads[axis + half])]
        convolved = {1: found.conv1d, 2: found.conv2d, 3: found.conv3d}[half]
        return convolved(
            found.pad(x, around),
            kernels,
            bias,
            attributes.get("strides", 1),
            0,
            attributes.get("dilations", 1),
            attributes.get("group", 1),
        )

    return call


def conv_case(x: Array, kernels: Array, **attributes: Any) -> Case:
    bias = normal(len(kernels), seed=3)
    return Case("Conv", [x, kernels, bias], [0, None, None], convolution(**attributes), attributes)


def pool_case(operation: str, x: Array, torch: Torch | None, **attributes: Any) -> Case:
    return Case(operation, [x], [0], torch, attributes)


def recurrent(
    operation: str, directions: int, *, states: bool = False, bias: bool = True, **attributes: Any
) -> Case:
    gates, hidden, width, steps = (4 if operation == "LSTM" else 3), 5, 3, 4
    inputs: list[Array | None] = [
        normal(steps, N, width),
        normal(directions, gates * hidden, width, seed=1),
        normal(directions, gates * hidden, hidden, seed=2),
        normal(directions, 2 * gates * hidden, seed=3) if bias else None,
    ]
    axes: list[int | None] = [1, None, None, None]
    outputs = 3 if operation == "LSTM" else 2
    if states:
        inputs += [None, *(normal(directions, N, hidden, seed=4 + number) for number in range(outputs - 1))]
        axes += [None, *(1,) * (outputs - 1)]
    torch = recurrent_by_torch(operation, attributes) if attributes.get("linear_before_reset", 1) else None
    return Case(operation, inputs, axes, torch, {"hidden_size": hidden, **attributes}, outputs)


def recurrent_by_torch(operation: str, attributes: Mapping[str, Any]) -> Torch | None:
    """PyTorch has its gates in another order, and no layer that runs backwards alone."""
    if attributes.get("reverse"):
        return None
    order = (0, 2, 3, 1) if operation == "LSTM" else (1, 0, 2)

    def call(x: Any, w: Any, r: Any, bias: Any = None, _: Any = None, *states: Any) -> Any:
        import torch

        hidden, gates = r.shape[2], len(order)
        module = getattr(torch.nn, operation)(
            x.shape[2], hidden, bias=bias is not None, bidirectional=w.shape[0] == 2
        ).double()

        def sorted_(part: Any) -> Any:
            return torch.cat([part[number * hidden : (number + 1) * hidden] for number in order])

        for direction, suffix in zip(range(w.shape[0]), ("", "_reverse"), strict=False):
            parts = {"weight_ih": w[direction], "weight_hh": r[direction]}
            if bias is not None:
                parts["bias_ih"], parts["bias_hh"] = bias[direction].split(gates * hidden)
            for name, part in parts.items():
                getattr(module, f"{name}_l0{suffix}").data = sorted_(part)
        begin = (tuple(states) if operation == "LSTM" else states[0]) if states else None
        every, ends = module(x, begin)
        split = every.reshape(*x.shape[:2], w.shape[0], hidden).transpose(1, 2)
        return (split, *(ends if operation == "LSTM" else (ends,)))

    return call


CASES = [
    of_two("Add", plain("add")),
    of_two("Sub", plain("sub")),
    of_two("Mul", plain("mul")),
    of_two("Div", plain("div")),
    Case("Add", [normal(4, 5), normal(N, 4, 5)], [None, 0], plain("add")),
    Case("Mul", [IDS, some(2, kind=np.int32)], [0, None], plain("mul")),
    of_one("Neg", plain("neg")),
    of_one("Abs", plain("abs")),
    of_one("Pow", lambda x: x**3, exponent=3.0),
    of_one("Pow", lambda x: x**0.5, abs(normal(N, 4)), exponent=0.5),
    of_one("Sqrt", plain("sqrt"), abs(normal(N, 4))),
    of_one("Reciprocal", plain("reciprocal")),
    of_one("Exp", plain("exp")),
    of_one("Log", plain("log"), abs(normal(N, 4))),
    of_one("Erf", plain("erf")),
    of_one("Relu", plain("relu")),
    of_one("LeakyRelu", functional("leaky_relu", negative_slope=0.25), alpha=0.25),
    of_one("Elu", functional("elu", alpha=0.75), alpha=0.75),
    of_one("Selu", plain("selu")),
    of_one("Softplus", functional("softplus")),
    of_one("HardSigmoid", functional("hardsigmoid"), alpha=1 / 6),
    of_one("HardSwish", functional("hardswish")),
    of_one("Sigmoid", plain("sigmoid")),
    of_one("Tanh", plain("tanh")),
    of_one("Gelu", functional("gelu")),
    of_one("Gelu", functional("gelu", approximate="tanh"), approximate=1),
    of_one("Clip", plain("clamp", min=-1.0, max=2.0), min=-1.0, max=2.0),
    of_one("Clip", plain("clamp", max=0.5), max=0.5),
    Case("Min", [TIES, TIES[:1], normal(N - 1, 2, 3)], [0, None, 0], lambda a, b, c: a.minimum(b).minimum(c)),
    Case("Max", [TIES, TIES[:1]], [0, None], plain("maximum")),
    Case("Where", [TIES > 1, TIES, normal(3)], [0, 0, None], plain("where")),
    of_two("Equal", plain("eq"), TIES, TIES[0]),
    of_two("Less", plain("lt"), TIES, TIES[0]),
    of_two("Greater", plain("gt"), TIES, TIES[0]),
    of_two("LessOrEqual", plain("le"), TIES, TIES[0]),
    of_two("GreaterOrEqual", plain("ge"), TIES, TIES[0]),
    of_one("Not", plain("logical_not"), TRUTH),
    of_two("And", plain("logical_and"), TRUTH, TRUTH[0]),
    of_two("Or", plain("logical_or"), TRUTH, TRUTH[0]),
    of_one("Cast", lambda x: x.double(), IDS, to=1),
    of_one("Cast", lambda x: x.int(), normal(N, 4) * 10, to=6),
    of_one("Cast", lambda x: x.bool(), IDS, to=9),
    of_one("Identity", lambda x: x),
    Case("MatMul", [normal(N, 2, 4, 5), normal(5, 6)], [0, None], plain("matmul")),
    Case("MatMul", [normal(N, 4, 5), normal(N, 5, 6)], [0, 0], plain("matmul")),
    Case("MatMul", [normal(N, 5), normal(5, 6)], [0, None], plain("matmul")),
    Case("MatMul", [normal(4, 5), normal(5, N)], [None, 1], plain("matmul")),
    Case("Gemm", [normal(N, 5), normal(5, 6), normal(6)], [0, None, None], lambda a, b, c: a @ b + c),
    Case(
        "Gemm",
        [normal(5, N), normal(6, 5), normal(1, 6)],
        [1, None, None],
        lambda a, b, c: 0.5 * a.T @ b.T + 3 * c,
        {"alpha": 0.5, "beta": 3.0, "transA": 1, "transB": 1},
    ),
    Case("Gemm", [normal(N, 5), normal(5, 6)], [0, None], plain("matmul")),
    conv_case(IMAGES, normal(6, 4, 3, 2), pads=(0, 0, 0, 0)),
    conv_case(IMAGES, normal(6, 2, 3, 3), group=2, pads=(1, 0, 2, 1), strides=(2, 1), dilations=(1, 2)),
    conv_case(IMAGES, normal(8, 1, 3, 3), group=4, pads=(1, 1, 1, 1)),
    conv_case(IMAGES[:, :, 0], normal(5, 4, 3), pads=(1, 1), strides=(2,), dilations=(2,)),
    conv_case(normal(N, 2, 4, 5, 3), normal(3, 2, 2, 2, 2), pads=(0, 0, 0, 0, 0, 0)),
    pool_case(
        "MaxPool", IMAGES, functional("max_pool2d", kernel_size=2), kernel_shape=(2, 2), strides=(2, 2)
    ),
    pool_case(
        "MaxPool",
        IMAGES,
        functional("max_pool2d", kernel_size=3, stride=(2, 1), padding=1),
        kernel_shape=(3, 3),
        strides=(2, 1),
        pads=(1, 1, 1, 1),
    ),
    pool_case(
        "MaxPool",
        IMAGES[:, :, 0],
        functional("max_pool1d", kernel_size=3, stride=1, dilation=2),
        kernel_shape=(3,),
        dilations=(2,),
    ),
    pool_case(
        "AveragePool",
        IMAGES,
        functional("avg_pool2d", kernel_size=3, stride=2, padding=1, count_include_pad=False),
        kernel_shape=(3, 3),
        strides=(2, 2),
        pads=(1, 1, 1, 1),
    ),
    pool_case(
        "AveragePool",
        IMAGES,
        functional("avg_pool2d", kernel_size=(2, 3), stride=1, padding=1),
        kernel_shape=(2, 3),
        pads=(1, 1, 1, 1),
        count_include_pad=1,
    ),
    pool_case("GlobalAveragePool", IMAGES, lambda x: x.mean((2, 3), keepdim=True)),
    Case(
        "BatchNormalization",
        [IMAGES, normal(4), normal(4, seed=1), normal(4, seed=2), abs(normal(4, seed=3))],
        [0, None, None, None, None],
        lambda x, scale, bias, mean, var: functional("batch_norm", eps=2**-6)(x, mean, var, scale, bias),
        {"epsilon": 2**-6},
    ),
    Case(
        "LayerNormalization",
        [normal(N, 4, 6), normal(6), normal(6, seed=1)],
        [0, None, None],
        lambda x, scale, bias: functional("layer_norm", eps=1e-5)(x, (6,), scale, bias),
    ),
    Case(
        "LayerNormalization",
        [normal(N, 4, 6), normal(4, 6)],
        [0, None],
        lambda x, scale: functional("layer_norm", eps=2**-4)(x, (4, 6), scale),
        {"axis": 1, "epsilon": 2**-4},
    ),
    Case(
        "GroupNormalization",
        [IMAGES, normal(4), normal(4, seed=1)],
        [0, None, None],
        lambda x, scale, bias: functional("group_norm", eps=2**-6)(x, 2, scale, bias),
        {"num_groups": 2, "epsilon": 2**-6},
    ),
    Case(
        "InstanceNormalization",
        [IMAGES, normal(4), normal(4, seed=1)],
        [0, None, None],
        lambda x, scale, bias: functional("instance_norm", weight=scale, bias=bias, eps=2**-6)(x),
        {"epsilon": 2**-6},
    ),
    of_one("Softmax", plain("softmax", dim=-1)),
    of_one("Softmax", plain("softmax", dim=1), axis=1),
    of_one("LogSoftmax", plain("log_softmax", dim=-1)),
    of_one("ReduceSum", plain("sum", dim=(1, 2), keepdim=True), axes=(1, -1)),
    of_one("ReduceSum", plain("sum", dim=1, dtype=None), IDS, axes=(1,), keepdims=0),
    of_one("ReduceMean", plain("mean", dim=2), axes=(2,), keepdims=0),
    of_one("ReduceMax", plain("amax", dim=1), axes=(1,), keepdims=0),
    of_one("ReduceMin", plain("amin", dim=(1, 2), keepdim=True), axes=(1, 2)),
    of_one("Reshape", lambda x: x.reshape(N, 10, 2), shape=(0, -1, 2)),
    of_one("Reshape", lambda x: x.reshape(N * 4, 5), shape=(-1, 5)),
    of_one("Flatten", plain("flatten", start_dim=1)),
    of_one("Squeeze", lambda x: x.squeeze(2).squeeze(1), normal(N, 1, 1, 4), axes=(1, -2)),
    of_one("Unsqueeze", lambda x: x[:, None, :, :, None], axes=(1, -1)),
    of_one("Transpose", lambda x: x.permute(2, 0, 1), perm=(2, 0, 1)),
    of_one("Expand", lambda x: x.expand(2, N, 4, 5), normal(N, 1, 5), shape=(2, 1, 4, 1)),
    Case("Concat", [normal(N, 4), normal(N, 2)], [0, 0], lambda *x: plain("cat", dim=1)(x), {"axis": 1}),
    Case(
        "Split",
        [normal(N, 7)],
        [0],
        lambda x: x.split([2, 1, 4], dim=1),
        {"axis": 1, "split": (2, 1, 4)},
        outputs=3,
    ),
    of_one("Slice", lambda x: x[:, 1:4:2, :-1], starts=(1, 0), ends=(4, -1), axes=(1, 2), steps=(2, 1)),
    of_one("Slice", lambda x: x[:, :, -2:], starts=(-2,), ends=(2**31 - 1,), axes=(2,)),
    of_one("Pad", functional("pad", pad=(1, 0, 0, 2), value=0.5), pads=(0, 0, 1, 0, 2, 0), value=0.5),
    Case("Gather", [normal(4, 5), IDS], [None, 0], lambda x, ids: x[ids.long()]),
    Case(
        "Gather", [normal(N, 4, 5), some(-1, kind=np.int32)], [0, None], lambda x, _: x[:, -1:], {"axis": 1}
    ),
    recurrent("LSTM", 1),
    recurrent("LSTM", 2),
    recurrent("LSTM", 1, bias=False),
    recurrent("LSTM", 2, states=True),
    recurrent("LSTM", 1, reverse=1),
    recurrent("GRU", 1, linear_before_reset=1),
    recurrent("GRU", 1, linear_before_reset=1, states=True),
    recurrent("GRU", 1, linear_before_reset=0),
    recurrent("GRU", 1, bias=False, linear_before_reset=1, reverse=1),
]


def ours(case: Case) -> tuple[Array, ...]:
    """What the table makes of it, after its types were foretold."""
    operation = OPERATIONS[case.operation]
    attributes = operation.checked(case.attributes)
    its = operation.completed(attributes)
    types = [
        None if array is None else typed(array, axis)
        for array, axis in zip(case.inputs, case.axes, strict=True)
    ]
    foretold = operation.typed(its, types)
    with np.errstate(over="ignore"):
        made = operation.run(NUMPY, its, case.inputs)
    examples = next(
        array.shape[axis]
        for array, axis in zip(case.inputs, case.axes, strict=True)
        if array is not None and axis is not None
    )
    for one, array in zip(foretold, made, strict=True):
        assert (one.shape(examples), one.kind) == (np.shape(array), _KINDS[array.dtype.kind])
    return made


def single(array: Array | None) -> Array | None:
    """As engines are given it: real numbers as float32."""
    return array.astype(np.float32) if array is not None and array.dtype == np.float64 else array


def spoiled(case: Case, odd: float) -> tuple[list[Array | None], tuple[Array, ...]]:
    """A case's inputs with something odd in each that is real, and what NumPy makes of them in float32."""
    inputs, draw = [single(array) for array in case.inputs], np.random.default_rng(1)
    for place, array in enumerate(inputs):
        if array is not None and array.dtype == np.float32:
            other = array.copy()
            other.flat[draw.integers(0, other.size, 2)] = odd
            inputs[place] = other
    operation = OPERATIONS[case.operation]
    return inputs, operation.run(Numpy(np.float32), operation.completed(case.attributes), inputs)


def typed(array: Array, axis: int | None) -> TensorType:
    sizes = [1 if place == axis else size for place, size in enumerate(array.shape)]
    return TensorType(_KINDS[array.dtype.kind], tuple(sizes), axis)


def named(case: Case) -> str:
    return case.operation
