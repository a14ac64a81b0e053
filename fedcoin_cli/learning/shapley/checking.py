"""Checking a table: recompute counts in float64 and compare claims with [lo, hi].

Only what the own engine counts otherwise is judged, by the reference, which knows what is right; which counts are
looked at is `sampled_look`'s and `exact_look`'s business. How much is done in one go follows from measured speed, and
whoever checks may do other things between two steps. (docs/adr/0041)
"""

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.coalitions.walks import Counts
from fedcoin_cli.learning.reference.referee import Referee
from fedcoin_cli.learning.shapley.exact_look import ExactLook, heavy_masks, suspects_of
from fedcoin_cli.learning.shapley.judging import CountJudge, Engines, Judging
from fedcoin_cli.learning.shapley.looking import Budget, Look, Steps
from fedcoin_cli.learning.shapley.sampled_look import SampledLook
from fedcoin_cli.learning.shapley.table import (
    Claim,
    TableTerms,
    all_counts,
    decode,
    decode_exact,
    entry_count,
    place_of,
)

DRAWN_RANKINGS: Final = 4_096
"""Where 0.2% of a table's rankings are false in some block they miss all once in 3,600 times."""

_BATCH: Final = 16


class Checker:
    """Finds false counts in tables of one task.

    Args:
        reference: what is right.
        terms: what the task's tables are read against.
        partition: the blocks.
        engines: count drawn coalitions quickly; without them the reference counts them.
        clock: monotonic seconds.

    (docs/adr/0012, docs/adr/0033, docs/adr/0041)
    """

    def __init__(
        self,
        reference: Referee,
        terms: TableTerms,
        partition: Partition,
        engines: Engines | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._judge = CountJudge(reference, partition, engines)
        self._terms, self._engines, self._clock = terms, engines, clock
        # Fresh from the system: nobody can know what will be looked at.
        self._random = np.random.default_rng()
        # What the own engine has counted of the heavy coalitions.
        self._heavy: dict[int, int] = {}

    def wrong_entries(
        self, data: bytes, claim: Claim, budget_s: float, own: Counts | None = None
    ) -> tuple[int, ...]:
        """Entries whose claims are false at 2ε; `own` are the counts of all coalitions, if known here.

        Stops after the batch in which the first is found, or when the budget is over.

        Raises:
            Malformed: not the table of this claim.

        [P-6.7]
        """
        return self.look(data, claim, budget_s, own).finish()

    def look(
        self, data: bytes, claim: Claim, budget_s: float, own: Counts | None = None
    ) -> Look[tuple[int, ...]]:
        """The same in steps, for whoever has more to do; the budget is time of its own."""
        budget, engines = Budget(budget_s), self._engines
        judging, common = self._judging(claim, budget), (budget, self._random, self._clock)
        steps: Steps[tuple[int, ...]]
        if claim.exact:
            counts, utility = decode_exact(data, self._terms), None if engines is None else engines.utility
            looked = ExactLook(counts, self._terms.clients, judging, *common, utility, self._heavy)
            steps = looked.steps(own)
        elif engines is None:
            steps = self._drawn_of_own(data, claim, judging, budget, surely=True)
        else:
            table = decode(data, claim, self._terms)
            sampled = SampledLook(table, claim, judging, *common, DRAWN_RANKINGS)
            steps = sampled.steps(engines.walker())
        return Look(steps, budget, self._clock)

    def own_errors(self, data: bytes, claim: Claim, budget_s: float) -> tuple[int, ...]:
        """The same of the own table: what others would accuse this miner of."""
        budget = Budget(budget_s)
        judging = self._judging(claim, budget)
        if claim.exact:
            heavy = [mask - 1 for mask in heavy_masks(self._terms.clients)]
            steps = judging.wrong(suspects_of(heavy, decode_exact(data, self._terms)), surely=False)
        else:
            steps = self._drawn_of_own(data, claim, judging, budget, surely=False)
        return Look(steps, budget, self._clock).finish()

    def is_wrong(self, data: bytes, claim: Claim, entry: int) -> bool:
        """Whether the count number `entry` is false at ε: what makes a FRAUD accepted [P-6.7].

        Raises:
            Malformed: the table has no such entry.
        """
        return self.look_at(data, claim, entry).finish()

    def look_at(self, data: bytes, claim: Claim, entry: int) -> Look[bool]:
        """The same in steps."""
        place = place_of(entry, claim, self._terms)
        claimed = entry_count(data, claim, entry, self._terms)

        def steps() -> Steps[bool]:
            (false,) = yield from self._judge.false([place], [claimed], 1)
            return false

        return Look(steps(), Budget(0.0), self._clock)

    # ------------------------------------------------------------------------------------------------------------

    def _judging(self, claim: Claim, budget: Budget) -> Judging:
        return Judging(self._judge, self._terms, claim, budget, self._clock)

    def _drawn_of_own(
        self, data: bytes, claim: Claim, judging: Judging, budget: Budget, *, surely: bool
    ) -> Steps[tuple[int, ...]]:
        """Drawn entries, ends of blocks and counts between them by turns, judged one and all."""
        decode(data, claim, self._terms)
        counts = all_counts(data, claim, self._terms)
        ends, size = 2 * len(self._terms.sizes), len(counts)
        of_ends = self._random.permutation(ends)
        between = np.unique(self._random.integers(ends, size, DRAWN_RANKINGS)) if size > ends else of_ends[:0]
        between = self._random.permutation(between)
        for start in range(0, max(len(of_ends), len(between)), _BATCH):
            some = np.sort([*of_ends[start : start + _BATCH], *between[start : start + _BATCH]]).astype(int)
            wrong = yield from judging.wrong(suspects_of(some.tolist(), counts), surely=surely)
            if wrong or budget.over:
                return wrong
        return ()
