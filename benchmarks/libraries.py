"""Shapley estimators of shapiq and pyDVL on tabulated games; runs in an environment of its own, with NumPy beside them.

`python libraries.py GAME.npy SEEDS BUDGET…` reads the counts of all masks (entry 0: ∅) and prints one JSON object:
estimator → budget → the mean squared errors, one a seed, in images². A budget is the number of coalitions that an
estimator may ask for, as the library counts it (pyDVL: distinct ones). Each estimator runs as it is, and re-based: with
v(∅) replaced by the mean of the singletons (given to it for nothing), which takes away the huge first step; the values
of the game itself then follow exactly.
"""

import json
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

warnings.filterwarnings("ignore")


def exact(game: Any, clients: int) -> Any:
    """Shapley values by their definition."""
    masks = np.arange(1 << clients)
    sizes = np.array([mask.bit_count() for mask in masks.tolist()])
    weights = np.array([1 / (clients * comb(clients - 1, size)) for size in range(clients)])
    values = []
    for client in range(clients):
        without = masks[(masks >> client & 1) == 0]
        values.append((weights[sizes[without]] * (game[without | 1 << client] - game[without])).sum())
    return np.array(values)


class Table:
    """A game by look-up of coalitions, rows of booleans; v(∅) is 0."""

    def __init__(self, game: Any, clients: int) -> None:
        self.values = game - game[0]
        self.powers = 1 << np.arange(clients)

    def __call__(self, coalitions: Any) -> Any:
        return self.values[np.atleast_2d(coalitions).astype(np.int64) @ self.powers]


Estimate = Callable[[Table, int, int, int], Any]


def shapiq_estimators() -> dict[str, Estimate]:
    """Those that this version of shapiq has."""
    import shapiq

    wanted: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
        "permutation": ("PermutationSamplingSV", lambda _: {}),
        "SVARM": ("SVARM", lambda _: {}),
        "KernelSHAP": ("KernelSHAP", lambda _: {"pairing_trick": True}),
        "KernelSHAP, leverage": (
            "KernelSHAP",
            lambda clients: {"pairing_trick": True, "sampling_weights": np.ones(clients + 1)},
        ),
        "unbiased KernelSHAP": ("UnbiasedKernelSHAP", lambda _: {"pairing_trick": True}),
        "kADD-SHAP 3": ("kADDSHAP", lambda _: {"max_order": 3, "pairing_trick": True}),
        "stratified": ("StratifiedSamplingSV", lambda _: {}),
        "LeverageSHAP": ("LeverageSHAP", lambda _: {}),
        "OddSHAP": ("OddSHAP", lambda _: {}),
        "RegressionMSR": ("RegressionMSR", lambda _: {}),
    }

    def of(kind: Any, options: Callable[[int], dict[str, Any]]) -> Estimate:
        def estimate(table: Table, clients: int, budget: int, seed: int) -> Any:
            found = kind(n=clients, random_state=seed, **options(clients)).approximate(budget, table)
            return np.array([found[(client,)] for client in range(clients)])

        return estimate

    module = shapiq.approximator
    return {
        f"shapiq {name}": of(getattr(module, kind), options)
        for name, (kind, options) in wanted.items()
        if hasattr(module, kind)
    }


def pydvl_estimators() -> dict[str, Estimate]:
    """Permutation samplers, stopped at the budget; repeated coalitions are free."""
    from pydvl.utils.status import Status
    from pydvl.valuation import Dataset
    from pydvl.valuation.methods.shapley import ShapleyValuation
    from pydvl.valuation.samplers.permutation import AntitheticPermutationSampler, PermutationSampler
    from pydvl.valuation.stopping import StoppingCriterion
    from pydvl.valuation.utility.base import UtilityBase

    class Utility(UtilityBase):  # type: ignore[misc]
        def __init__(self, table: Table) -> None:
            self.table = table
            self.seen: set[int] = set()

        def __call__(self, sample: Any) -> float:
            if sample is None or len(sample.subset) == 0:
                return 0.0
            mask = int(self.table.powers[np.asarray(sample.subset)].sum())
            self.seen.add(mask)
            return float(self.table.values[mask])

    class Spent(StoppingCriterion):  # type: ignore[misc]
        def __init__(self, utility: Utility, budget: int) -> None:
            super().__init__()
            self.utility, self.budget = utility, budget

        def _check(self, result: Any) -> Any:  # noqa: ARG002 -- the interface
            reached = len(self.utility.seen) >= self.budget
            return Status.Converged if reached else Status.Pending

        def completion(self) -> float:
            return min(1.0, len(self.utility.seen) / self.budget)

    def of(sampler: Any) -> Estimate:
        def estimate(table: Table, clients: int, budget: int, seed: int) -> Any:
            data = Dataset(np.zeros((clients, 1)), np.zeros(clients))
            utility = Utility(table).with_dataset(data, copy=False)
            valuation = ShapleyValuation(
                utility, sampler(seed=seed), Spent(utility, budget), show_warnings=False
            )
            valuation.fit(data)
            return np.array(valuation.result.values)

        return estimate

    return {
        "pyDVL permutation": of(PermutationSampler),
        "pyDVL antithetic": of(AntitheticPermutationSampler),
    }


def main() -> None:
    """Run everything; an estimator that cannot run at a budget is left out there, with its reason on stderr."""
    path, seeds, *budgets = sys.argv[1:]
    game = np.load(Path(path)).astype(float)
    clients = len(game).bit_length() - 1
    truth = exact(game, clients)
    rebased = game.copy()
    rebased[0] = game[1 << np.arange(clients)].mean()
    found: dict[str, dict[str, list[float]]] = {}
    for name, estimate in {**shapiq_estimators(), **pydvl_estimators()}.items():
        for kind, played in (("", game), (", re-based", rebased)):
            shift = (played[0] - game[0]) / clients
            for budget in map(int, budgets):
                try:
                    errors = [
                        float(
                            np.mean(
                                (estimate(Table(played, clients), clients, budget, seed) + shift - truth) ** 2
                            )
                        )
                        for seed in range(int(seeds))
                    ]
                except Exception as error:  # noqa: BLE001 -- whatever a library raises
                    print(f"{name}{kind} at {budget}: {error!r}", file=sys.stderr)
                    continue
                found.setdefault(name + kind, {})[str(budget)] = errors
    versions = {name: version(name) for name in ("shapiq", "pydvl")}
    print(json.dumps({"versions": versions, "errors": found}))


if __name__ == "__main__":
    main()
