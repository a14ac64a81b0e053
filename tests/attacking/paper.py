"""FedCoin's Algorithms 1 and 2 as printed, on the same game and prices, so that an attack can be tried on both.

Miners draw rankings at random, broadcast (S, t), average S̄ = Σ t_m S_m / Σ t_m, and whoever is within D of S̄ makes the
block; a block is good when ‖S_winner − S̄_block‖ ≤ D and ‖S̄_mine − S̄_block‖ ≤ D. Nothing else is checked: the algorithms
know no commitment, no table and no signature. The winner takes SapPrice; clients share TrainPrice by their positive
values.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from attacking.games import Floats, Played
from numpy.random import Generator

from ledger_store.base.amount import split

COIN = 10**6
TRAIN, SHAPLEY = 700 * COIN, 200 * COIN
START, MOST = 20, 20_000


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A miner's S in percentage points and its t."""

    values: Floats
    rankings: float


@dataclass(frozen=True, slots=True)
class Race:
    """Honest miners of the paper on one game, as far as they have come; `limit` is D in percentage points."""

    played: Played
    honest: tuple[Broadcast, ...]
    limit: float

    def average(self, *more: Broadcast) -> Floats:
        """S̄ over the honest miners and `more`."""
        everybody = (*self.honest, *more)
        weight = sum(each.rankings for each in everybody)
        total: Floats = np.sum([each.values * (each.rankings / weight) for each in everybody], axis=0)
        return total

    def good(self, winner: Broadcast, block: Floats, mine: Floats) -> bool:
        """Algorithm 2, for a checker whose own average is `mine`."""
        near = float(np.linalg.norm(winner.values - block)) <= self.limit
        return near and float(np.linalg.norm(mine - block)) <= self.limit


Lie = Callable[[Race, Generator], Broadcast]


def marginals(played: Played, rng: Generator, rankings: int) -> Floats:
    """The mean marginals of so many random rankings, percentage points a client."""
    orders = rng.permuted(np.tile(np.arange(played.clients), (rankings, 1)), axis=1)
    masks = np.cumsum(np.left_shift(1, orders), axis=1)
    steps = np.diff(played.counts[masks], axis=1, prepend=played.counts[0])
    sums = np.zeros(played.clients)
    np.add.at(sums, orders.ravel(), steps.ravel())
    return sums * (100 / played.images / rankings)


def honest_race(played: Played, rng: Generator, miners: int, limit: float) -> Race:
    """Honest miners, each twice as far with every broadcast, until one of them is within D: that one would win."""
    rankings, values = START, [marginals(played, rng, START) for _ in range(miners)]
    while True:
        race = Race(played, tuple(Broadcast(each, rankings) for each in values), limit)
        near = min(float(np.linalg.norm(each - race.average())) for each in values)
        if near <= limit or rankings >= MOST:
            return race
        values = [(each + marginals(played, rng, rankings)) / 2 for each in values]
        rankings *= 2


def pays(values: Floats) -> list[int]:
    """TrainPrice by positive values, in micro."""
    weights = [max(0, round(1e9 * value)) for value in values]
    return list(split(TRAIN, weights)) if any(weights) else [0] * len(weights)


@dataclass(frozen=True, slots=True)
class Struck:
    """What one try came to under the paper's rules; the accomplice of the liar is the last client."""

    accepted: bool
    gained_micro: int
    lost_micro: int


def strike(race: Race, rng: Generator, lie: Lie, *, wins: bool = True) -> Struck:
    """A liar among the honest ones broadcasts, then (`wins`) makes the block at once; all honest miners check it."""
    said = lie(race, rng)
    block = race.average(said)
    winner = said if wins else min(race.honest, key=lambda each: float(np.linalg.norm(each.values - block)))
    if not race.good(winner, block, block):
        return Struck(accepted=False, gained_micro=0, lost_micro=0)
    fair, got = pays(race.average()), pays(block)
    lost = sum(max(0, due - paid) for due, paid in zip(fair[:-1], got[:-1], strict=True))
    prize = SHAPLEY if wins else 0
    return Struck(accepted=True, gained_micro=prize + got[-1] - fair[-1], lost_micro=prize + lost)


# Lies -------------------------------------------------------------------------------------------------------------


def copied(race: Race, _rng: Generator) -> Broadcast:
    """S = S̄ of the others, without having worked."""
    return Broadcast(race.average(), race.honest[0].rankings)


def overstated(factor: float) -> Lie:
    """As far towards "all value is the accomplice's" as still wins with t times `factor`; no table can be looked at."""

    def lie(race: Race, _rng: Generator) -> Broadcast:
        average, others = race.average(), float(len(race.honest))
        towards = -average
        towards[-1] += average.sum()
        # The liar is at distance (others / all weight) · |step| from the average that it makes.
        step = race.limit * (others + factor) / others / float(np.linalg.norm(towards))
        return Broadcast(average + min(1.0, 0.999 * step) * towards, race.honest[0].rankings * factor)

    return lie


def chosen(tries: int) -> Lie:
    """True counts of the rankings that suit the accomplice best, of so many sets that were tried."""

    def lie(race: Race, rng: Generator) -> Broadcast:
        rankings = int(race.honest[0].rankings)
        found = [marginals(race.played, rng, rankings) for _ in range(tries)]
        return Broadcast(max(found, key=lambda values: float(values[-1])), rankings)

    return lie
