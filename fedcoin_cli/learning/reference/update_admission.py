"""Which updates a miner admits: none that make rounding matter, and none that its own engine cannot count.

Every miner runs this before it votes for a TASK block. The coalitions follow from the task's id, so all look at the
same ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import shake_256
from itertools import combinations
from math import comb
from typing import Final

import numpy as np

from fedcoin_cli.learning.game.utility import Utility
from fedcoin_cli.learning.reference.referee import Referee
from fedcoin_cli.learning.reference.reference import RAISE_FACTOR, Interval

PAIRS: Final = 256
RANDOM_MASKS: Final = 64

# So many coalitions are counted in one step, fewer where that takes long.
_COUNTED: Final = 256
_COUNTED_FLOP: Final = 2 * 10**10

_TAG: Final = b"fedcoin/v1/admission\0"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Client `client` (from 0) is to blame that coalition `mask` has so wide an interval at 2ε; None: not yet known.

    Or the interval is narrow, and this machine's engine has `counted` something outside: then nobody is to blame.
    """

    client: int | None
    mask: int
    interval: Interval
    counted: int | None = None

    def __str__(self) -> str:
        if self.counted is None:
            makes = "its updates make"
            if self.client is not None:
                makes = f"client {self.client + 1}: its update makes"
            return f"{makes} rounding matter ({self.interval.width} of the whole)"
        right = f"{self.interval.lo} to {self.interval.hi}"
        return f"this machine counts {self.counted} images in this round where {right} are right"


def refused_update(
    reference: Referee, task_id: str, engine: Callable[[], Utility] | None = None
) -> Refusal | None:
    """A coalition whose interval at 2ε is wider than max(2s, M/1000), or in which the engine miscounts.

    None: the updates are admissible. `task_id` is hex; the engine is made when all intervals are narrow. The blame
    falls on the member of whose own logits rounding may move one the most: its size rounds the others away.
    """
    inspection = Inspection(reference, task_id, engine)
    while inspection.advance():
        pass
    return inspection.refused


class Inspection:
    """The same in small steps, for whoever has other things to do; `done` of `total` coalitions' work is done.

    It ends with the first coalition that is too wide: the images that are left can only make it wider, and who is to
    blame is found out last. Where none is, the engine that would count here counts the same coalitions, and is to be
    right in all. (docs/adr/0027) [P-6.9]
    """

    def __init__(self, reference: Referee, task_id: str, engine: Callable[[], Utility] | None = None) -> None:
        self._reference, self._engine = reference, engine
        self._masks = admission_masks(task_id, reference.game.clients)
        self._allowed = max(2.0 * reference.scorer.swing, reference.scorer.whole / 1000)
        self._totals = np.zeros((len(self._masks), 3), np.int64)
        self.total, self.share = len(self._masks), 0.0
        self.refused: Refusal | None = None
        self._steps = self._looks()

    @property
    def done(self) -> int:
        """So many coalitions' work is done, of `total`."""
        return int(self.share * self.total)

    def advance(self) -> bool:
        """One step; False when there is none left to do."""
        return next(self._steps, None) is not None

    def _looks(self) -> Iterator[bool]:
        for done, every in self._reference.steps(self._masks, RAISE_FACTOR, self._totals):
            self.share = done / every
            wide = np.flatnonzero(self._totals[:, 2] - self._totals[:, 0] > self._allowed)
            if len(wide):
                yield from self._blames(self._masks[wide[0]], *self._totals[wide[0]].tolist())
                return
            yield True
        if self._engine is not None:
            yield from self._counts(self._engine())

    def _blames(self, mask: int, lo: int, count: int, hi: int) -> Iterator[bool]:
        self.refused = Refusal(None, mask, Interval(lo, count, hi))
        sizes: dict[int, float] = {}
        for client in range(self._reference.game.clients):
            if mask >> client & 1:
                sizes[client] = self._reference.magnitude(client)
                yield True
        self.refused = replace(self.refused, client=max(sizes, key=lambda client: (sizes[client], -client)))

    # Rule [P-6.11].
    def _counts(self, engine: Utility) -> Iterator[bool]:
        ordered = sorted(zip(self._masks, self._totals.tolist(), strict=True))  # neighbours share members
        game = self._reference.game
        size = max(1, min(_COUNTED, _COUNTED_FLOP // max(1, game.images * game.model.flop_above)))
        for start in range(0, len(ordered), size):
            part = ordered[start : start + size]
            counts = engine.counts([mask for mask, _ in part]).tolist()
            for (mask, (lo, right, hi)), count in zip(part, counts, strict=True):
                if not lo <= count <= hi:
                    self.refused = Refusal(None, mask, Interval(lo, right, hi), count)
                    return
            yield True


def admission_masks(task_id: str, clients: int) -> list[int]:
    """Singletons, co-singletons, the full coalition, pairs and random masks, without repeats.

    All pairs where there are at most `PAIRS`; otherwise pairs, like the random masks, follow from the task's id.
    [P-6.10]
    """
    full = (1 << clients) - 1
    singles = [1 << client for client in range(clients)]
    stream = _Stream(_TAG + bytes.fromhex(task_id))
    masks = [*singles, *(full ^ single for single in singles), full, *_pairs(clients, stream)]
    masks += [stream.below(1 << clients) for _ in range(RANDOM_MASKS)]
    return [mask for mask in dict.fromkeys(masks) if mask]


def _pairs(clients: int, stream: "_Stream") -> Iterator[int]:
    if comb(clients, 2) <= PAIRS:
        yield from (1 << one | 1 << other for one, other in combinations(range(clients), 2))
        return
    for _ in range(PAIRS):
        one, step = stream.below(clients), 1 + stream.below(clients - 1)
        yield 1 << one | 1 << (one + step) % clients


class _Stream:
    """Numbers drawn from SHAKE-256; a bias below 2⁻⁶⁴ is of no concern, for nothing is paid by them."""

    def __init__(self, material: bytes) -> None:
        self._material = material
        self._drawn = 0

    def below(self, bound: int) -> int:
        size = bound.bit_length() // 8 + 9
        self._drawn += 1
        digest = shake_256(self._material + self._drawn.to_bytes(8, "big")).digest(size)
        return int.from_bytes(digest, "big") % bound
