"""The rest of a graph on the library that Keras runs on, compiled by it: float32, several coalitions a call."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import Final

import numpy as np

from fedcoin_cli.learning.engines.averages import Single
from fedcoin_cli.learning.engines.graph_outputs import Rest
from fedcoin_cli.learning.engines.keras_namespace import DROPS, KerasArrays
from fedcoin_cli.learning.graph.graph import Node
from fedcoin_cli.learning.graph.namespace import Array, Numpy
from fedcoin_cli.learning.graph.tensor_type import TensorType
from fedcoin_cli.learning.model.backend import keras, ops, use_threads
from fedcoin_cli.learning.reference.staged import Staged

_MOST_COALITIONS: Final = 8
_MOST_NODES: Final = 400
"""Nodes of all coalitions of a call: compilers take their time over each."""
_STEP_OPERATIONS: Final = 20


class KerasRest(Rest):
    """A graph's rest, compiled when it is first called with values of a shape.

    Args:
        ready: the game, and what is computed once of it.
        threads: cores to use; 0 leaves it to the library. Takes effect before the first use of Keras only.
    """

    def __init__(self, ready: Staged, threads: int = 0) -> None:
        if threads:
            use_threads(threads)
        super().__init__(ready, KerasArrays())
        nodes = max(1, sum(_operations(node, self.averages.types) for node in self.averages.nodes))
        # No more than a ranking has: a call takes as long whether all of it is wanted or not.
        self.coalitions = max(1, min(_MOST_COALITIONS, _MOST_NODES // nodes, ready.game.clients - 1))
        self._compiled = _compiled(super().outputs)
        self._ready = ready

    def outputs(
        self,
        shares: Single,
        rows: Sequence[Single],
        constants: Mapping[str, Array],
        averaged: Mapping[str, Array],
    ) -> Array:
        """As of `Rest`, as a NumPy array: a call has one size, and what fills it up is not looked at."""
        missing = self.coalitions - len(shares)
        filled = np.concatenate([shares, np.repeat(shares[-1:], missing, 0)])
        weights = [ops.convert_to_tensor(row) for row in (*rows, *[rows[-1]] * missing)]
        made = self._compiled(ops.convert_to_tensor(filled), weights, dict(constants), dict(averaged))
        found = np.asarray(ops.convert_to_numpy(made))[: len(shares)]
        lost = np.isnan(found).any(axis=(1, 2)).nonzero()[0] if DROPS else ()
        if len(lost):  # or it was none before
            given = (
                {name: ops.convert_to_numpy(one) for name, one in some.items()}
                for some in (constants, averaged)
            )
            found = np.array(found)
            found[lost] = self._instead.outputs(shares[lost], [rows[place] for place in lost], *given)
        return found

    @cached_property
    def _instead(self) -> Rest:
        """NumPy, for coalitions of which a pooling may have dropped what is no number."""
        return Rest(self._ready, Numpy(np.float32))


def _operations(node: Node, types: Mapping[str, TensorType]) -> int:
    """What a compiler sees of a node: a recurrent layer is laid out step by step."""
    return _STEP_OPERATIONS * types[node.inputs[0]].sizes[0] if node.operation in {"LSTM", "GRU"} else 1


def _compiled(function: Callable[..., Array]) -> Callable[..., Array]:
    """What Keras' own `predict` would do: a graph of TensorFlow's without XLA, JAX' compiler, PyTorch as it is."""
    match keras.backend.backend():
        case "tensorflow":
            made: Callable[..., Array] = import_module("tensorflow").function(function, jit_compile=False)
        case "jax":
            made = import_module("jax").jit(function)
        case _:
            made = import_module("torch").no_grad()(function)
    return made
