"""Scenario 10: faked tables, sums that do not follow, t times a hundred, hostile updates."""

import pytest
from attacking.arena import Tried, attacks, side_by_side
from attacking.gains import Bench, detected
from attacking.games import small_game
from attacking.requesters import Handed, hostile_updates
from attacking.strategies import STRATEGIES
from scenarios.rows import Row

from fedcoin_cli.consensus.rankings import table_entries
from fedcoin_cli.learning.shapley.checking import DRAWN_RANKINGS, Checker
from fedcoin_cli.learning.shapley.looking import Look, Steps

NAMES = (
    "sums that do not follow",
    "t x 100",
    "t x 10^9",
    "ground rankings",
    "fabricated 1%",
    "fabricated 5%",
    "fabricated 10%",
    "fabricated 20%",
    "ends of blocks only",
    "false frauds",
)
SAMPLE, RELEASE = 3, 200
CLIENTS, RANKINGS, BLOCKS = 16, 1_000, 19
ENTRIES = table_entries(CLIENTS, BLOCKS, RANKINGS)
# With a false count in this share of its rankings, as many draws as a checker makes miss all once in a hundred times.
DESIGNED = round(BLOCKS * RANKINGS * (1 - 0.01 ** (1 / DRAWN_RANKINGS)))
# 99% of 1,000, less four standard deviations.
LEAST_A_THOUSAND = 977


@pytest.mark.parametrize("name", NAMES)
def test_no_false_table_is_paid(name: str) -> None:
    """Each way is tried on real replicas with real tables: no lie counts, nobody honest is accused or loses a coin."""
    tried = attacks(STRATEGIES[name], SAMPLE)
    assert tried.problems == []
    assert (tried.accepted, tried.accused, tried.omitted, tried.lost_micro) == (0, 0, 0, 0)
    assert tried.told == SAMPLE


def _nothing() -> Steps[tuple[int, ...]]:
    yield
    return ()


def test_false_tables_are_paid_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack can succeed: with checkers that look at nothing, a false table counts and its lie costs others."""
    monkeypatch.setattr(Checker, "look", lambda *_: Look(_nothing()))
    tried = attacks(STRATEGIES["fabricated 20%"], 3)
    assert tried.accepted == 3
    assert tried.lost_micro > 0


def test_few_false_counts_among_thousands_are_found() -> None:
    """A checker finds so few false counts, each off by one image, that it should miss them once in a hundred times."""
    trials = 60
    assert detected(Bench(small_game(CLIENTS)), RANKINGS, DESIGNED, 1, trials) >= trials - 4


def test_true_tables_of_hostile_games_accuse_nobody() -> None:
    """Huge, tiny, cancelling, zero and equal updates: refused, or counted alike by engine and reference."""
    handed = hostile_updates(60)
    assert handed.harm == 0
    assert 5 < handed.refused < 60


# The table ----------------------------------------------------------------------------------------------------


def measure(*, full: bool) -> list[Row]:
    """Lies told by whole replicas; then detection and hostile updates by themselves."""
    found = side_by_side(NAMES, RELEASE if full else 10)
    trials = 1_000 if full else 100
    caught = detected(Bench(small_game(CLIENTS)), RANKINGS, DESIGNED, 1, trials)
    handed = hostile_updates(2_000 if full else 100)
    return [
        _told(found),
        Row(
            "faked counts",
            f"{trials} tables of {ENTRIES:,} counts, {DESIGNED} of them off by one image, one checker",
            f"at least {LEAST_A_THOUSAND} of 1,000 where 99% is designed",
            f"{caught} of {trials}",
            1_000 * caught >= LEAST_A_THOUSAND * trials,
        ),
        _hostile(handed),
    ]


def _told(found: dict[str, Tried]) -> Row:
    whole = Tried()
    for tried in found.values():
        whole.merge(tried)
    lost = whole.lost_micro / 10**6
    return Row(
        "false estimates and accusations",
        f"{whole.attempts} tasks with one liar, R = 4: {', '.join(found)}",
        "wrong sums 100%; 0 honest accused",
        f"{whole.accepted} accepted, {whole.accused} honest accused, {lost:.2f} coins lost to honest parties",
        not (whole.accepted or whole.accused or whole.omitted or whole.lost_micro or whole.problems),
    )


def _hostile(handed: Handed) -> Row:
    return Row(
        "hostile updates",
        f"{handed.attempts} games with huge, tiny, cancelling, zero or equal updates",
        "0 honest accused",
        f"{handed.refused} refused, {handed.harm} honest accused in the others",
        handed.harm == 0,
    )
