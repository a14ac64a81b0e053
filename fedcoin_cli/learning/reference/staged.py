"""What a graph's updates give on the test set once for all: its constant values, and each client's affine ones.

It is to graphs what `forward.FirstLayer` is to chains: computed in float64, rounded to float32 once, kept where it
fits into memory and computed anew otherwise. What each coalition then adds lives in `engines.graph_outputs`.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.game.game import GRAPH_IMAGES, MAX_ACTIVATION_BYTES, MAX_CHUNK_FLOP, Game
from fedcoin_cli.learning.graph.graph import Kind
from fedcoin_cli.learning.graph.namespace import NUMPY
from fedcoin_cli.learning.graph.passes import compute, constant_array
from fedcoin_cli.learning.graph.shapes import cost
from fedcoin_cli.learning.graph.stages import staged
from fedcoin_cli.learning.graph.tensor_type import TensorType
from fedcoin_cli.learning.reference.perturbed import PASSES
from ledger_store.base.errors import RoundFilesInvalid

_PART_VALUES: Final = 1 << 22
"""Outputs of the images that are computed together: a row for each of many tokens takes fewer images."""

_MAX_KEPT_BYTES: Final = 1 << 30

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Places = npt.NDArray[np.integer[Any]]


class Staged:
    """The values that a graph's coalitions begin with, by name.

    `weights` are each client's values that stand for all images, (K, …): weights, and what is made of them alone,
    float32 where that is exact and float64 elsewhere; `shared` those that are the same for all clients, too.
    `of_images` has those of images.
    """

    def __init__(self, game: Game) -> None:
        self.game, self._model = game, game.graph
        graph, types = self._model.graph, self._model.types
        self.staging = staged(graph, types, game.clients, GRAPH_IMAGES)
        alone = _without_images(types)
        self.constants = tuple(name for name in self.staging.constants if name not in alone)
        self.averaged = tuple(name for name in self.staging.averaged if name not in alone)
        own = [name for name in self.staging.averaged if name in alone]
        self._fitting = self._room(own, alone)
        self._given = {one.name: NUMPY.constant(constant_array(one)) for one in graph.constants}
        self._given |= {
            one.name: NUMPY.constant(own) for one, own in zip(graph.frozen, game.frozen, strict=True)
        }
        self._given = self._through(self._given)
        self.shared = {name: _single(self._given[name]) for name in self.staging.constants if name in alone}
        once = {name for node in self.staging.once for name in node.inputs}
        self._read = [name in once for name in self._model.weight_names]
        self.weights = self._stacks(own)
        self._of(game)

    def _of(self, game: Game) -> "Staged":
        """Itself, with what depends on the images."""
        self.game, types = game, self._model.types
        self.part_images = max(1, min(GRAPH_IMAGES, _PART_VALUES // prod(self._model.row), self._fitting))
        fast = MAX_CHUNK_FLOP // max(1, game.clients * self._model.flop_first)
        self.together = max(1, min(self.part_images, fast))
        """Of so many images all clients' values take no longer than a step may."""
        self.parts = np.array_split(np.arange(game.images), -(-game.images // self.together))
        held = sum(types[name].each for name in self.constants)
        held += game.clients * sum(types[name].each for name in self.averaged)
        self.kept = 4 * held * game.images <= _MAX_KEPT_BYTES
        # Of all images, filled part by part.
        self._all: tuple[Arrays, Arrays] = ({}, {})
        self._filled = np.zeros(len(self.parts), np.bool_)
        return self

    def _stacks(self, names: Sequence[str]) -> dict[str, Array]:
        """All clients' values of these names, which stand for all images."""
        places = {name: place for place, name in enumerate(self._model.weight_names)}
        own, updates = [name for name in names if name in places], self.game.updates
        found: dict[str, Array] = {name: np.stack([one[places[name]] for one in updates]) for name in own}
        made = [name for name in names if name not in places]
        if made:
            stacks = self._of_clients(made, self._given)
            found.update((name, _exact(stack)) for name, stack in stacks.items())
        return {name: found[name] for name in names}

    def on(self, game: Game) -> "Staged":
        """The same of other images: what stands for all of them is shared."""
        return copy(self)._of(game)  # noqa: SLF001 (a copy of its own)

    def _room(self, own: Sequence[str], alone: set[str]) -> int:
        """Of how many images together memory has room: a graph of a few bytes may make of them what it likes.

        Raises `RoundFilesInvalid` where it has none [P-6.13].
        """
        types, clients = self._model.types, self.game.clients
        made = {name: types[name].each for node in self.staging.once for name in node.outputs if name}
        fixed = sum(each for name, each in made.items() if name in alone)
        fixed += clients * sum(made.get(name, 0) for name in own)
        image = sum(each for name, each in made.items() if name not in alone)
        image += clients * sum(types[name].each for name in self.averaged)
        held = cost(self._model.graph, types, 1).held
        for values, what in (
            (fixed, f"what the model makes of the weights of {clients} clients alone"),
            (image, f"what the model makes of a single image, and {clients} clients of it,"),
            (PASSES * held, "what the model holds at one time for a single image"),
        ):
            if 8 * values > MAX_ACTIVATION_BYTES:
                message, hint = f"{what} needs too much memory", "use a smaller model, or fewer clients"
                raise RoundFilesInvalid(message, where="the model's graph", hint=hint)
        return MAX_ACTIVATION_BYTES // (8 * max(1, image))

    def of_images(self, images: Places) -> tuple[Arrays, Arrays]:
        """Constant values of some images, and each client's affine ones (K, …); float32 where they are real."""
        if not self.kept:
            return self._on(images)
        for _ in self.filling(images):
            pass
        types = self._model.types
        constants, averaged = self._all
        return (
            {name: _taken(values, types[name], images, 0) for name, values in constants.items()},
            {name: _taken(values, types[name], images, 1) for name, values in averaged.items()},
        )

    def filling(self, images: Places) -> Iterator[None]:
        """Compute what some images lack, where it is kept, in small steps; `of_images` then has it at hand."""
        for number in np.unique(self._part_of(images)).tolist() if self.kept else ():
            if not self._filled[number]:
                self._fill(number)
                yield

    def _part_of(self, images: Places) -> Places:
        starts = np.array([part[0] for part in self.parts])
        return np.searchsorted(starts, images, side="right") - 1

    def _fill(self, number: int) -> None:
        images, found = self.parts[number], self._on(self.parts[number])
        for every, some, more in zip(self._all, found, (0, 1), strict=True):
            for name, values in some.items():
                if name not in every:
                    every[name] = self._empty(name, values, more)
                axis, each = self._model.types[name].lane
                place = slice(int(images[0]) * each, (int(images[-1]) + 1) * each)
                every[name][(*(slice(None),) * (axis + more), place)] = values
        self._filled[number] = True

    def _empty(self, name: str, values: Array, more: int) -> Array:
        shape = self._model.types[name].shape(self.game.images)
        return np.empty((*values.shape[:more], *shape), values.dtype)

    def _on(self, images: Places) -> tuple[Arrays, Arrays]:
        constants = self._through({**self._given, **inputs_of(self.game, images)})
        stacks = self._of_clients(self.averaged, constants, np.float32)
        return {name: _single(constants[name]) for name in self.constants}, stacks

    def _of_clients(self, names: Sequence[str], constants: Arrays, floats: type = np.float64) -> Arrays:
        """Some values of all clients, (K, …), that follow from their weights and these."""
        found: Arrays = {}
        for client in range(self.game.clients):
            one = self._of_client(client, constants)
            for name in names:
                if not client:
                    found[name] = np.empty((self.game.clients, *one[name].shape), floats)
                found[name][client] = one[name]
        return found

    def _of_client(self, client: int, constants: Arrays) -> Arrays:
        """All values of one client that follow from its weights and these."""
        own = zip(self._model.weight_names, self.game.updates[client], self._read, strict=True)
        given = {name: NUMPY.constant(tensor) for name, tensor, read in own if read}
        return self._through({**constants, **given})

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def _through(self, values: Arrays) -> Arrays:
        """These in float64, and all that is computed once and follows from them."""
        for node in self.staging.once:
            known = any(name in values for name in node.outputs)
            if not known and all(not name or name in values for name in node.inputs):
                compute(node, values, NUMPY)
        return values


def inputs_of(game: Game, images: Places) -> Arrays:
    """What a graph is given of these images, by name: real numbers as float64, uint8 meaning x / 255."""
    found: Arrays = {}
    for wanted, tensor in zip(game.model.inputs, game.test.inputs, strict=True):
        taken = tensor[images]
        if wanted.kind is Kind.float32:
            taken = taken.astype(np.float64) / (255.0 if tensor.dtype == np.uint8 else 1.0)
        found[wanted.name] = taken
    return found


def _without_images(types: Mapping[str, TensorType]) -> set[str]:
    return {name for name, one in types.items() if one.axis is None}


def _single(values: Array) -> Array:
    return values.astype(np.float32) if values.dtype.kind == "f" else values


@np.errstate(over="ignore")
def _exact(values: Array) -> Array:
    """As float32, which takes half the memory, where that is the same."""
    single = _single(values)
    return single if np.array_equal(single, values, equal_nan=values.dtype.kind == "f") else values


def _taken(values: Array, one: TensorType, columns: Places, more: int) -> Array:
    """Some images of values whose shape has `more` axes before those of the type."""
    lane, each = one.lane
    axis = lane + more
    if each == 1:
        return np.take(values, columns, axis)
    before, after = values.shape[:axis], values.shape[axis + 1 :]
    apart = values.reshape(*before, values.shape[axis] // each, each, *after)
    return np.take(apart, columns, axis).reshape(*before, len(columns) * each, *after)
