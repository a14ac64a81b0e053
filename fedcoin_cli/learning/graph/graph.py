"""A model as a graph of operations: what `model.json` of schema 2 says, as frozen values.

Operations have the names and meanings of ONNX's (opset 18), except that what ONNX takes as a constant input (shapes,
axes, pads) is an attribute. How they are read, checked and computed lives beside this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import prod

Number = int | float | bool
"""A number as JSON has it."""
Attribute = int | float | tuple[int, ...]
"""What an operation is set to."""


class Kind(StrEnum):
    """What numbers a value holds."""

    float32 = "float32"
    int32 = "int32"
    bool = "bool"


@dataclass(frozen=True, slots=True)
class Input:
    """What the model is given of an example; `shape` leaves out the axis of examples, which comes first."""

    name: str
    kind: Kind
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Weight:
    """A named tensor of float32: of an update, or of the frozen file that all clients share."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """A small tensor that the description itself holds, its values in row-major order."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    values: tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation; an input that is left out is an empty name."""

    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class Graph:
    """A model: nodes in an order in which every name is defined before it is used, each once.

    `output` names the logits, (examples, classes), taken before a closing softmax or sigmoid; one column is the logit
    of label 1 against label 0. Of tokens they are (examples, tokens, classes).
    """

    inputs: tuple[Input, ...]
    weights: tuple[Weight, ...]
    frozen: tuple[Weight, ...]
    constants: tuple[Constant, ...]
    nodes: tuple[Node, ...]
    output: str
    products: tuple[str, ...] = ()
    """Values of weights alone of which a coalition has the average of its members' own, and not what averaged weights
    make: products of low-rank factors."""

    @property
    def weight_names(self) -> tuple[str, ...]:
        """What an update's tensors are called, in order."""
        return tuple(weight.name for weight in self.weights)

    @property
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(weight.shape for weight in self.weights)

    @property
    def weight_values(self) -> int:
        """How many numbers an update holds."""
        return sum(prod(weight.shape) for weight in self.weights)
