"""What a round weighs: its files, its tables and its blocks, for K = 10 and 20 clients and R = 5 miners.

    python -m benchmarks.sizes [--json]

Files, tables and blocks are written as the program writes them, for 10,000 images of 28 × 28 in bytes and the model
784-128-10; only what the numbers are is made up, for it changes no size but a few digits of sums. A sampled table is
that of 100 and of 1,000 rankings; an exact one holds all coalitions.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.machine import finish

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from chains import ChainMaker

from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.learning.mining.sampling import Estimator, Plan, Session
from fedcoin_cli.learning.mining.table import TableTerms
from fedcoin_cli.learning.weights import TestSet, write_proxy, write_test, write_update
from ledger_store.transaction import Task

MINERS, IMAGES, SIDE, UNITS, CLASSES = 5, 10_000, 28, 128, 10
SHAPES = ((SIDE * SIDE, UNITS), (UNITS,), (UNITS, CLASSES), (CLASSES,))
RANKINGS = (100, 1_000)


class Noise:
    """Some count for each coalition."""

    batch = 4096

    def counts(self, masks: Sequence[int]) -> npt.NDArray[np.int64]:
        return np.array([9_000 + mask % 997 for mask in masks], np.int64)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    rows = [row(clients) for clients in (10, 20)]
    finish({"miners": MINERS, "bytes": rows}, parser.parse_args().json, {"bytes": rows})


def row(clients: int) -> dict[str, Any]:
    """Bytes of everything that one round of so many clients leaves."""
    maker = ChainMaker(MINERS)
    sampled = {t: table(clients, grid_up_to(t), "balanced") for t in RANKINGS}
    task = maker.task(clients=clients, most_rankings=grid_up_to(RANKINGS[0]))
    return {
        "K": str(clients),
        **files(clients),
        **{f"table, {t} rankings": len(data) for t, data in sampled.items()},
        "table, exact": len(table(clients, grid_up_to(RANKINGS[0]), "exact")),
        **blocks(maker, task),
    }


def files(clients: int) -> dict[str, int]:
    """The round's files."""
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        test, update, proxy = (Path(folder) / name for name in ("test", "update", "proxy"))
        pixels = draw.integers(0, 256, (IMAGES, SIDE, SIDE)).astype(np.uint8)
        write_test(test, TestSet(pixels, draw.integers(0, CLASSES, IMAGES).astype(np.int32)))
        write_update(update, [draw.normal(size=shape).astype(np.float32) for shape in SHAPES])
        write_proxy(proxy, draw.integers(-(2**20), 2**20, (clients, IMAGES, CLASSES)).astype(np.int32))
        sizes = {"test set": test, "update": update, "proxy": proxy}
        found = {name: path.stat().st_size for name, path in sizes.items()}
    return {**found, "files": found["test set"] + clients * found["update"] + found["proxy"]}


def table(clients: int, rankings: int, estimator: Estimator) -> bytes:
    """The table of one miner."""
    least = 1 if estimator == "exact" else rankings
    plan = Plan(bytes(32), bytes(32), least, rankings, 600.0, estimator)
    session = Session(Noise(), TableTerms(clients, IMAGES, 0), plan)
    while not session.advance(60.0).finished:
        pass
    return session.estimate().table


def blocks(maker: ChainMaker, task: Task) -> dict[str, int]:
    """The ledger's three lines of a settled round, and one of a transfer."""
    maker.add(task)
    reveals = maker.reveals(task)
    maker.add(maker.close(task, reveals))
    maker.add(maker.result(task, reveals, maker.settled(task)))
    maker.add_transfers(1)
    sizes = [len(line) for line in maker.lines()]
    names = ("genesis", "task block", "close block", "result block", "transfer block")
    return {**dict(zip(names, sizes, strict=True)), "ledger a round": sum(sizes[1:4])}


if __name__ == "__main__":
    main()
