"""FedCoin's experiment: a hundred clients of ten types, and rankings of them, counted once and kept in the cache.

*Independent* rankings are the paper's Algorithm 1: one order of the clients for all test images at once, the empty
coalition worth 0. *Balanced* ones are a miner's of this program: every block of 16 images walks an order of its own.
Marginals are in images: one row a ranking, one column a client.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.games import CACHE, SEED, Blocks, Case, real_game
from fedcoin_cli.learning.coalitions.walks import Orders, orders
from fedcoin_cli.learning.engines.choice import engine_for

TYPES: Final = 10
EPOCHS: Final = 20
"""FedCoin's "20 local iterations", read as passes of each client over its own images."""
_AT_ONCE: Final = 1 << 16
"""How many blocks × rankings are laid out together."""

Marginals = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Walked:
    """Marginals (rankings, K) in images of `images`, and who begins each ranking, (rankings,)."""

    marginals: Marginals
    firsts: npt.NDArray[np.int64]
    images: int

    def shares(self, chance: float = 0.0) -> Floats:
        """The same in shares of accuracy, the empty coalition worth `chance`."""
        found = self.marginals / self.images
        found[np.arange(len(found)), self.firsts] -= chance
        return found


@dataclass(frozen=True, slots=True)
class Hundred:
    """The game in blocks, and the name that its walks are kept under."""

    case: Case
    blocks: Blocks
    seed: int

    @classmethod
    def of(cls, case: Case, seed: int) -> "Hundred":
        """Trained, or read from the cache."""
        return cls(case, Blocks.of(real_game(case), threads=1), seed)

    @property
    def clients(self) -> int:
        return self.case.clients

    @property
    def images(self) -> int:
        return self.blocks.game.images

    def independent(self, rankings: int) -> Walked:
        """So many of the paper's rankings, the same ones for one seed however many."""
        rng = np.random.default_rng(self.seed)
        drawn = np.array([rng.permutation(self.clients) for _ in range(rankings)], np.uint16)
        number = len(self.blocks.terms.sizes)
        everywhere = np.broadcast_to(drawn, (number, *drawn.shape))
        return self._kept("independent", everywhere, rankings)

    def balanced(self, miner: int, rankings: int) -> Walked:
        """So many rankings of a miner as it mines them; each row sums up its blocks."""
        key = (self.seed << 16 | miner).to_bytes(32, "big")
        walked = orders(SEED, key, range(len(self.blocks.terms.sizes)), range(rankings), self.clients)
        return self._kept(f"balanced-{miner}", walked, rankings)

    def own(self) -> Floats:
        """The accuracy of each client's own model, (K,)."""
        engine = engine_for(self.blocks.game, threads=1)
        return engine.counts([1 << client for client in range(self.clients)]) / self.images

    def joint(self) -> float:
        """The accuracy of the model of all."""
        return float(self.blocks.walker.ends()[1].sum()) / self.images

    def _kept(self, name: str, walked: Orders, rankings: int) -> Walked:
        path = CACHE / f"papers-{self.case.name}-{self.seed}-{name}.npy"
        known = np.load(path) if path.exists() else np.empty((0, self.clients), np.int32)
        if len(known) < rankings:
            known = np.concatenate([known, self._walk(walked[:, len(known) :])])
            np.save(path, known)
        return Walked(known[:rankings], walked[0, :, 0].astype(np.int64), self.images)

    def _walk(self, walked: Orders) -> Marginals:
        number = len(walked)
        empty, full = (end[:, None, None] for end in self.blocks.walker.ends())
        found, at_once = [], max(1, _AT_ONCE // number)
        for first in range(0, walked.shape[1], at_once):
            some = np.ascontiguousarray(walked[:, first : first + at_once])
            counts = self.blocks.walker.walk(range(number), some).astype(np.int64)
            before, after = (np.broadcast_to(end, (number, some.shape[1], 1)) for end in (empty, full))
            gains = np.diff(np.concatenate([before, counts, after], axis=2), axis=2)
            places = some.astype(np.int64) + self.clients * np.arange(some.shape[1])[None, :, None]
            sums = np.bincount(places.ravel(), gains.ravel(), minlength=some.shape[1] * self.clients)
            found.append(sums.reshape(-1, self.clients).astype(np.int32))
        return np.concatenate(found)


def of_types(values: Floats) -> Floats:
    """The means over the clients of each type, (types,), of values (…, K)."""
    means: Floats = values.reshape(*values.shape[:-1], TYPES, -1).mean(axis=-1)
    return means


def smaller(case: Case) -> Case:
    """The same in minutes: fewer clients' images are trained on and fewer are judged."""
    return replace(case, train=10_000, test=1_000)
