"""Song, Tong and Wei's five cases: five clients, a linear softmax, and the values that each way of valuing gives.

The published code trains on digit after digit and never shuffles; both orders are here. Values are shares of accuracy,
nobody is worth 0, and they have the factor 1/n that the published ones lack.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks.papers.chart import Axis, Figure, Panel, Series
from benchmarks.papers.linear import Course, Data, train
from benchmarks.papers.reconstruction import (
    Values,
    alone,
    multi_round,
    one_round,
    retrained,
    shapley,
    summed,
)
from benchmarks.papers.reported import SONG_ERRORS, SONG_JOINT
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.simulation.datasets import Dataset, as_float
from fedcoin_cli.learning.valuation import How, value

CLIENTS: Final = 5
ROUNDS: Final = 50
TRAIN_IMAGES, TEST_IMAGES = 5_421, 892
"""Images of each label."""
SIZES: Final = (2, 3, 4, 5, 6)
NOISE: Final = 0.05
"""By how much pixel noise, or the share of wrong labels, grows from client to client."""
ORDERS: Final = ("digit after digit", "shuffled")
METHODS: Final = ("exact", "OR", "MR", "ours", "alone")


Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Size:
    """Images of each label to train on and to judge by, and rounds."""

    train: int = TRAIN_IMAGES
    test: int = TEST_IMAGES
    rounds: int = ROUNDS


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case in one order: what is valued how, in shares of accuracy; seconds of one core, training included.

    `test_error` are the standard errors of our values by the size of the test set, (K,).
    """

    case: str
    order: str
    joint: float
    values: dict[str, Values]
    seconds: dict[str, float]
    test_error: Values

    def error(self, method: str) -> float:
        """The largest difference between a client's share of all values and its share of the exact ones."""
        exact, other = self.values["exact"], self.values[method]
        return float(np.abs(other / other.sum() - exact / exact.sum()).max())


def tested(dataset: Dataset, size: Size) -> Data:
    """The test images: the first of each label."""
    rows = np.concatenate(_by_label(dataset.test.labels, size.test, None))
    return Data.of(as_float(dataset.test.images[rows]), dataset.test.labels[rows], dataset.classes)


def clients_of(case: str, dataset: Dataset, size: Size, order: str, seed: int) -> list[Data]:
    """Five clients' data by the recipe of a case; the seed chooses images, noise and, where shuffled, their order."""
    rng = np.random.default_rng(seed)
    dealt: list[list[npt.NDArray[np.int64]]] = [[] for _ in range(CLIENTS)]
    for label, rows in enumerate(_by_label(dataset.y_train, size.train, rng)):
        ends = np.rint(np.cumsum(_shares(case, label)) * len(rows)).astype(np.int64)
        for client, part in enumerate(np.split(rows, ends[:-1])):
            dealt[client].append(part)
    found = []
    for number, parts in enumerate(dealt):
        rows = np.concatenate(parts)
        images, labels = as_float(dataset.x_train[rows]), dataset.y_train[rows].copy()
        if case == "noisex":
            images += np.float32(NOISE * number) * rng.standard_normal(images.shape, np.float32)
        if case == "noisey":
            wrong = rng.permutation(len(rows))[: round(NOISE * number * len(rows))]
            moved = rng.integers(1, dataset.classes, len(wrong))
            labels[wrong] = (labels[wrong] + moved) % dataset.classes
        if order == "shuffled":
            mixed = rng.permutation(len(rows))
            images, labels = images[mixed], labels[mixed]
        found.append(Data.of(images, labels, dataset.classes))
    return found


def _shares(case: str, label: int) -> Values:
    """Which part of a label's images each client gets, (K,)."""
    if case == "mix":
        return np.where(np.arange(CLIENTS) == label // 2, 0.8, 0.05)
    sizes = np.array(SIZES if case == "weight" else (1,) * CLIENTS, np.float64)
    shares: Values = sizes / sizes.sum()
    return shares


def _by_label(
    labels: npt.NDArray[np.integer], most: int, rng: np.random.Generator | None
) -> list[npt.NDArray[np.int64]]:
    """So many rows of each label: the first ones, or any."""
    found = []
    for label in range(int(labels.max()) + 1):
        rows = np.flatnonzero(labels == label)
        found.append((rows if rng is None else rng.permutation(rows))[:most])
    return found


def outcome(case: str, dataset: Dataset, size: Size, order: str, seed: int) -> Outcome:
    """All methods on one case."""
    clients, test = clients_of(case, dataset, size, order, seed), tested(dataset, size)
    sizes, images = [len(client) for client in clients], len(test)
    seconds: dict[str, float] = {}
    course = _timed(seconds, "training", lambda: train(clients, size.rounds))
    exact = _timed(seconds, "exact", lambda: retrained(clients, test, size.rounds))
    joint = exact[-1] / images
    values = {"exact": shapley(exact) / images}
    values["OR"] = _timed(seconds, "OR", lambda: shapley(one_round(course, sizes, test))) / images
    values["MR"] = _timed(seconds, "MR", lambda: multi_round(course, sizes, test)) * joint
    mined = _timed(seconds, "ours", lambda: value(game_of(course, sizes, test), How(exact=True, threads=1)))
    values["ours"] = np.array(mined.values) / 100
    values["alone"] = _timed(seconds, "alone", lambda: shapley(alone(clients, test, size.rounds))) / images
    for method in ("OR", "MR", "ours"):
        seconds[method] += seconds["training"]
    return Outcome(case, order, joint, values, seconds, np.array(mined.test_errors) / 100)


def game_of(course: Course, sizes: Sequence[int], test: Data) -> Game:
    """What this program values: each client's model by its own steps, averaged by numbers of images; OR's game."""
    pixels, classes = test.images.shape[1] - 1, test.classes
    spec = ModelSpec((pixels,), (Dense(pixels, classes, "linear", use_bias=True),))
    updates = tuple((model[:-1], model[-1]) for model in summed(course))
    judged = TestSet(np.ascontiguousarray(test.images[:, :-1]), test.labels.astype(np.int32))
    return Game(spec, judged, updates, tuple(sizes))


def _timed(seconds: dict[str, float], name: str, work: Callable[[], Found]) -> Found:
    started = time.process_time()
    found = work()
    seconds[name] = time.process_time() - started
    return found


# Figures -------------------------------------------------------------------------------------------------------------


def values_figure(found: Sequence[Outcome], order: str) -> Figure:
    """A panel a case: each client's value by each method, in one order of the images."""
    here = [one for one in found if one.order == order]
    clients, up = Axis("client", low=0.5, high=CLIENTS + 0.5, whole=True), Axis("value, share of accuracy")
    panels = [
        Panel(
            one.case,
            clients,
            up,
            [
                Series(name, list(enumerate(one.values[name].tolist(), 1)), colour, line, marks=True)
                for colour, (name, line) in enumerate(
                    zip(METHODS, ("", "", "", "dotted", "dashed"), strict=True)
                )
            ],
        )
        for one in here
    ]
    rows: list[tuple[Any, ...]] = [
        (one.case, client + 1, *(float(one.values[name][client]) for name in METHODS), float(error))
        for one in here
        for client, error in enumerate(one.test_error)
    ]
    text = f"The values of five clients in Song's five cases by five methods, images {order}"
    columns = ("case", "client", *METHODS, "test_set_error")
    return Figure(f"song-{order.split(maxsplit=1)[0]}", text, panels, columns, rows, 176, 240)


def cases_figure(found: Sequence[Outcome]) -> Figure:
    """v(N) by case in both orders beside the reported ones, and each method's largest error."""
    names = list(SONG_JOINT)
    axis = Axis("case", low=-0.2, high=len(names) - 0.8, whole=True, label=lambda place: names[round(place)])
    joint = [Series("paper", list(enumerate(SONG_JOINT.values())), 0, "dashed", marks=True)]
    errors = []
    for order, line in zip(ORDERS, ("", "dashed"), strict=True):
        here = {one.case: one for one in found if one.order == order}
        joint.append(
            Series(
                f"v(N), {order}",
                [(names.index(case), one.joint) for case, one in here.items()],
                1,
                line,
                True,
            )
        )
        for colour, method in enumerate(("OR", "MR", "alone"), 2):
            points = [(names.index(case), 100 * one.error(method)) for case, one in here.items()]
            errors.append(Series(f"{method}, {order}", points, colour, line, True))
    rows: list[tuple[Any, ...]] = [
        (
            *(one.order, one.case, one.joint, SONG_JOINT[one.case]),
            *(one.error(method) for method in METHODS[1:]),
            *(one.seconds[method] for method in ("training", *METHODS)),
        )
        for one in found
    ]
    columns = ("order", "case", "joint", "paper_joint", *(f"{name}_error" for name in METHODS[1:]))
    panels = (
        Panel("v(N): accuracy of the model of all", axis, Axis("accuracy", low=0.6, high=1.0), joint),
        Panel("largest error of a client's share", axis, Axis("percentage points"), errors),
    )
    text = "Accuracy of the joint model and largest error of each method, by case"
    notes = (f"the paper reports as largest errors under NoiseX: {_percent(SONG_ERRORS)}",)
    return Figure(
        "song-cases",
        text,
        panels,
        (*columns, *(f"{name}_seconds" for name in ("training", *METHODS))),
        rows,
        380,
        300,
        notes,
    )


def _percent(errors: Any) -> str:
    return ", ".join(f"{name} {100 * error:.2g}%" for name, error in errors.items())
