"""A small real game: clients that trained the same network on their own part of noisy clusters, one of them badly.

Made in NumPy in a fraction of a second, so that every attack meets real weights, real counts and real tables.
"""

import json
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from fedcoin_cli.learning.coalitions.exact import exact_numerators
from fedcoin_cli.learning.coalitions.partition import Indices
from fedcoin_cli.learning.engines.choice import engine_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.weights import TestSet, Weights, write_test, write_update
from fedcoin_cli.learning.reference.reference import Reference

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
VALUES, HIDDEN, CLASSES = 12, 10, 6
EXAMPLES, STEPS, RATE = 90, 80, 0.4
REFERENCE_LABELS = 1 << 19
SPEC = ModelSpec((VALUES,), (Dense(VALUES, HIDDEN, "relu", True), Dense(HIDDEN, CLASSES, "linear", True)))
MODEL_JSON: dict[str, Any] = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {
        "layers": [
            {"module": "keras.layers", "class_name": name, "config": config}
            for name, config in (
                ("InputLayer", {"batch_shape": [None, VALUES]}),
                ("Dense", {"units": HIDDEN, "activation": "relu"}),
                ("Dense", {"units": CLASSES, "activation": "linear"}),
            )
        ]
    },
}


@dataclass(frozen=True, slots=True)
class Played:
    """A game with all its counts; entry 0 of `counts` is u(∅)."""

    game: Game
    counts: Counts

    @property
    def clients(self) -> int:
        return self.game.clients

    @property
    def images(self) -> int:
        return self.game.images

    @property
    def values(self) -> Floats:
        """Exact Shapley values in percentage points."""
        numerators = exact_numerators(self.counts[1:], 0, self.clients)
        scale = sum(numerators) / (self.counts[-1] - self.counts[0])
        values: Floats = np.array(numerators, np.float64) / scale * 100 / self.images
        return values


@cache
def small_game(clients: int = 8, images: int = 300, seed: int = 1) -> Played:
    """The game of a seed."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLASSES, VALUES))
    pictures, labels = _draw(rng, centres, images, np.ones(CLASSES))
    updates = tuple(_client(rng, centres, number, clients) for number in range(clients))
    return play(Game(SPEC, TestSet(pictures.astype(np.float32), labels), updates, (1,) * clients))


def play(game: Game) -> Played:
    """Count every coalition: in float64, or where that would take seconds as miners do."""
    masks = range(1, 1 << game.clients)
    if len(masks) * game.images > REFERENCE_LABELS:
        return Played(game, np.concatenate([[game.empty], engine_for(game).counts(masks)]))
    intervals = Reference(game).intervals(masks)
    return Played(game, np.array([game.empty, *(bounds.count for bounds in intervals)], np.int64))


def part_of(game: Game, images: Indices) -> Game:
    """The same game on some of its images."""
    return replace(game, test=TestSet(game.test.images[images], game.test.labels[images]))


def write_game(game: Game, folder: Path) -> dict[str, Path]:
    """The game as a round's files: model, test, and client-001 onwards."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / name for name in ("model", "test")}
    paths["model"].write_text(json.dumps(MODEL_JSON))
    write_test(paths["test"], game.test)
    for number, update in enumerate(game.updates, 1):
        paths[f"client-{number:03d}"] = folder / f"client-{number:03d}"
        write_update(folder / f"client-{number:03d}", update)
    return paths


def _draw(rng: Generator, centres: Floats, count: int, odds: Floats) -> tuple[Floats, npt.NDArray[np.int32]]:
    labels = rng.choice(CLASSES, count, p=odds / odds.sum()).astype(np.int32)
    return centres[labels] + rng.normal(scale=1.1, size=(count, VALUES)), labels


def _client(rng: Generator, centres: Floats, number: int, clients: int) -> Weights:
    """Client `number` sees two classes often and the others seldom; the last one's labels are half wrong."""
    odds = np.full(CLASSES, 0.3)
    odds[[number % CLASSES, (number + 1) % CLASSES]] = 1.0
    pictures, labels = _draw(rng, centres, EXAMPLES, odds)
    if number == clients - 1:
        wrong = rng.random(EXAMPLES) < 0.5
        labels = np.where(wrong, rng.integers(0, CLASSES, EXAMPLES), labels).astype(np.int32)
    return _trained(pictures, labels)


def _trained(pictures: Floats, labels: npt.NDArray[np.int32]) -> Weights:
    """Plain gradient descent from weights that all share."""
    start = np.random.default_rng(7)
    layers = [
        [start.normal(scale=(2 / inputs) ** 0.5, size=(inputs, units)), np.zeros(units)]
        for inputs, units in pairwise((VALUES, HIDDEN, CLASSES))
    ]
    truth = np.eye(CLASSES)[labels]
    for _ in range(STEPS):
        hidden = np.maximum(pictures @ layers[0][0] + layers[0][1], 0)
        logits = hidden @ layers[1][0] + layers[1][1]
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        slope = (odds / odds.sum(axis=1, keepdims=True) - truth) / len(pictures)
        below = (slope @ layers[1][0].T) * (hidden > 0)
        for layer, values, gradient in ((layers[1], hidden, slope), (layers[0], pictures, below)):
            layer[0] -= RATE * values.T @ gradient
            layer[1] -= RATE * gradient.sum(axis=0)
    return tuple(part.astype(np.float32) for layer in layers for part in layer)
