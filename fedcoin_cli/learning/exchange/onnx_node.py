"""One node of an ONNX graph as its translation sees it: inputs that are known or computed, attributes, refusals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

import numpy.typing as npt

from fedcoin_cli.learning.exchange.folding import EXAMPLES, Folded, Growing
from fedcoin_cli.learning.exchange.graph_maker import GraphMaker
from fedcoin_cli.learning.graph.tensor_type import TensorType


@dataclass(frozen=True, slots=True)
class Rows:
    """A matrix of the rows, along the last axis, of a value in which the examples do not come first.

    A graph has no such matrix, as the rows of its examples are mixed. Exporters lay out so for a product with weights.
    """

    name: str


Value = str | Folded | Rows
"""The name of what the graph computes, or what is known already, or rows."""
# What a node may say of training, or of how its implementation sums.
_WITHOUT_MEANING = frozenset({"momentum", "stash_type", "storage_order", "consumed_inputs"})


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """A node with its inputs; None where an optional one is left out."""

    operation: str
    place: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Value | None]
    outputs: int
    maker: GraphMaker

    def refuse(self, message: str, hint: str = "") -> NoReturn:
        """Raise the error that names this node."""
        self.maker.refuse(message, self.place, hint)

    def only(self, *names: str) -> None:
        """Refuse attributes beyond these."""
        for name in self.attributes:
            if name not in names and name not in _WITHOUT_MEANING:
                self.refuse(f"its attribute {name!r} is not understood")

    def has(self, number: int) -> bool:
        """Whether an input is there."""
        return number < len(self.inputs) and self.inputs[number] is not None

    def value(self, number: int) -> Value:
        """An input that may not be left out."""
        value = self.inputs[number] if self.has(number) else None
        if value is None:
            self.refuse(f"its input {number + 1} is left out")
        return value

    def computed(self, number: int) -> str:
        """An input's name in the graph; what is known becomes a constant. Nothing where it is left out."""
        if not self.has(number):
            return ""
        value = self.value(number)
        if isinstance(value, str):
            return value
        if isinstance(value, Rows):
            self.refuse("the examples it is given stand mixed: each must count alone")
        return self.maker.constant(self.settled(value.for_all), self.place)

    def every(self) -> list[str]:
        """All inputs' names."""
        return [self.computed(number) for number in range(len(self.inputs))]

    def known(self, number: int, what: str) -> Folded | None:
        """An input that must be known; None where it is left out."""
        return self.needed(number, what) if self.has(number) else None

    def needed(self, number: int, what: str) -> Folded:
        """An input that must be there and known."""
        value = self.value(number)
        if not isinstance(value, Folded):
            self.refuse(f"its {what} is computed from weights or examples", "make it a number of the model")
        return value

    def numbers(self, number: int, what: str, attribute: str = "") -> tuple[int, ...] | None:
        """Integers that are an input or, in older operation sets, an attribute."""
        if attribute in self.attributes:
            return tuple(self.attributes[attribute])
        value = self.known(number, what)
        return None if value is None else self.settled(value.numbers)

    def scalar(self, number: int, what: str, attribute: str = "") -> float | None:
        """One number, as `numbers` has several."""
        if attribute in self.attributes:
            return float(self.attributes[attribute])
        value = self.known(number, what)
        if value is None:
            return None
        array: npt.NDArray[Any] = self.settled(value.fixed)
        if array.size != 1:
            self.refuse(f"its {what} is not one number")
        return float(array.ravel()[0])

    def settled(self, ask: Any) -> Any:
        """What a known value says, or the refusal that it depends on how many examples there are."""
        try:
            return ask()
        except Growing as error:
            self.refuse(f"{error}", "an example's output must depend on that example alone")

    def type(self, number: int = 0) -> TensorType:
        """What is known of a computed input."""
        return self.maker.types[self.computed(number)]

    def shapes(self, number: int = 0) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """An input's shape for either number of examples."""
        value = self.value(number)
        if isinstance(value, Folded):
            first, second = value.values
            return first.shape, second.shape
        if isinstance(value, Rows):
            *outer, row = self.maker.types[value.name].sizes
            return (prod(outer) * EXAMPLES[0], row), (prod(outer) * EXAMPLES[1], row)
        one = self.type(number)
        return one.shape(EXAMPLES[0]), one.shape(EXAMPLES[1])

    def make(self, operation: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add to the graph."""
        given = {
            name: tuple(value) if isinstance(value, list) else value for name, value in attributes.items()
        }
        return self.maker.node(operation, *inputs, place=self.place, outputs=outputs, **given)
