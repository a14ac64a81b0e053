"""A graph in the making: every node is typed as it is added, so that what does not fit is refused where it stands.

Importers add inputs, weights and nodes in order; `finish` takes a closing softmax or sigmoid away, leaves out what
nothing needs, and gives the graph with the values of its frozen tensors. Where outputs are judged as they are, as by
real-valued targets, a closing stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.graph.graph import Attribute, Constant, Graph, Input, Kind, Node, Weight
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.graph.shapes import is_row, typed
from fedcoin_cli.learning.graph.tensor_type import Misfit, TensorType
from ledger_store.base.errors import RoundFilesInvalid

# More of one tensor makes the description unreadable, and soon larger than 1 MiB.
_MOST_WRITTEN: Final = 4096
_FIT_HINT: Final = "docs/models.md says what models are understood, and how others are put"
_CLOSING: Final = frozenset({"Softmax", "LogSoftmax", "Sigmoid"})
_UNFOLDING: Final = frozenset({"Squeeze", "Reshape", "Flatten", "Identity"})
_INT32: Final = 2**31


@dataclass(frozen=True, slots=True)
class Imported:
    """A graph, and the tensors that the original holds by their names: of its weights, and of what is frozen.

    `closing` is the operation behind the graph's output that was taken away, or nothing. `unused` are weights of the
    original on which no output depends. `names` are all that the original holds, in its own order.
    """

    graph: Graph
    weights: Mapping[str, npt.NDArray[np.float32]]
    frozen: Mapping[str, npt.NDArray[np.float32]]
    closing: str
    unused: tuple[str, ...]
    names: tuple[str, ...]


@dataclass
class GraphMaker:
    """Collects a graph; `where` names the original for errors, `hint` says how it is made well.

    `real` says that outputs are meant for real-valued targets.
    """

    where: str
    hint: str
    real: bool = False
    types: dict[str, TensorType] = field(default_factory=dict)
    inputs: list[Input] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    _constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    _known: dict[tuple[object, ...], str] = field(default_factory=dict)
    _places: list[str] = field(default_factory=list)

    def refuse(self, message: str, place: str = "", hint: str = "") -> NoReturn:
        """Raise the error that names the original, and the place in it."""
        where = f"{self.where}, {place}" if place else self.where
        raise RoundFilesInvalid(message, where=where, hint=hint or self.hint)

    def input(self, name: str, kind: Kind, shape: Sequence[int]) -> str:
        """What the model is given of an example."""
        self.inputs.append(Input(name, kind, tuple(shape)))
        self.types[name] = TensorType(kind, (1, *shape), 0)
        return name

    def weight(self, name: str, values: npt.NDArray[Any], *, frozen: bool = False) -> str:
        """A named tensor, trained by clients or the same for all of them."""
        self.tensors[name] = np.asarray(values, np.float32, order="C")
        self.types[name] = TensorType(Kind.float32, values.shape)
        if frozen:
            self.frozen.add(name)
        return name

    def constant(self, values: npt.ArrayLike, place: str = "") -> str:
        """A tensor that the description itself holds; a large one becomes a frozen tensor."""
        array = self._plain(np.asarray(values), place)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            name = self._free(f"c{len(self._known)}")
            self._known[key] = name
            if array.dtype == np.float32 and array.size > _MOST_WRITTEN:
                self.weight(name, array, frozen=True)
            else:
                self._constants[name] = array
                self.types[name] = TensorType(_kind(array.dtype), array.shape)
        return self._known[key]

    def node(
        self, operation: str, *inputs: str, place: str = "", outputs: int = 1, **attributes: Attribute | None
    ) -> Any:
        """Add an operation; returns the name of what it makes, or as many names as `outputs`.

        Attributes that are None are left to their defaults. Raises `RoundFilesInvalid` for what does not fit.
        """
        known = OPERATIONS[operation]
        given = {
            name: value
            for name, value in attributes.items()
            if value is not None and (name not in known.settings or value != known.settings[name].default)
        }
        last = max((place for place, name in enumerate(inputs) if name), default=-1) + 1
        taken = inputs[:last]
        try:
            its = known.checked(given)
            made = known.typed(known.completed(its), [self.types[name] if name else None for name in taken])
        except Misfit as error:
            self.refuse(str(error), place or operation, _FIT_HINT)
        names = tuple(self._free(f"v{len(self.types)}.{number}") for number in range(outputs))
        if outputs == 1:
            names = (names[0][:-2],)
        self.nodes.append(Node(operation, tuple(taken), names, its))
        self._places.append(place or operation)
        self.types.update(zip(names, made, strict=False))
        return names[0] if outputs == 1 else names

    def finish(self, output: str, place: str = "") -> Imported:
        """The graph whose `output` holds the logits; a closing softmax or sigmoid is taken away."""
        output, closing = (output, "") if self.real else self._opened(output)
        if self.types[output].rank == 1 and self.types[output].axis == 0:
            output = self.node("Unsqueeze", output, axes=(1,))
        one = self.types[output]
        if not is_row(one):
            hint = "return the logits of an example alone, one a class: (examples, classes), of tokens a row for each"
            self.refuse(f"the output is {one}, not float32 (examples, classes)", place, hint)
        nodes, used = self._needed(output)
        graph = Graph(
            tuple(self.inputs),
            tuple(
                Weight(name, array.shape)
                for name, array in self.tensors.items()
                if name in used and name not in self.frozen
            ),
            tuple(
                Weight(name, array.shape)
                for name, array in self.tensors.items()
                if name in used and name in self.frozen
            ),
            tuple(
                Constant(name, _kind(array.dtype), array.shape, tuple(array.ravel().tolist()))
                for name, array in self._constants.items()
                if name in used
            ),
            tuple(nodes),
            output,
        )
        if unread := [one.name for one in self.inputs if one.name not in used]:
            self.refuse(f"no output depends on the input {unread[0]!r}", place)
        if not graph.weights:
            self.refuse("nothing of it is trained", hint="leave parameters trainable, or freeze fewer")
        typed(graph, where=self.where)
        own = tuple(name for name in self.tensors if name not in self._known.values())
        return Imported(
            graph,
            {one.name: self.tensors[one.name] for one in graph.weights},
            {one.name: self.tensors[one.name] for one in graph.frozen},
            closing,
            tuple(name for name in own if name not in used),
            own,
        )

    def _opened(self, output: str) -> tuple[str, str]:
        """The scores below the end of a model that makes probabilities of them, and how it does."""
        makers = {name: node for node in self.nodes for name in node.outputs}
        scores = output
        while (node := makers.get(scores)) is not None:
            inner = self.types[node.inputs[0]]
            last = inner.rank - 1
            if last not in {1, 2} or inner.axis != 0 or node.attributes.get("axis", -1) not in {last, -1}:
                break
            if node.operation in _CLOSING:
                return node.inputs[0], node.operation
            if last != 1 or node.operation not in _UNFOLDING or inner.each != self.types[scores].each:
                break
            scores = node.inputs[0]
        return output, ""

    def _needed(self, output: str) -> tuple[list[Node], set[str]]:
        used, nodes = {output}, []
        for node in reversed(self.nodes):
            if used.intersection(node.outputs):
                outputs = tuple(name if name in used else "" for name in node.outputs)
                last = max(place for place, name in enumerate(outputs) if name) + 1
                nodes.append(replace(node, outputs=outputs[:last]))
                used.update(node.inputs)
        return nodes[::-1], used

    def _plain(self, array: npt.NDArray[Any], place: str) -> npt.NDArray[Any]:
        kind = array.dtype.kind
        if kind not in "biuf":
            self.refuse(f"a constant holds {array.dtype}", place)
        if kind == "b":
            return array
        if kind in "iu":
            if array.size and not (array.min() >= -_INT32 and array.max() < _INT32):
                self.refuse("a constant holds integers beyond 32 bits", place)
            return array.astype(np.int32)
        # Masks of attention are made of the least number or of −∞; all that is far below any score is alike.
        least = np.finfo(np.float32)
        if np.isnan(array).any():
            self.refuse("a constant holds what is no number", place)
        return np.asarray(np.clip(array, least.min, least.max), np.float32)

    def _free(self, name: str) -> str:
        while name in self.types or f"{name}.0" in self.types:
            name += "_"
        return name


def _kind(dtype: np.dtype[Any]) -> Kind:
    return {"f": Kind.float32, "i": Kind.int32, "b": Kind.bool}[dtype.kind]
