"""What a ledger's past costs: the snapshot after many ended tasks, and an auditor's memory.

`python -m benchmarks.forgotten [--tasks N] [--clients K] [--json]`; in an earlier checkout, for figures side by side,
`cd CHECKOUT; python -P .../benchmarks/forgotten.py`. Every task is settled, in three blocks. Processor time, medians of
five; the memory is that of `fedcoin audit --level 2`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module, util
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path.cwd()), str(Path.cwd() / "tests")]
# By name: an earlier build has them elsewhere.
chains: Any = import_module("chains")
_PLACE = "ledger_store.file" if util.find_spec("ledger_store.file") else "ledger_store"
snapshots: Any = import_module(f"{_PLACE}.snapshot")
TURNS = 5
_AUDIT = """
import resource, subprocess, sys
words = [sys.executable, "-m", "fedcoin_cli", "audit", sys.argv[1], "--level", "2", "--json"]
subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main() -> None:
    """Write chains of three sizes, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forgotten", description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    maker, rows = chains.ChainMaker(4), []
    for tasks in (chosen.tasks // 100, chosen.tasks // 10, chosen.tasks):
        while len(maker.blocks) < 3 * tasks:
            maker.add_round(clients=chosen.clients)
        with tempfile.TemporaryDirectory() as name:
            rows.append({"tasks": tasks, **_row(Path(name), maker)})
        if not chosen.json:
            print(rows[-1], flush=True)
    if chosen.json:
        print(json.dumps({"rows": rows}))


def _row(folder: Path, maker: Any) -> dict[str, float]:
    """Figures of the chain so far."""
    seal = snapshots.Seal(maker.miners[0], maker.genesis)
    snapshot = snapshots.Snapshot("00" * 32, maker.tip.state)
    save_s = _median_s(lambda: snapshot.save(folder, seal))
    size = (folder / snapshots.SNAPSHOT_NAME).stat().st_size
    (folder / snapshots.SNAPSHOT_NAME).unlink()
    chain = maker.write(folder)
    return {
        "snapshot KiB": size / 1024,
        "write ms": 1e3 * save_s,
        "audit MiB": _audit_mib(chain),
        "chain MiB": chain.stat().st_size / 2**20,
    }


def _median_s(do: Callable[[], object]) -> float:
    """Processor time."""
    taken = []
    for _ in range(TURNS):
        begun_s = time.process_time()
        do()
        taken.append(time.process_time() - begun_s)
    return statistics.median(taken)


def _audit_mib(chain: Path) -> float:
    """The most memory that an audit's process had; started by a small one, since a child begins with its parent's."""
    words = [sys.executable, "-c", _AUDIT, str(chain)]
    return float(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout) / 1024


if __name__ == "__main__":
    main()
