"""A small game as a researcher holds it in Python, and its Shapley values by plain NumPy."""

from fractions import Fraction
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

import fedcoin

SIDE, HIDDEN, CLASSES, IMAGES = 4, 6, 3, 60
MODEL = fedcoin.mlp((SIDE, SIDE), [HIDDEN], CLASSES)
SHAPES = ((SIDE * SIDE, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,))

Arrays = list[npt.NDArray[Any]]


def toy(clients: int, images: int = IMAGES) -> tuple[tuple[npt.NDArray[Any], npt.NDArray[Any]], list[Arrays]]:
    """Test images with labels, and updates of clients of whom each is worse than the one before."""
    draw = np.random.default_rng(0)
    truth = [draw.normal(size=shape) for shape in SHAPES]
    pixels = draw.random((images, SIDE, SIDE), dtype=np.float32)
    labels = logits(pixels, truth).argmax(axis=1)
    noise = [[draw.normal(scale=0.8 * number, size=shape) for shape in SHAPES] for number in range(clients)]
    updates = [[weight + step for weight, step in zip(truth, steps, strict=True)] for steps in noise]
    return (pixels, labels), [[weight.astype(np.float32) for weight in update] for update in updates]


def logits(pixels: npt.NDArray[Any], weights: Arrays) -> npt.NDArray[Any]:
    """What the model says of images, in float64."""
    kernel, bias, upper, upper_bias = (weight.astype(np.float64) for weight in weights)
    hidden = np.maximum(pixels.reshape(len(pixels), -1).astype(np.float64) @ kernel + bias, 0)
    return np.asarray(hidden @ upper + upper_bias)


def brute_force(
    test: tuple[npt.NDArray[Any], npt.NDArray[Any]], updates: list[Arrays], examples: list[int] | None = None
) -> list[Fraction]:
    """Values in percentage points by the definition: all coalitions, averaged one by one."""
    pixels, labels = test
    clients, weights = len(updates), examples or [1] * len(updates)
    right: dict[tuple[int, ...], int] = {(): 0}
    for members in (some for size in range(1, clients + 1) for some in combinations(range(clients), size)):
        mean = [
            np.average(
                [updates[one][place] for one in members], axis=0, weights=[weights[one] for one in members]
            )
            for place in range(len(SHAPES))
        ]
        right[members] = int((logits(pixels, mean).argmax(axis=1) == labels).sum())
    values = []
    for client in range(clients):
        gains = (
            Fraction(
                right[tuple(sorted((*others, client)))] - count, clients * comb(clients - 1, len(others))
            )
            for others, count in right.items()
            if client not in others
        )
        values.append(100 * sum(gains, Fraction(0)) / len(labels))
    return values
