"""Descriptions of graphs that are not taken, each with what is wrong and where."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from graphs import Builder, cnn, mlp

from fedcoin_cli.learning.graph.graph import Graph, Input, Kind
from fedcoin_cli.learning.graph.operations.table import OPERATIONS
from fedcoin_cli.learning.graph.reader import MAX_TEXT_BYTES, read_graph
from fedcoin_cli.learning.graph.shapes import typed
from fedcoin_cli.learning.graph.writer import graph_text
from ledger_store.base.errors import RoundFilesInvalid

Spoil = Callable[[Any], object]


def refused(text: str | bytes) -> RoundFilesInvalid:
    with pytest.raises(RoundFilesInvalid) as caught:
        read_graph(text, where="model.json")
    return caught.value


SPOILT: dict[str, tuple[Spoil, str, str]] = {
    "another schema": (lambda its: its.update(schema=3), "schema 3 is not 2", "schema"),
    "a schema that is no integer": (lambda its: its.update(schema=2.0), "is not 2", "schema"),
    "an odd key": (lambda its: its.update(functions=[]), "'functions' is not known", "the description"),
    "a missing key": (lambda its: its.pop("frozen"), "'frozen' is missing", "the description"),
    "an unknown operation": (lambda its: its["nodes"][1].update(op="Loop"), "'Loop'", "node 1 (Loop"),
    "an odd attribute": (
        lambda its: its["nodes"][1]["attributes"].update(beta2=1),
        "'beta2' is not known",
        "node 1 (Gemm",
    ),
    "an attribute of the wrong kind": (
        lambda its: its["nodes"][1]["attributes"].update(transB=True),
        "'transB' must be an integer",
        "node 1 (Gemm",
    ),
    "an attribute that is no number": (
        lambda its: its["nodes"][1]["attributes"].update(alpha="1"),
        "'alpha' must be a finite number",
        "node 1 (Gemm",
    ),
    "a dynamic shape": (
        lambda its: its["inputs"][0].update(shape=["n", 28, 28]),
        "a size of a shape is not known",
        "inputs[0]",
    ),
    "a size of zero": (lambda its: its["inputs"][0].update(shape=[0]), "not known", "inputs[0]"),
    "a size that is gigantic": (
        lambda its: its["weights"][0].update(shape=[2**40]),
        "not known",
        "weights[0]",
    ),
    "many gigantic weights": (
        lambda its: its["weights"][0].update(shape=[2**20, 2**20]),
        "more than",
        "weights[0]",
    ),
    "a wrong dtype": (lambda its: its["inputs"][0].update(dtype="float64"), "'float64' is not", "inputs[0]"),
    "a dtype that is no text": (lambda its: its["inputs"][0].update(dtype=[1]), "is not", "inputs[0]"),
    "a loop": (
        lambda its: its["nodes"][0].update(inputs=[its["output"]]),
        "used before it is defined",
        "node 0 (Flatten",
    ),
    "a name defined twice": (
        lambda its: its["nodes"][2].update(outputs=its["nodes"][1]["outputs"]),
        "defined twice",
        "node 2 (Relu",
    ),
    "a name that cannot be shown": (lambda its: its.update(output="a\n"), "printable", "output"),
    "no such output": (lambda its: its.update(output="nowhere"), "is not defined", "model.json"),
    "an output of another form": (lambda its: its.update(output="x"), "must be float32", "model.json"),
    "no inputs": (lambda its: its.update(inputs=[]), "a list of 1 to", "inputs"),
    "nodes that are no list": (lambda its: its.update(nodes={}), "a list of", "nodes"),
    "too many nodes": (
        lambda its: its.update(nodes=[{}] * 5000),
        "a list of 0 to 4096",
        "nodes",
    ),
    "a weight off by a transpose": (
        lambda its: its["weights"][0].update(shape=[784, 128]),
        "columns meet",
        "node 1 (Gemm",
    ),
    "too many inputs": (
        lambda its: its["nodes"][2].update(inputs=["x", "x"]),
        "1 to 1 inputs",
        "node 2 (Relu",
    ),
    "a factor left out": (
        lambda its: its["nodes"][1].update(inputs=["", "fc1.bias"]),
        "left out",
        "node 1 (Gemm",
    ),
    "a needed input left out": (lambda its: its["nodes"][2].update(inputs=[""]), "left out", "node 2 (Relu"),
    "a constant of too few values": (
        lambda its: its["constants"].append({"name": "c", "dtype": "int32", "shape": [2], "values": [1]}),
        "a list of 2",
        "constants[0]",
    ),
    "a constant beyond float32": (
        lambda its: its["constants"].append({"name": "c", "dtype": "float32", "shape": [], "values": [1e39]}),
        "no finite float32",
        "constants[0]",
    ),
    "a constant of another kind": (
        lambda its: its["constants"].append({"name": "c", "dtype": "int32", "shape": [], "values": [0.5]}),
        "no finite int32",
        "constants[0]",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_bad_description_is_refused(name: str) -> None:
    """One line says what, one where, and there is a hint [P-12.13]."""
    spoil, what, where = SPOILT[name]
    its = json.loads(graph_text(mlp()))
    spoil(its)
    error = refused(json.dumps(its))
    assert what in str(error)
    assert where in str(error.where)
    assert error.hint
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "2", '{"schema":NaN}', '{"schema":1e999}', "[" * 100_000, b"\xff\xfe", "1" * 5000]
)
def test_what_is_no_description_is_refused(text: str | bytes) -> None:
    """Other JSON, no JSON, nestings without end, numbers that are none [P-12.13]."""
    refused(text)


def test_a_million_nodes_are_not_even_parsed() -> None:
    """The text is too long [P-12.13]."""
    node = '{"op":"Relu","inputs":["x"],"outputs":["y"],"attributes":{}},'
    text = f'{{"schema":2,"nodes":[{node * 1_000_000}'
    assert len(text) > MAX_TEXT_BYTES
    assert "larger than 1 MiB" in str(refused(text))


def test_huge_values_in_between_are_refused_before_they_are_made() -> None:
    """A short description may ask for more than any memory holds [P-12.14]."""
    make = Builder(Input("x", Kind.float32, (1000,)))
    wide = make.op("Expand", make.op("Mul", "x", make.weight("factor", 1)), shape=(100_000, 100_000, 1, 1000))
    error = refused(graph_text(make.graph(make.op("ReduceSum", wide, axes=(0, 1), keepdims=0))))
    assert "values an example" in str(error)


def mixing(*steps: Callable[[Builder, str], str]) -> Graph:
    make = Builder(Input("x", Kind.float32, (4, 6)))
    x = make.op("Mul", "x", make.weight("factor", 1))
    for step in steps:
        x = step(make, x)
    return make.graph(make.op("ReduceMean", x, axes=(2,), keepdims=0))


MIXES: dict[str, Callable[[Builder, str], str]] = {
    "reduced": lambda make, x: make.op("Sub", x, make.op("ReduceMean", x, axes=(0,))),
    "concatenated": lambda make, x: make.op("Concat", x, x, axis=0),
    "contracted": lambda make, x: make.op("MatMul", make.op("Transpose", x, perm=(1, 2, 0)), x),
    "every one with every other": lambda make, x: make.op(
        "MatMul",
        make.op("Reshape", x, shape=(-1, 24)),
        make.op("Transpose", make.op("Reshape", x, shape=(-1, 24)), perm=(1, 0)),
    ),
    "softmax": lambda make, x: make.op("Softmax", x, axis=0),
    "normalised": lambda make, x: make.op("LayerNormalization", x, make.constant([1.0] * 6), axis=0),
    "cut": lambda make, x: make.op("Slice", x, starts=(0,), ends=(1,), axes=(0,)),
    "split": lambda make, x: make.op("Split", x, axis=0, split=(1,)),
    "picked": lambda make, x: make.op("Gather", x, make.constant([0], Kind.int32), axis=0),
    "padded": lambda make, x: make.op("Pad", x, pads=(1, 0, 0, 0, 0, 0)),
    "squeezed": lambda make, x: make.op("Squeeze", x, axes=(0,)),
    "reshaped": lambda make, x: make.op("Reshape", x, shape=(6, -1, 4)),
    "broadcast against another axis": lambda make, x: make.op(
        "Add", x, make.op("Transpose", x, perm=(1, 0, 2))
    ),
    "met by a fixed number": lambda make, x: make.op("Add", x, make.constant([[[1.0]], [[2.0]]])),
    "folded with another axis and summed": lambda make, x: make.op(
        "ReduceMax", make.op("Reshape", x, shape=(-1, 6)), axes=(0,)
    ),
}


@pytest.mark.parametrize("name", MIXES)
def test_examples_are_never_mixed(name: str) -> None:
    """Whatever would let one example's output depend on another's is refused where it stands [P-12.16]."""
    error = refused(graph_text(mixing(MIXES[name])))
    assert "node" in str(error.where)


def test_the_same_for_all_examples_is_repeated_beside_them() -> None:
    """A token that stands before every sequence: concatenated along another axis, it needs no number of examples."""
    make = Builder(Input("x", Kind.float32, (4, 6)))
    graph = make.graph(
        make.op(
            "ReduceMean", make.op("Concat", make.weight("token", 1, 1, 6), "x", axis=1), axes=(2,), keepdims=0
        )
    )
    assert typed(read_graph(graph_text(graph)))[graph.output].shape(3) == (3, 5)


def test_every_attribute_is_checked() -> None:
    """No operation takes a text, null, an object or a boolean for a setting."""
    for name, operation in OPERATIONS.items():
        for setting in operation.settings.values():
            for odd in list[object](["text", None, {}, True, [True], ["a"], 10**400, float("nan")]):
                with pytest.raises(ValueError, match=r"."):
                    setting.check(odd)
        with pytest.raises(ValueError, match="not known"):
            operation.checked({"odd": 1})
        assert name.isalnum()


def test_a_graph_is_read_without_its_weights() -> None:
    """Shapes alone tell what it costs; a convolution's windows among them."""
    graph = read_graph(graph_text(cnn()))
    assert graph.weight_names[0] == "conv1.weight"
    assert graph.weight_values == sum((160, 64, 4640, 128, 8010))
