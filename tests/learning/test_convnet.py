import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fedcoin_cli.learning.engines.choice import engine_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.backend import keras
from fedcoin_cli.learning.model.build import build
from fedcoin_cli.learning.model.features import Conv, Pool
from fedcoin_cli.learning.model.model import Dense, ModelSpec, parse_model
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.reference import aggregates, reference
from fedcoin_cli.learning.reference.forward import own_logits
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.simulation.datasets import as_float, load
from fedcoin_cli.learning.simulation.training import train_round
from ledger_store.base.errors import RoundFilesInvalid

Make = Callable[..., Game]
L = keras.layers


def spec_of(shape: tuple[int, ...], *layers: Any) -> ModelSpec:
    return parse_model(keras.Sequential([keras.Input(shape), *layers]).to_json())


PLAIN = [
    L.Conv2D(4, 3, activation="relu"),
    L.MaxPooling2D(),
    L.Conv2D(5, 2, activation="tanh"),
    L.Flatten(),
    L.Dense(4),
]
UNUSUAL = [
    L.Conv2D(3, (2, 3), strides=(1, 2), padding="same", use_bias=False),
    L.ReLU(),
    L.AveragePooling2D((2, 1), strides=(1, 1)),
    L.Conv2D(6, 3, strides=2, padding="same", activation="sigmoid"),
    L.GlobalAveragePooling2D(),
    L.Dense(7, activation="relu", use_bias=False),
    L.Dense(4, activation="softmax"),
]
POOLED_LAST = [L.Conv2D(4, 2), L.Activation("tanh"), L.MaxPooling2D(3, strides=2), L.Flatten(), L.Dense(4)]
MODELS = {
    "plain": spec_of((9, 8, 2), *PLAIN),
    "unusual": spec_of((9, 8, 2), *UNUSUAL),
    "one convolution": spec_of((7, 7, 1), *POOLED_LAST),
}


def keras_logits(game: Game, mask: int) -> npt.NDArray[np.float32]:
    """The original way: average the weights, set them, let Keras run the model."""
    model, shares = build(game.chain), game.shares([mask])[0]
    tensors = zip(*game.updates, strict=True)
    model.set_weights([np.tensordot(shares, np.array(each, float), 1) for each in tensors])
    return np.asarray(model.predict_on_batch(as_float(game.test.images)))


def keras_count(game: Game, mask: int) -> int:
    return int((keras_logits(game, mask).argmax(axis=1) == game.test.labels).sum())


def test_shapes_are_those_of_keras() -> None:
    """Sizes, paddings and strides are read as Keras means them: its weights and output shapes are ours."""
    for model in MODELS.values():
        built = build(model)
        assert [weight.shape for weight in built.get_weights()] == list(model.weight_shapes)
        outputs = [
            layer.output.shape[1:]
            for layer in built.layers
            if isinstance(layer, L.Conv2D | L.MaxPooling2D | L.AveragePooling2D)
        ]
        assert outputs == [feature.output_shape for feature in model.features]
        assert parse_model(built.to_json()) == model


def test_what_is_read() -> None:
    """Activations of their own belong to the convolution before them; a global pooling is a pooling of everything."""
    first, pool, second, last = MODELS["unusual"].features
    assert isinstance(first, Conv)
    assert first == Conv((9, 8, 2), 3, (2, 3), (1, 2), True, "relu", use_bias=False)
    assert pool == Pool((9, 4, 3), (2, 1), (1, 1), largest=False)
    assert isinstance(second, Conv)
    assert second.pads == ((0, 1), (0, 1))
    assert first.pads == ((0, 1), (0, 1))
    assert last == Pool((4, 2, 6), (4, 2), (4, 2), largest=False)
    assert MODELS["unusual"].layers == (Dense(6, 7, "relu", False), Dense(7, 4, "linear", True))


@pytest.mark.parametrize("weights", [(1, 1, 1), (3, 1, 2)], ids=["mean", "fedavg"])
@pytest.mark.parametrize("name", MODELS)
def test_counts_are_those_of_keras(name: str, weights: tuple[int, ...], make_game: Make) -> None:
    """Every coalition counts what Keras counts on averaged weights, and lies inside its interval of the reference."""
    game = make_game(3, 150, weights=weights, model=MODELS[name])
    masks = list(range(1, 8))
    counts = engine_for(game).counts(masks)
    plain = [keras_count(game, mask) for mask in masks]
    assert np.abs(counts - plain).max() <= 1
    bounds = Reference(game).intervals(masks)
    assert all(bound.lo <= count <= bound.hi for bound, count in zip(bounds, counts.tolist(), strict=True))
    assert max(bound.width for bound in bounds) <= 8
    assert len(set(plain)) > 1


@pytest.mark.parametrize("name", MODELS)
def test_own_logits_are_those_of_keras(name: str, make_game: Make) -> None:
    """What is told to whoever gathers updates, each client's own model, is that of Keras for convolutions, too."""
    game = make_game(2, 60, model=MODELS[name])
    for client in range(2):
        np.testing.assert_allclose(own_logits(game, client), _logits(game, 1 << client), atol=1e-4)


def _logits(game: Game, mask: int) -> npt.NDArray[np.float32]:
    """A closing softmax is no part of the specification, so what is built gives logits."""
    return keras_logits(game, mask)


@pytest.mark.parametrize("hostile", ["huge", "cancelling", "zero"])
def test_hostile_updates_stay_inside(hostile: str, make_game: Make) -> None:
    """Updates made to break rounding move no honest count out of its interval."""
    game = make_game(4, 200, model=MODELS["plain"])
    updates = list(game.updates)
    big = tuple(np.float32(1e5) * weight for weight in updates[0])
    match hostile:
        case "huge":
            updates[0] = big
        case "cancelling":
            updates[0] = big
            updates[1] = tuple(own - large for own, large in zip(updates[1], big, strict=True))
        case "zero":
            updates[0] = updates[2] = tuple(0 * weight for weight in updates[0])
    game = replace(game, updates=tuple(updates))
    masks = list(range(1, 16))
    counts = engine_for(game).counts(masks).tolist()
    assert all(
        bound.lo <= count <= bound.hi
        for bound, count in zip(Reference(game).intervals(masks), counts, strict=True)
    )


@pytest.mark.parametrize("name", MODELS)
def test_parts_and_the_ceiling_change_nothing(
    name: str, make_game: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images in small parts, or all with bounds of their own by the other way to convolve: the same intervals."""
    game = make_game(4, 200, model=MODELS[name])
    masks = range(1, 16)
    usual = Reference(game).intervals(masks)
    monkeypatch.setattr(aggregates, "_PART_VALUES", 1)
    assert Reference(game).intervals(masks) == usual
    monkeypatch.setattr(reference, "_CEILING_SLACK", np.inf)
    assert Reference(game).intervals(masks) == usual


def small_cnn() -> ModelSpec:
    return spec_of(
        (28, 28, 1),
        L.Conv2D(8, 5, strides=2, activation="relu"),
        L.MaxPooling2D(),
        L.Conv2D(12, 3, activation="relu"),
        L.Flatten(),
        L.Dense(10),
    )


def test_a_cnn_on_mnist(mnist_path: Path) -> None:
    """A small CNN trained on MNIST by five clients: counts are Keras' within an image, and inside [lo, hi]."""
    mnist = load(str(mnist_path))
    few = replace(mnist, x_train=mnist.x_train[:3000], y_train=mnist.y_train[:3000])
    few = replace(few, test=TestSet(mnist.test.images[:600], mnist.test.labels[:600]))
    few = few.reshaped((28, 28, 1))
    trained = train_round(few, "mix", 5, epochs=2, seed=1, model=small_cnn())
    examples = tuple(update.examples for update in trained.updates)
    updates = tuple(update.weights for update in trained.updates)
    game = Game(parse_model(trained.model_json), few.test, updates, examples)
    masks = list(range(1, 32))
    counts = engine_for(game).counts(masks)
    bounds = Reference(game).intervals(masks)
    assert all(bound.lo <= count <= bound.hi for bound, count in zip(bounds, counts.tolist(), strict=True))
    assert np.abs(counts[:8] - [keras_count(game, mask) for mask in masks[:8]]).max() <= 1
    assert counts[-1] > 350


def edited(edit: Callable[[list[dict[str, Any]]], Any]) -> str:
    document = json.loads(build(MODELS["plain"]).to_json())
    edit(document["config"]["layers"])
    return json.dumps(document)


REFUSED: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "grouped": lambda layers: layers[1]["config"].update(groups=2),
    "dilated": lambda layers: layers[1]["config"].update(dilation_rate=[2, 2]),
    "channels first": lambda layers: layers[1]["config"].update(data_format="channels_first"),
    "causal padding": lambda layers: layers[1]["config"].update(padding="causal"),
    "padded pooling": lambda layers: layers[2]["config"].update(padding="same"),
    "a window larger than the image": lambda layers: layers[2]["config"].update(pool_size=[99, 1]),
    "no stride": lambda layers: layers[1]["config"].update(strides=[0, 1]),
    "too many filters": lambda layers: layers[1]["config"].update(filters=1 << 20),
    "LoRA": lambda layers: layers[1]["config"].update(lora_rank=3),
    "softmax inside": lambda layers: layers[1]["config"].update(activation="softmax"),
    "a pooling first": lambda layers: layers.pop(1),
    "not flattened": lambda layers: layers.pop(4),
    "an activation after a pooling": lambda layers: layers.insert(
        3, {"module": "keras.layers", "class_name": "ReLU", "config": {}}
    ),
}


@pytest.mark.parametrize("edit", REFUSED.values(), ids=REFUSED.keys())
def test_refused_fronts(edit: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Whatever the engine does not compute as Keras does is refused when the model is read."""
    assert parse_model(edited(lambda _: None)) == MODELS["plain"]
    with pytest.raises(RoundFilesInvalid):
        parse_model(edited(edit))
