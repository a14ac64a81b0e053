"""Whether an imported graph computes what the original does: on sample inputs, before anybody trains by it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.exchange.graph_maker import Imported
from fedcoin_cli.learning.graph.graph import Graph, Input, Kind
from fedcoin_cli.learning.graph.namespace import NUMPY
from fedcoin_cli.learning.graph.passes import Passes
from fedcoin_cli.learning.graph.shapes import typed
from ledger_store.base.errors import RoundFilesInvalid

Array = npt.NDArray[Any]

# Of the largest output: float32 rounds each of many sums at 6e-8.
_WITHIN: Final = 1e-4
_EXAMPLES: Final = 4


def samples(graph: Graph, draw: np.random.Generator) -> list[Array]:
    """Inputs drawn at random: normal numbers, and ids below the length of every table that is read by them."""
    return [_drawn(graph, one, draw) for one in graph.inputs]


def check_agreement(
    imported: Imported, original: Callable[[Sequence[Array]], Array], inputs: Sequence[Array], *, where: str
) -> float:
    """Compare the graph's outputs with the original's; returns the largest difference.

    Raises:
        RoundFilesInvalid: they differ by more than rounding explains, or the original's are not finite.
    """
    wanted = np.asarray(original(inputs), np.float64)
    found = closed(outputs_of(imported, inputs), imported.closing)
    if found.size != wanted.size:
        message = f"the original's outputs are {wanted.shape}, the graph's {found.shape}"
        raise RoundFilesInvalid(message, where=where)
    wanted = wanted.reshape(found.shape)
    if not np.isfinite(wanted).all():
        hint = "give inputs that it is meant for: --sample FILE.npy"
        raise RoundFilesInvalid("its outputs on samples are not finite", where=where, hint=hint)
    apart = float(np.abs(found - wanted).max())
    if not apart <= _WITHIN * max(1.0, float(np.abs(wanted).max())):
        message = f"graph and original differ by {apart:.2g} on samples"
        hint = "the model may not be in eval mode, or draw numbers; else report it, with the model"
        raise RoundFilesInvalid(message, where=where, hint=hint)
    return apart


def outputs_of(imported: Imported, inputs: Sequence[Array]) -> Array:
    """The graph's own outputs in float64, (examples, classes), (examples, tokens, classes) or (examples, 1)."""
    tensors: Mapping[str, Array] = {**imported.weights, **imported.frozen}
    weights = {name: array.astype(np.float64) for name, array in tensors.items()}
    given = {
        one.name: np.asarray(array).astype(np.float64 if one.kind == Kind.float32 else np.int32)
        for one, array in zip(imported.graph.inputs, inputs, strict=True)
    }
    outputs: Array = Passes(imported.graph, NUMPY).outputs(weights, given)
    row = typed(imported.graph)[imported.graph.output].sizes[1:]
    return outputs[:, 1:] if row == (1,) else outputs.reshape(len(outputs), *row)


def closed(scores: Array, closing: str) -> Array:
    """What the original makes of its scores at its end."""
    match closing:
        case "Sigmoid":
            return np.asarray(1 / (1 + np.exp(-scores)))
        case "Softmax" | "LogSoftmax":
            below = scores - scores.max(axis=-1, keepdims=True)
            powers = np.exp(below)
            whole = powers.sum(axis=-1, keepdims=True)
            return np.asarray(powers / whole if closing == "Softmax" else below - np.log(whole))
    return scores


def _drawn(graph: Graph, one: Input, draw: np.random.Generator) -> Array:
    shape = (_EXAMPLES, *one.shape)
    if one.kind == Kind.float32:
        return draw.normal(size=shape).astype(np.float32)
    return draw.integers(0, _rows(graph, one.name), shape).astype(np.int32)


def _rows(graph: Graph, name: str) -> int:
    """The length of the shortest table that is read by an input; 2 where it is none."""
    sizes = {one.name: one.shape for one in (*graph.weights, *graph.frozen)}
    same, rows = {name}, []
    for node in graph.nodes:
        if (
            node.operation in {"Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze"}
            and node.inputs[0] in same
        ):
            same.update(node.outputs)
        if node.operation == "Gather" and node.inputs[1] in same and node.inputs[0] in sizes:
            rows.append(sizes[node.inputs[0]][int(node.attributes.get("axis", 0))])  # type: ignore[arg-type]
    return min(rows, default=2)
