"""What a graph's coalitions are worth, how wide intervals are, and which updates are admitted."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from graph_games import graph_game, judged, single_counts
from graphs import MODELS, Builder, small

from fedcoin_cli.contract.metric import read_metric
from fedcoin_cli.learning.game.game import Game, member_bits
from fedcoin_cli.learning.graph.graph import Graph, Input, Kind
from fedcoin_cli.learning.reference import staged, update_admission
from fedcoin_cli.learning.reference.perturbed import DRAWS, Moved, deviations
from fedcoin_cli.learning.reference.update_admission import (
    Inspection,
    admission_masks,
    looked_at,
    refused_update,
    sampled,
)

TASK = "ab" * 32


def with_update(game: Game, client: int, tensors: Sequence[npt.NDArray[np.float32]]) -> Game:
    updates = list(game.updates)
    updates[client] = tuple(tensors)
    return replace(game, updates=tuple(updates))


@pytest.mark.parametrize("name", MODELS)
def test_what_float32_counts_lies_in_the_interval(name: str) -> None:
    """Of every coalition, and the interval is narrow [P-6.22]."""
    game = graph_game(name)
    masks = list(range(1, game.full + 1))
    intervals = judged(game).intervals(masks)
    for interval, count in zip(intervals, single_counts(game, masks), strict=True):
        assert interval.lo <= count <= interval.hi
        assert interval.lo <= interval.count <= interval.hi
        assert interval.width <= 1


def test_an_honest_cnn_is_admitted_on_2000_images() -> None:
    """A bound from norms alone had some images of each such round within rounding's reach, and refused it."""
    game = graph_game(small(), images=2_000)
    reference = judged(game)
    assert refused_update(reference, TASK) is None
    (whole,) = reference.intervals([game.full])
    assert whole.width <= 2


def test_a_count_alone_is_that_of_the_interval() -> None:
    """Without companions the same is counted."""
    game = graph_game("residual")
    reference = judged(game)
    for mask in (1, 6, game.full):
        assert reference.count(mask) == reference.intervals([mask])[0].count


def test_images_may_be_judged_in_blocks() -> None:
    """Blocks' counts add up to the whole's, and whoever judges a block twice finds the same [P-6.22]."""
    game = graph_game("cnn", images=30)
    reference, masks = judged(game), [1, 6, 15]
    blocks = [np.arange(first, 30, 3) for first in range(3)]
    found = [reference.block_intervals(block, member_bits(masks, 4), 2) for block in blocks]
    again = judged(game).block_intervals(blocks[1], member_bits(masks, 4), 2)
    np.testing.assert_array_equal(found[1], again)
    whole = [reference.count(mask) for mask in masks]
    np.testing.assert_array_equal(np.sum(found, axis=0)[:, 1], whole)


@pytest.mark.parametrize("name", MODELS)
def test_an_update_of_zeros_is_judged(name: str) -> None:
    """Nothing is rounded where all is zero: the lowest class is right, surely, and it is admitted [P-6.22]."""
    game = graph_game(name)
    game = with_update(game, 2, [np.zeros_like(tensor) for tensor in game.updates[2]])
    interval = judged(game).intervals([0b0100], 2)[0]
    lowest = int((game.test.labels == 0).sum())
    assert (interval.lo, interval.count, interval.hi) == (lowest, lowest, lowest)
    assert refused_update(judged(game), TASK) is None


def test_updates_that_cancel_each_other_are_refused() -> None:
    """What is large and gone in the average leaves its rounding, and one of the two is named [P-6.9]."""
    game = graph_game("residual", images=60)
    huge = [np.float32(1e6) * np.sign(tensor) for tensor in game.updates[1]]
    game = with_update(with_update(game, 1, huge), 3, [-tensor for tensor in huge])
    refusal = refused_update(judged(game), TASK)
    assert refusal is not None
    assert refusal.client in (1, 3)


def test_a_negative_variance_counts_nothing() -> None:
    """No engine finds a number: the update is right on no image, surely, and is judged."""
    game = graph_game("cnn", images=20)
    names = game.model.weight_names
    spoilt = [
        -tensor if name.endswith("var") else tensor
        for name, tensor in zip(names, game.updates[0], strict=True)
    ]
    interval = judged(with_update(game, 0, spoilt)).intervals([1])[0]
    assert (interval.lo, interval.count, interval.hi) == (0, 0, 0)


def attention_mask(value: float) -> Graph:
    """A softmax over three scores, of which what is above 1 is pushed away by so much."""
    make = Builder(Input("x", Kind.float32, (3,)))
    scores = make.dense("x", "scores", 3, 3)
    pushed = make.op(
        "Where", make.op("Less", "x", make.constant(1.0)), make.constant(0.0), make.constant(value)
    )
    seen = make.op("Mul", make.op("Softmax", make.op("Add", scores, pushed)), "x")
    return make.graph(make.dense(seen, "out", 3, 2))


@pytest.mark.parametrize("made", ["Div", "Pow"])
def test_the_sign_of_a_zero_is_nobody_s(made: str) -> None:
    """1 / (−0 + 0) is ∞ in NumPy and −∞ where a sum with 0 is left out: an update that needs it is refused [P-6.22]."""
    make = Builder(Input("x", Kind.float32, (3,)))
    below = make.op("Neg", make.op("Relu", make.op("Neg", make.op("Abs", make.dense("x", "fc", 3, 1)))))
    zero = make.op("Add", below, make.constant([[0.0]]))
    over = (
        make.op("Div", make.constant([[1.0]]), zero) if made == "Div" else make.op("Pow", zero, exponent=-1.0)
    )
    end = make.op("Tanh", make.op("Mul", over, make.constant([[1.0]])))
    refused = refused_update(judged(graph_game(make.graph(end), images=20)), TASK)
    assert refused is not None
    assert refused.interval.width == 20


def test_what_leaves_float32_s_range_and_does_not_matter_is_admitted() -> None:
    """Transformers mask with float32's lowest number, which one addition makes infinite: weights are 0 either way."""
    game = graph_game(attention_mask(-3.4028234663852886e38))
    interval = judged(game).intervals([game.full], 2)[0]
    assert interval.width == 0


def test_what_leaves_float32_s_range_and_matters_is_refused() -> None:
    """Products that float64 holds and float32 does not make intervals wide [P-6.22]."""
    make = Builder(Input("x", Kind.float32, (3,)))
    x = make.dense("x", "first", 3, 3)
    for _ in range(8):
        x = make.op("Mul", x, make.constant(1e6))
    game = graph_game(make.graph(make.dense(make.op("Tanh", x), "out", 3, 2)))
    assert judged(game).intervals([game.full])[0].width == 0  # saturated, whatever the range
    make = Builder(Input("x", Kind.float32, (3,)))
    x = make.op("Exp", make.op("Mul", make.dense("x", "first", 3, 3), make.constant(300.0)))
    x = make.op("Div", x, make.op("ReduceSum", x, axes=(1,)))
    game = graph_game(make.graph(make.dense(x, "out", 3, 2)))
    assert judged(game).intervals([game.full])[0].width > 10


def test_deviations_are_root_mean_squares_with_a_floor() -> None:
    """A quarter of the examples' at least; none where all passes agree, and no bound where one finds no number."""
    exact = np.array([[0.0, 1.0], [2.0, np.nan], [3.0, 5.0]])
    companions = [exact.copy() for _ in range(DRAWS)]
    for number, companion in enumerate(companions):
        companion[0, 0] += (-1) ** number * 0.5
    assert deviations(Moved(exact, tuple(companions))) == pytest.approx(
        np.array([[0.5, 0.0], [0.5 / 3**0.5 / 4, 0.0], [0.5 / 3**0.5 / 4, 0.0]])
    )
    companions[1][2, 1] = np.nan
    assert deviations(Moved(exact, tuple(companions)))[2, 1] == np.inf


@pytest.mark.parametrize("metric", ["roc_auc", "neg_log_loss:2", "balanced_accuracy"])
def test_other_metrics_have_intervals(metric: str) -> None:
    """What float32 finds is inside by every family of metrics."""
    game = replace(graph_game("tabular"), metric=read_metric(metric))
    masks = [1, 6, 15]
    for interval, count in zip(judged(game).intervals(masks), single_counts(game, masks), strict=True):
        assert interval.lo <= count <= interval.hi


def test_a_dear_graph_is_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many images and coalitions as the work allows, the same for everybody, each label among them [P-6.23]."""
    game = graph_game("residual", clients=5, images=300)
    reference = judged(game)
    assert looked_at(reference, TASK) == (reference, admission_masks(TASK, 5))
    monkeypatch.setattr(update_admission, "GRAPH_FLOP", reference.image_flop * 11 * 150)
    few, masks = looked_at(reference, TASK)
    assert len(masks) < len(admission_masks(TASK, 5))
    assert set(masks) >= {1, 2, 4, 8, 16, 31, 30, 29, 27, 23, 15}
    assert 100 < few.game.images < 300
    assert set(few.game.test.labels.tolist()) == set(game.test.labels.tolist())
    again, _ = looked_at(judged(game), TASK)
    np.testing.assert_array_equal(few.game.test.images, again.game.test.images)
    other, _ = looked_at(judged(game), "cd" * 32)
    assert not np.array_equal(few.game.test.images[:100], other.game.test.images[:100])
    assert refused_update(reference, TASK) is None


def test_what_is_computed_once_is_computed_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """However dear a frozen base is: of a few images at a time, and what comes of it is the same [P-6.12]."""
    game = graph_game("mlp", images=40)
    whole = judged(game)
    every = len(list(whole.steps([1], 1, totals := np.zeros((1, 3), np.int64))))
    monkeypatch.setattr(staged, "MAX_CHUNK_FLOP", 3 * game.clients * game.graph.flop_first)
    reference = judged(game)
    found = np.zeros_like(totals)
    assert len(list(reference.steps([1], 1, found))) == every - 1 + 14
    assert found.tolist() == totals.tolist()


def test_a_sample_has_every_label() -> None:
    """The rarest one, too, and about as many images as are wanted [P-6.23]."""
    labels = np.array([0] * 900 + [1] * 99 + [2])
    places = sampled(labels, 100, TASK)
    assert set(labels[places].tolist()) == {0, 1, 2}
    assert 100 <= len(places) <= 102
    assert len(set(places.tolist())) == len(places)


def test_an_inspection_tells_how_far_it_is() -> None:
    """Share after share, in steps between which a miner does other things."""
    game = graph_game("residual", images=200)
    inspection = Inspection(judged(game), TASK)
    shares = []
    while inspection.advance():
        shares.append(inspection.share)
    assert len(shares) > 20
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert inspection.refused is None
