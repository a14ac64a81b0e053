"""An audit of any level over a ledger and, from level 4 on, the files of its rounds.

Levels 0 to 3 are the ledger's own (`audit.audit`, `contract.outcome_check`); this module gathers the results that they
pass, and has each recomputed. Nothing is written here and nobody is asked: files that are not here are named by
`missing_files` and brought by `requester.fetching` before.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedcoin_cli.contract.outcome_check import CHECKS, Case, gather
from ledger_store.audit.audit import AuditReport, Span, audit
from ledger_store.audit.checks import Check, Finding, Subject
from ledger_store.base.names import Digest, GenesisId

if TYPE_CHECKING:
    from fedcoin_cli.learning.recomputation import TaskVerdict

RECOMPUTATION = 4
SAMPLE = 64


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """What to audit: the level, and the heights `first` to `last` (None: the end).

    At level 4 `sample` counts are drawn from each table (None: all are recomputed). `jobs` cores do it, and no task
    takes longer than `seconds` (None: by what it paid). `genesis_id` names the network that the ledger must be
    of (None: any).
    """

    level: int = 3
    first: int = 1
    last: int | None = None
    sample: int | None = SAMPLE
    jobs: int = 1
    genesis_id: GenesisId | None = None
    seconds: float | None = None

    @property
    def span(self) -> Span:
        """The heights."""
        return Span(self.first, self.last)


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What level 4 did: so many of the results with all their tables, of the tables, of the counts in those.

    `late` tasks took more time than they get.
    """

    results: int = 0
    of_results: int = 0
    tables: int = 0
    of_tables: int = 0
    counts: int = 0
    of_counts: int = 0
    late: int = 0


@dataclass(frozen=True, slots=True)
class AuditWatch:
    """Who is told how recomputing goes: `begin` which task of how many, `step` its coalitions done of all."""

    begin: Callable[[str, int, int], None] = lambda _task, _number, _of: None
    step: Callable[[int, int], None] = lambda _done, _total: None


def reached(report: AuditReport, done: Recomputed) -> bool:
    """Whether an audit did all that its level asks for."""
    return report.level < RECOMPUTATION or done.results == done.of_results


Find = Callable[[Digest], Path | None]


def audit_ledger(
    path: Path, plan: AuditPlan, find: Find = lambda _: None, watch: AuditWatch | None = None
) -> tuple[AuditReport, Recomputed]:
    """Audit a ledger file; raises `NotFound` and `StorageFailure` only.

    `find` says where the file of a digest is, None for one that is not here.
    """
    report, results = read_ledger(path, plan)
    if plan.level < RECOMPUTATION:
        return report, Recomputed()
    if not report.ok:
        left = "tables and files: what was found in the ledger comes first"
        return replace(report, skipped=(*report.skipped, left)), Recomputed(of_results=len(results))
    return _recompute(report, results, plan, find, watch or AuditWatch())


def read_ledger(path: Path, plan: AuditPlan) -> tuple[AuditReport, list[Case]]:
    """The audit of the ledger alone, and the results in it that a recomputation is to look at."""
    results: dict[int, list[Case]] = {}  # by height: a batch with a false signature is walked twice

    def note(subject: Subject) -> Iterator[Finding]:
        results[subject.height] = list(gather(subject))
        yield from ()

    checks = (*CHECKS, Check("results", RECOMPUTATION, note))
    report = audit(path, plan.level, checks, plan.span, plan.jobs, plan.genesis_id)
    return report, [case for cases in results.values() for case in cases]


def _recompute(
    report: AuditReport, results: list[Case], plan: AuditPlan, find: Find, watch: AuditWatch
) -> tuple[AuditReport, Recomputed]:
    # Here, because NumPy takes longer to import than an audit of a short ledger to run.
    from fedcoin_cli.learning.recomputation import Depth, recompute

    tasks: dict[str, list[Case]] = {}
    for one in results:
        tasks.setdefault(one.result.task, []).append(one)
    verdicts: list[TaskVerdict] = []
    for number, (task, cases) in enumerate(tasks.items(), 1):
        watch.begin(task, number, len(tasks))
        verdicts.append(recompute(cases, find, Depth(plan.sample, plan.jobs, plan.seconds), watch.step))
    found = sorted((one for verdict in verdicts for one in verdict.findings), key=lambda one: one.height)
    skipped = (text for verdict in verdicts for text in verdict.skipped)
    counts = Recomputed(
        results=sum(one.results for one in verdicts),
        of_results=len(results),
        tables=sum(one.tables for one in verdicts),
        of_tables=sum(one.of_tables for one in verdicts),
        counts=sum(one.recomputed for one in verdicts),
        of_counts=sum(one.claimed for one in verdicts),
        late=sum(one.late for one in verdicts),
    )
    return replace(report, findings=tuple(found), skipped=(*report.skipped, *skipped)), counts
