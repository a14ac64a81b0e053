"""A model means to miners what it means to Keras: no setting of a layer, of a file or of a user is read over."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedcoin
from fedcoin_cli.learning.exchange.weights import convert
from fedcoin_cli.learning.model.backend import keras
from fedcoin_cli.learning.model.model import Dense, ModelSpec, parse_model
from fedcoin_cli.learning.model.weights import TestSet, read_update
from fedcoin_cli.learning.reference.agreement import check_reading
from fedcoin_cli.learning.simulation.datasets import Dataset
from ledger_store.base.errors import RoundFilesInvalid, SettingsError

L = keras.layers


def described(*layers: Any, shape: tuple[int, ...] = (8, 8, 2)) -> dict[str, Any]:
    """What Keras writes of a chain."""
    document: dict[str, Any] = json.loads(keras.Sequential([keras.Input(shape), *layers]).to_json())
    return document


def images(shape: tuple[int, ...] = (8, 8, 2)) -> TestSet:
    return TestSet(np.random.default_rng(0).random((70, *shape), np.float32), np.zeros(70, np.int32))


CHAINS: list[Callable[[], list[Any]]] = [
    lambda: [L.Flatten(), L.Dense(7, "relu"), L.Dense(3, "softmax")],
    lambda: [L.Conv2D(4, 3, 2, "same", activation="tanh"), L.MaxPooling2D(), L.Flatten(), L.Dense(3)],
    lambda: [
        L.Conv2D(4, (3, 2), use_bias=False),
        L.ReLU(),
        L.AveragePooling2D(2, 1),
        L.Flatten(),
        L.Dense(3),
    ],
    lambda: [
        L.Conv2D(4, 3),
        L.Activation("sigmoid"),
        L.GlobalAveragePooling2D(),
        L.Dense(3),
        L.Activation("softmax"),
    ],
]


@pytest.mark.parametrize("chain", CHAINS)
def test_what_is_read_is_what_keras_computes(chain: Callable[[], list[Any]]) -> None:
    """Everything that Keras writes of an allowed chain is understood, and gives Keras' outputs."""
    text = json.dumps(described(*chain()))
    assert check_reading(text, parse_model(text), images(), where="model.json")


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (L.Flatten(data_format="channels_first"), "data_format = channels_first"),
        (L.GlobalAveragePooling2D(keepdims=True), "keepdims = True"),
    ],
)
def test_a_setting_that_changes_outputs_is_refused(layer: Any, words: str) -> None:
    """A layer's setting that this program does not follow is named, with its layer, and nothing is paid by it."""
    chain = [L.Conv2D(3, 3), layer, *([L.Flatten()] if "keepdims" in words else []), L.Dense(3)]
    with pytest.raises(RoundFilesInvalid, match=words):
        parse_model(json.dumps(described(*chain)))


def test_every_key_of_every_layer_is_understood_or_refused() -> None:
    """A key that nobody knows, in the configuration of any layer, beside it or of the whole, is refused by name.

    [P-12.1]
    """
    whole = described(
        L.Conv2D(3, 3), L.ReLU(), L.MaxPooling2D(), L.Flatten(), L.Dense(4), L.Activation("relu"), L.Dense(3)
    )
    parse_model(json.dumps(whole))
    entries = [whole, *whole["config"]["layers"]]
    for entry in entries:
        for place in (entry, entry["config"]):
            place["unheard_of"] = 1
            with pytest.raises(RoundFilesInvalid, match="unheard_of"):
                parse_model(json.dumps(whole))
            del place["unheard_of"]


def test_nobodys_chance_is_disturbed() -> None:
    """Keras' initializers draw from Python's own generator, which others have seeded for what they do."""
    text = fedcoin.mlp(4, [3], 2)
    test = TestSet(np.zeros((2, 4), np.float32), np.zeros(2, np.int32))
    before = random.getstate()
    assert check_reading(text, parse_model(text), test, where="")
    assert random.getstate() == before


def test_a_misreading_is_noticed_by_who_makes_the_round() -> None:
    """Were a setting read over all the same, its maker would see that Keras computes something else."""
    document = described(L.Flatten(data_format="channels_first"), L.Dense(5, "relu"), L.Dense(3))
    believed = ModelSpec((8, 8, 2), (Dense(128, 5, "relu", True), Dense(5, 3, "linear", True)))
    with pytest.raises(RoundFilesInvalid, match="other outputs"):
        check_reading(json.dumps(document), believed, images(), where="model.json")


def test_a_fixed_batch_says_nothing() -> None:
    """A model that was built by `fit` names its batch size: its outputs are those of any batch."""
    document = described(L.Flatten(), L.Dense(3))
    wanted = parse_model(json.dumps(document))
    document["config"]["layers"][0]["config"]["batch_shape"][0] = 32
    assert parse_model(json.dumps(document)) == wanted


def test_keras_2_is_named() -> None:
    """A description by Keras 2 is refused for what it is."""
    document = described(L.Flatten(), L.Dense(3))
    del document["module"]
    document["keras_version"] = "2.15.0"
    with pytest.raises(RoundFilesInvalid, match=r"Keras 2\.15\.0"):
        parse_model(json.dumps(document))


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_weights_that_the_model_lacks_are_not_dropped(tmp_path: Path, suffix: str) -> None:
    """A layer more in the file than in the model is named and refused; without it the weights are converted."""
    model = keras.Sequential([keras.Input((8, 8)), L.Flatten(), L.Dense(6, "relu"), L.Dense(3)])
    (tmp_path / "model.json").write_text(model.to_json())
    more = keras.Sequential(
        [keras.Input((8, 8)), L.Flatten(), L.Dense(6, "relu"), L.BatchNormalization(), L.Dense(3)]
    )
    for made, name in ((model, "right"), (more, "more")):
        path = tmp_path / f"{name}{suffix}"
        made.save(path) if suffix == ".keras" else made.save_weights(path)
    convert(tmp_path / f"right{suffix}", tmp_path / "model.json", tmp_path / "right.safetensors")
    found = read_update(tmp_path / "right.safetensors", parse_model(model.to_json()))
    assert all(np.array_equal(one, other) for one, other in zip(found, model.get_weights(), strict=True))
    with pytest.raises(RoundFilesInvalid, match="batch_normalization"):
        convert(tmp_path / f"more{suffix}", tmp_path / "model.json", tmp_path / "more.safetensors")
    assert not (tmp_path / "more.safetensors").exists()


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((8, 8, 3), False), ((3, 8, 8), True), ((192,), True), ((3, 8, 8, 1), True), ((8, 24), False)],
)
def test_pictures_are_not_scrambled(shape: tuple[int, ...], fits: bool) -> None:
    """Axes of one value may come and go and images be laid flat; pictures laid out otherwise are refused."""
    pixels, labels = np.zeros((4, 3, 8, 8), np.float32), np.zeros(4, np.int32)
    data = Dataset("chw", pixels, labels, TestSet(pixels, labels))
    if fits:
        assert data.reshaped(shape).input_shape == shape
    else:
        with pytest.raises(SettingsError, match="laid out otherwise"):
            data.reshaped(shape)


_SAYS = """
from fedcoin_cli.learning.model.backend import keras
print(keras.config.image_data_format(), keras.config.floatx(), keras.backend.backend())
"""


def says(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = (
        {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"} | {"KERAS_HOME": str(home)} | variables
    )
    return subprocess.run(
        [sys.executable, "-c", _SAYS], env=environment, capture_output=True, text=True, check=False
    )


def test_a_users_keras_json_has_no_say(tmp_path: Path) -> None:
    """Channels first, float64 and another backend in the user's keras.json change nothing here."""
    odd = {"image_data_format": "channels_first", "floatx": "float64", "backend": "jax"}
    (tmp_path / "keras.json").write_text(json.dumps(odd))
    assert says(tmp_path).stdout.split() == ["channels_last", "float32", "tensorflow"]


def test_a_backend_that_is_missing_is_named(tmp_path: Path) -> None:
    """KERAS_BACKEND that names what is not installed: the error says so, and does not call TensorFlow missing."""
    said = says(tmp_path, KERAS_BACKEND="theano")
    assert said.returncode != 0
    assert "KERAS_BACKEND asks for 'theano', which is not installed" in said.stderr
