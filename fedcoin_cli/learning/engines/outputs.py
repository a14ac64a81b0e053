"""What coalitions are worth from their outputs in float64: for metrics that the kernels do not count.

The outputs are the reference's own, without bounds, so whatever is scored here lies inside every interval. NumPy alone.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.coalitions.walks import Counts, Orders, members
from fedcoin_cli.learning.game.game import Floats, Game
from fedcoin_cli.learning.metrics.choice import scorer_of
from fedcoin_cli.learning.metrics.nobody import of_blocks
from fedcoin_cli.learning.metrics.scorer import Marks
from fedcoin_cli.learning.reference.aggregates import Aggregates
from fedcoin_cli.learning.reference.forward import FirstLayer
from fedcoin_cli.learning.reference.reference import upper_weights

_HELD_MARKS: Final = 1 << 24
_BATCH: Final = 64


class Outputs:
    """Outputs of one game's coalitions, scored by its metric."""

    def __init__(self, game: Game, first: FirstLayer | None = None) -> None:
        self.game, self.scorer = game, scorer_of(game)
        self._first = first or FirstLayer(game)
        self._aggregates = Aggregates(game.spec, upper_weights(game))

    def marks(self, shares: Floats, values: Floats, images: Counts) -> Marks:
        """What each of some images counts for aggregates (coalitions, K), from first values (K, units, images)."""
        size = self._aggregates.masks
        parts = []
        for start in range(0, len(shares), size):
            rows = shares[start : start + size]
            outputs = self._aggregates.logits(rows, self._aggregates.layers(rows), values)
            parts.append(self.scorer.marks(outputs, images))
        return np.concatenate(parts)

    def on_all_images(self, shares: Floats) -> Counts:
        """u of aggregates (coalitions, K) on all images."""
        found, places = [], []
        for index, (_, positions) in enumerate(self._first.chunks):
            found.append(self.marks(shares, self._first.block(index), positions))
            places.append(positions)
        return self.scorer.worth(np.concatenate(found, axis=1), np.concatenate(places))


class OutputEngine(Outputs):
    """What whole coalitions are worth on all images; a `Utility`."""

    def __init__(self, game: Game, first: FirstLayer | None = None) -> None:
        super().__init__(game, first)
        self.batch = max(1, min(_BATCH, _HELD_MARKS // game.images))

    def counts(self, masks: Sequence[int]) -> Counts:
        """u(mask) for each non-empty mask, in order."""
        parts = [
            self._counts(masks[start : start + self.batch]) for start in range(0, len(masks), self.batch)
        ]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def _counts(self, masks: Sequence[int]) -> Counts:
        return self.on_all_images(self.game.shares(masks))


class OutputWalker(Outputs):
    """The same along rankings, block by block; a `Walker`."""

    def __init__(self, game: Game, partition: Partition, first: FirstLayer | None = None) -> None:
        super().__init__(game, first)
        self._partition = partition
        self._ends = self._found_ends()

    def ends(self) -> tuple[Counts, Counts]:
        """u(∅) and u(full) of each block, (blocks,)."""
        return self._ends

    def walk(self, blocks: range, walked: Orders) -> Counts:
        """u (blocks, rankings, K − 1) of the proper coalitions on the way of rankings (blocks, rankings, K)."""
        shape = (len(blocks), walked.shape[1], self.game.clients - 1)
        found = np.empty(shape, np.int64)
        for row, block in enumerate(blocks):
            shares = self.game.shares_of(members(walked[row]).reshape(-1, self.game.clients))
            found[row] = self._of_block(block, shares).reshape(shape[1:])
        return found

    def _of_block(self, block: int, shares: Floats) -> Counts:
        images = self._partition.block(block)
        size = max(1, _HELD_MARKS // len(images))
        parts = (shares[start : start + size] for start in range(0, len(shares), size))
        if len(images) == self.game.images:  # chunk by chunk, without a copy of them all
            return np.concatenate([self.on_all_images(part) for part in parts])
        values = self._first.of(images)
        return np.concatenate([self.scorer.worth(self.marks(part, values, images), images) for part in parts])

    def _found_ends(self) -> tuple[Counts, Counts]:
        every, everyone = range(len(self._partition)), self.game.shares([self.game.full])
        full = np.array([int(self._of_block(block, everyone)[0]) for block in every], np.int64)
        if self.game.baseline is None:
            return of_blocks(self.game, self._partition), full
        return OutputWalker(self.game.of_update(self.game.baseline), self._partition).ends()[1], full
