"""Outputs of a graph's coalitions, from what `Staged` has computed once: averages, then the rest of the nodes.

Values of images that are affine in the updates are averaged by the library that computes the rest, one product of
shares and the clients' values. onnxruntime is such a library (`graph_onnx`), the one that Keras runs on another
(`graph_keras`), NumPy (`NumpyRest`) what is there without them.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.engines.averages import Averages, Packer, Single, as_they_are
from fedcoin_cli.learning.engines.outputs import Compute, OutputSource
from fedcoin_cli.learning.engines.recurrent import Layer, packing
from fedcoin_cli.learning.game.game import GRAPH_IMAGES, Floats, Game
from fedcoin_cli.learning.graph.graph import Node
from fedcoin_cli.learning.graph.namespace import Array, Namespace, Numpy
from fedcoin_cli.learning.graph.passes import compute, widened
from fedcoin_cli.learning.metrics.scorer import Places
from fedcoin_cli.learning.reference.staged import Staged

LANES: Final = 16
"""Images of a block are filled up to a multiple of these: few shapes are compiled then."""

_MOST_IMAGES: Final = 1024
"""Whose averaged outputs are computed together."""

_ROWS: Final = 8
"""Of shares that are multiplied at a time: in which order BLAS adds up a row follows from how many there are."""

_SLICE_FLOP: Final = 2 * 10**9
_MOST_COALITIONS: Final = 64


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Values of some images where the library computes: constants, and all clients' affine ones (K, …)."""

    constants: Mapping[str, Array]
    averaged: Mapping[str, Array]


class Rest:
    """What is left to compute of a graph for each coalition, over any array library.

    `coalitions` is how many a call computes at most, `images` how many of those it is best given.
    """

    coalitions = 8
    images = GRAPH_IMAGES

    def __init__(self, ready: Staged, xp: Namespace, packer: Packer = as_they_are) -> None:
        self._graph, self._xp, self.averages = ready.game.graph.graph, xp, Averages(ready, packer)
        self._shared = {name: xp.constant(values) for name, values in ready.shared.items()}

    def loaded(self, values: npt.NDArray[Any]) -> Array:
        """An array where the library computes."""
        return self._xp.constant(values)

    def outputs(
        self,
        shares: Single,
        rows: Sequence[Single],
        constants: Mapping[str, Array],
        averaged: Mapping[str, Array],
    ) -> Array:
        """Outputs (coalitions, images, classes) of coalitions with these shares (coalitions, K).

        Args:
            shares: that sum to 1.
            rows: the weights of each, as of `Averages`.
            constants: values of the images.
            averaged: all clients' values of the images, (K, …).
        """
        xp = self._xp
        mixed = {name: self._mixed(shares, values) for name, values in averaged.items()}
        found = []
        for number, row in enumerate(rows):
            values = {**self._shared, **constants, **self._weights(row)}
            for name, averages in mixed.items():
                one = xp.slice(averages, 0, number, number + 1)
                values[name] = xp.reshape(one, xp.shape(one)[1:])
            for node in self.averages.nodes:
                self._compute(node, values)
            outputs = widened(values[self._graph.output], xp)
            found.append(xp.reshape(outputs, (1, *xp.shape(outputs))))
        return xp.concatenate(found, 0)

    def _compute(self, node: Node, values: MutableMapping[str, Array]) -> None:
        """One node: its outputs join the values."""
        compute(node, values, self._xp)

    def _weights(self, row: Array) -> Mapping[str, Array]:
        """The weights that stand in a row."""
        found, start = {}, 0
        for name, shape in self.averages.layout.items():
            size = prod(shape)
            found[name] = self._xp.reshape(self._xp.slice(row, 0, start, start + size), shape)
            start += size
        return found

    def _mixed(self, shares: Array, values: Array) -> Array:
        """Averages (coalitions, …), of which none depends on what others are computed with it [P-6.26]."""
        xp, (some, clients), (_, *shape) = self._xp, self._xp.shape(shares), self._xp.shape(values)
        filled = xp.concatenate([shares, xp.constant(np.zeros((-some % _ROWS, clients), np.float32))], 0)
        flat = xp.reshape(values, (clients, prod(shape)))
        groups = (xp.slice(filled, 0, start, start + _ROWS) for start in range(0, some, _ROWS))
        found = xp.concatenate([xp.matmul(group, flat) for group in groups], 0)
        return xp.reshape(xp.slice(found, 0, 0, some), (some, *shape))


class NumpyRest(Rest):
    """The same in NumPy, float32, and recurrent layers in C; where all is averaged, many coalitions and images at once.

    Args:
        ready: the game, and what is computed once of it.
        threads: cores to use for what is computed in C; 0: all.
    """

    def __init__(self, ready: Staged, threads: int = 0) -> None:
        super().__init__(ready, Numpy(np.float32), packing)
        self.layers = {
            node.outputs: Layer(
                node, self.averages.packed[node.outputs], threads, stepwise=self._read(node.outputs[0])
            )
            for node in self.averages.nodes
            if node.outputs in self.averages.packed
        }
        self._whole = self._graph.output in ready.averaged
        if self._whole:
            self.coalitions, self.images = _MOST_COALITIONS, _MOST_IMAGES

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def outputs(
        self,
        shares: Single,
        rows: Sequence[Single],
        constants: Mapping[str, Array],
        averaged: Mapping[str, Array],
    ) -> Array:
        if self._whole:
            mixed = self._mixed(shares, averaged[self._graph.output])
            return widened(mixed.reshape(-1, mixed.shape[2]), self._xp).reshape(*mixed.shape[:2], -1)
        return super().outputs(shares, rows, constants, averaged)

    def _compute(self, node: Node, values: MutableMapping[str, Array]) -> None:
        if node.outputs in self.layers:
            self.layers[node.outputs].compute(values)
        else:
            super()._compute(node, values)

    def _read(self, value: str) -> bool:
        return any(value in node.inputs for node in self.averages.nodes)


class GraphOutputs:
    """Outputs of one game's coalitions; an `OutputSource`.

    Args:
        ready: the game, and what is computed once of it.
        made: makes what computes the rest, of this game and of that of a named baseline.
    """

    def __init__(self, ready: Staged, made: Callable[[Staged], Rest]) -> None:
        self.game, self._ready, self._made = ready.game, ready, made
        self._rest = made(ready)
        # Rows of many tokens are few at a time, whatever a library would like.
        many = ready.kept and ready.part_images == GRAPH_IMAGES
        most = self._rest.images if many else ready.part_images
        every = np.arange(self.game.images)
        self.parts = np.array_split(every, -(-len(every) // most))
        self._lanes = min(most, -(-max(map(len, self.parts)) // LANES) * LANES)
        self.masks = self._rest.coalitions
        flop = max(1, self.game.images * self.game.model.flop_above)
        self.batch = max(1, min(_MOST_COALITIONS, _SLICE_FLOP // flop))
        self._loaded: dict[int, _Loaded] = {}

    def of_part(self, number: int) -> Compute:
        """What computes outputs on one part of the test set."""
        part = self.parts[number]
        if number in self._loaded:
            return partial(self._outputs, self._loaded[number], len(part))
        loaded = self._load(part, self._lanes)
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
        """(coalitions, classes, images) of up to `masks` coalitions."""
        rows = self._rest.averages.rows(shares)
        found = self._rest.outputs(shares.astype(np.float32), rows, loaded.constants, loaded.averaged)
        return np.asarray(found[:, :images], np.float64).transpose(0, 2, 1)
