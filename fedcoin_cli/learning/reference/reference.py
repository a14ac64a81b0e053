"""The float64 reference: what a coalition is worth, and the interval [lo, hi] in which an honest count lies.

Beside each value runs a bound on how far rounding may move it in any engine (`tolerance` derives it). The metric says
what the logits are worth, and what at least and at most where each may move by a factor times its bound. What is exact
has no bound: ties then go to the lowest class, as everywhere. Bounds average absolute values, never the absolute value
of an average, so that updates which cancel each other widen the interval instead of slipping through it. Most images
count the same by one ceiling of the bounds of all coalitions; only the others have bounds of their own computed. Whose
claim is wrong is for the consensus to say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.game.game import Floats, Game
from fedcoin_cli.learning.metrics.choice import scorer_of
from fedcoin_cli.learning.metrics.scorer import Marks, Places
from fedcoin_cli.learning.model.features import Conv, Pool
from fedcoin_cli.learning.model.model import Dense
from fedcoin_cli.learning.reference.aggregates import Aggregates, Stack
from fedcoin_cli.learning.reference.forward import ACTIVATIONS, FirstLayer, convolved, pooled
from fedcoin_cli.learning.reference.tolerance import ACTIVATION, LIMIT, TINY, tolerance

RAISE_FACTOR: Final = 2
"""A node raises a FRAUD outside the interval of 2ε and accepts one outside that of ε."""

_BATCH_VALUES: Final = 1 << 18
"""Values of a chunk handled together: 2 MiB in float64, so that they stay in a core's cache."""

_HELD_MARKS: Final = 1 << 24
"""Marks of a metric that knows no value of some images alone, held until all are there."""

# The ceiling is computed in float64, too.
_CEILING_SLACK: Final = 1.001


@dataclass(frozen=True, slots=True)
class Interval:
    """What a coalition is worth in float64 and the bounds of an honest claim, in units of the task's whole."""

    lo: int
    count: int
    hi: int

    @property
    def width(self) -> int:
        return self.hi - self.lo


class Reference:
    """Counts and intervals of one game; memory is bounded by `forward.MAX_CACHED_BYTES` and a few MiB [P-6.4]."""

    proven = True

    def __init__(self, game: Game, first: FirstLayer | None = None) -> None:
        self.game = game
        self.scorer = scorer_of(game)
        self.first = first or FirstLayer(game)
        upper = upper_weights(game)
        self._aggregates = Aggregates(game.chain, upper)
        self._clients = _Clients(upper, self.first.norms)
        self._largest = self._clients.largest()
        self._tolerance = tolerance(game.chain, game.clients)

    @property
    def kept(self) -> bool:
        """Whether the first layers are kept: else all coalitions together are quickest."""
        return self.first.cached

    def interval(self, mask: int, factor: int = 1) -> tuple[int, int]:
        """(lo, hi) of one non-empty coalition at factor·ε."""
        bounds = self.intervals([mask], factor)[0]
        return bounds.lo, bounds.hi

    def count(self, mask: int) -> int:
        """What one non-empty coalition is worth, in float64."""
        return self.intervals([mask])[0].count

    def intervals(self, masks: Sequence[int], factor: int = 1) -> list[Interval]:
        """The intervals of several non-empty coalitions, faster together than one by one."""
        totals = np.zeros((len(masks), 3), np.int64)
        for _ in self.steps(masks, factor, totals):
            pass
        return [Interval(int(lo), int(count), int(hi)) for lo, count, hi in totals]

    def block_intervals(
        self, positions: npt.NDArray[np.intp], members: npt.NDArray[np.uint8], factor: int = 1
    ) -> npt.NDArray[np.int64]:
        """lo, count and hi of non-empty coalitions (masks, K) on some images of any labels, (masks, 3)."""
        part = self._part(self.first.of(positions), self.first.lengths(positions), positions)
        shares, size = self.game.shares_of(members), self._aggregates.masks
        totals = np.empty((len(members), 3), np.int64)
        for start in range(0, len(members), size):
            rows = shares[start : start + size]
            logits = self._aggregates.logits(rows, self._aggregates.layers(rows), part.values)
            marks = self._marks(part, rows, logits, factor)
            totals[start : start + size] = self.scorer.worth(marks, positions).T
        return totals

    def steps(
        self, masks: Sequence[int], factor: int, totals: npt.NDArray[np.int64]
    ) -> Iterator[tuple[int, int]]:
        """The same in small steps, adding lo, count and hi to `totals` (masks, 3): yields done, of how much.

        Widths only grow on the way.
        """
        every = len(self.first.chunks) * len(masks)
        size = max(1, len(masks) if self.game.metric.sums else _HELD_MARKS // (3 * self.game.images))
        for start in range(0, len(masks), size):
            some = slice(start, start + size)
            for done in self._steps(masks[some], factor, totals[some]):
                yield start * len(self.first.chunks) + done, every

    def _steps(self, masks: Sequence[int], factor: int, totals: npt.NDArray[np.int64]) -> Iterator[int]:
        shares, held = self.game.shares(masks), self._held(len(masks))
        for index in range(len(self.first.chunks)):
            parts = self._parts(index)
            for start in range(0, len(masks), self._aggregates.masks):
                rows = slice(start, start + self._aggregates.masks)
                layers, taken = self._aggregates.layers(shares[rows]), len(masks[rows])
                for number, part in enumerate(parts, 1):
                    logits = self._aggregates.logits(shares[rows], layers, part.values)
                    marks = self._marks(part, shares[rows], logits, factor)
                    if held is None:
                        totals[rows] += self.scorer.worth(marks, part.images).T
                    else:
                        held[:, rows, part.images] = marks
                    if held is not None and index + 1 == len(self.first.chunks) and number == len(parts):
                        totals[rows] += self.scorer.worth(held[:, rows], np.arange(self.game.images)).T
                    yield index * len(masks) + start + taken * number // len(parts)

    def _held(self, masks: int) -> Marks | None:
        """Where marks wait for those of all other images, (3, masks, images); None where they need not."""
        return None if self.game.metric.sums else np.empty((3, masks, self.game.images), np.int64)

    def magnitude(self, client: int) -> float:
        """How far rounding may move a logit of one client's own model on one image, the longest of the first chunk."""
        values, length = self._longest
        own = values[client : client + 1]
        bounds = self._through(self._clients.lone(client), np.ones((1, 1)), own, np.abs(own), length)[1]
        return float(bounds.max())

    @cached_property
    def _longest(self) -> tuple[Floats, Floats]:
        lengths = self.first.lengths(self.first.chunks[0][1])
        place = [int(lengths.argmax())]
        return self.first.block(0)[:, :, place], lengths[place]

    def _parts(self, index: int) -> list["_Part"]:
        """A chunk of images in parts."""
        block, positions = self.first.block(index), self.first.chunks[index][1]
        lengths, parts = self.first.lengths(positions), []
        for start in range(0, block.shape[2], self._aggregates.images):
            columns = slice(start, start + self._aggregates.images)
            values = np.ascontiguousarray(block[:, :, columns])
            parts.append(self._part(values, lengths[columns], positions[columns]))
        return parts

    def _part(self, values: Floats, lengths: Floats, images: Places) -> "_Part":
        most = np.abs(values).max(axis=0, keepdims=True)
        ceiling = self._through(self._largest, np.ones((1, 1)), most, most, lengths)[1][0]
        return _Part(values, lengths, images, _CEILING_SLACK * ceiling)

    def _marks(self, part: "_Part", shares: Floats, logits: Floats, factor: int) -> Marks:
        """The least marks, the own and the most of each coalition on a part, (3, masks, images).

        Few logits lie so near each other that bounds matter: only those have theirs computed.
        """
        marks = np.repeat(self.scorer.marks(logits, part.images)[None], 3, axis=0)
        near = self.scorer.unsure(logits, factor * part.ceiling, part.images)
        columns = np.flatnonzero(near.any(axis=0))
        rows = np.flatnonzero(near.any(axis=1))
        size = max(1, _BATCH_VALUES // max(1, len(columns) * self.game.chain.widest))
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            marks[:, some[:, None], columns] = self._bounded(part, shares[some], columns, factor)
        return marks

    def _bounded(self, part: "_Part", shares: Floats, columns: npt.NDArray[np.intp], factor: int) -> Marks:
        """The same of some images of a part, (3, masks, images), by bounds of their own."""
        values = part.values[:, :, columns]
        mixed, absolute = (
            (shares @ each.reshape(len(each), -1)).reshape(-1, *each.shape[1:])
            for each in (values, np.abs(values))
        )
        logits, bounds = self._through(self._clients, shares, mixed, absolute, part.lengths[columns])
        return self.scorer.reaches(logits, factor * bounds, part.images[columns])

    @np.errstate(over="ignore", invalid="ignore")  # what overflows has no bound, and is told apart
    def _through(
        self, clients: "_Clients", shares: Floats, values: Floats, absolute: Floats, lengths: Floats
    ) -> tuple[Floats, Floats]:
        """Logits and their bounds, (masks, classes, images) each."""
        weights = iter(zip(clients.upper, self._tolerance.above, strict=True))
        values, bounds = self._activated(
            self.game.chain.first.activation,
            values,
            self._first_bounds(clients, shares, absolute, lengths),
        )
        if self.game.chain.features:
            values, bounds = self._through_features(shares, values, bounds, weights)
        for layer, ((kernels, biases), share) in zip(self.game.chain.above, weights, strict=True):
            # (K, inputs·units) → transposed kernels (masks, units, inputs)
            shape = (-1, layer.inputs, layer.units)
            sizes = _absolute(shares, kernels).reshape(shape).transpose(0, 2, 1)
            offsets = (shares @ np.abs(biases))[:, :, None]
            within = np.abs(values) + bounds
            reach = sizes @ (bounds + share * within) + share * offsets
            some = (sizes.max(axis=2) > 0)[:, :, None] & (within.max(axis=1) > 0)[:, None, :]
            reach += _tiny(some, offsets > 0, layer.inputs + within.sum(axis=1)[:, None, :])
            values = _mixed(shares, kernels, shape) @ values + (shares @ biases)[:, :, None]
            values, bounds = self._activated(layer.activation, *_limited(values, reach, share))
        return values, bounds

    def _first_bounds(self, clients: "_Clients", shares: Floats, absolute: Floats, lengths: Floats) -> Floats:
        """What the averages of first layers may be wrong by, (masks, units, images)."""
        norms, biases = (shares @ part for part in clients.norms)
        inner = self._tolerance.inner
        parts = inner * norms, TINY * (norms > 0), inner * biases + TINY * (biases > 0)
        own = np.stack(parts, axis=-1) @ np.stack([lengths, lengths > 0, np.ones_like(lengths)])
        bounds = self._tolerance.first * absolute
        # A convolution's filters stand at every place, the last of a unit's coordinates.
        bounds.reshape(len(shares), -1, *own.shape[1:])[...] += own[:, None]
        return bounds if absolute.max() < LIMIT else np.where(absolute < LIMIT, bounds, np.inf)

    def _through_features(
        self,
        shares: Floats,
        values: Floats,
        bounds: Floats,
        weights: Iterator[tuple[tuple[Floats, Floats], float]],
    ) -> tuple[Floats, Floats]:
        """The front above its first convolution: (masks, units, images) in and out, flattened as Keras flattens."""
        first, *rest = self.game.chain.features
        shape = (len(shares), *first.output_shape, -1)
        values, bounds = (part.reshape(shape).transpose(0, 4, 1, 2, 3) for part in (values, bounds))
        for feature in rest:
            if isinstance(feature, Pool):
                values, bounds = self._pooled(values, bounds, feature)
                continue
            (kernels, biases), share = next(weights)
            size = (-1, feature.inputs, feature.filters)
            sizes, offsets = _absolute(shares, kernels).reshape(size), shares @ np.abs(biases)
            within = np.abs(values) + bounds
            reach = convolved(bounds + share * within, feature, sizes, share * offsets)
            whole = feature.inputs + within.sum(axis=(2, 3, 4), keepdims=True)
            some = (sizes.max(axis=1) > 0)[:, None, None, None, :] & (whole > feature.inputs)
            reach += _tiny(some, (offsets > 0)[:, None, None, None, :], whole)
            values = convolved(values, feature, (shares @ kernels).reshape(size), shares @ biases)
            values, bounds = self._activated(feature.activation, *_limited(values, reach, share))
        flat = (len(shares), values.shape[1], -1)
        return values.reshape(flat).transpose(0, 2, 1), bounds.reshape(flat).transpose(0, 2, 1)

    def _pooled(self, values: Floats, bounds: Floats, pool: Pool) -> tuple[Floats, Floats]:
        reach = pooled(bounds, pool)
        if not pool.largest:
            places = pool.size[0] * pool.size[1]
            reach = reach + 2 * self._tolerance.unit * (places + 1) * (pooled(np.abs(values), pool) + reach)
        return pooled(values, pool), reach

    def _activated(self, activation: str, values: Floats, bounds: Floats) -> tuple[Floats, Floats]:
        """The activation's values, and their bounds."""
        after, own = ACTIVATIONS[activation](values), ACTIVATION * self._tolerance.unit
        match activation:
            case "relu":
                bounds = np.minimum(
                    bounds, np.maximum(values + bounds, 0.0)
                )  # none where it is surely closed
            case "tanh":
                bounds = np.where(bounds > 0, np.minimum(bounds, 2.0) + own, 0.0)
            case "sigmoid":
                bounds = np.minimum(bounds / 4, 1.0) + own
        return after, bounds


@dataclass(frozen=True, slots=True)
class _Part:
    """Some images: first pre-activations (K, units, images), lengths, numbers, and a ceiling of the logits' bounds.

    Bounds grow with values, weights and norms, and an average of absolute values is at most the largest of them: the
    bounds (classes, images) of one aggregate that has the largest of everything are above those of all coalitions.
    """

    values: Floats
    lengths: Floats
    images: Places
    ceiling: Floats


@dataclass(frozen=True, slots=True)
class _Clients:
    """The clients' layers above the first, and the norms of their first ones."""

    upper: list[Stack]
    norms: tuple[Floats, Floats]

    def largest(self) -> "_Clients":
        """One client that has the largest absolute of each weight and norm."""
        upper = [(_most(kernels), _most(biases)) for kernels, biases in self.upper]
        return _Clients(upper, (_most(self.norms[0]), _most(self.norms[1])))

    def lone(self, client: int) -> "_Clients":
        """One of them."""
        place = slice(client, client + 1)
        upper = [(kernels[place], biases[place]) for kernels, biases in self.upper]
        return _Clients(upper, (self.norms[0][place], self.norms[1][place]))


def _most(values: Floats) -> Floats:
    """The largest absolute values of all clients, (1, …)."""
    largest = np.abs(values[:1])
    for own in values[1:]:  # one at a time: a copy of all weights takes longer than anything done with them
        np.maximum(largest, np.abs(own), out=largest)
    return largest


def _absolute(shares: Floats, kernels: Floats) -> Floats:
    """The average of absolute weights."""
    if kernels.size <= _BATCH_VALUES:
        return shares @ np.abs(kernels)
    total = np.zeros((len(shares), kernels.shape[1]))
    for client in np.flatnonzero(shares.any(axis=0)):
        total += shares[:, client, None] * np.abs(kernels[client])
    return total


def _tiny(products: npt.NDArray[np.bool_], biases: npt.NDArray[np.bool_], amount: Floats) -> Floats:
    """What underflow may take where there is anything, of inputs of this `amount`."""
    return TINY * amount * (products | biases)


def _limited(values: Floats, bounds: Floats, share: float) -> tuple[Floats, Floats]:
    """No bound where a number is so large that an engine's may be infinite: bounds are `share` of the largest."""
    if bounds.max() < share * LIMIT:
        return values, bounds
    small = bounds < share * LIMIT
    return np.nan_to_num(values), np.where(small, bounds, np.inf)


def _mixed(shares: Floats, kernels: Floats, shape: tuple[int, int, int]) -> Floats:
    mixed: Floats = (shares @ kernels).reshape(shape).transpose(0, 2, 1)
    return mixed


def upper_weights(game: Game) -> list[Stack]:
    """Kernels (K, inputs·units) and biases (K, units) of each layer above the first, clients stacked."""
    skipped = len(game.chain.first.weight_shapes)
    tensors = zip(*(update[skipped:] for update in game.updates), strict=True)
    pairs = []
    layers: tuple[Conv | Dense, ...] = (*game.chain.convolutions, *game.chain.layers)
    for layer in layers[1:]:
        kernels = _stacked(next(tensors))
        biases = np.zeros((game.clients, kernels.shape[-1]))
        if layer.use_bias:
            biases = _stacked(next(tensors))
        pairs.append((kernels.reshape(game.clients, -1), biases))
    return pairs


def _stacked(tensors: Sequence[npt.NDArray[np.float32]]) -> Floats:
    stack = np.empty((len(tensors), *tensors[0].shape))
    for place, tensor in enumerate(tensors):
        stack[place] = tensor
    return stack
