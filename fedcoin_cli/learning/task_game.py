"""From a task on the ledger and its files to a game, and whether miners may admit it.

Where the files are is the caller's business; what is mined or checked with the game lives elsewhere.
"""

from collections.abc import Callable
from pathlib import Path

from fedcoin_cli.learning.game.game import Game, RoundFiles
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.reference.update_admission import Refusal
from ledger_store.base.names import Digest
from ledger_store.transaction import Task

Locate = Callable[[Digest], Path]
"""Where the file of a digest is."""


def load_game(task: Task, locate: Locate) -> Game:
    """The game that a task describes; raises `RoundFilesInvalid` when a file is not what the model demands."""
    files = RoundFiles(
        model=locate(task.model),
        test=locate(task.test),
        updates=tuple(locate(update.digest) for update in task.updates),
        baseline=None if task.baseline is None else locate(task.baseline),
    )
    weights = None if task.aggregation == "mean" else [update.examples for update in task.updates]
    return Game.load(files, weights, task.empty)


def refused_terms(task: Task, reference: Reference) -> str | None:
    """Why the files are not what the task says, but for its updates [P-6.3]."""
    game = reference.game
    if game.images != task.images:
        return f"the test set has {game.images} images, the task says {task.images}"
    if game.baseline is not None:
        lo, hi = Reference(game.of_update(game.baseline)).interval(1)
        if not lo <= task.empty <= hi:
            return f"the baseline labels {lo} to {hi} images correctly, the task says {task.empty}"
    return None


def told(refused: Refusal | None) -> str | None:
    """A refusal in words."""
    return None if refused is None else str(refused)
