"""Counts along rankings in `keras.ops`: what `walker` is where the C kernel cannot count, and on a GPU.

A row is a block and some coalitions on the way of one ranking. Their averages of first pre-activations are one product
of shares and the clients' values on the block's images, of mixed labels; those of the weights above them are another.
The rest is `engine`'s. Many rows are counted in a call, so that its overhead does not dominate.

What clients sent is taken times their weights once for all; where a client has joined its share is one over the
coalition's weight. So a value has three roundings before min(K, CHAIN) + ceil(K / CHAIN) − 2 additions: two less than
`tolerance` has for an average in all.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.coalitions.walks import Counts, Orders
from fedcoin_cli.learning.engines.arithmetic import constant, product
from fedcoin_cli.learning.engines.engine import logits_of, stacked
from fedcoin_cli.learning.engines.rows import Rows, weighted_rows
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.metrics.nobody import of_blocks
from fedcoin_cli.learning.model.backend import devices, keras, ops, use_threads
from fedcoin_cli.learning.reference.forward import FirstLayer
from fedcoin_cli.learning.reference.tolerance import CHAIN, wide

_CPU_VALUES: Final = 1 << 20
"""Values of a layer, or of kernels, that a call holds at a time on a CPU: 4 MiB, some hundredths of a second."""
_GPU_VALUES: Final = 1 << 26
_MOST_COALITIONS: Final = 128


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
        self._real = "float64" if wide(game.chain) else "float32"
        self._weights = np.array(game.weights, np.float64)
        self._steps, self.rows = _sizes(game, rows.lanes)
        self.together = max(1, self.rows * self._steps // game.clients)
        inputs = [
            keras.Input(batch_shape=(self.rows,), name="blocks", dtype="int32"),
            keras.Input(batch_shape=(self.rows, game.clients), name="joined", dtype="int32"),
            keras.Input(batch_shape=(self.rows, self._steps), name="steps", dtype="int32"),
            keras.Input(batch_shape=(self.rows, self._steps), name="scales", dtype=self._real),
        ]
        self._model = keras.Model(inputs, _Walks(game, rows)(*inputs), name="walks")
        # TensorFlow is faster without XLA; elsewhere Keras' own choice: JAX would not compile at all without it.
        self._model.compile(jit_compile=False if keras.backend.backend() == "tensorflow" else "auto")
        # The first call traces the graph, a second or two: not within a slice of mining.
        self._ends = self._found_ends()

    def ends(self) -> tuple[Counts, Counts]:
        """u(∅), what the task's baseline is worth, and u(full) of each block, (blocks,)."""
        return self._ends

    def walk(self, blocks: range, walked: Orders) -> npt.NDArray[np.uint8]:
        """Counts (blocks, rankings, K − 1) of the proper coalitions on the way of rankings (blocks, rankings, K)."""
        return self._counts(blocks, walked)[:, :, :-1].astype(np.uint8)

    def _found_ends(self) -> tuple[Counts, Counts]:
        number, baseline = len(self._partition), self.game.baseline
        everyone = np.tile(np.arange(self.game.clients, dtype=np.uint16), (number, 1, 1))
        full = self._counts(range(number), everyone)[:, 0, -1]
        if baseline is None:
            return of_blocks(self.game, self._partition), full
        return KerasWalker(self.game.of_update(baseline), self._partition).ends()[1], full

    def _counts(self, blocks: range, walked: Orders) -> Counts:
        """The counts of all coalitions on the way, (blocks, rankings, K)."""
        clients = self.game.clients
        orders = walked.reshape(-1, clients).astype(np.intp)
        scales = self._weights.max() / np.cumsum(self._weights[orders], axis=1)
        places = np.repeat(np.array(blocks, np.int32), walked.shape[1])
        joined = np.argsort(orders, axis=1).astype(np.int32)
        # The last steps of a ranking are filled up with the full coalition, the last call with a row: none is read.
        parts = -(-clients // self._steps)
        steps = np.minimum(np.arange(parts * self._steps, dtype=np.int32), clients - 1).reshape(parts, -1)
        counts = np.empty((len(orders) * parts, self._steps), np.int64)
        for start in range(0, len(counts), self.rows):
            rows = np.minimum(np.arange(start, start + self.rows), len(counts) - 1)
            ranking, part = np.divmod(rows, parts)
            scale = scales[ranking[:, None], steps[part]].astype(self._real)
            found = self._model.predict_on_batch([places[ranking], joined[ranking], steps[part], scale])
            counts[start : start + self.rows] = found[: len(counts) - start]
        return counts.reshape(len(orders), -1)[:, :clients].reshape(walked.shape)


class _Walks(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Blocks (rows,), when clients joined (rows, K), steps and scales (rows, steps) → counts (rows, steps) int32."""

    def __init__(self, game: Game, rows: Rows) -> None:
        self.real = "float64" if wide(game.chain) else "float32"
        super().__init__(name="walks", trainable=False, dtype=self.real)
        self._spec, self._lanes = game.chain, rows.lanes
        self._first = constant(self, "first", rows.values.reshape(*rows.values.shape[:2], -1))
        self._labels = self.add_weight(
            name="labels", shape=rows.labels.shape, initializer="zeros", trainable=False, dtype="int32"
        )
        self._labels.assign(rows.labels)
        relative = np.array(game.weights, np.float64)[:, None] / max(game.weights)
        self._upper = [
            constant(self, f"upper_{index}", relative * part) for index, part in enumerate(stacked(game))
        ]

    def call(self, blocks: Any, joined: Any, steps: Any, scales: Any) -> Any:
        """Averages of the rows' coalitions, then what they label correctly."""
        number, clients = steps.shape[1], joined.shape[1]
        members = ops.cast(joined[:, None, :] <= steps[:, :, None], self.real)
        shares = members * scales[:, :, None]
        together = ops.reshape(shares, (-1, clients))
        first = ops.cast(ops.take(self._first, blocks, axis=0), self.real)
        values = ops.reshape(product(shares, first, CHAIN), (-1, self._spec.first_values, self._lanes))
        upper = [product(together, ops.cast(part, self.real), CHAIN) for part in self._upper]
        logits = logits_of(self._spec, values, upper, self.real)
        logits = ops.reshape(logits, (-1, number, self._spec.classes, self._lanes))
        return _correct(logits, ops.take(self._labels, blocks, axis=0)[:, None, None, :])


def _correct(logits: Any, labels: Any) -> Any:
    """How many images coalitions label right, (rows, steps), from logits (rows, steps, classes, images).

    `labels` are (rows, 1, 1, images); −1 where there is no image.
    """
    classes = ops.reshape(ops.arange(logits.shape[2], dtype="int32"), (1, 1, -1, 1))
    own = ops.sum(ops.where(classes == labels, logits, ops.zeros_like(logits)), axis=2, keepdims=True)
    ahead = ops.where(classes < labels, own > logits, own >= logits)
    right = ops.logical_and(ops.all(ahead, axis=2), labels[:, :, 0] >= 0)
    return ops.sum(ops.cast(right, "int32"), axis=2)


def _sizes(game: Game, lanes: int) -> tuple[int, int]:
    """How many coalitions make a row, and how many rows are counted in a call."""
    spec, room = game.chain, _GPU_VALUES if devices() == "gpu" else _CPU_VALUES
    weights = sum(int(np.prod(shape)) for shape in spec.weight_shapes[len(spec.first.weight_shapes) :])
    fitting = max(1, room // max(lanes * max(spec.widest, spec.laid_out), weights))
    parts = -(-game.clients // min(fitting, _MOST_COALITIONS))
    steps = -(-game.clients // parts)
    return steps, max(1, fitting // steps)
