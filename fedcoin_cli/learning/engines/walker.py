"""The C kernel along rankings: how a game and its blocks become the arrays of `walks.c`.

Compiling and loading live in `compiled`; which walker suits a game is `choice`'s business.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.coalitions.walks import Counts, Orders
from fedcoin_cli.learning.engines.blocks import BENT, aligned, pointer
from fedcoin_cli.learning.engines.compiled import library
from fedcoin_cli.learning.engines.rows import weighted_rows
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.metrics.nobody import of_blocks
from fedcoin_cli.learning.reference.forward import FirstLayer
from fedcoin_cli.learning.reference.tolerance import wide

LANES: Final = 16
"""Images in a row, as in `walks.c`."""

LIFT: Final = 2.0**16
"""Kernels are so many times as large, as in `walks.c`."""

_BLOCKS_AT_ONCE: Final = 4

Bytes = npt.NDArray[np.uint8]


class KernelWalker:
    """Counts of one game's coalitions along rankings, block by block.

    Args:
        game: one that `kernel.suits`.
        partition: its test set's blocks.
        first: the first layer, where somebody (the reference) has it already.
        threads: cores to use.

    It holds 4·K·n·units bytes of pre-activations, each client's times the client's weight in an aggregate.
    """

    together = 1

    def __init__(
        self, game: Game, partition: Partition, first: FirstLayer | None = None, threads: int = 1
    ) -> None:
        self.game, self._partition, self._blocks = game, partition, len(partition)
        self._real = np.float64 if wide(game.chain) else np.float32
        functions = library()
        self._function = functions.fedcoin_walk_wide if wide(game.chain) else functions.fedcoin_walk
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._threads = threads
        tile = functions.fedcoin_walk_tile()
        units = [layer.units for layer in game.chain.layers]
        # Above the first layer whole tiles are computed; what is added has weights of zero and is never looked at.
        self._units = np.array([units[0], *(-(-unit // tile) * tile for unit in units[1:])], np.int32)
        self._relu = np.array([BENT[layer.activation] for layer in game.chain.layers[:-1]], np.int32)
        self._weights = np.array(game.weights, np.float64)
        # The largest weight becomes 1: sums stay as small as one client's values times K.
        self._relative = self._weights / max(game.weights)
        self._rows = weighted_rows(partition, first or FirstLayer(game), LANES)
        self._upper = self._stacked()
        self._ends = self._found_ends()

    def ends(self) -> tuple[Counts, Counts]:
        """u(∅), what the task's baseline is worth, and u(full) of each block, (blocks,)."""
        return self._ends

    def _found_ends(self) -> tuple[Counts, Counts]:
        number, baseline = self._blocks, self.game.baseline
        everyone = np.tile(np.arange(self.game.clients, dtype=np.uint16), (number, 1, 1))
        full = self._counts(range(number), everyone, self.game.clients)[:, 0, -1].astype(np.int64)
        if baseline is None:
            return of_blocks(self.game, self._partition), full
        return KernelWalker(self.game.of_update(baseline), self._partition).ends()[1], full

    def walk(self, blocks: range, walked: Orders) -> Bytes:
        """Counts (blocks, rankings, K − 1) of the proper coalitions on the way of `walked` (blocks, rankings, K)."""
        return self._counts(blocks, walked, self.game.clients - 1)

    def _counts(self, blocks: range, walked: Orders, steps: int) -> Bytes:
        counts = np.zeros((len(blocks), walked.shape[1], steps), np.uint8)
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

    def _work(self, blocks: range, walked: Orders, counts: Bytes, starts: Iterator[int]) -> None:
        """One thread, with memory of its own."""
        row, widest, size = LANES * int(self._units[0]), int(self._units.max()), self._upper.shape[1]
        memory = aligned((max(row, size) + 2 * row + 3 * size + 2 * LANES * widest,), self._real)
        offsets = self._rows.starts[blocks.start :]
        for start in starts:
            self._function(
                *(pointer(self._rows.values), pointer(self._rows.labels), pointer(offsets)),
                *(start, min(start + _BLOCKS_AT_ONCE, len(blocks)), self.game.clients),
                *(pointer(walked), walked.shape[1], counts.shape[2]),
                *(pointer(self._units), len(self._relu), self.game.chain.classes, pointer(self._relu)),
                *(pointer(self._upper), size, pointer(self._weights), max(self.game.weights) / LIFT),
                max(self.game.weights),
                *(pointer(memory), widest, pointer(counts)),
            )

    def _stacked(self) -> npt.NDArray[Any]:
        """Each client's layers above the first by weight, padded to whole tiles: kernels and biases, (K, …)."""
        clients, layers = self.game.clients, self.game.chain.layers
        parts: list[npt.NDArray[np.float64]] = []
        tensors = zip(*(update[len(layers[0].weight_shapes) :] for update in self.game.updates), strict=True)
        for layer, inputs, outputs in zip(layers[1:], self._units, self._units[1:], strict=False):
            kernel, bias = np.zeros((clients, inputs, outputs)), np.zeros((clients, outputs))
            kernel[:, : layer.inputs, : layer.units] = next(tensors)
            if layer.use_bias:
                bias[:, : layer.units] = next(tensors)
            parts += [LIFT * kernel.reshape(clients, -1), bias]
        size = sum(part.shape[1] for part in parts)
        upper = aligned((clients, -(-size // LANES) * LANES), self._real)
        if parts:
            upper[:, :size] = np.concatenate(parts, axis=1) * self._relative[:, None]
        return upper
