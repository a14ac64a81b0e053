"""Counts along rankings in `keras.ops`: what `walker` is where the C kernel cannot count, and on a GPU.

A row is one ranking of one block. Its coalitions' sums are running sums over the members' weighted values, taken
`CHAIN` at a time, on which those of the next ones stand; divided by the coalitions' weights they are the averages.
That holds for the first pre-activations of the block's images, of mixed labels, and for the weights above them alike:
an addition a step, where a product of shares and values costs K of them. The rest is `engine`'s. Many rows are counted
in a call, so that its overhead does not dominate. The roundings are those of `walks.c`: one of a value times its
weight, at most CHAIN − 1 of a chain and one for each further chain, two of the division; nothing else is multiplied.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.backend import devices, keras, ops, use_threads
from fedcoin_cli.learning.mining.arithmetic import constant, kept
from fedcoin_cli.learning.mining.engine import logits_of, stacked
from fedcoin_cli.learning.mining.forward import FirstLayer
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.partition import Partition
from fedcoin_cli.learning.mining.rows import Rows, weighted_rows
from fedcoin_cli.learning.mining.tolerance import CHAIN, wide
from fedcoin_cli.learning.mining.walks import Counts, Orders

_CPU_VALUES: Final = 1 << 21
"""Values of a layer, or of kernels, that a call holds at a time on a CPU: 8 MiB, some hundredths of a second."""
_GPU_VALUES: Final = 1 << 26
_LEAST_CHAIN: Final = 32
"""So many coalitions are evaluated together where a whole chain of them has no room: 32 + K / 32 additions are no
more than 64 + K / 64 for up to 2,048 clients."""


class KerasWalker:
    """Counts of one game's coalitions along rankings, block by block.

    Args:
        game: the loaded problem.
        partition: its test set's blocks.
        first: the first layer, where somebody (the reference) has it already.
        threads: cores to use; 0 leaves it to the backend. Takes effect before the first use of Keras only.

    It holds 4·K·n·units bytes of pre-activations, each client's times the client's weight in an aggregate.
    """

    def __init__(
        self, game: Game, partition: Partition, first: FirstLayer | None = None, threads: int = 0
    ) -> None:
        if threads:
            use_threads(threads)
        self.game, self._partition = game, partition
        rows = weighted_rows(partition, first or FirstLayer(game), int(partition.sizes.max()))
        self._real = "float64" if wide(game.spec) else "float32"
        self._weights = np.array(game.weights, np.float64)
        together, self.rows = _sizes(game, rows.lanes)
        inputs = [
            keras.Input(batch_shape=(self.rows,), name="blocks", dtype="int32"),
            keras.Input(batch_shape=(self.rows, game.clients), name="orders", dtype="int32"),
            keras.Input(batch_shape=(self.rows, game.clients), name="scales", dtype=self._real),
        ]
        layer = _Walks(game, rows, together)
        self._model = keras.Model(inputs, layer(*inputs), name="walks")
        # TensorFlow is faster without XLA; elsewhere Keras' own choice: JAX would not compile at all without it.
        self._model.compile(jit_compile=False if keras.backend.backend() == "tensorflow" else "auto")
        # The first call traces the graph, a second or two: not within a slice of mining.
        self._ends = self._found_ends()

    def ends(self) -> tuple[Counts, Counts]:
        """u(∅), which is 0 without a baseline and else what it counts, and u(full) of each block, (blocks,)."""
        return self._ends

    def walk(self, blocks: range, walked: Orders) -> npt.NDArray[np.uint8]:
        """Counts (blocks, rankings, K − 1) of the proper coalitions on the way of rankings (blocks, rankings, K)."""
        return self._counts(blocks, walked)[:, :, :-1].astype(np.uint8)

    def _found_ends(self) -> tuple[Counts, Counts]:
        number, baseline = len(self._partition), self.game.baseline
        everyone = np.tile(np.arange(self.game.clients, dtype=np.uint16), (number, 1, 1))
        full = self._counts(range(number), everyone)[:, 0, -1]
        if baseline is None:
            return np.zeros(number, np.int64), full
        return KerasWalker(self.game.of_update(baseline), self._partition).ends()[1], full

    def _counts(self, blocks: range, walked: Orders) -> Counts:
        """The counts of all coalitions on the way, (blocks, rankings, K)."""
        places = np.repeat(np.array(blocks, np.int32), walked.shape[1])
        rows = walked.reshape(-1, walked.shape[2]).astype(np.int32)
        scales = (self._weights.max() / np.cumsum(self._weights[rows], axis=1)).astype(self._real)
        counts = np.empty(rows.shape, np.int64)
        for start in range(0, len(rows), self.rows):
            # The compiled graph has one shape: the last batch is filled up with a row that is not read.
            part = np.minimum(np.arange(start, start + self.rows), len(rows) - 1)
            found = self._model.predict_on_batch([places[part], rows[part], scales[part]])
            counts[start : start + self.rows] = found[: len(rows) - start]
        return counts.reshape(walked.shape)


class _Walks(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Blocks (rows,), orders and scales (rows, K) → counts (rows, K) int32."""

    def __init__(self, game: Game, rows: Rows, together: int) -> None:
        self.real = "float64" if wide(game.spec) else "float32"
        super().__init__(name="walks", trainable=False, dtype=self.real)
        self._spec, self._clients, self._together = game.spec, game.clients, together
        self._lanes = rows.lanes
        self._first = constant(self, "first", rows.values.reshape(len(rows.values) * game.clients, -1))
        self._labels = self.add_weight(
            name="labels", shape=rows.labels.shape, initializer="zeros", trainable=False, dtype="int32"
        )
        self._labels.assign(rows.labels)
        relative = np.array(game.weights, np.float64)[:, None] / max(game.weights)
        self._upper = [
            constant(self, f"upper_{index}", relative * part) for index, part in enumerate(stacked(game))
        ]

    def call(self, blocks: Any, orders: Any, scales: Any) -> Any:
        """Chain by chain, each on the sums of those before it."""
        labels = ops.take(self._labels, blocks, axis=0)
        # Client j of block b is row b·K + j of the first pre-activations, and row j of all weights.
        sources = [(self._first, blocks[:, None] * self._clients + orders)]
        sources += [(part, orders) for part in self._upper]
        sums: list[Any] = [None] * len(sources)
        counts = []
        for start in range(0, self._clients, self._together):
            some = slice(start, min(start + self._together, self._clients))
            averages = []
            for index, (part, places) in enumerate(sources):
                running = self._running(part, places[:, some], sums[index])
                sums[index] = running[:, -1:]
                averages.append(running * scales[:, some, None])
            counts.append(self._right(averages, labels))
        return ops.concatenate(counts, axis=1)

    def _running(self, part: Any, places: Any, before: Any) -> Any:
        """The sums of the first, the first two, … of these members and of all those before them."""
        running = ops.cumsum(ops.cast(ops.take(part, places, axis=0), self.real), axis=1)
        return kept(running if before is None else running + before, self.real)

    def _right(self, averages: list[Any], labels: Any) -> Any:
        """How many images each aggregate (rows, coalitions, …) labels as they are labelled; label −1: no image."""
        rows, number = averages[0].shape[:2]
        values, *upper = (ops.reshape(part, (rows * number, part.shape[2])) for part in averages)
        values = ops.reshape(values, (rows * number, self._spec.first_values, self._lanes))
        logits = logits_of(self._spec, values, upper, self.real)
        logits = ops.reshape(logits, (rows, number, self._spec.classes, self._lanes))
        wanted = labels[:, None, None, :]
        own = ops.take_along_axis(
            logits, ops.maximum(wanted, 0) + ops.zeros_like(logits[:, :, :1], "int32"), 2
        )
        classes = ops.reshape(ops.arange(self._spec.classes, dtype="int32"), (1, 1, -1, 1))
        ahead = ops.where(classes < wanted, own > logits, own >= logits)
        right = ops.logical_and(ops.all(ahead, axis=2), labels[:, None, :] >= 0)
        return ops.sum(ops.cast(right, "int32"), axis=2)


def _sizes(game: Game, lanes: int) -> tuple[int, int]:
    """How many coalitions of a row are evaluated together, and how many rows are counted in a call."""
    spec, room = game.spec, _GPU_VALUES if devices() == "gpu" else _CPU_VALUES
    weights = sum(int(np.prod(shape)) for shape in spec.weight_shapes[len(spec.first.weight_shapes) :])
    values = max(lanes * max(spec.widest, spec.laid_out), weights)
    together = CHAIN if CHAIN * values <= room else _LEAST_CHAIN
    return together, max(1, room // (values * min(together, game.clients)))
