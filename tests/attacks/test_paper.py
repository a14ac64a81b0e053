"""The paper's Algorithms 1 and 2 as printed: what they let through, on the same game."""

import numpy as np
import pytest
from attacking.games import small_game
from attacking.paper import Lie, chosen, copied, honest_race, marginals, overstated, pays, strike

TRIES, LIMIT = 20, 1.5


def test_honest_miners_of_the_paper_come_to_the_shapley_values() -> None:
    """The model is a fair one: many rankings give the exact values, and honest miners end within D of each other."""
    played, rng = small_game(), np.random.default_rng(1)
    assert np.abs(marginals(played, rng, 20_000) - played.values).max() < 1
    race = honest_race(played, rng, 3, LIMIT)
    assert min(np.linalg.norm(each.values - race.average()) for each in race.honest) <= LIMIT
    assert sum(pays(race.average())) == 700 * 10**6


@pytest.mark.parametrize(
    ("lie", "wins"), [(copied, True), (overstated(1), True), (overstated(1e9), True), (chosen(20), False)]
)
def test_a_lie_is_paid_by_the_papers_rules(lie: Lie, wins: bool) -> None:
    """Copiers, inflators and fabricators make a block that all honest miners find good, and others pay for it."""
    accepted, lost = 0, 0
    for seed in range(TRIES):
        rng = np.random.default_rng(seed)
        struck = strike(honest_race(small_game(), rng, 3, LIMIT), rng, lie, wins=wins)
        accepted += struck.accepted
        lost += struck.lost_micro
    assert accepted >= (TRIES if wins else TRIES // 2)
    assert lost > 0
