"""One round's mining with many clients: what two miners reach in 15 seconds each, and what takes time beside it.

    python -m benchmarks.manyclients [--quick] [--json] [--clients 20 50 100 300 1000] [--split types] [--seconds 15]
                                     [--before CHECKOUT]

Each miner mines on all cores, in a process of its own: it reads the game, lays out its blocks, walks for `--seconds`,
and makes its table. `error_pp` is the Euclidean error over all clients, in percentage points, of the two miners'
average, which clients are paid by; `reported_pp` is what they report of it. Judged against exact values, or a long run
that is itself off by `truth_pp`. `not_mining_s` is what a miner needs beside walking: loading, layout, the table, the
checks of its own table and of another's. Seconds are those of a machine of its own (`spent.py`): processor time, that
of threads side by side. --before adds an earlier build's error in the same seconds.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from benchmarks.accuracy import TRAIN_MICRO, key
from benchmarks.games import SEED, Case, Truth, blocks_of_task, real_game, true_values
from benchmarks.machine import finish, machine, peak_mib
from benchmarks.spent import Spent
from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.learning.engines.choice import engine_for, walker_for
from fedcoin_cli.learning.reference.forward import FirstLayer
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.shapley.checking import Checker
from fedcoin_cli.learning.shapley.judging import Engines
from fedcoin_cli.learning.shapley.sampling import MiningPlan, MiningSession, Stakes
from fedcoin_cli.learning.shapley.table import TableTerms

EPOCHS: Final = {300: 1, 1_000: 1}
TEST: Final = {1_000: 2_000}
LONG: Final = {50: 8_000, 100: 4_000, 300: 2_000, 1_000: 2_000}
"""Rankings of the long run that judges; 32,000 with fewer clients than any of these."""
ALL: Final = (20, 50, 100, 300, 1_000)
QUICK: Final = (20, 100)
MINERS: Final = 2
OWN_CHECK_S: Final = 1.0
CHECK_S: Final = 5.0
"""What a miner may take to check its own table before a commit, and at most to check another's."""


def main() -> None:
    """Mine and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.manyclients", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="K = 20 and 100, 5 seconds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--clients", type=int, nargs="+")
    parser.add_argument("--split", default="types", help="how the training images are divided")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="a checkout of an earlier build")
    parser.add_argument("--miner", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    clients = chosen.clients or (QUICK if chosen.quick else ALL)
    seconds = chosen.seconds or (5.0 if chosen.quick else 15.0)
    if chosen.miner is not None:
        print(json.dumps(mined(case_of(chosen.split, clients[0]), chosen.miner, seconds)))
        return
    cells = [cell(case_of(chosen.split, each), seconds, chosen.before) for each in clients]
    finish({"cells": cells, "seconds": seconds, "machine": machine()}, chosen.json, {"cells": cells})


def case_of(split: str, clients: int) -> Case:
    """The game of so many clients."""
    return Case(split, clients, epochs=EPOCHS.get(clients, 3), test=TEST.get(clients, 10_000))


def cell(case: Case, seconds: float, before: Path | None) -> dict[str, Any]:
    """One round: its miners one after the other."""
    truth = true_values(case, LONG.get(case.clients, 32_000))
    arguments = ["--clients", str(case.clients), "--split", case.split, "--seconds", str(seconds)]
    miners = []
    for miner in range(MINERS):
        command = [sys.executable, "-m", "benchmarks.manyclients", *arguments, "--miner", str(miner)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        miners.append(SimpleNamespace(**json.loads(done.stdout)))
    found = {
        "clients": case.clients,
        "rankings": sum(one.rankings for one in miners) // MINERS,
        "error_pp": off_pp(case, truth, [one.values for one in miners], [one.rankings for one in miners]),
        "reported_pp": float(np.sqrt(np.mean([np.square(one.values_pp).sum() for one in miners]) / MINERS)),
        "truth_pp": truth.error_pp,
        "test_set_pp": float(np.linalg.norm(miners[0].images_pp)),
        "not_mining_s": max(one.not_mining_s for one in miners),
        **{name: max(one.parts[name] for one in miners) for name in miners[0].parts},
        "table MiB": miners[0].table_bytes / 2**20,
        "peak MiB": max(one.peak_mib for one in miners),
    }
    if before is not None:
        values = earlier(case, seconds, before)
        found["before_pp"] = off_pp(case, truth, values, [1] * len(values))
    print(f"{case.title}: {json.dumps(found)}", file=sys.stderr, flush=True)
    return found


def off_pp(case: Case, truth: Truth, values: Sequence[Sequence[float]], weights: Sequence[int]) -> float:
    """The error of the miners' average."""
    mean = np.average(np.array(values), axis=0, weights=weights)
    return 100 / case.test * float(np.linalg.norm(mean - truth.values))


def earlier(case: Case, seconds: float, checkout: Path) -> list[list[float]]:
    """The values of an earlier build's miners after so many seconds each."""
    arguments = [case.split, case.clients, case.epochs, case.train, case.test, MINERS, "--seconds", seconds]
    script = Path(__file__).with_name("before.py")
    done = subprocess.run(
        [sys.executable, "-P", str(script), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: list[list[float]] = json.loads(done.stdout)["0"]
    return found


def mined(case: Case, miner: int, seconds: float) -> dict[str, Any]:
    """What one miner finds, and the seconds that it needs for all else."""
    threads = len(os.sched_getaffinity(0))
    spent = Spent(threads)
    marks = [spent()]
    game = real_game(case)
    marks.append(spent())
    first = FirstLayer(game)
    blocks = blocks_of_task(game)
    walker = walker_for(game, blocks, first, threads)
    terms = TableTerms(case.clients, blocks.sizes, 0)
    marks.append(spent())
    walker.walk = spent.shared(walker.walk)  # type: ignore[method-assign]
    most = grid_up_to(1_000_000)
    session = MiningSession(
        walker,
        None,
        terms,
        MiningPlan(SEED, key(miner), 1, most, seconds, "balanced", Stakes(TRAIN_MICRO)),
        spent,
    )
    while not session.advance(0.15).finished:
        pass
    marks.append(spent())
    estimate = session.estimate()
    claim = session.plan.claim(estimate.rankings, exact=False)
    marks.append(spent())
    checker = Checker(
        Reference(game, first),
        terms,
        blocks,
        Engines(lambda: walker, lambda: engine_for(game, first, threads)),
        spent,
    )
    assert not checker.own_errors(estimate.table, claim, OWN_CHECK_S)
    assert not checker.wrong_entries(estimate.table, claim, CHECK_S)
    marks.append(spent())
    loading, layout, walking, table, checks = np.diff(marks).tolist()
    parts = {"loading s": loading, "layout s": layout, "table s": table, "checks s": checks}
    assert estimate.precision is not None
    return {
        "rankings": estimate.rankings,
        "values": (np.array(estimate.sums) / estimate.rankings).tolist(),
        "values_pp": estimate.precision.values_pp,
        "images_pp": estimate.precision.images_pp,
        "not_mining_s": sum(parts.values()) + walking - seconds,
        "parts": parts,
        "table_bytes": len(estimate.table),
        "peak_mib": peak_mib(),
    }


if __name__ == "__main__":
    main()
