"""One scenario of the table of what the system must survive: what was done to it, what was demanded, what came out.

Each file `test_NN_name.py` here has `measure(full)`, which runs its scenario and returns its rows, and tests that run
the sample. `python tests/scenarios NN … --full` prints the rows of the full figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `held`: whether what is demanded came true."""

    scenario: str
    injected: str
    demanded: str
    measured: str
    held: bool


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least this share of them does not exceed; 0.99 gives p99."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1_000) // 1_000) - 1)]
