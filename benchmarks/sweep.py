"""Rounds over splits, numbers of clients and seeds, as one CSV: a line a client, with values, errors and seconds.

`python -m benchmarks.sweep -C DIR --splits same,dirichlet:0.1 --clients 5,10 --seeds 0,1,2 -o sweep.csv` in a workspace
whose miners run (`fedcoin mine --detach`). What stands behind `--` goes to `fedcoin train`, as `-- --epochs 5`; terms
of mining are the workspace's settings. Lines are written as rounds end, so that an interrupted sweep is not lost, and
rounds that the file holds already are left out when it is run again. A summary is printed at the end.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

COLUMNS = (
    *("split", "clients", "seed", "client", "images", "value_pp", "standard_error_pp", "paid", "exact"),
    *("train_s", "publish_s", "not_mining_s", "accuracy", "task", "round"),
)


def main() -> None:
    """Run what lacks, and print the table."""
    chosen = _arguments()
    target = Path(chosen.output)
    done = _read(target)
    known = {(row["split"], row["clients"], row["seed"]) for row in done}
    with target.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not done:
            writer.writeheader()
        for case in product(chosen.splits.split(","), chosen.clients.split(","), chosen.seeds.split(",")):
            if case not in known:
                writer.writerows(_round(*case, chosen))
                file.flush()
    print("\n".join(_summary(_read(target))))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__)
    parser.add_argument("-C", "--workspace", default=".")
    parser.add_argument("--splits", default="same")
    parser.add_argument("--clients", default="5")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("-o", "--output", default="sweep.csv")
    parser.add_argument("train", nargs="*", help="behind --: options of fedcoin train")
    return parser.parse_args()


def _round(split: str, clients: str, seed: str, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    start_s = time.monotonic()
    options = ("--split", split, "--clients", clients, "--seed", seed, *chosen.train)
    made = _fedcoin(chosen.workspace, "train", *options)
    train_s = time.monotonic() - start_s
    whole = _fedcoin(chosen.workspace, "model", "aggregate", made["round"])
    paid = _fedcoin(chosen.workspace, "publish", made["round"])
    shared = {"split": split, "clients": clients, "seed": seed, "exact": paid["exact"], "task": paid["task"]}
    shared |= {"train_s": f"{train_s:.1f}", "publish_s": paid["seconds"], "accuracy": whole["accuracy"]}
    shared |= {"not_mining_s": paid["seconds_not_mining"], "round": made["round"]}
    return [
        shared
        | {"client": one["name"], "images": one["images"], "value_pp": line["shapley"], "paid": line["paid"]}
        | {"standard_error_pp": paid["standard_error"]}
        for one, line in zip(made["clients"], paid["clients"], strict=True)
    ]


def _fedcoin(folder: str, *words: str) -> Any:
    command = [sys.executable, "-m", "fedcoin_cli", *words, "--json", "-C", folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _summary(rows: list[dict[str, str]]) -> list[str]:
    """A line a split and number of clients: over all its seeds."""
    found: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        found[row["split"], row["clients"]].append(row)
    lines = [
        f"{'split':16} {'K':>4} {'rounds':>6} {'value (pp)':>10} {'sd':>8} {'least':>8} {'most':>8} {'seconds':>8}"
    ]
    for (split, clients), those in found.items():
        values = [float(row["value_pp"]) for row in those]
        seconds = statistics.mean(float(row["publish_s"]) for row in those)
        rounds, spread = len({row["task"] for row in those}), statistics.pstdev(values)
        lines.append(
            f"{split:16} {clients:>4} {rounds:>6} {statistics.mean(values):>10.4f} {spread:>8.4f}"
            f" {min(values):>8.4f} {max(values):>8.4f} {seconds:>8.1f}"
        )
    return lines


if __name__ == "__main__":
    main()
