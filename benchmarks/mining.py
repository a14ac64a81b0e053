"""How fast coalitions are counted, against the original way and against the machine's limit.

`python -m benchmarks.mining [--quick] [--json] [--clients 10] [--split mix]`. The original way sets a model's weights
to a coalition's average and lets Keras evaluate the test set. `walks` count along rankings of blocks of 16 images, as a
miner does; `prefixes` are what the engine for whole coalitions takes for all images along some rankings. The floor is
what a coalition's layers above the first, and one addition and one ReLU a hidden value, take at the speed at which this
machine multiplies large float32 matrices. Everything is measured in turns in one process for each number of threads;
medians of processor time, divided by the threads, are printed: other programs hardly change it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.games import SEED, Case, blocks_of_task, real_game
from benchmarks.machine import finish, machine, peak_mib
from fedcoin_cli.learning.coalitions.walks import orders, prefix_masks
from fedcoin_cli.learning.engines.choice import Kind, engine_for, walker_for
from fedcoin_cli.learning.engines.compiled import library
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.backend import keras, use_threads
from fedcoin_cli.learning.model.build import build
from fedcoin_cli.learning.reference.forward import FirstLayer
from fedcoin_cli.learning.simulation.datasets import as_float

SQUARE = 1536
KINDS: tuple[Kind, ...] = ("kernel", "keras")
BATCH = 2048


def main() -> None:
    """Measure on one core and on all, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mining", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer turns: under a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--split", default="mix")
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    case = Case(chosen.split, chosen.clients)
    if chosen.threads:
        print(json.dumps(_measure(real_game(case), chosen.threads, 3 if chosen.quick else 9)))
        return
    real_game(case)
    cores = len(os.sched_getaffinity(0))
    rows = [row for threads in sorted({1, cores}) for row in _in_process(threads, chosen)]
    alone = {row["way"]: row for row in rows if row["threads"] == 1}
    best = max(alone.values(), key=lambda row: row["speedup over original"])
    result = {
        "speedup_over_original": best["speedup over original"],
        "share_of_sgemm_floor": best["share of floor"],
        "best": best["way"],
        "ways": rows,
        "machine": machine(),
    }
    if library() is not None:
        result["walks_to_prefixes"] = (
            alone["walks, kernel"]["coalitions a second"] / alone["prefixes, kernel"]["coalitions a second"]
        )
    finish(result, chosen.json, {"ways": rows})


def _in_process(threads: int, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Libraries fix their threads when they load: each number of threads gets a process."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    command = [
        sys.executable,
        "-m",
        "benchmarks.mining",
        "--threads",
        str(threads),
        "--clients",
        str(chosen.clients),
        "--split",
        chosen.split,
    ]
    command += ["--quick"] if chosen.quick else []
    environment = os.environ | dict.fromkeys(names, str(threads))
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def _measure(game: Game, threads: int, turns: int) -> list[dict[str, Any]]:
    use_threads(threads)
    clients, images = game.clients, game.images
    first, blocks = FirstLayer(game), blocks_of_task(game)
    matrix = np.random.default_rng(0).standard_normal((SQUARE, SQUARE)).astype(np.float32)
    jobs: dict[str, tuple[Callable[[], Any], float]] = {"sgemm": (lambda: matrix @ matrix, 1)}
    along = orders(SEED, SEED, range(1), range(max(1, 180 // (clients - 1))), clients)[0]
    prefixes = [mask for order in along for mask in prefix_masks(order)]
    ascending = range(max(1, (1 << clients) - 1024), 1 << clients)
    for kind in KINDS:
        if kind == "kernel" and library() is None:
            continue
        # Keras is slower: it gets fewer blocks.
        some = range(len(blocks) if kind == "kernel" else len(blocks) // 10)
        walked = orders(SEED, SEED, some, range(max(10, 180 // (clients - 1))), clients)
        walker, engine = (
            walker_for(game, blocks, first, threads, kind),
            engine_for(game, first, threads, kind),
        )
        if kind == "kernel":
            engine.batch = BATCH  # what it measures is small on a loaded machine, and slow
        share = blocks.starts[some.stop] / images
        jobs[f"walks, {kind}"] = (
            lambda walker=walker, some=some, walked=walked: walker.walk(some, walked),  # type: ignore[misc]
            walked.shape[1] * (clients - 1) * share,
        )
        masks: dict[str, Sequence[int]] = {"prefixes": prefixes, "ascending": ascending}
        for name, each in masks.items():
            jobs[f"{name}, {kind}"] = (lambda engine=engine, each=each: engine.counts(each), len(each))  # type: ignore[misc]
    jobs["original"] = (_original(game), 1)
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(turns + 1):
        for name, (job, number) in jobs.items():
            started = time.process_time()
            job()
            if turn:  # the first one warms up
                times[name].append((time.process_time() - started) / number / threads)
    medians = {name: statistics.median(each) for name, each in times.items()}
    peak = 2 * SQUARE**3 / medians.pop("sgemm")
    floor_s = _flop(game) / peak
    memory_mib = peak_mib()
    return [
        {
            "way": way,
            "threads": threads,
            "ms a coalition": 1e3 * each_s,
            "ns a coalition and image": 1e9 * each_s / images,
            "coalitions a second": 1 / each_s,
            "speedup over original": medians["original"] / each_s,
            "share of floor": floor_s / each_s,
            "floor ms": 1e3 * floor_s,
            "sgemm GFLOP/s": peak / 1e9,
            "process peak MiB": memory_mib,
        }
        for way, each_s in medians.items()
    ]


def _flop(game: Game) -> int:
    """One coalition: an addition and a ReLU a hidden value, and the layers above."""
    first, *above = game.chain.layers
    return game.images * (2 * first.units + sum(2 * layer.inputs * layer.units for layer in above))


def _original(game: Game) -> Callable[[], float]:
    """Average the weights, set them, evaluate: a coalition's accuracy, each time of another one."""
    model = build(game.chain)
    model.compile(
        metrics=["sparse_categorical_accuracy"], loss=keras.losses.SparseCategoricalCrossentropy(True)
    )
    images, labels = as_float(game.test.images), game.test.labels
    draw = np.random.default_rng(1)

    def one() -> float:
        shares = game.shares([int(draw.integers(1, game.full + 1))])[0].astype(np.float32)
        model.set_weights(
            [np.tensordot(shares, np.stack(each), 1) for each in zip(*game.updates, strict=True)]
        )
        accuracy: float = model.evaluate(images, labels, verbose=0)[1]
        return accuracy

    return one


if __name__ == "__main__":
    main()
