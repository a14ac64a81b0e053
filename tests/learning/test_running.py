"""Tensors by a framework's names as an update's file has them, and updates of several rounds."""

from typing import Any

import numpy as np
import pytest

import fedcoin
from fedcoin_cli.learning.model.reading import read_model
from fedcoin_cli.learning.model.running import Layout, moved
from ledger_store.base.errors import RoundFilesInvalid

SQUARE = read_model(fedcoin.mlp(3, [3], 3))
"""Layers of which shapes do not tell which way they lie."""


def tensors(names: tuple[str, ...]) -> dict[str, Any]:
    """Kernel, bias, kernel, bias, under these names."""
    draw = np.random.default_rng(0)
    shapes = ((3, 3), (3,), (3, 3), (3,))
    return {name: draw.random(shape, np.float32) for name, shape in zip(names, shapes, strict=True)}


def test_pytorchs_names_lie_the_other_way_round() -> None:
    """A square Linear is turned because it is called weight; the counter of batches is no weight."""
    named = tensors(("0.weight", "0.bias", "2.weight", "2.bias"))
    counted = {**named, "1.num_batches_tracked": np.float64(3)}
    found = Layout.of(SQUARE, {name: np.asarray(one) for name, one in counted.items()}).weights(named, "")
    for one, (name, tensor) in zip(found, named.items(), strict=True):
        assert np.array_equal(one, tensor.T if name.endswith("weight") else tensor)


def test_arrays_by_their_order_lie_as_they_are() -> None:
    """Those of Keras and NumPy, which Flower numbers."""
    numbered = tensors(("0", "1", "2", "3"))
    found = Layout.of(SQUARE, numbered).weights(numbered, "")
    assert all(np.array_equal(one, other) for one, other in zip(found, numbered.values(), strict=True))


def test_tensors_of_another_model_are_refused() -> None:
    """By their number at the beginning, by a name that is missing later."""
    named = tensors(("0.weight", "0.bias", "2.weight", "2.bias"))
    layout = Layout.of(SQUARE, named)
    with pytest.raises(RoundFilesInvalid, match=r"no tensor '2\.bias'"):
        layout.weights({name: one for name, one in named.items() if name != "2.bias"}, "the returned arrays")
    with pytest.raises(RoundFilesInvalid, match="3 arrays, the model has 4"):
        Layout.of(SQUARE, {name: one for name, one in named.items() if name != "2.bias"})


def test_an_update_is_the_beginning_and_all_steps() -> None:
    """With everybody's steps in one run the mean of the updates is the model that the run came to."""
    begun, got, returned = ((np.array([number], np.float32),) for number in (1, 5, 7.5))
    assert moved(begun, got, returned)[0].tolist() == [3.5]
