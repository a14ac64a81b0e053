"""Tensors by a framework's names as an update's file has them, and updates of several rounds."""

import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

import fedcoin
from fedcoin_cli.learning.model.reading import read_model
from fedcoin_cli.learning.model.running import Layout, moved, npy_array
from fedcoin_cli.learning.model.weights import update_bytes, update_digest, update_parts
from ledger_store.base.canonical import digest
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


GRAPH = read_model(
    json.dumps(
        {
            "schema": 2,
            "inputs": [{"name": "x", "dtype": "float32", "shape": [3]}],
            "weights": [{"name": "head", "shape": [3, 2]}],
            "frozen": [{"name": "base", "dtype": "float32", "shape": [3, 3]}],
            "constants": [],
            "nodes": [
                {"op": "MatMul", "inputs": ["x", "base"], "outputs": ["h"], "attributes": {}},
                {"op": "MatMul", "inputs": ["h", "head"], "outputs": ["z"], "attributes": {}},
            ],
            "output": "z",
        }
    )
)
"""A head on a frozen base."""


def test_a_list_of_a_graphs_weights_goes_by_its_order() -> None:
    """As Keras gives those that it trains; a name of the model's is looked for where there is one."""
    head = np.ones((3, 2), np.float32)
    for given in ({"0": head}, {"head": head}, {"base": np.zeros((3, 3), np.float32), "head": head}):
        (found,) = Layout.of(GRAPH, given).weights(given, "")
        assert np.array_equal(found, head)
    # All that the original holds, where its order is known.
    listed = {"0": np.zeros((3, 3), np.float32), "1": head}
    layout = Layout.of(GRAPH, listed, ("base", "head"))
    (found,) = layout.weights(listed, "")
    assert np.array_equal(found, head)
    assert list(layout.frozen(listed)) == ["base"]
    with pytest.raises(
        RoundFilesInvalid, match=r"2 arrays, the model has 1(?s:.*)leave out the 1 that it freezes"
    ):
        Layout.of(GRAPH, listed)
    with pytest.raises(RoundFilesInvalid, match="no tensor 'head'"):
        Layout.of(GRAPH, {"tail": head})


def test_frozen_weights_are_taken_from_where_they_are() -> None:
    """From the tensors before the model, and nowhere by halves."""
    head, base, other = np.ones((3, 2), np.float32), np.eye(3, dtype=np.float32), np.zeros((3, 3), np.float32)
    layout = Layout.of(GRAPH, {"head": head})
    assert layout.all_frozen({"head": head}) is None
    for tensors, wanted in (({"base": base}, base), ({}, other)):
        (found,) = layout.all_frozen(tensors, (other,)) or ()
        assert np.array_equal(found, wanted)
    with pytest.raises(RoundFilesInvalid, match=r"shape \(2, 3\), the model needs \(3, 3\)"):
        layout.all_frozen({"base": base[:2]}, (other,))


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


def test_steps_may_not_come_to_more_than_a_weight() -> None:
    """Each weight that was sent may pass, and their sum be more than any round admits."""
    begun, got, returned = ((np.array([number], np.float32),) for number in (9e5, -9e5, 0))
    with pytest.raises(RoundFilesInvalid, match=r"beyond ±1e\+06") as caught:
        moved(begun, got, returned)
    assert caught.value.where == "what the client did in all"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_infinite_weights_are_no_models(dtype: Any) -> None:
    """In half precision, too, in which the bound itself cannot be written."""
    begun = {name: array.astype(dtype) for name, array in tensors(("0", "1", "2", "3")).items()}
    layout = Layout.of(SQUARE, begun)
    assert layout.weights(begun, "sent")[0].dtype == np.float32
    begun["1"] = np.array([0, np.inf, 0], dtype)
    with pytest.raises(RoundFilesInvalid, match="not finite"):
        layout.weights(begun, "sent")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="<f4").reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3)),
        np.arange(6, dtype=np.int64).reshape(2, 3).T,
        np.float32(3),
        np.zeros((0, 4), np.float16),
    ],
    ids=["rows", "columns", "a view", "one number", "none"],
)
def test_arrays_on_their_way(array: Any) -> None:
    """Read as NumPy reads them, whichever way they lie, and by nobody to be changed."""
    file = BytesIO()
    np.save(file, array)
    found, wanted = npy_array(file.getvalue()), np.load(BytesIO(file.getvalue()))
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert np.array_equal(found, wanted)
    assert not found.flags.writeable


def test_arrays_that_cannot_be_read() -> None:
    """Objects, which would be pickled, bytes that are missing, and no array at all."""
    file = BytesIO()
    np.save(file, np.array([{}]), allow_pickle=True)
    for data in (file.getvalue(), b"\x93NUMPY\x01\x00\x03\x00{}\n", b"\x93NUMPY\x09\x00", b"hello"):
        with pytest.raises(ValueError, match=r"^."):
            npy_array(data)


def test_a_file_in_parts_is_the_file() -> None:
    """As safetensors writes it, which orders tensors by name, of whatever shapes and however they lie."""
    draw = np.random.default_rng(1)
    weights = {
        "z": draw.random((3, 4), np.float32).T,
        "a": draw.random((), np.float32),
        "m.weight": draw.random((2, 0, 3), np.float32),
        "b": draw.random((5,), np.float32),
    }
    arrays = [np.asarray(one) for one in weights.values()]
    data = update_bytes(arrays, list(weights))
    assert data == save({name: np.asarray(one, order="C") for name, one in weights.items()})
    assert update_digest(update_parts(arrays, list(weights))) == digest(data)
