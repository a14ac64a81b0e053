"""The miner of an earlier build: its estimates, by the modules of the checkout that PYTHONPATH names.

`PYTHONPATH=CHECKOUT python before.py SPLIT CLIENTS EPOCHS TRAIN TEST SEEDS COALITIONS…` prints one JSON object: number
of coalitions → values in images, one vector a seed. For builds that walk all images together, helped by a proxy;
`--seconds S` instead of COALITIONS gives what each seed reaches in that time on all cores, as `spent` counts it.
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

# By name, because they are not this build's.
accuracy, games = import_module("benchmarks.accuracy"), import_module("benchmarks.games")
rankings_of = import_module("fedcoin_cli.consensus.rankings")
mining = {
    name: import_module(f"fedcoin_cli.learning.mining.{name}")
    for name in ("choice", "proxy", "sampling", "table")
}

sys.path.append(str(Path(__file__).parent))
spent: Any = import_module("spent")

SEED = bytes(32)


def main() -> None:
    """Mine and print."""
    split, *numbers, seeds = sys.argv[1:7]
    miner = Miner(games.Case(split, *map(int, numbers)))
    if sys.argv[7] == "--seconds":
        most, seconds = rankings_of.grid_up_to(1_000_000), float(sys.argv[8])
        found = {"0": [miner.values(seed, most, seconds) for seed in range(int(seeds))]}
    else:
        found = {
            number: [
                miner.values(seed, miner.bench.rankings(seed, int(number)), 1e9) for seed in range(int(seeds))
            ]
            for number in sys.argv[7:]
        }
    print(json.dumps(found))


class Miner:
    """What mines a case."""

    def __init__(self, case: Any) -> None:
        game, threads = games.real_game(case), len(os.sched_getaffinity(0))
        proxy = mining["proxy"].ProxyCounts.of(game, threads)
        weighed = mining["proxy"].public_values(proxy, SEED, 0)
        self.public = np.array(weighed.sums) / weighed.denominator
        exact = case.clients <= 20 and "--seconds" not in sys.argv
        engine = accuracy.Looked(games.exact_counts(case)) if exact else mining["choice"].engine_for(game)
        self.bench = accuracy.Bench(case, np.empty(0), proxy, self.public, self.public)
        stakes = mining["sampling"].Stakes(1, tuple(self.public.tolist()), public_squares=weighed.squares)
        terms = mining["table"].TableTerms(case.clients, case.test, 0, proxy)
        clock = spent.Spent(threads)
        if not exact:
            engine.counts = clock.shared(engine.counts)
        self.session: Any = lambda *plan: mining["sampling"].Session(
            engine, terms, mining["sampling"].Plan(SEED, *plan, "balanced", stakes), clock
        )

    def values(self, seed: int, rankings: int, seconds: float) -> list[float]:
        """Of one key, in images."""
        session = self.session(seed.to_bytes(32, "big"), 1, rankings, seconds)
        while not session.advance(0.15).finished:
            pass
        mined = session.estimate()
        print(f"seed {seed}: {mined.rankings} rankings", file=sys.stderr, flush=True)
        found: list[float] = (np.array(mined.sums) / mined.rankings + self.public).tolist()
        return found


if __name__ == "__main__":
    main()
