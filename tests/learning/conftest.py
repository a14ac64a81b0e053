import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.weights import TestSet, Weights

Make = Callable[..., Game]


def random_update(spec: ModelSpec, rng: np.random.Generator, scale: float = 1.0) -> Weights:
    return tuple((scale * rng.standard_normal(shape)).astype(np.float32) for shape in spec.weight_shapes)


@pytest.fixture
def spec() -> ModelSpec:
    """A small model of the seed's kind: 3×3 images, 6 hidden units, 4 classes."""
    return ModelSpec((3, 3), (Dense(9, 6, "relu", True), Dense(6, 4, "linear", True)))


@pytest.fixture
def make_game(spec: ModelSpec) -> Make:
    """Random games without any training: `make_game(clients, images, weights=…, spec=…, seed=…)`."""

    def make(
        clients: int,
        images: int = 40,
        weights: tuple[int, ...] = (),
        model: ModelSpec = spec,
        seed: int = 0,
    ) -> Game:
        rng = np.random.default_rng(seed)
        pictures = rng.standard_normal((images, *model.input_shape)).astype(np.float32)
        labels = rng.integers(0, model.classes, images).astype(np.int32)
        updates = tuple(random_update(model, rng) for _ in range(clients))
        return Game(model, TestSet(pictures, labels), updates, weights or (1,) * clients, empty=3)

    return make


@pytest.fixture(scope="session")
def mnist_path() -> Path:
    """MNIST where this machine has it; what needs it is skipped elsewhere."""
    root = Path(__file__).parents[2]
    path = Path(os.environ.get("FEDCOIN_MNIST", root.parent / "shared" / "data" / "mnist.npz"))
    if not path.is_file():
        pytest.skip(f"no MNIST at {path}: name one in FEDCOIN_MNIST")
    return path
