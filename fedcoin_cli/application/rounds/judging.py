"""By what a round is judged: the settings' metric and baseline, and what a perfect model and nobody are worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from fedcoin_cli.application.books.task_report import as_points
from fedcoin_cli.application.workspace.settings import TaskSettings
from fedcoin_cli.contract.metric import ACCURACY, read_metric
from ledger_store.base.amount import MICRO
from ledger_store.base.canonical import digest
from ledger_store.base.errors import RoundFilesInvalid, SettingsError
from ledger_store.base.names import Digest
from ledger_store.transaction import CHANCE, ZERO, Baseline, Task


@dataclass(frozen=True, slots=True)
class Judged:
    """The terms of a task that say what coalitions are worth; `named` is the baseline's file, where it is one."""

    metric: str
    baseline: Baseline
    whole: int
    empty: int
    named: Path | None = None


@dataclass(frozen=True, slots=True)
class Foresight:
    """What a task will distribute, known before any price is locked: u of nobody and of all together, of a whole."""

    nobody: Fraction
    together: Fraction
    difficulty_micro: int

    @property
    def gain(self) -> Fraction:
        """What there is to distribute, in percentage points."""
        return 100 * (self.together - self.nobody)

    @property
    def points(self) -> str:
        """The same as text."""
        return as_points(self.gain)

    @property
    def loose(self) -> bool:
        """Whether values that sum to this lie within D of nothing at all, unless some are below 0."""
        return self.gain * MICRO <= self.difficulty_micro


def foresee(task: Task, paths: Mapping[Digest, Path]) -> Foresight:
    """Count the two coalitions that say how much there is to distribute; a few seconds for large rounds."""
    from fedcoin_cli.learning.reference.referee import reference_for
    from fedcoin_cli.learning.task_game import load_game

    game = load_game(task, paths.__getitem__)
    together = reference_for(game).count(game.full)
    return Foresight(Fraction(task.empty, task.whole), Fraction(together, task.whole), task.difficulty_micro)


def baseline_of(settings: TaskSettings) -> tuple[Baseline, Path | None]:
    """The baseline as a task has it, and its file; raises `SettingsError` where there is no such file."""
    for word in (ZERO, CHANCE):
        if settings.baseline == word:
            return word, None
    path = Path(settings.baseline)
    try:
        return digest(path.read_bytes()), path
    except OSError as error:
        hint = "zero, chance, or a .safetensors file of weights, as fedcoin model aggregate writes them"
        message = f"there is no baseline {settings.baseline!r}: {error.strerror}"
        raise SettingsError(message, where="task.baseline", hint=hint) from error


def judged(settings: TaskSettings, files: tuple[Path, Path, Path | None], images: int) -> Judged:
    """What the settings make of a model's description, a test set and, where there are any, frozen weights.

    Raises:
        SettingsError: there is no such baseline.
        RoundFilesInvalid: the metric does not fit the files, or the baseline is another model's.
    """
    metric, (baseline, named) = read_metric(settings.metric), baseline_of(settings)
    # Here, because NumPy takes longer to import than most commands take to run.
    from fedcoin_cli.learning.model.truth import truth_of
    from fedcoin_cli.learning.model.weights import read_labels
    from fedcoin_cli.learning.task_game import worth

    if metric == ACCURACY and baseline == ZERO and truth_of(read_labels(files[1])) is metric.truth:
        return Judged(settings.metric, baseline, images, 0)
    try:
        whole, empty = worth(metric, files, named, chance=baseline == CHANCE)
    except RoundFilesInvalid as error:
        if named is None or error.where != str(named):
            raise
        hint = (
            "a baseline has the weights of the round's own model: fedcoin model aggregate writes such a file"
        )
        raise RoundFilesInvalid(error.message, where=str(named), hint=hint) from error
    return Judged(settings.metric, baseline, whole, empty, named)
