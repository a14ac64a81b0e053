"""The weights that a coalition's rest of a graph is computed from: averages, and what is made of them alone.

Averages are taken in float64, what no image enters is computed in float64, and all is rounded to float32 once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.engines.blocks import aligned
from fedcoin_cli.learning.game.game import Floats
from fedcoin_cli.learning.graph.graph import Node
from fedcoin_cli.learning.graph.namespace import NUMPY
from fedcoin_cli.learning.graph.normalised import Types, folded
from fedcoin_cli.learning.graph.passes import compute
from fedcoin_cli.learning.reference.staged import Staged

_MOST_BYTES: Final = 1 << 26
"""Of averages that are kept: parts of the test set, and blocks, ask for the same coalitions."""
_COLUMNS: Final = 1 << 16
"""Values that are averaged at a time: what is made float64 for it stays in a core's cache."""
_LINE: Final = 16
_ENTRY_BYTES: Final = 256
"""What one takes beside its numbers: a graph that is averaged whole has none."""

Single = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Packing:
    """Some values of weights as one, in an order that suits who reads them.

    `order` has places in what the parts hold, one after the other; the place behind all of them means 0.
    """

    name: str
    parts: tuple[str, ...]
    order: npt.NDArray[np.intp]

    def of(self, values: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The packed value."""
        flat = np.concatenate([*(values[name].ravel() for name in self.parts), [0.0]])
        found: npt.NDArray[Any] = flat[self.order]
        return found


Packer = Callable[[Node, Types], Packing | None]
"""How a node would have its weights, where it would have them packed."""


def as_they_are(_: Node, __: Types) -> Packing | None:
    """Nothing is packed."""
    return None


class Averages:
    """Rows of weights, one a coalition, that `nodes` read.

    `nodes` are what is left to compute of images, with BatchNormalization folded; `types` are those of all values;
    `layout` says which values stand in a row, in order, and their shapes; `packed` are the nodes, by their outputs,
    that find their weights there in one packed value, and what it is called.
    """

    def __init__(self, ready: Staged, packer: Packer = as_they_are) -> None:
        model = ready.game.graph
        one = folded(ready.staging.rest, model.types, model.graph.output)
        self.types, self._foldings = one.types, one.foldings
        self._small = tuple(node for node in one.nodes if not self._of_images(node))
        self.nodes = tuple(node for node in one.nodes if self._of_images(node))
        self._shared = {name: values.astype(np.float64) for name, values in ready.shared.items()}
        self._taken = {name: values.shape[1:] for name, values in ready.weights.items()}
        own = {*self._taken, *(name for node in self._small for name in node.outputs)}
        own.update(name for folding in self._foldings for name in folding.made)
        found = ((node.outputs, packer(node, self.types)) for node in self.nodes)
        packings = {outputs: one for outputs, one in found if one and own.issuperset(one.parts)}
        self.packed = {outputs: one.name for outputs, one in packings.items()}
        self._packings = {one.name: one for one in packings.values()}
        self.layout = {one.name: one.order.shape for one in packings.values()}
        for node in self.nodes:
            packed = packings[node.outputs].parts if node.outputs in packings else ()
            read = [name for name in node.inputs if name in own and name not in packed]
            self.layout.update((name, self.types[name].sizes) for name in read)
        # As they are where nothing is made of them.
        self._plain = not self._small and not self._foldings
        if self._plain:
            self._taken = dict(self.layout)
        # (K, …) of all values: small ones in one piece, large ones as they are held already.
        self._clients = [self._stack(ready, name) for name in self._taken]
        if sum(stack.size for stack in self._clients) <= _MOST_BYTES // 8:
            self._clients = [np.concatenate([np.empty((ready.game.clients, 0)), *self._clients], axis=1)]
        self._size = sum(prod(shape) for shape in self.layout.values())
        self._most = _MOST_BYTES // (4 * self._size + 8 * ready.game.clients + _ENTRY_BYTES)
        self._kept: dict[bytes, Single] = {}

    def rows(self, shares: Floats) -> list[Single]:
        """The values of each coalition of these shares (coalitions, K), one row each."""
        if len(shares) > self._most:
            return list(self._made(shares))
        keys = [one.tobytes() for one in shares]
        missing = [place for place, key in enumerate(keys) if key not in self._kept]
        if len(self._kept) + len(missing) > self._most:
            self._kept.clear()
            missing = list(range(len(keys)))
        if missing:
            made = self._made(shares[missing])
            self._kept.update((keys[place], row) for place, row in zip(missing, made, strict=True))
        return [self._kept[key] for key in keys]

    def named(self, row: Single) -> dict[str, Single]:
        """The values of a row by name, in their shapes: views."""
        return _apart(row, self.layout)

    def _made(self, shares: Floats) -> Single:
        # Each row on a cache line, and so what is packed: kernels take half as long again where it is not.
        rows = aligned((len(shares), -(-self._size // _LINE) * _LINE), np.float32)[:, : self._size]
        if self._plain:
            self._averaged(shares, rows)
            return rows
        averages = self._averaged(shares, np.empty((len(shares), sum(map(prod, self._taken.values())))))
        for row, average in zip(rows, averages, strict=True):
            self._through(average, self.named(row))
        return rows

    def _averaged(self, shares: Floats, into: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Averages in float64, (coalitions, values)."""
        start = 0
        for stack in self._clients:
            for first in range(0, stack.shape[1], _COLUMNS):
                part = stack[:, first : first + _COLUMNS]
                into[:, start : start + part.shape[1]] = shares @ part
                start += part.shape[1]
        return into

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def _through(self, average: Floats, row: dict[str, Single]) -> None:
        """One coalition's values from its averages."""
        values = {**self._shared, **_apart(average, self._taken)}
        for node in self._small:
            compute(node, values, NUMPY)
        for folding in self._foldings:
            values.update(folding.values(values))
        values.update((name, one.of(values)) for name, one in self._packings.items())
        for name, place in row.items():
            place[...] = values[name]

    def _stack(self, ready: Staged, name: str) -> npt.NDArray[Any]:
        """All clients' values of a name, (K, values)."""
        each = range(ready.game.clients)
        if name not in self._packings:
            return ready.weights[name].reshape(len(each), -1)
        one = self._packings[name]
        own = [one.of({part: ready.weights[part][client] for part in one.parts}) for client in each]
        return np.stack(own).reshape(len(each), -1)

    def _of_images(self, node: Node) -> bool:
        return any(self.types[name].axis is not None for name in node.outputs if name)


def _apart(row: npt.NDArray[Any], layout: Mapping[str, tuple[int, ...]]) -> dict[str, npt.NDArray[Any]]:
    found, start = {}, 0
    for name, shape in layout.items():
        size = prod(shape)
        found[name] = row[start : start + size].reshape(shape)
        start += size
    return found
