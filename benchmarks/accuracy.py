"""How far estimates lie from the true values, at equal work: test images × coalitions.

    python -m benchmarks.accuracy [--quick] [--json] [--cases mix-10 …] [--before CHECKOUT] [--python python3.12]

Ours is a miner's session as it mines, every block of images on rankings of its own; what it counts twice counts twice.
"The paper's" draws independent rankings of all images; it and the libraries may meet a coalition again for nothing. The
libraries run in an environment of their own (`libraries.py`), which is made in the cache, by --python, when it is
missing. --before adds an earlier build's miner (`before.py`), run in this run. Errors are Euclidean, in percentage
points, root mean squares over seeds; up to 20 clients against exact values, above against a long run. `ratios` are the
best library's errors by ours.
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import or_
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.games import (
    CACHE,
    SEED,
    Blocks,
    Case,
    Floats,
    Truth,
    exact_counts,
    longest,
    real_game,
    true_values,
)
from benchmarks.machine import machine
from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.learning.coalitions.exact import MAX_EXACT_CLIENTS
from fedcoin_cli.learning.coalitions.walks import Counts
from fedcoin_cli.learning.engines.choice import engine_for
from fedcoin_cli.learning.shapley.sampling import MinedEstimate, MiningPlan, MiningSession, Stakes

TRAIN_MICRO: Final = 700_000_000
OURS, PAPER, BEFORE = "ours", "the paper's sampling", "the build before"
LIBRARIES: Final = ("shapiq ", "pyDVL ")
LONG_RANKINGS: Final = 16_000


@dataclass(frozen=True, slots=True)
class Cells:
    """What is compared in one case: numbers of coalitions, and over how many seeds."""

    case: Case
    coalitions: tuple[int, ...]
    seeds: int


ALL: Final = (
    Cells(Case("mix", 10), (100, 300), 20),
    Cells(Case("noisey", 10), (100, 300), 20),
    Cells(Case("types", 10), (100, 300), 20),
    Cells(Case("mix", 16), (100, 500, 2_000), 20),
    Cells(Case("mix", 20), (500, 2_000), 10),
    Cells(Case("types", 50), (2_000,), 5),
    Cells(Case("types", 100), (2_000,), 3),
)
QUICK: Final = tuple(Cells(cells.case, cells.coalitions, 5) for cells in ALL[:3])


@dataclass(frozen=True, slots=True)
class Bench:
    """One case: the game in blocks, what counts whole coalitions, and the true values."""

    case: Case
    blocks: Blocks
    counts: Callable[[Sequence[int]], Counts]
    truth: Truth

    @classmethod
    def of(cls, case: Case) -> "Bench":
        game = real_game(case)
        if case.clients <= MAX_EXACT_CLIENTS:
            table = exact_counts(case)
            return cls(case, Blocks.of(game), lambda masks: table[list(masks)], true_values(case, 0))
        counts = engine_for(game).counts
        return cls(case, Blocks.of(game), counts, true_values(case, LONG_RANKINGS))

    def mined(self, seed: int, rankings: int) -> MinedEstimate:
        """A miner's estimate after so many rankings."""
        plan = MiningPlan(SEED, key(seed), 1, rankings, 1e9, "balanced", Stakes(TRAIN_MICRO))
        session = MiningSession(self.blocks.walker, None, self.blocks.terms, plan)
        while not session.advance(1e9).finished:
            pass
        return session.estimate()

    def ours(self, seed: int, coalitions: int) -> Floats:
        """The values of a miner who counts at most so many coalitions in each block."""
        return values_of(self.mined(seed, longest(coalitions, self.case.clients)))

    def paper(self, seed: int, coalitions: int) -> Floats:
        """Independent rankings, with v(∅) = 0, until so many different coalitions are counted: as many at most."""
        rng = np.random.default_rng(seed)
        seen: dict[int, int] = {}
        walked: list[tuple[list[int], list[int]]] = []
        while len(walked) < coalitions:
            order = rng.permutation(self.case.clients).tolist()
            masks = list(accumulate((1 << client for client in order), or_))
            missing = [mask for mask in masks if mask not in seen]
            if len(seen) + len(missing) > coalitions and walked:
                break
            seen.update(zip(missing, self.counts(missing).tolist() if missing else [], strict=True))
            walked.append((order, masks))
        values = np.zeros(self.case.clients)
        for order, masks in walked:
            values[order] += np.diff([0, *(seen[mask] for mask in masks)])
        return values / len(walked)

    def off_pp(self, values: Floats) -> float:
        """Euclidean error over all clients in percentage points."""
        return 100 / self.case.test * float(np.linalg.norm(values - self.truth.values))


@dataclass(frozen=True, slots=True)
class Rivals:
    """What ours is compared with: estimators of the libraries by their interpreter, and the build of a checkout.

    `plain` is for the libraries' estimators as they are, too.
    """

    python: Path | None = None
    plain: bool = False
    before: Path | None = None


def values_of(mined: MinedEstimate) -> Floats:
    """What a sampled estimate says the values are, in images."""
    return np.array(mined.sums) / mined.rankings


def key(seed: int) -> bytes:
    """A miner's key."""
    return seed.to_bytes(32, "big")


def compare(bench: Bench, cells: Cells, rivals: Rivals) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """One row an estimator and number of coalitions, and the libraries' versions."""
    found: dict[str, dict[int, list[float]]] = {OURS: {}, PAPER: {}}
    for coalitions in cells.coalitions:
        for name, estimate in ((OURS, bench.ours), (PAPER, bench.paper)):
            found[name][coalitions] = [
                bench.off_pp(estimate(seed, coalitions)) for seed in range(cells.seeds)
            ]
    if rivals.before is not None:
        found[BEFORE] = earlier(bench, cells, rivals.before)
    theirs, versions = ({}, {}) if rivals.python is None else libraries(bench, cells, rivals)
    rows = [
        _row(bench, coalitions, name, errors_pp)
        for name, by_number in (found | theirs).items()
        for coalitions, errors_pp in by_number.items()
    ]
    return rows, versions


def _row(bench: Bench, coalitions: int, estimator: str, errors_pp: list[float]) -> dict[str, Any]:
    squares = np.square(errors_pp)
    error_pp = float(np.sqrt(squares.mean()))
    # By the delta method: the error of a root of a mean.
    spread = float(squares.std(ddof=1) / np.sqrt(len(squares)) / (2 * error_pp)) if len(squares) > 1 else 0.0
    return {
        "case": bench.case.title,
        "coalitions": coalitions,
        "estimator": estimator,
        "error_pp": error_pp,
        "error_of_that": spread,
        "error_of_the_truth": bench.truth.error_pp,
        "seeds": len(errors_pp),
    }


def libraries(
    bench: Bench, cells: Cells, rivals: Rivals
) -> tuple[dict[str, dict[int, list[float]]], dict[str, str]]:
    """What the libraries' estimators reach; they ask for coalitions and are told counts."""
    script = Path(__file__).with_name("libraries.py")
    command = [str(rivals.python), str(script), str(bench.case.clients), str(cells.seeds)]
    command.append("both" if rivals.plain else "re-based")
    command += map(str, cells.coalitions)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("{"):
                found = json.loads(line)
                break
            masks = [int(mask, 16) for mask in line.split()]
            child.stdin.write(" ".join(map(str, bench.counts(masks).tolist())) + "\n")
            child.stdin.flush()
        else:
            sys.exit("the libraries' estimators ended without a result")
    return {
        name: {
            int(number): [bench.off_pp(np.array(values)) for values in runs]
            for number, runs in by_number.items()
        }
        for name, by_number in found["values"].items()
    }, found["versions"]


def libraries_python(by: str) -> Path:
    """The interpreter of the libraries' environment, which is made by the interpreter `by` when it is missing."""
    folder = CACHE / "libraries"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        if by == sys.executable:
            venv.create(folder, with_pip=True, clear=True)
        else:
            subprocess.run([by, "-m", "venv", "--clear", folder], check=True)
        install: list[str | Path] = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "shapiq", "pydvl"], check=True)
        # What shapiq's estimators with trees need; without it they are left out.
        subprocess.run([*install, "lightgbm", "xgboost-cpu"], check=False)
        (folder / "complete").touch()
    return python


def earlier(bench: Bench, cells: Cells, checkout: Path) -> dict[int, list[float]]:
    """The errors of an earlier build's miner at the same numbers of coalitions."""
    case = bench.case
    arguments = [case.split, case.clients, case.epochs, case.train, case.test, cells.seeds, *cells.coalitions]
    script = Path(__file__).with_name("before.py")
    done = subprocess.run(
        [sys.executable, "-P", str(script), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout)
    return {
        int(number): [bench.off_pp(np.array(values)) for values in runs] for number, runs in found.items()
    }


def unbiased(bench: Bench, rankings: int, seeds: int) -> dict[str, Any]:
    """The mean over seeds against the exact values, in standard errors; |z| below `bound` in 999 of 1,000 families."""
    errors = np.array([values_of(bench.mined(seed, rankings)) - bench.truth.values for seed in range(seeds)])
    z = errors.mean(0) / (errors.std(0, ddof=1) / np.sqrt(seeds))
    # P(|N| > x) ≤ exp(−x²/2): a bound for all clients together that needs no table.
    bound = float(np.sqrt(2 * np.log(bench.case.clients / 0.001)))
    return {
        "case": bench.case.title,
        "rankings": rankings,
        "seeds": seeds,
        "largest_z": float(np.abs(z).max()),
        "bound": bound,
    }


def calibrated(bench: Bench, rankings: int, runs: int) -> dict[str, Any]:
    """True and reported error of all values together, and the share of values and payments within two reported ones."""
    truth, paid_truth = bench.truth.values, paid(bench.truth.values)
    true, reported, within = [], [], []
    for seed in range(runs):
        mined = bench.mined(seed, rankings)
        assert mined.precision is not None
        values, said_pp = values_of(mined), np.array(mined.precision.values_pp)
        off_pp = 100 / bench.case.test * np.abs(values - truth)
        off_micro = np.abs(paid(values) - paid_truth)
        true.append(bench.off_pp(values))
        reported.append(float(np.linalg.norm(said_pp)))
        within.append(
            [
                np.mean(off_pp < 2 * said_pp),
                np.mean(off_micro <= 2 * np.array(mined.precision.payments_micro)),
            ]
        )
    shares = np.mean(within, axis=0)
    true_pp, reported_pp = (float(np.sqrt(np.mean(np.square(each)))) for each in (true, reported))
    return {
        "case": bench.case.title,
        "rankings": grid_up_to(rankings),
        "runs": runs,
        "true_pp": true_pp,
        "reported_pp": reported_pp,
        "reported_by_true": reported_pp / true_pp,
        "values_within_2": float(shares[0]),
        "payments_within_2": float(shares[1]),
    }


def paid(values: Floats) -> Floats:
    """What clients of these values are paid."""
    weights = np.maximum(values, 0.0)
    each: Floats = TRAIN_MICRO * weights / weights.sum()
    return each


def ratios(rows: list[dict[str, Any]], over: Callable[[str], bool]) -> dict[str, float]:
    """By cell the least error of the estimators named so, by ours."""
    found = {}
    for ours in (row for row in rows if row["estimator"] == OURS):
        cell = (ours["case"], ours["coalitions"])
        others = [
            row["error_pp"]
            for row in rows
            if (row["case"], row["coalitions"]) == cell and over(row["estimator"])
        ]
        if others:
            found[f"{ours['case']} @ {ours['coalitions']}"] = min(others) / ours["error_pp"]
    return found


def geometric_mean(values: Sequence[float]) -> float:
    """The root of their product."""
    return float(np.exp(np.mean(np.log(values))))


def measure(wanted: Sequence[Cells], rivals: Rivals) -> dict[str, Any]:
    """The comparison of all cells."""
    rows: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    for cells in wanted:
        more, versions = compare(Bench.of(cells.case), cells, rivals)
        rows += more
        print("\n".join(tables({"errors": more})), file=sys.stderr, flush=True)
    by_library = ratios(rows, lambda name: name.startswith(LIBRARIES))
    by_before = ratios(rows, lambda name: name == BEFORE)
    found: dict[str, Any] = {"machine": machine(), "versions": versions, "errors": rows, "ratios": by_library}
    if by_library:
        found["ratio"] = geometric_mean(list(by_library.values()))
    if by_before:
        found |= {"ratios_to_before": by_before, "ratio_to_before": geometric_mean(list(by_before.values()))}
    return found


def tables(found: dict[str, Any]) -> list[str]:
    """The same for people: one table a case, estimators from best to worst at the largest number."""
    lines = []
    for case in dict.fromkeys(row["case"] for row in found["errors"]):
        here = [row for row in found["errors"] if row["case"] == case]
        numbers = sorted({row["coalitions"] for row in here})
        by_name: dict[str, dict[int, float]] = {}
        for row in here:
            by_name.setdefault(row["estimator"], {})[row["coalitions"]] = row["error_pp"]
        lines += ["", f"{case}: error in percentage points at {', '.join(map(str, numbers))} coalitions"]
        for name, errors in sorted(by_name.items(), key=lambda item: item[1].get(numbers[-1], 1e9)):
            shown = "".join(f"{errors[n]:12.4f}" if n in errors else f"{'-':>12}" for n in numbers)
            lines.append(f"  {name:44}{shown}")
    return [
        *lines,
        *("\n".join(["", name, "  " + json.dumps(found[name])]) for name in found if name != "errors"),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="K = 10 and five seeds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="a checkout of an earlier build")
    parser.add_argument("--python", default=sys.executable, help="makes the libraries' environment")
    parser.add_argument("--plain", action="store_true", help="the libraries' estimators as they are, too")
    parser.add_argument("--cases", nargs="+", metavar="SPLIT-K", help='only these, as "mix-16"')
    parser.add_argument("--seeds", type=int)
    chosen = parser.parse_args()
    wanted = [
        replace(cells, seeds=chosen.seeds or cells.seeds)
        for cells in (QUICK if chosen.quick else ALL)
        if not chosen.cases or f"{cells.case.split}-{cells.case.clients}" in chosen.cases
    ]
    found = measure(wanted, Rivals(libraries_python(chosen.python), chosen.plain, chosen.before))
    if not chosen.cases:
        found |= itself(quick=chosen.quick)
    print(json.dumps(found) if chosen.json else "\n".join(tables(found)))


def itself(*, quick: bool) -> dict[str, Any]:
    """What needs no rivals: unbiasedness and calibration."""
    bench = Bench.of(Case("types", 10))
    runs = 50 if quick else 200
    return {
        "unbiased": unbiased(bench, 7, 200 if quick else 2_000),
        "calibrated": [calibrated(bench, rankings, runs) for rankings in (4, 10, 20, 39)],
    }


if __name__ == "__main__":
    main()
