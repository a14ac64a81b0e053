"""Scenario 9: copied, late and equivocating commits, withheld reveals and tables, a proposer that censors."""

import pytest
from attacking.arena import Tried, attacks, side_by_side
from attacking.strategies import STRATEGIES
from scenarios.rows import Row

from fedcoin_cli.consensus.posap import Posap
from ledger_store.base.names import Address
from ledger_store.transaction import Reveal

NAMES = (
    "copier",
    "copier after the reveals",
    "late commit",
    "two commits",
    "withheld reveal",
    "withheld table",
    "censoring proposer",
)
SAMPLE, RELEASE = 6, 1_430


@pytest.mark.parametrize("name", NAMES)
def test_no_dishonest_estimate_is_taken(name: str) -> None:
    """Each way is tried on real replicas: nothing false counts, no honest estimate is left out, the task ends."""
    tried = attacks(STRATEGIES[name], SAMPLE)
    assert tried.problems == []
    assert (tried.accepted, tried.omitted, tried.accused, tried.lost_micro) == (0, 0, 0, 0)
    assert tried.told >= SAMPLE - 2


def test_two_of_seven_are_no_more_than_one_of_four() -> None:
    """f = 2 copiers among R = 7 come no further."""
    tried = attacks(STRATEGIES["copier"], 2, miners=7, attackers=2)
    assert (tried.accepted, tried.lost_micro, tried.problems) == (0, 0, [])


def test_a_copier_is_paid_where_commitments_do_not_name_their_miner(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack can succeed: with commitments that hide who made them, and no table to be one's own, copies count."""
    honest = Reveal.commitment
    anyone = 64 * "0"
    monkeypatch.setattr(
        Reveal, "commitment", lambda self, task, attempt: honest(_as(self, Address(anyone)), task, attempt)
    )
    taken = Posap.checked
    monkeypatch.setattr(
        Posap, "checked", lambda self, reveal, follows, wrong: taken(self, reveal, follows or True, wrong)
    )
    assert attacks(STRATEGIES["copier"], 3).accepted > 0


def _as(reveal: Reveal, miner: Address) -> Reveal:
    from dataclasses import replace

    return replace(reveal, miner=miner)


# The table ----------------------------------------------------------------------------------------------------


def measure(*, full: bool) -> list[Row]:
    """Every way to be dishonest, R = 4; then the copiers at R = 7."""
    found = side_by_side(NAMES, RELEASE if full else 20)
    found["copiers, R = 7"] = side_by_side(["copier"], 100 if full else 4, miners=7, attackers=2)["copier"]
    whole = Tried()
    for tried in found.values():
        whole.merge(tried)
    measured = (
        f"{whole.accepted} of {whole.attempts} accepted, {whole.omitted} honest estimates left out, {whole.accused} "
        f"honest accused, {whole.lost_micro / 10**6:.2f} coins lost to others, {len(whole.problems)} other problems"
    )
    held = not (whole.accepted or whole.omitted or whole.accused or whole.lost_micro or whole.problems)
    return [
        Row(
            "dishonest estimates",
            f"{whole.attempts} tasks with one liar (or two of seven): {', '.join(found)}; lies told in {whole.told}",
            "0 accepted of 10,000; 0 honest on-time estimates left out; the task always ends",
            measured,
            held,
        )
    ]
