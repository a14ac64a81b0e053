"""The utility engine: counts of correctly labelled test images for batches of coalitions.

Theory. A layer that is linear in its weights gives the aggregate the average of the clients' pre-activations, so the
first layer is computed once a client (in float64, rounded once) and a coalition costs one row of a matrix product
`shares @ Z` instead of a rebuilt model. Shares sum to 1, hence activations see the true average and no
running sum can drift. Images are grouped by label, so "correct" is a slice and two maxima instead of an argmax:
the true logit is strictly above all lower classes and at least equal to the higher ones (ties: lowest class).
Long sums are cut into slices, and models of many layers are counted in double above the pre-activations: how far a
backend's rounding can move a logit then depends on no order of its own (see `tolerance`).
Everything is written in `keras.ops` and compiled by `predict_on_batch`, on whichever backend Keras runs. What is
special to models with a convolutional front lives in `convnet`.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.backend import devices, keras, ops, use_threads
from fedcoin_cli.learning.mining.forward import FirstLayer
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.tolerance import BLOCK, CHAIN, wide

BATCH: Final = 128
"""Coalitions evaluated together on a CPU."""
PART_IMAGES: Final = 64
"""Images of one label at a time on a CPU: their first layer for a batch stays in the cache of a core."""
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

    batch: int = BATCH
    part_images: int = PART_IMAGES

    def __init__(self, game: Game, first: FirstLayer | None = None, threads: int = 0) -> None:
        if threads:
            use_threads(threads)
        self.game = game
        if devices() == "gpu":
            self.part_images = max(_GPU_FACTOR * self.part_images, game.images // 100)
            fitting = _GPU_VALUES // (game.spec.widest * self.part_images)
            self.batch = max(1, min(_GPU_FACTOR * self.batch, fitting))
        self._real = "float64" if wide(game.spec) else "float32"
        inputs = keras.Input(batch_shape=(self.batch, game.clients), name="shares", dtype=self._real)
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
            shares = self.game.shares(padded).astype(self._real)
            counts[start : start + len(part)] = self._model.predict_on_batch(shares)[: len(part)]
        return counts

    def _layer(self, first: FirstLayer) -> "CountsLayer":
        return CountsLayer(self.game, first, self.batch, self.part_images)


class CountsLayer(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Shares (batch, K) → counts (batch,) int32."""

    def __init__(self, game: Game, first: FirstLayer, batch: int, part_images: int) -> None:
        self.real = "float64" if wide(game.spec) else "float32"
        super().__init__(name="counts", trainable=False, dtype=self.real)
        self._batch = batch
        self._above = game.spec.above
        self._first_values = game.spec.first_values
        self._first_activation = game.spec.first.activation
        self._labels = [
            (label, [self.constant(f"first_{label}_{index}", part) for index, part in enumerate(parts)])
            for label, parts in _parts(first, part_images)
        ]
        self._upper = self._stacked(game)

    def constant(self, name: str, value: npt.NDArray[Any]) -> Any:
        """Data in float32 as a frozen weight: every backend then keeps it on its device."""
        weight = self.add_weight(
            name=name, shape=value.shape, initializer="zeros", trainable=False, dtype="float32"
        )
        weight.assign(value.astype(np.float32))
        return weight

    def mixed(self, shares: Any, part: Any, shape: tuple[int, ...]) -> Any:
        """Averages (batch, *shape) of the clients' rows (K, values)."""
        return ops.reshape(product(shares, ops.cast(part, self.real), CHAIN), shape)

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
                self.mixed(shares, kernels, (self._batch, layer.units, layer.inputs)),
                self.mixed(shares, biases, (self._batch, layer.units, 1)),
            )
            for layer, (kernels, biases) in zip(self._above, self._upper, strict=True)
        ]
        front = self.mix_front(shares)
        counts = ops.zeros((self._batch,), "int32")
        for label, parts in self._labels:
            logits = ops.concatenate([self._logits(shares, part, front, upper) for part in parts], axis=2)
            counts += ops.sum(ops.cast(_correct(logits, label), "int32"), axis=1)
        return counts

    def _logits(self, shares: Any, part: Any, front: Any, upper: Sequence[tuple[Any, Any]]) -> Any:
        """What the aggregates say of some images: (batch, classes, images)."""
        values = self.mixed(shares, part, (self._batch, self._first_values, -1))
        values = self.through_front(self.kept(activated(self._first_activation, values)), front)
        for layer, (kernel, bias) in zip(self._above, upper, strict=True):
            values = self.kept(activated(layer.activation, product(kernel, values, BLOCK) + bias))
        return values

    def kept(self, values: Any) -> Any:
        """Values that are as precise as the tolerance takes them to be: some operations narrow.

        Raises:
            TypeError: they are not.
        """
        found = keras.backend.standardize_dtype(values.dtype)
        if found != self.real:
            raise TypeError(f"{keras.backend.backend()} gives {found} where {self.real} is needed")
        return values

    def mix_front(self, shares: Any) -> Any:  # noqa: ARG002 -- for models that have one
        """The aggregates' weights of the front above its first layer."""
        return None

    def through_front(self, values: Any, front: Any) -> Any:  # noqa: ARG002 -- as above
        """From the first layer's outputs (batch, units, images) to the Dense layers' inputs, of the same form."""
        return values


def product(left: Any, right: Any, most: int) -> Any:
    """The matrix product, with at most `most` terms of a sum in a row."""
    terms = left.shape[-1]
    total = left[..., :most] @ right[..., :most, :]
    for start in range(most, terms, most):
        total += left[..., start : start + most] @ right[..., start : start + most, :]
    return total


def activated(name: str, values: Any) -> Any:
    """The activation, in the precision of its input: Keras' tanh is float32 on JAX whatever comes in."""
    if name == "tanh":
        return 2 * ops.sigmoid(2 * values) - 1
    return keras.activations.get(name)(values)


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
