"""Rounds of graphs: counted by every engine within the reference's bounds, mined, and audited at level 4."""

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import MODELS, Builder, drawn_inputs, drawn_weights, floats, small, tabular
from mined import MinedRound

from fedcoin_cli.application.auditing.full_audit import AuditPlan, read_ledger
from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.engines import choice
from fedcoin_cli.learning.engines.choice import Kind, counts, engine_for, walker_for
from fedcoin_cli.learning.engines.graph_outputs import GraphOutputs
from fedcoin_cli.learning.engines.outputs import OutputEngine
from fedcoin_cli.learning.game.game import Game, RoundFiles
from fedcoin_cli.learning.graph.graph import Graph
from fedcoin_cli.learning.graph.writer import graph_text
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.model.weights import TestSet, write_test
from fedcoin_cli.learning.recomputation import Depth, recompute
from fedcoin_cli.learning.reference.referee import own_outputs, prepared, reference_for
from fedcoin_cli.learning.reference.staged import Staged
from fedcoin_cli.learning.shapley.sampling import Estimator
from ledger_store.base.errors import RoundFilesInvalid


def game_of(graph: Graph, clients: int = 4, images: int = 70, seed: int = 3) -> Game:
    model, draw = GraphModel.of(graph), np.random.default_rng(seed)
    begin, first = drawn_weights(graph, draw), drawn_inputs(graph, images, draw)
    updates = []
    for _ in range(clients):
        step = drawn_weights(graph, draw)
        updates.append(tuple(begin[name] + np.float32(1.5) * step[name] for name in graph.weight_names))
    # Images of unlike brightness: else a network that averages says the same of all.
    scale = draw.normal(scale=5, size=images).astype(np.float32)
    inputs = [(first[one.name].T * scale).T for one in graph.inputs]
    test = TestSet(inputs[0], np.zeros(images, np.int32), tuple(inputs[1:]))
    game = Game(model, test, tuple(updates), tuple(range(1, clients + 1)))
    # What the last client's model says more often than of other images, and some of it wrong.
    outputs = own_outputs(game, clients - 1)
    labels = (outputs - np.median(outputs, axis=0)).argmax(axis=1)
    labels[::7] = draw.integers(0, model.classes, len(labels[::7]))
    return replace(game, test=replace(test, labels=labels.astype(np.int32)))


@pytest.mark.parametrize("kind", ["auto", "keras", "numpy", "onnx"])
@pytest.mark.parametrize("name", ["small", "tabular", "mlp"])
def test_engines_and_walkers_count_what_is_right(name: str, kind: Kind) -> None:
    """Each count lies in [lo, hi] of the reference, and blocks along rankings add up to it [P-6.4]."""
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    game = game_of({**MODELS, "small": small}[name]())
    ready, masks = prepared(game), list(range(1, 16))
    found = engine_for(game, ready, 1, kind).counts(masks)
    bounds = reference_for(game, ready).intervals(masks)
    assert all(one.lo <= count <= one.hi for one, count in zip(bounds, found.tolist(), strict=True))
    assert len(set(found.tolist())) > 1
    blocks = partition(game.test.labels, 16, bytes(32))
    walker = walker_for(game, blocks, ready, 1, kind)
    orders = np.tile(np.array([[[2, 0, 3, 1]]], np.uint16), (len(blocks), 1, 1))
    walked = walker.walk(range(len(blocks)), orders).sum(axis=0)[0]
    assert walked.tolist() == found[[3, 4, 12]].tolist()
    assert int(walker.ends()[1].sum()) == found[14]


@pytest.mark.parametrize("name", ["tabular", "mlp"])
def test_a_graph_of_dense_layers_is_a_chain(name: str) -> None:
    """Its updates, transposed, give the same outputs, and it is a chain for whoever counts it."""
    game = game_of(MODELS[name]())
    played = game.played()
    assert isinstance(played.model, ModelSpec)
    for client in range(game.clients):
        np.testing.assert_allclose(
            own_outputs(played, client), own_outputs(game, client), rtol=1e-12, atol=1e-12
        )
    masks = list(range(1, 16))
    assert engine_for(played).counts(masks).tolist() == engine_for(game).counts(masks).tolist()


@pytest.mark.parametrize("name", ["cnn", "lstm", "transformer", "residual"])
def test_another_graph_stays_one(name: str) -> None:
    """What is no chain of dense layers is computed as the graph that it is."""
    game = Game(
        GraphModel.of(MODELS[name]()), TestSet(np.zeros((1, 1), np.float32), np.zeros(1, np.int32)), (), ()
    )
    assert game.played() is game
    assert "the C kernel takes no graphs" in counts(game, 1)


@pytest.mark.parametrize(
    ("there", "said", "made"),
    [
        ({"onnx", "onnxruntime", "keras"}, "onnxruntime ", "OnnxRest"),
        ({"onnxruntime", "keras"}, "Keras ", "KerasRest"),
        ({"keras"}, "Keras ", "KerasRest"),
        ({"onnx", "onnxruntime"}, "onnxruntime ", "OnnxRest"),
        (set[str](), "NumPy in float32", "NumpyRest"),
    ],
)
def test_what_is_installed_counts_a_graph(
    there: set[str], said: str, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Onnxruntime with what writes for it, then Keras, then NumPy, and people are told which; no GPU here."""
    if "onnxruntime" in there:
        pytest.importorskip("onnxruntime")
    monkeypatch.setattr(choice, "find_spec", lambda name: name if name in there else None)
    monkeypatch.setattr(choice, "gpu_devices", tuple)
    game = game_of(small(), images=10)
    engine = engine_for(game)
    assert isinstance(engine, OutputEngine)
    assert isinstance(engine._source, GraphOutputs)
    assert type(engine._source._rest).__name__ == made
    assert counts(game, 1).startswith(said)
    assert ("no onnxruntime" in counts(game, 1)) == (made == "KerasRest")
    assert engine.counts([15]).tolist() == [reference_for(game, prepared(game)).count(15)]


def test_a_gpu_that_keras_sees_counts_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before onnxruntime, which computes on CPUs here."""
    monkeypatch.setattr(choice, "_gpu", lambda: True)
    game = game_of(small(), images=10)
    assert counts(game, 1).startswith("Keras ")
    assert counts(game, 1).endswith("it sees a GPU")
    with pytest.raises(LookupError):
        engine_for(game, kind="kernel")


def test_a_head_on_frozen_layers_leaves_nothing_to_compute() -> None:
    """Only the averages of the clients' outputs are left of a coalition, and they are right."""
    graph = small()
    head = {"out.weight", "out.bias"}
    frozen = tuple(one for one in graph.weights if one.name not in head)
    trained = tuple(one for one in graph.weights if one.name in head)
    whole = game_of(graph)
    kept = Graph(graph.inputs, trained, frozen, graph.constants, graph.nodes, graph.output)
    numbers = [place for place, one in enumerate(graph.weights) if one.name in head]
    updates = tuple(tuple(update[place] for place in numbers) for update in whole.updates)
    base = tuple(
        tensor for one, tensor in zip(graph.weights, whole.updates[0], strict=True) if one.name not in head
    )
    game = Game(GraphModel.of(kept), whole.test, updates, (1,) * 4, frozen=base)
    ready, masks = prepared(game), list(range(1, 16))
    assert game.model.flop_above == 0
    found = engine_for(game, ready).counts(masks)
    bounds = reference_for(game, ready).intervals(masks)
    assert all(one.lo <= count <= one.hi for one, count in zip(bounds, found.tolist(), strict=True))
    own = [int((own_outputs(game, one).argmax(axis=1) == game.test.labels).sum()) for one in range(4)]
    assert own == found[[0, 1, 3, 7]].tolist()


@pytest.mark.parametrize("estimator", ["balanced", "exact"])
@pytest.mark.parametrize("graph", [small(), tabular(4)], ids=["residual CNN with BatchNorm", "lone logit"])
def test_a_round_of_a_graph_is_mined_and_audited(tmp_path: Path, graph: Graph, estimator: Estimator) -> None:
    """Every count of every table is recomputed from the round's files and lies within its interval [P-13.21]."""
    one = MinedRound(tmp_path, graph=graph, estimator=estimator, rankings=6)
    _, cases = read_ledger(one.maker.write(tmp_path / "ledger"), AuditPlan(4))
    found = recompute(cases, one.store.path, Depth(None, 1, inf))
    assert (found.findings, found.skipped, found.tables) == ([], [], 3)
    assert found.recomputed == found.claimed
    assert one.result.outcome.shapley is not None


def test_a_layer_used_twice_and_a_scaled_one_are_no_chain() -> None:
    """A Gemm whose product is scaled, and an activation at the end, are left to the graph."""
    for ending in ("alpha", "Relu"):
        make = Builder(*MODELS["tabular"]().inputs)
        weight, bias = make.weight("w", 3, 8), make.weight("b", 3)
        alpha: Any = {"alpha": 2.0} if ending == "alpha" else {}
        made = make.op("Gemm", "x", weight, bias, transB=1, **alpha)
        game = game_of(make.graph(made if ending == "alpha" else make.op("Relu", made)))
        assert game.played() is game


@pytest.mark.parametrize("made", ["Expand", "MatMul", "held"])
def test_what_is_made_of_weights_is_bounded(made: str) -> None:
    """Files of a few kilobytes that a graph stretches to gigabytes are refused before anything is computed [P-6.13]."""
    make, side = Builder(floats(2)), 4096
    if made == "Expand":
        large = make.op("Expand", make.weight("w", 1, 1), shape=(side, side))
    else:
        large = make.op("MatMul", make.weight("a", side, 1), make.weight("b", 1, side))
    if made == "held":
        large = make.op("Expand", large, shape=(9, side, side))
    found = make.op("ReduceMax", large, axes=tuple(range(2 + (made == "held"))), keepdims=0)
    graph = make.graph(make.op("Add", make.op("MatMul", "x", make.weight("h", 2, 1)), found))
    if made == "MatMul":
        graph = replace(graph, products=(large,))
    clients = 2 if made == "held" else 60
    update = tuple(np.ones(shape, np.float32) for shape in GraphModel.of(graph).weight_shapes)
    tests = TestSet(np.zeros((2, 2), np.float32), np.array([0, 1], np.int32))
    with pytest.raises(RoundFilesInvalid, match="needs too much memory"):
        prepared(Game(GraphModel.of(graph), tests, (update,) * clients, (1,) * clients))


def test_images_are_taken_together_as_memory_has_room() -> None:
    """A first product that is stretched and handed on 250 times: 0.8 GiB an image, so 8 together and not 64."""
    make, width = Builder(floats(2)), 400_000
    x = make.op("Expand", make.op("MatMul", "x", make.weight("w", 2, 1)), shape=(1, width))
    for _ in range(250):
        x = make.op("Pad", x, pads=(0,) * 4)
    graph = make.graph(make.op("Tanh", make.op("Slice", x, starts=(0,), ends=(1,), axes=(1,))))
    tests = TestSet(np.zeros((100, 2), np.float32), np.arange(100, dtype=np.int32) % 2)
    update = (np.ones((2, 1), np.float32),)
    ready = prepared(Game(GraphModel.of(graph), tests, (update, update), (1, 1)))
    assert isinstance(ready, Staged)
    assert 1 < ready.part_images * (8 * 251 * width) <= 6 << 30
    assert max(map(len, ready.parts)) <= ready.part_images < 9


@pytest.mark.parametrize("operation", ["Pad", "Neg"])
def test_what_moves_values_is_work(tmp_path: Path, operation: str) -> None:
    """4,000 nodes that hand 100,000 values on: nothing interrupts an image's pass, so it is refused [P-6.13]."""
    make = Builder(floats(2))
    x = make.op("Expand", make.op("Tanh", make.op("MatMul", "x", make.weight("w", 2, 1))), shape=(1, 100_000))
    for _ in range(4_000):
        x = make.op("Pad", x, pads=(0,) * 4) if operation == "Pad" else make.op(operation, x)
    graph = make.graph(make.op("Slice", x, starts=(0,), ends=(1,), axes=(1,)))
    (tmp_path / "model.json").write_text(graph_text(graph))
    write_test(tmp_path / "test", TestSet(np.zeros((2, 2), np.float32), np.array([0, 1], np.int32)))
    files = RoundFiles(tmp_path / "model.json", tmp_path / "test", ())
    with pytest.raises(RoundFilesInvalid, match="one image takes too much work"):
        Game.load(files)
