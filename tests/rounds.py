"""Small rounds for tests, made without TensorFlow: random weights in a round directory."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from chains import ChainMaker
from graphs import drawn_inputs, drawn_weights

from fedcoin_cli.application.rounds.files import SCHEMA
from fedcoin_cli.application.rounds.terms import AskedTerms
from fedcoin_cli.application.workspace.configuration import load
from fedcoin_cli.application.workspace.workspace import Workspace, client_name
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.graph.graph import Graph
from fedcoin_cli.learning.graph.namespace import NUMPY
from fedcoin_cli.learning.graph.passes import Passes
from fedcoin_cli.learning.graph.shapes import typed
from fedcoin_cli.learning.graph.writer import graph_text
from fedcoin_cli.learning.model.truth import IGNORED, Said
from fedcoin_cli.learning.model.weights import TestSet, write_test, write_update
from ledger_store.base.canonical import digest
from ledger_store.identity.keys import KeyPair

SIDE, UNITS, CLASSES = 4, 6, 3
SHAPES = ((SIDE * SIDE, UNITS), (UNITS,), (UNITS, CLASSES), (CLASSES,))


def make_round(
    workspace: Workspace, clients: int = 3, images: int = 60, seed: int = 0, classes: int = CLASSES
) -> Path:
    """A new round of the workspace's first `clients` client keys; returns its folder."""
    folder, draw = workspace.new_round(), np.random.default_rng(seed)
    (folder / "model.json").write_text(json.dumps(model_json(classes)))
    shapes = (*SHAPES[:2], (UNITS, classes), (classes,))
    truth = [draw.normal(size=shape).astype(np.float32) for shape in shapes]
    pixels = draw.random((images, SIDE, SIDE), dtype=np.float32)
    hidden = np.maximum(pixels.reshape(images, -1) @ truth[0] + truth[1], 0)
    labels = (hidden @ truth[2] + truth[3]).argmax(axis=1).astype(np.int32)
    write_test(folder / "test.safetensors", TestSet(pixels, labels))
    for number in range(1, clients + 1):
        noise = [draw.normal(scale=0.8 * number, size=shape).astype(np.float32) for shape in shapes]
        update = [weight + step for weight, step in zip(truth, noise, strict=True)]
        write_update(folder / f"{client_name(number)}.safetensors", update)
    write_round(
        folder, workspace, [workspace.key(client_name(number + 1)) for number in range(clients)], images
    )
    return folder


def make_graph_round(
    workspace: Workspace,
    graph: Graph,
    clients: int = 3,
    images: int = 40,
    seed: int = 0,
    *,
    real: bool = False,
) -> Path:
    """The same of a graph, whose labels are what the model says that all clients have begun with.

    Where outputs are `real`, targets are its outputs themselves, a little noisy. Of tokens some are not judged.
    """
    folder, draw = workspace.new_round(), np.random.default_rng(seed)
    (folder / "model.json").write_text(graph_text(graph))
    truth, inputs = drawn_weights(graph, draw), drawn_inputs(graph, images, draw)
    outputs = Passes(graph, NUMPY).outputs(
        {name: NUMPY.constant(tensor) for name, tensor in truth.items()},
        {name: NUMPY.constant(tensor) for name, tensor in inputs.items()},
    )
    labels = judged_by(graph, outputs, draw, real=real)
    first, *more = inputs.values()
    write_test(folder / "test.safetensors", TestSet(first, labels, tuple(more)), list(inputs))
    for number in range(1, clients + 1):
        noise, names = drawn_weights(graph, draw), graph.weight_names
        update = [truth[name] + np.float32(0.2 * number) * noise[name] for name in names]
        write_update(folder / f"{client_name(number)}.safetensors", update, names)
    keys = [workspace.key(client_name(number + 1)) for number in range(clients)]
    write_round(folder, workspace, keys, images)
    return folder


def make_game_round(workspace: Workspace, game: Game) -> Path:
    """The round of a graph's game, file by file."""
    folder, names = workspace.new_round(), game.graph.weight_names
    (folder / "model.json").write_text(graph_text(game.graph.graph))
    write_test(folder / "test.safetensors", game.test, [one.name for one in game.graph.graph.inputs])
    keys = [workspace.key(client_name(number + 1)) for number in range(game.clients)]
    for number, update in enumerate(game.updates, 1):
        write_update(folder / f"{client_name(number)}.safetensors", update, names)
    write_round(folder, workspace, keys, game.images)
    return folder


def judged_by(
    graph: Graph, outputs: npt.NDArray[np.float64], draw: np.random.Generator, *, real: bool = False
) -> Said:
    """Labels, labels of tokens, or targets that are near what these outputs say."""
    row = typed(graph)[graph.output].sizes[1:]
    if real:
        noisy = (outputs + 0.1 * draw.normal(size=outputs.shape)).astype(np.float32)
        return noisy[:, 1] if row == (1,) else noisy
    apart = outputs.reshape(len(outputs), *row) if len(row) > 1 else outputs
    labels = (apart - np.median(apart, axis=0)).argmax(axis=-1).astype(np.int32)
    if len(row) > 1:
        ignored = draw.random(labels.shape) < 0.3
        ignored[:, 0] = False
        labels[ignored] = IGNORED
    return np.asarray(labels)


def default_terms(maker: ChainMaker) -> AskedTerms:
    """What the default settings ask for."""
    return AskedTerms(load(None, {}, {}).settings, maker.server.address)


def write_round(
    folder: Path, workspace: Workspace, clients: list[KeyPair], images: int, **changes: Any
) -> None:
    """Write round.json of simulated `clients` over the files as they are; `changes` replace its fields."""
    names = [f"{client_name(number + 1)}.safetensors" for number in range(len(clients))]
    model, test = (digest((folder / name).read_bytes()) for name in ("model.json", "test.safetensors"))
    updates = [
        {
            "file": name,
            "digest": digest((folder / name).read_bytes()),
            "client": key.address,
            "examples": 100 * number,
            "signature": None,
        }
        for number, (key, name) in enumerate(zip(clients, names, strict=True), 1)
    ]
    fields = {
        "schema": SCHEMA,
        "call": None,
        "model": model,
        "test": test,
        "images": images,
        "aggregation": "mean",
        "frozen": None,
        "recipe": None,
        "genesis": workspace.genesis().id,
        "updates": updates,
    }
    (folder / "round.json").write_text(json.dumps(fields | changes, indent=1))


def model_json(classes: int = CLASSES) -> dict[str, Any]:
    """Flatten, Dense with ReLU, Dense."""
    layers = [
        _layer("InputLayer", batch_shape=[None, SIDE, SIDE]),
        _layer("Flatten"),
        _layer("Dense", units=UNITS, activation="relu"),
        _layer("Dense", units=classes, activation="linear"),
    ]
    config = {"name": "small", "layers": layers}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}


def _layer(name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": name, "config": config, "registered_name": None}
