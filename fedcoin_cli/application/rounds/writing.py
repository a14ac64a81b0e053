"""Writing a round of simulated clients: model, test set and updates as files, their keys, and `round.json` last.

Nobody signs anything yet: `publish` does for these clients, by the keys that are made here, what is then asked for. An
interrupted writer leaves no round that looks whole. Whether a round is sound is for its reader to say (`files`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcoin_cli.application.rounds.files import (
    FROZEN_NAME,
    INITIAL_NAME,
    MODEL_NAME,
    ROUND_NAME,
    SCHEMA,
    TEST_NAME,
)
from fedcoin_cli.application.workspace.workspace import Workspace, client_name
from fedcoin_cli.learning.model.reading import read_model
from fedcoin_cli.learning.model.weights import TestSet, Weights, write_test, write_update
from ledger_store.base import disk
from ledger_store.base.canonical import digest
from ledger_store.identity.keyfile import save_key
from ledger_store.identity.keys import KeyPair


@dataclass(frozen=True, slots=True)
class Parts:
    """What a round is made of: a model's JSON, the test set, and each client's weights and number of examples.

    `recipe` tells people how the weights came about; None where nobody says. `initial` are the weights that all began
    with, kept beside the updates for whoever inspects them; no miner gets them. `frozen` are what the model freezes.
    """

    model_json: str
    test: TestSet
    updates: Sequence[tuple[Weights, int]]
    aggregation: str
    recipe: dict[str, Any] | None = None
    initial: Weights | None = None
    frozen: Weights = ()


def write_round(workspace: Workspace, folder: Path, parts: Parts) -> dict[str, Any]:
    """Write a round into the empty `folder`; returns what `round.json` holds. Equal parts give equal files."""
    (folder / MODEL_NAME).write_text(parts.model_json, "utf-8")
    model = read_model(parts.model_json)
    write_test(folder / TEST_NAME, parts.test, [each.name for each in model.inputs])
    if parts.initial is not None:
        write_update(folder / INITIAL_NAME, parts.initial, model.weight_names)
    if parts.frozen:
        write_update(folder / FROZEN_NAME, parts.frozen, [each.name for each in model.frozen])
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "genesis": workspace.genesis().id,
        "call": None,
        "frozen": _digest(folder / FROZEN_NAME) if parts.frozen else None,
        "model": _digest(folder / MODEL_NAME),
        "test": _digest(folder / TEST_NAME),
        "images": len(parts.test),
        "aggregation": parts.aggregation,
        "recipe": parts.recipe,
    }
    document["updates"] = [
        _entry(
            folder / update_name(number), client_key(workspace, number), weights, examples, model.weight_names
        )
        for number, (weights, examples) in enumerate(parts.updates, 1)
    ]
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    disk.put_in_place(disk.stage(folder / ROUND_NAME, text.encode("ascii")), folder / ROUND_NAME)
    return document


def update_name(number: int) -> str:
    """The file of client `number`, from 1."""
    return f"{client_name(number)}.safetensors"


def client_key(workspace: Workspace, number: int) -> KeyPair:
    """The key of simulated client `number`, made when the workspace has none yet."""
    path = workspace.key_file(client_name(number))
    if not path.exists():
        save_key(path, KeyPair.generate())
    return workspace.key(client_name(number))


def _entry(path: Path, key: KeyPair, weights: Weights, examples: int, names: Sequence[str]) -> dict[str, Any]:
    write_update(path, weights, names)
    return {
        "file": path.name,
        "digest": _digest(path),
        "client": key.address,
        "examples": examples,
        "signature": None,
    }


def _digest(path: Path) -> str:
    return digest(path.read_bytes())
