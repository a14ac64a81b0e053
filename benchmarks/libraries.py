"""Shapley estimators of shapiq and pyDVL; runs in an environment of its own, with NumPy beside them.

`python libraries.py CLIENTS SEEDS re-based|both BUDGET…` asks for counts of coalitions on its standard output, a line
of hexadecimal masks each time, and is told them on its standard input; its last line is a JSON object: estimator →
budget → values in images, one vector a seed. A budget is the number of coalitions that an estimator may ask for, as the
library counts it (pyDVL: distinct ones). Estimators run re-based: v(∅), which is 0, is replaced by the mean of the
singletons (given to them for nothing), which takes away the huge first step; the values of the game itself then follow
exactly. With "both" they run as they are, too.
"""

import json
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

warnings.filterwarnings("ignore")


class Asked:
    """A game by asking for coalitions, rows of booleans; what was told is remembered."""

    def __init__(self, clients: int) -> None:
        self.told: dict[int, float] = {}
        self.singles = [1 << client for client in range(clients)]
        self.mean = float(np.mean(self.counts(self.singles)))

    def counts(self, masks: list[int]) -> Any:
        """u(mask), 0 for nobody."""
        missing = list(dict.fromkeys(mask for mask in masks if mask and mask not in self.told))
        if missing:
            print(" ".join(f"{mask:x}" for mask in missing), flush=True)
            self.told.update(zip(missing, map(float, sys.stdin.readline().split()), strict=True))
        return np.array([self.told[mask] if mask else 0.0 for mask in masks])


class Table:
    """One game for the estimators: v(∅) is 0, all else `empty` less than what is told."""

    def __init__(self, asked: Asked, empty: float) -> None:
        self.asked, self.empty = asked, empty

    def __call__(self, coalitions: Any) -> Any:
        rows = np.packbits(np.atleast_2d(coalitions).astype(bool), axis=1, bitorder="little")
        return self.of([int.from_bytes(row.tobytes(), "little") for row in rows])

    def of(self, masks: list[int]) -> Any:
        """v of masks."""
        present = np.array([mask > 0 for mask in masks])
        return np.where(present, self.asked.counts(masks) - self.empty, 0.0)


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
        "PolySHAP 2": ("PolySHAP", lambda _: {"max_order": 2, "pairing_trick": True}),
        "RegressionMSR": ("RegressionMSR", lambda _: {"index": "SV"}),
        "RegressionMSR, linear": ("RegressionMSR", lambda _: {"index": "SV", "proxy_model": "linear"}),
        "ProxySHAP, adjusted": ("ProxySHAP", lambda _: {"adjustment": True, "max_order": 1, "index": "SV"}),
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
            mask = sum(1 << int(client) for client in sample.subset)
            self.seen.add(mask)
            return float(self.table.of([mask])[0])

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
    clients, seeds, which, *budgets = sys.argv[1:]
    asked = Asked(int(clients))
    found: dict[str, dict[str, list[list[float]]]] = {}
    for name, estimate in {**shapiq_estimators(), **pydvl_estimators()}.items():
        for kind, empty in (("", 0.0), (", re-based", asked.mean)):
            if which == "re-based" and not kind:
                continue
            for budget in budgets:
                try:
                    values = [
                        (
                            estimate(Table(asked, empty), int(clients), int(budget), seed)
                            + empty / int(clients)
                        )
                        for seed in range(int(seeds))
                    ]
                except Exception as error:  # noqa: BLE001 -- whatever a library raises
                    print(f"{name}{kind} at {budget}: {error!r}", file=sys.stderr)
                    continue
                found.setdefault(name + kind, {})[budget] = [each.tolist() for each in values]
    versions = {name: version(name) for name in ("shapiq", "pydvl")}
    print(json.dumps({"versions": versions, "values": found}))


if __name__ == "__main__":
    main()
