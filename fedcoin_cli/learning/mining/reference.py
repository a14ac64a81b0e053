"""The float64 reference: what a coalition's count is, and the interval [lo, hi] in which an honest count lies.

For an image let margin = true-class logit minus the largest other, and ε = factor · 2·10⁻⁶ × the largest entry of
its absolute pass: shares of |Z_k| over the coalition, then shares of |weights| and |biases| through the layers. The
absolute pass averages absolute values, never the absolute value of an average, so that updates which cancel each
other widen the interval instead of slipping through it. lo counts margins > +ε, hi counts margins ≥ −ε.
Whose claim is wrong is for the consensus to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.mining.forward import ACTIVATIONS, FirstLayer
from fedcoin_cli.learning.mining.game import Floats, Game

EPSILON: Final = 2e-6
RAISE_FACTOR: Final = 2
"""A node raises a FRAUD outside the interval of 2ε and accepts one outside that of ε."""

_BATCH_VALUES: Final = 1 << 18
"""Values of a chunk handled together: 2 MiB in float64, so that they stay in a core's cache."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A coalition's count in float64 and the bounds of an honest claim, in images."""

    lo: int
    count: int
    hi: int

    @property
    def width(self) -> int:
        return self.hi - self.lo


class Reference:
    """Counts and intervals of one game; memory is bounded by `forward.MAX_CACHED_BYTES` and a few MiB."""

    def __init__(self, game: Game, first: FirstLayer | None = None) -> None:
        self.game = game
        self.first = first or FirstLayer(game)
        self._upper = _upper_weights(game)

    def interval(self, mask: int, factor: int = 1) -> tuple[int, int]:
        """(lo, hi) of one non-empty coalition at factor·ε."""
        bounds = self.intervals([mask], factor)[0]
        return bounds.lo, bounds.hi

    def count(self, mask: int) -> int:
        """Images that one non-empty coalition's aggregate labels correctly, in float64; ties to the lowest class."""
        return self.intervals([mask])[0].count

    def intervals(self, masks: Sequence[int], factor: int = 1) -> list[Interval]:
        """The intervals of several non-empty coalitions, faster together than one by one."""
        shares = self.game.shares(masks)
        totals = np.zeros((len(masks), 3), np.int64)
        widest = max(layer.units for layer in self.game.spec.layers)
        for index, (label, positions) in enumerate(self.first.chunks):
            block = self.first.block(index)
            pair = (block, np.abs(block))
            size = max(1, _BATCH_VALUES // (len(positions) * widest))
            for start in range(0, len(masks), size):
                rows = slice(start, start + size)
                totals[rows] += self._chunk_totals(pair, shares[rows], label, factor)
        return [Interval(int(lo), int(count), int(hi)) for lo, count, hi in totals]

    def magnitudes(self) -> Floats:
        """The largest entry of each client's own absolute pass over all images, (K,)."""
        alone = np.eye(self.game.clients)
        largest = np.zeros(self.game.clients)
        for index in range(len(self.first.chunks)):
            block = self.first.block(index)
            largest = np.maximum(largest, self._through(alone, block, np.abs(block))[1].max(axis=1))
        return largest

    def _chunk_totals(
        self, pair: tuple[Floats, Floats], shares: Floats, label: int, factor: int
    ) -> npt.NDArray[np.int64]:
        """lo, count and hi of each coalition over one chunk, (masks, 3); `pair` is (Z, |Z|), (K, units, images)."""
        mixed = [(shares @ part.reshape(len(part), -1)).reshape(-1, *part.shape[1:]) for part in pair]
        logits, largest = self._through(shares, *mixed)
        true = logits[:, label]
        lower = logits[:, :label].max(axis=1, initial=-np.inf)
        higher = logits[:, label + 1 :].max(axis=1, initial=-np.inf)
        margin = true - np.maximum(lower, higher)
        epsilon = factor * EPSILON * largest
        right = (true > lower) & (true >= higher)
        return np.stack([(margin > epsilon).sum(1), right.sum(1), (margin >= -epsilon).sum(1)], axis=1)

    def _through(self, shares: Floats, values: Floats, bounds: Floats) -> tuple[Floats, Floats]:
        """Logits (masks, classes, images) and each image's largest absolute entry (masks, images)."""
        activation = self.game.spec.layers[0].activation
        for layer, (kernels, biases) in zip(self.game.spec.layers[1:], self._upper, strict=True):
            values, bounds = ACTIVATIONS[activation](values), _absolute(activation, bounds)
            shape = (-1, layer.units, layer.inputs)
            values = (shares @ kernels).reshape(shape) @ values + (shares @ biases)[:, :, None]
            bounds = (shares @ np.abs(kernels)).reshape(shape) @ bounds + (shares @ np.abs(biases))[
                :, :, None
            ]
            activation = layer.activation
        return values, bounds.max(axis=1)


def _absolute(activation: str, bounds: Floats) -> Floats:
    """How large an activation can be, and how much it can amplify an error, when its input is within `bounds`."""
    return np.maximum(bounds, 1.0) if activation == "sigmoid" else bounds


def _upper_weights(game: Game) -> list[tuple[Floats, Floats]]:
    """Transposed kernels (K, units·inputs) and biases (K, units) of each layer above the first, clients stacked."""
    tensors = zip(*game.updates, strict=True)
    pairs = []
    for layer in game.spec.layers:
        kernels = np.array(next(tensors), np.float64).transpose(0, 2, 1).reshape(game.clients, -1)
        biases = (
            np.array(next(tensors), np.float64) if layer.use_bias else np.zeros((game.clients, layer.units))
        )
        pairs.append((kernels, biases))
    return pairs[1:]
