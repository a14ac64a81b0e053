"""A few seconds of `python -m benchmarks.siege`: real miners, a guest with one coin, honest payments meanwhile."""

from pathlib import Path

from attacking.guests import KINDS

from benchmarks.siege import siege


def test_honest_payments_become_final_while_a_guest_attacks(tmp_path: Path) -> None:
    """Every payment comes through, no miner ends, and all hold the same ledger; the guest did throw."""
    sieged = siege(tmp_path, ["votes", "half-open"], 2, 4, guests=1)
    assert all(sieged["thrown"].values()), sieged
    for phase in ("quiet", "siege"):
        assert sieged[phase].seconds
        assert not sieged[phase].lost
    assert sieged["ended"] == 0
    assert sieged["identical"]


def test_a_guest_knows_all_the_ways() -> None:
    """The mixed siege leaves nothing out: tasks, transfers, frames, votes, files, blocks, connections."""
    assert KINDS.keys() >= {
        "heavy",
        "free",
        "transfers",
        "small",
        "votes",
        "refused",
        "uploads",
        "fetches",
        "churn",
    }
