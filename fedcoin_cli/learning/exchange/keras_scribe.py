"""Writes layers of Keras into a graph one after the other: what `keras_layers` says it with, activations included.

Keras puts channels last, a graph first: pictures are turned where a layer needs it, and stay turned as long as none
needs it otherwise. Weights keep Keras' own shapes, and are turned in the graph.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import numpy as np

from fedcoin_cli.learning.exchange.graph_maker import GraphMaker
from fedcoin_cli.learning.graph.tensor_type import TensorType


@dataclass(frozen=True, slots=True)
class Laid:
    """A value of the graph; `first` where its channels stand before the places of the picture."""

    name: str
    first: bool = False


@dataclass
class Scribe:
    """Writes one layer after the other into the graph; `names` tells what a variable of Keras is called there."""

    maker: GraphMaker
    names: Mapping[int, str]
    layer: Any = None
    place: str = ""
    _turned: dict[tuple[str, bool], str] = field(default_factory=dict)

    def refuse(self, message: str, hint: str = "") -> NoReturn:
        """Raise the error that names this layer."""
        self.maker.refuse(message, self.place, hint)

    def only(self, **settings: Any) -> None:
        """Refuse a layer that is set otherwise."""
        for name, wanted in settings.items():
            found = getattr(self.layer, name, wanted)
            if found != wanted:
                self.refuse(f"its {name} is {found!r}, which is not understood")

    def make(self, operation: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        return self.maker.node(operation, *inputs, place=self.place, outputs=outputs, **attributes)

    def weight(self, variable: Any) -> str:
        return self.names[id(variable)]

    def number(self, value: float) -> str:
        return self.maker.constant(np.float32(value))

    def type(self, value: Laid) -> TensorType:
        return self.maker.types[value.name]

    def first(self, value: Laid) -> str:
        """With channels before places."""
        return value.name if value.first or self.type(value).rank < 3 else self._turn(value, last=False)

    def last(self, value: Laid) -> str:
        """As Keras has it."""
        return self._turn(value, last=True) if value.first else value.name

    def _turn(self, value: Laid, *, last: bool) -> str:
        key = value.name, last
        if key not in self._turned:
            rank = self.type(value).rank
            order = (0, *range(2, rank), 1) if last else (0, rank - 1, *range(1, rank - 1))
            self._turned[key] = self.make("Transpose", value.name, perm=order)
        return self._turned[key]

    def activated(self, value: Laid, activation: Any) -> Laid:
        """With an activation of Keras, by its function's name."""
        name = getattr(activation, "__name__", str(activation))
        if name == "linear":
            return value
        if name in {"softmax", "log_softmax"}:
            return Laid(self.make(_SOFTMAX[name], self.last(value)))
        if name not in ACTIVATIONS:
            self.refuse(f"the activation {name[:40]!r} is not understood", f"known: {', '.join(ACTIVATIONS)}")
        return Laid(ACTIVATIONS[name](self, value.name), value.first)


Layer = Callable[[Scribe, Sequence[Laid]], Laid]


def _single(operation: str, **attributes: Any) -> Callable[[Scribe, str], str]:
    return lambda write, x: str(write.make(operation, x, **attributes))


def _silu(write: Scribe, x: str) -> str:
    return str(write.make("Mul", x, write.make("Sigmoid", x)))


def _softsign(write: Scribe, x: str) -> str:
    return str(write.make("Div", x, write.make("Add", write.make("Abs", x), write.number(1))))


def _mish(write: Scribe, x: str) -> str:
    return str(write.make("Mul", x, write.make("Tanh", write.make("Softplus", x))))


_SOFTMAX: Final = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}
ACTIVATIONS: Final[Mapping[str, Callable[[Scribe, str], str]]] = {
    "relu": _single("Relu"),
    "relu6": _single("Clip", min=0.0, max=6.0),
    "leaky_relu": _single("LeakyRelu", alpha=0.2),
    "sigmoid": _single("Sigmoid"),
    "tanh": _single("Tanh"),
    "elu": _single("Elu"),
    "selu": _single("Selu"),
    "gelu": _single("Gelu"),
    "softplus": _single("Softplus"),
    "exponential": _single("Exp"),
    "hard_sigmoid": _single("HardSigmoid", alpha=1 / 6),
    "hard_silu": _single("HardSwish"),
    "silu": _silu,
    "softsign": _softsign,
    "mish": _mish,
}
