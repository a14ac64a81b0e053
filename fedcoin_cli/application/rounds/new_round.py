"""The folder of a round that is about to be written: an empty one, gone again when no round comes of it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.errors import RoundFilesInvalid


@contextmanager
def new_round(workspace: Workspace, output: Path | None) -> Iterator[Path]:
    """The next folder under rounds/, or `output`; raises `RoundFilesInvalid` where there are files.

    Nothing stays behind a round that was refused or interrupted; what a killed process leaves is not a round either, as
    `Workspace.latest_round` sees it.
    """
    folder = workspace.new_round() if output is None else _empty(output)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _empty(folder: Path) -> Path:
    """An empty folder, made when missing; files that are there already are nobody's to overwrite."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        hint = "name another folder, or leave -o out"
        raise RoundFilesInvalid("this folder is not empty", where=str(folder), hint=hint)
    return folder
