"""The folder and the recipe of the round that became a task, where this workspace keeps it: found by files' digests."""

import json
from pathlib import Path
from typing import Any

from fedcoin_cli.application.rounds.files import ROUND_NAME
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.transaction import Task


def recipe_of(workspace: Workspace, task: Task) -> dict[str, Any] | None:
    """What `train` wrote down of how these updates were made; None for real clients, and where no round is kept."""
    found = _recalled(workspace, task)
    return None if found is None or not isinstance(found[1], dict) else found[1]


def folder_of(workspace: Workspace, task: Task) -> Path | None:
    """The folder of the round that became this task; None where it is not kept."""
    found = _recalled(workspace, task)
    return None if found is None else found[0]


def _recalled(workspace: Workspace, task: Task) -> tuple[Path, Any] | None:
    digests = [update.digest for update in task.updates]
    for path in sorted(workspace.rounds.glob(f"*/{ROUND_NAME}")):
        try:
            document = json.loads(path.read_bytes())
            made = [update["digest"] for update in document["updates"]]
            recipe = document["recipe"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another program's, or damaged: publish would refuse it
        if made == digests and document.get("test") == task.test:
            return path.parent, recipe
    return None
