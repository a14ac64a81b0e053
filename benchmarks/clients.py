"""Simulated clients in plain NumPy, for benchmarks that train thousands of them.

One hidden layer, softmax, plain SGD. All begin with the same weights; data and splits
are the product's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.simulation.datasets import Dataset, as_float
from fedcoin_cli.learning.simulation.splits import Part, split_of

Weights = tuple[npt.NDArray[np.float32], ...]
HIDDEN: Final = 32
_BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Trained:
    """Where all began, each client's weights and examples, and how to train one more on data of its own."""

    initial: Weights
    updates: tuple[Weights, ...]
    examples: tuple[int, ...]
    parts: tuple[Part, ...]


def trained(dataset: Dataset, split: str, clients: int, epochs: int, seed: int) -> Trained:
    """K clients, each trained on its part of the data."""
    draw = np.random.default_rng(seed)
    parts = split_of(split)(dataset, clients, draw)
    initial = drawn(int(np.prod(dataset.input_shape)), dataset.classes, draw)
    updates = tuple(train(initial, part.images, part.labels, epochs, draw) for part in parts)
    return Trained(initial, updates, tuple(len(part.labels) for part in parts), tuple(parts))


def drawn(inputs: int, classes: int, draw: np.random.Generator) -> Weights:
    """Initial weights as Keras draws them: uniform, by fan-in and fan-out; no bias."""
    found: list[npt.NDArray[np.float32]] = []
    for rows, columns in ((inputs, HIDDEN), (HIDDEN, classes)):
        limit = np.sqrt(6 / (rows + columns))
        found.append(draw.uniform(-limit, limit, (rows, columns)).astype(np.float32))
        found.append(np.zeros(columns, np.float32))
    return tuple(found)


def train(
    initial: Weights,
    images: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    epochs: int,
    draw: np.random.Generator,
    rate: float = 0.1,
) -> Weights:
    """One client's weights after some passes over its data."""
    pixels = as_float(images).reshape(len(labels), -1)
    first, bias, last, last_bias = (part.copy() for part in initial)
    wanted = np.eye(last.shape[1], dtype=np.float32)[labels]
    for _ in range(epochs):
        order = draw.permutation(len(labels))
        for start in range(0, len(order), _BATCH):
            some = order[start : start + _BATCH]
            x = pixels[some]
            hidden = np.maximum(x @ first + bias, 0)
            outputs = hidden @ last + last_bias
            outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            error = (outputs / outputs.sum(axis=1, keepdims=True) - wanted[some]) * np.float32(
                rate / len(some)
            )
            below = (error @ last.T) * (hidden > 0)
            last -= hidden.T @ error
            last_bias -= error.sum(axis=0)
            first -= x.T @ below
            bias -= below.sum(axis=0)
    return first, bias, last, last_bias


def accuracy(weights: Weights, test: TestSet) -> float:
    """The part of a test set that weights label correctly."""
    first, bias, last, last_bias = weights
    hidden = np.maximum(as_float(test.images).reshape(len(test), -1) @ first + bias, 0)
    return float(((hidden @ last + last_bias).argmax(axis=1) == test.labels).mean())


def mean(updates: Sequence[Weights]) -> Weights:
    """The plain mean of some clients' weights."""
    return tuple(
        np.average(np.array(parts, np.float64), axis=0).astype(np.float32)
        for parts in zip(*updates, strict=True)
    )


def tabular(seed: int, rows: int = 8000, columns: int = 20, classes: int = 4) -> Dataset:
    """A table with a seed: Gaussian columns, labels drawn by a random network's softmax, a quarter for the test."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((rows, columns)).astype(np.float32)
    hidden = np.maximum(x @ draw.standard_normal((columns, 16)), 0)
    outputs = hidden @ draw.standard_normal((16, classes))
    labels = (outputs + draw.gumbel(size=outputs.shape)).argmax(axis=1).astype(np.int32)
    held = rows // 4
    return Dataset("table", x[held:], labels[held:], TestSet(x[:held], labels[:held]))
