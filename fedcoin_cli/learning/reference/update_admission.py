"""Which updates a miner admits: none that make rounding matter, and none that its own engine cannot count.

Every miner runs this before it votes for a TASK block. The coalitions follow from the task's id, so all look at the
same ones.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import shake_256
from itertools import combinations
from math import comb
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.game.utility import Utility
from fedcoin_cli.learning.pace import Pace
from fedcoin_cli.learning.reference.graph_reference import GraphReference
from fedcoin_cli.learning.reference.referee import Referee
from fedcoin_cli.learning.reference.reference import RAISE_FACTOR, Interval

PAIRS: Final = 256
RANDOM_MASKS: Final = 64
GRAPH_FLOP: Final = 3 * 10**10
"""What an inspection of a graph takes at most, about ten seconds of one core in NumPy."""
LEAST_IMAGES: Final = 128
"""Pairs and random coalitions are left out before fewer images are looked at."""

# So many coalitions are counted in one step, fewer where that takes long.
_COUNTED: Final = 256
_COUNTED_FLOP: Final = 2 * 10**10

_TAG: Final = b"fedcoin/v1/admission\0"
_SAMPLE_TAG: Final = b"fedcoin/v1/admission-images\0"


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
    reference: Referee, task_id: str, engine: Callable[[Game], Utility] | None = None
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

    def __init__(
        self, reference: Referee, task_id: str, engine: Callable[[Game], Utility] | None = None
    ) -> None:
        self._reference, self._masks = looked_at(reference, task_id)
        self._engine, scorer = engine, self._reference.scorer
        self._allowed = max(2.0 * scorer.swing, scorer.whole / 1000)
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
            yield from self._counts(self._engine(self._reference.game))

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
        most = max(1, min(_COUNTED, _COUNTED_FLOP // max(1, game.images * game.model.flop_above)))
        pace, start = Pace(most, engine.batch), 0
        while start < len(ordered):
            part = ordered[start : start + pace.size]
            began = time.monotonic()
            counts = engine.counts([mask for mask, _ in part]).tolist()
            pace.took(len(part), time.monotonic() - began)
            start += len(part)
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


def looked_at(reference: Referee, task_id: str) -> tuple[Referee, list[int]]:
    """What an inspection looks at: all images and admission coalitions, of a dear graph as much as `GRAPH_FLOP` allow.

    Work is counted in operations and not in seconds, so that all miners look at the same. [P-6.23]
    """
    game = reference.game
    masks = admission_masks(task_id, game.clients)
    if not isinstance(reference, GraphReference):
        return reference, masks
    pairs = GRAPH_FLOP // reference.image_flop
    if pairs >= len(masks) * game.images:
        return reference, masks
    fewest = 2 * game.clients + 1  # each client alone, all but each, and all
    masks = masks[: max(fewest, pairs // min(LEAST_IMAGES, game.images))]
    places = sampled(game.test.classes, max(1, pairs // len(masks)), task_id)
    few = replace(game, test=game.test.taken(places))
    return GraphReference(few, reference.staged.on(few)), masks


def sampled(labels: npt.NDArray[np.integer], wanted: int, task_id: str) -> npt.NDArray[np.intp]:
    """About so many images that follow from the task's id: the same share of each label, at least one of each."""
    draws = np.frombuffer(shake_256(_SAMPLE_TAG + bytes.fromhex(task_id)).digest(8 * len(labels)), ">u8")
    found = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        number = -(-wanted * len(places) // len(labels))
        found.append(places[np.argsort(draws[places], kind="stable")[:number]])
    return np.sort(np.concatenate(found))


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
