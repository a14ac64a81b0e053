"""What coalitions are worth from their outputs: for metrics that the kernels do not count, and for graphs.

Where the outputs come from is an `OutputSource`'s business. A chain's are the reference's own, without bounds, so
whatever is scored of them lies inside every interval.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

import numpy as np

from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.coalitions.walks import Counts, Orders, members
from fedcoin_cli.learning.game.game import Floats, Game
from fedcoin_cli.learning.game.utility import Members
from fedcoin_cli.learning.metrics.choice import scorer_of
from fedcoin_cli.learning.metrics.nobody import of_blocks
from fedcoin_cli.learning.metrics.scorer import Marks, Places
from fedcoin_cli.learning.reference.aggregates import Aggregates
from fedcoin_cli.learning.reference.forward import FirstLayer
from fedcoin_cli.learning.reference.reference import upper_weights

_HELD_MARKS: Final = 1 << 24
_BATCH: Final = 64


Compute = Callable[[Floats], Floats]
"""Shares of some coalitions (coalitions, K) → their outputs (coalitions, classes, images), NumPy's float64."""


class OutputSource(Protocol):
    """What computes outputs of one game's coalitions."""

    game: Game

    @property
    def parts(self) -> Sequence[Places]:
        """The test set in parts that are computed together."""
        ...

    @property
    def masks(self) -> int:
        """Of so many coalitions the outputs are computed together."""
        ...

    @property
    def batch(self) -> int:
        """So many coalitions on all images take no longer than a slice of mining may."""
        ...

    def of_part(self, number: int) -> Compute:
        """What computes them on one part of the test set."""
        ...

    def of_images(self, images: Places) -> Compute:
        """What computes them on any few images, as a block has them."""
        ...

    def of_update(self, game: Game) -> "OutputSource":
        """The same of another game of this model and test set."""
        ...


class ChainOutputs:
    """Those of a chain of layers, in NumPy float64; an `OutputSource`."""

    batch = _BATCH

    def __init__(self, game: Game, first: FirstLayer | None = None) -> None:
        self.game = game
        self._first = first or FirstLayer(game)
        self._aggregates = Aggregates(game.chain, upper_weights(game))
        self.parts = [positions for _, positions in self._first.chunks]
        self.masks = self._aggregates.masks

    def of_part(self, number: int) -> Compute:
        return partial(self._outputs, self._first.block(number))

    def of_images(self, images: Places) -> Compute:
        return partial(self._outputs, self._first.of(images.astype(np.intp)))

    def of_update(self, game: Game) -> OutputSource:
        return ChainOutputs(game)

    def _outputs(self, values: Floats, shares: Floats) -> Floats:
        return self._aggregates.logits(shares, self._aggregates.layers(shares), values)


class Outputs:
    """Outputs of one game's coalitions, scored by its metric."""

    def __init__(self, source: OutputSource) -> None:
        self.game, self.scorer, self._source = source.game, scorer_of(source.game), source

    def marks(self, shares: Floats, images: Places, outputs: Compute) -> Marks:
        """What each of some images counts for aggregates (coalitions, K), whose `outputs` are computed in turn."""
        size = self._source.masks
        rows = (shares[start : start + size] for start in range(0, len(shares), size))
        return np.concatenate([self.scorer.marks(outputs(some), images) for some in rows])

    def on_all_images(self, shares: Floats) -> Counts:
        """u of aggregates (coalitions, K) on all images."""
        found = [
            self.marks(shares, positions, self._source.of_part(number))
            for number, positions in enumerate(self._source.parts)
        ]
        return self.scorer.worth(np.concatenate(found, axis=1), np.concatenate(self._source.parts))


class OutputEngine(Outputs):
    """What whole coalitions are worth on all images; a `Utility`."""

    def __init__(self, source: OutputSource) -> None:
        super().__init__(source)
        self.batch = max(1, min(source.batch, _HELD_MARKS // self.game.images))

    def counts(self, masks: Sequence[int]) -> Counts:
        """u(mask) for each non-empty mask, in order."""
        parts = [
            self._counts(masks[start : start + self.batch]) for start in range(0, len(masks), self.batch)
        ]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def _counts(self, masks: Sequence[int]) -> Counts:
        return self.on_all_images(self.game.shares(masks))


class OutputWalker(Outputs):
    """The same along rankings, block by block; a `Walker`, and as quick on coalitions `Apart`."""

    def __init__(self, source: OutputSource, partition: Partition) -> None:
        super().__init__(source)
        self._partition = partition
        self.coalitions = source.masks
        self.together = max(1, source.masks // max(1, source.game.clients - 1))
        self._ends = self._found_ends()

    def ends(self) -> tuple[Counts, Counts]:
        """u(∅) and u(full) of each block, (blocks,)."""
        return self._ends

    def walk(self, blocks: range, walked: Orders) -> Counts:
        """u (blocks, rankings, K − 1) of the proper coalitions on the way of rankings (blocks, rankings, K)."""
        shape = (len(blocks), walked.shape[1], self.game.clients - 1)
        found = np.empty(shape, np.int64)
        for row, block in enumerate(blocks):
            # Rankings of few clients meet the same coalitions again and again.
            visited = members(walked[row]).reshape(-1, self.game.clients)
            own, places = np.unique(visited, axis=0, return_inverse=True)
            found[row] = self._of_block(block, self.game.shares_of(own))[places].reshape(shape[1:])
        return found

    def count(self, block: int, members: Members) -> Counts:
        """u (n,) of non-empty coalitions (n, K) on a block."""
        return self._of_block(block, self.game.shares_of(members))

    def _of_block(self, block: int, shares: Floats) -> Counts:
        images = self._partition.block(block)
        size = max(1, _HELD_MARKS // len(images))
        parts = (shares[start : start + size] for start in range(0, len(shares), size))
        if len(images) == self.game.images:  # part by part, without a copy of them all
            return np.concatenate([self.on_all_images(part) for part in parts])
        outputs = self._source.of_images(images)
        return np.concatenate(
            [self.scorer.worth(self.marks(part, images, outputs), images) for part in parts]
        )

    def _found_ends(self) -> tuple[Counts, Counts]:
        every, everyone = range(len(self._partition)), self.game.shares([self.game.full])
        full = np.array([int(self._of_block(block, everyone)[0]) for block in every], np.int64)
        if self.game.baseline is None:
            return of_blocks(self.game, self._partition), full
        named = self._source.of_update(self.game.of_update(self.game.baseline))
        return OutputWalker(named, self._partition).ends()[1], full
