"""How often a false table is found within the time that a miner has for checking it.

    python -m benchmarks.checks [--quick] [--json] [--clients 20] [--faked 0.002] [--trials 1000]

A miner's table of a real game is falsified: a share of its counts, drawn one by one, or all counts of that share of the
rankings, which meets the fewest blocks' rankings; each by 1 to 5 images. The budget is that of a round of 15 seconds
and five miners. `wrongly` says how many honest tables were accused. Seconds are those of a machine of its own.
"""

import argparse
import os
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy import key
from benchmarks.games import SEED, Case, blocks_of_task, real_game
from benchmarks.machine import finish, machine
from benchmarks.spent import Spent
from fedcoin_cli.consensus.attempt import CHECK_LEAST_MS
from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.learning.engines.choice import engine_for, walker_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.reference.forward import FirstLayer
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.shapley.checking import Checker
from fedcoin_cli.learning.shapley.judging import Engines
from fedcoin_cli.learning.shapley.sampling import MiningPlan, MiningSession
from fedcoin_cli.learning.shapley.table import Claim, TableTerms

BUDGET_S: Final = CHECK_LEAST_MS / 1000 / 4
RANKINGS: Final = grid_up_to(100)
WAYS: Final = ("counts", "rankings")
MOST_IMAGES: Final = 5


def main() -> None:
    """Falsify, check, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 trials")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--faked", type=float, default=0.002, help="share of the counts")
    parser.add_argument("--trials", type=int)
    chosen = parser.parse_args()
    table = Honest(real_game(Case("types", chosen.clients)))
    trials = chosen.trials or (100 if chosen.quick else 1_000)
    rows = [table.falsified(way, chosen.faked, trials) for way in WAYS]
    result = {
        "clients": chosen.clients,
        "budget_s": BUDGET_S,
        "checks": rows,
        "wrongly": table.accused(trials // 10),
        "machine": machine(),
    }
    finish(result, chosen.json, {"checks": rows})


class Honest:
    """A miner's table, and another's checker."""

    def __init__(self, game: Game) -> None:
        threads = len(os.sched_getaffinity(0))
        self._spent, first = Spent(threads), FirstLayer(game)
        partition = blocks_of_task(game)
        walker: Any = walker_for(game, partition, first, threads)
        walker.walk = self._spent.shared(walker.walk)
        self._clients, self._blocks = game.clients, len(partition)
        self._sizes = partition.sizes
        terms = TableTerms(game.clients, partition.sizes, 0)
        session = MiningSession(walker, None, terms, MiningPlan(SEED, key(0), 1, RANKINGS, 1e9, "balanced"))
        while not session.advance(1e9).finished:
            pass
        mined = session.estimate()
        self._table = np.frombuffer(mined.table, np.uint8)
        self._claim: Claim = session.plan.claim(mined.rankings, exact=False)
        engines = Engines(lambda: walker, lambda: engine_for(game, first, threads))
        self._checker = Checker(Reference(game, first), terms, partition, engines, self._spent)

    def falsified(self, way: str, share: float, trials: int) -> dict[str, Any]:
        """So many false tables, checked."""
        random = np.random.default_rng(0)
        found, seconds = 0, []
        for _ in range(trials):
            table = self._false(self._chosen(way, share, random), random)
            began_s = self._spent()
            found += bool(self._checker.wrong_entries(table, self._claim, BUDGET_S))
            seconds.append(self._spent() - began_s)
        return {
            "faked": way,
            "share": share,
            "trials": trials,
            "found": found,
            "median s": float(np.median(seconds)),
            "largest s": max(seconds),
        }

    def accused(self, trials: int) -> int:
        """How often the honest table itself is called false."""
        data = self._table.tobytes()
        return sum(bool(self._checker.wrong_entries(data, self._claim, BUDGET_S)) for _ in range(trials))

    def _chosen(self, way: str, share: float, random: np.random.Generator) -> npt.NDArray[np.int64]:
        """Entries between the ends of the blocks."""
        ends, steps = 2 * self._blocks, self._clients - 1
        units = len(self._table) - ends if way == "counts" else self._blocks * self._claim.rankings
        some = random.choice(units, max(1, round(share * units)), replace=False)
        return ends + some if way == "counts" else ends + (some[:, None] * steps + np.arange(steps)).ravel()

    def _false(self, entries: npt.NDArray[np.int64], random: np.random.Generator) -> bytes:
        """The table with these counts moved, each to another that its block may have."""
        table = self._table.copy()
        most = self._sizes[(entries - 2 * self._blocks) // (self._claim.rankings * (self._clients - 1))]
        by = random.integers(1, MOST_IMAGES + 1, len(entries))
        old = table[entries].astype(np.int64)
        table[entries] = np.where(old + by <= most, old + by, old - by)
        return table.tobytes()


if __name__ == "__main__":
    main()
