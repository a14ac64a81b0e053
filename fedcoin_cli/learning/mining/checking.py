"""Checking another miner's table: recompute masks in float64 and compare claims with [lo, hi] (protocol.md 5).

First the masks on which this table and the own counts disagree, then those that weigh most in the sums (full
coalition, singletons, co-singletons), then secret draws, as long as the budget lasts. Drawn masks are counted by the
miner's own engine, about five times as fast as the reference, which then judges those whose counts differ. One
reference serves all tables of a task; its intervals are remembered, for the heavy masks are the same in all of them.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.mining.game import Floats, member_bits
from fedcoin_cli.learning.mining.memo import Memo
from fedcoin_cli.learning.mining.proxy import ProxyCounts
from fedcoin_cli.learning.mining.reference import RAISE_FACTOR, Interval, Reference
from fedcoin_cli.learning.mining.sampling import Utility
from fedcoin_cli.learning.mining.table import Table
from fedcoin_cli.learning.mining.walks import masks_to_keys

DRAWS: Final = 1024
"""Of a table with 0.5% false counts they miss all once in 170 times: 99.4% are caught by a single checker."""
MOST_DISAGREEMENTS: Final = 256

_BATCH: Final = 16
# Each batch of draws is twice the one before: a short budget is kept to, and few calls use up a long one.
_SCREENED_FIRST: Final = 64
# Asking the proxy about more masks than this would take longer than counting those that are drawn.
_PROXY_MASKS: Final = 1 << 16


class Checker:
    """Finds false counts in tables of one task.

    Args:
        reference: what is right.
        utility: counts drawn masks quickly; without one the reference counts them.
        proxy: where the task has one, whose trend tells which counts stand out.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        reference: Reference,
        utility: Utility | None = None,
        proxy: ProxyCounts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reference, self._utility, self._proxy = reference, utility, proxy
        self._clock = clock
        self._intervals: dict[int, Interval] = {}
        self._random = (
            np.random.default_rng()
        )  # fresh from the system: nobody can know what will be looked at

    def wrong_masks(self, table: Table, own: Memo | None, budget_s: float) -> tuple[int, ...]:
        """Masks whose claims lie outside [lo, hi] of 2ε; `own` are counts evaluated here, where there are any.

        Stops after the batch in which the first is found, or when the budget is over.
        """
        until = self._clock() + budget_s
        masks, weights = table.masks(), _weights(table)
        first = [] if own is None else own.differing(masks, table.counts, weights, MOST_DISAGREEMENTS)
        heavy = claims(table, heavy_masks(table.clients))
        wrong = self._judged(table, list(dict.fromkeys([*first, *heavy])), until)
        if wrong:
            return wrong
        drawn = self._drawn(table, masks, weights, own)
        start, size = 0, _SCREENED_FIRST
        while start < len(drawn) and self._clock() < until:
            wrong = self._judged(table, self._suspicious(table, drawn[start : start + size]), until)
            if wrong:
                return wrong
            start, size = start + size, 2 * size
        return ()

    def own_errors(self, own: Memo, budget_s: float) -> tuple[int, ...]:
        """The first heavy masks whose counts evaluated here lie outside [lo, hi] of 2ε: what others would accuse of."""
        until = self._clock() + budget_s
        for mask in heavy_masks(own.clients):
            if mask in own and (wrong := self._outside([mask], dict(own.select([mask])))):
                return wrong
            if self._clock() >= until:
                break
        return ()

    def is_wrong(self, table: Table, mask: int) -> bool:
        """Whether the table's claim for `mask` lies outside [lo, hi] of ε: what makes a FRAUD accepted."""
        lo, hi = self._reference.interval(mask)
        return any(not lo <= claim <= hi for claim in claims(table, [mask]).values())

    def _judged(self, table: Table, masks: Sequence[int], until: float) -> tuple[int, ...]:
        """Those of the first batch of masks in which some are wrong."""
        for start in range(0, len(masks), _BATCH):
            batch = masks[start : start + _BATCH]
            wrong = self._outside(batch, claims(table, batch))
            if wrong or self._clock() >= until:
                return wrong
        return ()

    def _suspicious(self, table: Table, masks: Sequence[int]) -> list[int]:
        """Those whose claims are not what the own engine counts."""
        if self._utility is None:
            return list(masks)
        masks = sorted(masks)  # neighbours share most of their members, and so most of the kernel's work
        claimed = claims(table, masks)
        counts = self._utility.counts(masks).tolist()
        return [mask for mask, count in zip(masks, counts, strict=True) if claimed[mask] != count]

    def _outside(self, masks: Sequence[int], claimed: dict[int, int]) -> tuple[int, ...]:
        self._compute(masks)
        bounds = self._intervals
        return tuple(mask for mask in masks if not bounds[mask].lo <= claimed[mask] <= bounds[mask].hi)

    def _compute(self, masks: Iterable[int]) -> None:
        missing = [mask for mask in masks if mask not in self._intervals]
        if missing:
            found = self._reference.intervals(missing, RAISE_FACTOR)
            self._intervals.update(zip(missing, found, strict=True))

    def _drawn(self, table: Table, masks: Sequence[int], weights: Floats, own: Memo | None) -> list[int]:
        """Secret draws among the masks that were not evaluated here: half by weight, half by weight × deviation."""
        unknown = weights if own is None else weights * ~own.known(masks)
        by_weight = self._pick(unknown)
        by_deviation = self._pick(unknown * self._deviations(table, masks))
        return [masks[place] for place in dict.fromkeys([*by_weight, *by_deviation])]

    def _pick(self, weights: Floats) -> list[int]:
        count = min(DRAWS // 2, int(np.count_nonzero(weights)))
        if count == 0:
            return []
        picked = self._random.choice(len(weights), count, replace=False, p=weights / weights.sum())
        places: list[int] = picked.tolist()
        return places

    def _deviations(self, table: Table, masks: Sequence[int]) -> Floats:
        """How far u − p lies from its mean over the table's coalitions of that size; without a proxy, u itself."""
        values = table.counts.astype(np.float64)
        if self._proxy is not None and len(masks) <= _PROXY_MASKS:
            values -= self._proxy.counts(masks)
        sizes = _sizes(table)
        means = np.bincount(sizes, values) / np.maximum(np.bincount(sizes), 1)
        return np.abs(values - means[sizes])


def heavy_masks(clients: int) -> list[int]:
    """The full coalition, singletons and co-singletons.

    One such mask moves a value by its error / K; a uniform draw would hardly ever see it.
    """
    full = (1 << clients) - 1
    singles = [1 << client for client in range(clients)]
    return list(dict.fromkeys([full, *singles, *(full ^ single for single in singles if full != single)]))


def claims(table: Table, masks: Sequence[int]) -> dict[int, int]:
    """What the table claims for those of these masks that it holds."""
    keys = masks_to_keys(masks, table.clients)
    if table.keys is None:
        return dict(zip(masks, table.counts[keys.astype(np.intp) - 1].tolist(), strict=True))
    if len(table.keys) == 0:
        return {}
    found = np.minimum(np.searchsorted(table.keys, keys), len(table.keys) - 1)
    held = table.keys[found] == keys
    counts = table.counts[found].tolist()
    return {mask: count for mask, count, here in zip(masks, counts, held, strict=True) if here}


def _weights(table: Table) -> Floats:
    """What each count weighs in the sums: a ranking visits one coalition of each size, whichever it is."""
    sizes = _sizes(table)
    shares: Floats = 1.0 / np.bincount(sizes)[sizes]
    return shares


def _sizes(table: Table) -> npt.NDArray[np.intp]:
    sizes: npt.NDArray[np.intp] = member_bits(table.masks(), table.clients).sum(axis=1, dtype=np.intp)
    return sizes
