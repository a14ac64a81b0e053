"""The engine for models with a convolutional front: every layer above the first as batches of stacked weights.

A convolution with another kernel for each coalition is a batched matrix product of the windows' values: no backend has
such an operation, and grouped convolutions are slow or missing on CPUs. The first convolution is linear in its weights
and comes, as everywhere, from the clients' own.
"""

from typing import Any, Final

import numpy as np

from fedcoin_cli.learning.backend import ops
from fedcoin_cli.learning.features import Conv, Pool, windows
from fedcoin_cli.learning.mining.engine import CountsLayer, UtilityEngine, activated, product
from fedcoin_cli.learning.mining.forward import FirstLayer
from fedcoin_cli.learning.mining.game import CHUNK_IMAGES, Game
from fedcoin_cli.learning.mining.tolerance import BLOCK

BATCH: Final = 8
"""Coalitions evaluated together: the windows of a chunk of images take some ten MiB each."""


class ConvEngine(UtilityEngine):
    """Counts of the coalitions of a game whose model has a convolutional front."""

    batch = BATCH
    part_images = CHUNK_IMAGES

    def _layer(self, first: FirstLayer) -> CountsLayer:
        return _ConvCounts(self.game, first, self.batch, self.part_images)


class _ConvCounts(CountsLayer):
    """As `CountsLayer`, with the front between the first convolution and the Dense layers."""

    def __init__(self, game: Game, first: FirstLayer, batch: int, part_images: int) -> None:
        super().__init__(game, first, batch, part_images)
        self._front = game.spec.features
        self._stacks = self._stacked_front(game)

    def _stacked_front(self, game: Game) -> list[tuple[Any, Any]]:
        """Of each convolution above the first, all clients' kernels and biases, one row a client."""
        first, *above = game.spec.convolutions
        skipped = len(first.weight_shapes)
        tensors = zip(*(update[skipped:] for update in game.updates), strict=True)
        pairs = []
        for index, conv in enumerate(above, 1):
            kernels = np.stack(next(tensors)).reshape(game.clients, -1)
            biases = np.stack(next(tensors)) if conv.use_bias else np.zeros((game.clients, conv.filters))
            names = f"front_kernel_{index}", f"front_bias_{index}"
            pairs.append((self.constant(names[0], kernels), self.constant(names[1], biases)))
        return pairs

    def mix_front(self, shares: Any) -> list[tuple[Any, Any]]:
        """Kernels (batch, values of a window, filters) and biases (batch, 1, filters) of the aggregates."""
        convolutions = [feature for feature in self._front[1:] if isinstance(feature, Conv)]
        return [
            (
                self.mixed(shares, kernels, (self._batch, conv.inputs, conv.filters)),
                self.mixed(shares, biases, (self._batch, 1, conv.filters)),
            )
            for conv, (kernels, biases) in zip(convolutions, self._stacks, strict=True)
        ]

    def through_front(self, values: Any, front: list[tuple[Any, Any]]) -> Any:
        """From (batch, units, images) through pictures (batch, images, rows, columns, channels) and back."""
        images, weights = values.shape[2], iter(front)
        pictures = ops.reshape(values, (self._batch, *self._front[0].output_shape, images))
        pictures = ops.transpose(pictures, (0, 4, 1, 2, 3))
        for feature in self._front[1:]:
            if isinstance(feature, Pool):
                pictures = _pooled(pictures, feature)
            else:
                pictures = self._convolved(pictures, feature, *next(weights))
            pictures = self.kept(pictures)
        return ops.transpose(ops.reshape(pictures, (self._batch, images, -1)), (0, 2, 1))

    def _convolved(self, pictures: Any, conv: Conv, kernels: Any, biases: Any) -> Any:
        padded = ops.pad(pictures, ((0, 0), (0, 0), *conv.pads, (0, 0)))
        held = ops.concatenate(list(windows(padded, conv.kernel, conv.strides)), axis=-1)
        flat = product(ops.reshape(held, (self._batch, -1, conv.inputs)), kernels, BLOCK) + biases
        shape = (self._batch, pictures.shape[1], *conv.output_shape)
        return activated(conv.activation, ops.reshape(flat, shape))


def _pooled(pictures: Any, pool: Pool) -> Any:
    first, *others = windows(pictures, pool.size, pool.strides)
    for part in others:
        # Keras' maximum is float32 on PyTorch, whatever comes in.
        first = ops.where(first > part, first, part) if pool.largest else first + part
    return first if pool.largest else first / (len(others) + 1)
