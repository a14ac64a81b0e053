"""What Keras' layers over steps become in a graph: recurrent ones, in one direction or both, and attention."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedcoin_cli.learning.exchange.keras_scribe import Laid, Scribe


def _lstm_parts(write: Scribe, layer: Any) -> tuple[str, str, str]:
    """Keras' gates stand in the order input, forget, cell, output; a graph's input, output, forget, cell."""
    cell = layer.cell

    def gates(x: str) -> str:
        let_in, kept, made, let_out = write.make("Split", x, outputs=4, split=(layer.units,) * 4)
        return str(write.make("Concat", let_in, let_out, kept, made, axis=0))

    fed, recurrent = (
        gates(write.make("Transpose", write.weight(one), perm=(1, 0)))
        for one in (cell.kernel, cell.recurrent_kernel)
    )
    if not layer.use_bias:
        return fed, recurrent, ""
    zeros = write.maker.constant(np.zeros(4 * layer.units, np.float32))
    return fed, recurrent, write.make("Concat", gates(write.weight(cell.bias)), zeros, axis=0)


def _gru_parts(write: Scribe, layer: Any) -> tuple[str, str, str]:
    cell = layer.cell
    fed, recurrent = (
        write.make("Transpose", write.weight(one), perm=(1, 0))
        for one in (cell.kernel, cell.recurrent_kernel)
    )
    if not layer.use_bias:
        return fed, recurrent, ""
    bias = write.weight(cell.bias)
    if layer.reset_after:
        return fed, recurrent, write.make("Reshape", bias, shape=(6 * layer.units,))
    zeros = write.maker.constant(np.zeros(3 * layer.units, np.float32))
    return fed, recurrent, write.make("Concat", bias, zeros, axis=0)


def _steps(write: Scribe, layer: Any, x: str) -> str:
    """The outputs of all steps, (steps, examples, units), of one direction; in the order of the inputs."""
    kind = type(layer).__name__
    for name, wanted in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        if getattr(layer, name).__name__ != wanted:
            write.refuse(f"a {kind} whose {name} is not {wanted} is not understood")
    if layer.return_state or layer.stateful:
        write.refuse(f"a {kind} that gives or keeps its state is not understood")
    parts = (_lstm_parts if kind == "LSTM" else _gru_parts)(write, layer)
    weights = [write.make("Unsqueeze", part, axes=(0,)) if part else "" for part in parts]
    more = {} if kind == "LSTM" else {"linear_before_reset": 1 if layer.reset_after else 0}
    outputs = 3 if kind == "LSTM" else 2
    made = write.make(
        kind,
        x,
        *weights,
        outputs=outputs,
        hidden_size=int(layer.units),
        reverse=1 if layer.go_backwards else 0,
        **more,
    )
    return str(write.make("Squeeze", made[0], axes=(1,)))


def _last_or_all(write: Scribe, layer: Any, made: str) -> str:
    """All outputs as Keras orders them, or the one of the step that came last."""
    if layer.return_sequences:
        return str(write.make("Transpose", made, perm=(1, 0, 2)))
    steps = write.maker.types[made].sizes[0]
    at = 0 if layer.go_backwards else steps - 1
    one = write.make("Slice", made, starts=(at,), ends=(at + 1,), axes=(0,))
    return str(write.make("Squeeze", one, axes=(0,)))


def recurrent(write: Scribe, values: Sequence[Laid]) -> Laid:
    """LSTM or GRU in one direction, or backwards."""
    layer = write.layer
    if layer.go_backwards and layer.return_sequences:
        write.refuse("a layer that gives its sequence backwards is not understood", "use Bidirectional")
    x = write.make("Transpose", write.last(values[0]), perm=(1, 0, 2))
    return Laid(_last_or_all(write, layer, _steps(write, layer, x)))


def both_ways(write: Scribe, values: Sequence[Laid]) -> Laid:
    """Two of them side by side."""
    layer = write.layer
    ways = (layer.forward_layer, layer.backward_layer)
    if layer.merge_mode != "concat" or any(type(one).__name__ not in {"LSTM", "GRU"} for one in ways):
        write.refuse("a Bidirectional other than of LSTM or GRU, side by side, is not understood")
    x = write.make("Transpose", write.last(values[0]), perm=(1, 0, 2))
    made = [_last_or_all(write, one, _steps(write, one, x)) for one in ways]
    return Laid(write.make("Concat", *made, axis=write.maker.types[made[0]].rank - 1))


def attention(write: Scribe, values: Sequence[Laid]) -> Laid:
    """Several heads over one axis of steps, without a mask."""
    layer = write.layer
    if len(values) not in {2, 3}:
        write.refuse("attention with a mask is not understood")
    query, value, key = (*values, values[1])[:3]
    parts = []
    for dense, one in ((layer.query_dense, query), (layer.key_dense, key), (layer.value_dense, value)):
        x = write.last(one)
        if write.maker.types[x].rank != 3:
            write.refuse("attention over more than one axis is not understood")
        width, heads, each = (int(size) for size in dense.kernel.shape)
        kernel = write.make("Reshape", write.weight(dense.kernel), shape=(width, heads * each))
        made = write.make("MatMul", x, kernel)
        if dense.bias is not None:
            bias = write.make("Reshape", write.weight(dense.bias), shape=(heads * each,))
            made = write.make("Add", made, bias)
        steps = write.maker.types[x].sizes[1]
        split = write.make("Reshape", made, shape=(-1, steps, heads, each))
        parts.append(write.make("Transpose", split, perm=(0, 2, 1, 3)))
    asked, known, told = parts
    scaled = write.make("Mul", asked, write.number(float(layer.key_dim) ** -0.5))
    scores = write.make("MatMul", scaled, write.make("Transpose", known, perm=(0, 1, 3, 2)))
    seen = write.make("MatMul", write.make("Softmax", scores), told)
    steps = write.maker.types[asked].sizes[2]
    heads, each, width = (int(size) for size in layer.output_dense.kernel.shape)
    rows = write.make(
        "Reshape", write.make("Transpose", seen, perm=(0, 2, 1, 3)), shape=(-1, steps, heads * each)
    )
    kernel = write.make("Reshape", write.weight(layer.output_dense.kernel), shape=(heads * each, width))
    made = write.make("MatMul", rows, kernel)
    if layer.output_dense.bias is not None:
        made = write.make("Add", made, write.weight(layer.output_dense.bias))
    return Laid(made)
