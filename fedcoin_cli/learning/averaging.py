"""The average of clients' weights, as miners judge it."""

from collections.abc import Sequence

import numpy as np

from fedcoin_cli.learning.mining.forward import own_logits
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.weights import Weights


def averaged(game: Game, shares: Sequence[int]) -> Weights:
    """The clients' weights averaged in float64 by their shares, (K,), rounded once."""
    return tuple(
        np.average(np.array(parts, np.float64), axis=0, weights=shares).astype(np.float32)
        for parts in zip(*game.updates, strict=True)
    )


def images_right(game: Game, weights: Weights) -> int:
    """On how many of a game's test images a model of its kind with these weights is right."""
    return int((own_logits(game.of_update(weights), 0).argmax(axis=1) == game.test.labels).sum())
