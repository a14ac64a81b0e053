"""One miner's work on one task: walk derived rankings in every block, or enumerate all coalitions when that fits.

A `MiningSession` is advanced in slices, so that its owner can answer other questions in between; it goes on over
attempts. It decides nothing about money: its result is t, integer sums and the table that proves them. No other module
here looks at a clock.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from fedcoin_cli.consensus.rankings import grid_floor, grid_up_to
from fedcoin_cli.learning.coalitions.exact import MAX_EXACT_CLIENTS, exact_numerators
from fedcoin_cli.learning.coalitions.walks import Counts, Orders, orders
from fedcoin_cli.learning.game.utility import Enumeration, Found, Walker
from fedcoin_cli.learning.pace import SLICE_S
from fedcoin_cli.learning.shapley.kept_walks import KeptWalks
from fedcoin_cli.learning.shapley.precision import Marginals, Precision, Walk, precision_of
from fedcoin_cli.learning.shapley.table import Claim, Entries, Table, TableTerms, encode_exact, sums_of
from ledger_store.base.names import Digest
from ledger_store.transaction import Estimate

Estimator = Literal["auto", "exact", "balanced"]

# Enumerating is chosen when it would end within this share of the time left: measured speeds waver.
SAFE_SHARE: Final = 0.8
# What ends so much after RUNTIME is not begun: commits are waited for 10 s, and a table is looked at before.
_LATE_S: Final = 1.0
# With so many rankings a part nearly all is counted in the cache.
_RANKINGS_A_PART: Final = 10
# How many clients' joinings are laid out at a time where nobody waits for a slice.
_RESTORED_AT_ONCE: Final = 1 << 20
# From here on the bound on payments foretells how many more rankings a wanted one takes.
_TELLING_RANKINGS: Final = 16


@dataclass(frozen=True, slots=True)
class Stakes:
    """What values are worth: TrainPrice, and the payment error at which walking ends, 95% however often one looks."""

    train_micro: int
    error_micro: int | None = None


@dataclass(frozen=True, slots=True)
class MiningPlan:
    """What to mine: the task's seed, the miner's key (32 bytes each), the grid's ends, how, and for what.

    Without `stakes` nothing is said of errors.
    """

    seed: bytes
    miner_key: bytes
    least: int
    most: int
    runtime_s: float
    estimator: Estimator = "auto"
    stakes: Stakes | None = None

    def claim(self, rankings: int, *, exact: bool) -> Claim:
        """The estimate of so many rankings."""
        return Claim(self.seed, self.miner_key, rankings, exact)


@dataclass(frozen=True, slots=True)
class MiningProgress:
    """Where a session stands: rankings that every block has walked, and coalitions enumerated of all, if it does that.

    `precision` is that of the rankings walked; None without stakes, before two rankings, and once all is known.
    """

    rankings: int
    enumerated: int
    exact_total: int | None
    finished: bool
    precision: Precision | None


@dataclass(frozen=True, slots=True)
class MinedEstimate:
    """An estimate before its table has a name: N_j over t rankings, or E_j of an exact one, and the table's bytes.

    `precision` is None for an exact one, without stakes and before two rankings.
    """

    rankings: int
    exact: bool
    sums: tuple[int, ...]
    table: bytes
    precision: Precision | None

    def stored(self, table: Digest) -> Estimate:
        """The same once its table lies in a store as `table`."""
        return Estimate(self.rankings, self.exact, self.sums, table)


@dataclass(slots=True)
class _Part:
    """Rankings being walked: their numbers, counts (blocks, rankings, K − 1), and each stream's for the precision."""

    rankings: range
    counts: Entries
    walks: tuple[Walk, Walk]
    blocks_done: int = 0


class _Stride:
    """How many blocks of the present rankings the next slice walks: what a call counts together, then by speed."""

    def __init__(self, together: int) -> None:
        self.blocks = self._together = together
        # What the last slice took, and of it a coalition on a block.
        self.slice_s = self.count_s = 0.0

    def took(self, blocks: int, shape: tuple[int, ...], seconds: float) -> None:
        """So many blocks of (rankings, coalitions) took so long; at most four times as many are walked next."""
        rankings, coalitions = shape
        self.slice_s, self.count_s = seconds, seconds / (blocks * rankings * max(1, coalitions))
        fitting = int(blocks * SLICE_S / max(seconds, 1e-6))
        self.blocks = max(1, self._together // rankings, min(fitting, 4 * self.blocks))


class MiningSession:
    """The resumable work of one miner on one task.

    Args:
        walker: where counts along rankings come from.
        enumeration: where the counts of all coalitions come from; None where there are too many.
        terms: K, the blocks and u(∅).
        plan: seed, key, grid, RUNTIME, estimator and stakes.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        walker: Walker,
        enumeration: Enumeration | None,
        terms: TableTerms,
        plan: MiningPlan,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.terms, self.plan = terms, plan
        self._walker, self._clock = walker, clock
        self._enumeration = enumeration if terms.clients <= MAX_EXACT_CLIENTS else None
        self._deadline = clock() + plan.runtime_s
        # None while it is undecided.
        self._enumerates: bool | None = plan.estimator == "exact" and self._enumeration is not None
        if plan.estimator == "auto" and self._enumeration is not None:
            self._enumerates = None
        self._ends = walker.ends()
        self._walked: list[Entries] = []
        self._rankings = 0
        # The file that keeps them over a crash.
        self._kept = KeptWalks(terms)
        self._part: _Part | None = None
        self._stride = _Stride(walker.together)
        self._marginals = Marginals(len(terms.sizes), terms.clients)
        self._precision: Precision | None = None
        self._looked, self._looks = 0, 0
        stakes = plan.stakes
        self._wanted_micro = None if stakes is None or plan.estimator == "exact" else stakes.error_micro

    def extend(self, runtime_s: float) -> None:
        """Go on for another attempt of the same task: everything walked and enumerated is kept.

        Payments known well enough do not end it again: the miners were too far apart, so more rankings are due. [P-7.9]
        """
        self._deadline = self._clock() + runtime_s
        self._wanted_micro = None
        if self.plan.estimator == "auto" and self._enumeration is not None and not self._enumerates:
            self._enumerates = None

    def advance(self, budget_s: float) -> MiningProgress:
        """Work for about `budget_s` seconds (at least one slice), or until finished."""
        until = self._clock() + budget_s
        while not self._finished():
            if self._should_enumerate() and self._enumeration is not None:
                self._enumeration.step()
            else:
                self._walk()
            if self._clock() >= until:
                break
        return self.progress()

    def progress(self) -> MiningProgress:
        """Where it stands."""
        total, done, enumeration = None, 0, self._enumeration
        if enumeration is not None and self._enumerates:
            total = (1 << self.terms.clients) - 1
            done = total * enumeration.done // enumeration.total
        precision = None if self._everything_known() else self._precision
        return MiningProgress(self._rankings, done, total, self._finished(), precision)

    def known(self) -> Counts | None:
        """The counts of all coalitions, once they are there."""
        return self._enumeration.counts() if self._enumeration and self._everything_known() else None

    def estimate(self) -> MinedEstimate:
        """The estimate of everything known so far.

        Raises:
            ValueError: fewer than `plan.least` rankings are walked.
        """
        counts = self.known()
        if counts is not None:
            values = exact_numerators(counts, self.terms.empty, self.terms.clients)
            return MinedEstimate(
                self.plan.most, True, tuple(values), encode_exact(counts, self.terms.exact_width), None
            )
        count = grid_floor(self._rankings, self.plan.least, self.plan.most)
        table = self._table(count)
        sums = sums_of(table, self.plan.claim(count, exact=False))
        return MinedEstimate(count, False, sums, table.encode(self.terms.width), self._precision)

    def _table(self, count: int) -> Table:
        shape = (len(self.terms.sizes), 0, self.terms.clients - 1)
        walked = np.concatenate([np.empty(shape, self.terms.kind), *self._walked], axis=1)[:, :count]
        empty, full = self._ends
        return Table(empty.astype(self.terms.kind), full.astype(self.terms.kind), walked)

    # Walking ----------------------------------------------------------------------------------------------------

    def _walk(self) -> None:
        """A slice: some blocks of the rankings that are being walked."""
        part = self._part = self._part or self._next_part()
        blocks = range(part.blocks_done, min(part.blocks_done + self._stride.blocks, len(self.terms.sizes)))
        started = self._clock()
        walked = self._orders(blocks, part.rankings)
        counts = self._walker.walk(blocks, walked)
        self._fill(part, blocks, walked, counts)
        self._stride.took(len(blocks), counts.shape[1:], self._clock() - started)
        if part.blocks_done == len(self.terms.sizes):
            self._take(part)

    def _orders(self, blocks: range, rankings: range) -> Orders:
        return orders(self.plan.seed, self.plan.miner_key, blocks, rankings, self.terms.clients)

    def _fill(self, part: _Part, blocks: range, walked: Orders, counts: Found) -> None:
        """What some blocks counted on their way."""
        place = slice(blocks.start, blocks.stop)
        part.counts[place] = counts
        if self.plan.stakes is not None:
            ends = (self._ends[0][place], self._ends[1][place])
            for stream in (0, 1):
                mine = slice((stream - part.rankings.start) % 2, None, 2)
                part.walks[stream].put(place, walked[:, mine], counts[:, mine], ends)
        part.blocks_done = blocks.stop

    def _next_part(self) -> _Part:
        """As many rankings as a slice of all blocks takes, or a few more.

        What a block needs comes from memory once a part. A part that RUNTIME cuts off is lost, so it is small beside
        what has been walked.
        """
        few = min(_RANKINGS_A_PART, self._rankings // 8)
        wanted = max(1, few, self._stride.blocks // len(self.terms.sizes))
        if self._rankings < self.plan.least:  # RUNTIME may end with these
            wanted = min(wanted, self.plan.least - self._rankings)
        part = self._part_of(wanted)
        self._stride.blocks = max(1, self._stride.blocks // len(part.rankings))
        return part

    def _part_of(self, count: int) -> _Part:
        """The next rankings, at most so many, within one pair of squares."""
        blocks, clients = len(self.terms.sizes), self.terms.clients
        pair_ends = 2 * clients * (self._rankings // (2 * clients) + 1)
        stop = min(self._rankings + count, self.plan.most, pair_ends)
        rankings = range(self._rankings, max(stop, self._rankings + 1))
        counts = np.empty((blocks, len(rankings), clients - 1), self.terms.kind)
        return _Part(rankings, counts, (Walk.of(blocks, clients), Walk.of(blocks, clients)))

    def _take(self, part: _Part) -> None:
        self._part = None
        self._walked.append(part.counts)
        for stream, walk in enumerate(part.walks):
            self._marginals.add(stream, walk)
        self._rankings = part.rankings.stop
        # What is known of one ranking a slice holds for several as well.
        self._stride.blocks *= len(part.rankings)
        self._observe()

    # A crash ----------------------------------------------------------------------------------------------------

    def save(self, walked: Path, enumerated: Path) -> None:
        """Keep what is known in two files; a full or read-only disk loses nothing but them."""
        if self._enumerates and self._enumeration is not None:
            self._enumeration.save(enumerated)
        self._kept.save(walked, self._walked)

    def restore(self, walked: Path, enumerated: Path) -> None:
        """Take over what `save` has left, if there is anything and it can be of this game."""
        if self._enumeration is not None:
            self._enumeration.restore(enumerated)
        self._restore(walked)

    def _restore(self, path: Path) -> None:
        blocks, clients = len(self.terms.sizes), self.terms.clients
        counts = self._kept.read(path, self.plan.most)
        if counts is None:
            return
        count = counts.shape[1]
        while self._rankings < count:
            part = self._part_of(min(count - self._rankings, max(1, _RESTORED_AT_ONCE // (blocks * clients))))
            walked = self._orders(range(blocks), part.rankings)
            self._fill(part, range(blocks), walked, counts[:, part.rankings.start : part.rankings.stop])
            self._take(part)
        self._kept.saved, self._stride.blocks = count, self._walker.together

    def _observe(self) -> None:
        """At each new number on the grid: what the rankings say of values and payments."""
        if self.plan.stakes is None:
            return
        reached = grid_up_to(min(self._rankings, self.plan.most))
        if reached == self._looked:
            return
        self._looked, self._looks = reached, self._looks + 1
        train_micro = self.plan.stakes.train_micro
        self._precision = precision_of(self._marginals, self.terms.whole, train_micro, self._looks)

    # Ends -------------------------------------------------------------------------------------------------------

    def _finished(self) -> bool:
        if self._everything_known():
            return True
        if self._rankings < self.plan.least:
            return False
        # A miner that enumerates may have walked all its rankings; it still works towards exactness.
        walked = self._rankings >= self.plan.most and not self._enumerates
        return walked or self._precise() or self._too_late()

    def _too_late(self) -> bool:
        """Whether RUNTIME is over, or what comes next would end well after it."""
        now = self._clock()
        next_s = 0.0 if self._enumerates else self._stride.slice_s
        return now >= self._deadline or now + next_s > self._deadline + _LATE_S

    def _precise(self) -> bool:
        """Whether all payments are known as well as the task asks for [P-7.13]."""
        if self._wanted_micro is None or self._precision is None or self._enumerates:
            return False
        return self._precision.bound_micro <= self._wanted_micro

    def _everything_known(self) -> bool:
        enumeration = self._enumeration
        return bool(self._enumerates) and enumeration is not None and enumeration.done == enumeration.total

    def _should_enumerate(self) -> bool:
        """Whether to count all coalitions: decided once an attempt, after the least rankings, by measuring."""
        enumeration = self._enumeration
        if enumeration is None or self._rankings < self.plan.least:
            return False
        if self._enumerates is None:
            left_s = enumeration.seconds_left()
            if left_s is None:
                # A slice to measure by, unless one coalition on all images takes most of the time.
                whole_s = self._stride.count_s * len(self.terms.sizes)
                return 2 * whole_s < self._deadline - self._clock()
            if self._wanted_micro is not None and self._rankings < min(_TELLING_RANKINGS, self.plan.most):
                return False
            fits = left_s <= SAFE_SHARE * (self._deadline - self._clock())
            self._enumerates = fits and not self._walking_ends_sooner(left_s)
        return self._enumerates

    def _walking_ends_sooner(self, enumerating_s: float) -> bool:
        """Whether the wanted payment error takes less time than enumerating: errors fall with √t."""
        if self._wanted_micro is None or self._precision is None:
            return False
        walked_s = self.plan.runtime_s - (self._deadline - self._clock())
        return walked_s * ((self._precision.bound_micro / self._wanted_micro) ** 2 - 1) < enumerating_s
