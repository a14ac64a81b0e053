"""BatchNormalization that follows a convolution or a dense layer, as part of its weights: one product an image less.

Exact but for rounding, coalition by coalition: the mean of folded weights is not the fold of their mean.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedcoin_cli.learning.graph.graph import Kind, Node
from fedcoin_cli.learning.graph.namespace import Array
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.graph.tensor_type import TensorType

Types = Mapping[str, TensorType]


@dataclass(frozen=True, slots=True)
class Folding:
    """How a layer's kernel and bias take in what normalises its outputs.

    `statistics` are scale, bias, mean and variance; `axis` is that of the kernel along which outputs stand, `share`
    what the bias was multiplied by; `kernel` and `bias` are read, `made` are written. Without a bias its name is empty.
    """

    kernel: str
    bias: str
    statistics: tuple[str, ...]
    epsilon: float
    axis: int
    share: float
    made: tuple[str, str]

    @property
    def read(self) -> tuple[str, ...]:
        """All values that it needs."""
        return tuple(name for name in (self.kernel, self.bias, *self.statistics) if name)

    @np.errstate(invalid="ignore", divide="ignore", over="ignore")
    def values(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The new kernel and bias, from arrays of NumPy."""
        scale, bias, mean, variance = (values[name] for name in self.statistics)
        factor, kernel = scale / np.sqrt(variance + self.epsilon), values[self.kernel]
        along = [1] * kernel.ndim
        along[self.axis] = -1
        before = self.share * values[self.bias] if self.bias else 0.0
        new = kernel * factor.reshape(along), (before - mean) * factor + bias
        return dict(zip(self.made, new, strict=True))


@dataclass(frozen=True, slots=True)
class Folded:
    """Nodes without the normalisations that could be folded, how these are, and the types of what is new, too."""

    nodes: tuple[Node, ...]
    foldings: tuple[Folding, ...]
    types: Types


def folded(nodes: Sequence[Node], types: Types, output: str) -> Folded:
    """Fold what can be: a layer's values must be read by the normalisation alone, and its weights be no images'."""
    makers = {name: node for node in nodes for name in node.outputs}
    uses = Counter(name for node in nodes for name in node.inputs)
    uses[output] += 1
    found: list[Folding] = []
    kinds, instead = dict(types), dict[str, Node]()
    for node in nodes:
        before = makers.get(node.inputs[0]) if node.operation == "BatchNormalization" else None
        if before is None or uses[node.inputs[0]] > 1:
            continue
        one = _folding(before, node, types)
        if one is None:
            continue
        found.append(one)
        kernel, bias = one.made
        kinds[kernel] = types[one.kernel]
        kinds[bias] = TensorType(Kind.float32, types[one.statistics[0]].sizes)
        plain = {"beta": 1.0} if before.operation == "Gemm" else {}
        instead[node.inputs[0]] = replace(
            before,
            inputs=(before.inputs[0], kernel, bias),
            outputs=node.outputs,
            attributes={**before.attributes, **plain},
        )
        instead[node.outputs[0]] = node
    kept = []
    for node in nodes:
        new = instead.get(node.outputs[0])
        if new is None:
            kept.append(node)
        elif new is not node:  # the normalisation itself is left out
            kept.append(new)
    return Folded(tuple(kept), tuple(found), kinds)


def _folding(layer: Node, norm: Node, types: Types) -> Folding | None:
    if layer.operation not in {"Conv", "Gemm"}:
        return None
    kernel, bias = layer.inputs[1], (*layer.inputs, "")[2]
    statistics = norm.inputs[1:]
    if any(types[name].axis is not None for name in (kernel, bias, *statistics) if name):
        return None
    if bias and types[bias].sizes != types[statistics[0]].sizes:
        return None
    its: Mapping[str, Any] = OPERATIONS[layer.operation].completed(layer.attributes)
    epsilon = OPERATIONS[norm.operation].completed(norm.attributes)["epsilon"]
    name = norm.outputs[0]
    return Folding(
        kernel=kernel,
        bias=bias,
        statistics=tuple(statistics),
        epsilon=float(epsilon),
        axis=0 if layer.operation == "Conv" or its["transB"] else 1,
        share=float(its.get("beta", 1.0)),
        made=(f"{name} kernel", f"{name} bias"),
    )
