from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedcoin_cli.learning.engines.engine import BATCH, UtilityEngine
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.backend import keras
from fedcoin_cli.learning.model.build import build
from fedcoin_cli.learning.model.model import Dense, ModelSpec, parse_model
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.simulation.datasets import as_float, load
from fedcoin_cli.learning.simulation.training import train_round

Make = Callable[..., Game]


@pytest.fixture(scope="module")
def digits_game() -> Game:
    """Five clients with unlike digits, weighted by examples."""
    digits = load("digits")
    trained = train_round(digits, "mix", 5, epochs=3, seed=3)
    updates = tuple(update.weights for update in trained.updates)
    examples = tuple(update.examples for update in trained.updates)
    return Game(parse_model(trained.model_json), digits.test, updates, examples)


def keras_counts(game: Game, masks: list[int]) -> list[int]:
    """The original way: average the weights, set them, let Keras evaluate the accuracy."""
    model = build(game.chain)
    model.compile(metrics=["sparse_categorical_accuracy"], loss="mse")
    counts = []
    for mask in masks:
        shares = game.shares([mask])[0]
        tensors = zip(*game.updates, strict=True)
        model.set_weights(
            [np.tensordot(shares, np.array(each, float), 1).astype(np.float32) for each in tensors]
        )
        logits = model.predict_on_batch(as_float(game.test.images))
        correct = keras.metrics.sparse_categorical_accuracy(game.test.labels, logits)
        counts.append(int(np.sum(keras.ops.convert_to_numpy(correct))))
    return counts


def inside(game: Game, masks: list[int], counts: np.ndarray) -> list[bool]:
    bounds = Reference(game).intervals(masks)
    return [bound.lo <= count <= bound.hi for bound, count in zip(bounds, counts.tolist(), strict=True)]


@pytest.mark.parametrize("aggregation", ["mean", "fedavg"])
def test_engine_agrees_with_keras(aggregation: str, digits_game: Game) -> None:
    """All 31 coalitions of trained digits: what Keras counts on averaged weights, within one image of rounding."""
    game = digits_game if aggregation == "fedavg" else replace(digits_game, weights=(1,) * 5)
    masks = list(range(1, 32))
    counts = UtilityEngine(game).counts(masks)
    assert np.abs(counts - keras_counts(game, masks)).max() <= 1
    assert all(inside(game, masks, counts))
    assert counts.max() - counts.min() > 20


def test_batches_are_filled_and_cut(digits_game: Game) -> None:
    """Any number of masks, in any order and repeated, gives each its own count."""
    engine = UtilityEngine(digits_game)
    all_counts = dict(zip(range(1, 32), engine.counts(range(1, 32)).tolist(), strict=True))
    for number in (1, BATCH, BATCH + 1, 3 * BATCH - 1):
        masks = np.random.default_rng(number).integers(1, 32, number).tolist()
        assert engine.counts(masks).tolist() == [all_counts[mask] for mask in masks]
    assert engine.counts([]).tolist() == []


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "linear"])
def test_other_chains(activation: str, make_game: Make) -> None:
    """Deeper models, other activations, no biases, no hidden layer, flat images: counts lie in their intervals."""
    deep = ModelSpec(
        (3, 3),
        (
            Dense(9, 8, activation, use_bias=False),
            Dense(8, 7, activation, use_bias=True),
            Dense(7, 4, "linear", False),
        ),
    )
    for model in (deep, ModelSpec((9,), (Dense(9, 4, "linear", use_bias=True),))):
        game = make_game(4, 300, weights=(1, 2, 3, 4), model=model)
        masks = list(range(1, 16))
        assert all(inside(game, masks, UtilityEngine(game).counts(masks)))


@pytest.mark.parametrize("hostile", ["huge", "cancelling", "zero", "cancelling inside"])
def test_hostile_updates_stay_inside(hostile: str, make_game: Make) -> None:
    """Updates made to break rounding move no honest count out of its interval."""
    game = make_game(5, 500)
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
        case "cancelling inside":
            # Opposite weights of 10⁶ on two pixels that are equal in every image.
            game.test.images.reshape(500, 9)[:, 1] = game.test.images.reshape(500, 9)[:, 0]
            kernel = updates[0][0].copy()
            kernel[0] += np.float32(9e5)
            kernel[1] -= np.float32(9e5)
            updates[0] = (kernel, *updates[0][1:])
    game = replace(game, updates=tuple(updates))
    masks = list(range(1, 32))
    assert all(inside(game, masks, UtilityEngine(game).counts(masks)))


def test_ties_go_to_the_lowest_class(make_game: Make) -> None:
    """An update of zeros ties all classes: only images of class 0 are right."""
    game = make_game(2)
    game = replace(game, updates=tuple(tuple(0 * weight for weight in update) for update in game.updates))
    zeros = int((game.test.labels == 0).sum())
    assert UtilityEngine(game).counts([1, 2, 3]).tolist() == [zeros] * 3


def test_mnist_counts_lie_in_their_intervals(mnist_path: Path) -> None:
    """On 1,500 MNIST test images and really trained updates, counts are those of Keras and inside [lo, hi]."""
    mnist = load(str(mnist_path))
    few = replace(mnist, x_train=mnist.x_train[:4000], y_train=mnist.y_train[:4000])
    trained = train_round(few, "mix", 10, epochs=2, seed=1)
    test = TestSet(mnist.test.images[:1500], mnist.test.labels[:1500])
    updates = tuple(update.weights for update in trained.updates)
    game = Game(parse_model(trained.model_json), test, updates, (1,) * 10)
    masks = np.random.default_rng(2).integers(1, 1024, BATCH).tolist()
    counts = UtilityEngine(game).counts(masks)
    assert all(inside(game, masks, counts))
    assert np.abs(counts[:6] - keras_counts(game, masks[:6])).max() <= 2


def test_who_comes_later_takes_the_threads_that_there_are(make_game: Make) -> None:
    """TensorFlow's threads are fixed once it runs: an engine that asks for others counts all the same."""
    game = make_game(2)
    found = [UtilityEngine(game, threads=threads).counts([1, 2, 3]).tolist() for threads in (1, 2)]
    assert found[0] == found[1]
