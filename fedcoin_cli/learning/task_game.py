"""From a task on the ledger and its files to a game, and whether miners may admit it.

Where the files are is the caller's business; what is mined or checked with the game lives elsewhere.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fedcoin_cli.contract.metric import Family, Metric, metric_of
from fedcoin_cli.contract.possession import held_by
from fedcoin_cli.learning.coalitions.partition import Partition, block_sizes, partition
from fedcoin_cli.learning.game.game import Game, RoundFiles
from fedcoin_cli.learning.metrics.choice import scorer, scorer_of
from fedcoin_cli.learning.metrics.nobody import bounds_of
from fedcoin_cli.learning.metrics.scorer import Scorer
from fedcoin_cli.learning.model.truth import strata
from fedcoin_cli.learning.model.weights import read_labels
from fedcoin_cli.learning.reference.referee import Referee, reference_for
from fedcoin_cli.learning.reference.update_admission import Refusal
from fedcoin_cli.learning.shapley.table import TableTerms
from ledger_store.base.errors import RoundFilesInvalid
from ledger_store.base.names import Digest
from ledger_store.transaction import CHANCE, Task

Locate = Callable[[Digest], Path]
"""Where the file of a digest is."""


def load_game(task: Task, locate: Locate) -> Game:
    """The game that a task describes [P-6.27].

    Raises:
        RoundFilesInvalid: a file is not what the model demands, or the task's metric does not fit them, or who asks
            has not shown to have them.
    """
    _check_held(task, locate)
    files = RoundFiles(
        model=locate(task.model),
        test=locate(task.test),
        updates=tuple(locate(update.digest) for update in task.updates),
        baseline=None if task.named is None else locate(task.named),
        frozen=None if task.frozen is None else locate(task.frozen),
    )
    weights = None if task.aggregation == "mean" else [update.examples for update in task.updates]
    loaded = Game.load(files, weights, task.empty).merged(task.members.values())
    game = replace(loaded, metric=metric_of(task), chance=task.baseline == CHANCE)
    scorer_of(game)
    return game.played()


def _check_held(task: Task, locate: Locate) -> None:
    try:
        held = held_by(task.sender, map(locate, task.called_files))
    except OSError as error:
        raise RoundFilesInvalid(f"cannot read it: {error.strerror}", where=str(error.filename)) from error
    if held != task.held:
        message = "who asks for this task has not shown to have the files that its call names"
        raise RoundFilesInvalid(message, where=str(locate(task.test)))


def refused_terms(task: Task, reference: Referee) -> str | None:
    """Why the files are not what the task says, but for its updates [P-6.3] [P-6.19]."""
    game, whole = reference.game, reference.scorer.whole
    if game.images != task.images:
        return f"the test set has {game.images} images, the task says {task.images}"
    if whole != task.whole:
        return f"a perfect model is worth {whole} by {task.metric}, the task says {task.whole}"
    lo, _, hi = nobody_is_worth(game)
    if not lo <= task.empty <= hi:
        return f"nobody is worth {lo} to {hi}, the task says {task.empty}"
    return None


def blocks_of(task: Task, game: Game) -> Partition:
    """The task's test images in blocks, one of all where its metric is no sum over images [P-6.15]."""
    size = task.block_images if game.metric.sums else game.images
    return partition(game.test.strata, size, bytes.fromhex(task.id))


def table_terms(task: Task, scorer: Scorer, blocks: Partition) -> TableTerms:
    """What the task's tables are read against."""
    return TableTerms.of(task, scorer.wholes([blocks.block(number) for number in range(len(blocks))]))


def terms_without_files(task: Task, test: Path | None) -> TableTerms:
    """The same without loading the game; the test set is needed where a block's worth follows from its labels.

    Raises:
        RoundFilesInvalid: the file holds no labels.
    """
    metric = metric_of(task)
    sizes = block_sizes(task.images, task.block_images if metric.sums else task.images)
    if test is not None:
        labels = read_labels(test)
        blocks = partition(strata(labels), task.block_images, bytes.fromhex(task.id))
        judge = scorer(metric, labels, int(labels.max()) + 1)
        sizes = judge.wholes([blocks.block(number) for number in range(len(blocks))])
    elif metric.family is not Family.counts:
        sizes = sizes * (task.whole // task.images) if metric.sums else np.array([task.whole])
    return TableTerms.of(task, sizes)


def worth(
    metric: Metric, files: tuple[Path, Path, Path | None], baseline: Path | None, *, chance: bool
) -> tuple[int, int]:
    """What a perfect model and nobody are worth on a round's model, test set and frozen weights, before any update.

    Raises:
        RoundFilesInvalid: a file is not what the model demands, or the metric does not fit them.
    """
    model, test, frozen = files
    loaded = Game.load(RoundFiles(model, test, (), baseline, frozen))
    game = replace(loaded, metric=metric, chance=chance).played()
    return scorer_of(game).whole, nobody_is_worth(game)[1]


def nobody_is_worth(game: Game) -> tuple[int, int, int]:
    """lo, u(∅) and hi on all images."""
    if game.baseline is not None:
        found = reference_for(game.of_update(game.baseline)).intervals([1])[0]
        return found.lo, found.count, found.hi
    lo, own, hi = bounds_of(game, [np.arange(game.images)])[0].tolist()
    return lo, own, hi


def told(refused: Refusal | None) -> str | None:
    """A refusal in words."""
    return None if refused is None else str(refused)
