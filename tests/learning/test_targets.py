"""Real-valued targets: squared error against scikit-learn, its bounds, what chance is worth, and what does not fit."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from graphs import drawn_weights, small, tabular, tagger
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyRegressor
from sklearn.metrics import mean_squared_error, root_mean_squared_error

from fedcoin_cli.contract.metric import STEPS, read_metric
from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.engines.choice import engine_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.metrics.choice import scorer, scorer_of
from fedcoin_cli.learning.metrics.nobody import bounds_of, constant_target, of_blocks
from fedcoin_cli.learning.metrics.plain import plain, plain_chance, told
from fedcoin_cli.learning.metrics.scorer import Scorer
from fedcoin_cli.learning.model.arrays import as_test_set
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.interface import Model
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.tensorfile import write_tensors
from fedcoin_cli.learning.model.weights import TestSet, read_labels, read_test, write_test
from fedcoin_cli.learning.reference.referee import own_outputs, prepared, reference_for
from ledger_store.base.errors import RoundFilesInvalid

LONE = ModelSpec((2,), (Dense(2, 1, "linear", use_bias=True),))
THREE = ModelSpec((2,), (Dense(2, 3, "linear", use_bias=True),))
IMAGES = 200


def drawn(seed: int, outputs: int, images: int = IMAGES) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and outputs (3 coalitions, classes, images) near them; of a lone one the first of two is 0."""
    rng = np.random.default_rng(seed)
    targets = rng.normal(3, 2, (images, outputs)).astype(np.float32)
    said = targets.T[None] + rng.normal(size=(3, outputs, images))
    if outputs > 1:
        return targets, said
    return targets[:, 0], np.concatenate([np.zeros_like(said), said], axis=1)


def squares(targets: np.ndarray, cap: str = "40") -> Scorer:
    return scorer(read_metric(f"neg_mean_squared_error:{cap}"), targets, 2)


def worth(one: Scorer, outputs: np.ndarray) -> list[int]:
    every = np.arange(outputs.shape[2])
    found: list[int] = one.worth(one.marks(outputs, every), every).tolist()
    return found


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_scikit_learn_gives_the_same(seed: int, outputs: int) -> None:
    """Where the cap cuts nothing (1 − u / M) · CAP is scikit-learn's mean squared error [P-6.17]."""
    targets, said = drawn(seed, outputs)
    one = squares(targets)
    assert one.whole == STEPS * IMAGES
    for own, found in zip(said, worth(one, said), strict=True):
        error = mean_squared_error(targets, own[1] if outputs == 1 else own.T)
        assert (1 - found / one.whole) * 40 == pytest.approx(error, abs=40 * 0.5 / STEPS)


def test_it_is_told_in_units_that_people_know() -> None:
    """The mean squared error, and its root, which has the targets' unit."""
    targets, said = drawn(0, 1)
    error, root = (measure(targets, said[0, 1]) for measure in (mean_squared_error, root_mean_squared_error))
    metric = read_metric("neg_mean_squared_error:40")
    expected = f"{error:.4f} mean squared error (root {root:.4f})"
    assert metric.natural(1 - Fraction(float(error)) / 40) == expected
    small_cap = read_metric("neg_mean_squared_error:0.0004")
    assert small_cap.natural(Fraction(3, 4)) == "0.00010000 mean squared error (root 0.01000000)"


def test_a_loss_is_clipped() -> None:
    """One target that is missed by far costs what the cap says, and not the round [P-6.17]."""
    one = squares(np.zeros(2, np.float32), "4")
    assert worth(one, np.array([[[0.0, 0.0], [1e300, 1.0]]])) == [round(STEPS * 3 / 4)]


@pytest.mark.parametrize("outputs", [1, 3])
@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    exponent=st.floats(-9, 1),
    cap=st.sampled_from(["0.001", "1", "40", "9999999"]),
)
def test_no_perturbation_leaves_the_bounds(outputs: int, seed: int, exponent: float, cap: str) -> None:
    """Wherever outputs go within their bounds, to corners too, u stays within [lo, hi]; sure marks do not move.

    [P-6.4]
    """
    targets, said = drawn(seed, outputs, images=60)
    one, rng, every = squares(targets, cap), np.random.default_rng(seed + 1), np.arange(60)
    bounds = 10**exponent * rng.random(said.shape[1:])
    bounds[:, rng.random(60) < 0.2] = 0
    reaches = one.reaches(said, bounds, every)
    lo, own, hi = one.worth(reaches, every)
    assert own.tolist() == worth(one, said)
    assert (lo >= 0).all()
    assert (hi <= one.whole).all()
    sure = ~one.unsure(said, bounds, every)
    for _ in range(20):
        drawn_moves = rng.uniform(-1, 1, said.shape)
        moves = np.sign(drawn_moves) if rng.random() < 0.5 else drawn_moves
        marks = one.marks(said + bounds * moves, every)
        assert (marks == reaches[1])[sure].all()
        found = one.worth(marks, every)
        assert (lo <= found).all()
        assert (found <= hi).all()


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_bounds_are_reached(outputs: int) -> None:
    """lo and hi are what corners give and no more than a step an image wider: a wide interval would prove nothing."""
    targets, said = drawn(6, outputs)
    one, every = squares(targets), np.arange(IMAGES)
    bounds = np.full(said.shape[1:], 0.3)
    lo, _, hi = one.worth(one.reaches(said, bounds, every), every)
    wanted = targets if outputs > 1 else np.stack([np.zeros(IMAGES), targets], axis=1)
    nearest = np.clip(wanted.T, said - bounds, said + bounds)
    furthest = np.where(said > wanted.T, said + bounds, said - bounds)
    assert (np.abs(hi - worth(one, nearest)) <= IMAGES).all()
    assert (np.abs(lo - worth(one, furthest)) <= IMAGES).all()


def test_what_is_exact_has_no_width() -> None:
    """With bounds of 0 lo, u and hi are one number [P-6.4]."""
    targets, said = drawn(3, 1)
    one, every = squares(targets), np.arange(IMAGES)
    lo, _, hi = one.worth(one.reaches(said, np.zeros(said.shape[1:]), every), every)
    assert (hi - lo).tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_no_numbers_add_nothing(value: float) -> None:
    """An image of which an output is no finite number is worth nothing, and with an open bound anything [P-6.17]."""
    targets, said = drawn(4, 1, images=40)
    one, every, spoilt = squares(targets), np.arange(40), said.copy()
    spoilt[0, 1, 5] = value
    marks = one.marks(spoilt, every)
    assert marks[0, 5] == 0
    assert (np.delete(marks, 5, axis=1) == np.delete(one.marks(said, every), 5, axis=1)).all()
    lo, _, hi = one.worth(one.reaches(said, np.full(said.shape[1:], np.inf), every), every)
    assert (lo.tolist(), hi.tolist()) == ([0, 0, 0], [one.whole] * 3)


def game_of(targets: np.ndarray, cap: str) -> Game:
    images, metric = np.zeros((len(targets), 2), np.float32), read_metric(f"neg_mean_squared_error:{cap}")
    model = LONE if targets.ndim == 1 else THREE
    return Game(model, TestSet(images, targets), (), (), metric=metric, chance=True)


def test_chance_is_scikit_learns_mean_where_nothing_is_cut() -> None:
    """u(∅) by chance is what scikit-learn's dummy is worth, whose output is the mean [P-6.3]."""
    targets = drawn(7, 1)[0]
    dummy = DummyRegressor().fit(np.zeros((IMAGES, 1)), targets).predict(np.zeros((IMAGES, 1)))
    lo, own, hi = bounds_of(game_of(targets, "400"), [np.arange(IMAGES)])[0].tolist()
    expected = 1 - mean_squared_error(targets, dummy) / 400
    assert own / (STEPS * IMAGES) == pytest.approx(expected, abs=0.5 / STEPS)
    assert lo == own == hi
    blocks = of_blocks(game_of(targets, "400"), partition(targets, 16, bytes(32)))
    assert int(blocks.sum()) == own


@settings(max_examples=150, deadline=None)
@given(
    targets=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40),
    cap=st.sampled_from([0.01, 1.0, 50.0, 1e6]),
    far=st.sampled_from([0.0, 1e5]),
)
def test_no_constant_is_worth_more_than_chance(targets: list[float], cap: float, far: float) -> None:
    """Where the cap cuts the best number is no mean of all: no other loses less, on a fine grid and at each target."""
    said = (np.array(targets) + far).astype(np.float32)
    given_out = constant_target(said, cap)

    def lost(numbers: np.ndarray) -> np.ndarray:
        gaps = said.astype(np.float64)[:, None] - numbers
        found: np.ndarray = np.minimum(gaps**2, cap).sum(axis=0)
        return found

    others = np.concatenate([np.linspace(said.min(), said.max(), 2_001), said.astype(np.float64)])
    assert lost(np.array([given_out]))[0] <= lost(others).min() * (1 + 1e-9) + 1e-7


def test_several_targets_have_no_chance() -> None:
    """The best row of numbers is not defined: who asks for it is told so, and what to do."""
    with pytest.raises(RoundFilesInvalid, match="chance is not defined for 3 targets") as caught:
        scorer_of(game_of(drawn(0, 3)[0], "1"))
    assert caught.value.where == "baseline"
    assert "file of weights" in caught.value.hint


@pytest.mark.parametrize(
    ("metric", "labels", "reason"),
    [
        ("accuracy", np.zeros(3, np.float32), "judges by one label an image, y of the test set holds real"),
        ("roc_auc", np.zeros(3, np.float32), "judges by one label an image"),
        ("token_accuracy", np.zeros(3, np.float32), "judges by a label for each token"),
        (
            "neg_mean_squared_error:1",
            np.zeros(3, np.int32),
            "judges by real-valued targets, y of the test set holds wh",
        ),
        ("neg_mean_squared_error:1", np.zeros((3, 2), np.int32), "judges by real-valued targets"),
        ("token_accuracy", np.zeros(3, np.int32), "judges by a label for each token"),
        ("f1", np.zeros((3, 2), np.int32), "judges by one label an image, y .* one for each token"),
    ],
)
def test_a_metric_of_another_kind_of_test_set_is_refused(
    metric: str, labels: np.ndarray, reason: str
) -> None:
    """Labels are not targets and targets no labels: the hint names what fits either [P-6.19]."""
    with pytest.raises(RoundFilesInvalid, match=reason) as caught:
        scorer(read_metric(metric), labels, 2)
    assert caught.value.where == "metric"
    assert caught.value.hint.startswith("choose ")


GRAPH = GraphModel.of(tabular(2))
BAD = [
    (LONE, np.zeros((4, 1), np.float32), r"targets are \(4, 1\), a model of one output is judged by \(4,\)"),
    (GRAPH, np.zeros((4, 2), np.float32), r"a model of one output is judged by \(4,\)"),
    (THREE, np.zeros(4, np.float32), r"a model of 3 outputs is judged by \(4, 3\)"),
    (THREE, np.zeros((4, 2), np.float32), r"a model of 3 outputs is judged by \(4, 3\)"),
    (LONE, np.array([0, 1, np.nan, 0], np.float32), "a target is not finite"),
    (LONE, np.array([0, 1, np.inf, 0], np.float32), "a target is not finite"),
    (LONE, np.array([0, 1, 2e6, 0], np.float32), "a target is not finite or beyond"),
    (LONE, np.array([0, 1, 2, 0], np.int32), r"a label lies outside 0\.\.1"),
    (LONE, np.zeros((4, 1), np.int32), r"labels are \(4, 1\) for 4 images"),
]


@pytest.mark.parametrize(("model", "said", "reason"), BAD)
def test_targets_that_do_not_fit_are_refused(
    tmp_path: Path, model: Model, said: np.ndarray, reason: str
) -> None:
    """From a file and from arrays alike, with where and a hint, before anything is counted [P-12.3]."""
    images, path = np.zeros((4, 2), np.float32), tmp_path / "test.safetensors"
    write_tensors(path, {"x": images, "y": said})
    with pytest.raises(RoundFilesInvalid, match=reason) as caught:
        read_test(path, model)
    assert (caught.value.where, bool(caught.value.hint)) == (str(path), True)
    with pytest.raises(RoundFilesInvalid, match=reason) as caught:
        as_test_set(images, said, model)
    assert (caught.value.where, bool(caught.value.hint)) == ("test labels", True)


def test_real_targets_of_tokens_are_refused() -> None:
    """A row of outputs for each token is judged by labels."""
    ids = np.zeros((4, 5), np.int32)
    with pytest.raises(RoundFilesInvalid, match="real-valued targets for a model with a row of 12 outputs"):
        as_test_set(ids, np.zeros((4, 5), np.float32), GraphModel.of(tagger()))


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_test_set_is_written_and_read(tmp_path: Path, outputs: int) -> None:
    """Targets keep every bit; who knows no model reads them, too [P-12.3]."""
    targets, path = drawn(0, outputs)[0], tmp_path / "test.safetensors"
    test = TestSet(np.ones((IMAGES, 2), np.float32), targets)
    write_test(path, test)
    read = read_test(path, LONE if outputs == 1 else THREE)
    assert read.labels.dtype == np.float32
    assert (read.labels == targets).all()
    assert (read_labels(path) == targets).all()


def test_blocks_hold_targets_of_every_size() -> None:
    """Images are dealt by their target, so that blocks are alike; where there are several, by draw alone [P-6.8]."""
    targets = drawn(1, 1)[0]
    test = TestSet(np.zeros((IMAGES, 2), np.float32), targets)
    blocks = partition(test.strata, 16, bytes(32))
    means = [targets[blocks.block(number)].mean() for number in range(len(blocks))]
    others = [part.mean() for part in np.array_split(targets, len(blocks))]
    assert np.std(means) < np.std(others) / 3
    several = replace(test, labels=drawn(1, 3)[0])
    assert not several.strata.any()
    assert sorted(partition(several.strata, 16, bytes(32)).images.tolist()) == list(range(IMAGES))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("kind", ["auto", "keras"])
def test_engines_count_what_is_right(outputs: int, kind: str) -> None:
    """Chains and graphs, in NumPy and Keras: each u lies in [lo, hi] of the reference [P-6.4]."""
    rng, graph = np.random.default_rng(2), tabular(4) if outputs == 1 else small()
    model = GraphModel.of(graph)
    images = rng.normal(size=(50, *model.inputs[0].shape)).astype(np.float32)
    updates = tuple(tuple(drawn_weights(graph, rng).values()) for _ in range(3))
    targets = rng.normal(size=50 if outputs == 1 else (50, 3)).astype(np.float32)
    metric = read_metric("neg_mean_squared_error:50")
    game = Game(model, TestSet(images, targets), updates, (1, 2, 3), metric=metric).played()
    masks, ready = list(range(1, 8)), prepared(game)
    found = engine_for(game, ready, 1, kind).counts(masks).tolist()  # type: ignore[arg-type]
    bounds = reference_for(game, ready).intervals(masks)
    assert all(one.lo <= count <= one.hi for one, count in zip(bounds, found, strict=True))
    assert len(set(found)) > 3
    assert all(one.width <= STEPS // 50 for one in bounds)
    # A client alone is what its own model says.
    own = own_outputs(game, 1)
    error = ((own if outputs > 1 else own[:, 1:]) - targets.reshape(50, -1)) ** 2
    expected = np.floor(STEPS * np.maximum(0, 1 - error.mean(axis=1) / 50) + 0.5).sum()
    assert found[1] == pytest.approx(expected, abs=2)


def test_a_keras_chain_of_one_output_is_played_as_two() -> None:
    """Its outputs stay, an output of 0 stands before them, and it has the values of the same graph [P-12.17]."""
    rng = np.random.default_rng(5)
    spec = ModelSpec((4,), (Dense(4, 8, "relu", use_bias=True), Dense(8, 1, "linear", use_bias=True)))
    updates = tuple(
        tuple(rng.normal(size=shape).astype(np.float32) for shape in spec.weight_shapes) for _ in range(3)
    )
    test = TestSet(rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=30).astype(np.float32))
    game = Game(spec, test, updates, (1, 1, 1))
    played = game.played()
    assert isinstance(played.model, ModelSpec)
    assert (spec.row, spec.classes, played.model.row) == ((1,), 2, (2,))
    for client in range(3):
        alone, lone = own_outputs(played, client), own_outputs(game, client)
        np.testing.assert_allclose(alone, lone, rtol=1e-12)
        assert not alone[:, 0].any()
    assert played.played() is played


def test_the_plainest_measure_is_r2() -> None:
    """Who gathers reads scikit-learn's R² of each update; a constant has 0."""
    from sklearn.metrics import r2_score

    targets, said = drawn(0, 1)
    test = TestSet(np.zeros((IMAGES, 2), np.float32), targets)
    measure = plain(test, said[0].T)
    assert measure == pytest.approx(r2_score(targets, said[0, 1]))
    assert told(test, measure) == f"R² {measure:.4f}"
    assert plain_chance(test) == 0
    several, outputs = drawn(1, 3)
    one = plain(TestSet(test.images, several), outputs[0].T)
    assert one == pytest.approx(r2_score(several, outputs[0].T, multioutput="variance_weighted"))
