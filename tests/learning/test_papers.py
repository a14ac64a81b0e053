"""What the papers' figures are drawn by, against slow and obvious answers on tiny cases."""

import csv
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import pytest
from oracles import shapley, walk
from toys import CLASSES, HIDDEN, SHAPES, SIDE, toy

from benchmarks.games import Blocks, Case
from benchmarks.papers import distance, song
from benchmarks.papers.chart import Axis, Figure, Panel, Series
from benchmarks.papers.hundred import Hundred
from benchmarks.papers.linear import BATCH, Data, train
from benchmarks.papers.reconstruction import multi_round, one_round, retrained
from benchmarks.papers.reconstruction import shapley as by_counts
from benchmarks.papers.reported import SONG_JOINT
from fedcoin_cli.learning.engines.choice import engine_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.shapley.sampling import MiningPlan, MiningSession
from fedcoin_cli.learning.simulation.datasets import Dataset
from fedcoin_cli.learning.valuation import How, value

CLIENTS, ROUNDS = 4, 3
Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def data() -> tuple[list[Data], Data]:
    """Clients of unequal sizes and a test set: three labels of eight pixels, not easily told apart."""
    draw = np.random.default_rng(3)

    def drawn(number: int) -> Data:
        labels = draw.integers(0, 3, number)
        pixels = np.eye(3)[labels] @ np.full((3, 8), 0.1) + np.eye(8)[labels] * 0.4
        return Data.of((pixels + draw.normal(0, 0.4, (number, 8))).astype(np.float32), labels, 3)

    return [drawn(130 + 60 * client) for client in range(CLIENTS)], drawn(200)


# Song ----------------------------------------------------------------------------------------------------------------


def right(model: npt.NDArray[Any], test: Data) -> int:
    """Counted image by image."""
    outputs = test.images.astype(np.float64) @ model
    return sum(int(np.argmax(row)) == label for row, label in zip(outputs, test.labels.tolist(), strict=True))


def averaged(models: list[Any], sizes: list[int], test: Data) -> list[int]:
    """u of each mask: its models averaged by their sizes, one after the other."""
    found = [0]
    for mask in range(1, 1 << len(models)):
        members = [client for client in range(len(models)) if mask >> client & 1]
        whole = sum(sizes[client] for client in members)
        mean = sum(sizes[client] / whole * models[client].astype(np.float64) for client in members)
        found.append(right(np.asarray(mean), test))
    return found


def test_a_step_goes_down_the_mean_loss() -> None:
    """One pass over less than a batch moves the weights by the rate times the gradient, found by differences."""
    draw = np.random.default_rng(0)
    few = Data.of(draw.random((BATCH // 5, 4), np.float32), draw.integers(0, 3, BATCH // 5), 3)

    def loss(weights: Floats) -> float:
        outputs = few.images.astype(np.float64) @ weights
        return float(np.mean(np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(len(few)), few.labels]))

    nothing, gradient = np.zeros((5, 3)), np.zeros((5, 3))
    for place in np.ndindex(nothing.shape):
        step = np.zeros_like(nothing)
        step[place] = 1e-5
        gradient[place] = (loss(step) - loss(-step)) / 2e-5
    assert train([few], 1).models[-1] == pytest.approx(-0.1 * gradient, abs=1e-6)


def test_exact_values_train_every_coalition(data: tuple[list[Data], Data]) -> None:
    """The whole is the model of all, a pair is trained as a pair, and values are those of the definition."""
    clients, test = data
    found = retrained(clients, test, ROUNDS)
    assert found[-1] == right(train(clients, ROUNDS).models[-1], test)
    assert found[0b0101] == right(train([clients[0], clients[2]], ROUNDS).models[-1], test)
    assert [Fraction(one).limit_denominator(12) for one in by_counts(found)] == list(shapley(found))


def test_or_adds_up_all_rounds(data: tuple[list[Data], Data]) -> None:
    """OR's utilities and values, coalition by coalition; this program's own values of the same updates are OR's."""
    clients, test = data
    course, sizes = train(clients, ROUNDS), [len(client) for client in clients]
    models = [
        course.models[0].astype(np.float64) + sum(course.steps[number][client] for number in range(ROUNDS))
        for client in range(CLIENTS)
    ]
    expected = averaged(models, sizes, test)
    assert one_round(course, sizes, test) == expected
    assert len(set(expected)) > CLIENTS
    mined = value(song.game_of(course, sizes, test), How(exact=True, threads=1))
    assert mined.fractions == tuple(100 * one / len(test) for one in shapley(expected))


def test_mr_averages_the_shares_of_the_rounds(data: tuple[list[Data], Data]) -> None:
    """Each round is a game of its own from that round's global model; the mean of its shares, which sum to 1."""
    clients, test = data
    course, sizes = train(clients, ROUNDS), [len(client) for client in clients]
    shares = np.zeros(CLIENTS)
    for model, steps in zip(course.models, course.steps, strict=False):
        values = shapley(averaged([model + step for step in steps], sizes, test))
        shares += [float(one / sum(values)) / ROUNDS for one in values]
    found = multi_round(course, sizes, test)
    assert found == pytest.approx(shares)
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize("order", song.ORDERS)
def test_the_cases_are_those_of_the_recipe(order: str) -> None:
    """Sizes, own digits, wrong labels and noise by client; no image is dealt twice; the published order is by digit."""
    labels = np.tile(np.arange(10), 200)
    images = np.zeros((len(labels), 1, 2), np.float32)
    images[:, 0, 0] = np.arange(len(labels))
    dataset = Dataset("numbered", images, labels.astype(np.int32), TestSet(images, labels.astype(np.int32)))
    size = song.Size(train=200, test=10)
    dealt = {case: song.clients_of(case, dataset, size, order, 1) for case in SONG_JOINT}
    assert [len(client) for client in dealt["weight"]] == [200, 300, 400, 500, 600]
    assert [int((client.labels == 3).sum()) for client in dealt["mix"]] == [10, 160, 10, 10, 10]
    for clients in (dealt["same"], dealt["mix"], dealt["weight"]):
        rows = np.concatenate([client.images[:, 0] for client in clients])
        assert sorted(rows.tolist()) == list(range(len(labels)))
    by_digit = [bool((np.diff(client.labels) >= 0).all()) for client in dealt["same"]]
    assert by_digit == [order == song.ORDERS[0]] * 5
    noisy = [client.images[:, 1].std() for client in dealt["noisex"]]
    assert noisy == pytest.approx([0, 0.05, 0.1, 0.15, 0.2], rel=0.1)
    wrong = [
        int((client.labels != labels[client.images[:, 0].astype(int)]).sum()) for client in dealt["noisey"]
    ]
    assert wrong == [0, 20, 40, 60, 80]


# FedCoin -------------------------------------------------------------------------------------------------------------


def test_the_average_weighs_estimates_by_their_rankings() -> None:
    """S̄ = Σ t·S / Σ t, and each miner's Euclidean distance from it."""
    draw, rankings = np.random.default_rng(1), np.array([2, 5, 9])
    estimates = draw.normal(size=(3, 4))
    average = sum(t * one for t, one in zip(rankings, estimates, strict=True)) / rankings.sum()
    found = distance.distances(estimates * rankings[:, None], rankings)
    assert found == pytest.approx([np.sqrt(((one - average) ** 2).sum()) for one in estimates])


@pytest.mark.parametrize("rankings", [(6, 6), (3, 8, 21), (5,)])
def test_squared_distances_obey_the_law(rankings: tuple[int, ...]) -> None:
    """E‖S_m − S̄‖² = tr Σ·(1/t_m − 1/T), whatever the pace of the miners; a lone miner is at distance 0."""
    draw, factor = np.random.default_rng(2), np.array([[2.0, 0.0, 0.0], [-1.5, 1.0, 0.0], [0.3, -0.7, 0.4]])
    trace, times = float((factor**2).sum()), 4_000
    sums = np.array([(draw.normal(size=(times, t, 3)) @ factor.T).sum(axis=1) for t in rankings])
    numbers = np.broadcast_to(np.array(rankings)[:, None], (len(rankings), times))
    squares = np.square(distance.distances(sums, numbers)).mean(axis=1)
    expected = [distance.expected_square(trace, t, sum(rankings)) for t in rankings]
    assert squares == pytest.approx(expected, rel=0.08, abs=1e-12)


def test_the_first_within_is_found_in_parts() -> None:
    """The first number of rankings at which any miner is near enough, as by trying one after the other."""
    marginals = np.random.default_rng(4).normal(size=(3, 60, 2))
    limits = [0.9, 0.3, 0.12, 1e-9]
    expected: list[int | None] = []
    for limit in limits:
        means = [marginals[:, :t].mean(axis=1) for t in range(1, 61)]
        near = [float(np.linalg.norm(one - one.mean(axis=0), axis=1).min()) <= limit for one in means]
        expected.append(1 + near.index(True) if any(near) else None)
    parts = [marginals[:, :7], marginals[:, 7:8], marginals[:, 8:]]
    assert distance.first_within(parts, limits) == expected
    assert expected[0] != expected[2]
    assert expected[-1] is None
    assert distance.first_within([marginals[:1]], [1e-9]) == [1]


def test_a_run_ends_at_itself() -> None:
    """The estimate that a run ends with is reached with its last ranking at the latest, however small D is."""
    marginals = np.random.default_rng(5).normal(size=(40, 3))
    means = [marginals[:t].mean(axis=0) for t in range(1, 41)]
    near = [float(np.linalg.norm(one - means[-1])) <= 0.3 for one in means]
    assert distance.first_within_own_end(marginals, [0.3, 0.0]) == [1 + near.index(True), 40]


def test_a_law_is_found_in_its_own_points() -> None:
    """Trace and run come back within the grid's percent, and nothing is left."""
    points = [(x, distance.law_of_run(0.4, 3_000, 10**-x)) for x in (1.0, 1.5, 2.0, 2.5, 3.0)]
    trace, run, worst = distance.fitted(points)
    assert (trace, run) == pytest.approx((0.4, 3_000), rel=0.01)
    assert worst < 1.02


@pytest.fixture
def hundred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hundred:
    """A game of five clients with a cache of its own."""
    monkeypatch.setattr("benchmarks.papers.hundred.CACHE", tmp_path)
    (pixels, labels), updates = toy(5)
    layers = (
        Dense(SIDE * SIDE, HIDDEN, "relu", use_bias=True),
        Dense(HIDDEN, CLASSES, "linear", use_bias=True),
    )
    spec = ModelSpec((SIDE, SIDE), layers)
    assert spec.weight_shapes == SHAPES
    game = Game(spec, TestSet(pixels, labels.astype(np.int32)), tuple(map(tuple, updates)), (1,) * 5)
    return Hundred(Case("toy", 5), Blocks.of(game, threads=1), 7)


def test_independent_rankings_are_the_papers(hundred: Hundred) -> None:
    """Each row is one order of all images by the definition; a longer run begins with a shorter one."""
    game = hundred.blocks.game
    table = [0, *engine_for(game).counts(range(1, 32)).tolist()]
    short = hundred.independent(6)
    walked = hundred.independent(20)
    assert (walked.marginals[:6] == short.marginals).all()
    rng = np.random.default_rng(7)
    for row, first in zip(walked.marginals.tolist(), walked.firsts.tolist(), strict=True):
        order = rng.permutation(5).tolist()
        assert order[0] == first
        assert tuple(row) == walk(table, [order])
    lower = walked.shares(0.25)
    assert lower.sum(axis=1) == pytest.approx(np.full(20, hundred.joint() - 0.25))
    assert np.count_nonzero(lower - walked.shares()) == 20


def test_balanced_rankings_are_a_miners(hundred: Hundred) -> None:
    """Their sums are those that a session of the same key reveals."""
    key = (7 << 16 | 3).to_bytes(32, "big")
    plan = MiningPlan(bytes(32), key, 9, 9, 1e9, "balanced")
    session = MiningSession(hundred.blocks.walker, None, hundred.blocks.terms, plan)
    while not session.advance(1e9).finished:
        pass
    assert tuple(hundred.balanced(3, 9).marginals.sum(axis=0).tolist()) == session.estimate().sums


# Files ---------------------------------------------------------------------------------------------------------------


def test_a_figure_is_two_files(tmp_path: Path) -> None:
    """The drawing is well-formed and holds every point within its axes; the numbers are read back."""
    points = [(1.0, 10.0), (2.0, 1_000.0), (3.0, 1e9)]
    axis, up = Axis("x & y", low=0, high=4), Axis("y", logarithmic=True, low=1, high=1e4)
    panel = Panel("title", axis, up, [Series("a < b", points, 1, "dashed", marks=True)])
    Figure("one", "what it shows", [panel], ("x", "y"), points).write(tmp_path)
    drawing = ET.fromstring((tmp_path / "one.svg").read_text("utf-8"))  # noqa: S314 - our own
    marks = [one for one in drawing.iter() if one.tag.endswith("rect") and one.get("class") == "f1"]
    assert len(marks) == 2 + 2  # of the points, and of the name
    with (tmp_path / "one.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["x", "y"]
    assert [tuple(map(float, row)) for row in rows] == points
