"""A short sample of `python -m benchmarks.longrun`: real miners, killed and started again all the time."""

from pathlib import Path

from benchmarks.longrun import long_run


def test_everything_ends_while_miners_are_killed(tmp_path: Path) -> None:
    """All tasks are settled, all transfers final, four ledgers the same bytes, audited to level 3, coins conserved."""
    result = long_run(tmp_path, tasks=2, transfers=30, kill_every_s=1.5)
    assert result["tasks"] == {"SETTLED": 2}, result
    assert result["transfers"] == 30
    assert result["kills"] > 0
    assert result["identical"]
    assert result["audit_ok"]
    assert result["conserved"]
