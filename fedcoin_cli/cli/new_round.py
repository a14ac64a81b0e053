"""The folder of a round that a command is about to write: an empty one, gone again when the round is refused."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.errors import FedCoinError, RoundFilesInvalid


@contextmanager
def new_round(workspace: Workspace, output: Path | None) -> Iterator[Path]:
    """The next folder under rounds/, or `output`; raises `RoundFilesInvalid` where files stand.

    No empty folder stays behind a round that is refused: it would count as the newest one.
    """
    folder = workspace.new_round() if output is None else _empty(output)
    try:
        yield folder
    except FedCoinError:
        with suppress(OSError):
            folder.rmdir()
        raise


def _empty(folder: Path) -> Path:
    """An empty folder, made when missing; files that stand there are nobody's to overwrite."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        hint = "name another folder, or leave -o out"
        raise RoundFilesInvalid("this folder is not empty", where=str(folder), hint=hint)
    return folder
