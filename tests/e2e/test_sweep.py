"""A sweep over metrics against two real miners: one training, a task a metric, and a file that grows."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from live import runtime_of, wait_until, workspace_of
from shell import fedcoin

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("sweep") / "net"
    with workspace_of(root, 2, "--clients", "3", "--set", "task.runtime=1") as workspace:
        for number in (1, 2):
            runtime_of(workspace).start(number)
        wait_until(lambda: fedcoin("status", "--json", folder=root).json["reachable"] == 2)
        yield root


def sweep(network: Path, metrics: str, table: Path) -> subprocess.CompletedProcess[str]:
    words = ["--clients", "3", "--seeds", "0", "--metrics", metrics, "-o", str(table), "--", "--epochs", "1"]
    program = [sys.executable, "-m", "benchmarks.sweep", "-C", str(network), *words]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def test_a_round_is_trained_once_and_published_by_each_metric(network: Path, tmp_path: Path) -> None:
    """By accuracy the values are the joint model's accuracy; by another metric they are others, of the same round."""
    table = tmp_path / "sweep.csv"
    done = sweep(network, "accuracy,neg_log_loss:4.6", table)
    assert done.returncode == 0, done.stderr
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["metric"] for row in rows] == ["accuracy"] * 3 + ["neg_log_loss:4.6"] * 3
    assert len({row["round"] for row in rows}) == 1
    assert len({row["task"] for row in rows}) == 2
    by_accuracy, by_loss = ([Decimal(row["value_pp"]) for row in rows[at : at + 3]] for at in (0, 3))
    assert abs(sum(by_accuracy) - Decimal(rows[0]["accuracy"])) < Decimal("0.001")
    assert by_accuracy != by_loss
    assert [line.split()[2] for line in done.stdout.splitlines()[-2:]] == ["accuracy", "neg_log_loss:4.6"]
    before = table.read_bytes()
    again = sweep(network, "neg_log_loss:4.6", table)
    assert again.returncode == 0, again.stderr
    assert table.read_bytes() == before


def test_a_table_of_other_columns_is_left_alone(network: Path, tmp_path: Path) -> None:
    """Lines of two forms in one file would be read wrongly."""
    table = tmp_path / "old.csv"
    table.write_text("split,clients,seed,client\nsame,3,0,client-001\n")
    done = sweep(network, "accuracy", table)
    assert done.returncode == 1
    assert "other columns" in done.stderr
    assert table.read_text().count("\n") == 2
