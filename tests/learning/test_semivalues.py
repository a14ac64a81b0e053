"""Shapley's, Banzhaf's and leave-one-out values of the same counts, against adding up all coalitions one by one."""

from collections.abc import Sequence
from fractions import Fraction
from math import isnan

import numpy as np
import pytest
from block_games import BlockGame, finish, picture_game, random_game
from oracles import shapley

from fedcoin_cli.learning.coalitions.walks import Counts
from fedcoin_cli.learning.shapley.sampling import MiningPlan, MiningSession
from fedcoin_cli.learning.shapley.semivalues import Method, left_out, of_counts, of_tables, size_weights
from fedcoin_cli.learning.shapley.table import Claim, encode_exact

Tables = list[tuple[Claim, bytes]]


def brute(game: Sequence[int], method: Method) -> list[Fraction]:
    """By the definitions, in units of u."""
    clients = len(game).bit_length() - 1
    if method is Method.shapley:
        return list(shapley(game))
    if method is Method.loo:
        return [Fraction(game[-1] - game[len(game) - 1 ^ 1 << client]) for client in range(clients)]
    sums = [
        sum(game[mask | 1 << client] - game[mask] for mask in range(len(game)) if not mask >> client & 1)
        for client in range(clients)
    ]
    return [Fraction(one, 1 << clients - 1) for one in sums]


def walked(game: BlockGame, rankings: int, seed: int = 0, miners: int = 1) -> Tables:
    found: Tables = []
    for miner in range(miners):
        plan = MiningPlan(
            seed.to_bytes(32, "big"), miner.to_bytes(32, "big"), rankings, rankings, 1e9, "balanced"
        )
        mined = finish(MiningSession(game, None, game.terms, plan)).estimate()
        found.append((plan.claim(mined.rankings, exact=False), mined.table))
    return found


def points(game: BlockGame, values: Sequence[Fraction]) -> list[Fraction]:
    return [100 * value / game.terms.whole for value in values]


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("clients", [2, 3, 6])
def test_exact_values_are_those_of_all_coalitions(method: Method, clients: int) -> None:
    """From an exact table each method gives its definition's fraction, above a baseline, too."""
    game = random_game(clients, [7, 6, 6], seed=clients, baseline=True)
    table = (Claim(bytes(32), bytes(32), 1, exact=True), encode_exact(np.array(game.whole[1:])))
    found = of_tables([table, table], game.terms, method)
    assert list(found.fractions) == points(game, brute(game.whole, method))
    assert (found.exact, found.errors, found.unseen) == (True, (0.0,) * clients, 0.0)
    assert of_counts(np.array(game.whole[1:]), game.whole[0], clients, method) == brute(game.whole, method)


@pytest.mark.parametrize("method", Method)
def test_size_weights_are_a_mean(method: Method) -> None:
    """Every method's weights of sizes are positive parts of 1."""
    for clients in (2, 5, 40):
        weights = size_weights(method, clients)
        assert len(weights) == clients
        assert sum(weights) == 1
        assert min(weights) >= 0


def test_leaving_out_is_exact_along_whole_squares() -> None:
    """Once each client stood last in every block, the walked table has leave-one-out exactly."""
    game = picture_game(5, 48)
    whole = of_tables(walked(game, 10), game.terms, Method.loo)
    assert whole.exact
    assert list(whole.fractions) == points(game, brute(game.whole, Method.loo))
    lone = random_game(5, [9], seed=1)
    found = of_tables(walked(lone, 1), lone.terms, Method.loo)
    assert found.unseen == 1.0  # one ranking has one last client
    assert sorted(map(str, found.errors)) == ["0.0", *["nan"] * 4]


def test_leaving_out_is_estimated_before() -> None:
    """From few rankings it is off by what its standard errors say, over many draws."""
    game = picture_game(5, 96)
    right = [float(one) for one in points(game, brute(game.whole, Method.loo))]
    found = [of_tables(walked(game, 2, seed), game.terms, Method.loo) for seed in range(80)]
    assert not any(one.exact for one in found)
    off = np.array([one.values for one in found]) - right
    told = np.array([one.errors for one in found])
    known = ~np.isnan(told)
    assert known.mean() > 0.9
    assert 0.7 < np.sqrt((off[known] ** 2).mean() / (told[known] ** 2).mean()) < 1.4


def test_leaving_out_counted_afresh() -> None:
    """K + 1 coalitions of an engine are enough."""
    game = random_game(4, [8, 8], seed=3)
    asked = list[int]()

    class Engine:
        batch = 1

        def counts(self, masks: Sequence[int]) -> Counts:
            asked.extend(masks)
            return np.array([game.whole[mask] for mask in masks])

    found = left_out(Engine(), 4, game.terms.whole)
    assert list(found.fractions) == points(game, brute(game.whole, Method.loo))
    assert len(asked) == 5


@pytest.mark.parametrize(("rankings", "miners"), [(4, 1), (13, 1), (12, 2), (24, 1)])
def test_banzhaf_along_rankings(rankings: int, miners: int) -> None:
    """Over many draws the estimates' mean is the exact value, and their spread what the standard errors say."""
    game, draws = picture_game(6, 96), 80
    right = [float(one) for one in points(game, brute(game.whole, Method.banzhaf))]
    found = [
        of_tables(walked(game, rankings, seed, miners), game.terms, Method.banzhaf) for seed in range(draws)
    ]
    values = np.array([one.values for one in found])
    errors = np.array([one.errors for one in found])
    spread = values.std(axis=0, ddof=1)
    assert (np.abs(values.mean(axis=0) - right) < 4 * spread / draws**0.5).all()
    told = np.sqrt((errors**2).mean(axis=0))
    assert (told > 0.75 * spread).all()
    assert (told < 2.5 * spread).all()
    assert not any(one.exact for one in found)


def test_shapley_beside_them_is_what_is_paid() -> None:
    """Shapley's values of walked tables are the sums that miners reveal, over all rankings."""
    game = random_game(5, [6, 6, 5], seed=9)
    tables = walked(game, 7, miners=2)
    found = of_tables(tables, game.terms, Method.shapley)
    assert sum(found.fractions) == Fraction(100 * (game.whole[-1] - game.whole[0]), game.terms.whole)
    assert all(error > 0 for error in found.errors)


def test_one_ranking_tells_no_error() -> None:
    """With one ranking a client was seen at few sizes: the rest is said, and no error is made up."""
    game = random_game(6, [5, 5], seed=2)
    found = of_tables(walked(game, 1), game.terms, Method.banzhaf)
    assert all(isnan(error) for error in found.errors)
    assert 0 < found.unseen <= 1
