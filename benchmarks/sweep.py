"""Rounds over splits, numbers of clients, seeds and metrics, as one CSV: a line a client, with values, errors, seconds.

`python -m benchmarks.sweep -C DIR --splits same,dirichlet:0.1 --clients 5,10 --seeds 0,1,2 -o sweep.csv` in a workspace
whose miners run (`fedcoin mine --detach`). With `--metrics accuracy,neg_log_loss:4.6` a round is trained once and
published by each. What stands behind `--` goes to `fedcoin train`, as `-- --epochs 5`; other terms of mining, as the
baseline, are the workspace's settings. Lines are written as tasks end, so that an interrupted sweep is not lost, and
tasks that the file holds already are left out when it is run again. A summary is printed at the end.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

COLUMNS = (
    *(
        "split",
        "clients",
        "seed",
        "metric",
        "client",
        "images",
        "value_pp",
        "standard_error_pp",
        "paid",
        "exact",
    ),
    *("train_s", "publish_s", "not_mining_s", "accuracy", "together", "task", "round"),
)


def main() -> None:
    """Run what lacks, and print the table."""
    chosen = _arguments()
    target = Path(chosen.output)
    done = _read(target)
    known = {(row["split"], row["clients"], row["seed"], row["metric"]) for row in done}
    metrics = chosen.metrics.split(",")
    with target.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not done:
            writer.writeheader()
        for case in product(chosen.splits.split(","), chosen.clients.split(","), chosen.seeds.split(",")):
            for rows in _round(*case, [one for one in metrics if (*case, one) not in known], chosen):
                writer.writerows(rows)
                file.flush()
    print("\n".join(_summary(_read(target))))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__)
    parser.add_argument("-C", "--workspace", default=".")
    parser.add_argument("--splits", default="same")
    parser.add_argument("--clients", default="5")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--metrics", default="accuracy", help="as fedcoin publish --metric names them")
    parser.add_argument("-o", "--output", default="sweep.csv")
    parser.add_argument("train", nargs="*", help="behind --: options of fedcoin train")
    return parser.parse_args()


def _round(
    split: str, clients: str, seed: str, metrics: list[str], chosen: argparse.Namespace
) -> Iterator[list[dict[str, Any]]]:
    """The lines of each task; nothing is trained where no metric is left."""
    if not metrics:
        return
    start_s = time.monotonic()
    options = ("--split", split, "--clients", clients, "--seed", seed, *chosen.train)
    made = _fedcoin(chosen.workspace, "train", *options)
    shared = {"split": split, "clients": clients, "seed": seed, "round": made["round"]}
    shared |= {"train_s": f"{time.monotonic() - start_s:.1f}"}
    shared |= {"accuracy": _fedcoin(chosen.workspace, "model", "aggregate", made["round"])["accuracy"]}
    for metric in metrics:
        paid = _fedcoin(chosen.workspace, "publish", made["round"], "--metric", metric)
        task = {"metric": metric} | {name: paid[name] for name in ("exact", "task", "together")}
        task |= {"publish_s": paid["seconds"], "not_mining_s": paid["seconds_not_mining"]}
        task |= {"standard_error_pp": paid["standard_error"]}
        yield [
            shared
            | task
            | {
                "client": one["name"],
                "images": one["images"],
                "value_pp": line["shapley"],
                "paid": line["paid"],
            }
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
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or COLUMNS) != COLUMNS:
            sys.exit(f"{path} has other columns than a sweep writes; name another file with -o")
        return list(reader)


def _summary(rows: list[dict[str, str]]) -> list[str]:
    """A line a split, number of clients and metric: over all its seeds."""
    found: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        found[row["split"], row["clients"], row["metric"]].append(row)
    head = f"{'split':16} {'K':>4} {'metric':20} {'rounds':>6} {'value (pp)':>10} {'sd':>8} {'least':>8} {'most':>8}"
    lines = [f"{head} {'seconds':>8}"]
    for (split, clients, metric), those in found.items():
        values = [float(row["value_pp"]) for row in those]
        seconds = statistics.mean(float(row["publish_s"]) for row in those)
        rounds, spread = len({row["task"] for row in those}), statistics.pstdev(values)
        lines.append(
            f"{split:16} {clients:>4} {metric:20} {rounds:>6} {statistics.mean(values):>10.4f} {spread:>8.4f}"
            f" {min(values):>8.4f} {max(values):>8.4f} {seconds:>8.1f}"
        )
    return lines


if __name__ == "__main__":
    main()
