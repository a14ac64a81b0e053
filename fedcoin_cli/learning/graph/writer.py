"""Writes a graph as `model.json` of schema 2: one text for one graph."""

import json
from typing import Any

from fedcoin_cli.learning.graph.form import OPTIONAL
from fedcoin_cli.learning.graph.graph import Constant, Graph, Input, Node, Weight
from fedcoin_cli.learning.graph.reader import SCHEMA


def graph_text(graph: Graph) -> str:
    """The description, keys sorted, without spaces: what `read_graph` reads back as the same graph.

    Raises:
        ValueError: a number is not finite.
    """
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "inputs": [_input(one) for one in graph.inputs],
        "weights": [{"name": one.name, "shape": list(one.shape)} for one in graph.weights],
        "frozen": [_frozen(one) for one in graph.frozen],
        "constants": [_constant(one) for one in graph.constants],
        "nodes": [_node(one) for one in graph.nodes],
        "output": graph.output,
    }
    if graph.products:
        document[OPTIONAL] = list(graph.products)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _input(one: Input) -> dict[str, Any]:
    return {"name": one.name, "dtype": one.kind, "shape": list(one.shape)}


def _frozen(one: Weight) -> dict[str, Any]:
    return {"name": one.name, "dtype": "float32", "shape": list(one.shape)}


def _constant(one: Constant) -> dict[str, Any]:
    return {"name": one.name, "dtype": one.kind, "shape": list(one.shape), "values": list(one.values)}


def _node(one: Node) -> dict[str, Any]:
    return {
        "op": one.operation,
        "inputs": list(one.inputs),
        "outputs": list(one.outputs),
        "attributes": dict(one.attributes),
    }
