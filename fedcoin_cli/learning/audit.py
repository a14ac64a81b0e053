"""Audit level 4: a task's tables, sums, proxy sums and frauds, recomputed from its files in float64.

Each task gets a time; what is not done when it is over is told as skipped, and counts as not recomputed. NumPy alone,
so that an auditor installs no Keras. Where files lie and who fetches them is for the application to say; what follows
from the sums is level 3 (`contract.audit`). Signatures of clients and miners are level 2.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from fedcoin_cli.contract.audit import Case
from fedcoin_cli.contract.task import most_table_bytes
from fedcoin_cli.learning.mining.admission import Inspection
from fedcoin_cli.learning.mining.checking import claims, heavy_masks
from fedcoin_cli.learning.mining.proxy import ProxyCounts, proxy_sums
from fedcoin_cli.learning.mining.reference import RAISE_FACTOR, Interval, Reference
from fedcoin_cli.learning.mining.table import Claim, Table, TableTerms, decode, derive
from fedcoin_cli.learning.mining.task_game import load_game, refused_terms, told
from fedcoin_cli.learning.mining.walks import Keys, keys_to_masks, masks_to_keys
from ledger_store.checks import Finding
from ledger_store.errors import Malformed, RoundFilesInvalid
from ledger_store.transaction import Reveal, Task, mask_hex

LEVEL = 4

CODES = {
    "E501": "a round file's bytes are not the ones its digest names",
    "E502": "a task's files are none that miners may admit",
    "E503": "a result's proxy sums do not follow from the proxy",
    "E504": "a table is none, or does not hold exactly what its rankings visit",
    "E505": "a reveal's sums do not follow from its table",
    "E506": "a table's count lies outside what a recomputation allows",
    "E507": "a miner is called a fraud for a count that is right",
}

FREE_S: Final = 60.0
PAID_S: Final = 600.0

_BATCH = 64
# Counts that cost more than this together are looked at apart, for a core's time is over only between them.
_BATCH_FLOP = 10**11
_PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is recomputed: `sample` counts drawn from each table (None: all of them), on `jobs` cores.

    A sample comes on top of the full coalition, singletons, co-singletons and all counts on which tables disagree. No
    task takes longer than `seconds` (None: what `granted_s` says).
    """

    sample: int | None
    jobs: int
    seconds: float | None = None


def granted_s(task: Task) -> float:
    """What a task may take where nobody says otherwise: little where nothing was paid, as with miners' inspections."""
    return FREE_S if task.price_micro == 0 else max(PAID_S, task.runtime_ms / 10_000)


@dataclass(slots=True)
class Verdict:
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
    """A readable table and whose it is."""

    height: int
    reveal: Reveal
    path: Path
    table: Table


Find = Callable[[str], Path | None]
Step = Callable[[int, int], None]


def recompute(
    cases: Sequence[Case],
    find: Find,
    depth: Depth,
    step: Step = lambda _done, _total: None,
    now_s: Callable[[], float] = time.monotonic,
) -> Verdict:
    """Recompute the results of one task (one an attempt).

    `find` says where the file of a digest lies, None for one that is not here: what hangs on it is then skipped.
    `step` is told how many coalitions are done: of those that miners inspect before they vote, then of the chosen.
    """
    return _Recomputation(cases, find, depth, step, now_s).run()


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
        self._verdict = Verdict(of_tables=sum(len(case.result.reveals) for case in cases))
        self._unread: set[int] = set()  # heights of results of which a table was not read

    def run(self) -> Verdict:
        if not self._files_are_good():
            return self._verdict
        try:
            game = load_game(self._task, self._path)
            reference = Reference(game)
            reason = refused_terms(self._task, reference, self._path) or self._inspected(reference)
        except RoundFilesInvalid as error:
            self._accuse("E502", self._record.height, error.message, Path(error.where))
            return self._verdict
        if reason is not None:
            self._accuse("E502", self._record.height, reason, None)
        self._proxy = ProxyCounts.of(game)
        self._terms = TableTerms(self._task.clients, self._task.images, self._task.empty, self._proxy)
        self._check_proxy_sums()
        self._check_counts(reference, list(self._held()))
        for case in self._cases:
            self._check_frauds(reference, case)
        if self._verdict.late:
            self._tell_late()
        else:
            self._verdict.results = sum(case.height not in self._unread for case in self._cases)
        return self._verdict

    def _late(self) -> bool:
        """Whether the time is over; whoever asks leaves the rest."""
        self._verdict.late = self._verdict.late or self._clock.over
        return self._verdict.late

    def _inspected(self, reference: Reference) -> str | None:
        """Why miners ought not to have voted for the task."""
        inspection = Inspection(reference, self._task.id)
        self._step(0, inspection.total)
        while inspection.advance() and not self._late():
            self._step(inspection.done, inspection.total)
        return told(inspection.refused)

    # Files and sums ---------------------------------------------------------------------------------------------

    def _path(self, digest: str) -> Path:
        path = self._find(digest)
        assert path is not None, "its absence was seen before"
        return path

    def _files_are_good(self) -> bool:
        """Whether all files are here and are the ones that the task names."""
        missing = [digest for digest in self._task.files if self._find(digest) is None]
        if missing:
            files = "1 file" if len(missing) == 1 else f"{len(missing)} files"
            reason = f"{files} of {len(self._task.files)} are not here, {missing[0][:16]} is the first"
            self._skip(f"task {self._task.id[:16]} at height {self._cases[-1].height}: {reason}")
            return False
        wrong = [digest for digest in self._task.files if not self._is_whole(digest)]
        for digest in wrong:
            self._accuse_file(digest, self._record.height)
        return not wrong

    def _is_whole(self, digest: str) -> bool:
        sha = hashlib.sha256()
        with self._path(digest).open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                sha.update(piece)
        return sha.hexdigest() == digest

    def _check_proxy_sums(self) -> None:
        if self._proxy is None:
            return  # level 3 refuses sums without a proxy
        assert self._record.seed is not None
        sums, denominator = proxy_sums(self._proxy, bytes.fromhex(self._record.seed), self._task.empty)
        for case in self._cases:
            if not case.result.reveals:
                continue  # a failed attempt says nothing of the proxy; level 3 sees to that
            if (case.result.proxy_sums, case.result.proxy_denominator) != (tuple(sums), denominator):
                message = "the sums of the proxy's marginals are other ones"
                self._accuse("E503", case.height, message, self._path(self._task.proxy or ""))

    # Tables -----------------------------------------------------------------------------------------------------

    def _held(self) -> Iterable[_Held]:
        """The tables that are here and can be read; those of frauds are looked at apart."""
        for case in self._cases:
            frauds = {fraud.miner for fraud in case.result.frauds}
            for reveal in case.result.reveals:
                if self._late():
                    return
                if reveal.miner not in frauds and (held := self._read(case, reveal)) is not None:
                    self._check_sums(held)
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
        if size > most or (reveal.exact and size < most):
            message = f"{reveal.miner[:16]}: a file of {size} bytes is no table of what was revealed"
            self._accuse("E504", case.height, message, path)
            return None
        if not self._is_whole(reveal.table):
            self._accuse_file(reveal.table, case.height)
            return None
        try:
            table = decode(path.read_bytes(), self._terms, exact=reveal.exact)
        except Malformed as error:
            self._accuse("E504", case.height, f"{reveal.miner[:16]}: {error.message}", path)
            return None
        return _Held(case.height, reveal, path, table)

    def _check_sums(self, held: _Held) -> None:
        assert self._record.seed is not None
        reveal = held.reveal
        claim = Claim(
            bytes.fromhex(self._record.seed), bytes.fromhex(reveal.miner), reveal.rankings, reveal.exact
        )
        try:
            derived = derive(held.path.read_bytes(), claim, self._terms)
        except Malformed as error:
            self._accuse("E504", held.height, f"{reveal.miner[:16]}: {error.message}", held.path)
            return
        if (derived.sums, derived.values) != (reveal.sums, reveal.values):
            message = f"{reveal.miner[:16]}: other sums follow from the table than were revealed"
            self._accuse("E505", held.height, message, held.path)

    # Counts -----------------------------------------------------------------------------------------------------

    def _check_counts(self, reference: Reference, tables: Sequence[_Held]) -> None:
        masks = chosen_masks([held.table for held in tables], self._depth.sample)
        wrong: list[dict[int, tuple[int, Interval]]] = [{} for _ in tables]
        done = 0
        self._step(done, len(masks))
        for batch, intervals in _intervals(reference, masks, self._depth.jobs, self._clock):
            if intervals is None:
                self._verdict.late = True
                break
            for held, found in zip(tables, wrong, strict=True):
                claimed = claims(held.table, batch)
                self._verdict.recomputed += len(claimed)
                for mask, interval in zip(batch, intervals, strict=True):
                    if mask in claimed and not interval.lo <= claimed[mask] <= interval.hi:
                        found[mask] = claimed[mask], interval
            done += len(batch)
            self._step(done, len(masks))
        for held, found in zip(tables, wrong, strict=True):
            self._accuse_table(held, found)
        self._verdict.claimed = sum(len(held.table.counts) for held in tables)
        left = self._verdict.claimed - self._verdict.recomputed
        if left and not self._verdict.late:
            place = f"task {self._task.id[:16]} at height {self._cases[-1].height}"
            self._skip(f"{place}: {left} of {self._verdict.claimed} counts, beyond the sample")

    def _accuse_table(self, held: _Held, found: dict[int, tuple[int, Interval]]) -> None:
        if not found:
            return
        mask, (claim, interval) = next(iter(found.items()))
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        coalition = mask_hex(mask, self._task.clients)
        right = f"{interval.lo}..{interval.hi}"
        message = f"{held.reveal.miner[:16]}: {claim} for coalition {coalition}, right is {right}{more}"
        self._accuse("E506", held.height, message, held.path)

    def _check_frauds(self, reference: Reference, case: Case) -> None:
        reveals = {reveal.miner: reveal for reveal in case.result.reveals}
        for fraud in case.result.frauds:
            if self._late():
                return
            held = self._read(case, reveals[fraud.miner])
            if held is None:
                continue
            claimed = claims(held.table, [fraud.mask]).get(fraud.mask)
            lo, hi = reference.interval(fraud.mask)
            self._verdict.recomputed += 1
            self._verdict.claimed += 1
            if claimed is None or lo <= claimed <= hi:
                coalition = mask_hex(fraud.mask, self._task.clients)
                said = "no count" if claimed is None else f"{claimed} of {lo}..{hi}"
                message = f"{fraud.miner[:16]}: {said} for coalition {coalition}"
                self._accuse("E507", case.height, message, held.path)

    # Words ------------------------------------------------------------------------------------------------------

    def _accuse(self, code: str, height: int, message: str, file: Path | None) -> None:
        where = None if file is None else str(file)
        self._verdict.findings.append(Finding(code, height, height + 1, message, where))

    def _accuse_file(self, digest: str, height: int) -> None:
        self._accuse("E501", height, f"the bytes are not those of {digest[:16]}", self._path(digest))

    def _tell_late(self) -> None:
        done, height = self._verdict, self._cases[-1].height
        counts = f"{done.recomputed} of {done.claimed} counts in {done.tables} of {done.of_tables} tables"
        more = f"--seconds gives it more, --from {height} --to {height} looks at it alone"
        place = f"task {self._task.id[:16]} at height {height}"
        self._skip(f"{place}: the rest after {self._clock.seconds:.0f} s and {counts}; {more}")

    def _skip(self, text: str) -> None:
        self._verdict.skipped.append(text)


def chosen_masks(tables: Sequence[Table], sample: int | None) -> list[int]:
    """Which coalitions of some tables of one task are recomputed, each once; None: all of them.

    A sample holds what moves values most, what tables disagree about, and `sample` secret draws from each table.
    """
    if not tables:
        return []
    clients = tables[0].clients
    held = [_keys(table) for table in tables]
    every = np.unique(np.concatenate(held))
    if sample is None:
        return keys_to_masks(every, clients)
    random = np.random.default_rng()  # fresh from the system: nobody can know what will be looked at
    drawn = [random.choice(keys, min(sample, len(keys)), replace=False) for keys in held]
    heavy = masks_to_keys(heavy_masks(clients), clients)
    wanted = [heavy[np.isin(heavy, every)], _disputed(tables, held), *drawn]
    return list(dict.fromkeys(keys_to_masks(np.concatenate(wanted), clients)))


def _keys(table: Table) -> Keys:
    return np.arange(1, len(table.counts) + 1, dtype=np.uint64) if table.keys is None else table.keys


def _disputed(tables: Sequence[Table], held: Sequence[Keys]) -> Keys:
    """The coalitions for which two tables claim different counts, ascending."""
    keys, counts = np.concatenate(held), np.concatenate([table.counts for table in tables])
    order = np.lexsort((counts, keys))
    keys, counts = keys[order], counts[order]
    differ = (keys[1:] == keys[:-1]) & (counts[1:] != counts[:-1])
    return np.unique(keys[1:][differ])


def _intervals(
    reference: Reference, masks: Sequence[int], jobs: int, clock: _Clock
) -> Iterable[tuple[Sequence[int], list[Interval] | None]]:
    """Batches of coalitions and their intervals at 2ε, in order; NumPy lets threads work side by side.

    None for a batch that was not done in time, and for all after it.
    """

    def judged(batch: Sequence[int]) -> list[Interval] | None:
        totals = np.zeros((len(batch), 3), np.int64)
        steps = reference.steps(batch, RAISE_FACTOR, totals)
        while not clock.over:
            if next(steps, None) is None:
                return [Interval(*row) for row in totals.tolist()]
        return None

    size = _batch_size(reference)
    batches = [masks[start : start + size] for start in range(0, len(masks), size)]
    with ThreadPoolExecutor(jobs) as pool:
        yield from zip(batches, pool.map(judged, batches), strict=True)


def _batch_size(reference: Reference) -> int:
    """Small where counts are costly, unless all of them need the same first layers, computed anew each time."""
    if not reference.first.cached:
        return _BATCH
    return max(1, min(_BATCH, _BATCH_FLOP // max(1, reference.game.images * reference.game.spec.flop_above)))
