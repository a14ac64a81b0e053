"""What a check looks at in an exact table: what own counts contradict, what is heavy, then secret draws."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fedcoin_cli.learning.coalitions.exact import coalition_sizes
from fedcoin_cli.learning.coalitions.walks import Counts
from fedcoin_cli.learning.game.game import Floats
from fedcoin_cli.learning.game.utility import Utility
from fedcoin_cli.learning.pace import Pace
from fedcoin_cli.learning.shapley.judging import Judging, Suspect
from fedcoin_cli.learning.shapley.looking import Budget, Steps

DRAWN_MASKS: Final = 1_024
"""Of an exact table with 0.5% false counts they miss all once in 170 times."""
MOST_DISAGREEMENTS: Final = 256

_COUNTED_FIRST: Final = 64


@dataclass(frozen=True, slots=True)
class ExactLook:
    """One look at the counts of all coalitions.

    `utility` makes the own engine; None: the reference counts all. `heavy` is what it has counted of the heavy ones so
    far, the same for all tables of a task.
    """

    counts: Counts
    clients: int
    judging: Judging
    budget: Budget
    random: np.random.Generator
    clock: Callable[[], float]
    utility: Callable[[], Utility] | None
    heavy: dict[int, int]

    def steps(self, own: Counts | None) -> Steps[tuple[int, ...]]:
        """The wrong entries among those that were looked at; `own` are the counts of all coalitions, if known here.

        However slow this machine is, each heavy one is held against an own count or judged, and so is the first that
        differs. [P-8.15]
        """
        sizes = coalition_sizes(self.clients)[1:]
        # A ranking visits one coalition of each size, whichever it is.
        weights = 1.0 / np.bincount(sizes)[sizes]
        if own is not None:
            differ = _differing(self.counts, own, weights)
            wrong = yield from self.judging.wrong(self._suspects(differ), surely=True)
            rest = [mask - 1 for mask in heavy_masks(self.clients) if mask - 1 not in set(differ)]
            if wrong or self.budget.over:
                return wrong
            return (yield from self.judging.wrong(self._suspects(rest), surely=False))
        wrong = yield from self._heavy_ones()
        if wrong or self.budget.over:
            return wrong
        return (yield from self._draws(weights, sizes))

    def _suspects(self, entries: Iterable[int]) -> list[Suspect]:
        return suspects_of(entries, self.counts)

    # What is heavy ----------------------------------------------------------------------------------------------

    def _heavy_ones(self) -> Steps[tuple[int, ...]]:
        """All of them by the reference, or, where that takes longer than there is time, first by the own engine."""
        heavy = [mask - 1 for mask in heavy_masks(self.clients)]
        if self.utility is None:
            for entry in heavy:
                wrong = yield from self.judging.wrong(self._suspects([entry]), surely=True)
                if wrong:
                    return wrong
            return ()
        wrong = yield from self.judging.wrong(self._suspects(heavy[:1]), surely=False)
        if wrong:
            return wrong
        if self.budget.over or len(heavy) * self.budget.taken_s > self.budget.seconds:
            yield from self._count_heavy(self.utility())
            differ = [entry for entry in heavy if self.heavy[entry + 1] != self.counts[entry]]
            wrong = yield from self.judging.wrong(self._suspects(differ), surely=True)
            if wrong or self.budget.over:
                return wrong
        return (yield from self.judging.wrong(self._suspects(heavy[1:]), surely=False))

    def _count_heavy(self, utility: Utility) -> Steps[None]:
        missing = sorted(mask for mask in heavy_masks(self.clients) if mask not in self.heavy)
        pace = Pace(len(missing) or 1, utility.batch)
        while missing:
            some, missing = missing[: pace.size], missing[pace.size :]
            began = self.clock()
            self.heavy.update(zip(some, utility.counts(some).tolist(), strict=True))
            pace.took(len(some), self.clock() - began)
            yield

    # Draws ------------------------------------------------------------------------------------------------------

    def _draws(self, weights: Floats, sizes: Counts) -> Steps[tuple[int, ...]]:
        drawn, start = self._drawn(weights, sizes), 0
        utility = None if self.utility is None else self.utility()
        batch = 1 if utility is None else utility.batch
        pace = Pace(len(drawn) or 1, min(_COUNTED_FIRST, batch))
        while start < len(drawn) and not self.budget.over:
            some = sorted(
                drawn[start : start + pace.size]
            )  # neighbours share members, and so the kernel's work
            start += len(some)
            suspects = some
            if utility is not None:
                began = self.clock()
                own = utility.counts([entry + 1 for entry in some]).tolist()
                pace.took(len(some), self.clock() - began)
                suspects = [
                    entry for entry, count in zip(some, own, strict=True) if self.counts[entry] != count
                ]
                yield
            wrong = yield from self.judging.wrong(self._suspects(suspects), surely=utility is not None)
            if wrong:
                return wrong
        return ()

    def _drawn(self, weights: Floats, sizes: Counts) -> list[int]:
        """Secret draws: half by weight, half by weight times how far a count lies from the mean of its size."""
        means = np.bincount(sizes, self.counts) / np.maximum(np.bincount(sizes), 1)
        by_deviation = self._pick(weights * np.abs(self.counts - means[sizes]))
        return list(dict.fromkeys([*self._pick(weights), *by_deviation]))

    def _pick(self, weights: Floats) -> list[int]:
        count = min(DRAWN_MASKS // 2, int(np.count_nonzero(weights)))
        if count == 0:
            return []
        picked = self.random.choice(len(weights), count, replace=False, p=weights / weights.sum())
        places: list[int] = picked.tolist()
        return places


def heavy_masks(clients: int) -> list[int]:
    """The full coalition, singletons and co-singletons.

    One such mask moves a value by its error / K; a uniform draw would hardly ever see it. [P-8.15]
    """
    full = (1 << clients) - 1
    singles = [1 << client for client in range(clients)]
    return list(dict.fromkeys([full, *singles, *(full ^ single for single in singles if full != single)]))


def suspects_of(entries: Iterable[int], counts: Counts) -> list[Suspect]:
    """These entries of a table as what is to be judged."""
    return [Suspect(entry, int(counts[entry])) for entry in entries]


def _differing(counts: Counts, own: Counts, weights: Floats) -> Sequence[int]:
    """Entries where own counts differ, the largest weight × difference first."""
    gap = np.abs(own - counts) * weights
    order = np.argsort(-gap, kind="stable")[:MOST_DISAGREEMENTS]
    return [entry for entry in order.tolist() if gap[entry]]
