"""Rounds judged by every metric and baseline, from their files to an audit of level 4."""

from dataclasses import replace
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import tabular, tagger
from mined import MinedRound

from fedcoin_cli.application.auditing.full_audit import AuditPlan, read_ledger
from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.books.task_report import report_of
from fedcoin_cli.application.reasons.explanation import explain
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.cli.views.explanation_lines import explanation_lines
from fedcoin_cli.cli.views.task_lines import loose, task_lines
from fedcoin_cli.contract.metric import Truth, read_metric
from fedcoin_cli.learning.engines.choice import walker_for
from fedcoin_cli.learning.metrics.choice import scorer_of
from fedcoin_cli.learning.recomputation import Depth, recompute
from fedcoin_cli.learning.reference.referee import reference_for
from fedcoin_cli.learning.shapley.checking import Checker
from fedcoin_cli.learning.shapley.sampling import Estimator, MiningPlan, MiningSession
from fedcoin_cli.learning.shapley.table import Claim, all_counts, derive, entries_of
from fedcoin_cli.learning.task_game import refused_terms

CASES = [
    ("accuracy", "chance"),
    ("accuracy", "client-002.safetensors"),
    ("top_k_accuracy:2", "zero"),
    ("balanced_accuracy", "chance"),
    ("neg_log_loss:2.5", "chance"),
    ("neg_brier_score:2", "client-002.safetensors"),
    ("roc_auc", "zero"),
    ("roc_auc", "chance"),
    ("f1", "zero"),
    ("f1_macro", "chance"),
    ("neg_mean_squared_error:4", "chance"),
    ("neg_mean_squared_error:40", "client-002.safetensors"),
    ("token_accuracy", "chance"),
    ("neg_log_perplexity:6", "chance"),
    ("neg_log_perplexity:6", "client-002.safetensors"),
]


def made(root: Path, metric: str, baseline: str, estimator: Estimator = "balanced") -> MinedRound:
    truth = read_metric(metric).truth
    if truth is not Truth.labels:
        graph, real = (tabular(4), True) if truth is Truth.targets else (tagger(), False)
        terms: dict[str, Any] = {"metric": metric, "baseline": baseline, "estimator": estimator}
        return MinedRound(root, graph=graph, real=real, rankings=6, **terms)
    # A test set of two labels, of both of which there are some.
    classes, seed = (2, 1) if metric in {"roc_auc", "f1"} else (3, 0)
    return MinedRound(
        root, metric=metric, baseline=baseline, estimator=estimator, classes=classes, seed=seed, rankings=6
    )


def claim_of(one: MinedRound, miner: int) -> Claim:
    mined = one.mined[miner]
    return Claim(one.seed, bytes.fromhex(one.maker.miners[miner].address), mined.rankings, mined.exact)


@pytest.mark.parametrize(("metric", "baseline"), CASES)
@pytest.mark.parametrize("estimator", ["balanced", "exact"])
def test_an_honest_round_is_found_right(
    tmp_path: Path, metric: str, baseline: str, estimator: Estimator
) -> None:
    """Every count of every table is recomputed and lies within its interval; values sum to what all gain.

    [P-13.21] [P-12.12]
    """
    one = made(tmp_path, metric, baseline, estimator)
    _, cases = read_ledger(one.maker.write(tmp_path / "ledger"), AuditPlan(4))
    found = recompute(cases, one.store.path, Depth(None, 1, inf))
    assert (found.findings, found.skipped, found.tables) == ([], [], 3)
    assert found.recomputed == found.claimed
    reference = reference_for(one.game)
    gained = reference.count(one.game.full) - one.task.empty
    outcome = one.result.outcome
    assert outcome.shapley is not None
    assert Fraction(sum(outcome.shapley), outcome.denominator) == pytest.approx(gained, abs=1e-9)
    assert refused_terms(one.task, reference) is None
    paid = sum(outcome.pay.clients) > 0
    assert paid == (gained > 0)
    assert outcome.pay.requester == (0 if paid else one.task.train_micro)


@pytest.mark.parametrize(("metric", "baseline"), CASES)
@pytest.mark.parametrize("estimator", ["balanced", "exact"])
def test_a_false_count_is_found(tmp_path: Path, metric: str, baseline: str, estimator: Estimator) -> None:
    """A table with one u moved by what two images may move it is accused of that entry, and of no other [P-6.7]."""
    one = made(tmp_path, metric, baseline, estimator)
    claim, data = claim_of(one, 0), one.tables[0]
    checker = Checker(reference_for(one.game), one.terms, one.blocks)
    assert checker.own_errors(data, claim, inf) == ()
    width = one.terms.exact_width if claim.exact else one.terms.width
    counts = all_counts(data, claim, one.terms)
    assert len(data) == width * entries_of(claim, one.terms) == width * len(counts)
    entry = int(np.argmax(counts[-12:])) + len(counts) - 12
    moved = int(counts[entry]) - 2 * scorer_of(one.game).swing
    moved = max(moved, 0)
    bent = data[: width * entry] + moved.to_bytes(width, "big") + data[width * (entry + 1) :]
    assert checker.is_wrong(bent, claim, entry)
    assert not checker.is_wrong(data, claim, entry)
    assert derive(bent, claim, one.terms) != derive(data, claim, one.terms)


@pytest.mark.parametrize(("metric", "baseline"), CASES)
def test_a_task_that_says_another_whole_is_refused(tmp_path: Path, metric: str, baseline: str) -> None:
    """M and u(∅) are what metric, labels and baseline make of them, and miners know it [P-6.19] [P-6.3]."""
    one = made(tmp_path, metric, baseline)
    reference = reference_for(one.game)
    other = refused_terms(replace(one.task, whole=one.task.whole + 1), reference)
    assert other is not None
    assert "a perfect model is worth" in other
    off = one.task.empty + 3 * scorer_of(one.game).swing
    other = refused_terms(replace(one.task, empty=off), reference)
    assert other is not None
    assert "nobody is worth" in other


@pytest.mark.parametrize(("metric", "baseline"), CASES)
@pytest.mark.parametrize("estimator", ["balanced", "exact"])
def test_it_is_told_in_units_that_people_know(
    tmp_path: Path, metric: str, baseline: str, estimator: Estimator
) -> None:
    """`show` and `explain` name metric and baseline, and tell all together and nobody in the metric's own unit."""
    one = made(tmp_path, metric, baseline, estimator)
    names = Names.of(one.workspace)
    record = one.maker.records[one.task.id]
    report = report_of(record, one.maker.genesis, one.result)
    lines = "\n".join(task_lines(report, names))
    assert (
        f"judged by {metric}: all together {report.together_natural}, nobody {report.nobody_natural}" in lines
    )
    assert report.to_json()["metric"] == metric
    with Books.open(one.workspace) as books:
        found = explain(books, one.workspace, one.task.updates[0].client, None)
    assert found.seen is not None
    assert found.seen.walked == found.value
    assert f"judged by {metric}" in "\n".join(explanation_lines(found, names))


@pytest.mark.parametrize(
    ("metric", "baseline"), [("neg_brier_score:2", "client-001.safetensors"), ("top_k_accuracy:2", "chance")]
)
def test_where_nothing_is_gained_no_client_is_paid(tmp_path: Path, metric: str, baseline: str) -> None:
    """All together worth no more than nobody: TrainPrice returns, whatever single values say [P-9.10]."""
    one = made(tmp_path, metric, baseline, "exact")
    assert reference_for(one.game).count(one.game.full) <= one.task.empty
    outcome = one.result.outcome
    assert outcome.shapley is not None
    assert set(outcome.pay.clients) == {0}
    assert outcome.pay.requester == one.task.train_micro


@pytest.mark.parametrize("metric", ["balanced_accuracy", "token_accuracy"])
def test_weights_of_labels_are_explained_where_the_test_set_is(tmp_path: Path, metric: str) -> None:
    """What a block is worth by balanced accuracy, or by tokens, only the test set tells: else tables say nothing."""
    one = made(tmp_path, metric, "chance")
    client = one.task.updates[0].client
    with Books.open(one.workspace) as books:
        assert explain(books, one.workspace, client, None).seen is not None
        one.store.path(one.task.test).unlink()
        for path in one.workspace.rounds.glob("*/test.safetensors"):
            path.unlink()
        found = explain(books, one.workspace, client, None)
    assert found.seen is None
    assert found.missing == (one.task.test,)


@pytest.mark.parametrize(
    ("metric", "baseline"),
    [("balanced_accuracy", "chance"), ("roc_auc", "chance"), ("neg_log_perplexity:6", "chance")],
)
def test_a_restart_goes_on_from_wide_counts(tmp_path: Path, metric: str, baseline: str) -> None:
    """What was walked and saved is taken up again, whatever an entry's width: the same table comes of it."""
    one = made(tmp_path / "net", metric, baseline)
    plan = MiningPlan(one.seed, bytes.fromhex(one.maker.miners[0].address), 6, 6, 60.0, "balanced")
    sessions = [MiningSession(walker_for(one.game, one.blocks), None, one.terms, plan) for _ in range(2)]
    walked, whole = tmp_path / "walked", tmp_path / "whole"
    while not sessions[0].advance(60.0).finished:
        pass
    sessions[0].save(walked, whole)
    sessions[1].restore(walked, whole)
    assert sessions[1].progress().rankings == 6
    assert sessions[1].estimate().table == sessions[0].estimate().table == one.tables[0]


def test_a_d_that_proves_nothing_is_called_so(tmp_path: Path) -> None:
    """Where an estimate that gives everybody 0 lies within D, readers are told; where it does not, they are not."""
    one = made(tmp_path, "accuracy", "client-002.safetensors")
    report = report_of(one.maker.records[one.task.id], one.maker.genesis, one.result)
    assert loose(report)
    assert report.to_json()["difficulty_proves"] is False
    values = [line.value for line in report.clients if line.value is not None]
    least = replace(report, difficulty_micro=0)
    assert any(values)
    assert loose(least) == []
    assert least.to_json()["difficulty_proves"] is True
    nothing = tuple(replace(line, value=Fraction(0)) for line in report.clients)
    assert loose(replace(least, clients=nothing))  # just within
