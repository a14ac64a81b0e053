"""FedCoin's Fig. 4: the mean Shapley value of each of ten types of clients, with u(∅) = 0 and with u(∅) = chance."""

import numpy as np

from benchmarks.papers.chart import Axis, Figure, Panel, Series
from benchmarks.papers.hundred import TYPES, Hundred, Walked, of_types
from benchmarks.papers.reported import FEDCOIN_VALUES

CHANCE = 1 / TYPES


def values_figure(hundred: Hundred, miners: int, rankings: int) -> Figure:
    """By `miners` miners' balanced rankings together, whose spread is the error."""
    walks = [hundred.balanced(miner, rankings) for miner in range(miners)]
    zero, error = mean_and_error(walks, 0.0)
    chance, _ = mean_and_error(walks, CHANCE)
    columns = ("type", "u_empty_0", "u_empty_chance", "standard_error", "paper")
    rows = list(
        zip(range(TYPES), *map(np.ndarray.tolist, (zero, chance, error)), FEDCOIN_VALUES, strict=True)
    )
    types = Axis("type j: the labels 0 to 9 − j are known", whole=True, high=TYPES - 1)
    series = (
        Series("paper", tuple(enumerate(FEDCOIN_VALUES)), 0, "dashed", marks=True),
        Series("ours, u(∅) = 0", tuple(enumerate(zero.tolist())), 1, marks=True),
        Series("ours, u(∅) = chance", tuple(enumerate(chance.tolist())), 2, marks=True),
    )
    panel = Panel("Fig. 4: mean Shapley value of a client", types, Axis("share of accuracy"), series)
    text = "The mean Shapley value of a client of each of ten types, in the paper and here"
    return Figure("fig4-values", text, (panel,), columns, rows)


def mean_and_error(walks: list[Walked], chance: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each type: the mean over the miners, and the standard error of that, (types,) each."""
    each = of_types(np.array([walked.shares(chance).mean(axis=0) for walked in walks]))
    return each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(len(each))
