"""What `keras.ops` makes of graphs: every operation, and whole rests of models, on whichever library Keras runs.

`KERAS_BACKEND=torch pytest tests/learning/test_graph_keras.py` tries another one; `make peers` does.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from graph_games import graph_game, judged
from graphs import MODELS, small
from operation_cases import CASES, Case, named, ours, single, spoiled

from fedcoin_cli.learning.engines.graph_keras import KerasRest
from fedcoin_cli.learning.engines.graph_outputs import GraphOutputs, NumpyRest
from fedcoin_cli.learning.engines.keras_namespace import DROPS, KerasArrays
from fedcoin_cli.learning.engines.outputs import OutputEngine
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.model.backend import ops
from fedcoin_cli.learning.reference.staged import Staged

Array = npt.NDArray[Any]
SINGLE = np.float32
MODEL = {**MODELS, "small": small}


def by_keras(case: Case, inputs: list[Array | None]) -> list[Array]:
    """The operation alone."""
    xp, its = KerasArrays(), OPERATIONS[case.operation].completed(case.attributes)
    given = [None if one is None else xp.constant(one) for one in inputs]
    return [np.asarray(ops.convert_to_numpy(one)) for one in OPERATIONS[case.operation].run(xp, its, given)]


@pytest.mark.parametrize("case", CASES, ids=named)
def test_an_operation_is_the_table_s(case: Case) -> None:
    """Within a few roundings of float32, and as that kind [P-12.15]."""
    found = by_keras(case, [single(array) for array in case.inputs])
    for mine, theirs in zip(ours(case), found, strict=False):
        assert theirs.dtype == (SINGLE if mine.dtype == np.float64 else mine.dtype)
        assert theirs.shape == mine.shape
        np.testing.assert_allclose(theirs, mine, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("case", [case for case in CASES if case.operation != "Pow"], ids=named)
@np.errstate(all="ignore")
def test_what_is_no_number_stays_none(case: Case, odd: float) -> None:
    """NaN and infinities are where NumPy has them."""
    inputs, expected = spoiled(case, odd)
    for mine, theirs in zip(expected, by_keras(case, inputs), strict=False):
        if not (case.operation == "MaxPool" and DROPS and np.isnan(theirs).all()):
            np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("odd", [np.nan, np.inf, 3e38])
def test_a_model_of_odd_weights_is_numpy_s(odd: float) -> None:
    """Also where what is no number meets a pooling."""
    game = graph_game(small(), clients=2, images=16)
    for place, name in enumerate(game.model.weight_names):
        spoiled = list(game.updates[0])
        spoiled[place] = spoiled[place].copy()
        spoiled[place].flat[0] = odd
        spoilt = replace(game, updates=(tuple(spoiled), game.updates[1]))
        with np.errstate(all="ignore"):
            ready, masks = Staged(spoilt), [1, 2]
            shares = spoilt.shares(masks)
            mine = GraphOutputs(ready, KerasRest)
            found = np.concatenate([mine.of_part(0)(shares[[row]]) for row in range(len(masks))])
            theirs = GraphOutputs(ready, NumpyRest).of_part(0)(shares)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(theirs), name)


@pytest.mark.parametrize("name", MODEL)
def test_a_model_s_outputs_and_counts(name: str) -> None:
    """As NumPy's within a few roundings, and every count of four clients in its interval [P-6.4]."""
    game = graph_game(MODEL[name](), images=20)
    ready, masks = Staged(game), list(range(1, 16))
    mine, theirs = GraphOutputs(ready, KerasRest), GraphOutputs(ready, NumpyRest)
    some, shares = np.array([3, 1, 19]), game.shares([1, 7, 10, 15])
    for first in range(0, len(shares), mine.masks):
        part = shares[first : first + mine.masks]
        np.testing.assert_allclose(
            mine.of_images(some)(part), theirs.of_images(some)(part), rtol=1e-4, atol=1e-5
        )
    bounds = judged(game).intervals(masks)
    found = OutputEngine(mine).counts(masks).tolist()
    assert all(one.lo <= count <= one.hi for one, count in zip(bounds, found, strict=True))
