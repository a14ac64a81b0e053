import json
from collections.abc import Callable
from typing import Any

import pytest

from fedcoin_cli.learning.model.backend import keras
from fedcoin_cli.learning.model.build import build
from fedcoin_cli.learning.model.model import MAX_MODEL_BYTES, Dense, ModelSpec, parse_model, seed_spec
from ledger_store.base.errors import RoundFilesInvalid

SEED = seed_spec((28, 28), 10)

Layers = list[dict[str, Any]]


def edited(edit: Callable[[Layers], Any]) -> str:
    """The seed model's JSON after `edit` has changed its list of layers (InputLayer, Flatten, Dense, Dense)."""
    document = json.loads(build(SEED).to_json())
    edit(document["config"]["layers"])
    return json.dumps(document)


def test_seed_model_round_trip() -> None:
    """What Keras writes of the seed model is read back as the same sizes, in the order of its weights."""
    model = build(SEED)
    assert parse_model(model.to_json()) == SEED
    assert [weight.shape for weight in model.get_weights()] == list(SEED.weight_shapes)


def test_description_is_byte_stable() -> None:
    """Writing the same model twice in one process gives the same bytes: no counters in layer names."""
    assert build(SEED).to_json() == build(SEED).to_json()


def test_activations_may_be_layers_and_softmax_may_close() -> None:
    """Activation and ReLU layers mean what an activation argument means, and a closing softmax is left out."""
    layers = [
        keras.Input((5,)),
        keras.layers.Dense(7, use_bias=False),
        keras.layers.ReLU(),
        keras.layers.Dense(6, activation="tanh"),
        keras.layers.Dense(3),
        keras.layers.Activation("softmax"),
    ]
    spec = parse_model(keras.Sequential(layers).to_json())
    chain = (Dense(5, 7, "relu", False), Dense(7, 6, "tanh", True), Dense(6, 3, "linear", True))
    assert spec == ModelSpec((5,), chain)
    assert spec.weight_shapes == ((5, 7), (7, 6), (6,), (6, 3), (3,))


def lambda_layer(layers: Layers) -> None:
    layers.insert(2, {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "evil"}})


REFUSED: dict[str, Callable[[Layers], Any]] = {
    "a Lambda layer": lambda_layer,
    "a registered object": lambda layers: layers[2].update(registered_name="mine>Dense"),
    "a layer of another module": lambda layers: layers[2].update(module="os"),
    "an activation that is an object": lambda layers: layers[2]["config"].update(
        activation={"config": "evil"}
    ),
    "an unknown activation": lambda layers: layers[2]["config"].update(activation="swish"),
    "softmax in the middle": lambda layers: layers[2]["config"].update(activation="softmax"),
    "another precision": lambda layers: layers[2]["config"].update(dtype="float16"),
    "quantised weights": lambda layers: layers[2]["config"].update(quantization_config={"mode": "int8"}),
    "too many units": lambda layers: layers[2]["config"].update(units=1 << 17),
    "too many weights": lambda layers: [layer["config"].update(units=1 << 16) for layer in layers[2:]],
    "negative units": lambda layers: layers[2]["config"].update(units=-1),
    "units that are not a number": lambda layers: layers[2]["config"].update(units=True),
    "the softmax of one output": lambda layers: layers[3]["config"].update(units=1, activation="softmax"),
    "no input layer": lambda layers: layers.pop(0),
    "an unknown input size": lambda layers: layers[0]["config"].update(batch_shape=[None, None]),
    "a huge input": lambda layers: layers[0]["config"].update(batch_shape=[None, 1 << 20, 2]),
    "images that are not flattened": lambda layers: layers.pop(1),
    "no Dense layer": lambda layers: layers.__delitem__(slice(2, None)),
    "too many layers": lambda layers: layers.extend([layers[-1]] * 64),
    "a layer without configuration": lambda layers: layers[2].pop("config"),
}


@pytest.mark.parametrize("edit", REFUSED.values(), ids=REFUSED.keys())
def test_refused_layers(edit: Callable[[Layers], Any]) -> None:
    """Whatever is not a bounded chain of allowed layers is refused, with the file's name and a hint [P-12.1]."""
    with pytest.raises(RoundFilesInvalid) as caught:
        parse_model(edited(edit), where="store/abc")
    assert caught.value.where == "store/abc"
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", '{"module": "keras"}', "[" * 100_000, " " * (MAX_MODEL_BYTES + 1), b"\xff\xfe"],
    ids=["empty", "cut", "null", "list", "bare", "deep", "large", "bytes"],
)
def test_refused_documents(text: str | bytes) -> None:
    """Bytes that are no model description at all are refused the same way."""
    with pytest.raises(RoundFilesInvalid):
        parse_model(text)


def test_functional_models_are_refused() -> None:
    """A functional model, even a harmless chain, is not on the allow-list."""
    inputs = keras.Input((4,))
    with pytest.raises(RoundFilesInvalid, match="Sequential"):
        parse_model(keras.Model(inputs, keras.layers.Dense(2)(inputs)).to_json())
