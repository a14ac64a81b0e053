"""Checking a table: recompute counts in float64 and compare claims with [lo, hi].

Of a sampled table the counts of every block's ∅ and full coalition come first, for they enter all of the block's
rankings, then secret draws: whole rankings of single blocks, which the miner's own walker counts as fast as it mines.
Of an exact one come the coalitions on which it and the own counts disagree, those that weigh most in the sums, then
secret draws. Only what the own engine counts otherwise is judged, by the reference, which knows what is right.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.exact import coalition_sizes
from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.coalitions.walks import Counts, orders_at
from fedcoin_cli.learning.game.game import Floats, member_bits
from fedcoin_cli.learning.game.utility import Utility, Walker
from fedcoin_cli.learning.metrics.nobody import bounds_of
from fedcoin_cli.learning.reference.referee import Referee, reference_for
from fedcoin_cli.learning.reference.reference import RAISE_FACTOR, Interval
from fedcoin_cli.learning.shapley.table import (
    Claim,
    Place,
    TableTerms,
    all_counts,
    decode,
    decode_exact,
    entry_count,
    place_of,
)

DRAWN_RANKINGS: Final = 4_096
"""Where 0.2% of a table's rankings are false in some block they miss all once in 3,600 times."""
DRAWN_MASKS: Final = 1_024
"""Of an exact table with 0.5% false counts they miss all once in 170 times."""
MOST_DISAGREEMENTS: Final = 256

_BATCH: Final = 16
_DRAWN_AT_ONCE: Final = 512
# Each batch of draws is twice the one before: a short budget is kept to, and few calls use up a long one.
_SCREENED_FIRST: Final = 64


@dataclass(frozen=True, slots=True)
class Engines:
    """What counts here: rankings of blocks, and coalitions on all images; made when they are first needed."""

    walker: Callable[[], Walker]
    utility: Callable[[], Utility]


class Checker:
    """Finds false counts in tables of one task.

    Args:
        reference: what is right.
        terms: what the task's tables are read against.
        partition: the blocks.
        engines: count drawn coalitions quickly; without them the reference counts them.
        clock: monotonic seconds.

    (docs/adr/0012, docs/adr/0033)
    """

    def __init__(
        self,
        reference: Referee,
        terms: TableTerms,
        partition: Partition,
        engines: Engines | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._judge = CountJudge(reference, partition)
        self._terms, self._partition, self._engines, self._clock = terms, partition, engines, clock
        # Fresh from the system: nobody can know what will be looked at.
        self._random = np.random.default_rng()

    def wrong_entries(
        self, data: bytes, claim: Claim, budget_s: float, own: Counts | None = None
    ) -> tuple[int, ...]:
        """Entries whose claims lie outside [lo, hi] of 2ε; `own` are the counts of all coalitions, if known here.

        Stops after the batch in which the first is found, or when the budget is over.

        Raises:
            Malformed: not the table of this claim.

        [P-6.7]
        """
        until = self._clock() + budget_s
        if claim.exact:
            return self._first_wrong(self._suspects_exact(decode_exact(data, self._terms), own), claim, until)
        return self._first_wrong(self._suspects(data, claim), claim, until)

    def own_errors(self, data: bytes, claim: Claim, budget_s: float) -> tuple[int, ...]:
        """The same of the own table, by the reference alone: what others would accuse this miner of."""
        until = self._clock() + budget_s
        if claim.exact:
            counts = decode_exact(data, self._terms)
            heavy = [mask - 1 for mask in heavy_masks(self._terms.clients)]
            return self._first_wrong([zip(heavy, counts[heavy].tolist(), strict=True)], claim, until)
        return self._first_wrong(self._drawn_of_own(data, claim), claim, until)

    def is_wrong(self, data: bytes, claim: Claim, entry: int) -> bool:
        """Whether the count number `entry` lies outside [lo, hi] of ε: what makes a FRAUD accepted [P-6.7].

        Raises:
            Malformed: the table has no such entry.
        """
        place = place_of(entry, claim, self._terms)
        bound = self._judge.intervals([place], 1)[0]
        return not bound.lo <= entry_count(data, claim, entry, self._terms) <= bound.hi

    # ------------------------------------------------------------------------------------------------------------

    def _first_wrong(
        self, batches: Iterable[Iterable[tuple[int, int]]], claim: Claim, until: float
    ) -> tuple[int, ...]:
        """Of entries with their claims the wrong ones of the first batch that has any."""
        for suspects in batches:
            claimed = list(suspects)
            for start in range(0, len(claimed), _BATCH):
                wrong = self._outside(claimed[start : start + _BATCH], claim)
                if wrong or self._clock() >= until:
                    return wrong
            if self._clock() >= until:
                break
        return ()

    def _outside(self, claimed: Sequence[tuple[int, int]], claim: Claim) -> tuple[int, ...]:
        places = [place_of(entry, claim, self._terms) for entry, _ in claimed]
        bounds = self._judge.intervals(places, RAISE_FACTOR)
        return tuple(
            entry
            for (entry, count), bound in zip(claimed, bounds, strict=True)
            if not bound.lo <= count <= bound.hi
        )

    # Sampled tables ---------------------------------------------------------------------------------------------

    def _suspects(self, data: bytes, claim: Claim) -> Iterator[list[tuple[int, int]]]:
        """Batches of entries that the own walker counts otherwise [P-8.14]."""
        table = decode(data, claim, self._terms)
        if self._engines is None:
            yield from self._drawn_of_own(data, claim)
            return
        walker = self._engines.walker()
        ends = np.concatenate(walker.ends())
        claims = np.concatenate(table.ends)
        yield [(entry, int(claims[entry])) for entry in np.flatnonzero(claims != ends).tolist()]
        blocks, steps = len(self._terms.sizes), self._terms.clients - 1
        drawn = 0
        while drawn < DRAWN_RANKINGS:
            first = int(self._random.integers(max(1, blocks - _DRAWN_AT_ONCE + 1)))
            some = np.arange(first, min(first + _DRAWN_AT_ONCE, blocks))
            indices = self._random.integers(claim.rankings, size=(len(some), _DRAWN_AT_ONCE // len(some)))
            walked = orders_at(claim.seed, claim.miner_key, some, indices, self._terms.clients)
            own = walker.walk(range(first, first + len(some)), walked)
            claimed = table.walked[some[:, None], indices]
            rows, columns, step = np.nonzero(own != claimed)
            starts = 2 * blocks + (some[:, None] * claim.rankings + indices) * steps
            entries = (starts[rows, columns] + step).tolist()
            # A ranking may be drawn twice.
            yield list(dict(zip(entries, claimed[rows, columns, step].tolist(), strict=True)).items())
            drawn += indices.size

    def _drawn_of_own(self, data: bytes, claim: Claim) -> Iterator[list[tuple[int, int]]]:
        """Batches of drawn entries: ends of blocks and counts between them by turns."""
        decode(data, claim, self._terms)
        counts = all_counts(data, claim, self._terms)
        ends, size = 2 * len(self._terms.sizes), len(counts)
        of_ends = self._random.permutation(ends)
        between = np.unique(self._random.integers(ends, size, DRAWN_RANKINGS)) if size > ends else of_ends[:0]
        between = self._random.permutation(between)
        for start in range(0, max(len(of_ends), len(between)), _BATCH):
            entries = np.sort([*of_ends[start : start + _BATCH], *between[start : start + _BATCH]]).astype(
                int
            )
            yield [(entry, int(counts[entry])) for entry in entries.tolist()]

    # Exact tables -----------------------------------------------------------------------------------------------

    def _suspects_exact(self, counts: Counts, own: Counts | None) -> Iterator[list[tuple[int, int]]]:
        """Batches of entries: where own counts differ, what is heavy, what the own engine counts otherwise [P-8.15]."""
        clients = self._terms.clients
        sizes = coalition_sizes(clients)[1:]
        # A ranking visits one coalition of each size, whichever it is.
        weights = 1.0 / np.bincount(sizes)[sizes]
        first = [] if own is None else _differing(counts, own, weights)
        heavy = [mask - 1 for mask in heavy_masks(clients)]
        yield _with_claims(dict.fromkeys([*first, *heavy]), counts)
        if own is not None:
            return  # nothing else differs
        drawn = self._drawn(counts, weights, sizes)
        start, size = 0, _SCREENED_FIRST
        while start < len(drawn):
            yield _with_claims(self._screened(drawn[start : start + size], counts), counts)
            start, size = start + size, 2 * size

    def _screened(self, entries: Sequence[int], counts: Counts) -> Sequence[int]:
        """Those whose claims are not what the own engine counts."""
        if self._engines is None:
            return entries
        ordered = sorted(entries)  # neighbours share most of their members, and so most of the kernel's work
        own = self._engines.utility().counts([entry + 1 for entry in ordered])
        return [entry for entry, count in zip(ordered, own.tolist(), strict=True) if counts[entry] != count]

    def _drawn(self, counts: Counts, weights: Floats, sizes: Counts) -> list[int]:
        """Secret draws: half by weight, half by weight times how far a count lies from the mean of its size."""
        means = np.bincount(sizes, counts) / np.maximum(np.bincount(sizes), 1)
        by_deviation = self._pick(weights * np.abs(counts - means[sizes]))
        return list(dict.fromkeys([*self._pick(weights), *by_deviation]))

    def _pick(self, weights: Floats) -> list[int]:
        count = min(DRAWN_MASKS // 2, int(np.count_nonzero(weights)))
        if count == 0:
            return []
        picked = self._random.choice(len(weights), count, replace=False, p=weights / weights.sum())
        places: list[int] = picked.tolist()
        return places


class CountJudge:
    """What is right at any place of a task's tables [P-8.16]."""

    def __init__(self, reference: Referee, partition: Partition) -> None:
        self._reference, self._partition = reference, partition

    @cached_property
    def _baseline(self) -> Referee | None:
        game = self._reference.game
        return None if game.baseline is None else reference_for(game.of_update(game.baseline))

    def intervals(self, places: Sequence[Place], factor: int) -> list[Interval]:
        """lo, count and hi of each place at factor·ε; neighbours of one block together are quickest."""
        found: list[Interval] = []
        for block, group in groupby(places, key=lambda place: place.block):
            masks = [place.mask for place in group]
            if block is None:
                found += self._reference.intervals(masks, factor)
            else:
                found += self._of_block(block, masks, factor)
        return found

    def _of_block(self, block: int, masks: Sequence[int], factor: int) -> list[Interval]:
        positions, clients = self._partition.block(block), self._reference.game.clients
        some = [mask for mask in masks if mask]
        by_mask: dict[int, list[int]] = {}
        if len(self._partition) == 1:  # chunk by chunk
            found = self._reference.intervals(some, factor)
            by_mask = {mask: [one.lo, one.count, one.hi] for mask, one in zip(some, found, strict=True)}
        elif some:
            bounds = self.block_bounds(block, member_bits(some, clients), factor)
            by_mask = dict(zip(some, bounds.tolist(), strict=True))
        if len(some) < len(masks):
            by_mask[0] = self._of_nobody(positions, factor)
        return [Interval(*by_mask[mask]) for mask in masks]

    def _of_nobody(self, positions: npt.NDArray[np.int64], factor: int) -> list[int]:
        if self._baseline is None:
            bounds: list[int] = bounds_of(self._reference.game, [positions])[0].tolist()
            return bounds
        alone = np.ones((1, 1), np.uint8)
        named: list[int] = self._baseline.block_intervals(positions, alone, factor)[0].tolist()
        return named

    def block_bounds(self, block: int, members: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.int64]:
        """lo, count and hi of non-empty coalitions (masks, K) on one block, (masks, 3)."""
        return self._reference.block_intervals(self._partition.block(block), members, factor)


def heavy_masks(clients: int) -> list[int]:
    """The full coalition, singletons and co-singletons.

    One such mask moves a value by its error / K; a uniform draw would hardly ever see it. [P-8.15]
    """
    full = (1 << clients) - 1
    singles = [1 << client for client in range(clients)]
    return list(dict.fromkeys([full, *singles, *(full ^ single for single in singles if full != single)]))


def _differing(counts: Counts, own: Counts, weights: Floats) -> list[int]:
    """Entries where own counts differ, the largest weight × difference first."""
    gap = np.abs(own - counts) * weights
    order = np.argsort(-gap, kind="stable")[:MOST_DISAGREEMENTS]
    return [entry for entry in order.tolist() if gap[entry]]


def _with_claims(entries: Iterable[int], counts: Counts) -> list[tuple[int, int]]:
    return [(entry, int(counts[entry])) for entry in entries]
