"""Federated linear softmax in NumPy: the model, the clients and the rounds of Song, Tong and Wei's experiments.

Weights are one matrix (pixels + 1, labels): the last row is the bias, and every image ends with a one. A client's steps
go through its images in their order. That order is part of the experiment: the published code never shuffles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

RATE: Final = 0.1
DECAY: Final = 0.9
"""The learning rate falls by this factor from round to round."""
BATCH: Final = 100

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Data:
    """Images as rows (n, pixels + 1) that end with a one, and labels (n,)."""

    images: Floats
    labels: npt.NDArray[np.int64]
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, images: npt.NDArray[np.float32], labels: npt.NDArray[np.integer], classes: int) -> "Data":
        """From images (n, …) with pixels from 0 to 1."""
        flat = images.reshape(len(images), -1)
        return cls(np.hstack([flat, np.ones((len(flat), 1), np.float32)]), labels.astype(np.int64), classes)

    def right(self, models: Floats) -> list[int]:
        """How many images each of (models, pixels + 1, labels) labels correctly; of equal outputs the first counts."""
        side_by_side = models.transpose(1, 0, 2).reshape(models.shape[1], -1)
        outputs = (self.images @ side_by_side).reshape(len(self), len(models), -1)
        found: list[int] = (outputs.argmax(axis=2) == self.labels[:, None]).sum(axis=0).tolist()
        return found


@dataclass(frozen=True, slots=True)
class Course:
    """What training over all clients leaves: the global model before each round and after the last, and the steps.

    `models` has rounds + 1 matrices; `steps[t][i]` is by how much client i moved the model of round t.
    """

    models: tuple[Floats, ...]
    steps: tuple[tuple[Floats, ...], ...]


def train(clients: Sequence[Data], rounds: int) -> Course:
    """Federated averaging by the clients' numbers of images, from weights of zero."""
    sizes = np.array([len(client) for client in clients], np.float64)
    shares = (sizes / sizes.sum()).astype(np.float32)
    model = np.zeros((clients[0].images.shape[1], clients[0].classes), np.float32)
    models, steps = [model], []
    for number in range(rounds):
        rate = RATE * DECAY**number
        moved = tuple(_passed(model, client, rate) - model for client in clients)
        model = model + sum((share * step for share, step in zip(shares, moved, strict=True)), 0 * model)
        models.append(model)
        steps.append(moved)
    return Course(tuple(models), tuple(steps))


def _passed(model: Floats, client: Data, rate: float) -> Floats:
    """The model after one pass over a client's images."""
    weights, wanted = model.copy(), np.eye(client.classes, dtype=np.float32)[client.labels]
    for first in range(0, len(client), BATCH):
        images = client.images[first : first + BATCH]
        outputs = images @ weights
        odds = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        gradient = odds / odds.sum(axis=1, keepdims=True) - wanted[first : first + BATCH]
        weights -= np.float32(rate / len(images)) * (images.T @ gradient)
    return weights
