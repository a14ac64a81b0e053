"""Graphs that are chains of dense layers, seen as such: their updates, transposed, are then those of a `ModelSpec`.

The kernels, the enumeration and the proven bounds of chains apply to them. A lone logit z is the second of two outputs
of which the first is 0, as it is everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.graph.graph import Graph, Kind, Node
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.model import MAX_INPUT_VALUES, MAX_LAYERS, MAX_UNITS, Dense, ModelSpec
from fedcoin_cli.learning.model.weights import Weights

_ACTIVATIONS: Final = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}
# What moves no entry of an image that is laid flat.
_FLAT: Final = frozenset({"Flatten", "Reshape", "Identity"})


@dataclass(frozen=True, slots=True)
class Chain:
    """A graph's chain; `places` says of each of its tensors which of an update's it is, and whether transposed."""

    spec: ModelSpec
    places: tuple[tuple[int, bool], ...]
    lone: bool

    def weights(self, update: Weights) -> Weights:
        """An update of the graph as one of the chain."""
        found = [update[place].T if turned else update[place] for place, turned in self.places]
        if self.lone:
            tensors = len(self.spec.layers[-1].weight_shapes)
            found[-tensors:] = [_beside_zero(tensor) for tensor in found[-tensors:]]
        return tuple(np.ascontiguousarray(tensor) for tensor in found)


def widened(spec: ModelSpec) -> Chain | None:
    """A chain with one output as one with two, the first of which is 0 [P-12.17]; None where it has more."""
    *hidden, last = spec.layers
    if last.units > 1:
        return None
    places = tuple((place, False) for place in range(len(spec.weight_shapes)))
    return Chain(replace(spec, layers=(*hidden, replace(last, units=2))), places, lone=True)


def chain_of(model: GraphModel) -> Chain | None:
    """The chain that a graph is; None where it is none."""
    return _Follower(model).chain()


class _NoChain(Exception):
    """What was met does not stand in a chain."""


class _Follower:
    """Follows a graph back from its output, layer by layer."""

    def __init__(self, model: GraphModel) -> None:
        self._graph: Graph = model.graph
        self._types = model.types
        self._makers = {name: node for node in self._graph.nodes for name in node.outputs}
        self._numbers = {name: number for number, name in enumerate(self._graph.weight_names)}

    def chain(self) -> Chain | None:
        (first, *more) = self._graph.inputs
        if more or first.kind is not Kind.float32 or prod(first.shape) > MAX_INPUT_VALUES:
            return None
        try:
            layers, places = self._followed(first.name)
        except _NoChain:
            return None
        lone = layers[-1].units == 1
        if lone:
            layers[-1] = replace(layers[-1], units=2)
        if not 1 <= len(layers) <= MAX_LAYERS or max(layer.units for layer in layers) > MAX_UNITS:
            return None
        return Chain(ModelSpec(first.shape, tuple(layers)), tuple(places), lone)

    def _followed(self, first: str) -> tuple[list[Dense], list[tuple[int, bool]]]:
        layers: list[Dense] = []
        places: list[tuple[int, bool]] = []
        name, activation = self._before_flat(self._graph.output), "linear"
        while name != first:
            node = self._makers.get(name)
            if node is None:
                raise _NoChain
            if node.operation in _ACTIVATIONS:
                if activation != "linear" or not layers:
                    raise _NoChain
                activation, name = _ACTIVATIONS[node.operation], node.inputs[0]
            else:
                name, own = self._dense(node)
                inputs, units = self._shape(own[0])
                if any(self._graph.weights[number].shape != (units,) for number, _ in own[1:]):
                    raise _NoChain
                layers.insert(0, Dense(inputs, units, activation, use_bias=len(own) > 1))
                places[:0] = own
                activation = "linear"
            name = self._before_flat(name)
        if activation != "linear":
            raise _NoChain
        return layers, places

    def _before_flat(self, name: str) -> str:
        """What a value was before it was laid flat, in the order of its entries."""
        while (node := self._makers.get(name)) is not None and node.operation in _FLAT:
            if self._types[name].axis != 0 or self._types[name].sizes[0] != 1:
                raise _NoChain
            name = node.inputs[0]
        return name

    def _dense(self, node: Node) -> tuple[str, list[tuple[int, bool]]]:
        """What a dense layer reads, and where its kernel and bias are."""
        if node.operation == "Gemm":
            plain: Mapping[str, object] = {"alpha": 1.0, "beta": 1.0, "transA": 0}
            if any(node.attributes.get(name, value) != value for name, value in plain.items()):
                raise _NoChain
            x, kernel, *bias = [name for name in node.inputs if name]
            return x, [(self._number(kernel), bool(node.attributes.get("transB", 0))), *map(self._bias, bias)]
        if node.operation == "Add":
            x, kernels = self._product(self._makers.get(node.inputs[0]))
            return x, [*kernels, self._bias(node.inputs[1])]
        return self._product(node)

    def _product(self, node: Node | None) -> tuple[str, list[tuple[int, bool]]]:
        if node is None or node.operation != "MatMul" or len(self._types[node.outputs[0]].sizes) != 2:
            raise _NoChain
        x, kernel = node.inputs
        turned = self._makers.get(kernel)
        if turned is None:
            return x, [(self._number(kernel), False)]
        if turned.operation != "Transpose":
            raise _NoChain
        return x, [(self._number(turned.inputs[0]), True)]

    def _bias(self, name: str) -> tuple[int, bool]:
        return self._number(name), False

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            raise _NoChain
        return self._numbers[name]

    def _shape(self, place: tuple[int, bool]) -> tuple[int, int]:
        shape = self._graph.weights[place[0]].shape
        inputs, units = reversed(shape) if place[1] else shape
        return inputs, units


def _beside_zero(tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A last axis of 1 made one of 2, of which the first entry is 0."""
    return np.concatenate([np.zeros_like(tensor), tensor], axis=-1)
