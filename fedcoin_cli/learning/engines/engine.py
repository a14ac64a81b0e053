"""The utility engine: counts of correctly labelled test images for batches of coalitions.

Theory. A layer that is linear in its weights gives the aggregate the average of the clients' pre-activations, so the
first layer is computed once a client (in float64, rounded once) and a coalition costs one row of a matrix product
`shares @ Z` instead of a rebuilt model. Shares sum to 1, hence activations see the true average and no
running sum can drift. Images are grouped by label, so "correct" is a slice and two maxima instead of an argmax:
the true logit is strictly above all lower classes and at least equal to the higher ones (ties: lowest class).
Long sums are cut, and models of many layers are counted in double above the pre-activations (see `arithmetic`).
Everything is written in `keras.ops` and compiled by `predict_on_batch`, on whichever backend Keras runs. What is
special to convolutional fronts lives in `convnet`.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.engines.arithmetic import activated, constant, kept, product
from fedcoin_cli.learning.engines.convnet import stacked_front, through_front
from fedcoin_cli.learning.game.game import CHUNK_IMAGES, Floats, Game
from fedcoin_cli.learning.model.backend import devices, keras, ops, use_threads
from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.reference.forward import FirstLayer
from fedcoin_cli.learning.reference.tolerance import BLOCK, CHAIN, wide

BATCH: Final = 128
"""Coalitions evaluated together on a CPU."""
PART_IMAGES: Final = 64
"""Images of one label at a time on a CPU: their first layer for a batch stays in the cache of a core."""
CONV_BATCH: Final = 8
"""The same of a convolutional front: the windows of a chunk of images take some ten MiB each."""
_GPU_FACTOR: Final = 4
"""So many times as large on a GPU, where starting an operation takes longer than a small operation."""
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

    def __init__(self, game: Game, first: FirstLayer | None = None, threads: int = 0) -> None:
        if threads:
            use_threads(threads)
        self.game = game
        self.batch, part_images = (CONV_BATCH, CHUNK_IMAGES) if game.chain.features else (BATCH, PART_IMAGES)
        if devices() == "gpu":
            part_images = max(_GPU_FACTOR * part_images, game.images // 100)
            fitting = _GPU_VALUES // (game.chain.widest * part_images)
            self.batch = max(1, min(_GPU_FACTOR * self.batch, fitting))
        self._real = "float64" if wide(game.chain) else "float32"
        inputs = keras.Input(batch_shape=(self.batch, game.clients), name="shares", dtype=self._real)
        layer = _Counts(game, first or FirstLayer(game), self.batch, part_images)
        self._model = keras.Model(inputs, layer(inputs), name="utility")
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
            shares = self.game.shares(padded).astype(self._real)
            counts[start : start + len(part)] = self._model.predict_on_batch(shares)[: len(part)]
        return counts


class _Counts(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Shares (batch, K) → counts (batch,) int32."""

    def __init__(self, game: Game, first: FirstLayer, batch: int, part_images: int) -> None:
        self.real = "float64" if wide(game.chain) else "float32"
        super().__init__(name="counts", trainable=False, dtype=self.real)
        self._batch, self._spec = batch, game.chain
        self._labels = [
            (label, [constant(self, f"first_{label}_{index}", part) for index, part in enumerate(parts)])
            for label, parts in _parts(first, part_images)
        ]
        self._upper = [constant(self, f"upper_{index}", part) for index, part in enumerate(stacked(game))]

    def call(self, shares: Any) -> Any:
        """Sum the correct images over all chunks."""
        upper = [self._mixed(shares, part) for part in self._upper]
        counts = ops.zeros((self._batch,), "int32")
        for label, parts in self._labels:
            logits = ops.concatenate([self._logits(shares, part, upper) for part in parts], axis=2)
            counts += ops.sum(ops.cast(_correct(logits, label), "int32"), axis=1)
        return counts

    def _logits(self, shares: Any, part: Any, upper: Sequence[Any]) -> Any:
        """What the aggregates say of some images: (batch, classes, images)."""
        values = ops.reshape(self._mixed(shares, part), (self._batch, self._spec.first_values, -1))
        return logits_of(self._spec, values, upper, self.real)

    def _mixed(self, shares: Any, part: Any) -> Any:
        """Averages (batch, values) of the clients' rows (K, values)."""
        return product(shares, ops.cast(part, self.real), CHAIN)


def stacked(game: Game) -> list[Floats]:
    """Of each layer above the first, all clients' kernels and then biases, one row a client.

    A dense kernel is (blocks of inputs, units, `BLOCK`), filled up with zeros: each block is a sum of its own.
    """
    above, clients = game.chain.above, game.clients
    parts = list(stacked_front(game)) if game.chain.features else []
    skipped = len(game.chain.weight_shapes) - sum(len(layer.weight_shapes) for layer in above)
    tensors = zip(*(update[skipped:] for update in game.updates), strict=True)
    for layer in above:
        kernels = np.zeros((clients, -layer.inputs % BLOCK + layer.inputs, layer.units))
        kernels[:, : layer.inputs] = next(tensors)
        blocks = kernels.reshape(clients, -1, BLOCK, layer.units).transpose(0, 1, 3, 2)
        parts.append(blocks.reshape(clients, -1))
        parts.append(np.stack(next(tensors)) if layer.use_bias else np.zeros((clients, layer.units)))
    return parts


def logits_of(spec: ModelSpec, values: Any, upper: Sequence[Any], real: str) -> Any:
    """Logits (batch, classes, images) of aggregates, from their first pre-activations (batch, units, images).

    `upper` are their weights above the first layer, (batch, …), as `stacked` gives the clients'.
    """
    weights, (batch, _, images) = iter(upper), values.shape
    values = kept(activated(spec.first.activation, values), real)
    if spec.features:
        values = through_front(spec, values, weights, real)
    for layer in spec.above:
        missing = -layer.inputs % BLOCK
        if missing:
            values = ops.pad(values, ((0, 0), (0, missing), (0, 0)))
        blocks = (layer.inputs + missing) // BLOCK
        kernel = ops.reshape(next(weights), (batch, blocks, layer.units, BLOCK))
        bias = ops.reshape(next(weights), (batch, layer.units, 1))
        sums = ops.sum(kernel @ ops.reshape(values, (batch, blocks, BLOCK, images)), axis=1)
        values = kept(activated(layer.activation, sums + bias), real)
    return values


def _parts(first: FirstLayer, images: int) -> Iterator[tuple[int, list[npt.NDArray[np.float64]]]]:
    """Each label with its first pre-activations, (K, units · at most `images`) a part."""
    numbered = enumerate(label for label, _ in first.chunks)
    for label, chunks in groupby(numbered, key=lambda each: each[1]):
        whole = np.concatenate([first.block(index) for index, _ in chunks], axis=2)
        cuts = range(images, whole.shape[2], images)
        yield label, [part.reshape(len(part), -1) for part in np.split(whole, cuts, axis=2)]


def _correct(logits: Any, label: int) -> Any:
    """Which images of class `label` are labelled so, from logits (batch, classes, images)."""
    true = logits[:, label]
    correct = true >= ops.max(logits[:, label:], axis=1)
    if label == 0:
        return correct
    return ops.logical_and(correct, true > ops.max(logits[:, :label], axis=1))
