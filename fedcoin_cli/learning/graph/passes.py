"""Computes a graph: its nodes in order, over any array library, each value let go where nothing needs it any more."""

from collections.abc import Mapping, MutableMapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.graph.graph import Constant, Graph, Kind, Node
from fedcoin_cli.learning.graph.namespace import Array, Namespace
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.graph.shapes import last_uses

_DTYPES: Mapping[Kind, Any] = {Kind.float32: np.float64, Kind.int32: np.int32, Kind.bool: np.bool_}


class Passes:
    """One graph over one library; `outputs` computes it."""

    def __init__(self, graph: Graph, xp: Namespace) -> None:
        self.graph, self._xp = graph, xp
        self._constants = {one.name: xp.constant(constant_array(one)) for one in graph.constants}
        self._steps = Steps(graph.nodes, graph.output)

    def outputs(self, weights: Mapping[str, Array], inputs: Mapping[str, Array]) -> Array:
        """The outputs (examples, classes); of a lone logit z those are [0, z], of tokens their rows in a row.

        Args:
            weights: all weights and frozen tensors by name, as arrays of the library.
            inputs: all inputs by name, the examples first.
        """
        return self._steps.outputs({**self._constants, **weights, **inputs}, self._xp)


class Steps:
    """Some of a graph's nodes, the last of which give its output."""

    def __init__(self, nodes: Sequence[Node], output: str) -> None:
        self._nodes, self._output = nodes, output
        self._last = last_uses(nodes, output)

    def outputs(self, values: MutableMapping[str, Array], xp: Namespace) -> Array:
        """The outputs, (examples, classes), from all that these nodes do not compute themselves."""
        for node, done in zip(self._nodes, self._last, strict=True):
            compute(node, values, xp)
            for name in done:
                del values[name]
        return widened(values[self._output], xp)


def compute(node: Node, values: MutableMapping[str, Array], xp: Namespace) -> None:
    """One node: its outputs join the values by name."""
    operation = OPERATIONS[node.operation]
    taken = [values[name] if name else None for name in node.inputs]
    made = operation.run(xp, operation.completed(node.attributes), taken)
    values.update((name, one) for name, one in zip(node.outputs, made, strict=False) if name)


def widened(outputs: Array, xp: Namespace) -> Array:
    """A lone logit as two outputs, the first of which is 0: label 1 is said where it is positive [P-12.17].

    Rows of tokens stand behind one another.
    """
    examples, *row = xp.shape(outputs)
    if len(row) > 1:
        return xp.reshape(outputs, (examples, prod(row)))
    (classes,) = row
    return outputs if classes > 1 else xp.concatenate([xp.constant(np.zeros((examples, 1))), outputs], 1)


def constant_array(one: Constant) -> npt.NDArray[Any]:
    """A constant's values; floats are those of float32."""
    array = np.array(one.values, _DTYPES[one.kind]).reshape(one.shape)
    return array.astype(np.float32) if one.kind == Kind.float32 else array
