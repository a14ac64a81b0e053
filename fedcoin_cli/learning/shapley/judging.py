"""Judging counts: which of some claims are false, by the reference and in steps.

A claim outside [lo, hi] is false. Bounds of graphs are measured, not proven: whoever makes the graph can have engines
err by more, so there a claim that the own engine counts as well is not. (docs/adr/0047)

A slow model's interval takes seconds, and on all images minutes, so they are taken part by part of the images and, one
by one or many together, as many as a slice takes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.game.game import member_bits
from fedcoin_cli.learning.game.utility import Apart, Utility, Walker
from fedcoin_cli.learning.metrics.nobody import bounds_of
from fedcoin_cli.learning.pace import Pace
from fedcoin_cli.learning.reference.referee import Referee, reference_for
from fedcoin_cli.learning.reference.reference import RAISE_FACTOR, Interval
from fedcoin_cli.learning.shapley.looking import Budget, Look, Steps
from fedcoin_cli.learning.shapley.table import Claim, Place, TableTerms, place_of

_BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Suspect:
    """A count of a table that is to be judged: its entry, what the table claims, how far off that seems."""

    entry: int
    claimed: int
    off: int = 0


@dataclass(frozen=True, slots=True)
class Engines:
    """What counts here: rankings of blocks, and coalitions on all images; made when they are first needed."""

    walker: Callable[[], Walker]
    utility: Callable[[], Utility]

    def count(self, place: Place, clients: int) -> int:
        """What they count at one place, the walker being `Apart`."""
        if place.block is None:
            return int(self.utility().counts([place.mask])[0])
        walker, full = self.walker(), (1 << clients) - 1
        if place.mask in (0, full):
            return int(walker.ends()[place.mask == full][place.block])
        assert isinstance(walker, Apart)
        return int(walker.count(place.block, member_bits([place.mask], clients))[0])


class CountJudge:
    """What is right at any place of a task's tables [P-8.16].

    Without `engines` the reference is asked alone.
    """

    def __init__(self, reference: Referee, partition: Partition, engines: Engines | None = None) -> None:
        self._reference, self._partition, self._engines = reference, partition, engines

    @cached_property
    def _baseline(self) -> Referee | None:
        game = self._reference.game
        return None if game.baseline is None else reference_for(game.of_update(game.baseline))

    def intervals(self, places: Sequence[Place], factor: int) -> list[Interval]:
        """lo, count and hi of each place at factor·ε; neighbours of one block together are quickest."""
        return Look(self.steps(places, factor)).finish()

    def steps(self, places: Sequence[Place], factor: int) -> Steps[list[Interval]]:
        """The same in steps."""
        found: list[Interval] = []
        for block, group in groupby(places, key=lambda place: place.block):
            masks = [place.mask for place in group]
            if block is None:
                found += yield from self._on_all_images(masks, factor)
            else:
                found += yield from self._of_block(block, masks, factor)
        return found

    def false(self, places: Sequence[Place], claimed: Sequence[int], factor: int) -> Steps[list[bool]]:
        """Which claims are false at factor·ε, in steps [P-6.7] [P-6.26]."""
        bounds = yield from self.steps(places, factor)
        found = []
        for place, count, bound in zip(places, claimed, bounds, strict=True):
            outside = not bound.lo <= count <= bound.hi
            if outside and self.counts_so(place, count):
                outside = False
                yield
            found.append(outside)
        return found

    def counts_so(self, place: Place, claimed: int) -> bool:
        """Whether bounds are not proven and the own engine counts the same."""
        if self._reference.proven or self._engines is None:
            return False
        return self._engines.count(place, self._reference.game.clients) == claimed

    def _of_block(self, block: int, masks: Sequence[int], factor: int) -> Steps[list[Interval]]:
        positions, clients = self._partition.block(block), self._reference.game.clients
        some = [mask for mask in masks if mask]
        by_mask: dict[int, Interval] = {}
        if len(self._partition) == 1:
            found = yield from self._on_all_images(some, factor)
            by_mask = dict(zip(some, found, strict=True))
        elif some:
            bounds = self.block_bounds(block, member_bits(some, clients), factor).tolist()
            by_mask = {mask: Interval(*one) for mask, one in zip(some, bounds, strict=True)}
            yield
        if len(some) < len(masks):
            by_mask[0] = Interval(*self._of_nobody(positions, factor))
        return [by_mask[mask] for mask in masks]

    def _on_all_images(self, masks: Sequence[int], factor: int) -> Steps[list[Interval]]:
        totals = np.zeros((len(masks), 3), np.int64)
        if masks:
            for _ in self._reference.steps(masks, factor, totals):
                yield
        return [Interval(*row) for row in totals.tolist()]

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


class Judging:
    """Claims of one table judged within a budget.

    Args:
        judge: says what is right.
        terms: what the table is read against.
        claim: whose table it is.
        budget: the check's.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        judge: CountJudge,
        terms: TableTerms,
        claim: Claim,
        budget: Budget,
        clock: Callable[[], float],
    ) -> None:
        self._judge, self._terms, self._claim = judge, terms, claim
        self._budget, self._clock = budget, clock
        self._pace = Pace(_BATCH)

    def wrong(self, suspects: Sequence[Suspect], *, surely: bool) -> Steps[tuple[int, ...]]:
        """False entries at 2ε of the first batch that has any, in the order in which they are given.

        Once the budget is over no batch is begun; one that is begun `surely` is judged to its end, and so is the first.
        """
        start = 0
        while start < len(suspects):
            batch = suspects[start : start + self._pace.size]
            wrong = yield from self._outside(batch, surely=surely)
            if wrong or self._budget.over:
                return wrong
            start += len(batch)
        return ()

    def _outside(self, suspects: Sequence[Suspect], *, surely: bool) -> Steps[tuple[int, ...]]:
        places = [place_of(one.entry, self._claim, self._terms) for one in suspects]
        claimed = [one.claimed for one in suspects]
        look = Look(self._judge.false(places, claimed, RAISE_FACTOR), clock=self._clock)
        while look.advance():
            yield
            if self._budget.over and not surely:
                return ()
        self._pace.took(len(suspects), look.budget.taken_s)
        return tuple(one.entry for one, false in zip(suspects, look.found, strict=True) if false)
