"""Many simulated histories of the real replicas: no fork, no stall, no broken property, whatever fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import simulator
from planted import PLANTED
from simulated.world import BEHAVIOURS

SEEDS = (*range(650, 1_300, 100), *range(600))
"""One of each larger roster; every fault happens in the others."""
WALLED = 42
PROCESSES = 2
PROGRAM = Path(simulator.__file__)


def counted(lines: list[str]) -> dict[str, int]:
    """The counts in the line before the last two."""
    counts: dict[str, int] = json.loads(lines[-3].rpartition(" in ")[0])
    return counts


def test_histories_without_fork_or_stall(capsys: pytest.CaptureFixture[str]) -> None:
    """R = 1..20, all faults on, real signatures in 1 %: 0 forks, 0 stalls, and every fault really happened."""
    reports = list(simulator.histories(SEEDS, PROCESSES))
    happened = simulator.summary(reports)
    with capsys.disabled():
        sys.stdout.write(f"\n{json.dumps(happened)}\n")
    assert [(report.seed, report.problems) for report in reports if report.problems] == []
    assert {report.miners for report in reports} == set(range(1, 21))
    quiet = ("silent", "mortal", "lost log", "old log")
    lies = [f"lies: {behaviour}" for behaviour in BEHAVIOURS if behaviour not in quiet]
    lies += ["lies: change anything", "lies: no message any more"]
    faults = ["crashes at a boundary", "blackouts", "dead children", "deaths for good", "duplicated", "lost"]
    faults += ["late starts", "lost logs", "old logs", "old ledgers", "torn ledgers", "overflowed"]
    faults += ["partitions", "stopped by a partition", "stopped by a wall"]
    ends = ["empty closes", "exact reveals", "frauds", "results OPEN", "results REFUNDED", "results SETTLED"]
    assert [what for what in (*lies, *faults, *ends, "after view 0") if not happened.get(what)] == []


def test_tables_that_never_arrive_hold_up_no_task() -> None:
    """All or many tables never get from some miners to others, with liars among them: every task ends all the same."""
    reports = [simulator.run_walled(seed) for seed in range(WALLED)]
    assert [(report.seed, report.problems) for report in reports if report.problems] == []
    happened = simulator.summary(reports)
    assert [
        what
        for what in ("results SETTLED", "results REFUNDED", "stopped by a wall")
        if not happened.get(what)
    ] == []


def test_a_seed_is_one_history_everywhere() -> None:
    """Hash randomisation of the interpreter changes nothing: a printed seed can be run again."""
    script = (
        "import simulator; print([(r.head, r.virtual_ms, r.steps) for r in map(simulator.run, range(8))])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=PROGRAM.parent,
            env={**os.environ, "PYTHONHASHSEED": number, "PYTHONPATH": str(PROGRAM.parent.parent)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for number in ("1", "2")
    }
    assert len(printed) == 1


@pytest.mark.parametrize("miners", [1, 4])
def test_real_signatures_change_nothing(miners: int) -> None:
    """With Ed25519 and with every message as bytes, a history with faults ends like the others."""
    report = simulator.run(miners, miners=miners, real=True)
    assert report.problems == []
    assert report.height


def test_the_program_ends_with_forks_and_stalls() -> None:
    """`make simulate` prints its counts and ends with the line that says whether anything went wrong."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--seeds", "6", "--start", "40", "--processes", "1"],
        capture_output=True,
        check=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "forks 0, stalls 0 in 6 seeds"
    assert (counted(lines)["first"], counted(lines)["last"]) == (40, 45)


def test_a_failing_seed_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken machine makes the program fail and name the seed and the property."""
    PLANTED["sent_before_persisted"](monkeypatch)
    monkeypatch.setattr(sys, "argv", ["simulator", "--seeds", "4", "--processes", "1"])
    assert simulator.main() == 1
    assert "seed 1 (R = 2): unsaved" in capsys.readouterr().out
