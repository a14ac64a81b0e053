"""Recurrent layers, step after step: LSTM and GRU, in one direction, backwards or in both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fedcoin_cli.learning.graph.graph import Kind
from fedcoin_cli.learning.graph.namespace import Array, Namespace
from fedcoin_cli.learning.graph.operations.operation import (
    FLAG,
    MOST,
    Arrays,
    Operation,
    Setting,
    Settings,
    Types,
    given,
    integer,
    of_kind,
    shared,
)
from fedcoin_cli.learning.graph.tensor_type import Misfit, TensorType

_MOST_STEPS: Final = 1024
# Of each gate's unit and step: the activation, and what is done with it.
_GATED: Final = 20
_LSTM_GATES: Final = 4
_GRU_GATES: Final = 3

Step = Callable[[Array, Sequence[Array]], Sequence[Array]]
"""From what the inputs give at a step and the states before it to those after it; the first is the output."""


def _typed(its: Settings, types: Types, gates: int, states: int) -> tuple[TensorType, ...]:
    """X (steps, examples, inputs), W (directions, gates·hidden, inputs), R, B, no lengths, states at the beginning."""
    x, w, r, bias, lengths = (*types, *(None,) * 5)[:5]
    if x is None or w is None or r is None:
        raise Misfit("an input is left out that it needs")
    of_kind([x], Kind.float32)
    if x.rank != 3 or x.axis != 1:
        raise Misfit(f"it takes (steps, examples, inputs), not {x}")
    if lengths is not None:
        raise Misfit("sequences of different lengths are not understood; mask the inputs instead")
    if x.sizes[0] > _MOST_STEPS:
        raise Misfit(f"{x.sizes[0]} steps are more than {_MOST_STEPS}")
    hidden, directions = its["hidden_size"], w.sizes[0] if w.rank else 0
    if not 1 <= directions <= 2 or (directions == 2 and its["reverse"]):
        raise Misfit("it has one direction, or both")
    shared(w, (directions, gates * hidden, x.sizes[2]), "input weights")
    shared(r, (directions, gates * hidden, hidden), "recurrent weights")
    shared(bias, (directions, 2 * gates * hidden), "bias")
    state = TensorType(Kind.float32, (directions, x.sizes[1], hidden), 1)
    for one in types[5:]:
        # The same for all examples where it has 1 there.
        if one is not None and one not in (state, TensorType(Kind.float32, (directions, 1, hidden))):
            raise Misfit(f"a state at the beginning must be {state}, not {one}")
    return (x.of((x.sizes[0], directions, x.sizes[1], hidden), 2), *(state,) * states)


def _run(xp: Namespace, its: Settings, values: Arrays, cell: "_Cell") -> tuple[Array, ...]:
    """All directions, and their outputs side by side."""
    x, w, r, bias, _, *begin = (*values, *(None,) * (5 + cell.states))[: 5 + cell.states]
    found = []
    for direction in range(xp.shape(w)[0]):
        own = [_entry(xp, one, direction) for one in (w, r, bias, *begin)]
        backwards = bool(direction or its["reverse"])
        found.append(_walked(xp, its, x, own, cell, backwards=backwards))
    return tuple(
        xp.concatenate(parts, axis) for axis, parts in zip((1, 0, 0), zip(*found, strict=True), strict=False)
    )


def _walked(
    xp: Namespace, its: Settings, x: Array, own: Arrays, cell: "_Cell", *, backwards: bool
) -> tuple[Array, ...]:
    """One direction: outputs (steps, 1, examples, hidden) and the states at its end (1, examples, hidden)."""
    w, r, bias, *begin = own
    steps, examples, _ = xp.shape(x)
    size = (examples, its["hidden_size"])
    fed = xp.matmul(x, xp.transpose(w, (1, 0)))
    if bias is not None:
        fed = xp.add(fed, cell.input_bias(xp, its, bias))
    step = cell.step(xp, its, xp.transpose(r, (1, 0)), bias)
    state: Sequence[Array] = [
        xp.constant(np.zeros(size)) if one is None else xp.broadcast_to(one, size) for one in begin
    ]
    outputs = []
    for number in reversed(range(steps)) if backwards else range(steps):
        state = step(_entry(xp, fed, number), state)
        outputs.append(xp.reshape(state[0], (1, 1, *size)))
    ordered = outputs[::-1] if backwards else outputs
    return xp.concatenate(ordered, 0), *(xp.reshape(one, (1, *size)) for one in state)


def _entry(xp: Namespace, x: Array | None, number: int) -> Array | None:
    """One entry of the first axis."""
    return None if x is None else xp.reshape(xp.slice(x, 0, number, number + 1), xp.shape(x)[1:])


def _part(xp: Namespace, x: Array, number: int, hidden: int) -> Array:
    """One gate's columns."""
    return xp.slice(x, len(xp.shape(x)) - 1, number * hidden, (number + 1) * hidden)


# LSTM: gates in the order input, output, forget, cell ------------------------------------------------------------


def _lstm_bias(xp: Namespace, its: Settings, bias: Array) -> Array:
    width = _LSTM_GATES * its["hidden_size"]
    return xp.add(xp.slice(bias, 0, 0, width), xp.slice(bias, 0, width, 2 * width))


def _lstm_step(xp: Namespace, its: Settings, recurrent: Array, _: Array | None) -> Step:
    hidden = its["hidden_size"]

    def step(fed: Array, state: Sequence[Array]) -> Sequence[Array]:
        output, cell = state
        gates = xp.add(fed, xp.matmul(output, recurrent))
        let_in, let_out, kept = (xp.sigmoid(_part(xp, gates, number, hidden)) for number in range(3))
        cell = xp.add(xp.multiply(kept, cell), xp.multiply(let_in, xp.tanh(_part(xp, gates, 3, hidden))))
        return xp.multiply(let_out, xp.tanh(cell)), cell

    return step


# GRU: gates in the order update, reset, hidden -------------------------------------------------------------------


def _gru_bias(xp: Namespace, its: Settings, bias: Array) -> Array:
    """The recurrent bias of the hidden gate is added within the step where reset comes after the product."""
    hidden = its["hidden_size"]
    width = _GRU_GATES * hidden
    fed, recurrent = xp.slice(bias, 0, 0, width), xp.slice(bias, 0, width, 2 * width)
    if not its["linear_before_reset"]:
        return xp.add(fed, recurrent)
    both = xp.add(xp.slice(fed, 0, 0, 2 * hidden), xp.slice(recurrent, 0, 0, 2 * hidden))
    return xp.concatenate([both, xp.slice(fed, 0, 2 * hidden, width)], 0)


def _gru_step(xp: Namespace, its: Settings, recurrent: Array, bias: Array | None) -> Step:
    hidden, after = its["hidden_size"], its["linear_before_reset"]
    own = None
    if after and bias is not None:
        own = xp.slice(bias, 0, 5 * hidden, 6 * hidden)
    gating = xp.slice(recurrent, 1, 0, 2 * hidden)
    making = xp.slice(recurrent, 1, 2 * hidden, 3 * hidden)

    def step(fed: Array, state: Sequence[Array]) -> Sequence[Array]:
        output = state[0]
        gates = xp.sigmoid(xp.add(xp.slice(fed, 1, 0, 2 * hidden), xp.matmul(output, gating)))
        update, reset = _part(xp, gates, 0, hidden), _part(xp, gates, 1, hidden)
        if after:
            made = xp.matmul(output, making)
            made = xp.multiply(reset, made if own is None else xp.add(made, own))
        else:
            made = xp.matmul(xp.multiply(reset, output), making)
        made = xp.tanh(xp.add(_part(xp, fed, 2, hidden), made))
        return (xp.add(xp.multiply(xp.subtract(1.0, update), made), xp.multiply(update, output)),)

    return step


@dataclass(frozen=True, slots=True)
class _Cell:
    """What tells the two apart: states that are carried on, what is added to the inputs of all steps, and a step."""

    states: int
    input_bias: Callable[[Namespace, Settings, Array], Array]
    step: Callable[[Namespace, Settings, Array, Array | None], Step]


_LSTM: Final = _Cell(2, _lstm_bias, _lstm_step)
_GRU: Final = _Cell(1, _gru_bias, _gru_step)


def _work(its: Settings, types: Types, outputs: Sequence[TensorType], examples: int) -> int:
    x, _, r = given(types[:3])
    hidden: int = its["hidden_size"]
    return outputs[0].count(examples) * (r.sizes[1] // hidden) * (2 * (x.sizes[2] + hidden) + _GATED)


def _laid_out(its: Settings, types: Types, outputs: Sequence[TensorType], examples: int) -> int:
    _, _, r = given(types[:3])
    hidden: int = its["hidden_size"]
    return outputs[0].count(examples) * (r.sizes[1] // hidden)


_SETTINGS: Final = {
    "hidden_size": Setting(integer(1, MOST), required=True),
    "reverse": Setting(FLAG, 0),
}

RECURRENT: Final[Mapping[str, Operation]] = {
    "LSTM": Operation(
        (3, 7),
        lambda its, types: _typed(its, types, _LSTM_GATES, 2),
        lambda xp, its, values: _run(xp, its, values, _LSTM),
        _SETTINGS,
        outputs=3,
        work=_work,
        laid_out=_laid_out,
    ),
    "GRU": Operation(
        (3, 6),
        lambda its, types: _typed(its, types, _GRU_GATES, 1),
        lambda xp, its, values: _run(xp, its, values, _GRU),
        {**_SETTINGS, "linear_before_reset": Setting(FLAG, 0)},
        outputs=2,
        work=_work,
        laid_out=_laid_out,
    ),
}
