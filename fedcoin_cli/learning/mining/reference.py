"""The float64 reference: what a coalition's count is, and the interval [lo, hi] in which an honest count lies.

For an image let margin = true-class logit minus the largest other, and ε = factor · 2·10⁻⁶ × the largest entry of
its absolute pass: shares of |Z_k| over the coalition, then shares of |weights| and |biases| through the layers. The
absolute pass averages absolute values, never the absolute value of an average, so that updates which cancel each
other widen the interval instead of slipping through it. lo counts margins > +ε, hi counts margins ≥ −ε.
Whose claim is wrong is for the consensus to say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.features import Conv, Pool
from fedcoin_cli.learning.mining.forward import ACTIVATIONS, FirstLayer, convolved, pooled
from fedcoin_cli.learning.mining.game import Floats, Game
from fedcoin_cli.learning.model import Dense

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
        totals = np.zeros((len(masks), 3), np.int64)
        for _ in self.steps(masks, factor, totals):
            pass
        return [Interval(int(lo), int(count), int(hi)) for lo, count, hi in totals]

    def steps(
        self, masks: Sequence[int], factor: int, totals: npt.NDArray[np.int64]
    ) -> Iterator[tuple[int, int]]:
        """The same in small steps, adding lo, count and hi to `totals` (masks, 3): yields done, of how much.

        Widths only grow on the way.
        """
        shares = self.game.shares(masks)
        widest, every = self.game.spec.widest, len(self.first.chunks) * len(masks)
        for index, (label, positions) in enumerate(self.first.chunks):
            block = self.first.block(index)
            pair = (block, np.abs(block))
            size = max(1, _BATCH_VALUES // (len(positions) * widest))
            for start in range(0, len(masks), size):
                rows = slice(start, start + size)
                totals[rows] += self._chunk_totals(pair, shares[rows], label, factor)
                yield index * len(masks) + min(start + size, len(masks)), every

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
        weights = iter(self._upper)
        values, bounds = _activated(self.game.spec.first.activation, (values, bounds))
        if self.game.spec.features:
            values, bounds = self._through_features(shares, (values, bounds), weights)
        for layer, (kernels, biases) in zip(self.game.spec.above, weights, strict=True):
            # (K, inputs·units) → transposed kernels (masks, units, inputs)
            shape = (-1, layer.inputs, layer.units)
            values = _mixed(shares, kernels, shape) @ values + (shares @ biases)[:, :, None]
            bounds = _mixed(shares, np.abs(kernels), shape) @ bounds + (shares @ np.abs(biases))[:, :, None]
            values, bounds = _activated(layer.activation, (values, bounds))
        return values, bounds.max(axis=1)

    def _through_features(
        self, shares: Floats, pair: tuple[Floats, Floats], weights: Iterator[tuple[Floats, Floats]]
    ) -> tuple[Floats, Floats]:
        """The front above its first convolution: (masks, units, images) in and out, flattened as Keras flattens."""
        first, *rest = self.game.spec.features
        shape = (len(shares), *first.output_shape, -1)
        values, bounds = (part.reshape(shape).transpose(0, 4, 1, 2, 3) for part in pair)
        for feature in rest:
            if isinstance(feature, Pool):
                values, bounds = pooled(values, feature), pooled(bounds, feature)
                continue
            kernels, biases = next(weights)
            size = (-1, feature.inputs, feature.filters)
            values = convolved(values, feature, (shares @ kernels).reshape(size), shares @ biases)
            kernels, biases = np.abs(kernels), np.abs(biases)
            bounds = convolved(bounds, feature, (shares @ kernels).reshape(size), shares @ biases)
            values, bounds = _activated(feature.activation, (values, bounds))
        flat = (len(shares), values.shape[1], -1)
        return values.reshape(flat).transpose(0, 2, 1), bounds.reshape(flat).transpose(0, 2, 1)


def _mixed(shares: Floats, kernels: Floats, shape: tuple[int, int, int]) -> Floats:
    mixed: Floats = (shares @ kernels).reshape(shape).transpose(0, 2, 1)
    return mixed


def _activated(activation: str, pair: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    values, bounds = pair
    return ACTIVATIONS[activation](values), _absolute(activation, bounds)


def _absolute(activation: str, bounds: Floats) -> Floats:
    """How large an activation can be, and how much it can amplify an error, when its input is within `bounds`."""
    return np.maximum(bounds, 1.0) if activation == "sigmoid" else bounds


def _upper_weights(game: Game) -> list[tuple[Floats, Floats]]:
    """Kernels (K, inputs·units) and biases (K, units) of each layer above the first, clients stacked."""
    tensors = zip(*game.updates, strict=True)
    pairs = []
    layers: tuple[Conv | Dense, ...] = (*game.spec.convolutions, *game.spec.layers)
    for layer in layers:
        kernels = np.array(next(tensors), np.float64)
        biases = np.zeros((game.clients, kernels.shape[-1]))
        if layer.use_bias:
            biases = np.array(next(tensors), np.float64)
        pairs.append((kernels.reshape(game.clients, -1), biases))
    return pairs[1:]
