"""Models of PyTorch, ONNX and Keras as graphs: they compute the same, weights keep their names, the rest is refused."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import MODELS, drawn_inputs
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from shell import fedcoin

from fedcoin_cli.learning.exchange.agreement import check_agreement, samples
from fedcoin_cli.learning.exchange.from_keras import import_keras, run_keras
from fedcoin_cli.learning.exchange.from_onnx import import_onnx
from fedcoin_cli.learning.exchange.importing import import_file, import_model
from fedcoin_cli.learning.model.backend import keras
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.model import ModelSpec
from ledger_store.base.errors import MissingPart, NotFound, RoundFilesInvalid

L = keras.layers
WITHIN = 1e-5


# PyTorch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_module_keeps_outputs_and_names(name: str) -> None:
    """Everyday modules agree with PyTorch's own outputs, by all names of the state_dict but counters."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from torch_twins import twin

    module = twin(name).train()
    (given,) = drawn_inputs(MODELS[name](), 4, np.random.default_rng(3)).values()
    made = import_model(module, [given])
    assert made.apart < WITHIN
    assert made.imported is not None
    wanted = [key for key in module.state_dict() if not key.endswith("num_batches_tracked")]
    assert list(made.model.weight_names) == wanted
    assert module.training, "the module stays as it was"


@pytest.mark.parametrize("wrap", ["compile", "nn.DataParallel"])
def test_what_is_put_around_a_module_is_left_out(wrap: str) -> None:
    """As people train: the description is the plain module's, and so are the names of its weights."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from torch_twins import twin

    module, given = twin("tabular"), np.ones((1, 8), np.float32)
    put_around = functools.reduce(getattr, wrap.split("."), torch)
    assert import_model(put_around(module), [given]).text == import_model(module, [given]).text


def test_what_asks_for_no_gradient_is_frozen() -> None:
    """Parameters without a gradient, statistics beside them and named patterns are frozen; what is unused is told."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    nn = torch.nn
    layers = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2), nn.Softmax(1))
    layers[3].idle = nn.Linear(2, 2)
    for parameter in layers[1].parameters():
        parameter.requires_grad_(requires_grad=False)
    made = import_model(layers, [np.ones((1, 4))], frozen=["0.*"])
    assert made.imported is not None
    assert list(made.imported.frozen) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
    ]  # fmt: skip
    assert made.model.weight_names == ("3.weight", "3.bias")
    assert made.imported.unused == ("3.idle.weight", "3.idle.bias")
    assert made.imported.closing == "Softmax"


# Keras -----------------------------------------------------------------------------------------------------------


def residual() -> Any:
    """A functional model whose input is led around a convolution."""
    pictures = keras.Input((9, 9, 3), name="pictures")
    x = L.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")(pictures)
    y = L.BatchNormalization()(L.Conv2D(4, 3, padding="same", use_bias=False)(x))
    x = L.Activation("gelu")(L.Add()([x, y]) * 2.0)
    x = L.DepthwiseConv2D(3)(L.SeparableConv2D(6, 3, padding="same", activation="silu")(x))
    return keras.Model(pictures, L.Dense(3, activation="softmax", name="head")(L.GlobalAveragePooling2D()(x)))


def nested() -> Any:
    """A sequential model beyond chains, with another one inside."""
    inner = keras.Sequential([L.Dense(4, activation="elu"), L.LayerNormalization()])
    front = [L.ZeroPadding2D(1), L.Conv2D(3, 3), L.PReLU(), L.BatchNormalization(scale=False)]
    back = [L.AveragePooling2D(2, padding="same"), L.Flatten(), L.Dropout(0.5), inner]
    return keras.Sequential([keras.Input((6, 6, 2)), *front, *back, L.Dense(1, activation="sigmoid")])


def attending() -> Any:
    """Token ids, attention and a recurrent layer in both directions."""
    ids = keras.Input((6,), dtype="int32")
    x = L.Embedding(10, 8)(ids)
    x = L.LayerNormalization()(L.MultiHeadAttention(2, 4)(x, x) + x)
    return keras.Model(ids, L.Dense(2)(L.Bidirectional(L.LSTM(3))(x)))


def recurrent() -> Any:
    """Both kinds of GRU and an LSTM."""
    steps = keras.Input((7, 5))
    x = L.Bidirectional(L.GRU(3, reset_after=False, return_sequences=True))(
        L.GRU(4, return_sequences=True)(steps)
    )
    return keras.Model(steps, L.Dense(3)(L.LSTM(4)(x)))


def two_inputs() -> Any:
    """Numbers and ids, of which the table is frozen."""
    numbers, ids = keras.Input((4,), name="numbers"), keras.Input((3,), dtype="int32", name="ids")
    table = L.Embedding(7, 4, trainable=False)
    x = L.Concatenate()([L.Dense(4, activation="relu")(numbers), L.Flatten()(table(ids))])
    return keras.Model([numbers, ids], L.Dense(2)(x))


def drawn(model: Any) -> Any:
    """The same model with random weights; variances above 0."""
    draw = np.random.default_rng(5)
    values = [0.5 * draw.normal(size=one.shape) for one in model.weights]
    kept = [
        np.abs(one) + 0.1 if "variance" in v.path else one
        for one, v in zip(values, model.weights, strict=True)
    ]
    model.set_weights(kept)
    return model


@pytest.mark.parametrize("build", [residual, nested, attending, recurrent, two_inputs])
def test_a_keras_model_keeps_outputs_and_order(build: Callable[[], Any]) -> None:
    """Models of many layers agree with Keras' own outputs; weights stand in the order of get_weights()."""
    model = drawn(build())
    made = import_keras(model, where="model")
    given = samples(made.graph, np.random.default_rng(1))
    assert check_agreement(made, lambda x: run_keras(model, x), given, where="model") < WITHIN
    held = {**made.weights, **made.frozen}
    fixed = [name for name in held if name.startswith("embedding/") and build is two_inputs]
    assert list(made.frozen) == fixed
    order = [name for name in held if name not in fixed] if fixed else list(made.weights)
    trained = [np.asarray(one) for one in model.trainable_weights] if fixed else model.get_weights()
    assert all(np.array_equal(held[name], one) for name, one in zip(order, trained, strict=True))


ON_PYTORCH = """
import keras, numpy, fedcoin
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(2)])
x, y = numpy.random.default_rng(0).random((20, 4), dtype="float32"), numpy.arange(20) % 2
weights = [model.get_weights(), [2 * one for one in model.get_weights()]]
print(fedcoin.shapley(model, (x, y), weights, exact=True).together)
"""


def test_a_keras_model_on_pytorchs_backend_is_keras() -> None:
    """There it is a PyTorch module as well, which PyTorch would not export."""
    pytest.importorskip("torch")
    command = [sys.executable, "-c", ON_PYTORCH]
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_names_do_not_count_from_model_to_model() -> None:
    """Two clients that build one model have the same names, although Keras numbers the second one's layers on."""
    first, second = import_keras(residual(), where="a"), import_keras(residual(), where="b")
    assert first.graph == second.graph
    assert "conv2d_1/kernel" in first.weights


def test_a_chain_stays_a_chain(tmp_path: Path) -> None:
    """A model that miners have kernels for keeps its Keras description."""
    model = keras.Sequential([keras.Input((4, 4)), L.Flatten(), L.Dense(5, "relu"), L.Dense(3)])
    assert isinstance(import_model(model).model, ModelSpec)
    model.save(tmp_path / "chain.keras")
    assert isinstance(import_file(str(tmp_path / "chain.keras")).model, ModelSpec)
    assert isinstance(import_model(model, frozen=["dense/*"]).model, GraphModel)


def test_keras_layers_that_are_refused() -> None:
    """Code, masks, other data formats and models without an input are named, not read over."""
    text = keras.Input((6,), dtype="int32")
    picture = keras.Input((4, 4, 2))
    masked = keras.Model(text, L.Dense(2)(L.LSTM(2)(L.Embedding(5, 3, mask_zero=True)(text))))
    code = keras.Model(picture, L.Dense(2)(L.Flatten()(L.Lambda(lambda x: x)(picture))))
    first = keras.Model(picture, L.Dense(2)(L.Flatten(data_format="channels_first")(picture)))
    for model, words in ((masked, "masks zeros"), (code, "Lambda"), (first, "data_format")):
        with pytest.raises(RoundFilesInvalid, match=words) as refused:
            import_keras(model, where="model")
        assert "layer" in refused.value.where
    with pytest.raises(RoundFilesInvalid, match="no input yet"):
        import_keras(keras.Sequential([L.Dense(2)]), where="model")


# ONNX ------------------------------------------------------------------------------------------------------------


def onnx_model(
    nodes: Sequence[Any],
    weights: dict[str, Any],
    shape: Sequence[int | str | None] = ("n", 2, 3),
    opset: int = 18,
    outputs: Sequence[str] = ("out",),
) -> Any:
    """An ONNX model of one input x."""
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(operation: str, inputs: str, outputs: str = "out", **attributes: Any) -> Any:
    return helper.make_node(operation, inputs.split(), outputs.split(), name=f"the_{operation}", **attributes)


KERNEL = np.random.default_rng(7).normal(size=(6, 2)).astype(np.float32)
FLAT = node("Flatten", "x", "flat")


def test_shapes_become_attributes_and_the_closing_softmax_goes(tmp_path: Path) -> None:
    """What exporters compute of shapes is folded, whatever the number of examples; scores stand before softmax."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "many"),
        node("Unsqueeze", "many first", "many1"),
        node("Concat", "many1 rest", "wanted", axis=0),
        node("Reshape", "x wanted", "flat"),
        node("MatMul", "flat fc.weight", "scores"),
        node("Softmax", "scores", axis=-1),
    ]
    numbers = {"zero": np.int64(0), "first": np.array([0]), "rest": np.array([-1])}
    model = onnx_model(nodes, {"fc.weight": KERNEL, **numbers})
    onnx.save(model, tmp_path / "made.onnx")
    made = import_file(str(tmp_path / "made.onnx"))
    assert made.imported is not None
    assert [one.operation for one in made.imported.graph.nodes] == ["Reshape", "MatMul"]
    assert made.imported.closing == "Softmax"
    assert made.apart < WITHIN
    assert made.model.weight_names == ("fc.weight",)


def test_a_weight_without_axes_is_a_number(tmp_path: Path) -> None:
    """A temperature, trained or frozen, has no axis: in the description, in an update and among what is frozen."""
    nodes = [FLAT, node("MatMul", "flat fc.weight", "scores"), node("Mul", "scores scale", "more")]
    nodes.append(node("Div", "more temperature"))
    weights = {"fc.weight": KERNEL, "scale": np.float32(2), "temperature": np.float32(0.5)}
    onnx.save(onnx_model(nodes, weights), tmp_path / "made.onnx")
    said = fedcoin("model", "import", "made.onnx", "--frozen", "temperature", folder=tmp_path)
    assert said.code == 0, said.err
    said = fedcoin("convert", "made.onnx", "-o", "mine.safetensors", folder=tmp_path)
    assert said.code == 0, said.err
    kept = {**load_file(tmp_path / "mine.safetensors"), **load_file(tmp_path / "frozen.safetensors")}
    shapes = {name: one.shape for name, one in kept.items()}
    assert shapes == {"fc.weight": (6, 2), "scale": (), "temperature": ()}


def test_a_value_that_is_repeated_for_each_example_stays_single() -> None:
    """A class token that is expanded to all examples becomes one that all share."""
    nodes = [
        node("Shape", "x", "shape", end=1),
        node("Concat", "shape ones", "wanted", axis=0),
        node("Expand", "token wanted", "tokens"),
        node("Concat", "tokens x", "longer", axis=1),
        node("ReduceMean", "longer last", "means", keepdims=0),
        node("MatMul", "means fc.weight"),
    ]
    token = np.ones((1, 1, 3), np.float32)
    weights = {"token": token, "fc.weight": KERNEL[:3], "ones": np.array([1, 3]), "last": np.array([1])}
    made = import_onnx(onnx_model(nodes, weights), where="m")
    assert set(made.weights) == {"token", "fc.weight"}
    assert "Expand" not in {one.operation for one in made.graph.nodes}


def refusals() -> dict[str, tuple[Any, str]]:
    """Models that no graph is made of, and the words that say why."""
    half = {"fc.weight": KERNEL.astype(np.float16)}
    bare = {"fc.weight": KERNEL}
    product = node("MatMul", "flat fc.weight")
    foreign = helper.make_node("Fast", ["x"], ["out"], domain="com.microsoft")
    body = helper.make_graph([node("Identity", "c", "c2"), node("Identity", "s", "s2")], "body", [], [])
    loop = helper.make_node("Loop", ["", "", "x"], ["out"], body=body)
    deep = [node("Abs", "x" if one == 0 else f"v{one}", f"v{one + 1}") for one in range(70_000)]
    return {
        "an unknown operation": (onnx_model([node("Sin", "x")], bare), "'Sin' is not understood"),
        "another domain": (onnx_model([foreign], bare), "com.microsoft"),
        "an old opset": (onnx_model([FLAT, product], bare, opset=11), "set 11"),
        "fixed examples": (onnx_model([FLAT, product], bare, (4, 2, 3)), "has a fixed size"),
        "a dynamic shape": (onnx_model([FLAT, product], bare, ("n", "t", 3)), "no fixed size"),
        "a loop": (onnx_model([loop], bare), "a loop or a branch"),
        "half precision": (onnx_model([FLAT, product], half), "float16"),
        "not a number": (onnx_model([FLAT, product], {"fc.weight": KERNEL * np.nan}), "not finite"),
        "lost names": (
            onnx_model(
                [FLAT, node("MatMul", "flat onnx::MatMul_7")],
                {"onnx::MatMul_7": np.ones((6, 20), np.float32)},
            ),
            "lost their names",
        ),
        "two outputs": (onnx_model([FLAT, product], bare, outputs=("out", "flat")), "2 outputs"),
        "a mean over examples": (
            onnx_model(
                [FLAT, node("ReduceMean", "flat axes", "mean"), node("Sub", "flat mean")],
                {"axes": np.array([0])},
            ),
            "where the examples stand",
        ),
        "a turned weight": (onnx_model([FLAT, product], {"fc.weight": KERNEL.T.copy()}), "columns meet"),
        "training mode": (
            onnx_model(
                [FLAT, node("BatchNormalization", "flat s s s s", training_mode=1)],
                {"s": np.ones(6, np.float32)},
            ),
            "examples of a batch",
        ),
        "a shape left out": (onnx_model([FLAT, node("Reshape", "flat")], bare), "input 2 is left out"),
        "a name of nothing": (onnx_model([node("Abs", "gone")], bare), "before it is defined"),
        "many operations": (onnx_model(deep, bare), "more than 65536 operations"),
        "pictures as output": (
            onnx_model([node("Mul", "x w")], {"w": np.ones(4, np.float32)}, shape=("n", 2, 3, 4)),
            "(examples, classes)",
        ),
        "nothing trained": (onnx_model([FLAT, node("Abs", "flat")], {}), "nothing of it is trained"),
    }


@pytest.mark.parametrize("case", refusals())
def test_what_is_refused(case: str) -> None:
    """One line says what is wrong, one where, and a hint what to do."""
    model, words = refusals()[case]
    with pytest.raises(RoundFilesInvalid) as refused:
        import_onnx(model, where="net.onnx")
    assert words in refused.value.message
    assert "\n" not in refused.value.message
    assert refused.value.where.startswith("net.onnx")
    assert refused.value.hint


def test_names_are_asked_for(tmp_path: Path) -> None:
    """With the original's state_dict, a weight that the exporter folded into another is missed and named."""
    onnx.save(
        onnx_model([FLAT, node("MatMul", "flat fc.weight")], {"fc.weight": KERNEL}), tmp_path / "m.onnx"
    )
    state: dict[str, Any] = {"fc.weight": KERNEL, "bn.weight": np.ones(6, np.float32)}
    np.savez(tmp_path / "state.npz", **state)
    with pytest.raises(RoundFilesInvalid, match=r"lost their names.*: bn\.weight") as refused:
        import_file(str(tmp_path / "m.onnx"), weights=tmp_path / "state.npz")
    assert "optimize=False" in refused.value.hint
    with pytest.raises(RoundFilesInvalid, match="no weight is called"):
        import_file(str(tmp_path / "m.onnx"), frozen=["encoder.*"])


def test_files_that_hold_no_model(tmp_path: Path) -> None:
    """Weights alone, other kinds, damaged and missing files are told apart."""
    for name in ("w.pt", "w.pt2", "w.txt", "w.onnx"):
        (tmp_path / name).write_bytes(b"no model")
    for name, words in (
        ("w.pt", "weights"),
        ("w.pt2", "code"),
        ("w.txt", "no model"),
        ("w.onnx", "no ONNX model"),
    ):
        with pytest.raises(RoundFilesInvalid, match=words):
            import_file(str(tmp_path / name))
    with pytest.raises(NotFound):
        import_file(str(tmp_path / "gone.onnx"))


def test_without_onnx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where onnx is missing, the line that installs it is told."""
    (tmp_path / "m.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPart) as missing:
        import_file(str(tmp_path / "m.onnx"))
    assert missing.value.hint == "pip install 'fedcoin[onnx]'"


def test_the_commands(tmp_path: Path) -> None:
    """A Keras model with a residual: imported, a client's weights and a test set converted, all by typing."""
    model = drawn(residual())
    model.save(tmp_path / "net.keras")
    model.save_weights(tmp_path / "mine.weights.h5")
    pixels = np.random.default_rng(2).integers(0, 256, (5, 9, 9, 3)).astype(np.uint8)
    np.savez(tmp_path / "test.npz", x=pixels, y=np.arange(5) % 3)
    said = fedcoin("model", "import", "net.keras", "--frozen", "conv2d/*", "--json", folder=tmp_path)
    assert said.code == 0, said.err
    assert said.json["frozen"] == ["conv2d/kernel", "conv2d/bias"]
    assert (tmp_path / "frozen.safetensors").is_file()
    said = fedcoin("convert", "mine.weights.h5", "--json", folder=tmp_path)
    assert said.code == 0, said.err
    assert said.json["numbers"] == sum(one.size for one in model.get_weights()[2:])
    said = fedcoin("convert", "test.npz", "--test", "-o", "test.safetensors", "--json", folder=tmp_path)
    assert said.json["images"] == 5
    assert fedcoin("model", "import", folder=tmp_path).code == 2
