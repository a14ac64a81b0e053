"""Secret draws from a sampled table: which rankings of single blocks, or which counts of a block, are counted again.

One that was drawn is not drawn again by itself: of a small table all are met.
"""

from typing import Final

import numpy as np

from fedcoin_cli.learning.coalitions.walks import Counts

_SEARCHED: Final = 1 << 13
"""Of so few, those that are left are looked up; of more, draws that meet none again are soon found."""


class Unseen:
    """Numbers 0 … total − 1, drawn one by one and each once."""

    def __init__(self, total: int, random: np.random.Generator) -> None:
        self.total, self._random = total, random
        self.seen: set[int] = set()

    @property
    def left(self) -> int:
        """How many have not been drawn."""
        return self.total - len(self.seen)

    def take(self) -> int:
        """One of those that are left, each as likely."""
        if self.total <= _SEARCHED:
            rest = [number for number in range(self.total) if number not in self.seen]
            number = rest[int(self._random.integers(len(rest)))]
        else:
            number = int(self._random.integers(self.total))
            while number in self.seen:
                number = int(self._random.integers(self.total))
        self.seen.add(number)
        return number


class RankingDraws:
    """Rankings of blocks: one alone, or as many of neighbouring blocks."""

    def __init__(self, blocks: int, rankings: int, random: np.random.Generator) -> None:
        self._blocks, self._rankings, self._random = blocks, rankings, random
        self._unseen = Unseen(blocks * rankings, random)
        self.drawn = 0

    @property
    def left(self) -> int:
        """How many rankings have not been drawn."""
        return self._unseen.left

    def take(self, number: int) -> tuple[range, Counts]:
        """About so many: blocks, and the numbers of rankings of each (blocks, rankings). Each block is as likely."""
        if number == 1:
            block, index = divmod(self._unseen.take(), self._rankings)
            some, indices = range(block, block + 1), np.array([[index]])
        else:
            width = min(number, self._blocks)
            first = int(self._random.integers(1 - width, self._blocks)) if number < self._blocks else 0
            some = range(max(0, first), min(first + width, self._blocks))
            size = (len(some), max(1, number // self._blocks))
            indices = self._random.integers(self._rankings, size=size)
            self._unseen.seen.update((np.array(some)[:, None] * self._rankings + indices).ravel().tolist())
        self.drawn += indices.size
        return some, indices


class CountDraws:
    """Counts of one block at a time, by their numbers within the block."""

    def __init__(self, blocks: int, counts: int, random: np.random.Generator) -> None:
        self._open = list(range(blocks))
        self._random = random
        self._unseen = [Unseen(counts, random) for _ in range(blocks)]

    @property
    def left(self) -> bool:
        """Whether there is a count that has not been drawn."""
        return bool(self._open)

    def take(self, number: int) -> tuple[int, list[int]]:
        """A block, and so many of its counts or as many as are left."""
        place = int(self._random.integers(len(self._open)))
        unseen = self._unseen[block := self._open[place]]
        taken = sorted(unseen.take() for _ in range(min(number, unseen.left)))
        if not unseen.left:
            del self._open[place]
        return block, taken
