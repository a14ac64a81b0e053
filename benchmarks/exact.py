"""Exact values: how long all 2^K coalitions take, and whether every count is right.

`python -m benchmarks.exact [--quick] [--json] [--clients 10 12 16 20] [--split mix] [--checked 1000]`. Random masks
are judged by the float64 reference: how many counts lie outside their interval (none may), how many differ from the
float64 count, and by how much at most. `ratio to enumeration` says how many times as long the kernel takes one by one:
samples of images, the same for both, are counted in turns; the kernel counts some of the coalitions. It is the median.
"""

import argparse
import os
import statistics
import sys
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from benchmarks.games import Case, real_game
from benchmarks.machine import finish, machine, peak_mib
from fedcoin_cli.learning.coalitions.exact import exact_numerators
from fedcoin_cli.learning.coalitions.walks import Counts
from fedcoin_cli.learning.engines.choice import describe, engine_for, enumeration_for
from fedcoin_cli.learning.engines.enumeration import Enumerating
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.game.utility import Enumeration
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.reference.forward import FirstLayer
from fedcoin_cli.learning.reference.reference import Reference
from ledger_store.transaction import exact_denominator

TURNS: Final = 7
SAMPLED: Final = 64
"""Images of each label in a turn."""


def main() -> None:
    """Enumerate, check, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exact", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="10 and 12 clients, 100 checked masks: under a minute"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--clients", type=int, nargs="+")
    parser.add_argument("--split", default="mix", help="how the training images are divided")
    parser.add_argument("--checked", type=int)
    chosen = parser.parse_args()
    sizes = chosen.clients or ([10, 12] if chosen.quick else [10, 12, 16, 20])
    checked = chosen.checked or (100 if chosen.quick else 1_000)
    threads = len(os.sched_getaffinity(0))
    rows = [_exact(real_game(Case(chosen.split, clients)), threads, checked) for clients in sizes]
    result = {
        "engine": describe(threads),
        "split": chosen.split,
        "seconds": rows[-1]["seconds"],
        "ratio_to_enumeration": rows[-1]["ratio to enumeration"],
        "runs": rows,
        "machine": machine(),
    }
    finish(result, chosen.json, {"runs": rows})


def _exact(game: Game, threads: int, checked: int) -> dict[str, Any]:
    first = FirstLayer(game)
    started = time.perf_counter()
    enumeration = enumeration_for(game, lambda: engine_for(game, first, threads), first, threads)
    assert enumeration is not None
    alone = isinstance(enumeration, Enumerating)
    ready_s, used_s = time.perf_counter() - started, time.process_time()
    counts = enumerate_all(enumeration)
    counted_s, used_s = time.perf_counter() - started - ready_s, time.process_time() - used_s
    numerators = exact_numerators(counts, game.empty, game.clients)
    seconds = time.perf_counter() - started
    # Σ φ = u(all) − u(∅), to the last integer.
    assert sum(numerators) == exact_denominator(game.clients) * (int(counts[-1]) - game.empty)
    return {
        "K": game.clients,
        "way": "one by one" if alone else "together",
        "coalitions": len(counts),
        "preparing s": ready_s,
        "counting s": counted_s,
        "processor s": used_s,
        "seconds": seconds,
        "ratio to enumeration": 1.0 if alone else _ratio(game, threads),
        **_against_reference(game, first, counts, checked),
        "peak MiB": peak_mib(),
    }


def enumerate_all(enumeration: Enumeration) -> Counts:
    """The counts of all coalitions, with a line of progress where somebody watches."""
    began = time.perf_counter()
    while enumeration.done < enumeration.total:
        enumeration.step()
        if sys.stderr.isatty():
            left_s = (time.perf_counter() - began) * (enumeration.total / enumeration.done - 1)
            sys.stderr.write(f"\r{enumeration.done:,} of {enumeration.total:,}, {left_s:,.0f} s left \033[K")
    return enumeration.counts()


def _ratio(game: Game, threads: int) -> float:
    """How many times as long the kernel takes for all coalitions as they take together."""
    return statistics.median(_turn(_sample(game, turn), threads) for turn in range(TURNS))


def _turn(game: Game, threads: int) -> float:
    first, middle = FirstLayer(game), 1 << (game.clients - 1)
    engine = engine_for(game, first, threads)
    enumeration = enumeration_for(game, lambda: engine, first, threads)
    assert enumeration is not None
    masks = range(middle, middle + 2 * engine.batch)
    engine.counts(masks)
    times = [time.perf_counter()]
    engine.counts(masks)
    times.append(time.perf_counter())
    enumerate_all(enumeration)
    times.append(time.perf_counter())
    engine.counts(masks)
    times.append(time.perf_counter())
    before_s, whole_s, after_s = (end - start for start, end in pairwise(times))
    return (before_s + after_s) / (2 * len(masks)) * ((1 << game.clients) - 1) / whole_s


def _sample(game: Game, turn: int) -> Game:
    """Some images of each label: as many as fill the kernel's blocks, which would else count for nothing."""
    chance = np.random.default_rng(turn)
    labels = game.test.labels
    chosen = [
        chance.choice(np.flatnonzero(labels == label), SAMPLED, replace=False) for label in np.unique(labels)
    ]
    places = np.concatenate(chosen)
    return replace(game, test=TestSet(game.test.images[places], labels[places]))


def _against_reference(game: Game, first: FirstLayer, counts: Any, checked: int) -> dict[str, Any]:
    number = min(checked, len(counts))
    masks = sorted((1 + np.random.default_rng(0).choice(len(counts), number, replace=False)).tolist())
    bounds = Reference(game, first).intervals(masks)
    claims = [int(counts[mask - 1]) for mask in masks]
    pairs = list(zip(claims, bounds, strict=True))
    gaps = [abs(claim - bound.count) for claim, bound in pairs]
    return {
        "checked": number,
        "outside": sum(not bound.lo <= claim <= bound.hi for claim, bound in pairs),
        "differ": sum(gap > 0 for gap in gaps),
        "by at most": max(gaps),
    }


if __name__ == "__main__":
    main()
