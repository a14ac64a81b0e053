"""What a graph's values are, and what computing them takes, before anything is allocated.

`typed` runs every operation's rules over plain integers: kinds, sizes, and the axis of examples. `cost` adds up what a
pass with so many examples takes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fedcoin_cli.learning.graph.graph import Graph, Kind, Node
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.graph.tensor_type import Misfit, TensorType
from ledger_store.base.errors import RoundFilesInvalid

MAX_VALUES: Final = 1 << 28
"""Of one value, of one example: more fits into no miner's memory, and is refused where it stands."""
MAX_AXES: Final = 8
MAX_OUTPUTS: Final = 1 << 16
"""Classes; as many as a dense layer of a chain has units."""

Types = Mapping[str, TensorType]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one pass takes.

    `flop` are floating-point operations; `held` the values that are needed at one time, those of weights included;
    `laid_out` what one operation may lay out beside its inputs and outputs.
    """

    flop: int
    held: int
    laid_out: int


def typed(graph: Graph, *, where: str = "model.json") -> Types:
    """The type of every named value.

    Raises:
        RoundFilesInvalid: an operation does not fit what it is given, or would mix examples; a name is not defined
            before it is used, or twice; the output is no row of classes. The place is the node. [P-12.15] [P-12.16]
    """
    found: dict[str, TensorType] = {}
    for name, one in _sources(graph):
        _define(found, name, one, where)
    for number, node in enumerate(graph.nodes):
        place = node_place(where, number, node)
        for name, made in zip(node.outputs, _made(node, found, place), strict=False):
            if name:
                _define(found, name, made, place)
    _refuse_output(found.get(graph.output), graph.output, where)
    return found


def classes(graph: Graph, types: Types) -> int:
    """How many outputs the metrics see of an example or token: a lone logit is two, of which the first is 0."""
    return max(2, types[graph.output].sizes[-1])


def cost(graph: Graph, types: Types, examples: int) -> Cost:
    """What a pass with so many examples takes."""
    flop = laid_out = 0
    held = most = sum(one.count(examples) for _, one in _sources(graph))
    last = last_uses(graph.nodes, graph.output)
    for number, node in enumerate(graph.nodes):
        operation = OPERATIONS[node.operation]
        its = operation.completed(node.attributes)
        inputs = [types[name] if name else None for name in node.inputs]
        outputs = [types[name] for name in node.outputs if name]
        flop += operation.work(its, inputs, outputs, examples)
        laid_out = max(laid_out, operation.laid_out(its, inputs, outputs, examples))
        held += sum(one.count(examples) for one in outputs)
        most = max(most, held)
        held -= sum(types[name].count(examples) for name in last[number])
    return Cost(flop, most, laid_out)


def last_uses(nodes: Sequence[Node], output: str) -> list[tuple[str, ...]]:
    """Of each node the values computed here that nothing needs behind it."""
    made = {name for node in nodes for name in node.outputs if name}
    last: list[tuple[str, ...]] = []
    seen = {output}
    for node in reversed(nodes):
        names = [name for name in dict.fromkeys((*node.inputs, *node.outputs)) if name in made]
        last.append(tuple(name for name in names if name not in seen))
        seen.update(names)
    return last[::-1]


def is_row(one: TensorType) -> bool:
    """Whether a value is outputs that can be judged: a row of them an example, or one for each token [P-12.13]."""
    if one.kind is not Kind.float32 or one.axis != 0 or one.sizes[0] != 1:
        return False
    match one.sizes[1:]:
        case (outputs,):
            return outputs <= MAX_OUTPUTS
        case (_, outputs):
            return 2 <= outputs <= MAX_OUTPUTS
    return False


def of_weights(graph: Graph, types: Types) -> set[str]:
    """The trained weights, and what is computed of them and is the same for all examples."""
    found = set(graph.weight_names)
    for node in graph.nodes:
        if found.intersection(node.inputs):
            found.update(name for name in node.outputs if name and types[name].axis is None)
    return found


def node_place(where: str, number: int, node: Node) -> str:
    """A node as errors name it."""
    name = next((name for name in node.outputs if name), "")
    return f"{where}, node {number} ({node.operation[:40]} → {name[:80]!r})"


def _sources(graph: Graph) -> Iterator[tuple[str, TensorType]]:
    """What needs no computing, by name."""
    for given in graph.inputs:
        yield given.name, TensorType(given.kind, (1, *given.shape), 0)
    for weight in (*graph.weights, *graph.frozen):
        yield weight.name, TensorType(Kind.float32, weight.shape)
    for constant in graph.constants:
        yield constant.name, TensorType(constant.kind, constant.shape)


def _define(found: dict[str, TensorType], name: str, one: TensorType, where: str) -> None:
    if name in found:
        raise _refused(f"the name {name[:80]!r} is defined twice", where)
    if one.rank > MAX_AXES or any(size < 1 for size in one.sizes) or one.each > MAX_VALUES:
        message = (
            f"{name[:80]!r} is {str(one)[:200]}: at most {MAX_AXES} axes and {MAX_VALUES} values an example"
        )
        raise RoundFilesInvalid(message, where=where, hint="use a smaller model")
    found[name] = one


def _made(node: Node, found: Types, place: str) -> tuple[TensorType, ...]:
    operation = OPERATIONS.get(node.operation)
    if operation is None:
        raise _refused(
            f"the operation {node.operation[:40]!r} is not one of those that miners compute", place
        )
    least, most = operation.inputs
    if not least <= len(node.inputs) <= most or not 1 <= len(node.outputs) <= operation.outputs:
        raise _refused(
            f"it takes {least} to {most} inputs and gives up to {operation.outputs} outputs", place
        )
    for name in node.inputs:
        if name and name not in found:
            raise _refused(f"{name[:80]!r} is used before it is defined", place)
    try:
        operation.checked(node.attributes)
        inputs = [found[name] if name else None for name in node.inputs]
        made = operation.typed(operation.completed(node.attributes), inputs)
    except Misfit as error:
        raise _refused(str(error), place) from error
    if len(node.outputs) > len(made):
        raise _refused(f"it gives {len(made)} outputs, {len(node.outputs)} are named", place)
    return made


def _refuse_output(one: TensorType | None, name: str, where: str) -> None:
    if one is None:
        raise _refused(f"the output {name[:80]!r} is not defined", where)
    if not is_row(one):
        message = f"the output must be float32 (examples, classes) or (examples, tokens, classes), not {one}"
        raise _refused(message, where)


def _refused(message: str, where: str) -> RoundFilesInvalid:
    hint = "import the model again with `fedcoin model import`, which says what of it is not understood"
    return RoundFilesInvalid(message, where=where, hint=hint)
