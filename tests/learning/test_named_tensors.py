"""A client's weights by name: from every kind of file the same, and refused where a name, shape or number is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import MODELS, drawn_weights
from onnx import helper, numpy_helper
from safetensors.numpy import save_file

from fedcoin_cli.application.rounds.files import FROZEN_NAME
from fedcoin_cli.learning.exchange.from_keras import import_keras
from fedcoin_cli.learning.exchange.weights import convert, convert_test
from fedcoin_cli.learning.graph.writer import graph_text
from fedcoin_cli.learning.model.backend import keras
from fedcoin_cli.learning.model.reading import read_model
from fedcoin_cli.learning.model.weights import FROZEN_NAME as WRITTEN
from fedcoin_cli.learning.model.weights import read_test, read_update
from ledger_store.base.errors import RoundFilesInvalid

Tensors = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the description of a CNN with BatchNorm."""
    (tmp_path / "model.json").write_text(graph_text(MODELS["cnn"]()))
    return tmp_path


@pytest.fixture
def weights() -> Tensors:
    """A client's, with the counters that PyTorch keeps."""
    found: Tensors = dict(drawn_weights(MODELS["cnn"](), np.random.default_rng(1)))
    return {**found, "bn1.num_batches_tracked": np.array(7), "bn2.num_batches_tracked": np.array(7)}


def converted(folder: Path, name: str, without: tuple[str, ...] = ()) -> Tensors:
    """What is in the update that comes of a file."""
    convert(folder / name, folder / "model.json", folder / "out.safetensors", without)
    model = read_model((folder / "model.json").read_bytes())
    return dict(zip(model.weight_names, read_update(folder / "out.safetensors", model), strict=True))


def same(found: Tensors, wanted: Tensors) -> bool:
    return all(np.array_equal(one, wanted[name]) for name, one in found.items())


def test_every_kind_of_file(folder: Path, weights: Tensors) -> None:
    """Safetensors, .npz by names and by numbers, and ONNX give one update."""
    save_file(weights, folder / "s.safetensors")
    np.savez(folder / "n.npz", **weights)
    model = read_model((folder / "model.json").read_bytes())
    np.savez(folder / "o.npz", *(weights[name] for name in model.weight_names))
    tensors = [numpy_helper.from_array(np.asarray(one), name) for name, one in weights.items()]
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [], tensors)), folder / "x.onnx")
    for name in ("s.safetensors", "n.npz", "o.npz", "x.onnx"):
        assert same(converted(folder, name), weights), name


def test_state_dicts_of_pytorch(folder: Path, weights: Tensors) -> None:
    """A state_dict, one in a checkpoint, one of a wrapped module; a pickled module is refused."""
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(np.asarray(one)) for name, one in weights.items()}
    torch.save(state, folder / "plain.pt")
    torch.save({"epoch": 3, "state_dict": state}, folder / "checkpoint.pth")
    torch.save({f"module.{name}": one for name, one in state.items()}, folder / "wrapped.pt")
    for name in ("plain.pt", "checkpoint.pth", "wrapped.pt"):
        assert same(converted(folder, name), weights), name
    torch.save(torch.nn.Linear(2, 2), folder / "whole.pt")
    with pytest.raises(RoundFilesInvalid, match="holds code"):
        converted(folder, "whole.pt")


def test_what_is_refused(folder: Path, weights: Tensors) -> None:
    """Each fault is named by its tensor, and nothing is written."""
    faults = {
        "there is no tensor 'fc.bias'": {name: one for name, one in weights.items() if name != "fc.bias"},
        "'head.weight', which the model does not have": {**weights, "head.weight": np.ones(2, np.float32)},
        "(800, 10), the model needs (10, 800)": {
            **weights, "fc.weight": np.ascontiguousarray(weights["fc.weight"].T)
        },
        "variance below 0": {**weights, "bn2.running_var": -weights["bn2.running_var"]},
        "not finite": {**weights, "fc.bias": weights["fc.bias"] * np.nan},
        "holds int32": {**weights, "fc.bias": np.ones(10, np.int32)},
    }  # fmt: skip
    for words, tensors in faults.items():
        save_file(tensors, folder / "bad.safetensors")
        with pytest.raises(RoundFilesInvalid) as refused:
            converted(folder, "bad.safetensors")
        assert words in refused.value.message
        assert refused.value.where == str(folder / "bad.safetensors")
    assert not (folder / "out.safetensors").exists()
    save_file(faults["'head.weight', which the model does not have"], folder / "more.safetensors")
    assert same(converted(folder, "more.safetensors", ("head.*",)), weights)


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5"])
def test_files_of_keras(tmp_path: Path, name: str) -> None:
    """Weights of a functional model are found by the places of its layers, whatever these are called."""
    model = functional("mine")
    (tmp_path / "model.json").write_text(graph_text(import_keras(functional("yours"), where="m").graph))
    model.save_weights(tmp_path / name) if ".weights" in name else model.save(tmp_path / name)
    found = converted(tmp_path, name)
    assert all(np.array_equal(one, own) for one, own in zip(found.values(), model.get_weights(), strict=True))


def functional(name: str) -> Any:
    inputs = keras.Input((4,))
    x = keras.layers.Dense(4, "relu", name=f"{name}_z", bias_initializer="random_normal")(inputs)
    y = keras.layers.BatchNormalization(name=f"{name}_n")(keras.layers.Dense(4, name=f"{name}_a")(x))
    return keras.Model(inputs, keras.layers.Dense(2, name=f"{name}_m")(keras.layers.Add()([x, y])))


def test_a_layer_more_is_refused(tmp_path: Path) -> None:
    """A file with a layer that the graph lacks is not cut down to it in silence."""
    (tmp_path / "model.json").write_text(graph_text(import_keras(functional("a"), where="m").graph))
    inputs = keras.Input((4,))
    more = keras.Model(inputs, keras.layers.Dense(9)(functional("b")(inputs)))
    more.save_weights(tmp_path / "more.weights.h5")
    with pytest.raises(RoundFilesInvalid, match=r"there is no tensor|does not have"):
        converted(tmp_path, "more.weights.h5")


def test_test_sets(folder: Path) -> None:
    """Images and labels from .npz, .npy and safetensors; a layout that the model does not read is refused."""
    pixels = np.random.default_rng(2).integers(0, 256, (6, 1, 28, 28)).astype(np.uint8)
    labels = np.arange(6)
    np.savez(folder / "t.npz", x_test=pixels, y_test=labels, x_train=pixels[:1], y_train=labels[:1])
    np.save(folder / "x.npy", pixels)
    np.save(folder / "y.npy", labels)
    save_file({"x": pixels, "y": labels}, folder / "t.safetensors")
    model = read_model((folder / "model.json").read_bytes())
    for name, beside in (("t.npz", None), ("x.npy", folder / "y.npy"), ("t.safetensors", None)):
        assert convert_test(folder / name, beside, folder / "model.json", folder / "test.safetensors") == 6
        test = read_test(folder / "test.safetensors", model)
        assert np.array_equal(test.images, pixels)
        assert np.array_equal(test.labels, labels)
    np.savez(folder / "last.npz", x=np.moveaxis(pixels, 1, -1), y=labels)
    np.savez(folder / "eleven.npz", x=pixels, y=labels + 5)
    for name, words in (
        ("last.npz", "the model reads"),
        ("eleven.npz", "a label lies outside"),
        ("x.npy", "no labels"),
    ):
        with pytest.raises(RoundFilesInvalid, match=words):
            convert_test(folder / name, None, folder / "model.json", folder / "no.safetensors")
    assert not (folder / "no.safetensors").exists()


def test_the_frozen_file_has_the_rounds_name() -> None:
    """What import writes is what a round reads."""
    assert WRITTEN == FROZEN_NAME == "frozen.safetensors"
