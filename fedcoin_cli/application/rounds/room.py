"""How many coalitions RUNTIME has room for on a machine like this one, told before any price is locked."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any, Final

from fedcoin_cli.contract.metric import metric_of
from fedcoin_cli.learning.coalitions.exact import MAX_EXACT_CLIENTS
from fedcoin_cli.learning.shapley.sampling import SAFE_SHARE
from fedcoin_cli.learning.task_game import load_game
from fedcoin_cli.learning.trial_count import Trial, trial_count
from ledger_store.base.names import Digest
from ledger_store.transaction import Task

USEFUL_RANKINGS: Final = 10
"""With fewer the values of clients of unlike data lie points apart from miner to miner (docs/adr/0033)."""


@dataclass(frozen=True, slots=True)
class Room:
    """What fits into RUNTIME, where a coalition takes as long as in a trial."""

    task: Task
    trial: Trial

    @property
    def coalitions(self) -> int:
        """So many on all images."""
        return int(self.task.runtime_ms / 1000 / self.trial.seconds)

    @property
    def rankings(self) -> int:
        """So many rankings of every block."""
        return min(self.task.most_rankings, self.coalitions // max(1, self.task.clients - 1))

    @property
    def exact(self) -> bool:
        """Whether all coalitions fit."""
        return self._all is not None and self._all <= SAFE_SHARE * self.coalitions

    @property
    def scarce(self) -> bool:
        """Whether that is too little for values that say much."""
        return not self.exact and self.rankings < min(USEFUL_RANKINGS, self.task.most_rankings)

    @property
    def _all(self) -> int | None:
        clients = self.task.clients
        return (1 << clients) - 1 if clients <= MAX_EXACT_CLIENTS else None

    @property
    def words(self) -> str:
        """What fits."""
        task = self.task
        fits = f"about {self.coalitions:,} coalitions fit into {task.runtime_ms / 1000:g} s of mining"
        what = f"{self.rankings} {'ranking' if self.rankings == 1 else 'rankings'} of {task.clients} clients"
        if self.exact:
            what = f"all {self._all:,} of {task.clients} clients, so values will be exact"
        return f"{fits} on one core like this one's: {what}"

    @property
    def advice(self) -> str:
        """What to do where it is too little."""
        few = "values would say little"
        if self.rankings < self.task.least_rankings:
            few = "miners like this machine would have no estimate in time, and the price would come back"
        longer = f"--runtime {self._seconds_for(USEFUL_RANKINGS * max(1, self.task.clients - 1)):,}"
        ways = [f"{longer} has room for {USEFUL_RANKINGS} rankings"]
        if self._all is not None and (exact := ceil(self._all / SAFE_SHARE)) <= 40 * self.task.clients:
            ways.append(f"--runtime {self._seconds_for(exact):,} for exact values")
        if not self.trial.compiled and find_spec("keras") is None:
            ways.append("miners with Keras may be quicker: pip install 'fedcoin[mine]'")
        return f"{few}: {', '.join(ways)}"

    def _seconds_for(self, coalitions: int) -> int:
        return max(1, ceil(1.1 * coalitions * self.trial.seconds))

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "coalitions": self.coalitions,
            "rankings": self.rankings,
            "exact": self.exact,
            "scarce": self.scarce,
        }


def room_for(task: Task, paths: Mapping[Digest, Path]) -> Room | None:
    """Try it on a few of the round's images; some tenths of a second beside reading the files.

    None where this machine cannot tell: it has no C kernel, which miners count this round with. Raises
    `RoundFilesInvalid`.
    """
    game = load_game(task, paths.__getitem__)
    size = task.block_images if metric_of(task).sums else task.images
    trial = trial_count(game, task.id, size)
    return None if trial is None else Room(task, trial)
