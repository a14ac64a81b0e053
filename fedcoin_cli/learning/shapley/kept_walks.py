"""The file of walked rankings: what one miner has counted so far of one task, kept over a crash of its process."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.walks import Counts
from fedcoin_cli.learning.shapley.table import Entries


class KeptWalks:
    """A file that grows by what was walked since the last time: always the first rankings, each of them whole."""

    def __init__(self, sizes: Counts, clients: int, kind: npt.DTypeLike) -> None:
        # How many rankings are in the file; None where none can be written.
        self.saved: int | None = 0
        # What each block reaches at most: no count can be greater.
        self._sizes = sizes.astype(np.uint64)
        # How an entry is kept: as in a table.
        self._kind = np.dtype(kind)
        # How many coalitions a ranking counts in a block.
        self._steps = clients - 1
        # Entries of one ranking in all blocks.
        self._row_bytes = len(sizes) * self._steps * self._kind.itemsize

    def save(self, path: Path, walked: Sequence[Entries]) -> None:
        """Add to the file what it lacks; a full or read-only disk loses nothing but it."""
        if self.saved is None or self.saved == sum(counts.shape[1] for counts in walked):
            return
        try:
            # Whoever swept or cut it meanwhile has it written anew: what it holds is always the first rankings.
            saved = self.saved if self._is_whole(path) else 0
            with path.open("ab" if saved else "wb") as file:
                done = 0
                for counts in walked:  # each part is whole in the file, or not in it
                    if done >= saved:
                        file.write(np.ascontiguousarray(counts.transpose(1, 0, 2)).tobytes())
                    done += counts.shape[1]
            self.saved = done
        except OSError:
            path.unlink(missing_ok=True)
            self.saved = None

    def read(self, path: Path, most: int) -> Entries | None:
        """The counts of the first rankings, at most so many; None where the file is missing or of another game."""
        try:
            kept = np.fromfile(path, self._kind)
        except OSError:
            return None
        each = len(self._sizes) * self._steps
        count = min(len(kept) // max(1, each), most)
        rows = kept[: count * each].reshape(count, len(self._sizes), self._steps)
        counts = rows.transpose(1, 0, 2)
        return None if (counts > self._sizes[:, None, None]).any() else counts

    def _is_whole(self, path: Path) -> bool:
        """Whether a file is as the last save left it."""
        return path.is_file() and path.stat().st_size == (self.saved or 0) * self._row_bytes
