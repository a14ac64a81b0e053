"""Whole models as graphs: read, typed, computed as PyTorch computes them."""

import numpy as np
import pytest
from graphs import MODELS, drawn_inputs, drawn_weights

from fedcoin_cli.learning.graph.namespace import NUMPY, Numpy
from fedcoin_cli.learning.graph.passes import Passes, compute, constant_array
from fedcoin_cli.learning.graph.reader import read_graph
from fedcoin_cli.learning.graph.shapes import classes, cost, typed
from fedcoin_cli.learning.graph.writer import graph_text

EXAMPLES = 7


@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_is_read_back(name: str) -> None:
    """One graph, one text [P-12.13]."""
    graph = MODELS[name]()
    text = graph_text(graph)
    assert read_graph(text) == graph
    assert graph_text(read_graph(text)) == text


@pytest.mark.parametrize("name", MODELS)
def test_a_model_computes_what_pytorch_computes(name: str) -> None:
    """In double precision, to its last digits, with weights by the names of the state_dict [P-12.15]."""
    torch = pytest.importorskip("torch")
    from torch_twins import twin

    graph, module = MODELS[name](), twin(name).double()
    draw = np.random.default_rng(1)
    inputs, weights = drawn_inputs(graph, EXAMPLES, draw), drawn_weights(graph, draw)
    tensors = {key: torch.from_numpy(value).double() for key, value in weights.items()}
    missing = module.load_state_dict(tensors, strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    (given,) = inputs.values()
    fed = torch.from_numpy(given)
    with torch.no_grad():
        theirs = module(fed.double() if given.dtype == np.float32 else fed.long()).numpy()
    if theirs.shape[1] == 1:
        theirs = np.concatenate([np.zeros_like(theirs), theirs], axis=1)
    ours = Passes(graph, NUMPY).outputs(
        {key: NUMPY.constant(value) for key, value in weights.items()},
        {key: NUMPY.constant(value) for key, value in inputs.items()},
    )
    assert ours.dtype == np.float64
    assert ours.shape == (EXAMPLES, classes(graph, typed(graph)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_types_are_those_of_what_is_computed(name: str) -> None:
    """Every value has the shape and kind that was foretold, whatever the number of examples [P-12.16]."""
    graph, draw = MODELS[name](), np.random.default_rng(2)
    types, weights = typed(graph), drawn_weights(graph, draw)
    single = Numpy(np.float32)

    for examples in (1, 5):
        inputs = drawn_inputs(graph, examples, draw)
        values = {**weights, **inputs}
        values.update((one.name, single.constant(constant_array(one))) for one in graph.constants)
        for node in graph.nodes:
            compute(node, values, single)
        for key, value in values.items():
            assert np.shape(value) == types[key].shape(examples), key
            assert value.dtype == np.dtype(types[key].kind), key


@pytest.mark.parametrize("name", MODELS)
def test_an_example_counts_alone(name: str) -> None:
    """Whatever stands beside it, an example's outputs are the same [P-12.16]."""
    graph, draw = MODELS[name](), np.random.default_rng(3)
    weights, inputs = drawn_weights(graph, draw), drawn_inputs(graph, EXAMPLES, draw)
    passes = Passes(graph, NUMPY)
    doubles = {key: NUMPY.constant(value) for key, value in weights.items()}
    together = passes.outputs(doubles, {key: NUMPY.constant(value) for key, value in inputs.items()})
    for place in range(EXAMPLES):
        alone = {key: NUMPY.constant(value[place : place + 1]) for key, value in inputs.items()}
        np.testing.assert_allclose(passes.outputs(doubles, alone)[0], together[place], rtol=1e-12, atol=1e-13)


def test_cost_is_known_before_anything_is_computed() -> None:
    """A dense model's work and what it holds are those that one counts by hand."""
    graph = MODELS["mlp"]()
    needed = cost(graph, typed(graph), 100)
    products = 2 * 100 * (784 * 128 + 128 * 10)
    assert products < needed.flop < 1.01 * products
    weights = 784 * 128 + 128 + 128 * 10 + 10
    assert weights + 100 * (784 + 784) <= needed.held <= weights + 100 * (784 + 784 + 128)
