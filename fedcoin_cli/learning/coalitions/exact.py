"""Exact Shapley values from the counts of all coalitions, in integers.

Enumerating the counts is `sampling`'s work; here they become E_j = Λ·φ_j(u) with Λ = lcm(1..K), which is a multiple
of every denominator K·C(K−1, s) that the Shapley weights have.
"""

from math import comb, lcm
from typing import Final

import numpy as np
import numpy.typing as npt

MAX_EXACT_CLIENTS: Final = 24
"""Beyond this a table of all coalitions (4·2^K bytes) is not a file to send around."""


def common_denominator(clients: int) -> int:
    """Λ = lcm(1..K)."""
    return lcm(*range(1, clients + 1))


def exact_numerators(counts: npt.NDArray[np.int64], empty: int, clients: int) -> list[int]:
    """E_j = Λ·φ_j(u) for each client, from the counts (2^K − 1,) of the masks 1, 2, … and u(∅).

    Sums over coalitions of one size are taken with NumPy, their weighting in Python's integers. [P-7.8]
    """
    values = np.concatenate([[empty], counts]).astype(np.int64)
    sizes = coalition_sizes(clients)
    by_size = _sums(values, sizes, clients)
    scale = common_denominator(clients)
    weights = [scale // (clients * comb(clients - 1, size)) for size in range(clients)]
    numerators = []
    for client in range(clients):
        with_client = _sums(_members(values, client), _members(sizes, client), clients)
        # Σ of u(S ∪ j) − u(S) over the S without j of one size.
        gains = [with_client[size + 1] - (by_size[size] - with_client[size]) for size in range(clients)]
        numerators.append(sum(weight * gain for weight, gain in zip(weights, gains, strict=True)))
    return numerators


def _members(values: npt.NDArray[np.int64], client: int) -> npt.NDArray[np.int64]:
    """Those entries whose mask holds this client."""
    return values.reshape(-1, 2, 1 << client)[:, 1].ravel()


def coalition_sizes(clients: int) -> npt.NDArray[np.int64]:
    """How many members each mask 0, 1, … has, (2^K,)."""
    sizes = np.zeros(1, np.int64)
    for _ in range(clients):
        sizes = np.concatenate([sizes, sizes + 1])
    return sizes


def _sums(values: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], clients: int) -> list[int]:
    """Σ of the values by coalition size 0..K; exact in float64, for 2^K · 10⁶ images stay below 2⁵³."""
    return [int(total) for total in np.bincount(sizes, values, minlength=clients + 1)]
