"""Every count that a miner has evaluated, so that no coalition is evaluated twice, not even after a crash."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.mining.exact import MAX_EXACT_CLIENTS

_UNKNOWN = -1


class Memo:
    """u by mask: an array over all masks where K is small enough to enumerate them, a dictionary above."""

    def __init__(self, clients: int) -> None:
        self.clients = clients
        self._size = 0
        self._all = np.full(1 << clients, _UNKNOWN, np.int32) if clients <= MAX_EXACT_CLIENTS else None
        self._some: dict[int, int] = {}

    def __len__(self) -> int:
        return self._size

    def __contains__(self, mask: int) -> bool:
        return mask in self._some if self._all is None else bool(self._all[mask] != _UNKNOWN)

    def store(self, masks: Sequence[int], counts: npt.NDArray[np.int64]) -> None:
        """Remember counts of masks that are not here yet."""
        self._size += len(masks)
        if self._all is None:
            self._some.update(zip(masks, counts.tolist(), strict=True))
        else:
            self._all[list(masks)] = counts

    def fill(self, counts: npt.NDArray[np.int64]) -> None:
        """Take over the counts of the masks 1..2^K−1, in place of all that are here."""
        assert self._all is not None
        self._all[1:] = counts
        self._size = len(counts)

    def select(self, masks: Sequence[int]) -> Mapping[int, int]:
        """The counts of these masks, all of which must be known."""
        if self._all is None:
            return {mask: self._some[mask] for mask in masks}
        return dict(zip(masks, self._all[list(masks)].tolist(), strict=True))

    def differing(
        self,
        masks: Sequence[int],
        counts: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float64],
        limit: int,
    ) -> list[int]:
        """Of these masks those known here with another count, the largest weight × difference first."""
        own = self.counts(masks)
        gap = np.where(own == _UNKNOWN, 0, np.abs(own - counts)) * weights
        order = np.argsort(-gap, kind="stable")[:limit]
        return [masks[place] for place in order.tolist() if gap[place]]

    def known(self, masks: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Which of these masks have been evaluated here."""
        known: npt.NDArray[np.bool_] = self.counts(masks) != _UNKNOWN
        return known

    def counts(self, masks: Sequence[int]) -> npt.NDArray[np.int64]:
        """Their counts, −1 where one is not known."""
        if self._all is None:
            return np.array([self._some.get(mask, _UNKNOWN) for mask in masks], np.int64)
        return self._all[list(masks)].astype(np.int64)

    def unknown(self, start: int, limit: int) -> tuple[list[int], int]:
        """Up to `limit` unknown masks from `start` on, ascending, and where to look on (2^K: none is left)."""
        assert self._all is not None
        found: list[int] = []
        window = max(4 * limit, 1 << 12)
        while start < len(self._all):
            hits = start + np.flatnonzero(self._all[start : start + window] == _UNKNOWN)[: limit - len(found)]
            found += hits.tolist()
            if len(found) == limit:
                return found, found[-1] + 1
            start += window
        return found, len(self._all)

    def exact(self) -> npt.NDArray[np.int64] | None:
        """The counts of the masks 1..2^K−1, once all are known."""
        if self._all is None or self._size < (1 << self.clients) - 1:
            return None
        return self._all[1:].astype(np.int64)

    def save(self, path: Path) -> None:
        """Keep the counts in a file, at once and only where all masks are few enough to be enumerated.

        A full or read-only disk loses nothing but the file.
        """
        if self._all is None:
            return
        draft = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with draft.open("wb") as file:
                np.save(file, self._all)
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)

    def restore(self, path: Path, images: int) -> None:
        """Take over the counts that `save` has left, if there are any and they can be of this game."""
        if self._all is None:
            return
        try:
            kept = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return
        if kept.dtype != np.int32 or kept.shape != self._all.shape or kept[0] != _UNKNOWN:
            return
        if kept.min() >= _UNKNOWN and kept.max() <= images:
            self._all = kept
            self._size = int((kept != _UNKNOWN).sum())
