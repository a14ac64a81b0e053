"""What the folder of the round that became a task tells of it, where it is kept: found by the files' digests."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedcoin_cli.application.rounds.files import INITIAL_NAME, ROUND_NAME
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.transaction import Task


def recipe_of(workspace: Workspace, task: Task) -> dict[str, Any] | None:
    """What `train` wrote down of how these updates were made; None for real clients, and where no round is kept."""
    return next((recipe for _, recipe in _recalled(workspace, task) if isinstance(recipe, dict)), None)


def initial_of(workspace: Workspace, task: Task) -> Path | None:
    """The weights that all began with, where the folder of the round that became this task keeps them."""
    places = (folder / INITIAL_NAME for folder, _ in _recalled(workspace, task))
    return next((path for path in places if path.is_file()), None)


def _recalled(workspace: Workspace, task: Task) -> Iterator[tuple[Path, Any]]:
    digests = [update.digest for update in task.updates]
    for path in sorted(workspace.rounds.glob(f"*/{ROUND_NAME}")):
        try:
            document = json.loads(path.read_bytes())
            made = [update["digest"] for update in document["updates"]]
            recipe = document["recipe"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another program's, or damaged: publish would refuse it
        if made == digests and document.get("test") == task.test:
            yield path.parent, recipe
