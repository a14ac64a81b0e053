"""One miner's work on one task: walk derived rankings, or enumerate all coalitions when that fits into RUNTIME.

A `Session` is advanced in slices, so that its owner can answer other questions in between; it goes on over attempts.
It decides nothing about money: its result is t, integer sums and the table that proves them. This is the only
module of the room that looks at a clock.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from fedcoin_cli.consensus.rankings import grid_floor, grid_up_to, prefixes, ranking, rows_per_square
from fedcoin_cli.learning.mining.exact import MAX_EXACT_CLIENTS
from fedcoin_cli.learning.mining.memo import Memo
from fedcoin_cli.learning.mining.precision import Floats, Precision, Spread, square_means
from fedcoin_cli.learning.mining.table import Claim, TableTerms, derive, encode_exact, encode_visited
from fedcoin_cli.learning.mining.walks import Counts, Orders, marginal_sums, mask_bytes, orders, prefix_keys

Estimator = Literal["auto", "exact", "balanced"]

# Enumerating is chosen when it would end within this share of the time left: measured speeds waver.
_SAFE_SHARE: Final = 0.8
_MEASURED_AFTER: Final = 64
_LOOKAHEAD: Final = 64
_PROXY_COALITIONS: Final = 1_000
# So much of RUNTIME, and at most so long, all coalitions are counted together to see how long that would take.
_SAMPLE_SHARE: Final = 0.05
_SAMPLE_S: Final = 0.4
# What a session may hold, so that a miner stays below 2 GiB: counts, walked rankings, and what its table takes to make.
MOST_BYTES: Final = 1_400 * 2**20
_COALITION_BYTES: Final = 160  # measured: a dictionary's entry, a mask of 30 clients and a count
_POSITION_BYTES: Final = 48
_RANKINGS_AT_ONCE: Final = 1_024
# From here on the bound on payments is narrow enough to foretell how many more rankings a wanted one takes.
_TELLING_SQUARES: Final = 8


class Utility(Protocol):
    """What a session asks for counts; `engine.UtilityEngine` is one."""

    batch: int

    def counts(self, masks: Sequence[int]) -> npt.NDArray[np.int64]:
        """u(mask) in images for each non-empty mask, in order."""
        ...


class Whole(Protocol):
    """What counts all coalitions together, in `total` parts of alike cost; `cube.Cube` is one."""

    total: int

    @property
    def done(self) -> int:
        """How many parts are counted."""
        ...

    def step(self) -> None:
        """Do about a tenth of a second of the work."""
        ...

    def counts(self) -> npt.NDArray[np.int64]:
        """u(mask) in images for the masks 1..2^K−1, once all is done."""
        ...


@dataclass(frozen=True, slots=True)
class Stakes:
    """What values are worth: TrainPrice, φ(p) of each client in images (zeros without a proxy), and payment-error.

    `public_squares` is what φ(p) is the mean of, (squares, K), where it is not exact. With `error_micro` walking ends
    as soon as every payment is known to that, at 95% and however often one looks.
    """

    train_micro: int
    public: tuple[float, ...]
    error_micro: int | None = None
    public_squares: Floats | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to mine: the task's seed, the miner's key (32 bytes each), the grid's ends, how, and for what.

    Without `stakes` nothing is said of errors.
    """

    seed: bytes
    key: bytes
    least: int
    most: int
    runtime_s: float
    estimator: Estimator = "auto"
    stakes: Stakes | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a session stands: whole rankings walked, distinct coalitions evaluated, how many exactness needs.

    Where all coalitions are counted together, `evaluated` is that share of them which the images done are of all.
    `precision` is that of the rankings walked; None without stakes, before four whole squares, and once all is known.
    `full` says that it walks no further, for want of memory.
    """

    rankings: int
    evaluated: int
    exact_total: int | None
    finished: bool
    precision: Precision | None
    full: bool = False


@dataclass(frozen=True, slots=True)
class Mined:
    """An estimate with its proof: N_j over t rankings, E_j if exact, and the table's bytes.

    `precision` is None for an exact one, without stakes and before four whole squares.
    """

    rankings: int
    exact: bool
    sums: tuple[int, ...]
    values: tuple[int, ...] | None
    table: bytes
    precision: Precision | None


class Session:
    """The resumable work of one miner on one task.

    Args:
        utility: where counts come from.
        terms: K, n, u(∅) and the proxy.
        plan: seed, key, grid, RUNTIME, estimator and stakes.
        clock: monotonic seconds.
        whole: what counts all coalitions together, where that is possible; else they are enumerated.
    """

    def __init__(
        self,
        utility: Utility,
        terms: TableTerms,
        plan: Plan,
        clock: Callable[[], float] = time.monotonic,
        whole: Whole | None = None,
    ) -> None:
        self.utility = utility
        self._whole = whole if terms.clients <= MAX_EXACT_CLIENTS else None
        self._whole_s = 0.0
        self.terms = terms
        self.plan = plan
        self._clock = clock
        self._deadline = clock() + plan.runtime_s
        self.memo = Memo(terms.clients)
        self._rankings = 0
        self._walked = np.empty(
            (0, terms.clients), np.int32
        )  # u of what each ranking visits; rows beyond are spare
        self._open: deque[list[int]] = deque()
        self._pending: dict[int, None] = {}
        self._proxied: list[Counts] = []
        self._enumerated: int | None = None
        self._measured = (0, 0.0)
        stakes = plan.stakes
        self._spread = None if stakes is None else _spread(terms, stakes)
        self._precision: Precision | None = None
        self._observed = 0
        self._wanted_micro = None if stakes is None or plan.estimator == "exact" else stakes.error_micro

    def extend(self, runtime_s: float) -> None:
        """Go on for another attempt of the same task: rankings and counts so far are kept.

        Payments known well enough do not end it again: the miners were too far apart, so more rankings are due.
        """
        self._deadline = self._clock() + runtime_s
        self._wanted_micro = None

    def advance(self, budget_s: float) -> Progress:
        """Work for about `budget_s` seconds (at least one batch), or until finished."""
        until = self._clock() + budget_s
        while not self._finished():
            if self._enumerated is None and self._should_enumerate():
                self._enumerated = 1
            if self._enumerated is not None:
                self._enumerate()
            elif self._samples():
                self._step()
            else:
                self._walk()
            if self._clock() >= until:
                break
        return self.progress()

    def progress(self) -> Progress:
        total = None if self._enumerated is None else (1 << self.terms.clients) - 1
        precision = None if self._everything_known() else self._precision
        return Progress(self._rankings, self._evaluated(total), total, self._finished(), precision, self.full)

    def _evaluated(self, total: int | None) -> int:
        """Coalitions evaluated, or as many as the work done on all together comes to."""
        whole = self._whole
        return max(len(self.memo), 0 if whole is None or total is None else total * whole.done // whole.total)

    @property
    def full(self) -> bool:
        """Whether what is held, and what a table of it takes, has reached its bound."""
        clients = self.terms.clients
        coalitions = 0 if clients <= MAX_EXACT_CLIENTS else len(self.memo) * (_COALITION_BYTES + clients // 7)
        positions = self._rankings * clients * (_POSITION_BYTES + 3 * mask_bytes(clients))
        return coalitions + positions >= MOST_BYTES

    def estimate(self) -> Mined:
        """The estimate of everything known so far.

        Raises:
            ValueError: fewer than `plan.least` rankings are walked.
        """
        everything = self._everything()
        if everything is not None:
            table = encode_exact(everything)
            claim = Claim(self.plan.seed, self.plan.key, self.plan.most, exact=True)
            derived = derive(table, claim, self.terms)
            return Mined(self.plan.most, True, derived.sums, derived.values, table, None)
        return self._sampled(grid_floor(self._rankings, self.plan.least, self.plan.most))

    def _sampled(self, count: int) -> Mined:
        """In pieces: laid out at once, the rankings would take more memory than their counts."""
        sums, keys, clients = [0] * self.terms.clients, [], self.terms.clients
        for first in range(0, count, _RANKINGS_AT_ONCE):
            piece = min(_RANKINGS_AT_ONCE, count - first)
            walked = self._orders(first, piece)
            keys.append(prefix_keys(walked).ravel())
            part = marginal_sums(walked, self._visited(first, piece), self._empty)
            sums = [total + more for total, more in zip(sums, part, strict=True)]
        table = encode_visited(keys, self._walked[:count].ravel(), clients)
        return Mined(count, False, tuple(sums), None, table, self._precision)

    def _visited(self, first: int, count: int) -> Counts:
        """u − p of what walked rankings visit, in their order, (count, K)."""
        values = self._walked[first : first + count].astype(np.int64)
        if self.terms.proxy is not None:
            self._walk_proxy(first + count)
            values = values - np.concatenate(self._proxied)[first : first + count]
        return values

    def _complete(self, rankings: list[list[int]]) -> None:
        """All that these visit is known."""
        reached = self._rankings + len(rankings)
        if reached > len(self._walked):
            spare = np.empty((max(64, reached + reached // 4), self.terms.clients), np.int32)
            spare[: self._rankings] = self._walked[: self._rankings]
            self._walked = spare
        counts = self.memo.counts([mask for masks in rankings for mask in masks])
        self._walked[self._rankings : reached] = counts.reshape(len(rankings), -1)
        self._rankings = reached

    @property
    def _empty(self) -> int:
        """The value of ∅ where `_visited` gives the others; p shares u's."""
        return self.terms.empty if self.terms.proxy is None else 0

    def _observe(self) -> None:
        """At each new number on the grid: what the whole squares up to it say of values and payments."""
        if self._spread is None or not self._rankings:
            return
        reached = grid_up_to(min(self._rankings, self.plan.most))
        if reached == self._observed:
            return
        self._observed = reached
        per_square = rows_per_square(self.terms.clients)
        first = self._spread.squares * per_square
        count = reached - reached % per_square - first
        if count:
            # Whole squares at a time, for the sake of memory.
            step = per_square * max(1, _RANKINGS_AT_ONCE // per_square)
            for start in range(first, first + count, step):
                piece = min(step, first + count - start)
                walked, values = self._orders(start, piece), self._visited(start, piece)
                self._spread.add(square_means(walked, values, self._empty, per_square))
            self._precision = self._spread.precision()

    def _precise(self) -> bool:
        """Whether all payments are known as well as the task asks for."""
        if self._wanted_micro is None or self._precision is None or self._enumerated is not None:
            return False
        return self._precision.bound_micro <= self._wanted_micro

    def _finished(self) -> bool:
        if self._everything_known():
            return True
        if self._rankings < self.plan.least:
            return False
        # A miner that enumerates may have walked all its rankings; it still works towards exactness.
        walked = self._rankings >= self.plan.most and self._enumerated is None
        return walked or self.full or self._precise() or self._clock() >= self._deadline

    def _everything_known(self) -> bool:
        return self.plan.estimator != "balanced" and len(self.memo) == (1 << self.terms.clients) - 1

    def _everything(self) -> Counts | None:
        return self.memo.exact() if self.plan.estimator != "balanced" else None

    def _should_enumerate(self) -> bool:
        """Whether all coalitions fit into the time left, judged after the least rankings and a few batches."""
        if self.plan.estimator == "balanced" or self.terms.clients > MAX_EXACT_CLIENTS:
            return False
        if self._rankings < self.plan.least:
            return False
        if self.plan.estimator == "exact":
            return True
        evaluated, seconds = self._measured
        if evaluated < _MEASURED_AFTER or self._samples():
            return False
        missing_s = self._missing_s()
        if self._walking_ends_sooner(missing_s * evaluated / seconds if seconds else inf):
            return False
        return missing_s <= _SAFE_SHARE * (self._deadline - self._clock())

    def _missing_s(self) -> float:
        """How long the coalitions that are missing would take, all together or one by one."""
        if self._whole is not None:
            left = self._whole.total - self._whole.done
            return left * self._whole_s / self._whole.done if self._whole.done else inf
        evaluated, seconds = self._measured
        return ((1 << self.terms.clients) - 1 - len(self.memo)) * seconds / evaluated

    def _samples(self) -> bool:
        """Whether it is still to be seen how long all coalitions together would take."""
        if self._whole is None or self.plan.estimator == "balanced" or self._rankings < self.plan.least:
            return False
        enough_s = min(_SAMPLE_S, _SAMPLE_SHARE * self.plan.runtime_s)
        return self._whole_s < enough_s and self._whole.done < self._whole.total

    def _walking_ends_sooner(self, missing: float) -> bool:
        """Whether the wanted payment error takes fewer coalitions than the `missing` ones: errors fall with √t."""
        if self._wanted_micro is None:
            return False
        if self._precision is None or self._precision.squares < _TELLING_SQUARES:
            return True
        return len(self.memo) * ((self._precision.bound_micro / self._wanted_micro) ** 2 - 1) < missing

    def _enumerate(self) -> None:
        assert self._enumerated is not None
        if self._whole is not None:
            self._step()
            return
        masks, self._enumerated = self.memo.unknown(self._enumerated, self.utility.batch)
        self._evaluate(masks)

    def _step(self) -> None:
        """Count a part of all coalitions together."""
        assert self._whole is not None
        started = self._clock()
        self._whole.step()
        self._whole_s += self._clock() - started
        if self._whole.done == self._whole.total:
            self.memo.fill(self._whole.counts())

    def _walk(self) -> None:
        """Evaluate one batch of coalitions on the way of the next rankings, and count the rankings it completes."""
        while len(self._pending) < self.utility.batch and len(self._open) < _LOOKAHEAD:
            index = self._rankings + len(self._open)
            if index >= self.plan.most:
                break
            masks = prefixes(ranking(self.plan.seed, self.plan.key, index, self.terms.clients))
            self._open.append(masks)
            self._pending.update((mask, None) for mask in masks if mask not in self.memo)
        self._evaluate(list(self._pending)[: self.utility.batch])
        completed = []
        while self._open and not any(mask in self._pending for mask in self._open[0]):
            completed.append(self._open.popleft())
        if completed:
            self._complete(completed)
        self._walk_proxy(self._rankings - self._rankings % self._proxy_rankings)
        self._observe()

    def _evaluate(self, masks: list[int]) -> None:
        if not masks:
            return
        started = self._clock()
        self.memo.store(masks, self.utility.counts(masks))
        evaluated, seconds = self._measured
        self._measured = (evaluated + len(masks), seconds + self._clock() - started)
        for mask in masks:
            self._pending.pop(mask, None)

    @property
    def _proxy_rankings(self) -> int:
        """How many rankings the proxy walks at once: enough for NumPy, too few to be felt as a pause."""
        return max(1, _PROXY_COALITIONS // self.terms.clients)

    def _walk_proxy(self, count: int) -> None:
        """Have the proxy's counts for the first `count` rankings, so that none are left to do after RUNTIME."""
        known = sum(len(part) for part in self._proxied)
        if self.terms.proxy is not None and known < count:
            self._proxied.append(self.terms.proxy.walk(self._orders(known, count - known)))

    def _orders(self, first: int, count: int) -> Orders:
        return orders(self.plan.seed, self.plan.key, first, count, self.terms.clients)


def _spread(terms: TableTerms, stakes: Stakes) -> Spread:
    public = np.array(stakes.public, np.float64)
    return Spread(terms.images, public, stakes.train_micro, stakes.public_squares)
