"""Games by blocks of images, given by their utilities, and what rankings say of them one after the other."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from fedcoin_cli.consensus.rankings import ranking
from fedcoin_cli.learning.coalitions.partition import Partition, partition
from fedcoin_cli.learning.reference.reference import Interval
from fedcoin_cli.learning.shapley.sampling import MiningSession
from fedcoin_cli.learning.shapley.table import TableTerms

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BlockGame:
    """A walker by look-up: `counts` holds u of each block and mask, (blocks, 2^K); `sizes` the blocks' images."""

    sizes: Counts
    counts: Counts
    baseline: bool = False
    together: int = 1

    @property
    def clients(self) -> int:
        return int(self.counts.shape[1]).bit_length() - 1

    @property
    def whole(self) -> list[int]:
        """u of each mask on all images."""
        return [int(total) for total in self.counts.sum(axis=0)]

    @property
    def terms(self) -> TableTerms:
        return TableTerms(self.clients, self.sizes, self.whole[0], self.baseline)

    def ends(self) -> tuple[Counts, Counts]:
        return self.counts[:, 0].copy(), self.counts[:, -1].copy()

    def walk(self, blocks: range, walked: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
        masks = np.cumsum(1 << walked.astype(np.int64), axis=2)[:, :, :-1]
        counts: npt.NDArray[np.uint8] = self.counts[np.array(blocks)[:, None, None], masks].astype(np.uint8)
        return counts


def random_game(clients: int, sizes: Iterable[int], seed: int = 0, *, baseline: bool = False) -> BlockGame:
    """Any counts at all; without a baseline nobody counts nothing."""
    sizes = np.array(list(sizes), np.int64)
    counts = np.random.default_rng(seed).integers(0, sizes[:, None] + 1, (len(sizes), 1 << clients))
    counts[:, 0] *= baseline
    return BlockGame(sizes, counts, baseline)


def picture_game(
    clients: int, images: int, size: int = 8, skills: int = 0, pictures: int = 0, labels: int = 4
) -> BlockGame:
    """Like accuracy: a coalition is right about an image whose scores by its members add up to more than 0.

    Clients differ by label in what they are good at, which `skills` draws; `pictures` draws the images.
    """
    skill = np.random.default_rng(skills).normal(0.4, 0.8, (clients, labels))
    named = np.arange(images) % labels
    scores = skill[:, named] + np.random.default_rng([1, pictures]).normal(0, 1.0, (clients, images))
    members = (np.arange(1 << clients)[:, None] >> np.arange(clients)) & 1
    right = members @ scores > 0
    parts = partition(named, size, bytes(32))
    dealt = right[:, parts.images].astype(np.int64)
    return BlockGame(parts.sizes, np.add.reduceat(dealt, parts.starts[:-1], axis=1).T.copy())


def sums_by_hand(game: BlockGame, seed: bytes, key: bytes, indices: Iterable[int]) -> tuple[int, ...]:
    """Each client's marginals over all blocks and these rankings, walked one client at a time."""
    sums, indices = [0] * game.clients, list(indices)
    for block, counts in enumerate(game.counts.tolist()):
        for index in indices:
            mask = 0
            for client in ranking(seed, key, block, index, game.clients):
                sums[client] += counts[mask | 1 << client] - counts[mask]
                mask |= 1 << client
    return tuple(sums)


class KnownReference:
    """What is right of a game by blocks, by look-up; all that was asked for is in `judged`.

    `slack` (blocks, 2^K) is how many images ε reaches to each side.
    """

    proven = True

    def __init__(self, game: BlockGame, slack: Counts | int = 0) -> None:
        self.game = SimpleNamespace(clients=game.clients, baseline=None, chance=False)
        self.partition = Partition(np.arange(game.sizes.sum()), np.concatenate([[0], np.cumsum(game.sizes)]))
        self.judged = list[tuple[int | None, int]]()
        self.factors = set[int]()
        self._counts, self._slack = game.counts, np.broadcast_to(slack, game.counts.shape)

    def intervals(self, masks: Sequence[int], factor: int = 1) -> list[Interval]:
        self.judged += [(None, mask) for mask in masks]
        self.factors.add(factor)
        sums = zip(self._counts[:, masks].sum(axis=0), self._slack[:, masks].sum(axis=0), strict=True)
        return [Interval(count - factor * off, count, count + factor * off) for count, off in sums]

    def steps(self, masks: Sequence[int], factor: int, totals: Counts) -> Iterator[tuple[int, int]]:
        for row, one in enumerate(self.intervals(masks, factor)):
            totals[row] += (one.lo, one.count, one.hi)
        yield 1, 1

    def block_intervals(
        self, positions: Counts, members: npt.NDArray[np.uint8], factor: int = 1
    ) -> npt.NDArray[np.int64]:
        block = int(np.searchsorted(self.partition.starts, positions[0], side="right")) - 1
        masks = members.astype(np.int64) @ (1 << np.arange(members.shape[1]))
        self.judged += [(block, mask) for mask in masks.tolist()]
        self.factors.add(factor)
        count, off = self._counts[block, masks], factor * self._slack[block, masks]
        return np.stack([count - off, count, count + off], axis=1)


def finish(session: MiningSession) -> MiningSession:
    """Advance it until it says that it is done."""
    while not session.advance(60.0).finished:
        pass
    return session
