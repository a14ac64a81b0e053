"""The logits of many aggregates in float64, without bounds: what `reference` computes of every coalition and image.

Images stand last, so that the windows of a convolution are gathered in long runs, and are taken in parts of which all
windows stay in a core's cache; weights are averaged once for all parts of a chunk.
"""

from collections.abc import Iterator
from functools import reduce
from typing import Final

import numpy as np

from fedcoin_cli.learning.game.game import CHUNK_IMAGES, Floats
from fedcoin_cli.learning.model.features import Conv, Pool, windows
from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.reference.forward import ACTIVATIONS

Layer = tuple[Floats, Floats]
"""Kernels (masks, units, inputs) and biases (masks, units, 1) of one layer of some aggregates."""
Stack = tuple[Floats, Floats]
"""Kernels (K, inputs·units) and biases (K, units) of one layer of all clients."""

_PART_VALUES: Final = 1 << 20
_LEAST_IMAGES: Final = 16
_WEIGHTS: Final = 1 << 22
_MOST_MASKS: Final = 32
# What nothing interrupts; with bounds it takes several times as long.
_STEP_FLOP: Final = 10**9


class Aggregates:
    """Averages of the clients' models; `upper` are the layers above the first."""

    def __init__(self, spec: ModelSpec, upper: list[Stack]) -> None:
        self._spec, self._upper = spec, upper
        flop = max(1, spec.flop_above)
        fitting = max(_LEAST_IMAGES, min(CHUNK_IMAGES, _PART_VALUES // max(1, spec.laid_out, spec.widest)))
        self.images = max(1, min(fitting, _STEP_FLOP // flop))
        """So many images are taken at a time."""
        weights = sum(kernels.shape[1] for kernels, _ in upper)
        self.masks = max(1, min(_MOST_MASKS, _WEIGHTS // max(1, weights), _STEP_FLOP // (flop * self.images)))
        """Of so many coalitions the weights are averaged together."""

    def layers(self, shares: Floats) -> list[Layer]:
        """The averaged weights above the first layer."""
        return [
            (
                (shares @ kernels).reshape(len(shares), -1, biases.shape[1]).transpose(0, 2, 1),
                (shares @ biases)[:, :, None],
            )
            for kernels, biases in self._upper
        ]

    @np.errstate(over="ignore", invalid="ignore")  # whoever asks tells apart what overflows
    def logits(self, shares: Floats, layers: list[Layer], block: Floats) -> Floats:
        """(masks, classes, images), from all clients' first pre-activations of some images (K, units, images)."""
        size = max(1, _PART_VALUES // (block.shape[2] * self._spec.widest))
        flat = block.reshape(len(block), -1)
        logits = np.empty((len(shares), self._spec.classes, block.shape[2]))
        for start in range(0, len(shares), size):
            rows = slice(start, start + size)
            values = (shares[rows] @ flat).reshape(-1, *block.shape[1:])
            logits[rows] = self._through(values, iter([(one[rows], two[rows]) for one, two in layers]))
        return logits

    def _through(self, values: Floats, layers: Iterator[Layer]) -> Floats:
        values = ACTIVATIONS[self._spec.first.activation](values)
        if self._spec.features:
            values = self._through_features(values, layers)
        for layer, (kernels, biases) in zip(self._spec.above, layers, strict=True):
            values = ACTIVATIONS[layer.activation](kernels @ values + biases)
        return values

    def _through_features(self, values: Floats, layers: Iterator[Layer]) -> Floats:
        """(masks, units, images) in and out; in between (masks, rows, columns, channels, images)."""
        first, *rest = self._spec.features
        values = values.reshape(len(values), *first.output_shape, -1)
        for feature in rest:
            if isinstance(feature, Pool):
                values = _pooled(values, feature)
            else:
                values = ACTIVATIONS[feature.activation](_convolved(values, feature, *next(layers)))
        return values.reshape(len(values), -1, values.shape[-1])


def _convolved(values: Floats, conv: Conv, kernels: Floats, biases: Floats) -> Floats:
    """One product a coalition: its kernels with what all windows of all images hold."""
    masks, *_, images = values.shape
    rows, columns, filters = conv.output_shape
    channels = conv.shape[2]
    padded = np.pad(values, [(0, 0), *conv.pads, (0, 0), (0, 0)]) if any(map(any, conv.pads)) else values
    held = np.empty((masks, conv.inputs // channels, channels, rows, columns, images))
    for place, part in enumerate(_runs(padded, conv.kernel, conv.strides)):
        held[:, place] = part.transpose(0, 3, 1, 2, 4)
    product = kernels @ held.reshape(masks, conv.inputs, -1) + biases
    return product.reshape(masks, filters, rows, columns, images).transpose(0, 2, 3, 1, 4)


def _pooled(values: Floats, pool: Pool) -> Floats:
    parts = _runs(values, pool.size, pool.strides)
    if pool.largest:
        return reduce(np.maximum, parts)
    whole: Floats = reduce(np.add, parts) / (pool.size[0] * pool.size[1])
    return whole


def _runs(values: Floats, size: tuple[int, int], strides: tuple[int, int]) -> Iterator[Floats]:
    """As `features.windows`, where images stand behind the channels."""
    for part in windows(values.transpose(0, 4, 1, 2, 3), size, strides):
        yield part.transpose(0, 2, 3, 4, 1)
