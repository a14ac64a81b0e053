"""`fedcoin values`: three methods of the same counts, of a round's folder and of a settled task."""

from fractions import Fraction
from pathlib import Path

import pytest
from mined import MinedRound
from shell import fedcoin

from fedcoin_cli.learning.shapley.sampling import Estimator


def right(counts: list[int], whole: int) -> dict[str, list[float]]:
    """Banzhaf and leave-one-out by adding up all coalitions, in points."""
    clients, full = len(counts).bit_length() - 1, len(counts) - 1
    banzhaf = [
        Fraction(
            sum(counts[mask | 1 << client] - counts[mask] for mask in range(full) if not mask >> client & 1),
            1 << clients - 1,
        )
        for client in range(clients)
    ]
    loo = [Fraction(counts[full] - counts[full ^ 1 << client]) for client in range(clients)]
    return {
        name: [float(100 * one / whole) for one in values]
        for name, values in (("banzhaf", banzhaf), ("loo", loo))
    }


@pytest.mark.parametrize("estimator", ["balanced", "exact"])
def test_a_settled_task_and_its_round(tmp_path: Path, estimator: Estimator) -> None:
    """Exact tables give all three exactly; walked ones leave-one-out, Banzhaf within errors; the folder, too."""
    made = MinedRound(tmp_path, clients=4, rankings=24, estimator=estimator)
    expected = right(made.counts, made.task.whole)
    task = fedcoin("values", made.task.id[:12], "--json", folder=tmp_path).json
    folder = fedcoin("values", "--seed", "3", "--json", folder=tmp_path).json
    assert task["task"] == made.task.id
    assert [one["name"] for one in folder["clients"]] == [f"client-{number:03d}" for number in range(1, 5)]
    assert all(one["exact"] for one in folder["methods"].values())
    assert {name: one["exact"] for name, one in task["methods"].items()} == {
        "shapley": estimator == "exact",
        "banzhaf": estimator == "exact",
        "loo": True,
    }
    for name, values in expected.items():
        assert [one[name]["value"] for one in folder["clients"]] == pytest.approx(values, abs=1e-8)
        for one, value in zip(task["clients"], values, strict=True):
            assert abs(one[name]["value"] - value) <= 6 * one[name]["error"] + 1e-8
    paid = made.result.outcome.shapley
    assert paid is not None
    order = sorted(range(4), key=paid.__getitem__)
    assert sorted(range(4), key=lambda one: float(task["clients"][one]["shapley"]["value"])) == order


def test_words(tmp_path: Path) -> None:
    """A table with a total; what is exact and what estimated is said, and by what is paid."""
    made = MinedRound(tmp_path, clients=4, rankings=24)
    said = fedcoin("values", made.task.id, folder=tmp_path)
    assert (said.code, said.err) == (0, "")
    assert "banzhaf: estimated by the same rankings, their places weighted anew" in said.out
    assert "loo: exact" in said.out
    assert "payments are by Shapley's values alone" in said.out
    alone = fedcoin("values", "--method", "loo", folder=tmp_path)
    assert "shapley (pp)" not in alone.out
    assert "total" in alone.out


def test_no_tables(tmp_path: Path) -> None:
    """Without the miners' tables a task's values are not guessed; without a task, nothing is."""
    made = MinedRound(tmp_path, clients=3)
    for reveal in made.result.reveals:
        (made.workspace.store / reveal.table).unlink(missing_ok=True)
    said = fedcoin("values", made.task.id, folder=tmp_path)
    assert (said.code, said.out) == (11, "")
    assert "no table of this task is kept here" in said.err
    assert fedcoin("values", "0123456789", folder=tmp_path).code == 11
