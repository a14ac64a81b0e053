"""Audit level 4: a task's tables, sums and frauds, recomputed from its files in float64.

Each task gets a time; what is not done when it is over is told as skipped, and counts as not recomputed. NumPy alone,
so that an auditor installs no Keras; what is off in a graph's tables is counted once more by whatever engine is here.
Where files are and who fetches them is for the application to say; what follows from the sums is level 3
(`contract.outcome_check`). Signatures of clients and miners are level 2.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Final

import numpy as np

from fedcoin_cli.contract.outcome_check import Case
from fedcoin_cli.contract.task import most_table_bytes
from fedcoin_cli.learning.engines.choice import engine_for, walker_for
from fedcoin_cli.learning.reference.referee import Referee, prepared, reference_for
from fedcoin_cli.learning.reference.reference import RAISE_FACTOR, Interval
from fedcoin_cli.learning.reference.update_admission import Inspection
from fedcoin_cli.learning.shapley.exact_look import heavy_masks
from fedcoin_cli.learning.shapley.judging import CountJudge, Engines
from fedcoin_cli.learning.shapley.table import (
    Claim,
    TableTerms,
    all_counts,
    derive,
    entries_of,
    entry_count,
    place_of,
)
from fedcoin_cli.learning.task_game import blocks_of, load_game, refused_terms, table_terms, told
from ledger_store.audit.checks import Finding
from ledger_store.base.errors import Malformed, RoundFilesInvalid
from ledger_store.base.names import Digest
from ledger_store.transaction import Reveal, Task

LEVEL = 4

CODES = {
    "E501": "a round file's bytes are not the ones its digest names",
    "E502": "a task's files are none that miners may admit",
    "E504": "a table is none, or does not hold exactly one count for each that its rankings visit",
    "E505": "a reveal's sums do not follow from its table",
    "E506": "a table's count lies outside what a recomputation allows",
    "E507": "a miner is called a fraud for a count that is right",
}

FREE_S: Final = 60.0
PAID_S: Final = 600.0

_BATCH = 256
_MOST_KNOWN = 1 << 16
# Counts that cost more than this together are looked at apart, for a core's time is over only between them.
_BATCH_FLOP = 10**11


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is recomputed: `sample` counts drawn from each table (None: all of them), on `jobs` cores.

    A sample comes on top of what moves values most (`heavy_entries`) and all on which exact tables disagree. No task
    takes longer than `seconds` (None: what `granted_s` says).
    """

    sample: int | None
    jobs: int
    seconds: float | None = None


def granted_s(task: Task) -> float:
    """What a task may take where nobody says otherwise: little where nothing was paid, as with miners' inspections.

    (docs/adr/0029)
    """
    return FREE_S if task.price_micro == 0 else max(PAID_S, task.runtime_ms / 10_000)


@dataclass(slots=True)
class TaskVerdict:
    """What was found in one task; what was not looked at is in `skipped`.

    `results` had all their tables read and were gone through in time; `tables` of `of_tables` were read, and
    `recomputed` of the `claimed` counts in them. `late`: the time was over before.
    """

    findings: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    results: int = 0
    tables: int = 0
    of_tables: int = 0
    recomputed: int = 0
    claimed: int = 0
    late: bool = False


class _Clock:
    """The time of one task, by `now_s`."""

    def __init__(self, seconds: float, now_s: Callable[[], float]) -> None:
        self.seconds, self._now_s, self._until_s = seconds, now_s, now_s() + seconds

    @property
    def over(self) -> bool:
        return self._now_s() >= self._until_s


@dataclass(frozen=True, slots=True)
class _Held:
    """A readable table's bytes, what they are to prove, and whose they are."""

    height: int
    reveal: Reveal
    path: Path
    data: bytes
    claim: Claim


Find = Callable[[Digest], Path | None]
Step = Callable[[int, int], None]


def recompute(
    cases: Sequence[Case],
    find: Find,
    depth: Depth,
    step: Step = lambda _done, _total: None,
    now_s: Callable[[], float] = time.monotonic,
) -> TaskVerdict:
    """Recompute the results of one task (one an attempt).

    `find` says where the file of a digest is, None for one that is not here: what hangs on it is then skipped.
    `step` is told how many coalitions are done: of those that miners inspect before they vote, then of the chosen.
    """
    return _Recomputation(cases, find, depth, step, now_s).run()


class _Whole:
    """Intervals at 2ε of coalitions on all images, computed once for all tables."""

    def __init__(self, reference: Referee, clock: _Clock) -> None:
        self._reference, self._clock = reference, clock
        self._known: dict[int, Interval] = {}

    def intervals(self, masks: Sequence[int]) -> list[Interval] | None:
        """Of these, in steps between which the time may be over: then None."""
        missing = [mask for mask in masks if mask not in self._known]
        totals = np.zeros((len(missing), 3), np.int64)
        steps = self._reference.steps(missing, RAISE_FACTOR, totals)
        while not self._clock.over:
            if next(steps, None) is None:
                found = dict(zip(missing, (Interval(*row) for row in totals.tolist()), strict=True))
                if len(self._known) + len(found) <= _MOST_KNOWN:
                    self._known.update(found)
                return [found[mask] if mask in found else self._known[mask] for mask in masks]
        return None


class _Recomputation:
    """One task under audit."""

    def __init__(
        self, cases: Sequence[Case], find: Find, depth: Depth, step: Step, now_s: Callable[[], float]
    ) -> None:
        self._cases, self._depth, self._step = cases, depth, step
        self._find = find
        self._record = cases[0].record
        self._task: Task = self._record.task
        self._clock = _Clock(granted_s(self._task) if depth.seconds is None else depth.seconds, now_s)
        self._verdict = TaskVerdict(of_tables=sum(len(case.result.reveals) for case in cases))
        self._unread: set[int] = set()  # heights of results of which a table was not read

    def run(self) -> TaskVerdict:
        if not self._files_are_good():
            return self._verdict
        try:
            game = load_game(self._task, self._places.__getitem__)
            ready = prepared(game)
            reference = reference_for(game, ready)
            reason = refused_terms(self._task, reference) or self._inspected(reference)
        except RoundFilesInvalid as error:
            self._accuse("E502", self._record.height, error.message, Path(error.where))
            return self._verdict
        if reason is not None:
            self._accuse("E502", self._record.height, reason, None)
        blocks = blocks_of(self._task, game)
        self._terms = table_terms(self._task, reference.scorer, blocks)
        # Made where a count of a graph is off alone.
        walker = cache(partial(walker_for, game, blocks, ready, self._depth.jobs))
        engines = Engines(walker, cache(partial(engine_for, game, ready, self._depth.jobs)))
        self._judge, self._reference = CountJudge(reference, blocks, engines), reference
        self._whole = _Whole(reference, self._clock)
        self._check_counts([held for held in self._held() if self._sums_follow(held)])
        for case in self._cases:
            self._check_frauds(case)
        if self._verdict.late:
            self._tell_late()
        else:
            self._verdict.results = sum(case.height not in self._unread for case in self._cases)
        return self._verdict

    def _late(self) -> bool:
        """Whether the time is over; whoever asks leaves the rest."""
        self._verdict.late = self._verdict.late or self._clock.over
        return self._verdict.late

    def _inspected(self, reference: Referee) -> str | None:
        """Why miners ought not to have voted for the task."""
        inspection = Inspection(reference, self._task.id)
        self._step(0, inspection.total)
        while inspection.advance() and not self._late():
            self._step(inspection.done, inspection.total)
        return told(inspection.refused)

    # Files and sums ---------------------------------------------------------------------------------------------

    def _files_are_good(self) -> bool:
        """Whether all files are here and are the ones that the task names."""
        found = [(digest, self._find(digest)) for digest in self._task.files]
        missing = [digest for digest, path in found if not path]
        if missing:
            files = "1 file" if len(missing) == 1 else f"{len(missing)} files"
            reason = f"{files} of {len(self._task.files)} are not here, {missing[0][:16]} is the first"
            self._skip(f"task {self._task.id[:16]} at height {self._cases[-1].height}: {reason}")
            return False
        self._places = {digest: path for digest, path in found if path}
        wrong = [digest for digest, path in self._places.items() if not _is_whole(path, digest)]
        for digest in wrong:
            self._accuse_file(digest, self._places[digest], self._record.height)
        return not wrong

    # Tables -----------------------------------------------------------------------------------------------------

    def _held(self) -> Iterable[_Held]:
        """The tables that are here and can be read; those of frauds are looked at apart."""
        for case in self._cases:
            frauds = {fraud.miner for fraud in case.result.frauds}
            for reveal in case.result.reveals:
                if self._late():
                    return
                if reveal.miner not in frauds and (held := self._read(case, reveal)) is not None:
                    yield held

    def _read(self, case: Case, reveal: Reveal) -> _Held | None:
        held = self._read_if_good(case, reveal)
        if held is None:
            self._unread.add(case.height)
        else:
            self._verdict.tables += 1
        return held

    def _read_if_good(self, case: Case, reveal: Reveal) -> _Held | None:
        path = self._find(reveal.table)
        if path is None:
            place = f"the table of {reveal.miner[:16]} at height {case.height}"
            self._skip(f"{place}: {reveal.table[:16]} is not here")
            return None
        size, most = path.stat().st_size, most_table_bytes(self._task, reveal)
        if size != most:
            message = f"{reveal.miner[:16]}: a file of {size} bytes is not a table of what was revealed"
            self._accuse("E504", case.height, message, path)
            return None
        if not _is_whole(path, reveal.table):
            self._accuse_file(reveal.table, path, case.height)
            return None
        seed, key = bytes.fromhex(self._record.seed_of_opened), bytes.fromhex(reveal.miner)
        claim = Claim(seed, key, reveal.rankings, reveal.exact)
        return _Held(case.height, reveal, path, path.read_bytes(), claim)

    def _sums_follow(self, held: _Held) -> bool:
        """Whether the table is one; its sums are those that were revealed, or somebody is accused."""
        try:
            sums = derive(held.data, held.claim, self._terms)
        except Malformed as error:
            self._accuse("E504", held.height, f"{held.reveal.miner[:16]}: {error.message}", held.path)
            return False
        if sums != held.reveal.sums:
            message = f"{held.reveal.miner[:16]}: other sums follow from the table than were revealed"
            self._accuse("E505", held.height, message, held.path)
        return True

    # Counts -----------------------------------------------------------------------------------------------------

    # Rule [P-13.21].
    def _check_counts(self, tables: Sequence[_Held]) -> None:
        chosen = [self._chosen(held, tables) for held in tables]
        total, done = sum(map(len, chosen)), 0
        self._step(done, total)
        for held, entries in zip(tables, chosen, strict=True):
            wrong: list[tuple[int, Interval]] = []
            for batch, bounds in self._bounds(held, entries):
                if bounds is None:
                    self._verdict.late = True
                    break
                claimed = (entry_count(held.data, held.claim, entry, self._terms) for entry in batch)
                judged = zip(batch, claimed, bounds, strict=True)
                wrong += [
                    (entry, bound)
                    for entry, count, bound in judged
                    if not bound.lo <= count <= bound.hi
                    and not self._judge.counts_so(place_of(entry, held.claim, self._terms), count)
                ]
                done += len(batch)
                self._step(done, total)
            self._accuse_table(held, wrong)
        self._verdict.recomputed += done
        self._verdict.claimed += sum(entries_of(held.claim, self._terms) for held in tables)
        left = self._verdict.claimed - self._verdict.recomputed
        if left and not self._verdict.late:
            place = f"task {self._task.id[:16]} at height {self._cases[-1].height}"
            self._skip(f"{place}: {left} of {self._verdict.claimed} counts, beyond the sample")

    def _chosen(self, held: _Held, tables: Sequence[_Held]) -> Sequence[int]:
        """Which entries of a table are recomputed, ascending."""
        every = entries_of(held.claim, self._terms)
        if self._depth.sample is None or self._depth.sample >= every:
            return range(every)
        random = np.random.default_rng()  # fresh from the system: nobody can know what will be looked at
        drawn = random.choice(every, self._depth.sample, replace=False, shuffle=False).tolist()
        others = [other for other in tables if other.claim.exact] if held.claim.exact else []
        return sorted(
            {*drawn, *heavy_entries(held.claim, self._terms), *_disputed(held, others, self._terms)}
        )

    def _bounds(
        self, held: _Held, entries: Sequence[int]
    ) -> Iterator[tuple[Sequence[int], list[Interval] | None]]:
        """Batches of entries and their intervals at 2ε, in order; NumPy lets threads work side by side.

        None for a batch that was not done in time, and for all after it.
        """
        size = _batch_size(self._reference) if held.claim.exact else _BATCH
        batches = [entries[start : start + size] for start in range(0, len(entries), size)]

        def judged(batch: Sequence[int]) -> list[Interval] | None:
            if held.claim.exact:
                return self._whole.intervals([entry + 1 for entry in batch])
            if self._clock.over:
                return None
            places = [place_of(entry, held.claim, self._terms) for entry in batch]
            return self._judge.intervals(places, RAISE_FACTOR)

        with ThreadPoolExecutor(self._depth.jobs) as pool:
            yield from zip(batches, pool.map(judged, batches), strict=True)

    def _accuse_table(self, held: _Held, wrong: Sequence[tuple[int, Interval]]) -> None:
        if not wrong:
            return
        entry, bound = wrong[0]
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        said = entry_count(held.data, held.claim, entry, self._terms)
        what = place_of(entry, held.claim, self._terms).words(self._task.clients)
        message = f"{held.reveal.miner[:16]}: {said} for {what}, right is {bound.lo}..{bound.hi}{more}"
        self._accuse("E506", held.height, message, held.path)

    # Rule [P-13.21].
    def _check_frauds(self, case: Case) -> None:
        reveals = {reveal.miner: reveal for reveal in case.result.reveals}
        for fraud in case.result.frauds:
            if self._late():
                return
            held = self._read(case, reveals[fraud.miner])
            if held is None:
                continue
            self._verdict.recomputed += 1
            self._verdict.claimed += 1
            try:
                derive(held.data, held.claim, self._terms)
                place = place_of(fraud.entry, held.claim, self._terms)
            except Malformed as error:
                self._accuse("E507", case.height, f"{fraud.miner[:16]}: {error.message}", held.path)
                continue
            bound = self._judge.intervals([place], 1)[0]
            count = entry_count(held.data, held.claim, fraud.entry, self._terms)
            if bound.lo <= count <= bound.hi:
                what = place.words(self._task.clients)
                message = f"{fraud.miner[:16]}: {count} of {bound.lo}..{bound.hi} for {what}"
                self._accuse("E507", case.height, message, held.path)

    # Words ------------------------------------------------------------------------------------------------------

    def _accuse(self, code: str, height: int, message: str, file: Path | None) -> None:
        where = None if file is None else str(file)
        self._verdict.findings.append(Finding(code, height, height + 1, message, where))

    def _accuse_file(self, digest: Digest, path: Path, height: int) -> None:
        self._accuse("E501", height, f"the bytes are not those of {digest[:16]}", path)

    def _tell_late(self) -> None:
        done, height = self._verdict, self._cases[-1].height
        counts = f"{done.recomputed} of {done.claimed} counts in {done.tables} of {done.of_tables} tables"
        more = f"--seconds gives it more, --from {height} --to {height} looks at it alone"
        place = f"task {self._task.id[:16]} at height {height}"
        self._skip(f"{place}: the rest after {self._clock.seconds:.0f} s and {counts}; {more}")

    # Rule [P-13.19].
    def _skip(self, text: str) -> None:
        self._verdict.skipped.append(text)


def heavy_entries(claim: Claim, terms: TableTerms) -> Iterable[int]:
    """What a uniform draw would hardly ever see, and what moves values most.

    The counts of ∅ and of the full coalition in each block of a sampled table, which enter all its rankings; the full
    coalition, singletons and co-singletons of an exact one.
    """
    return (mask - 1 for mask in heavy_masks(terms.clients)) if claim.exact else range(2 * len(terms.sizes))


def _disputed(held: _Held, others: Sequence[_Held], terms: TableTerms) -> Iterable[int]:
    """Entries of an exact table that another one claims to be different."""
    own = all_counts(held.data, held.claim, terms)
    differ = [np.flatnonzero(own != all_counts(other.data, other.claim, terms)) for other in others]
    return np.unique(np.concatenate([np.empty(0, np.intp), *differ])).tolist()  # type: ignore[no-any-return]


def _batch_size(reference: Referee) -> int:
    """Small where counts are costly, unless all of them need the same first layers, computed anew each time."""
    if not reference.kept:
        return _BATCH
    return max(1, min(_BATCH, _BATCH_FLOP // max(1, reference.game.images * reference.game.model.flop_above)))


def _is_whole(path: Path, digest: Digest) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest
