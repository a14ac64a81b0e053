"""One node of a graph as ONNX has it: what is an attribute here and a constant input there is put back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[Any]

# Attributes that ONNX takes as inputs, in their order, with their types.
_INPUTS: Mapping[str, Sequence[tuple[str, type]]] = {
    "Reshape": [("shape", np.int64)],
    "Squeeze": [("axes", np.int64)],
    "Unsqueeze": [("axes", np.int64)],
    "Expand": [("shape", np.int64)],
    "Slice": [("starts", np.int64), ("ends", np.int64), ("axes", np.int64), ("steps", np.int64)],
    "Split": [("split", np.int64)],
    "Pad": [("pads", np.int64), ("value", np.float64)],
    "Clip": [("min", np.float64), ("max", np.float64)],
    "Pow": [("exponent", np.float64)],
    **{f"Reduce{name}": [("axes", np.int64)] for name in ("Sum", "Mean", "Max", "Min")},
}


def by_onnx(
    operation: str, inputs: Sequence[Array | None], attributes: Mapping[str, Any], outputs: int
) -> list[Array]:
    """What onnx.reference makes of it, in double precision where it can."""
    moved = _INPUTS.get(operation, [])
    kept = {key: value for key, value in attributes.items() if key not in dict(moved)}
    fed: dict[str, Array] = {}
    names = []
    extra: list[Array | None] = [
        None if attributes.get(key) is None else np.array(attributes[key], kind) for key, kind in moved
    ]
    for number, array in enumerate((*inputs, *extra)):
        names.append("" if array is None else f"i{number}")
        if array is not None:
            fed[f"i{number}"] = array
    kept = _worded(operation, kept, inputs)
    made = [f"o{number}" for number in range(outputs)]
    node = onnx.helper.make_node(operation, names, made, **kept)
    kinds = {name: onnx.helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in fed.items()}
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [onnx.helper.make_tensor_value_info(name, kinds[name], array.shape) for name, array in fed.items()],
        [onnx.helper.make_empty_tensor_value_info(name) for name in made],
    )
    # Gelu came with 20, GroupNormalization with a scale a channel with 21.
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)])
    found: list[Array] = ReferenceEvaluator(model).run(None, fed)
    return found


def _worded(operation: str, kept: dict[str, Any], inputs: Sequence[Array | None]) -> dict[str, Any]:
    """ONNX's words for what is a number here."""
    if operation == "Gelu":
        return {"approximate": "tanh" if kept.get("approximate") else "none"}
    if operation in ("LSTM", "GRU"):
        weights = inputs[1]
        assert weights is not None
        both = weights.shape[0] == 2
        backwards = kept.pop("reverse", 0)
        return {**kept, "direction": "bidirectional" if both else "reverse" if backwards else "forward"}
    if operation == "Cast" and kept["to"] == 1:
        return {"to": onnx.TensorProto.DOUBLE}
    return kept
