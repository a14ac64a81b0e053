"""Every attack as a row: how often it was tried and accepted, what it cost honest parties, and the same by the paper.

Money is in micro a try. `loss` is what honest parties got less than was due to them; `gain` what the attackers got more
than honest ones in their place. `paper` is the same attack on Algorithms 1 and 2 as printed, if any.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
from attacking import paper, requesters
from attacking.arena import Strategy, Tried, attack, side_by_side
from attacking.gains import (
    Bench,
    Gain,
    alone_exact,
    choosing_t,
    choosing_the_task,
    copied_update,
    detected,
    false_tables,
    scaled_update,
)
from attacking.games import Played, small_game
from attacking.strategies import STRATEGIES, no_entry

from fedcoin_cli.consensus.rankings import table_entries

Row = dict[str, Any]
PAPER: dict[str, tuple[paper.Lie, bool]] = {
    "copier": (paper.copied, True),
    "copier after the reveals": (paper.copied, True),
    "t x 100": (paper.overstated(100), True),
    "t x 10^9": (paper.overstated(1e9), True),
    "ground rankings": (paper.chosen(20), False),
    "sums that do not follow": (paper.overstated(1), True),
    "fabricated 1%": (paper.overstated(1), True),
    "fabricated 5%": (paper.overstated(1), True),
    "fabricated 10%": (paper.overstated(1), True),
    "fabricated 20%": (paper.overstated(1), True),
    "ends of blocks only": (paper.overstated(1), True),
}
LIMIT = 1.5
# Of a round: what miners walk in a sampled task of the small game, and of one with 16 clients.
RANKINGS, MANY_RANKINGS = 60, 1_000


def miners(attempts: int) -> Iterator[Row]:
    """One liar among four, whole replicas."""
    for name, tried in side_by_side(list(STRATEGIES), attempts).items():
        yield {
            "name": name,
            "attempts": tried.attempts,
            "accepted": tried.accepted,
            "loss": tried.lost_micro // tried.attempts,
            "paper": by_the_paper(name, 50),
        }


def pairs(attempts: int) -> Iterator[Row]:
    """Two of R: one falsifies a twentieth of its table for its friend, both find every table right."""
    liar, partner = replace(STRATEGIES["fabricated 5%"], accuse=no_entry), Strategy(accuse=no_entry)
    for number in range(4, 11):
        tried = Tried()
        for seed in range(attempts):
            first, second = Random(seed).sample(range(number), 2)
            tried.add(attack(seed, number, {first: liar, second: partner}))
        name = f"colluding pair, 5% fabricated, R = {number}"
        loss = tried.lost_micro // attempts
        yield {"name": name, "attempts": attempts, "accepted": tried.accepted, "loss": loss, "paper": None}


def by_the_paper(name: str, trials: int) -> Row | None:
    """The same lie among three honest miners of the paper."""
    if name not in PAPER:
        return None
    lie, wins = PAPER[name]
    played, struck = small_game(), []
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        struck.append(paper.strike(paper.honest_race(played, rng, 3, LIMIT), rng, lie, wins=wins))
    return {
        "attempts": trials,
        "accepted": sum(each.accepted for each in struck),
        "loss": sum(each.lost_micro for each in struck) // trials,
        "gain": sum(each.gained_micro for each in struck) // trials,
    }


def handed_in(attempts: int) -> Iterator[Row]:
    """Requesters and clients with broken files, hostile updates and coins that are not there."""
    for name, handed in (
        ("broken round files", requesters.broken_files(attempts)),
        ("updates that break rounding", requesters.hostile_updates(attempts)),
        ("escrow spent twice", requesters.spent_twice(attempts)),
    ):
        yield {"name": name, "attempts": handed.attempts, "accepted": handed.harm, "loss": 0, "paper": None}


def schemes(played: Played, trials: int) -> Iterator[Row]:
    """What the rules do not forbid, and lies that only chance can find: gains in expectation."""
    bench = Bench(played)
    for number in (4, 7, 10):
        yield _row(f"a miner chooses t, R = {number}", choosing_t(bench, number, 1, RANKINGS, trials))
    for number in range(4, 11):
        yield _row(
            f"two choose t together, R = {number}", choosing_t(bench, number, 2, RANKINGS, trials // 4)
        )
    for number in (4, 7, 10):
        gain = alone_exact(bench, number, 2, RANKINGS, max(4, trials // 20))
        yield _row(f"two share one exact computation, R = {number}", gain)
    gain = choosing_the_task(bench, 4, 16, 100, max(2, trials // 40))
    yield _row("a requester grinds the seed (best of 100), 16 rankings", gain)
    gain = choosing_the_task(bench, 4, RANKINGS, 100, max(2, trials // 40))
    yield _row(f"a requester grinds the seed (best of 100), {RANKINGS} rankings", gain)
    yield _row("a weak client copies a strong one", copied_update(played, played.clients - 1, 0), same=True)
    yield _row("a strong client copies another", copied_update(played, 1, 0), same=True)
    for factor in (2, 10, 100):
        scaled = scaled_update(played, 0, factor)
        if scaled is not None:
            yield _row(f"a client scales its update by {factor}", scaled, same=True)


def tables(trials: int) -> Iterator[Row]:
    """A miner falsifies a few counts of many thousands for a client that is its friend."""
    bench = Bench(small_game(16))
    of = f"{table_entries(16, len(bench.blocks), MANY_RANKINGS):,}"
    for counts, step in ((1, 16), (10, 16), (100, 16), (1_000, 1)):
        for number in (4, 10):
            gain = false_tables(bench, number, MANY_RANKINGS, counts, trials, step=step)
            yield _row(f"two, {counts:,} of {of} counts false by {step} of 16 images, R = {number}", gain)
    for counts in (5, 21, 570):
        caught = detected(bench, MANY_RANKINGS, counts, 1, trials)
        name = f"{counts} of {of} counts false by one image, one checker"
        yield {"name": name, "attempts": trials, "accepted": trials - caught, "loss": 0, "paper": None}


def _row(name: str, gain: Gain, *, same: bool = False) -> Row:
    """`same`: exact values decide, so the paper's rules pay alike."""
    row = {
        "name": name,
        "attempts": gain.trials,
        "accepted": round(gain.trials * gain.had_its_way),
        "loss": gain.lost_micro,
        "gain": gain.gained_micro,
    }
    return row | {"paper": dict(row) if same else None}
