"""What programs read from the benchmarks of accuracy: the keys of their JSON, on a tiny game."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy import OURS, Bench, Cells, Rivals, compare, ratios
from benchmarks.games import Case
from benchmarks.spent import Spent

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set of three labels, 300 training and 48 test images, and room for a cache."""
    folder, draw = tmp_path_factory.mktemp("tiny"), np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, number in (("train", 300), ("test", 48)):
        labels = np.arange(number) % 3
        centres = 60 * np.eye(3)[labels].repeat(3, axis=1).reshape(number, 3, 3)
        arrays[f"x_{part}"] = draw.normal(100 + centres, 40).clip(0, 255).astype(np.uint8)
        arrays[f"y_{part}"] = labels
    np.savez(folder / "tiny.npz", allow_pickle=False, **arrays)
    return folder


def ran(tiny: Path, module: str, *arguments: str) -> dict[str, Any]:
    """A benchmark's JSON."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", "--json", *arguments],
        cwd=ROOT,
        env=os.environ | {"FEDCOIN_MNIST": str(tiny / "tiny.npz"), "XDG_CACHE_HOME": str(tiny)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_cell_of_many_clients(tiny: Path) -> None:
    """Two miners' round is judged by exact values: error, reported error and time beside mining, a cell each."""
    found = ran(tiny, "manyclients", "--clients", "4", "--seconds", "0.2")
    (cell,) = found["cells"]
    assert cell["clients"] == 4
    assert cell["truth_pp"] == 0
    assert cell["error_pp"] >= 0
    assert cell["reported_pp"] > 0
    assert cell["not_mining_s"] > 0
    assert cell["rankings"] >= 1


def test_false_tables_are_counted(tiny: Path) -> None:
    """Every table with half of its counts false is found, and no honest one is accused."""
    found = ran(tiny, "checks", "--clients", "4", "--faked", "0.5", "--trials", "10")
    assert [row["found"] for row in found["checks"]] == [10, 10]
    assert found["wrongly"] == 0


def test_exact_values_say_how_long_they_take(tiny: Path) -> None:
    """Seconds and the ratio to counting one by one stand at the top; no count is outside its interval."""
    found = ran(tiny, "exact", "--clients", "4", "--split", "types", "--checked", "15")
    assert found["seconds"] > 0
    assert found["ratio_to_enumeration"] == 1.0
    assert found["runs"][0]["outside"] == 0


def test_accuracy_at_equal_work(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors fall with work; the paper's sampling is judged by the same values, and ratios name their cells."""
    monkeypatch.setenv("FEDCOIN_MNIST", str(tiny / "tiny.npz"))
    monkeypatch.setattr("benchmarks.games.CACHE", tiny / "fedcoin" / "benchmarks")
    cells = Cells(Case("types", 4, test=48), (10, 400), 3)
    bench = Bench.of(cells.case)
    rows, versions = compare(bench, cells, Rivals())
    errors = {(row["estimator"], row["coalitions"]): row["error_pp"] for row in rows}
    assert errors[OURS, 400] < errors[OURS, 10] or errors[OURS, 10] == 0
    assert bench.off_pp(bench.truth.values) == 0
    assert versions == {}
    found = ratios(
        [
            {"case": "a", "coalitions": 9, "estimator": name, "error_pp": error_pp}
            for name, error_pp in ((OURS, 0.5), ("shapiq one", 3.0), ("pyDVL other", 2.0), ("another", 0.1))
        ],
        lambda name: name.startswith(("shapiq ", "pyDVL ")),
    )
    assert found == {"a @ 9": 4.0}


def test_seconds_of_shared_work_are_those_of_one_thread() -> None:
    """What four threads share counts a quarter, whatever else the machine does."""
    clock = Spent(4)
    alone = Spent(1)
    began_s, both_s = clock(), alone()
    clock.shared(lambda: sum(number * number for number in range(300_000)))()
    taken_s, whole_s = clock() - began_s, alone() - both_s
    assert 0 < taken_s < 0.5 * whole_s
