"""Shapley values of federated learning by retraining, and without it: Song, Tong and Wei's OR and MR.

Exact values train every coalition. OR (one round) adds up the clients' steps of the one training of all and makes each
coalition's model of the sums. MR (multi round) does so within every round, from that round's global model, and averages
the clients' shares of the rounds. All of them are values of a list of 2^K utilities, by mask.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.papers.linear import Course, Data, Floats, train
from fedcoin_cli.learning.coalitions.exact import exact_numerators
from fedcoin_cli.learning.game.game import member_bits
from ledger_store.transaction import exact_denominator

Values = npt.NDArray[np.float64]
NOBODY: Final = 0


def shapley(counts: Sequence[int]) -> Values:
    """The exact values, (K,), by the utilities of all masks from 0 on."""
    clients = len(counts).bit_length() - 1
    sums = exact_numerators(np.array(counts[1:], np.int64), counts[0], clients)
    return np.array(sums, np.float64) / exact_denominator(clients)


def retrained(clients: Sequence[Data], test: Data, rounds: int) -> list[int]:
    """What a model trained by each coalition alone labels correctly; 0 for nobody."""
    models = [
        train([client for place, client in enumerate(clients) if mask >> place & 1], rounds).models[-1]
        for mask in range(1, 1 << len(clients))
    ]
    return [NOBODY, *test.right(np.stack(models))]


def summed(course: Course) -> list[Floats]:
    """Each client's model by its own steps alone: the initial model moved by all of them. OR averages these."""
    return [course.models[0] + np.sum(steps, axis=0) for steps in zip(*course.steps, strict=True)]


def one_round(course: Course, sizes: Sequence[int], test: Data) -> list[int]:
    """OR's utilities."""
    return _averages(summed(course), sizes, test)


def multi_round(course: Course, sizes: Sequence[int], test: Data) -> Values:
    """MR's shares of the whole, (K,): the mean of the rounds' shares, which sum to 1."""
    shares = []
    for model, steps in zip(course.models[:-1], course.steps, strict=True):
        values = shapley(_averages([model + step for step in steps], sizes, test))
        shares.append(values / values.sum())
    mean: Values = np.mean(shares, axis=0)
    return mean


def alone(clients: Sequence[Data], test: Data, rounds: int) -> list[int]:
    """The utilities of what `fedcoin train` does: everybody trains alone once, and coalitions average the results."""
    models = [train([client], rounds).models[-1] for client in clients]
    return _averages(models, [len(client) for client in clients], test)


def _averages(models: Sequence[Floats], sizes: Sequence[int], test: Data) -> list[int]:
    """What the average of each coalition's models, by their sizes, labels correctly; 0 for nobody."""
    clients = len(models)
    weights = member_bits(range(1, 1 << clients), clients) * np.array(sizes, np.float64)
    shares = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return [NOBODY, *test.right(np.tensordot(shares, np.stack(models), axes=1))]
