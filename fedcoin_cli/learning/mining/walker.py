"""The C kernel along rankings: how a game and its blocks become the arrays of `walks.c`.

Compiling and loading live in `compiled`; which walker suits a game is `choice`'s business.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.mining.blocks import aligned, pointer
from fedcoin_cli.learning.mining.compiled import library
from fedcoin_cli.learning.mining.forward import FirstLayer
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.partition import Partition
from fedcoin_cli.learning.mining.walks import Counts, Orders

LANES: Final = 16
"""Images in a row, as in `walks.c`."""

_BLOCKS_AT_ONCE: Final = 4
_RELU: Final = {"linear": 0, "relu": 1}
_NO_IMAGE: Final = -1

Floats = npt.NDArray[np.float32]
Int32s = npt.NDArray[np.int32]


class KernelWalker:
    """Counts of one game's coalitions along rankings, block by block.

    Args:
        game: one that `kernel.suits`.
        partition: its test set's blocks.
        first: the first layer, where somebody (the reference) has it already.
        threads: cores to use.

    It holds 4·K·n·units bytes of pre-activations, each client's times the client's weight in an aggregate.
    """

    def __init__(
        self, game: Game, partition: Partition, first: FirstLayer | None = None, threads: int = 1
    ) -> None:
        self.game, self._blocks = game, len(partition)
        self._functions = library()
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._threads = threads
        tile = self._functions.fedcoin_walk_tile()
        units = [layer.units for layer in game.spec.layers]
        # Above the first layer whole tiles are computed; what is added has weights of zero and is never looked at.
        self._units = np.array([units[0], *(-(-unit // tile) * tile for unit in units[1:])], np.int32)
        self._relu = np.array([_RELU[layer.activation] for layer in game.spec.layers[:-1]], np.int32)
        # The largest weight becomes 1: sums stay as small as one client's values times K.
        self._weights = (np.array(game.weights, np.float64) / max(game.weights)).astype(np.float32)
        rows = -(-partition.sizes // LANES)
        self._starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int32)
        self._first, self._labels = self._in_rows(partition, first or FirstLayer(game))
        self._kernels, self._biases = self._upper()

    def ends(self) -> tuple[Counts, Counts]:
        """u(∅), which is 0 without a baseline, and u(full) of each block, (blocks,)."""
        everyone = np.tile(np.arange(self.game.clients, dtype=np.uint16), (self._blocks, 1, 1))
        full = self._counts(range(self._blocks), everyone, self.game.clients)[:, 0, -1]
        return np.zeros(self._blocks, np.int64), full.astype(np.int64)

    def walk(self, blocks: range, walked: Orders) -> npt.NDArray[np.uint8]:
        """The counts of the proper coalitions on the way of rankings (blocks, r, K): (blocks, r, K − 1)."""
        return self._counts(blocks, walked, self.game.clients - 1).astype(np.uint8)

    def _counts(self, blocks: range, walked: Orders, steps: int) -> npt.NDArray[np.uint16]:
        counts = np.zeros((len(blocks), walked.shape[1], steps), np.uint16)
        walked = np.ascontiguousarray(walked)
        starts = iter(range(0, len(blocks), _BLOCKS_AT_ONCE))  # shared: whoever is free takes the next
        if self._pool is None:
            self._work(blocks, walked, counts, starts)
        else:
            running = [
                self._pool.submit(self._work, blocks, walked, counts, starts) for _ in range(self._threads)
            ]
            for one in running:
                one.result()
        return counts

    def _work(
        self, blocks: range, walked: Orders, counts: npt.NDArray[np.uint16], starts: Iterator[int]
    ) -> None:
        """One thread, with memory of its own."""
        clients, widest = self.game.clients, int(self._units.max())
        kernel_size, bias_size = self._kernels.shape[1], self._biases.shape[1]
        sums = aligned((int(self._units[0]), LANES), np.float32)
        kernel, bias = aligned((max(1, kernel_size),), np.float32), aligned((max(1, bias_size),), np.float32)
        values = aligned((2, widest, LANES), np.float32)
        offsets = self._starts[blocks.start :]
        for start in starts:
            self._functions.fedcoin_walk(
                *(pointer(self._first), pointer(self._labels), pointer(offsets)),
                *(start, min(start + _BLOCKS_AT_ONCE, len(blocks)), clients),
                *(pointer(walked), walked.shape[1], counts.shape[2]),
                *(pointer(self._units), len(self._relu), self.game.spec.classes, pointer(self._relu)),
                *(
                    pointer(self._kernels),
                    pointer(self._biases),
                    pointer(self._weights),
                    kernel_size,
                    bias_size,
                ),
                *(pointer(sums), pointer(kernel), pointer(bias), pointer(values), widest, pointer(counts)),
            )

    def _in_rows(self, partition: Partition, first: FirstLayer) -> tuple[Floats, Int32s]:
        """Pre-activations by weight, (rows, K, units, LANES), and labels, (rows, LANES); no image has label −1."""
        clients, rows = self.game.clients, int(self._starts[-1])
        within = np.arange(len(partition.images)) - np.repeat(partition.starts[:-1], partition.sizes)
        row = np.empty(len(partition.images), np.int64)
        row[partition.images] = np.repeat(self._starts[:-1], partition.sizes) + within // LANES
        lane = np.empty_like(row)
        lane[partition.images] = within % LANES
        laid = aligned((rows, clients, int(self._units[0]), LANES), np.float32)
        labels = np.full((rows, LANES), _NO_IMAGE, np.int32)
        labels[row, lane] = self.game.test.labels
        scale = self._weights.astype(np.float64)[:, None, None]
        for chunk, (_, positions) in enumerate(first.chunks):
            scaled = (first.block(chunk) * scale).astype(np.float32)
            laid[row[positions], :, :, lane[positions]] = scaled.transpose(2, 0, 1)
        return laid, labels

    def _upper(self) -> tuple[Floats, Floats]:
        """Each client's layers above the first by weight, padded to whole tiles: kernels and biases, (K, …)."""
        clients, layers = self.game.clients, self.game.spec.layers
        kernels, biases = [np.zeros((clients, 0), np.float32)], [np.zeros((clients, 0), np.float32)]
        tensors = zip(*(update[len(layers[0].weight_shapes) :] for update in self.game.updates), strict=True)
        for layer, inputs, outputs in zip(layers[1:], self._units, self._units[1:], strict=False):
            kernel = np.zeros((clients, inputs, outputs), np.float32)
            kernel[:, : layer.inputs, : layer.units] = next(tensors)
            bias = np.zeros((clients, outputs), np.float32)
            if layer.use_bias:
                bias[:, : layer.units] = next(tensors)
            kernels.append(kernel.reshape(clients, -1))
            biases.append(bias)
        weights = self._weights[:, None]
        return np.concatenate(kernels, axis=1) * weights, np.concatenate(biases, axis=1) * weights
