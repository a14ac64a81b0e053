"""The utility engine: counts of correctly labelled test images for batches of coalitions, in float32.

Theory. A layer that is linear in its weights gives the aggregate the average of the clients' pre-activations, so the
first layer is computed once a client (in float64, rounded once) and a coalition costs one row of a matrix product
`shares @ Z` instead of a rebuilt model. Shares sum to 1, hence activations see the true average and no
running sum can drift. Images are grouped by label, so "correct" is a slice and two maxima instead of an argmax:
the true logit is strictly above all lower classes and at least equal to the higher ones (ties: lowest class).
Everything is written in `keras.ops` and compiled by `predict_on_batch`, on whichever backend Keras runs. What is
special to models with a convolutional front lives in `convnet`.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.backend import devices, keras, ops, use_threads
from fedcoin_cli.learning.mining.forward import CHUNK_IMAGES, FirstLayer
from fedcoin_cli.learning.mining.game import Game

BATCH: Final = 32
"""Coalitions evaluated together on a CPU; a chunk of their first layer stays in the cache of a core."""
_GPU_FACTOR: Final = 16
"""So many times as many on a GPU, where starting an operation takes longer than a small operation."""
_GPU_VALUES: Final = 1 << 28
"""Values of a layer that a GPU holds at a time: 1 GiB."""


class UtilityEngine:
    """Counts of one game's coalitions.

    Args:
        game: the loaded problem.
        first: the first layer, where somebody (the reference) has it already.
        threads: cores to use; 0 leaves it to the backend. Takes effect before the first use of Keras only.

    It holds 4·K·n·units bytes of pre-activations; a batch adds a few MiB, on a GPU up to a few GiB.
    """

    batch: int = BATCH

    def __init__(self, game: Game, first: FirstLayer | None = None, threads: int = 0) -> None:
        if threads:
            use_threads(threads)
        self.game = game
        if devices() == "gpu":
            chunk = max(CHUNK_IMAGES, game.images // 100)
            self.batch = max(1, min(_GPU_FACTOR * self.batch, _GPU_VALUES // (game.spec.widest * chunk)))
        inputs = keras.Input(batch_shape=(self.batch, game.clients), name="shares")
        self._model = keras.Model(inputs, self._layer(first or FirstLayer(game))(inputs), name="utility")
        # TensorFlow is faster without XLA; elsewhere Keras' own choice: JAX would not compile at all without it.
        self._model.compile(jit_compile=False if keras.backend.backend() == "tensorflow" else "auto")
        # The first call traces the graph, a second or two: not within a slice of mining.
        self.counts([game.full])

    def counts(self, masks: Sequence[int]) -> npt.NDArray[np.int64]:
        """u(mask) in images for each non-empty mask, in order."""
        counts = np.empty(len(masks), np.int64)
        for start in range(0, len(masks), self.batch):
            part = masks[start : start + self.batch]
            # The compiled graph has one shape: the last batch is filled up with a coalition that is not read.
            padded = [*part, *[part[0]] * (self.batch - len(part))]
            shares = self.game.shares(padded).astype(np.float32)
            counts[start : start + len(part)] = self._model.predict_on_batch(shares)[: len(part)]
        return counts

    def _layer(self, first: FirstLayer) -> "CountsLayer":
        return CountsLayer(self.game, first, self.batch)


class CountsLayer(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Shares (batch, K) → counts (batch,) int32."""

    def __init__(self, game: Game, first: FirstLayer, batch: int) -> None:
        super().__init__(name="counts", trainable=False)
        self._batch = batch
        self._above = game.spec.above
        self._activation = keras.activations.get(game.spec.first.activation)
        self._activations = [keras.activations.get(layer.activation) for layer in game.spec.above]
        self._chunks = [
            (
                label,
                len(positions),
                self.constant(f"first_{index}", first.block(index).reshape(game.clients, -1)),
            )
            for index, (label, positions) in enumerate(first.chunks)
        ]
        self._upper = self._stacked(game)

    def constant(self, name: str, value: npt.NDArray[Any]) -> Any:
        """Data as a frozen weight: every backend then keeps it on its device."""
        weight = self.add_weight(name=name, shape=value.shape, initializer="zeros", trainable=False)
        weight.assign(value.astype(np.float32))
        return weight

    def _stacked(self, game: Game) -> list[tuple[Any, Any]]:
        """Of each layer above the first, all clients' transposed kernels and biases, one row a client."""
        skipped = len(game.spec.weight_shapes) - sum(len(layer.weight_shapes) for layer in self._above)
        tensors = zip(*(update[skipped:] for update in game.updates), strict=True)
        pairs = []
        for index, layer in enumerate(self._above, 1):
            kernels = np.stack(next(tensors)).transpose(0, 2, 1).reshape(game.clients, -1)
            biases = np.stack(next(tensors)) if layer.use_bias else np.zeros((game.clients, layer.units))
            pairs.append((self.constant(f"kernel_{index}", kernels), self.constant(f"bias_{index}", biases)))
        return pairs

    def call(self, shares: Any) -> Any:
        """Sum the correct images over all chunks."""
        upper = [
            (
                ops.reshape(ops.matmul(shares, kernels), (self._batch, layer.units, layer.inputs)),
                ops.reshape(ops.matmul(shares, biases), (self._batch, layer.units, 1)),
            )
            for layer, (kernels, biases) in zip(self._above, self._upper, strict=True)
        ]
        front = self.mix_front(shares)
        counts = ops.zeros((self._batch,), "int32")
        for label, images, block in self._chunks:
            values = ops.reshape(ops.matmul(shares, block), (self._batch, -1, images))
            values = self.through_front(self._activation(values), front)
            for activation, (kernel, bias) in zip(self._activations, upper, strict=True):
                values = activation(ops.matmul(kernel, values) + bias)
            counts += ops.sum(ops.cast(_correct(values, label), "int32"), axis=1)
        return counts

    def mix_front(self, shares: Any) -> Any:  # noqa: ARG002 -- for models that have one
        """The aggregates' weights of the front above its first layer."""
        return None

    def through_front(self, values: Any, front: Any) -> Any:  # noqa: ARG002 -- as above
        """From the first layer's outputs (batch, units, images) to the Dense layers' inputs, of the same form."""
        return values


def _correct(logits: Any, label: int) -> Any:
    """Which images of class `label` are labelled so, from logits (batch, classes, images)."""
    true = logits[:, label]
    correct = true >= ops.max(logits[:, label:], axis=1)
    if label == 0:
        return correct
    return ops.logical_and(correct, true > ops.max(logits[:, :label], axis=1))
