"""The file of walked rankings: what one miner has counted so far of one task, kept over a crash of its process."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedcoin_cli.learning.shapley.table import Entries, TableTerms


class KeptWalks:
    """A file that grows by what was walked since the last time: always the first rankings, each of them whole."""

    def __init__(self, terms: TableTerms) -> None:
        # How many rankings are in the file; None where none can be written.
        self.saved: int | None = 0
        # K, and what each block is worth at most: no count can be greater. Entries are kept as in a table.
        self._terms = terms
        # Entries of one ranking in all blocks.
        self._each = len(terms.sizes) * (terms.clients - 1)

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
            kept = np.fromfile(path, self._terms.kind)
        except OSError:
            return None
        count = min(len(kept) // max(1, self._each), most)
        shape = (count, len(self._terms.sizes), self._terms.clients - 1)
        counts = kept[: count * self._each].reshape(shape).transpose(1, 0, 2)
        return None if (counts > self._terms.sizes.astype(np.uint64)[:, None, None]).any() else counts

    def _is_whole(self, path: Path) -> bool:
        """Whether a file is as the last save left it."""
        size = (self.saved or 0) * self._each * np.dtype(self._terms.kind).itemsize
        return path.is_file() and path.stat().st_size == size
