"""Exact Shapley values from the counts of all coalitions, in integers.

Enumerating the counts is `sampling`'s work; here they become E_j = Λ·φ_j(u) with Λ = lcm(1..K), which is a multiple
of every denominator K·C(K−1, s) that the Shapley weights have.
"""

from math import comb
from typing import Final

import numpy as np
import numpy.typing as npt

from ledger_store.transaction import exact_denominator

MAX_EXACT_CLIENTS: Final = 24
"""Beyond this a table of all coalitions (4·2^K bytes) is not a file to send around."""


_HALF: Final = 1 << 26


def exact_numerators(counts: npt.NDArray[np.int64], empty: int, clients: int) -> list[int]:
    """E_j = Λ·φ_j(u) for each client, from the counts (2^K − 1,) of the masks 1, 2, … and u(∅).

    Sums over coalitions of one size are taken with NumPy, their weighting in Python's integers. [P-7.8]
    """
    values = np.concatenate([[empty], counts]).astype(np.int64)
    sizes = coalition_sizes(clients)
    by_size = _sums(values, sizes, clients)
    scale = exact_denominator(clients)
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
    """Σ of the values by coalition size 0..K."""
    return whole_sums(sizes, values, clients + 1)


def whole_sums(places: npt.NDArray[np.int64], values: npt.NDArray[np.int64], number: int) -> list[int]:
    """Σ of the integers below 2⁵³ at each place 0..number−1, at most 2²⁶ of them, however large the sums grow."""
    *high, low = (half.tolist() for half in halves(places, values, number))
    return [_HALF * above + below for above, below in zip(*high, low, strict=True)] if high else low


def sums_at(
    places: npt.NDArray[np.int64], values: npt.NDArray[np.int64], number: int
) -> npt.NDArray[np.int64]:
    """The same where each sum, too, is below 2⁶³."""
    *high, low = halves(places, values, number)
    return _HALF * high[0] + low if high else low


def halves(
    places: npt.NDArray[np.int64], values: npt.NDArray[np.int64], number: int
) -> list[npt.NDArray[np.int64]]:
    """The sums themselves, or those of the values' upper bits and of the 26 lower ones.

    NumPy adds by place in float64 only, which is exact below 2⁵³.
    """
    parts = [values]
    if int(np.abs(values).max(initial=0)) * len(values) >= 1 << 53:
        parts = [values >> 26, values & _HALF - 1]
    return [np.bincount(places, part, minlength=number).astype(np.int64) for part in parts]
