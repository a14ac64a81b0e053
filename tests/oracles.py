"""Slow and obvious answers that the tests compare with: Shapley values by their definition, in fractions.

A game is the list of its 2^K utilities by mask (client j is bit j).
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import factorial


def shapley(game: Sequence[int]) -> tuple[Fraction, ...]:
    """The exact Shapley value of each client: Σ_S |S|!·(K−|S|−1)!/K! · (u(S ∪ j) − u(S))."""
    clients = len(game).bit_length() - 1
    values = [Fraction(0)] * clients
    for mask in range(len(game)):
        size = mask.bit_count()
        for client in range(clients):
            if not mask >> client & 1:
                weight = Fraction(factorial(size) * factorial(clients - size - 1), factorial(clients))
                values[client] += weight * (game[mask | 1 << client] - game[mask])
    return tuple(values)


def walk(game: Sequence[int], orders: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """The sum of each client's marginals over the given orders of joining."""
    sums = [0] * (len(game).bit_length() - 1)
    for order in orders:
        mask = 0
        for client in order:
            sums[client] += game[mask | 1 << client] - game[mask]
            mask |= 1 << client
    return tuple(sums)
