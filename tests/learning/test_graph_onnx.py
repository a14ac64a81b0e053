"""What onnxruntime makes of graphs that are written for it: every operation, and whole rests of models."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from graph_games import graph_game, judged
from graphs import MODELS, Builder, floats, small
from operation_cases import CASES, Case, named, ours, single, spoiled, typed

from fedcoin_cli.learning.engines.graph_onnx import OnnxRest, session_of
from fedcoin_cli.learning.engines.graph_outputs import GraphOutputs, NumpyRest
from fedcoin_cli.learning.engines.onnx_forms import written
from fedcoin_cli.learning.engines.outputs import OutputEngine
from fedcoin_cli.learning.graph.graph import Graph, Kind, Node
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.reference.staged import Staged

pytest.importorskip("onnxruntime")

Array = npt.NDArray[Any]
SINGLE = np.float32


def by_runtime(case: Case, inputs: list[Array | None]) -> list[Array | None]:
    """The operation alone, each of its outputs in turn the model's."""
    names = tuple("" if one is None else f"an input, {place}" for place, one in enumerate(inputs))
    outputs = tuple(f"an output, {place}" for place in range(case.outputs))
    node = Node(case.operation, names, outputs, case.attributes)
    operation = OPERATIONS[case.operation]
    kinds = [
        None if array is None else typed(array, axis) for array, axis in zip(inputs, case.axes, strict=True)
    ]
    made = operation.typed(operation.completed(operation.checked(case.attributes)), kinds)
    types = {
        name: one for name, one in zip((*names, *outputs), (*kinds, *made), strict=False) if one is not None
    }
    examples = next(
        array.shape[axis]
        for array, axis in zip(inputs, case.axes, strict=True)
        if array is not None and axis is not None
    )
    found: list[Array | None] = []
    for output in outputs:
        text, words = written([node], types, examples, {}, [name for name in names if name], [output])
        fed = {
            words[name]: array
            for name, array in zip(names, inputs, strict=True)
            if array is not None and name
        }
        made, *sums = session_of(text, 1).run(None, fed)
        # Where it says that it may have dropped what is no number, it is not asked.
        found.append(made if np.isfinite(sums).all() else None)
    return found


@pytest.mark.parametrize("case", CASES, ids=named)
def test_an_operation_is_the_table_s(case: Case) -> None:
    """Within a few roundings of float32, and as that kind [P-12.15]."""
    found = by_runtime(case, [single(array) for array in case.inputs])
    for mine, theirs in zip(ours(case), found, strict=True):
        assert theirs is not None
        assert theirs.dtype == (SINGLE if mine.dtype == np.float64 else mine.dtype)
        assert theirs.shape == mine.shape
        np.testing.assert_allclose(theirs, mine, rtol=2e-6, atol=2e-6)


WATCHED = {"GroupNormalization", "MaxPool", "ReduceMax", "ReduceMin", "InstanceNormalization", "LSTM", "GRU"}


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("case", [case for case in CASES if case.operation != "Pow"], ids=named)
@np.errstate(all="ignore")
def test_what_is_no_number_stays_none(case: Case, odd: float) -> None:
    """NaN and infinities are where NumPy has them, or the model says that they may not be."""
    inputs, expected = spoiled(case, odd)
    for mine, theirs in zip(expected, by_runtime(case, inputs), strict=True):
        if theirs is None:
            assert case.operation in WATCHED
        else:
            np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("operation", ["LayerNormalization", "GroupNormalization", "InstanceNormalization"])
def test_what_is_normalised_may_have_a_large_mean(operation: str) -> None:
    """Within a few roundings of the values: their mean is taken away before they are squared."""
    x = (1e4 + np.random.default_rng(0).standard_normal((2, 4, 16))).astype(SINGLE)
    parts = (16,) if operation == "LayerNormalization" else (4,)
    more = {"num_groups": 2} if operation == "GroupNormalization" else {}
    scale, bias = np.ones(parts), np.zeros(parts)
    inputs: list[Array | None] = [x.astype(np.float64), scale, bias]
    case = Case(operation, inputs, (0, None, None), attributes=more)
    (made,), (right,) = by_runtime(case, [single(one) for one in inputs]), ours(case)
    assert made is not None
    np.testing.assert_allclose(made, right, atol=1e4 * 2.0**-20)


def scalars() -> Graph:
    """Of the last step alone, as PyTorch exports `[:, -1]`, times a weight without axes, as temperatures are."""
    make = Builder(floats(4, 3))
    steps = make.op("Tanh", make.dense_last("x", "each", 3, 5))
    last = make.op("Gather", steps, make.constant(-1, Kind.int32), axis=1)
    return make.graph(make.op("Mul", make.dense(last, "out", 5, 3), make.weight("scale")))


MODEL = {**MODELS, "small": small, "scalars": scalars}


@pytest.mark.parametrize("name", MODEL)
def test_a_model_s_outputs_are_numpy_s(name: str) -> None:
    """Parts of the test set, and any few images, within a few roundings of what float32 gives in NumPy."""
    game = graph_game(MODEL[name](), images=70)
    ready, shares = Staged(game), game.shares([1, 7, 10, 15])
    ours, theirs = GraphOutputs(ready, partial(OnnxRest, threads=1)), GraphOutputs(ready, NumpyRest)
    for images in (np.arange(70), np.array([3, 1, 69]), np.arange(16) * 4):
        np.testing.assert_allclose(
            ours.of_images(images)(shares), theirs.of_images(images)(shares), rtol=1e-4, atol=1e-5
        )
    whole = np.concatenate([ours.of_part(number)(shares) for number in range(len(ours.parts))], axis=2)
    np.testing.assert_allclose(whole, theirs.of_images(np.arange(70))(shares), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("odd", [np.nan, np.inf, 3e38])
@pytest.mark.parametrize("name", MODEL)
def test_a_model_of_odd_weights_is_numpy_s(name: str, odd: float) -> None:
    """Whatever its weights come to, an output is no number where it is none in NumPy."""
    game = graph_game(MODEL[name](), clients=2, images=16)
    for place in range(len(game.updates[0])):
        spoiled = list(game.updates[0])
        spoiled[place] = spoiled[place].copy()
        spoiled[place].flat[0] = odd
        spoilt = replace(game, updates=(tuple(spoiled), game.updates[1]))
        with np.errstate(all="ignore"):
            ready, shares = Staged(spoilt), spoilt.shares([1, 3])
            ours, theirs = (
                GraphOutputs(ready, made).of_part(0)(shares)
                for made in (partial(OnnxRest, threads=1), NumpyRest)
            )
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs), game.model.weight_names[place])


@pytest.mark.parametrize("name", MODEL)
def test_a_model_s_counts_lie_in_their_intervals(name: str) -> None:
    """All coalitions of four clients, by the reference's bounds [P-6.4]."""
    game = graph_game(MODEL[name](), images=20)
    reference, masks = judged(game), list(range(1, 16))
    found = OutputEngine(GraphOutputs(Staged(game), partial(OnnxRest, threads=1))).counts(masks)
    bounds = reference.intervals(masks)
    assert all(one.lo <= count <= one.hi for one, count in zip(bounds, found.tolist(), strict=True))


def test_several_threads_count_what_one_does() -> None:
    """The order of sums does not depend on how many cores there are."""
    game = graph_game("cnn", images=90)
    found = [
        OutputEngine(GraphOutputs(Staged(game), partial(OnnxRest, threads=threads))).counts(range(1, 16))
        for threads in (1, 2, 2)
    ]
    assert found[0].tolist() == found[1].tolist() == found[2].tolist()
