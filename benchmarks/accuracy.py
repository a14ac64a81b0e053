"""How far estimates lie from the exact values, at equal numbers of evaluated coalitions.

`python -m benchmarks.accuracy [--quick] [--json]`. Ours is a miner's session as it mines, on tables of exact counts;
"the paper's" draws independent rankings with v(∅) = 0. Both may meet a coalition again for nothing. The libraries run
in an environment of their own (`libraries.py`), which is made in the cache when it is missing; --quick does not make
one. Errors are Euclidean, in percentage points, mean over seeds.
"""

import argparse
import json
import os
import subprocess
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.games import CACHE, Case, exact_counts, real_game
from benchmarks.machine import machine
from fedcoin_cli.consensus.rankings import grid_up_to, rows_per_square
from fedcoin_cli.learning.backend import use_threads
from fedcoin_cli.learning.mining.choice import describe, engine_for
from fedcoin_cli.learning.mining.exact import common_denominator, exact_numerators
from fedcoin_cli.learning.mining.proxy import ProxyCounts, proxy_sums, public_values
from fedcoin_cli.learning.mining.sampling import Mined, Plan, Session, Stakes
from fedcoin_cli.learning.mining.table import TableTerms
from fedcoin_cli.learning.mining.walks import Counts, marginal_sums, orders, prefix_keys

SEED = bytes(32)
TRAIN_MICRO = 700_000_000
BUDGETS = {10: (100, 300), 16: (100, 500, 2_000)}

Floats = npt.NDArray[np.float64]


class Looked:
    """Counts from a table."""

    batch = 32

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def counts(self, masks: Any) -> Counts:
        """u(mask) in images."""
        found: Counts = self._counts[list(masks)]
        return found


@dataclass(frozen=True, slots=True)
class Bench:
    """One case: its table, its proxy, and what they imply; values in images."""

    case: Case
    counts: Counts
    proxy: ProxyCounts
    public: Floats
    truth: Floats

    @classmethod
    def of(cls, case: Case) -> "Bench":
        counts, game = exact_counts(case), real_game(case)
        proxy = ProxyCounts.of(game)
        assert proxy is not None
        sums, denominator = proxy_sums(proxy, SEED, 0)
        truth = np.array(exact_numerators(counts[1:], 0, case.clients), np.float64)
        return cls(
            case, counts, proxy, np.array(sums) / denominator, truth / common_denominator(case.clients)
        )

    def rankings(self, seed: int, budget: int) -> int:
        """The most rankings on the grid that visit at most `budget` different coalitions."""
        walked = orders(SEED, key(seed), 0, budget, self.case.clients)
        seen: set[int] = set()
        for number, masks in enumerate(prefix_keys(walked).tolist()):
            seen.update(masks)
            if len(seen) > budget:
                return grid_up_to(max(1, number))
        return grid_up_to(budget)

    def mined(self, seed: int, rankings: int, *, proxy: bool = True) -> Mined:
        """A miner's estimate after so many rankings."""
        public = tuple(self.public.tolist()) if proxy else (0.0,) * self.case.clients
        terms = TableTerms(self.case.clients, self.case.test, 0, self.proxy if proxy else None)
        plan = Plan(SEED, key(seed), 1, rankings, 1e9, "balanced", Stakes(TRAIN_MICRO, public))
        session = Session(Looked(self.counts), terms, plan)
        while not session.advance(1e9).finished:
            pass
        return session.estimate()

    def values(self, mined: Mined, *, proxy: bool = True) -> Floats:
        """What an estimate says the values are."""
        own = np.array(mined.sums) / mined.rankings
        return own + self.public if proxy else own

    def paper(self, seed: int, budget: int) -> Floats:
        """Independent rankings until `budget` different coalitions are evaluated."""
        rng = np.random.default_rng(seed)
        seen: set[int] = set()
        walked: list[npt.NDArray[np.intp]] = []
        while True:
            order = rng.permutation(self.case.clients)
            masks = prefix_keys(order[None])[0].tolist()
            if len(seen | set(masks)) > budget and walked:
                break
            seen |= set(masks)
            walked.append(order)
        rankings = np.array(walked)
        values = self.counts[prefix_keys(rankings).astype(np.intp)]
        return np.array(marginal_sums(rankings, values, 0)) / len(rankings)

    def off(self, values: Floats) -> Floats:
        """Errors in percentage points."""
        return 100 / self.case.test * (values - self.truth)


def key(seed: int) -> bytes:
    """A miner's key."""
    return seed.to_bytes(32, "big")


def compare(bench: Bench, budgets: tuple[int, ...], seeds: int, python: Path | None) -> list[dict[str, Any]]:
    """One row an estimator and budget: mean Euclidean error in percentage points, and its standard error."""
    rows = []
    for budget in budgets:
        ours, squares, paper = [], [], []
        for seed in range(seeds):
            rankings = bench.rankings(seed, budget)
            ours.append(bench.off(bench.values(bench.mined(seed, rankings))))
            plain = bench.mined(seed, rankings, proxy=False)
            squares.append(bench.off(bench.values(plain, proxy=False)))
            paper.append(bench.off(bench.paper(seed, budget)))
        rows += [
            _row(bench.case, budget, name, [float(np.sqrt((off**2).sum())) for off in errors])
            for name, errors in (
                ("ours: squares on u − p", ours),
                ("squares on u alone", squares),
                ("the paper's sampling", paper),
            )
        ]
    return rows + ([] if python is None else _libraries(bench, budgets, seeds, python))


def _row(case: Case, budget: int, estimator: str, errors_pp: list[float]) -> dict[str, Any]:
    spread = float(np.std(errors_pp, ddof=1) / np.sqrt(len(errors_pp)))
    case_name = f"{case.split}, K = {case.clients}"
    return {
        "case": case_name,
        "coalitions": budget,
        "estimator": estimator,
        "error_pp": float(np.mean(errors_pp)),
        "error_of_that": spread,
        "seeds": len(errors_pp),
    }


def _libraries(bench: Bench, budgets: tuple[int, ...], seeds: int, python: Path) -> list[dict[str, Any]]:
    table = CACHE / f"{bench.case.name}.npy"
    script = Path(__file__).with_name("libraries.py")
    command = [str(python), str(script), str(table), str(seeds), *map(str, budgets)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["errors"]
    scale = 100 / bench.case.test
    return [
        _row(
            bench.case,
            int(budget),
            name,
            [scale * (bench.case.clients * error) ** 0.5 for error in errors],
        )
        for name, by_budget in found.items()
        for budget, errors in by_budget.items()
    ]


def libraries_python(*, make: bool) -> Path | None:
    """The interpreter of the libraries' environment; None when it is missing and not to be made."""
    folder = CACHE / "libraries"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        if not make:
            return None
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "shapiq", "pydvl"], check=True)
        (folder / "complete").touch()
    return python


def unbiased(bench: Bench, rankings: int, seeds: int) -> dict[str, Any]:
    """The mean over seeds against the exact values, in standard errors; |z| below `bound` in 999 of 1,000 families."""
    errors = np.array([bench.values(bench.mined(seed, rankings)) - bench.truth for seed in range(seeds)])
    z = errors.mean(0) / (errors.std(0, ddof=1) / np.sqrt(seeds))
    # P(|N| > x) ≤ exp(−x²/2): a bound for all clients together that needs no table.
    bound = float(np.sqrt(2 * np.log(bench.case.clients / 0.001)))
    return {"rankings": rankings, "seeds": seeds, "largest_z": float(np.abs(z).max()), "bound": bound}


def calibrated(bench: Bench, squares: int, runs: int) -> dict[str, Any]:
    """The share of values and payments within two of their standard errors."""
    truth = _paid(bench.truth)
    within: list[list[float]] = []
    walked = 0
    for seed in range(runs):
        mined = bench.mined(seed, grid_up_to(squares * rows_per_square(bench.case.clients)))
        assert mined.precision is not None
        walked = mined.precision.squares
        values, paid = bench.values(mined), _paid(bench.values(mined))
        within.append(
            [
                float(np.mean(np.abs(bench.off(values)) < 2 * np.array(mined.precision.values_pp))),
                float(np.mean(np.abs(paid - truth) <= 2 * np.array(mined.precision.payments_micro))),
            ]
        )
    shares = np.mean(within, axis=0)
    return {"squares": walked, "runs": runs, "values": float(shares[0]), "payments": float(shares[1])}


def _paid(values: Floats) -> Floats:
    weights = np.maximum(values, 0.0)
    paid: Floats = TRAIN_MICRO * weights / weights.sum()
    return paid


def many_clients(case: Case, runtime_s: float) -> dict[str, Any]:
    """One round of two miners, one after the other on all cores: their standard errors, and how far apart they are."""
    game = real_game(case)
    proxy = ProxyCounts.of(game, len(os.sched_getaffinity(0)))
    assert proxy is not None
    started = time.perf_counter()
    weighed = public_values(proxy, SEED, 0)
    weighed_s = time.perf_counter() - started
    public = np.array(weighed.sums) / weighed.denominator
    engine = engine_for(game)
    terms = TableTerms(case.clients, case.test, 0, proxy)
    found, seconds = [], []
    for miner in range(2):
        stakes = Stakes(TRAIN_MICRO, tuple(public.tolist()), public_squares=weighed.squares)
        most = grid_up_to(1_000_000)
        session = Session(engine, terms, Plan(SEED, key(miner), 1, most, runtime_s, "auto", stakes))
        started = time.perf_counter()
        while not session.advance(0.15).finished:
            pass
        found.append(session.estimate())
        seconds.append(time.perf_counter() - started)
    values = [100 / case.test * np.array(one.sums) / one.rankings for one in found]
    precision = found[0].precision
    return {
        "case": f"{case.split}, K = {case.clients}",
        "engine": describe(len(os.sched_getaffinity(0))),
        "rankings": [one.rankings for one in found],
        "coalitions_a_second": found[0].rankings * case.clients / seconds[0],
        "seconds": max(seconds),
        "seconds_for_the_proxy": weighed_s,
        "standard_error_pp": None
        if precision is None
        else float(np.sqrt(np.square(precision.values_pp).sum())),
        "apart_pp": float(np.sqrt(np.square(values[0] - values[1]).sum())),
        "largest_value_pp": float(100 / case.test * public.max()),
    }


def measure(*, quick: bool) -> dict[str, Any]:
    """Everything; `quick` takes one small case and what is there already."""
    if quick:
        bench = Bench.of(Case("mix", 8, epochs=1, train=6_000, test=2_000))
        rows = compare(bench, (60, 120), 5, libraries_python(make=False))
        return {
            "machine": machine(),
            "errors": rows,
            "unbiased": unbiased(bench, 5, 200),
            "calibrated": [calibrated(bench, 20, 50)],
        }
    python = libraries_python(make=True)
    cases = (Case("mix", 10), Case("noisey", 10), Case("types", 10), Case("mix", 16))
    benches = [Bench.of(case) for case in cases]
    rows = [row for bench in benches for row in compare(bench, BUDGETS[bench.case.clients], 20, python)]
    return {
        "machine": machine(),
        "errors": rows,
        "unbiased": unbiased(benches[2], 7, 2_000),
        "calibrated": [calibrated(bench, squares, 200) for bench in benches[:3] for squares in (6, 20)],
        "many_clients": many_clients(Case("types", 100), 15.0),
    }


def tables(found: dict[str, Any]) -> list[str]:
    """The same for people: one table a case, estimators from best to worst at the largest budget."""
    lines = []
    for case in dict.fromkeys(row["case"] for row in found["errors"]):
        here = [row for row in found["errors"] if row["case"] == case]
        budgets = sorted({row["coalitions"] for row in here})
        by_name: dict[str, dict[int, float]] = {}
        for row in here:
            by_name.setdefault(row["estimator"], {})[row["coalitions"]] = row["error_pp"]
        lines += ["", f"{case}: error in percentage points at {', '.join(map(str, budgets))} coalitions"]
        for name, errors in sorted(by_name.items(), key=lambda item: item[1].get(budgets[-1], 1e9)):
            shown = "".join(f"{errors[b]:12.4f}" if b in errors else f"{'-':>12}" for b in budgets)
            lines.append(f"  {name:44}{shown}")
    for name in ("unbiased", "calibrated", "many_clients"):
        if name in found:
            lines += ["", name, "  " + json.dumps(found[name])]
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small case, under a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    use_threads(len(os.sched_getaffinity(0)))
    found = measure(quick=options.quick)
    print(json.dumps(found, indent=1) if options.json else "\n".join(tables(found)))


if __name__ == "__main__":
    main()
