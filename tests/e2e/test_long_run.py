"""A short sample of `python -m benchmarks.longrun`: real miners, killed and started again all the time."""

from pathlib import Path

from benchmarks.longrun import Look, growth, long_run
from benchmarks.vitals import Vitals


def test_everything_ends_while_miners_are_killed(tmp_path: Path) -> None:
    """All tasks are settled, all transfers final, four ledgers the same bytes, audited to level 3, coins conserved."""
    result = long_run(tmp_path, tasks=2, transfers=30, kill_every_s=1.5)
    assert result["tasks"] == {"SETTLED": 2}, result
    assert result["transfers"] == 30
    assert result["kills"] > 0
    assert result["identical"]
    assert result["audit_ok"]
    assert result["conserved"]
    names = {row["of"] for row in result["growth"]}
    assert {"miner 1, never killed: rss", "miners 2-4, killed: store"} <= names


def test_growth_is_read_off() -> None:
    """What grows by 3 KiB a task is said to, beside what it may grow with; what stays has no slope."""
    looks = [
        Look(
            tasks, {number: Vitals(500, 9, 7, 3 * tasks, 0, 0, 0, 0, 0, 0, 0, 2 * tasks) for number in (1, 2)}
        )
        for tasks in range(40)
    ]
    rows = {row["of"].removeprefix("miner 1, never killed: "): row for row in growth(looks)}
    assert (rows["rss"]["a task"], rows["rss"]["grows with"]) == (0, "none")
    assert (rows["chain"]["a task"], rows["chain"]["grows with"]) == (3, "chain")
    assert (rows["other"]["a task"], rows["other"]["grows with"]) == (2, "none")
    assert (rows["chain"]["first quarter"], rows["chain"]["last quarter"]) == (13.5, 103.5)
