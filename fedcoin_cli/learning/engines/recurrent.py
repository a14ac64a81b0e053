"""LSTM and GRU layers of a graph by `recurrent.c`, quicker than by a library: how weights are laid out, and a layer.

Why so: docs/adr/0044.
"""

import os
from collections.abc import MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.engines.averages import Packing, Single
from fedcoin_cli.learning.engines.blocks import aligned, pointer
from fedcoin_cli.learning.engines.compiled import ffi, library
from fedcoin_cli.learning.graph.graph import Node
from fedcoin_cli.learning.graph.namespace import Array
from fedcoin_cli.learning.graph.normalised import Types
from fedcoin_cli.learning.graph.operations.table import OPERATIONS

_GATES: Final = {"LSTM": 4, "GRU": 3}
_LEAST_IMAGES: Final = 48
"""For which a thread of its own pays."""


def packing(node: Node, types: Types) -> Packing | None:
    """How the kernel reads a layer's weights; None where it does not compute this node here."""
    if node.operation not in _GATES or library() is None:
        return None
    its = OPERATIONS[node.operation].completed(node.attributes)
    if node.operation == "GRU" and not its["linear_before_reset"]:
        return None
    gates, hidden, width = _GATES[node.operation], its["hidden_size"], library().fedcoin_recurrent_units()
    directions, _, inputs = types[node.inputs[1]].sizes
    parts = tuple(name for name in node.inputs[1:4] if name)
    nothing = sum(types[name].each for name in parts)

    def laid(first: int, *sizes: int) -> npt.NDArray[np.intp]:
        """Places of (directions, gates, hidden, each) as (directions, groups of `width` units, each, gates, width)."""
        places = np.minimum(np.arange(first, first + directions * np.prod(sizes)), nothing)
        filled = np.pad(
            places.reshape(directions, *sizes),
            ((0, 0), (0, 0), (0, -hidden % width), (0, 0)),
            constant_values=nothing,
        )
        return filled.reshape(directions, sizes[0], -1, width, sizes[2]).transpose(0, 2, 4, 1, 3)

    beyond = directions * gates * hidden * inputs
    fed, back = laid(0, gates, hidden, inputs), laid(beyond, gates, hidden, hidden)
    rows = laid(beyond + directions * gates * hidden * hidden, 2 * gates, hidden, 1)
    if gates == _GATES["GRU"]:  # what inputs add to the last gate, and what states add, is summed apart
        rows = np.insert(rows, (3, 5), nothing, axis=3)
    flat = [part.reshape(directions, fed.shape[1], -1) for part in (rows, fed, back)]
    return Packing(f"packed {node.outputs}", parts, np.concatenate(flat, axis=2))


class Layer:
    """A layer whose weights are packed.

    Args:
        node: as the graph has it.
        weights: what its packed weights are called.
        stepwise: whether its outputs of all steps are read.
        threads: cores to use; 0: all.
    """

    def __init__(self, node: Node, weights: str, threads: int, *, stepwise: bool) -> None:
        its: Any = OPERATIONS[node.operation].completed(node.attributes)
        self._node, self._weights, self._stepwise = node, weights, stepwise
        self._hidden, self._backwards = its["hidden_size"], its["reverse"]
        self._function = getattr(library(), f"fedcoin_{node.operation.lower()}")
        self._width, self._rows = library().fedcoin_recurrent_units(), library().fedcoin_recurrent_rows()
        self._threads = threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None

    def compute(self, values: MutableMapping[str, Array]) -> bool:
        """Its outputs join the values by name: of all steps, and the states at the end. No NaN is lost: always true."""
        x = np.ascontiguousarray(values[self._node.inputs[0]], np.float32)
        packed, (steps, images, _) = values[self._weights], x.shape
        ends = np.empty((2, len(packed), images, self._hidden), np.float32)
        every = np.empty((steps if self._stepwise else 0, *ends.shape[1:]), np.float32)
        begin = [
            np.broadcast_to(values[name] if name else np.zeros(1), ends.shape[1:])
            for name in self._node.inputs[5:]
        ]

        def run(place: slice) -> None:
            for way, weights in enumerate(packed):
                before = [one[way, place] for one in begin]
                self._walk(x[:, place], weights, before, every[:, way, place], ends[:, way, place], way)

        parts = min(self._threads, max(1, images // _LEAST_IMAGES))
        cuts = np.linspace(0, images, parts + 1).astype(int).tolist()
        places = [slice(*cut) for cut in pairwise(cuts)]
        list(map(run, places) if self._pool is None else self._pool.map(run, places))
        made = zip(self._node.outputs, (every, *ends), strict=False)
        values.update((name, one) for name, one in made if name)
        return True

    def _walk(
        self, x: Single, packed: Single, begin: Sequence[Single], every: Single, ends: Single, way: int
    ) -> None:
        """Some images in one direction: outputs (steps, images, hidden) and states at the end are written."""
        steps, images, inputs = x.shape
        rows, units = -(-images // self._rows) * self._rows, -(-self._hidden // self._width) * self._width
        states, cells = aligned((2, rows, units), np.float32), aligned((rows, units), np.float32)
        for place, one in zip((states[0], cells), begin, strict=False):
            place[:images, : self._hidden] = one
        self._function(
            *(_start(x), x.strides[0] // 4, steps, images, inputs, pointer(packed), units, self._hidden),
            *(self._backwards or way, pointer(states), pointer(cells)),
            *(_start(every) if len(every) else ffi.NULL, every.strides[0] // 4),
        )
        ends[0], ends[1] = states[steps % 2, :images, : self._hidden], cells[:images, : self._hidden]


def _start(x: Single) -> Any:
    """Where an array begins, whose last two axes are contiguous; it is the caller's to keep."""
    return ffi.cast("float *", x.ctypes.data)
