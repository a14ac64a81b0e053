"""What containers cost: the same rounds by miners as processes and in containers, in turn, in one run.

    python -m benchmarks.containers [--rounds 5] [--miners 4] [--json]

Needs a Docker engine and this code's images (`fedcoin mine --via docker --build`). A round's own time is what `publish`
takes less RUNTIME; start is `mine --detach` until all miners are ready, stop is `stop`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import finish, machine

PROGRAM = Path(sys.executable).with_name("fedcoin")
WAYS = ("process", "docker")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--miners", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder) / "net", options.miners, options.rounds)
    finish({"machine": machine(), "rows": rows}, options.json, {"a round, in seconds": rows})


def measure(root: Path, miners: int, rounds: int) -> list[dict[str, Any]]:
    """One row a way to run miners: medians over `rounds` rounds, published in turn by both ways."""
    said = (
        "--miners",
        str(miners),
        "--clients",
        "8",
        "--set",
        "network.port=21460",
        "--set",
        "task.runtime=1",
    )
    run("init", str(root), *said)
    run("train", "-C", str(root), "--epochs", "1")
    times: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    try:
        for _ in range(rounds):
            for way in WAYS:
                times[way].append(once(root, way))
    finally:
        run("stop", "--prune", "-C", str(root))
    names = ("start", "round", "stop")
    return [
        {"miners as": way}
        | {
            name: statistics.median(column)
            for name, column in zip(names, zip(*found, strict=True), strict=True)
        }
        for way, found in times.items()
    ]


def once(root: Path, way: str) -> tuple[float, float, float]:
    """Seconds to start the miners, for a round without its mining, and to stop."""
    start_s = took("mine", "--via", way, "--detach", "-C", str(root))
    round_s = json.loads(run("publish", "--json", "-C", str(root)))["seconds_not_mining"]
    return start_s, float(round_s), took("stop", "-C", str(root))


def took(*arguments: str) -> float:
    """Seconds of one command."""
    start_s = time.monotonic()
    run(*arguments)
    return round(time.monotonic() - start_s, 2)


def run(*arguments: str) -> str:
    """One command that must succeed; its answer."""
    return subprocess.run([PROGRAM, *arguments], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
