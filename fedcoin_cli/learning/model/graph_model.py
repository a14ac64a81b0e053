"""A graph as a model of a round: its classes, and what an image of it costs, found once when it is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from fedcoin_cli.learning.graph.graph import Graph, Input, Weight
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.graph.shapes import classes, cost, typed
from fedcoin_cli.learning.graph.stages import Stage, stages
from fedcoin_cli.learning.graph.tensor_type import TensorType


@dataclass(frozen=True, slots=True)
class GraphModel:
    """A graph that was checked, and numbers that follow from it; `types` has every value's by name."""

    graph: Graph
    types: Mapping[str, TensorType]
    classes: int
    widest: int
    laid_out: int
    values: int
    flop_once: int
    flop_first: int
    flop_above: int

    @classmethod
    def of(cls, graph: Graph) -> "GraphModel":
        """Of a graph that `graph.reader` has read."""
        types, by_stage = typed(graph), stages(graph)
        flop = dict.fromkeys(Stage, 0)
        for number, node in enumerate(graph.nodes):
            flop[max(by_stage[name] for name in node.outputs if name)] += _work(graph, types, number)
        return cls(
            graph=graph,
            types=types,
            classes=classes(graph, types),
            widest=max(one.each for one in types.values() if one.axis is not None),
            laid_out=cost(graph, types, 1).laid_out,
            values=sum(types[name].each for node in graph.nodes for name in node.outputs if name),
            flop_once=flop[Stage.constant],
            flop_first=flop[Stage.affine],
            flop_above=flop[Stage.rest],
        )

    @property
    def inputs(self) -> tuple[Input, ...]:
        return self.graph.inputs

    @property
    def row(self) -> tuple[int, ...]:
        return self.types[self.graph.output].sizes[1:]

    @property
    def frozen(self) -> tuple[Weight, ...]:
        return self.graph.frozen

    @property
    def weight_names(self) -> tuple[str, ...]:
        return self.graph.weight_names

    @property
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        return self.graph.weight_shapes


def _work(graph: Graph, types: Mapping[str, TensorType], number: int) -> int:
    """The floating-point operations of one node for one image."""
    node = graph.nodes[number]
    operation = OPERATIONS[node.operation]
    inputs = [types[name] if name else None for name in node.inputs]
    outputs = [types[name] for name in node.outputs if name]
    return operation.work(operation.completed(node.attributes), inputs, outputs, 1)
