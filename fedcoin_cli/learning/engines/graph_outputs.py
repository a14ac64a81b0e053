"""Outputs of a graph's coalitions, from what `Staged` has computed once: averages, then the rest of the nodes.

Weights are averaged in float64 and rounded once; values of images that are affine in the updates are averaged by the
library that computes the rest, one product of shares and the clients' values. NumPy is such a library where there is
no Keras (`NumpyRest`), the one that Keras runs on is the other (`graph_keras`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.engines.outputs import Compute, OutputSource
from fedcoin_cli.learning.game.game import Floats, Game
from fedcoin_cli.learning.graph.namespace import Array, Namespace, Numpy
from fedcoin_cli.learning.graph.passes import compute, widened
from fedcoin_cli.learning.metrics.scorer import Places
from fedcoin_cli.learning.reference.staged import Staged

LANES: Final = 16
"""Images of a block are filled up to a multiple of these: few shapes are compiled then."""

_SLICE_FLOP: Final = 2 * 10**9
_MOST_COALITIONS: Final = 64

Single = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Values of some images where the library computes: constants, and all clients' affine ones (K, …)."""

    constants: Mapping[str, Array]
    averaged: Mapping[str, Array]


class Rest:
    """What is left to compute of a graph for each coalition, over any array library, for all at once.

    `coalitions` is how many a call computes.
    """

    def __init__(self, ready: Staged, xp: Namespace, coalitions: int = 1) -> None:
        self._graph, self._nodes, self._xp = ready.game.graph.graph, ready.staging.rest, xp
        self.coalitions = coalitions
        self._weights = {name: values.shape[1:] for name, values in ready.weights.items()}
        self._shared = {name: xp.constant(values) for name, values in ready.shared.items()}

    def loaded(self, values: npt.NDArray[Any]) -> Array:
        """An array where the library computes."""
        return self._xp.constant(values)

    def outputs(
        self,
        shares: Single,
        weights: Single,
        constants: Mapping[str, Array],
        averaged: Mapping[str, Array],
    ) -> Array:
        """Outputs (coalitions, images, classes) of coalitions with these shares (coalitions, K).

        Args:
            shares: rows that sum to 1.
            weights: the averages of all weights in a row, (coalitions, …), in the order of `Staged.weights`.
            constants: values of the images.
            averaged: all clients' values of the images, (K, …).
        """
        xp = self._xp
        mixed = {name: self._mixed(shares, values) for name, values in averaged.items()}
        found = []
        for number in range(self.coalitions):
            row = xp.reshape(xp.slice(weights, 0, number, number + 1), (-1,))
            values = {**self._shared, **constants, **self._apart(row)}
            for name, averages in mixed.items():
                one = xp.slice(averages, 0, number, number + 1)
                values[name] = xp.reshape(one, xp.shape(one)[1:])
            for node in self._nodes:
                compute(node, values, xp)
            outputs = widened(values[self._graph.output], xp)
            found.append(xp.reshape(outputs, (1, *xp.shape(outputs))))
        return xp.concatenate(found, 0)

    def _apart(self, row: Array) -> dict[str, Array]:
        """The weights that stand in a row."""
        found, start = {}, 0
        for name, shape in self._weights.items():
            size = prod(shape)
            found[name] = self._xp.reshape(self._xp.slice(row, 0, start, start + size), shape)
            start += size
        return found

    def _mixed(self, shares: Array, values: Array) -> Array:
        shape = self._xp.shape(values)
        flat = self._xp.matmul(shares, self._xp.reshape(values, (shape[0], prod(shape[1:]))))
        return self._xp.reshape(flat, (self.coalitions, *shape[1:]))


class NumpyRest(Rest):
    """The same in NumPy, float32."""

    def __init__(self, ready: Staged) -> None:
        super().__init__(ready, Numpy(np.float32))

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def outputs(
        self,
        shares: Single,
        weights: Single,
        constants: Mapping[str, Array],
        averaged: Mapping[str, Array],
    ) -> Array:
        return super().outputs(shares, weights, constants, averaged)


class GraphOutputs:
    """Outputs of one game's coalitions; an `OutputSource`.

    Args:
        ready: the game, and what is computed once of it.
        made: makes what computes the rest, of this game and of that of a named baseline.
    """

    def __init__(self, ready: Staged, made: Callable[[Staged], Rest]) -> None:
        self.game, self._ready, self._made = ready.game, ready, made
        self._rest = made(ready)
        self.parts = ready.parts
        self.masks = self._rest.coalitions
        flop = max(1, self.game.images * self.game.model.flop_above)
        self.batch = max(1, min(_MOST_COALITIONS, _SLICE_FLOP // flop))
        self._weights = np.concatenate(
            [
                np.empty((self.game.clients, 0)),
                *(one.reshape(len(one), -1) for one in ready.weights.values()),
            ],
            axis=1,
        )
        self._loaded: dict[int, _Loaded] = {}

    def of_part(self, number: int) -> Compute:
        """What computes outputs on one part of the test set."""
        part = self.parts[number]
        if number in self._loaded:
            return partial(self._outputs, self._loaded[number], len(part))
        loaded = self._load(part, self._ready.part_images)
        if self._ready.kept:
            self._loaded[number] = loaded
        return partial(self._outputs, loaded, len(part))

    def of_images(self, images: Places) -> Compute:
        """What computes outputs on any few images."""
        return partial(self._outputs, self._load(images, -(-len(images) // LANES) * LANES), len(images))

    def of_update(self, game: Game) -> OutputSource:
        """The same of another game of this model and test set."""
        return GraphOutputs(Staged(game), self._made)

    def _load(self, images: Places, lanes: int) -> _Loaded:
        """So many images: the last one is repeated, and not looked at."""
        filled = images[np.minimum(np.arange(lanes), len(images) - 1)]
        constants, averaged = self._ready.of_images(filled)
        return _Loaded(
            {name: self._rest.loaded(values) for name, values in constants.items()},
            {name: self._rest.loaded(values) for name, values in averaged.items()},
        )

    def _outputs(self, loaded: _Loaded, images: int, shares: Floats) -> Floats:
        """(coalitions, classes, images) of up to `masks` coalitions: a call has one size."""
        filled = shares[np.minimum(np.arange(self.masks), len(shares) - 1)]
        weights = (filled @ self._weights).astype(np.float32)
        found = self._rest.outputs(filled.astype(np.float32), weights, loaded.constants, loaded.averaged)
        outputs = np.asarray(found, np.float64)[: len(shares), :images]
        return outputs.transpose(0, 2, 1)
