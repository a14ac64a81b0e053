"""Metrics against scikit-learn, and their bounds against outputs that move."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    roc_auc_score,
    top_k_accuracy_score,
)

from fedcoin_cli.contract.metric import STEPS, Metric, read_metric
from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.metrics.choice import scorer
from fedcoin_cli.learning.metrics.nobody import bounds_of, by_chance, of_blocks
from fedcoin_cli.learning.metrics.scorer import Scorer
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.weights import TestSet
from ledger_store.base.errors import RoundFilesInvalid

METRICS = (
    "accuracy",
    "top_k_accuracy:2",
    "balanced_accuracy",
    "neg_log_loss:3",
    "neg_brier_score:2",
    "roc_auc",
    "f1",
    "f1_macro",
)


def classes_of(metric: str) -> int:
    return 2 if metric in {"roc_auc", "f1"} else 4


def labels_of(rng: np.random.Generator, classes: int, images: int) -> np.ndarray:
    """Rare classes, and each at least once."""
    shares = 0.5 ** np.arange(classes)
    drawn = rng.choice(classes, images, p=shares / shares.sum())
    drawn[:classes] = np.arange(classes)
    return drawn.astype(np.int32)


def drawn(metric: str, seed: int, images: int = 300) -> tuple[Scorer, np.ndarray, np.ndarray]:
    """A scorer, labels, and outputs (3 coalitions, classes, images) that know something of them."""
    rng, classes = np.random.default_rng(seed), classes_of(metric)
    labels = labels_of(rng, classes, images)
    outputs = rng.standard_normal((3, classes, images))
    outputs[:, labels, np.arange(images)] += 1
    return scorer(read_metric(metric), labels, classes), labels, outputs


def worth(one: Scorer, outputs: np.ndarray) -> list[int]:
    every = np.arange(outputs.shape[2])
    found: list[int] = one.worth(one.marks(outputs, every), every).tolist()
    return found


def softmax(outputs: np.ndarray) -> np.ndarray:
    powers = np.exp(outputs - outputs.max(axis=0))
    shares: np.ndarray = (powers / powers.sum(axis=0)).T
    return shares


def by_sklearn(metric: str, labels: np.ndarray, outputs: np.ndarray) -> float:
    """u / M of one coalition's outputs (classes, images)."""
    every, shares = np.arange(outputs.shape[0]), softmax(outputs)
    match metric.split(":", maxsplit=1)[0]:
        case "accuracy":
            return float(accuracy_score(labels, outputs.argmax(axis=0)))
        case "top_k_accuracy":
            return float(top_k_accuracy_score(labels, outputs.T, k=2, labels=every))
        case "balanced_accuracy":
            return float(balanced_accuracy_score(labels, outputs.argmax(axis=0)))
        case "neg_log_loss":
            return 1 - float(log_loss(labels, shares, labels=every)) / 3
        case "neg_brier_score":
            return 1 - float(brier_score_loss(labels, shares, labels=every, scale_by_half=True))
        case "f1":
            return float(f1_score(labels, outputs.argmax(axis=0)))
        case "f1_macro":
            return float(f1_score(labels, outputs.argmax(axis=0), average="macro"))
    return float(roc_auc_score(labels, np.floor(4096 * (outputs[1] - outputs[0]))))


# What integers leave open: of steps half a one, of weights what 32 bits round.
_OFF = {
    "neg_log_loss:3": 0.5 / STEPS,
    "neg_brier_score:2": 0.5 / STEPS,
    "balanced_accuracy": 1e-6,
    "f1": 1e-8,
    "f1_macro": 1e-8,
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_scikit_learn_gives_the_same(metric: str, seed: int) -> None:
    """Of outputs without ties u / M is scikit-learn's metric of that name.

    [P-6.2] [P-6.16] [P-6.17] [P-6.18] [P-6.20]
    """
    one, labels, outputs = drawn(metric, seed)
    if metric.startswith("neg_log_loss"):
        outputs *= 0.3  # so that nothing is clipped
    for own, found in zip(outputs, worth(one, outputs), strict=True):
        assert found / one.whole == pytest.approx(
            by_sklearn(metric, labels, own), abs=_OFF.get(metric, 1e-12)
        )


def test_a_loss_is_clipped() -> None:
    """One image that is wrong with all certainty costs what the cap says, and not the round [P-6.17]."""
    one = scorer(read_metric("neg_log_loss:2"), np.zeros(2, np.int32), 2)
    outputs = np.array([[[900.0, -900.0], [-900.0, 900.0]]])
    assert worth(one, outputs) == [STEPS]


@pytest.mark.parametrize("metric", METRICS)
def test_a_perfect_model_reaches_the_whole(metric: str) -> None:
    """M is what outputs are worth that are certain and right."""
    one, labels, outputs = drawn(metric, 0)
    outputs[:] = np.where(np.arange(outputs.shape[1])[:, None] == labels, 50.0, -50.0)
    assert worth(one, outputs) == [one.whole] * 3
    every = np.arange(len(labels))
    assert one.wholes([every]).tolist() == [one.whole]


@pytest.mark.parametrize("metric", [metric for metric in METRICS if read_metric(metric).sums])
def test_sums_are_sums_over_blocks(metric: str) -> None:
    """However the images are dealt, u and M of all are the sums of the blocks'."""
    one, labels, outputs = drawn(metric, 1)
    parts = np.array_split(np.random.default_rng(0).permutation(len(labels)), 7)
    found = sum(one.worth(one.marks(outputs[:, :, part], part), part) for part in parts)
    assert np.asarray(found).tolist() == worth(one, outputs)
    assert int(one.wholes(parts).sum()) == one.whole


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(-9, 1), scale=st.floats(-3, 3))
def test_no_perturbation_leaves_the_bounds(metric: str, seed: int, exponent: float, scale: float) -> None:
    """Wherever outputs go within their bounds, to corners too, u stays within [lo, hi]; sure marks do not move.

    [P-6.4]
    """
    one, _labels, outputs = drawn(metric, seed, images=60)
    rng, every = np.random.default_rng(seed + 1), np.arange(60)
    outputs *= 10**scale
    bounds = 10**exponent * rng.random(outputs.shape[1:])
    bounds[:, rng.random(60) < 0.2] = 0
    reaches = one.reaches(outputs, bounds, every)
    lo, own, hi = one.worth(reaches, every)
    assert own.tolist() == worth(one, outputs)
    assert (lo >= 0).all()
    assert (hi <= one.whole).all()
    sure = ~one.unsure(outputs, bounds, every)
    for _ in range(20):
        drawn_moves = rng.uniform(-1, 1, outputs.shape)
        moves = np.sign(drawn_moves) if rng.random() < 0.5 else drawn_moves
        moved = outputs + bounds * moves
        marks = one.marks(moved, every)
        assert (marks == reaches[1])[sure].all()
        found = one.worth(marks, every)
        assert (lo <= found).all()
        assert (found <= hi).all()


@pytest.mark.parametrize("metric", METRICS)
def test_what_is_exact_has_no_width(metric: str) -> None:
    """With bounds of 0, ties included, lo, u and hi are one number, but for steps at the very border of two [P-6.4]."""
    one, labels, outputs = drawn(metric, 3)
    outputs[0] = 0.0
    every = np.arange(len(labels))
    lo, _, hi = one.worth(one.reaches(outputs, np.zeros(outputs.shape[1:]), every), every)
    assert (hi - lo).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        *((metric, np.nan) for metric in METRICS),
        *((metric, value) for metric in METRICS[3:] for value in (np.inf, -np.inf)),
    ],
)
def test_outputs_that_are_no_numbers_add_nothing(metric: str, value: float) -> None:
    """An image of which an output is no number is worth nothing, and with an open bound anything.

    Nor is one of an infinite output, which counts alone can compare.
    """
    one, _labels, outputs = drawn(metric, 4, images=40)
    every = np.arange(40)
    before = worth(one, outputs)[0]
    spoilt = outputs.copy()
    spoilt[0][:, 5] = value
    after = worth(one, spoilt)
    assert after[0] <= before
    assert after[1:] == worth(one, outputs)[1:]
    everything = np.full_like(outputs, np.nan)
    assert worth(one, everything) == [0, 0, 0]
    lo, _, hi = one.worth(one.reaches(outputs, np.full(outputs.shape[1:], np.inf), every), every)
    assert lo.tolist() == [0, 0, 0]
    assert hi.tolist() == [one.whole] * 3


def test_scores_in_one_bucket_tie() -> None:
    """Scores less than 2⁻¹² apart count half, so that rounding does not order equal models' images [P-6.18]."""
    one = scorer(Metric("roc_auc"), np.array([1, 0], np.int32), 2)
    assert worth(one, np.array([[[0.0, 0.0], [1e-5, 2e-5]]])) == [1]
    assert worth(one, np.array([[[0.0, 0.0], [1e-5, 3e-4]]])) == [0]
    assert worth(one, np.array([[[0.0, 0.0], [3e-4, 1e-5]]])) == [2]


@pytest.mark.parametrize(
    ("metric", "labels", "classes", "reason"),
    [
        ("roc_auc", [0, 1, 2], 3, "ranks images by two outputs, and the model has 3"),
        ("roc_auc", [1, 1, 1], 2, "all 3 test images have label 1"),
        ("f1", [0, 1, 2], 3, "the model has 3 outputs: f1_macro takes more"),
        ("f1", [0, 0], 2, "none of 2 test images has label 1"),
        ("f1_macro", [0, 61], 62, "up to 61 classes"),
        ("top_k_accuracy:3", [0, 1, 2], 3, "all of which are among the first 3"),
    ],
)
def test_metrics_that_do_not_fit_are_refused(
    metric: str, labels: list[int], classes: int, reason: str
) -> None:
    """What the outputs or the labels give no value to is told before anything is counted [P-6.19]."""
    with pytest.raises(RoundFilesInvalid, match=reason):
        scorer(read_metric(metric), np.array(labels, np.int32), classes)


def game_of(metric: str, labels: np.ndarray) -> Game:
    classes = classes_of(metric)
    model = ModelSpec((1,), (Dense(1, classes, "linear", use_bias=True),))
    images = np.zeros((len(labels), 1), np.float32)
    return Game(model, TestSet(images, labels), (), (), metric=read_metric(metric), chance=True)


@pytest.mark.parametrize("metric", METRICS)
def test_chance_is_scikit_learns_prior(metric: str) -> None:
    """u(∅) by chance is what a dummy is worth that knows how frequent the labels are, and nothing else [P-6.3]."""
    labels = labels_of(np.random.default_rng(7), classes_of(metric), 500)
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((500, 1)), labels)
    np.testing.assert_allclose(softmax(by_chance(labels, classes_of(metric))[:, None])[0], dummy.class_prior_)
    shares = dummy.predict_proba(np.zeros((500, 1)))
    lo, own, hi = bounds_of(game_of(metric, labels), [np.arange(500)])[0].tolist()
    whole = scorer(read_metric(metric), labels, classes_of(metric)).whole
    expected = by_sklearn(metric, labels, np.log(shares.T))
    if metric.startswith("top_k"):
        expected = float(np.sort(np.bincount(labels))[-2:].sum() / 500)
    assert own / whole == pytest.approx(expected, abs=_OFF.get(metric, 1e-12))
    assert lo == own == hi


@pytest.mark.parametrize("metric", [metric for metric in METRICS if read_metric(metric).sums])
def test_chance_is_a_sum_over_blocks(metric: str) -> None:
    """The blocks' u(∅) by chance sum to that of all images [P-6.3]."""
    labels = labels_of(np.random.default_rng(8), classes_of(metric), 203)
    game = game_of(metric, labels)
    blocks = of_blocks(game, partition(labels, 16, bytes(32)))
    assert int(blocks.sum()) == int(bounds_of(game, [np.arange(203)])[0, 1])


def test_a_missing_label_is_not_asked_for() -> None:
    """A class of which there is no test image weighs nothing in balanced accuracy, as in scikit-learn [P-6.16]."""
    labels = np.array([0, 0, 0, 2], np.int32)
    one = scorer(Metric("balanced_accuracy"), labels, 3)
    outputs = np.zeros((1, 3, 4))
    outputs[0, 0] = 1
    assert worth(one, outputs)[0] / one.whole == pytest.approx(0.5, abs=1e-6)
    assert Fraction(one.whole) <= 2**32 - 1
