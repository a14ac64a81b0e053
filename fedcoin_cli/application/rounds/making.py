"""Making a round: K simulated clients train; the files that `publish` reads are written.

Nobody signs anything yet: `publish` does for these clients, by the keys that are made here, what is then asked for.
`round.json` is written last, so an interrupted `train` leaves no round that looks whole. The training itself is
`learning.training`'s business, reading a round `round_files`'.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedcoin_cli.application.rounds.files import MODEL_NAME, ROUND_NAME, SCHEMA, TEST_NAME
from fedcoin_cli.application.rounds.recipe import Recipe, told
from fedcoin_cli.application.workspace.workspace import Workspace, client_name
from fedcoin_cli.learning.model.weights import write_test, write_update
from fedcoin_cli.learning.simulation.training import Descent, Update, train_round
from ledger_store.base import disk
from ledger_store.base.canonical import digest
from ledger_store.identity.keyfile import save_key
from ledger_store.identity.keys import KeyPair


def make_round(
    workspace: Workspace, folder: Path, recipe: Recipe, report: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Train and write a round into the empty `folder`; returns what `round.json` holds.

    Equal recipes give equal files on one machine.
    """
    trained = train_round(
        recipe.dataset,
        recipe.split,
        recipe.clients,
        epochs=recipe.epochs,
        descent=Descent(recipe.rate, recipe.batch, recipe.start),
        seed=recipe.seed,
        model=recipe.model,
        report=report,
    )
    (folder / MODEL_NAME).write_text(trained.model_json, "utf-8")
    write_test(folder / TEST_NAME, recipe.dataset.test)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "genesis": workspace.genesis().id,
        "call": None,
        "model": _digest(folder / MODEL_NAME),
        "test": _digest(folder / TEST_NAME),
        "images": len(recipe.dataset.test),
        "aggregation": recipe.aggregation,
        "recipe": told(recipe, trained),
    }
    document["updates"] = [
        _entry(folder, number, update, client_key(workspace, number))
        for number, update in enumerate(trained.updates, 1)
    ]
    _write(folder, document)
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


def _entry(folder: Path, number: int, update: Update, key: KeyPair) -> dict[str, Any]:
    path = folder / update_name(number)
    write_update(path, update.weights)
    return {
        "file": path.name,
        "digest": _digest(path),
        "client": key.address,
        "examples": update.examples,
        "signature": None,
    }


def _digest(path: Path) -> str:
    return digest(path.read_bytes())


def _write(folder: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    disk.put_in_place(disk.stage(folder / ROUND_NAME, text.encode("ascii")), folder / ROUND_NAME)
