"""Checking another miner's table: recompute masks in float64 and compare claims with [lo, hi] (protocol.md 5).

First the masks on which this table and the own counts disagree, then those that weigh most in the sums (full
coalition, singletons, co-singletons), then secret draws, as long as the budget lasts. One reference serves all tables
of a task; its intervals are remembered, for the heavy masks are the same in all of them.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from random import SystemRandom
from typing import Final

import numpy as np

from fedcoin_cli.learning.mining.memo import Memo
from fedcoin_cli.learning.mining.reference import RAISE_FACTOR, Interval, Reference
from fedcoin_cli.learning.mining.table import Table
from fedcoin_cli.learning.mining.walks import keys_to_masks, masks_to_keys

DRAWS: Final = 64
MOST_DISAGREEMENTS: Final = 256

_BATCH: Final = 16


class Checker:
    """Finds false counts in tables of one task."""

    def __init__(self, reference: Reference, clock: Callable[[], float] = time.monotonic) -> None:
        self._reference = reference
        self._clock = clock
        self._intervals: dict[int, Interval] = {}
        self._random = SystemRandom()

    def wrong_masks(self, table: Table, own: Memo | None, budget_s: float) -> tuple[int, ...]:
        """Masks whose claims lie outside [lo, hi] of 2ε; `own` are counts evaluated here, where there are any.

        Stops after the batch in which the first is found, or when the budget is over.
        """
        until = self._clock() + budget_s
        masks = [] if own is None else own.differing(table.masks(), table.counts, MOST_DISAGREEMENTS)
        masks = list(dict.fromkeys([*masks, *self._heavy(table), *self._drawn(table)]))
        for start in range(0, len(masks), _BATCH):
            batch = masks[start : start + _BATCH]
            wrong = self._outside(batch, claims(table, batch))
            if wrong or self._clock() >= until:
                return wrong
        return ()

    def is_wrong(self, table: Table, mask: int) -> bool:
        """Whether the table's claim for `mask` lies outside [lo, hi] of ε: what makes a FRAUD accepted."""
        lo, hi = self._reference.interval(mask)
        return any(not lo <= claim <= hi for claim in claims(table, [mask]).values())

    def _outside(self, masks: Sequence[int], claimed: dict[int, int]) -> tuple[int, ...]:
        self._compute(masks)
        bounds = self._intervals
        return tuple(mask for mask in masks if not bounds[mask].lo <= claimed[mask] <= bounds[mask].hi)

    def _compute(self, masks: Iterable[int]) -> None:
        missing = [mask for mask in masks if mask not in self._intervals]
        if missing:
            found = self._reference.intervals(missing, RAISE_FACTOR)
            self._intervals.update(zip(missing, found, strict=True))

    def _heavy(self, table: Table) -> list[int]:
        """One such mask moves a value by its error / K; a uniform draw would never see it."""
        clients = self._reference.game.clients
        full = (1 << clients) - 1
        singles = [1 << client for client in range(clients)]
        return list(claims(table, [full, *singles, *(full ^ single for single in singles)]))

    def _drawn(self, table: Table) -> list[int]:
        count = len(table.counts)
        positions = self._random.sample(range(count), min(DRAWS, count))
        if table.keys is None:
            return [position + 1 for position in positions]
        return keys_to_masks(table.keys[positions], table.clients)


def claims(table: Table, masks: Sequence[int]) -> dict[int, int]:
    """What the table claims for those of these masks that it holds."""
    keys = masks_to_keys(masks, table.clients)
    if table.keys is None:
        return dict(zip(masks, table.counts[keys.astype(np.intp) - 1].tolist(), strict=True))
    found = np.minimum(np.searchsorted(table.keys, keys), len(table.keys) - 1)
    held = table.keys[found] == keys
    counts = table.counts[found].tolist()
    return {mask: count for mask, count, here in zip(masks, counts, held, strict=True) if here}
