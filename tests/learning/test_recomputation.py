from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from evidenced import evidenced
from memory import peak_bytes
from mined import MinedRound

from fedcoin_cli.application.auditing.full_audit import AuditPlan, read_ledger
from fedcoin_cli.learning.recomputation import FREE_S, PAID_S, Depth, TaskVerdict, granted_s, recompute
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.shapley.sampling import Estimator
from ledger_store.base.names import Digest


@pytest.mark.parametrize(("clients", "exact"), [(4, False), (4, True), (40, True)])
def test_what_cannot_be_the_table_costs_nothing(tmp_path: Path, clients: int, exact: bool) -> None:
    """A file larger than any table of what was revealed, or none of exact values, is accused without being read."""
    made = evidenced(tmp_path, clients)
    _, (case,) = read_ledger(made.maker.write(tmp_path), AuditPlan(4))
    liar = replace(made.liar, exact=exact)
    case = replace(case, result=replace(case.result, reveals=(liar,)))
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(256 * 2**20)

    def find(digest: Digest) -> Path:
        return large if digest == liar.table else made.store.path(digest)

    verdicts: list[TaskVerdict] = []
    assert peak_bytes(lambda: verdicts.append(recompute([case], find, Depth(0, 1)))) < 64 * 2**20
    assert [(one.code, one.height, one.file) for one in verdicts[0].findings] == [("E504", 3, str(large))]


@pytest.mark.parametrize(("begins", "tables"), [(1, 0), (2, 2)])
def test_what_is_not_done_in_time_is_not_called_recomputed(tmp_path: Path, begins: int, tables: int) -> None:
    """The time is over while the inspection is repeated, or when counts begin: no result, the rest in words.

    [P-13.19]
    """
    made = evidenced(tmp_path, 7)
    _, cases = read_ledger(made.maker.write(tmp_path), AuditPlan(4))
    begun: list[int] = []
    now_s = [0.0]

    def step(done: int, total: int) -> None:
        begun.extend([total] * (done == 0))
        now_s[0] = 100.0 * (len(begun) >= begins)

    whole = recompute(cases, made.store.path, Depth(None, 2, inf))
    assert (whole.results, whole.late, whole.skipped, whole.recomputed) == (1, False, [], whole.claimed)
    late = recompute(cases, made.store.path, Depth(None, 2, 50.0), step, lambda: now_s[0])
    assert (late.results, late.late, late.tables, late.recomputed) == (0, True, tables, 0)
    held = whole.claimed if tables else 0
    assert f"the rest after 50 s and 0 of {held} counts in {tables} of 2 tables" in late.skipped[0]


def test_what_a_task_may_take(tmp_path: Path) -> None:
    """A free one little, a paid one more, one that was mined for long a tenth of that."""
    task = evidenced(tmp_path, 3).task
    free = replace(task, price_micro=0)
    assert (granted_s(free), granted_s(task)) == (FREE_S, PAID_S)
    assert granted_s(replace(task, runtime_ms=36_000_000)) == 3_600


@pytest.mark.parametrize("estimator", ["balanced", "exact"])
def test_whole_tables_of_both_kinds_are_recomputed(tmp_path: Path, estimator: Estimator) -> None:
    """Every count of honest tables is found right; of a sample of none, what moves values most is looked at."""
    made = MinedRound(tmp_path, estimator=estimator, rankings=6)
    _, cases = read_ledger(made.maker.write(tmp_path / "ledger"), AuditPlan(4))
    whole = recompute(cases, made.store.path, Depth(None, 2, inf))
    assert (whole.findings, whole.skipped, whole.tables) == ([], [], 3)
    # Three tables of four clients and 60 images in four blocks.
    assert whole.recomputed == whole.claimed == 3 * (15 if estimator == "exact" else 4 * (2 + 6 * 3))
    few = recompute(cases, made.store.path, Depth(0, 1, inf))
    assert few.recomputed == 3 * (9 if estimator == "exact" else 8)
    assert (few.findings, len(few.skipped)) == ([], 1)


def test_a_coalition_is_judged_once_for_all_exact_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On all images in float64 it is what an audit takes longest for, and the same for whoever has counted it."""
    made, judged, steps = MinedRound(tmp_path, estimator="exact", rankings=6), Counter[int](), Reference.steps
    _, cases = read_ledger(made.maker.write(tmp_path / "ledger"), AuditPlan(4))

    def watched(one: Reference, masks: Sequence[int], *more: Any) -> Iterator[tuple[int, int]]:
        judged.update(masks)
        return steps(one, masks, *more)

    monkeypatch.setattr(Reference, "steps", watched)
    assert recompute(cases, made.store.path, Depth(None, 1, inf)).recomputed == 3 * 15
    # Once more in the inspection, which is repeated.
    assert set(judged) == set(range(1, 16))
    assert max(judged.values()) <= 2
