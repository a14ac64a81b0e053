"""The C kernel as an engine: how a game becomes the arrays of `kernel.c`.

Compiling and loading live in `compiled`, threads over blocks of images in `blocks`.
"""

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.walks import Counts
from fedcoin_cli.learning.engines.blocks import (
    BENT,
    LANES,
    BlockThreads,
    Int32s,
    Work,
    aligned,
    mask_words,
    pointer,
)
from fedcoin_cli.learning.engines.compiled import library
from fedcoin_cli.learning.game.game import Game, member_bits
from fedcoin_cli.learning.reference.forward import FirstLayer
from fedcoin_cli.learning.reference.tolerance import CHAIN, wide

BATCH_S: Final = 0.1
"""About how long a batch takes: whoever mines looks for other work in between."""

_TRIED: Final = 64
_TRIES: Final = 3
_MOST_BATCH: Final = 2048
_BATCH_BYTES: Final = 64 << 20

Floats = npt.NDArray[Any]


def suits(game: Game) -> bool:
    """Whether the kernel can count this game here: it is compiled, and there are dense layers alone."""
    return takes(game) and library() is not None


def takes(game: Game) -> bool:
    """Whether a kernel would, where there is a compiler."""
    known = all(layer.activation in BENT for layer in game.chain.layers)
    return known and not game.chain.features


def _quick_order(masks: Sequence[int]) -> list[int]:
    """The places of masks as they stand where most hold the one before them, as along rankings, else ascending."""
    nested = sum(before & after == before for before, after in pairwise(masks))
    places = list(range(len(masks)))
    return places if 2 * nested >= len(masks) else sorted(places, key=masks.__getitem__)


class KernelEngine:
    """Counts of one game's coalitions, as `engine.UtilityEngine` gives them.

    Args:
        game: a game that `suits`.
        first: the first layer, where somebody (the reference) has it already.
        threads: cores to use.

    It holds 4·K·n·units bytes of pre-activations. The sums over members are not divided by their weight: a positive
    scale passes a ReLU and changes no argmax, and tanh and sigmoid put it back. The layers above have true averages as
    kernels, and biases times that weight. Models of many layers are counted in double above the pre-activations (see
    `tolerance`). A batch is quickest when each coalition holds the one before it, or is the next larger mask: others
    are counted ascending.
    """

    def __init__(self, game: Game, first: FirstLayer | None = None, threads: int = 1) -> None:
        self.game = game
        self._functions = library()
        self._real = np.float64 if wide(game.chain) else np.float32
        self._count = (
            self._functions.fedcoin_counts_wide if wide(game.chain) else self._functions.fedcoin_counts
        )
        self._threads = BlockThreads(threads)
        self._alone = threads == 1
        units = [layer.units for layer in game.chain.layers]
        # Above the first layer whole tiles are computed; what is added has weights of zero and is never looked at.
        self._units = np.array([units[0], *map(self._functions.fedcoin_padded, units[1:])], np.int32)
        self._relu = np.array([BENT[layer.activation] for layer in game.chain.layers[:-1]], np.int32)
        # The largest weight becomes 1: sums stay as small as one client's values times K.
        self._scale = np.array(game.weights, np.float64) / max(game.weights)
        self._labels, self._sizes, self._first = self._in_blocks(first or FirstLayer(game))
        self._kernels, self._biases = self._upper()
        row_bytes = 12 * (self._kernels.shape[1] + self._biases.shape[1] + 1)
        self.batch: int = max(1, min(_MOST_BATCH, _BATCH_BYTES // row_bytes))
        self.batch = self._measured_batch()

    def counts(self, masks: Sequence[int]) -> Counts:
        """u(mask) in images for each non-empty mask, in order."""
        order = _quick_order(masks)
        found = np.empty(len(masks), np.int64)
        for start in range(0, len(masks), self.batch):
            places = order[start : start + self.batch]
            found[places] = self._counts([masks[place] for place in places])
        return found

    def _counts(self, masks: Sequence[int]) -> Counts:
        clients = self.game.clients
        weighted = member_bits(masks, clients) * self._scale
        shares = weighted / weighted.sum(axis=1, keepdims=True)
        kernels = self._mixed(shares, self._kernels)
        biases = self._mixed(weighted, self._biases)
        weights = np.ascontiguousarray(weighted.sum(axis=1), self._real)
        words = mask_words(masks, clients)
        widest = int(self._units.max())

        def prepare() -> Work:
            stack = np.zeros((clients + 2, words.shape[1]), np.uint64)
            units = int(self._units[0])
            sums = aligned((clients + 1, units, LANES), self._real)
            bases = aligned((clients // CHAIN + 1, units, LANES), self._real)
            values = aligned((2, widest, LANES), self._real)

            def work(first: int, last: int, counts: Int32s) -> None:
                self._count(
                    *(
                        pointer(self._first),
                        pointer(self._labels),
                        pointer(self._sizes),
                        first,
                        last,
                        clients,
                    ),
                    *(pointer(words), words.shape[1], len(words)),
                    *(pointer(self._units), len(self._relu), self.game.chain.classes, pointer(self._relu)),
                    *(pointer(kernels), pointer(biases), pointer(weights)),
                    *(pointer(stack), pointer(sums), pointer(bases)),
                    *(pointer(values), widest, pointer(counts)),
                )

            return work

        return self._threads.over(len(self._labels), len(masks), prepare)

    def _mixed(self, shares: Floats, parts: Floats) -> Floats:
        """Shares (masks, K) of parts (K, values), summed in double whatever the engine counts in.

        With several threads not by BLAS, whose own threads would go on spinning on the cores that the kernel needs.
        """
        mixed = shares @ parts if self._alone else np.einsum("mk,kv->mv", shares, parts)
        return np.ascontiguousarray(mixed, self._real)

    def _measured_batch(self) -> int:
        """How many coalitions take about `BATCH_S`, of as many as have room for their aggregates."""
        masks: list[int] = [self.game.full] * min(self.batch, _TRIED)
        times: list[float] = []
        for _ in range(_TRIES):
            started = time.perf_counter()
            self.counts(masks)
            times.append(time.perf_counter() - started)
        fitting = int(len(masks) * BATCH_S / min(times))
        return max(1, min(self.batch, fitting))

    def _in_blocks(self, first: FirstLayer) -> tuple[Int32s, Int32s, Floats]:
        """Labels and sizes of the blocks, (blocks,), and pre-activations by weight, (blocks, K, units, LANES)."""
        labels, numbers = np.unique(self.game.labels, return_counts=True)
        per_label = -(-numbers // LANES)
        starts = dict(
            zip(labels.tolist(), (LANES * (np.cumsum(per_label) - per_label)).tolist(), strict=True)
        )
        sizes = np.full(per_label.sum(), LANES, np.int32)
        sizes[np.cumsum(per_label) - 1] = numbers - LANES * (per_label - 1)
        values = aligned((len(sizes), self.game.clients, int(self._units[0]), LANES), np.float32)
        for index, (label, positions) in enumerate(first.chunks):
            block = first.block(index) * self._scale[:, None, None]
            taken = 0
            while taken < len(positions):
                place, lane = divmod(starts[label], LANES)
                width = min(LANES - lane, len(positions) - taken)
                values[place, :, :, lane : lane + width] = block[:, :, taken : taken + width]
                taken, starts[label] = taken + width, starts[label] + width
        return np.repeat(labels, per_label).astype(np.int32), sizes, values

    def _upper(self) -> tuple[Floats, Floats]:
        """All clients' kernels (K, Σ inputs·outputs) and biases (K, Σ outputs) above the first layer."""
        game = self.game
        kernels, biases = [np.zeros((game.clients, 0))], [np.zeros((game.clients, 0))]
        tensors = zip(
            *(update[len(game.chain.layers[0].weight_shapes) :] for update in game.updates), strict=True
        )
        for layer, inputs, outputs in zip(game.chain.layers[1:], self._units, self._units[1:], strict=False):
            kernel = np.zeros((game.clients, inputs, outputs))
            kernel[:, : layer.inputs, : layer.units] = next(tensors)
            bias = np.zeros((game.clients, outputs))
            if layer.use_bias:
                bias[:, : layer.units] = next(tensors)
            kernels.append(kernel.reshape(game.clients, -1))
            biases.append(bias)
        return np.concatenate(kernels, axis=1), np.concatenate(biases, axis=1)
