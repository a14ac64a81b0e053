"""Which updates a miner admits: none that make rounding matter, and none that its own engine cannot count.

Every miner runs this before it votes for a TASK block. The coalitions follow from the task's id, so all look at the
same ones.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import shake_256
from itertools import combinations
from math import comb
from typing import Final

from fedcoin_cli.learning.mining.reference import RAISE_FACTOR, Interval, Reference
from fedcoin_cli.learning.mining.sampling import Utility

PAIRS: Final = 256
RANDOM_MASKS: Final = 64

_TAG: Final = b"fedcoin/v1/admission\0"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Client `client` (from 0) is to blame that coalition `mask` has so wide an interval at 2ε.

    Or the interval is narrow, and this machine's engine has `counted` something outside: then nobody is to blame.
    """

    client: int
    mask: int
    interval: Interval
    counted: int | None = None

    def __str__(self) -> str:
        if self.counted is None:
            return (
                f"client {self.client + 1}: its update makes rounding matter ({self.interval.width} images)"
            )
        right = f"{self.interval.lo} to {self.interval.hi}"
        return f"this machine counts {self.counted} images in this round where {right} are right"


def refused_update(
    reference: Reference, task_id: str, engine: Callable[[], Utility] | None = None
) -> Refusal | None:
    """The first coalition whose interval at 2ε is wider than max(2, n/1000), or in which the engine miscounts.

    None: the updates are admissible. `task_id` is hex; the engine is made when all intervals are narrow. The blame
    falls on the member whose own logits rounding may move the most: its size rounds the others away.
    """
    masks = admission_masks(task_id, reference.game.clients)
    allowed = max(2.0, reference.game.images / 1000)
    intervals = reference.intervals(masks, RAISE_FACTOR)
    for mask, interval in zip(masks, intervals, strict=True):
        if interval.width > allowed:
            return Refusal(_largest_member(reference, mask), mask, interval)
    return None if engine is None else _miscounted(reference, engine(), masks, intervals)


def _miscounted(
    reference: Reference, engine: Utility, masks: Sequence[int], intervals: Sequence[Interval]
) -> Refusal | None:
    ordered = sorted(zip(masks, intervals, strict=True), key=lambda each: each[0])  # neighbours share members
    counts = engine.counts([mask for mask, _ in ordered]).tolist()
    for (mask, interval), count in zip(ordered, counts, strict=True):
        if not interval.lo <= count <= interval.hi:
            return Refusal(_largest_member(reference, mask), mask, interval, count)
    return None


def admission_masks(task_id: str, clients: int) -> list[int]:
    """Singletons, co-singletons, the full coalition, pairs and random masks, without repeats.

    All pairs where there are at most `PAIRS`; otherwise pairs, like the random masks, follow from the task's id.
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


def _largest_member(reference: Reference, mask: int) -> int:
    sizes = reference.magnitudes()
    members = [client for client in range(reference.game.clients) if mask >> client & 1]
    return max(members, key=lambda client: (sizes[client], -client))
