"""All coalitions of a game on whatever device Keras' backend has, judged by the float64 reference.

`python -m benchmarks.gpu [--clients 20] [--images 10000] [--model cnn] [--json] [--counts FILE.npy]`.
`--model cnn` puts convolutions that differ from client to client, and a pooling, before the Dense layers. It needs
NumPy, Keras and one backend, and no data: clients are trained here, in NumPy, on noisy pictures of ten random patterns,
each client mostly on some of them. `--counts` keeps the counts, to be compared with another machine's.
"""

import argparse
import time
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.machine import finish, machine
from fedcoin_cli.learning.engines.engine import UtilityEngine
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.backend import devices, keras
from fedcoin_cli.learning.model.features import Conv, Feature, Pool
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.weights import TestSet, Weights
from fedcoin_cli.learning.reference.forward import FirstLayer, convolved, pooled
from fedcoin_cli.learning.reference.reference import Reference

VALUES, UNITS, CLASSES = 784, 128, 10
NOISE = 8.0
STEPS, BATCH, RATE = 200, 32, 0.05

SIDE, FILTERS = 28, 4
DRIFT = 0.05
"""How far clients' convolutions lie apart."""
FRONTS: dict[str, tuple[Feature, ...]] = {
    "mlp": (),
    "cnn": (
        Conv((SIDE, SIDE, 1), FILTERS, (3, 3), (2, 2), True, "relu", True),
        Conv((SIDE // 2, SIDE // 2, FILTERS), FILTERS, (3, 3), (1, 1), True, "relu", True),
        Pool((SIDE // 2, SIDE // 2, FILTERS), (2, 2), (2, 2), True),
    ),
}

Floats = npt.NDArray[np.float32]


def main() -> None:
    """Train, enumerate, check, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--model", choices=("mlp", "cnn"), default="mlp")
    parser.add_argument("--checked", type=int, default=1_000)
    parser.add_argument("--counts", type=Path)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    game = synthetic_game(chosen.clients, chosen.images, FRONTS[chosen.model])
    first = FirstLayer(game)
    started = time.perf_counter()
    engine = UtilityEngine(game, first)
    ready_s = time.perf_counter() - started
    counts = engine.counts(range(1, 1 << game.clients))
    counted_s = time.perf_counter() - started - ready_s
    if chosen.counts:
        np.save(chosen.counts, counts)
    number = min(chosen.checked, len(counts))
    places = np.random.default_rng(0).choice(len(counts), number, replace=False).tolist()
    bounds = Reference(game, first).intervals([1 + place for place in places])
    pairs = [(int(counts[place]), bound) for place, bound in zip(places, bounds, strict=True)]
    run = {
        "model": chosen.model,
        "K": game.clients,
        "images": game.images,
        "batch": engine.batch,
        "preparing s": ready_s,
        "counting s": counted_s,
        "microseconds a coalition": 1e6 * counted_s / len(counts),
        "best count": int(counts.max()),
        "checked": number,
        "outside": sum(not bound.lo <= count <= bound.hi for count, bound in pairs),
        "differ": sum(count != bound.count for count, bound in pairs),
    }
    backend = f"{keras.backend.backend()} on {devices()}, Keras {keras.__version__}"
    finish({"backend": backend, "runs": [run], "machine": machine()}, chosen.json, {"runs": [run]})


def synthetic_game(clients: int, images: int, front: tuple[Feature, ...] = ()) -> Game:
    """The same game on every machine, up to the last bits of its weights."""
    rng = np.random.default_rng(7)
    patterns = rng.standard_normal((CLASSES, VALUES)).astype(np.float32)
    inputs = prod(front[-1].output_shape) if front else VALUES
    layers = (Dense(inputs, UNITS, "relu", True), Dense(UNITS, CLASSES, "linear", True))
    spec = ModelSpec(front[0].shape if front else (VALUES,), layers, front)
    start = [
        (rng.standard_normal(shape) / np.sqrt(prod(shape[:-1]))).astype(np.float32)
        for shape in spec.weight_shapes
    ]
    updates = tuple(_train(start, front, patterns, client, rng) for client in range(clients))
    labels = rng.integers(0, CLASSES, images)
    pictures = _pictures(patterns, labels, rng).reshape(-1, *spec.input_shape)
    return Game(spec, TestSet(pictures, labels.astype(np.int32)), updates, (1,) * clients)


def _pictures(patterns: Floats, labels: npt.NDArray[np.int64], rng: np.random.Generator) -> Floats:
    noise = rng.standard_normal((len(labels), VALUES)).astype(np.float32)
    return patterns[labels] + np.float32(NOISE) * noise


def _train(
    start: list[Floats], front: tuple[Feature, ...], patterns: Floats, client: int, rng: np.random.Generator
) -> Weights:
    """Plain gradient steps on pictures of which four in five are of the client's own class.

    Convolutions are drawn, each client's a little different, and not trained.
    """
    drawn = [
        weights + np.float32(DRIFT) * rng.standard_normal(weights.shape, np.float32) for weights in start[:-4]
    ]
    kernel, bias, upper, offset = (weights.copy() for weights in start[-4:])
    for _ in range(STEPS):
        labels = np.where(rng.random(BATCH) < 0.8, client % CLASSES, rng.integers(0, CLASSES, BATCH))
        images = _through(front, drawn, _pictures(patterns, labels, rng))
        hidden = np.maximum(images @ kernel + bias, 0)
        logits = hidden @ upper + offset
        error: Any = np.exp(logits - logits.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(BATCH), labels] -= 1
        back = (error @ upper.T) * (hidden > 0)
        scale = np.float32(RATE / BATCH)
        upper -= scale * hidden.T @ error
        offset -= scale * error.sum(axis=0)
        kernel -= scale * images.T @ back
        bias -= scale * back.sum(axis=0)
    return (*drawn, kernel, bias, upper, offset)


def _through(front: tuple[Feature, ...], weights: list[Floats], images: Floats) -> Floats:
    """Pictures (b, values) through the convolutions and poolings, flattened again."""
    values: Any = images.reshape(-1, *front[0].shape) if front else images
    left = iter(weights)
    for feature in front:
        if isinstance(feature, Pool):
            values = pooled(values, feature)
        else:
            kernel = next(left).reshape(1, feature.inputs, feature.filters).astype(np.float64)
            bias = next(left)[None].astype(np.float64)
            values = np.maximum(convolved(values[None], feature, kernel, bias)[0], 0)
    flat: Floats = values.reshape(len(images), -1).astype(np.float32)
    return flat


if __name__ == "__main__":
    main()
