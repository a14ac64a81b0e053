"""Tiny rounds: a round directory of a few kilobytes, made without training."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fedcoin_cli.application.rounds.files import SCHEMA
from fedcoin_cli.application.workspace.workspace import Workspace, client_name
from fedcoin_cli.learning.model.weights import TestSet, write_test, write_update
from ledger_store.base.canonical import digest
from ledger_store.base.names import Digest

SIDE, UNITS, CLASSES, IMAGES = 4, 6, 3, 60
SHAPES = ((SIDE * SIDE, UNITS), (UNITS,), (UNITS, CLASSES), (CLASSES,))


def make_tiny_round(workspace: Workspace, clients: int, seed: int) -> Path:
    """A new round of the workspace's first `clients` client keys, its files unlike those of other seeds."""
    folder, draw = workspace.new_round(), np.random.default_rng(seed)
    (folder / "model.json").write_text(json.dumps(_model()))
    truth = [draw.normal(size=shape).astype(np.float32) for shape in SHAPES]
    pixels = draw.random((IMAGES, SIDE, SIDE), dtype=np.float32)
    hidden = np.maximum(pixels.reshape(IMAGES, -1) @ truth[0] + truth[1], 0)
    labels = (hidden @ truth[2] + truth[3]).argmax(axis=1).astype(np.int32)
    write_test(folder / "test.safetensors", TestSet(pixels, labels))
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "call": None,
        "model": _digest(folder / "model.json"),
        "test": _digest(folder / "test.safetensors"),
        "images": IMAGES,
        "aggregation": "mean",
        "genesis": workspace.genesis().id,
        "frozen": None,
        "recipe": None,
        "updates": [],
    }
    for number in range(1, clients + 1):
        noise = [draw.normal(scale=0.3 * number, size=shape).astype(np.float32) for shape in SHAPES]
        update = [weight + step for weight, step in zip(truth, noise, strict=True)]
        document["updates"].append(_update(workspace, folder, number, update))
    (folder / "round.json").write_text(json.dumps(document))
    return folder


def _update(workspace: Workspace, folder: Path, number: int, update: list[Any]) -> dict[str, Any]:
    key, path = workspace.key(client_name(number)), folder / f"{client_name(number)}.safetensors"
    write_update(path, update)
    return {
        "file": path.name,
        "digest": _digest(path),
        "client": key.address,
        "examples": 100,
        "signature": None,
    }


def _digest(path: Path) -> Digest:
    return digest(path.read_bytes())


def _model() -> dict[str, Any]:
    layers = [
        _layer("InputLayer", batch_shape=[None, SIDE, SIDE]),
        _layer("Flatten"),
        _layer("Dense", units=UNITS, activation="relu"),
        _layer("Dense", units=CLASSES, activation="linear"),
    ]
    return {"module": "keras", "class_name": "Sequential", "config": {"layers": layers}}


def _layer(name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": name, "config": config}
