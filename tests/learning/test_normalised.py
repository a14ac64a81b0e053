"""BatchNormalization as part of the layer before it: the same outputs, and only where that may be."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from graphs import MODELS, Builder, drawn_inputs, drawn_weights, small

from fedcoin_cli.learning.graph.graph import Graph, Input, Kind
from fedcoin_cli.learning.graph.namespace import NUMPY
from fedcoin_cli.learning.graph.normalised import folded
from fedcoin_cli.learning.graph.passes import Passes, Steps, constant_array
from fedcoin_cli.learning.graph.shapes import typed


def dense(turned: int, **attributes: Any) -> Graph:
    """A Gemm between BatchNormalizations."""
    make = Builder(Input("x", Kind.float32, (5,)))
    x = make.batch_norm("x", "before", 5)
    shape = (7, 5) if turned else (5, 7)
    inputs = [x, make.weight("fc.weight", *shape)]
    if attributes:
        inputs.append(make.weight("fc.bias", 7))
    return make.graph(make.batch_norm(make.op("Gemm", *inputs, transB=turned, **attributes), "after", 7))


def bare() -> Graph:
    """A convolution without a bias."""
    make = Builder(Input("x", Kind.float32, (2, 6, 6)))
    made = make.op("Conv", "x", make.weight("conv.weight", 3, 2, 3, 3), strides=(2, 2))
    return make.graph(make.op("Flatten", make.batch_norm(made, "bn", 3)))


GRAPHS: dict[str, tuple[Callable[[], Graph], int]] = {
    "cnn": (MODELS["cnn"], 2),
    "residual with BatchNorm": (small, 1),
    "dense": (lambda: dense(1, alpha=0.5, beta=3.0), 1),
    "dense, not turned, no bias": (lambda: dense(0), 1),
    "no bias": (bare, 1),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_outputs_are_the_same(name: str) -> None:
    """In double precision, with the layer's kernel and bias made of its own and the statistics."""
    graph, number = GRAPHS[name][0](), GRAPHS[name][1]
    draw = np.random.default_rng(4)
    inputs, weights = drawn_inputs(graph, 6, draw), drawn_weights(graph, draw)
    doubles = {name: NUMPY.constant(one) for name, one in (weights | inputs).items()}
    one = folded(graph.nodes, typed(graph), graph.output)
    assert len(one.foldings) == number
    left = [node.operation for node in one.nodes].count("BatchNormalization")
    assert left == [node.operation for node in graph.nodes].count("BatchNormalization") - number
    values = dict(doubles)
    for folding in one.foldings:
        assert set(folding.read) <= set(weights)
        values.update(folding.values(values))
        for made in folding.made:
            assert values[made].shape == one.types[made].sizes
    values.update((one.name, NUMPY.constant(constant_array(one))) for one in graph.constants)
    expected = Passes(graph, NUMPY).outputs(doubles, {name: doubles[name] for name in inputs})
    found = Steps(one.nodes, graph.output).outputs(values, NUMPY)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    assert np.ptp(expected) > 0.1


def test_what_is_read_elsewhere_is_not_folded() -> None:
    """A convolution whose own values are needed, too, and one whose values are the output."""
    make = Builder(Input("x", Kind.float32, (2, 6, 6)))
    x = make.conv("x", "conv", (3, 2, 3, 3))
    graph = make.graph(make.op("Flatten", make.op("Add", x, make.batch_norm(x, "bn", 3))))
    assert folded(graph.nodes, typed(graph), graph.output).nodes == graph.nodes
    normed = dense(1)
    product = normed.nodes[1].outputs[0]
    seen = replace(normed, output=product)
    assert folded(seen.nodes, typed(seen), seen.output).nodes == seen.nodes


def test_what_depends_on_the_image_is_not_folded() -> None:
    """A bias that each example has for itself."""
    make = Builder(Input("x", Kind.float32, (5,)))
    own = make.op("Relu", make.op("MatMul", "x", make.weight("own", 5, 7)))
    made = make.op("Gemm", "x", make.weight("fc.weight", 5, 7), own)
    graph = make.graph(make.batch_norm(made, "bn", 7))
    assert folded(graph.nodes, typed(graph), graph.output).nodes == graph.nodes
