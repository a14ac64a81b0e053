"""Exact values: how long all 2^K coalitions take, and whether every count is right.

`python -m benchmarks.exact [--quick] [--json] [--clients 10 12 16 20] [--checked 1000]`. Random masks are judged by the
float64 reference: how many counts lie outside their interval (none may), how many differ from the float64 count, and
by how much at most.
"""

import argparse
import os
import resource
import sys
import time
from typing import Any

import numpy as np

from benchmarks.games import Case, real_game
from benchmarks.machine import finish, machine
from fedcoin_cli.learning.mining.choice import describe, engine_for
from fedcoin_cli.learning.mining.exact import common_denominator, exact_numerators
from fedcoin_cli.learning.mining.forward import FirstLayer
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.memo import Memo
from fedcoin_cli.learning.mining.reference import Reference
from fedcoin_cli.learning.mining.sampling import Utility


def main() -> None:
    """Enumerate, check, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exact", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="10 and 12 clients, 100 checked masks: under a minute"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--clients", type=int, nargs="+")
    parser.add_argument("--checked", type=int)
    chosen = parser.parse_args()
    sizes = chosen.clients or ([10, 12] if chosen.quick else [10, 12, 16, 20])
    checked = chosen.checked or (100 if chosen.quick else 1_000)
    threads = len(os.sched_getaffinity(0))
    rows = [_exact(real_game(Case("mix", clients)), threads, checked) for clients in sizes]
    finish({"engine": describe(threads), "runs": rows, "machine": machine()}, chosen.json, {"runs": rows})


def _exact(game: Game, threads: int, checked: int) -> dict[str, Any]:
    first = FirstLayer(game)
    started = time.perf_counter()
    engine = engine_for(game, first, threads)
    ready_s = time.perf_counter() - started
    memo = enumerate_all(engine, game.clients)
    counted_s = time.perf_counter() - started - ready_s
    counts = memo.exact()
    assert counts is not None
    numerators = exact_numerators(counts, game.empty, game.clients)
    whole_s = time.perf_counter() - started
    # Σ φ = u(all) − u(∅), to the last integer.
    assert sum(numerators) == common_denominator(game.clients) * (int(counts[-1]) - game.empty)
    return {
        "K": game.clients,
        "coalitions": len(counts),
        "preparing s": ready_s,
        "counting s": counted_s,
        "values s": whole_s - counted_s - ready_s,
        "ms a coalition": 1e3 * counted_s / len(counts),
        **_against_reference(game, first, counts, checked),
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def enumerate_all(engine: Utility, clients: int) -> Memo:
    """The counts of all coalitions, with a line of progress where somebody watches."""
    memo, total, start, began = Memo(clients), (1 << clients) - 1, 1, time.perf_counter()
    while len(memo) < total:
        masks, start = memo.unknown(start, engine.batch)
        memo.store(masks, engine.counts(masks))
        if sys.stderr.isatty():
            left_s = (time.perf_counter() - began) * (total / len(memo) - 1)
            sys.stderr.write(f"\rK = {clients}: {len(memo):,} of {total:,}, {left_s:,.0f} s left \033[K")
    return memo


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
