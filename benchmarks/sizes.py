"""What a round weighs: its files, its tables and its blocks, for K = 10 and 20 clients and R = 5 miners.

    python -m benchmarks.sizes [--json]

Files, tables and blocks are written as the program writes them, for 10,000 images of 28 × 28 in bytes and the model
784-128-10; only what the numbers are is made up, for it changes no size but a few digits of sums. A sampled table is
that of 100 and of 1,000 rankings; an exact one holds all coalitions.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import finish

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from chains import ChainMaker

from fedcoin_cli.consensus.rankings import grid_up_to, table_entries
from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.model.weights import TestSet, write_test, write_update
from fedcoin_cli.learning.shapley.table import Table, encode_exact
from ledger_store.transaction import Task

MINERS, IMAGES, SIDE, UNITS, CLASSES, BLOCK_IMAGES = 5, 10_000, 28, 128, 10, 16
SHAPES = ((SIDE * SIDE, UNITS), (UNITS,), (UNITS, CLASSES), (CLASSES,))
RANKINGS = (100, 1_000)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    rows = [row(clients) for clients in (10, 20)]
    finish({"miners": MINERS, "bytes": rows}, parser.parse_args().json, {"bytes": rows})


def row(clients: int) -> dict[str, Any]:
    """Bytes of everything that one round of so many clients leaves."""
    maker = ChainMaker(MINERS)
    sampled = {t: sampled_table(clients, grid_up_to(t)) for t in RANKINGS}
    task = maker.task(clients=clients, most_rankings=grid_up_to(RANKINGS[0]))
    return {
        "K": str(clients),
        **files(clients),
        **{f"table, {t} rankings": len(data) for t, data in sampled.items()},
        "table, exact": len(encode_exact(np.zeros((1 << clients) - 1, np.int64))),
        **blocks(maker, task),
    }


def files(clients: int) -> dict[str, int]:
    """The round's files."""
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        test, update = (Path(folder) / name for name in ("test", "update"))
        pixels = draw.integers(0, 256, (IMAGES, SIDE, SIDE)).astype(np.uint8)
        write_test(test, TestSet(pixels, draw.integers(0, CLASSES, IMAGES).astype(np.int32)))
        write_update(update, [draw.normal(size=shape).astype(np.float32) for shape in SHAPES])
        sizes = {"test set": test, "update": update}
        found = {name: path.stat().st_size for name, path in sizes.items()}
    return {**found, "files": found["test set"] + clients * found["update"]}


def sampled_table(clients: int, rankings: int) -> bytes:
    """The table of one miner."""
    blocks = partition(np.arange(IMAGES) % CLASSES, BLOCK_IMAGES, bytes(32))
    ends = blocks.sizes.astype(np.uint8)
    counts = np.zeros((len(blocks), rankings, clients - 1), np.uint8)
    data = Table(0 * ends, ends, counts).encode()
    assert len(data) == table_entries(clients, len(blocks), rankings)
    return data


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
