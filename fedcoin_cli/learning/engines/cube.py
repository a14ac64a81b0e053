"""Exact counts of all 2^K coalitions by branch and bound, image by image: how a game becomes the arrays of `cube.c`.

Chosen where the model has one hidden layer of ReLUs (`suits`). What it finds is what the float64 reference says:

*Tolerance.* `cube.c` decides in float32 by how much the true class leads another, D. Every value that it compares is
made from products z·d of a client's pre-activation and a client's weights by additions, minima and maxima with zero;
neither of these two magnifies an error. If no product passes more than n roundings of relative size u = 2⁻²⁴, the
value is off by at most γ·M with γ = n·u / (1 − n·u) and M the sum of all |z|·|d| (Higham, Accuracy and Stability of
Numerical Algorithms, 3.1), M over all clients. With K clients and H units n is at most 2·H + 6·K + 10:

- 2·(K + 3) for the two sums of a product: one conversion, K additions, two more in a leaf; 1 for the product;
- 2·H for what joins the form or the bound: a unit adds to each coefficient twice, or once while it is in doubt;
- K for the coefficients of those who join, 2·K for the rows of a bound, or of a leaf, and their sum;
- K + 2 because a unit counts as awake or not by a sum that may be off by γ(K + 2) of its |z|;
- 1 for the tolerance itself.

The reference subtracts rounded logits, not weights: where two classes have all but equal weights its own error,
likewise 2⁻⁵³ · (H + 3·K + 10) times the sum of all |z|·(|w| + |w'|), may exceed one u of M, so it is added. Values
are scaled to below one by powers of two; what underflows then is covered by 2⁻¹⁰⁰, processor modes that flush it
included. A lead within γ·M of zero decides nothing: the coalition is evaluated again in float64 as the reference does
it. A class that ties in every product of every client ties with the true one in every coalition. (docs/adr/0031)
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.exact import MAX_EXACT_CLIENTS
from fedcoin_cli.learning.coalitions.walks import Counts
from fedcoin_cli.learning.engines.blocks import aligned, pointer
from fedcoin_cli.learning.engines.compiled import library
from fedcoin_cli.learning.game.game import Floats, Game
from fedcoin_cli.learning.reference.forward import FirstLayer

STEP_S: Final = 0.1
"""About how long a step takes: whoever mines looks for other work in between."""
SAMPLE_S: Final = 0.4
"""After so long the images done, in random order, tell how long all will take."""

_UNIT_ROUNDOFF: Final = 2.0**-24
_MOST_TABLE_BYTES: Final = 1 << 29
_MOST_COUNT_BYTES: Final = 1 << 30
_PART_WORK: Final = 1 << 30
"""Coalitions · their cost (`_cost`) in a part of an image's work: a slice or two even where no bound ever holds."""


def suits(game: Game) -> bool:
    """Whether this game can be counted so, here: it is compiled, and the model has one hidden layer of ReLUs."""
    spec = game.chain
    return (
        not spec.features
        and [layer.activation for layer in spec.layers] == ["relu", "linear"]
        and spec.classes > 1
        and game.clients <= MAX_EXACT_CLIENTS
        and library() is not None
        and _table_bytes(game) <= _MOST_TABLE_BYTES
    )


class Cube:
    """The counts of all of a game's coalitions, found in steps.

    Args:
        game: a game that `suits`.
        first: the first layer, where somebody (the reference) has it already.
        threads: cores to use.

    It holds 4·2^K bytes a thread, of which it takes no more than fit into 1 GiB. The work consists of `total` parts,
    of which `done` are done; images come in random order, so that the first ones tell how long all will take.
    """

    def __init__(self, game: Game, first: FirstLayer | None = None, threads: int = 1) -> None:
        self.game = game
        self.done, self._taken_s = 0, 0.0
        self._first = first or FirstLayer(game)
        self._leaf: int = library().fedcoin_cube_leaf()
        # A leaf has so many clients free: clients who add nothing to anybody make up the number.
        self._clients = max(game.clients, self._leaf)
        self._weights = np.zeros(self._clients)
        self._weights[: game.clients] = np.array(game.weights, np.float64) / max(game.weights)
        self._kernels, self._biases = _upper(game, self._clients)
        units, classes = self._kernels.shape[0], game.chain.classes
        roundings = 2 * units + 6 * self._clients + 10
        self._gamma = roundings * _UNIT_ROUNDOFF / (1 - roundings * _UNIT_ROUNDOFF)
        self._tables = {label: self._table(label) for label in np.unique(game.labels).tolist()}
        bits = (_PART_WORK // _cost(units, classes)).bit_length() - 1
        self._free = max(self._leaf, min(self._clients, bits))
        self._parts = 1 << (self._clients - self._free)
        self.total: int = self._parts * game.images
        self._places = self._in_order()
        for index in range(len(self._first.chunks) if self._first.cached else 0):
            self._first.block(index)  # computed now, not by all threads at once
        self._waiting = iter(range(self.total))  # shared: whoever is free takes the next
        threads = max(1, min(threads, _MOST_COUNT_BYTES >> (self._clients + 2)))
        self._workers = [_Worker(self._kernels.shape, self._leaf) for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def seconds_left(self) -> float | None:
        """By the speed so far; None before there is enough of it."""
        if self.done == self.total:
            return 0.0
        return None if self._taken_s < SAMPLE_S else self._taken_s * (self.total - self.done) / self.done

    def step(self) -> None:
        """Do about `STEP_S` seconds of the work."""
        began = time.monotonic()
        self._step(began + STEP_S)
        self._taken_s += time.monotonic() - began

    def _step(self, until: float) -> None:
        if self._pool is None:
            self.done += self._run(self._workers[0], until)
        else:
            running = [self._pool.submit(self._run, worker, until) for worker in self._workers]
            self.done += sum(each.result() for each in running)

    def counts(self) -> Counts:
        """u(mask) in images for the masks 1..2^K−1, once all is done."""
        assert self.done == self.total
        whole = np.sum([worker.whole for worker in self._workers], axis=0)
        counts = np.repeat(np.cumsum(whole[:-1]), 1 << self._leaf)
        for worker in self._workers:
            counts += worker.counts
        return counts[1 : 1 << self.game.clients].astype(np.int64)

    def save(self, path: Path) -> None:
        """Nothing: it would be done again sooner than it could be told which parts are whole."""

    def restore(self, path: Path) -> None:
        """Nothing, as nothing is saved."""

    def _run(self, worker: "_Worker", until: float) -> int:
        """Take parts that nobody has taken yet until it is time. Returns how many."""
        done, functions, shape = 0, library(), self._kernels.shape
        for number in self._waiting:
            image, part = divmod(number, self._parts)
            index, column = self._places[image].tolist()
            self._look_at(worker, index)
            label = self._first.chunks[index][0]
            functions.fedcoin_cube(
                *(pointer(worker.block) + column, worker.block.shape[2], *shape, label),
                *(self._free, part << self._free, pointer(self._weights), *map(pointer, self._tables[label])),
                *(pointer(self._kernels), pointer(self._biases), self._gamma),
                *(pointer(worker.counts), pointer(worker.whole), pointer(worker.memory)),
            )
            done += 1
            if time.monotonic() >= until:
                break
        return done

    def _look_at(self, worker: "_Worker", index: int) -> None:
        """Give a worker the pre-activations of a chunk of images, (clients, units, images)."""
        if worker.index != index:
            block = self._first.block(index)
            missing = self._clients - len(block)
            worker.index, worker.block = (
                index,
                np.pad(block, ((0, missing), (0, 0), (0, 0))) if missing else block,
            )

    def _in_order(self) -> npt.NDArray[np.intp]:
        """Chunk and column of each image, (images, 2): in random order, or chunk by chunk where none is kept."""
        random = np.random.default_rng(0)
        chunks = random.permutation(len(self._first.chunks))
        parts = [
            np.stack(np.broadcast_arrays(chunk, np.arange(len(self._first.chunks[chunk][1]))), 1)
            for chunk in chunks
        ]
        places = np.concatenate(parts)
        return random.permutation(places) if self._first.cached else places

    def _table(self, label: int) -> tuple[Floats | npt.NDArray[np.float32], ...]:
        """What `fedcoin_cube` takes of a label: d, sizes, least, most, low_lanes, high_lanes, noise, beta."""
        width = library().fedcoin_cube_width()
        others = [other for other in range(self.game.chain.classes) if other != label]
        lanes = -(-len(others) // width) * width
        weights = self._weights[:, None]
        lead = np.zeros((self._kernels.shape[1], self._kernels.shape[0], lanes))
        beta = np.zeros((len(lead), lanes))
        kernels = self._kernels.transpose(1, 0, 2)
        lead[:, :, : len(others)] = weights[:, None] * (kernels[:, :, [label]] - kernels[:, :, others])
        beta[:, : len(others)] = weights * (self._biases[:, [label]] - self._biases[:, others])
        largest = np.abs(lead).sum(axis=0).max(axis=0)
        scale = np.ldexp(1.0, -np.frexp(largest)[1])  # powers of two: nothing is rounded
        lead, beta = lead * scale, beta * scale
        roundings = len(kernels[0]) + 3 * self._clients + 10
        noise = np.zeros((kernels.shape[1] + 1, lanes))
        for row, parts in ((noise[:-1], kernels), (noise[-1:], self._biases[:, None])):
            summed = np.tensordot(self._weights, np.abs(parts), 1)
            row[:, : len(others)] = 2.0**-53 * roundings * (summed[:, [label]] + summed[:, others])
        noise *= scale
        some = lead[: self._leaf, :, : len(others)]
        low = width.bit_length() - 1
        tables = (
            lead.transpose(1, 0, 2),
            _running(np.minimum(lead, 0.0)),
            _running(np.maximum(lead, 0.0)),
            _subset_sums(some[:low]),
            _subset_sums(some[low:]),
        )
        d, least, most, low_lanes, high_lanes = (np.ascontiguousarray(each, np.float32) for each in tables)
        return d, np.abs(lead).sum(axis=0), least, most, low_lanes, high_lanes, noise, beta


class _Worker:
    """What one thread has of its own; `index` is the chunk that `block` belongs to."""

    def __init__(self, shape: tuple[int, ...], leaf: int) -> None:
        units, clients, classes = shape
        self.index = -1
        self.block: Floats = np.empty((0, 0, 0))
        self.counts = np.zeros(1 << clients, np.int32)
        self.whole = np.zeros((1 << clients - leaf) + 1, np.int32)
        self.memory = aligned((library().fedcoin_cube_bytes(units, clients, classes),), np.uint8)


def _running(values: Floats) -> Floats:
    """Sums over none, the first, the first two, … of the clients, (K + 1, …)."""
    return np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])


def _subset_sums(values: Floats) -> Floats:
    """Sums over each set of the clients (clients, units, classes), as (units, classes, sets)."""
    sums = np.zeros((*values.shape[1:], 1))
    for each in values:
        sums = np.concatenate([sums, sums + each[:, :, None]], axis=2)
    return sums


def _upper(game: Game, clients: int) -> tuple[Floats, Floats]:
    """Kernels (units, clients, classes) and biases (clients, classes) of the output layer; zeros for who is no one."""
    hidden, output = game.chain.layers
    kernels, biases = np.zeros((hidden.units, clients, output.units)), np.zeros((clients, output.units))
    for client, update in enumerate(game.updates):
        above = update[len(hidden.weight_shapes) :]
        kernels[:, client] = above[0]
        if output.use_bias:
            biases[client] = above[1]
    return kernels, biases


def _cost(units: int, classes: int) -> int:
    """What a coalition costs where no bound holds, in some unit: measured, roughly."""
    return units * (classes + units // 64) + 384


def _table_bytes(game: Game) -> int:
    """What the tables of all labels take, roughly."""
    hidden, output = game.chain.layers
    return 4 * (3 * game.clients + 64) * hidden.units * (output.units + 16) * output.units
