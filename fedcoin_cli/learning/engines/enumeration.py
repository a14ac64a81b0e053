"""All coalitions of a game counted one by one, in steps: what `cube` is where it does not suit the model."""

import os
import time
from pathlib import Path
from typing import Final

import numpy as np

from fedcoin_cli.learning.coalitions.walks import Counts
from fedcoin_cli.learning.game.utility import Utility

STEP_S: Final = 0.1
"""About how long a step takes: whoever mines looks for other work in between."""
SAMPLE_S: Final = 0.2
"""After so long the speed tells how long all will take."""


class Enumerating:
    """Counts of the masks 1..2^K−1, ascending: neighbours share most of their members.

    Args:
        utility: what counts.
        clients: K, at most `exact.MAX_EXACT_CLIENTS`.
        whole: what a coalition is worth at most.
    """

    def __init__(self, utility: Utility, clients: int, whole: int) -> None:
        self.done, self.total = 0, (1 << clients) - 1
        self._utility, self._whole = utility, whole
        self._kind = np.dtype(np.int32 if whole < 1 << 31 else np.int64)
        self._counts = np.zeros(self.total, self._kind)
        self._taken_s, self._counted = 0.0, 0

    def step(self) -> None:
        """Count for about `STEP_S` seconds."""
        began = time.monotonic()
        while self.done < self.total:
            stop = min(self.done + self._utility.batch, self.total)
            self._counts[self.done : stop] = self._utility.counts(range(self.done + 1, stop + 1))
            self._counted += stop - self.done
            self.done = stop
            if time.monotonic() - began >= STEP_S:
                break
        self._taken_s += time.monotonic() - began

    def seconds_left(self) -> float | None:
        """By the speed so far; None before there is enough of it."""
        if self.done == self.total:
            return 0.0
        return None if self._taken_s < SAMPLE_S else self._taken_s * (self.total - self.done) / self._counted

    def counts(self) -> Counts:
        """u(mask) for the masks 1..2^K−1, once all are done."""
        assert self.done == self.total
        return self._counts.astype(np.int64)

    # A crash ----------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Keep the counts in a file, at once; a full or read-only disk loses nothing but the file."""
        draft = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with draft.open("wb") as file:
                np.save(file, self._counts[: self.done])
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)

    def restore(self, path: Path) -> None:
        """Take over the counts that `save` has left, if there are any and they can be of this game."""
        try:
            kept = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return
        fits = kept.dtype == self._kind and kept.ndim == 1 and 0 < len(kept) <= self.total
        if fits and kept.min() >= 0 and kept.max() <= self._whole:
            self._counts[: len(kept)] = kept
            self.done = len(kept)
