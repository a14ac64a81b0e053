"""Convolutional fronts in `keras.ops`: every layer above the first convolution as batches of stacked weights.

A convolution with another kernel for each coalition is a batched matrix product of the windows' values: no backend has
such an operation, and grouped convolutions are slow or missing on CPUs. The first convolution is linear in its weights
and comes, as everywhere, from the clients' own.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fedcoin_cli.learning.engines.arithmetic import activated, kept, product
from fedcoin_cli.learning.game.game import Floats, Game
from fedcoin_cli.learning.model.backend import ops
from fedcoin_cli.learning.model.features import Conv, Pool, windows
from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.reference.tolerance import BLOCK


def stacked_front(game: Game) -> Iterator[Floats]:
    """Of each convolution above the first, all clients' kernels and then biases, one row a client."""
    first, *above = game.chain.convolutions
    tensors = zip(*(update[len(first.weight_shapes) :] for update in game.updates), strict=True)
    for conv in above:
        yield np.stack(next(tensors)).reshape(game.clients, -1).astype(np.float64)
        yield np.stack(next(tensors)) if conv.use_bias else np.zeros((game.clients, conv.filters))


def through_front(spec: ModelSpec, values: Any, weights: Iterator[Any], real: str) -> Any:
    """From the first layer's outputs (batch, units, images) to the Dense layers' inputs, of the same form.

    `weights` are those of the aggregates, (batch, …), as `stacked_front` gives the clients'.
    """
    first, *rest = spec.features
    batch, images = values.shape[0], values.shape[2]
    pictures = ops.reshape(values, (batch, *first.output_shape, images))
    pictures = ops.transpose(pictures, (0, 4, 1, 2, 3))
    for feature in rest:
        if isinstance(feature, Pool):
            pictures = _pooled(pictures, feature)
        else:
            pictures = _convolved(pictures, feature, next(weights), next(weights))
        pictures = kept(pictures, real)
    return ops.transpose(ops.reshape(pictures, (batch, images, -1)), (0, 2, 1))


def _convolved(pictures: Any, conv: Conv, kernels: Any, biases: Any) -> Any:
    batch, images = pictures.shape[:2]
    padded = ops.pad(pictures, ((0, 0), (0, 0), *conv.pads, (0, 0)))
    held = ops.concatenate(list(windows(padded, conv.kernel, conv.strides)), axis=-1)
    kernels = ops.reshape(kernels, (batch, conv.inputs, conv.filters))
    flat = product(ops.reshape(held, (batch, -1, conv.inputs)), kernels, BLOCK)
    flat += ops.reshape(biases, (batch, 1, conv.filters))
    return activated(conv.activation, ops.reshape(flat, (batch, images, *conv.output_shape)))


def _pooled(pictures: Any, pool: Pool) -> Any:
    first, *others = windows(pictures, pool.size, pool.strides)
    for part in others:
        # Keras' maximum is float32 on PyTorch, whatever comes in.
        first = ops.where(first > part, first, part) if pool.largest else first + part
    return first if pool.largest else first / (len(others) + 1)
