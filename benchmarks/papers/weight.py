"""Song's case Weight again, by several choices of images: does the client with the fewest images rank first?"""

from typing import Any, Final

import numpy as np

from benchmarks.papers.chart import Axis, Figure, Panel, Series
from benchmarks.papers.reconstruction import retrained, shapley
from benchmarks.papers.song import CLIENTS, ORDERS, SIZES, Size, clients_of, tested
from fedcoin_cli.learning.simulation.datasets import Dataset

SEEDS: Final = 3


def weight_figure(dataset: Dataset, size: Size, seed: int) -> Figure:
    """A panel an order of the images: exact values by client, a line a choice of images."""
    test = tested(dataset, size)
    rows: list[tuple[Any, ...]] = []
    panels = []
    for order in ORDERS:
        series = []
        for number in range(SEEDS):
            clients = clients_of("weight", dataset, size, order, seed + number)
            values = shapley(retrained(clients, test, size.rounds)) / len(test)
            series.append(
                Series(
                    f"choice {number + 1}", list(zip(SIZES, values.tolist(), strict=True)), number, marks=True
                )
            )
            # The first is the best.
            places = np.argsort(np.argsort(-values, kind="stable"), kind="stable") + 1
            rows += [
                (order, number + 1, client + 1, SIZES[client], float(values[client]), int(places[client]))
                for client in range(CLIENTS)
            ]
        panels.append(
            Panel(f"weight, {order}", Axis("parts of the images", low=1.8, high=6.2, whole=True), _UP, series)
        )
    text = "Exact values of five clients whose numbers of images are as 2 to 6, by several choices of images"
    columns = ("order", "choice", "client", "parts", "value", "place")
    return Figure("song-weight", text, panels, columns, rows, 380, 300)


_UP: Final = Axis("value, share of accuracy", low=0.12, high=0.22)
