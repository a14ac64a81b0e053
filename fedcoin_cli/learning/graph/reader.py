"""Reads `model.json` of schema 2: strictly, whoever wrote it, and before anything is allocated.

Every key is known and every number in its range; what the operations then demand is `shapes.typed`'s business, which
is asked here, so that a graph that was read can be computed.
"""

import json
from collections.abc import Callable, Mapping
from math import isfinite, prod
from typing import Any, Final, NoReturn

from fedcoin_cli.learning.graph.form import CONSTANT, DESCRIPTION, FROZEN, INPUT, NODE, OPTIONAL, WEIGHT
from fedcoin_cli.learning.graph.graph import Constant, Graph, Input, Kind, Node, Weight
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.graph.shapes import MAX_AXES, MAX_VALUES, Types, node_place, of_weights, typed
from fedcoin_cli.learning.graph.tensor_type import Misfit
from ledger_store.base.errors import RoundFilesInvalid

SCHEMA: Final = 2
MAX_TEXT_BYTES: Final = 1 << 20
MAX_NODES: Final = 4096
MAX_INPUTS: Final = 16
MAX_TENSORS: Final = 4096
MAX_CONSTANT_VALUES: Final = 1 << 16
MAX_NAME: Final = 256
MAX_WEIGHT_VALUES: Final = 1 << 28
"""Of all weights together, and of all frozen ones; as a chain has."""

_INT32: Final = 2**31
_FLOAT32: Final = float.fromhex("0x1.fffffep+127")
_HINT: Final = "such a description is made by `fedcoin model import FILE` from ONNX, PyTorch or Keras"


def is_graph(document: object) -> bool:
    """Whether a parsed description is one of a graph, well made or not."""
    return isinstance(document, dict) and "schema" in document


def read_graph(text: str | bytes, *, where: str = "model.json") -> Graph:
    """The graph that a description holds [P-12.13] [P-12.14].

    Args:
        text: the JSON, at most `MAX_TEXT_BYTES`.
        where: the file's name for error messages.

    Raises:
        RoundFilesInvalid: not JSON, a key that is odd or missing, a value out of range, or operations that do not fit
            together; the place is the part of the file.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise RoundFilesInvalid("the model description is larger than 1 MiB", where=where, hint=_HINT)
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RoundFilesInvalid("the model description is not JSON", where=where, hint=_HINT) from error
    graph = _Reader(where).graph(document)
    _check_products(graph, typed(graph, where=where), where)
    return graph


def _check_products(graph: Graph, types: Types, where: str) -> None:
    """Refuse products that are none, or of something else than weights [P-12.19]."""
    made = {name for node in graph.nodes if node.operation == "MatMul" for name in node.outputs}
    trained = of_weights(graph, types)
    for number, name in enumerate(graph.products):
        if name not in made or name not in trained or name in graph.products[:number]:
            message = f"{name[:80]!r} is no product of trained weights alone, or named twice"
            raise RoundFilesInvalid(message, where=f"{where}, products[{number}]", hint=_HINT)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


class _Reader:
    """Turns a parsed document into a graph; knows the file's name for its errors."""

    def __init__(self, where: str) -> None:
        self._where = where

    def graph(self, document: object) -> Graph:
        given = isinstance(document, dict) and OPTIONAL in document
        keys = tuple(key for key in DESCRIPTION if given or key != OPTIONAL)
        top = self._object(document, keys, "the description")
        if top["schema"] != SCHEMA or type(top["schema"]) is not int:
            self._refuse(f"schema {str(top['schema'])[:40]} is not {SCHEMA}", "schema")
        graph = Graph(
            inputs=self._each(top, "inputs", self._input, MAX_INPUTS, 1),
            weights=self._each(top, "weights", self._weight, MAX_TENSORS, 1),
            frozen=self._each(top, "frozen", self._frozen, MAX_TENSORS),
            constants=self._each(top, "constants", self._constant, MAX_TENSORS),
            nodes=self._each(top, "nodes", self._node, MAX_NODES),
            output=self._name(top["output"], "output"),
            products=self._each(top, OPTIONAL, self._name, MAX_TENSORS, 1) if given else (),
        )
        for tensors, what in ((graph.weights, "weights"), (graph.frozen, "frozen")):
            if sum(prod(one.shape) for one in tensors) > MAX_WEIGHT_VALUES:
                self._refuse(f"more than {MAX_WEIGHT_VALUES} values", what)
        if sum(len(one.values) for one in graph.constants) > MAX_CONSTANT_VALUES:
            self._refuse(f"more than {MAX_CONSTANT_VALUES} values", "constants")
        return graph

    def _each(
        self, top: Mapping[str, Any], key: str, read: Callable[[object, str], Any], most: int, least: int = 0
    ) -> tuple[Any, ...]:
        entries = top[key]
        if not isinstance(entries, list) or not least <= len(entries) <= most:
            self._refuse(f"{key} must be a list of {least} to {most}", key)
        return tuple(read(entry, f"{key}[{number}]") for number, entry in enumerate(entries))

    def _input(self, entry: object, place: str) -> Input:
        its = self._object(entry, tuple(INPUT), place)
        kind = self._kind(its["dtype"], place)
        if kind == Kind.bool:
            self._refuse("an input is float32 or int32", place)
        return Input(self._name(its["name"], place), kind, self._shape(its["shape"], place, MAX_AXES - 1))

    def _weight(self, entry: object, place: str) -> Weight:
        its = self._object(entry, tuple(WEIGHT), place)
        return Weight(self._name(its["name"], place), self._shape(its["shape"], place))

    def _frozen(self, entry: object, place: str) -> Weight:
        its = self._object(entry, tuple(FROZEN), place)
        if self._kind(its["dtype"], place) != Kind.float32:
            self._refuse("a frozen tensor is float32", place)
        return Weight(self._name(its["name"], place), self._shape(its["shape"], place))

    def _constant(self, entry: object, place: str) -> Constant:
        its = self._object(entry, tuple(CONSTANT), place)
        kind, shape = self._kind(its["dtype"], place), self._shape(its["shape"], place)
        values = its["values"]
        if not isinstance(values, list) or len(values) != prod(shape):
            self._refuse(f"its values are not a list of {prod(shape)}", place)
        if not all(_fits(value, kind) for value in values):
            self._refuse(f"a value is no finite {kind}", place)
        return Constant(self._name(its["name"], place), kind, shape, tuple(values))

    def _node(self, entry: object, place: str) -> Node:
        its = self._object(entry, tuple(NODE), place)
        operation, attributes = its["op"], its["attributes"]
        if not isinstance(operation, str) or not isinstance(attributes, dict):
            self._refuse("op is a text and attributes an object", place)
        node = Node(operation, self._names(its["inputs"], place), self._names(its["outputs"], place), {})
        place = node_place(place, int(place[6:-1]), node)
        known = OPERATIONS.get(operation)
        if known is None:
            names = ", ".join(OPERATIONS)
            message = f"the operation {operation[:40]!r} is not one of those that miners compute"
            raise RoundFilesInvalid(message, where=f"{self._where}, {place}", hint=f"these are: {names}")
        try:
            return Node(operation, node.inputs, node.outputs, known.checked(attributes))
        except Misfit as error:
            self._refuse(str(error), place)

    def _names(self, value: object, place: str) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) > MAX_TENSORS:
            self._refuse("inputs and outputs are lists of names", place)
        return tuple(name if name == "" else self._name(name, place) for name in value)

    def _name(self, value: object, place: str) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not value.isprintable():
            self._refuse(f"a name is a text of 1 to {MAX_NAME} printable characters", place)
        return value

    def _kind(self, value: object, place: str) -> Kind:
        if not isinstance(value, str) or value not in tuple(Kind):
            self._refuse(f"dtype {str(value)[:40]!r} is not {', '.join(Kind)}", place)
        return Kind(value)

    def _shape(self, value: object, place: str, axes: int = MAX_AXES) -> tuple[int, ...]:
        if not isinstance(value, list) or len(value) > axes:
            self._refuse(f"a shape is a list of at most {axes} sizes", place)
        if any(type(size) is not int or not 1 <= size <= MAX_VALUES for size in value):
            self._refuse(
                "a size of a shape is not known: they are integers above 0, without the examples", place
            )
        if prod(value) > MAX_VALUES:
            self._refuse(f"more than {MAX_VALUES} values", place)
        return tuple(value)

    def _object(self, value: object, keys: tuple[str, ...], place: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self._refuse("this is not a JSON object", place)
        for key in value:
            if key not in keys:
                self._refuse(f"the key {key[:40]!r} is not known", place)
        for key in keys:
            if key not in value:
                self._refuse(f"the key {key!r} is missing", place)
        return value

    def _refuse(self, message: str, place: str) -> NoReturn:
        raise RoundFilesInvalid(message, where=f"{self._where}, {place}", hint=_HINT)


def _fits(value: object, kind: Kind) -> bool:
    match kind:
        case Kind.bool:
            return isinstance(value, bool)
        case Kind.int32:
            return type(value) is int and -_INT32 <= value < _INT32
        case Kind.float32:
            return type(value) in (int, float) and _finite(value)


def _finite(value: Any) -> bool:
    return (isinstance(value, int) and abs(value) <= 2**53) or (
        isinstance(value, float) and isfinite(value) and abs(value) <= _FLOAT32
    )
