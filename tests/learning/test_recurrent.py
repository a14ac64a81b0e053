"""Recurrent layers in C are what the table of operations says they are."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from graph_games import graph_game, judged
from graphs import Builder, floats
from operation_cases import CASES, Case, named, typed

from fedcoin_cli.learning.engines import recurrent as kernels
from fedcoin_cli.learning.engines.compiled import library
from fedcoin_cli.learning.engines.graph_outputs import GraphOutputs, NumpyRest
from fedcoin_cli.learning.engines.outputs import OutputEngine
from fedcoin_cli.learning.engines.recurrent import Layer, packing
from fedcoin_cli.learning.graph.graph import Graph, Node
from fedcoin_cli.learning.graph.namespace import Numpy
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.reference.staged import Staged

pytestmark = pytest.mark.skipif(library() is None, reason="no C compiler on this machine")

Array = npt.NDArray[Any]
LAYERS = [
    case
    for case in CASES
    if case.operation in {"LSTM", "GRU"} and case.attributes.get("linear_before_reset", 1)
]


def by_kernel(case: Case, inputs: list[Array | None], threads: int = 1) -> tuple[Array, ...]:
    """A layer's outputs, its weights packed as averages are."""
    names = tuple("" if one is None else f"input {place}" for place, one in enumerate(inputs))
    outputs = tuple(f"output {place}" for place in range(case.outputs))
    node = Node(case.operation, names, outputs, case.attributes)
    types = {
        name: typed(one, axis)
        for name, one, axis in zip(names, inputs, case.axes, strict=False)
        if one is not None
    }
    one = packing(node, types)
    assert one is not None
    values: dict[str, Array] = {
        name: array for name, array in zip(names, inputs, strict=True) if array is not None
    }
    values[one.name] = one.of(values).astype(np.float32)
    assert Layer(node, one.name, threads, stepwise=True).compute(values)
    return tuple(values[name] for name in outputs)


def by_table(case: Case, inputs: list[Array | None], floats: Any = np.float64) -> tuple[Array, ...]:
    operation = OPERATIONS[case.operation]
    given = [None if one is None else one.astype(floats) for one in inputs]
    return operation.run(Numpy(floats), operation.completed(case.attributes), given)


def single(case: Case, scale: float = 1.0) -> list[Array | None]:
    return [None if one is None else (scale * one).astype(np.float32) for one in case.inputs]


@pytest.mark.parametrize("case", LAYERS, ids=named)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 30.0])
def test_a_layer_is_the_table_s(case: Case, scale: float) -> None:
    """Right relative to each value's own size, also where all are small or saturated [P-12.15]."""
    inputs = single(case, scale)
    for mine, theirs in zip(by_kernel(case, inputs), by_table(case, inputs), strict=True):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=2e-5 * max(1.0, scale), atol=2e-7 * min(1.0, scale))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("case", LAYERS, ids=named)
@np.errstate(all="ignore")
def test_what_is_no_number_stays_none(case: Case, odd: float) -> None:
    """One of an input, or of any weight: where NumPy has none, there is none. States that begin are finite."""
    for place, array in enumerate(inputs := single(case)):
        if array is None or (place > 4 and not np.isnan(odd)):
            continue
        spoiled = array.copy()
        spoiled.flat[array.size // 2] = odd
        given = [*inputs[:place], spoiled, *inputs[place + 1 :]]
        for mine, theirs in zip(by_kernel(case, given), by_table(case, given, np.float32), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operation", ["LSTM", "GRU"])
def test_several_threads_compute_what_one_does(operation: str) -> None:
    """An image's outputs depend on nothing that is computed beside it."""
    case = next(one for one in LAYERS if one.operation == operation and len(one.inputs) > 4)
    draw = np.random.default_rng(3)
    inputs = single(case)
    for place in (0, 5, 6)[: 1 + case.outputs - 1]:
        shape = list(inputs[place].shape)  # type: ignore[union-attr]  # these are there
        shape[1] = 8 * kernels._LEAST_IMAGES + 1
        inputs[place] = draw.normal(size=shape).astype(np.float32)
    alone, together = by_kernel(case, inputs), by_kernel(case, inputs, 3)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    last = [
        one[:, -1:] if place in {0, 5, 6} and one is not None else one for place, one in enumerate(inputs)
    ]
    np.testing.assert_array_equal(by_kernel(case, last)[1], alone[1][:, -1:])


def stacked(operation: str, hidden: int, normalised: bool) -> Graph:
    """Two layers, the first of both directions; with BatchNorm averages are made into others before they are read."""
    gates, extra = (4, {}) if operation == "LSTM" else (3, {"linear_before_reset": 1})
    make, units = Builder(floats(6, 5)), gates * hidden
    x = make.op("Transpose", "x", perm=(1, 0, 2))
    for number, (directions, width) in enumerate(((2, 5), (1, 2 * hidden))):
        parts = [
            make.weight(f"{number}.{name}", directions, *shape)
            for name, shape in (("w", (units, width)), ("r", (units, hidden)), ("b", (2 * units,)))
        ]
        x, last, *_ = make.op(operation, x, *parts, outputs=gates - 1, hidden_size=hidden, **extra)
        x = make.op("Reshape", make.op("Transpose", x, perm=(0, 2, 1, 3)), shape=(6, -1, directions * hidden))
    y = make.dense(make.op("Squeeze", last, axes=(0,)), "fc", hidden, 8)
    return make.graph(
        make.dense(make.op("Relu", make.batch_norm(y, "bn", 8)) if normalised else y, "out", 8, 3)
    )


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("operation", ["LSTM", "GRU"])
def test_counts_lie_in_their_intervals(
    operation: str, normalised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the kernel and without it, in NumPy and by onnxruntime [P-6.4]."""
    game = graph_game(stacked(operation, 7, normalised), images=40)
    bounds, masks = judged(game).intervals(range(1, 16)), range(1, 16)
    makers: list[Callable[[Staged], NumpyRest]] = [NumpyRest]
    if find_spec("onnxruntime") is not None:
        makers.append(import_module("fedcoin_cli.learning.engines.graph_onnx").OnnxRest)
    for made in makers:
        for layers, one in ((2, library), (0, lambda: None)):
            monkeypatch.setattr(kernels, "library", one)
            rest = made(Staged(game))
            assert len(rest.layers) == layers
            found = OutputEngine(GraphOutputs(Staged(game), lambda _, rest=rest: rest)).counts(masks)  # type: ignore[misc]  # bound at once
            assert all(one.lo <= count <= one.hi for one, count in zip(bounds, found.tolist(), strict=True))
