"""Low-rank factors as products: x · A · B of two trained weights becomes x · (A · B), averaged as the product it is.

The average of factors is not the factor of an average, so a coalition of LoRA updates depends on which is averaged.
(docs/adr/0042)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fedcoin_cli.learning.graph.graph import Graph, Node
from fedcoin_cli.learning.graph.shapes import Types, of_weights, typed
from ledger_store.base.errors import RoundFilesInvalid


@dataclass(frozen=True, slots=True)
class _Map:
    """A node that multiplies rows by a trained weight, which stands transposed; `bias` is added, or empty."""

    node: Node
    rows: str
    weight: str
    transposed: bool
    bias: str


def with_products(graph: Graph, *, where: str) -> Graph:
    """The same graph with each product of rows, A and B as one of rows and A · B.

    Raises:
        RoundFilesInvalid: there is none.
    """
    types = typed(graph, where=where)
    trained = of_weights(graph, types)
    maps = {node.outputs[0]: found for node in graph.nodes if (found := _map(node, types, trained))}
    nodes: list[Node] = []
    products: list[str] = []
    for node in graph.nodes:
        second = maps.get(node.outputs[0])
        first = _first(second, maps, graph) if second else None
        if second is None or first is None:
            nodes.append(node)
            continue
        names = [_free(f"product{len(products)}{part}", types) for part in ("", ".a", ".b")]
        factors = []
        for one, name in zip((first, second), names[1:], strict=True):
            if one.transposed:
                nodes.append(Node("Transpose", (one.weight,), (name,), {"perm": (1, 0)}))
            factors.append(name if one.transposed else one.weight)
        nodes.append(Node("MatMul", tuple(factors), (names[0],), {}))
        products.append(names[0])
        rows = (first.rows, names[0], second.bias) if second.bias else (first.rows, names[0])
        nodes.append(Node("Gemm" if second.bias else "MatMul", rows, node.outputs, {}))
    if not products:
        message = "it multiplies nothing by two trained weights, one after the other"
        hint = "LoRA's factors A and B must both be trained, with nothing between them; else leave --lora out"
        raise RoundFilesInvalid(message, where=where, hint=hint)
    return replace(graph, nodes=_needed(nodes, graph.output), products=tuple(products))


def _needed(nodes: Sequence[Node], output: str) -> tuple[Node, ...]:
    """Those on which the output depends: a factor that nothing else reads is multiplied alone no more."""
    needed, kept = {output}, []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return tuple(kept[::-1])


def _map(node: Node, types: Types, trained: set[str]) -> _Map | None:
    if node.operation not in {"MatMul", "Gemm"} or node.inputs[1] not in trained:
        return None
    rows, weight, *bias = node.inputs
    if types[rows].axis is None or types[weight].rank != 2:
        return None
    odd = {"alpha", "beta", "transA"} & set(node.attributes)
    return None if odd else _Map(node, rows, weight, bool(node.attributes.get("transB")), "".join(bias))


def _first(second: _Map, maps: Mapping[str, _Map], graph: Graph) -> _Map | None:
    """The factor before it, with nothing but copies between."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    name = second.rows
    while (node := makers.get(name)) is not None and node.operation == "Identity":
        name = node.inputs[0]
    first = maps.get(name)
    return None if first is None or first.bias else first


def _free(name: str, types: Types) -> str:
    while name in types:
        name += "_"
    return name
