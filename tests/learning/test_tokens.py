"""Models of tokens: accuracy and perplexity against scikit-learn, their bounds, chance, and what does not fit."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import drawn_inputs, drawn_weights, tagger
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds import judged_by
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, log_loss

from fedcoin_cli.contract.metric import STEPS, read_metric
from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.engines.choice import engine_for, walker_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.graph.graph import Graph, Input, Kind
from fedcoin_cli.learning.graph.reader import read_graph
from fedcoin_cli.learning.graph.writer import graph_text
from fedcoin_cli.learning.metrics.choice import scorer
from fedcoin_cli.learning.metrics.nobody import bounds_of, of_blocks
from fedcoin_cli.learning.metrics.plain import plain, plain_chance, told
from fedcoin_cli.learning.metrics.scorer import Scorer
from fedcoin_cli.learning.model.arrays import as_test_set
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.tensorfile import write_tensors
from fedcoin_cli.learning.model.truth import IGNORED
from fedcoin_cli.learning.model.weights import TestSet, read_test, write_test
from fedcoin_cli.learning.reference.referee import own_outputs, prepared, reference_for
from fedcoin_cli.learning.reference.staged import Staged
from ledger_store.base.errors import RoundFilesInvalid

METRICS = ("token_accuracy", "neg_log_perplexity:6")
TOKENS, CLASSES = 7, 5


def drawn(metric: str, seed: int, examples: int = 80) -> tuple[Scorer, np.ndarray, np.ndarray]:
    """A scorer, labels (n, T), and outputs (3 coalitions, T · classes, n) that know something of them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, (examples, TOKENS)).astype(np.int32)
    outputs = rng.standard_normal((3, examples, TOKENS, CLASSES))
    np.put_along_axis(outputs, labels[None, :, :, None], 1.5, axis=3)
    ignored = rng.random(labels.shape) < 0.4
    ignored[:, rng.integers(TOKENS)] = False
    labels[ignored] = IGNORED
    flat = outputs.reshape(3, examples, -1).transpose(0, 2, 1)
    return scorer(read_metric(metric), labels, CLASSES), labels, flat


def worth(one: Scorer, outputs: np.ndarray) -> list[int]:
    every = np.arange(outputs.shape[2])
    found: list[int] = one.worth(one.marks(outputs, every), every).tolist()
    return found


def by_sklearn(metric: str, labels: np.ndarray, outputs: np.ndarray) -> float:
    """u / M of one coalition's outputs (T · classes, n): of all judged tokens, as if each were an example."""
    rows = outputs.T.reshape(*labels.shape, CLASSES)[labels != IGNORED]
    judged = labels[labels != IGNORED]
    if metric == "token_accuracy":
        return float(accuracy_score(judged, rows.argmax(axis=1)))
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    return 1 - float(log_loss(judged, shares, labels=np.arange(CLASSES))) / 6


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_scikit_learn_gives_the_same(metric: str, seed: int) -> None:
    """u / M is what scikit-learn makes of all judged tokens together [P-6.24]."""
    one, labels, outputs = drawn(metric, seed)
    step = STEPS if ":" in metric else 1
    assert one.whole == step * int((labels != IGNORED).sum())
    assert one.swing == step * int((labels != IGNORED).sum(axis=1).max())
    for own, found in zip(outputs, worth(one, outputs), strict=True):
        off = 0.5 / STEPS if ":" in metric else 1e-12
        assert found / one.whole == pytest.approx(by_sklearn(metric, labels, own), abs=off)


def test_perplexity_is_told() -> None:
    """People read e to the mean loss of a token in nats, and the share of tokens that are right."""
    _, labels, outputs = drawn(METRICS[1], 0)
    share = by_sklearn(METRICS[1], labels, outputs[0])
    said = read_metric(METRICS[1]).natural(Fraction(share))
    assert said == f"{exp(6 * (1 - share)):.4f} perplexity"
    assert read_metric("token_accuracy").natural(Fraction(1, 3)) == "33.33% token accuracy"
    assert read_metric("neg_log_perplexity:999999").natural(Fraction(0)) == "1.1159e+434294 perplexity"


@pytest.mark.parametrize("metric", METRICS)
def test_a_perfect_model_reaches_the_whole(metric: str) -> None:
    """M is what outputs are worth that are certain and right, in blocks as in all."""
    one, labels, outputs = drawn(metric, 0)
    rows = np.where(np.arange(CLASSES) == labels[:, :, None], 50.0, -50.0).reshape(len(labels), -1).T
    outputs[:] = rows
    assert worth(one, outputs) == [one.whole] * 3
    parts = np.array_split(np.random.default_rng(0).permutation(len(labels)), 7)
    assert int(one.wholes(parts).sum()) == one.whole
    found = [one.worth(one.marks(outputs[:, :, part], part), part)[0] for part in parts]
    assert found == one.wholes(parts).tolist()


def test_an_ignored_token_counts_nothing() -> None:
    """Whatever is said of it [P-6.24]."""
    for metric in METRICS:
        one, labels, outputs = drawn(metric, 1)
        before, rows = worth(one, outputs), outputs.transpose(0, 2, 1).reshape(3, *labels.shape, CLASSES)
        rows[:, labels == IGNORED] = np.random.default_rng(0).normal(scale=9, size=CLASSES)
        changed = rows.reshape(3, len(labels), -1).transpose(0, 2, 1)
        assert worth(one, changed) == before


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(-9, 1), scale=st.floats(-3, 2))
def test_no_perturbation_leaves_the_bounds(metric: str, seed: int, exponent: float, scale: float) -> None:
    """Wherever outputs go within their bounds, to corners too, u stays within [lo, hi]; sure marks do not move.

    [P-6.4]
    """
    one, _labels, outputs = drawn(metric, seed, examples=20)
    rng, every = np.random.default_rng(seed + 1), np.arange(20)
    outputs = outputs * 10**scale
    bounds = 10**exponent * rng.random(outputs.shape[1:])
    bounds[:, rng.random(20) < 0.2] = 0
    reaches = one.reaches(outputs, bounds, every)
    lo, own, hi = one.worth(reaches, every)
    assert own.tolist() == worth(one, outputs)
    assert (lo >= 0).all()
    assert (hi <= one.whole).all()
    sure = ~one.unsure(outputs, bounds, every)
    for _ in range(20):
        drawn_moves = rng.uniform(-1, 1, outputs.shape)
        moves = np.sign(drawn_moves) if rng.random() < 0.5 else drawn_moves
        marks = one.marks(outputs + bounds * moves, every)
        assert (marks == reaches[1])[sure].all()
        found = one.worth(marks, every)
        assert (lo <= found).all()
        assert (found <= hi).all()


@pytest.mark.parametrize("metric", METRICS)
def test_outputs_that_are_no_numbers_add_nothing(metric: str) -> None:
    """A token with such an output is worth nothing; the others of its example stay what they are."""
    one, labels, outputs = drawn(metric, 4, examples=10)
    every, token = np.arange(10), int(np.flatnonzero(labels[3] != IGNORED)[0])
    spoilt = outputs.copy()
    spoilt[0, token * CLASSES : (token + 1) * CLASSES, 3] = np.nan
    before, after = one.marks(outputs, every)[0], one.marks(spoilt, every)[0]
    lost = before - after
    assert lost[3] >= 0
    assert not np.delete(lost, 3).any()
    assert worth(one, np.full_like(outputs, np.nan)) == [0, 0, 0]
    lo, _, hi = one.worth(one.reaches(outputs, np.full(outputs.shape[1:], np.inf), every), every)
    assert (lo.tolist(), hi.tolist()) == ([0, 0, 0], [one.whole] * 3)


def game_of(metric: str, clients: int = 3, examples: int = 40, seed: int = 2, **more: Any) -> Game:
    """Clients near a tagger, by whose outputs the labels are."""
    graph, draw = tagger(), np.random.default_rng(seed)
    first, inputs = drawn_weights(graph, draw), drawn_inputs(graph, examples, draw)
    updates = tuple(
        tuple(first[name] + np.float32(0.4) * one for name, one in drawn_weights(graph, draw).items())
        for _ in range(clients)
    )
    model = GraphModel.of(graph)
    empty = np.zeros((examples, 5), np.int32)
    game = Game(model, TestSet(inputs["ids"], empty), (tuple(first.values()), *updates), (1,) * (clients + 1))
    labels = judged_by(graph, own_outputs(game, 0), draw)
    game = replace(game, test=replace(game.test, labels=labels), updates=updates, weights=(1,) * clients)
    return replace(game, metric=read_metric(metric), **more)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["auto", "keras"])
def test_engines_and_walkers_count_what_is_right(metric: str, kind: str) -> None:
    """Each u lies in [lo, hi] of the reference, and blocks along rankings add up to it [P-6.4] [P-12.13]."""
    game = game_of(metric)
    ready, masks = prepared(game), list(range(1, 8))
    found = engine_for(game, ready, 1, kind).counts(masks)  # type: ignore[arg-type]
    bounds = reference_for(game, ready).intervals(masks)
    assert all(one.lo <= count <= one.hi for one, count in zip(bounds, found.tolist(), strict=True))
    assert len(set(found.tolist())) > 3
    blocks = partition(game.test.strata, 16, bytes(32))
    walker = walker_for(game, blocks, ready, 1, kind)  # type: ignore[arg-type]
    walked = walker.walk(range(len(blocks)), np.tile(np.array([[[2, 0, 1]]], np.uint16), (len(blocks), 1, 1)))
    assert walked.sum(axis=0)[0].tolist() == found[[3, 4]].tolist()
    assert int(walker.ends()[1].sum()) == found[6]


@pytest.mark.parametrize("metric", METRICS)
def test_a_client_alone_is_what_its_model_says(metric: str) -> None:
    """The reference's u of a lone client is what scikit-learn makes of its own outputs [P-6.24]."""
    game = game_of(metric)
    outputs, judged = own_outputs(game, 1), game.test.labels != IGNORED
    labels, rows = game.test.labels[judged], outputs.reshape(40, 5, 12)[judged]
    one = reference_for(game)
    share = one.count(2) / one.scorer.whole
    if metric == "token_accuracy":
        assert share == pytest.approx(accuracy_score(labels, rows.argmax(axis=1)), abs=1e-12)
        return
    below = rows - rows.max(axis=1, keepdims=True)
    shares = np.exp(below) / np.exp(below).sum(axis=1, keepdims=True)
    assert share == pytest.approx(1 - log_loss(labels, shares, labels=np.arange(12)) / 6, abs=0.5 / STEPS)


@pytest.mark.parametrize("metric", METRICS)
def test_chance_is_scikit_learns_prior(metric: str) -> None:
    """u(∅) by chance is what a dummy is worth that knows how frequent the tokens are [P-6.3]."""
    game = game_of(metric, chance=True)
    labels = game.test.labels[game.test.labels != IGNORED]
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((len(labels), 1)), labels)
    lo, own, hi = bounds_of(game, [np.arange(40)])[0].tolist()
    whole = scorer(game.metric, game.test.labels, 12).whole
    if metric == "token_accuracy":
        assert own == np.bincount(labels).max()
    else:
        lost = log_loss(labels, dummy.predict_proba(np.zeros((len(labels), 1))))
        assert own / whole == pytest.approx(1 - lost / 6, abs=0.5 / STEPS)
    assert lo == own == hi
    assert int(of_blocks(game, partition(game.test.strata, 16, bytes(32))).sum()) == own


def test_many_tokens_are_computed_few_examples_at_a_time() -> None:
    """Rows of a large vocabulary take fewer images together, by engines and for chance; counts are what they are."""
    graph, draw = tagger(vocabulary=3_000, steps=50, width=4), np.random.default_rng(0)
    updates = tuple(tuple(drawn_weights(graph, draw).values()) for _ in range(2))
    ids = drawn_inputs(graph, 40, draw)["ids"]
    labels = draw.integers(0, 3_000, (40, 50)).astype(np.int32)
    labels[:, :30] = 7
    model, metric = GraphModel.of(graph), read_metric("token_accuracy")
    game = Game(model, TestSet(ids, labels), updates, (1, 1), metric=metric, chance=True)
    ready = prepared(game)
    assert isinstance(ready, Staged)
    assert ready.part_images == (1 << 22) // 150_000
    found = engine_for(game, ready, 1).counts([1, 3]).tolist()
    bounds = reference_for(game, ready).intervals([1, 3])
    assert all(one.lo <= count <= one.hi for one, count in zip(bounds, found, strict=True))
    assert bounds_of(game, [np.arange(40)])[0].tolist() == [int((labels == 7).sum())] * 3


MODEL = GraphModel.of(tagger())
ROWS = np.zeros((4, 5), np.int32)


def changed(place: tuple[int, int], label: int) -> np.ndarray:
    found = ROWS.copy()
    found[place] = label
    return found


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (np.zeros(4, np.int32), r"labels are \(4,\), the model has outputs for 5 tokens an example"),
        (np.zeros((4, 6), np.int32), r"labels are \(4, 6\), the model has outputs for 5 tokens"),
        (changed((1, 2), 12), r"a label lies outside 0\.\.11"),
        (changed((1, 2), -1), r"a label lies outside 0\.\.11"),
        (
            np.where(np.arange(4)[:, None] == 2, IGNORED, ROWS).astype(np.int32),
            "all labels of example 2 are -100",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, said: np.ndarray, reason: str) -> None:
    """From a file and from arrays alike, with where and a hint [P-12.3]."""
    path = tmp_path / "test.safetensors"
    write_tensors(path, {"ids": ROWS, "y": said})
    with pytest.raises(RoundFilesInvalid, match=reason) as caught:
        read_test(path, MODEL)
    assert (caught.value.where, bool(caught.value.hint)) == (str(path), True)
    with pytest.raises(RoundFilesInvalid, match=reason) as caught:
        as_test_set(ROWS, said, MODEL)
    assert (caught.value.where, bool(caught.value.hint)) == ("test labels", True)


def test_a_test_set_is_written_and_read(tmp_path: Path) -> None:
    """Ignored labels, too [P-12.3]."""
    path, said = tmp_path / "test.safetensors", changed((0, 3), IGNORED)
    write_test(path, TestSet(ROWS, said), ["ids"])
    assert (read_test(path, MODEL).labels == said).all()


def test_a_description_with_rows_of_tokens_is_read() -> None:
    """It is read as it was written; its outputs stand in a row for whoever judges them [P-12.13]."""
    graph = tagger()
    read = read_graph(graph_text(graph), where="model.json")
    assert read == graph
    assert (MODEL.row, MODEL.classes) == ((5, 12), 12)


def reshaped(shape: tuple[int, ...]) -> Callable[[], Graph]:
    def made() -> Graph:
        graph = tagger()
        from graphs import Builder

        make = Builder(Input("ids", Kind.int32, (5,)))
        make.weights, make.nodes, make.constants = (
            list(graph.weights),
            list(graph.nodes),
            list(graph.constants),
        )
        return make.graph(make.op("Reshape", graph.output, shape=shape))

    return made


@pytest.mark.parametrize("shape", [(-1, 60, 1), (-1, 5, 3, 4), (-1, 12)])
def test_other_outputs_are_refused(shape: tuple[int, ...]) -> None:
    """One output a token, more axes, and tokens that stand among the examples [P-12.13]."""
    with pytest.raises(
        RoundFilesInvalid, match=r"must be float32 \(examples, classes\) or \(examples, tokens, cl"
    ):
        GraphModel.of(reshaped(shape)())


def test_the_plainest_measure_is_the_share_of_tokens() -> None:
    """Who gathers reads how many judged tokens an update has right, and what the most frequent one has."""
    game = game_of("token_accuracy")
    measure = plain(game.test, own_outputs(game, 0))
    one = reference_for(game)
    assert measure == one.count(1) / one.scorer.whole
    assert told(game.test, measure) == f"{100 * measure:.1f}% of tokens right"
    judged = game.test.labels[game.test.labels != IGNORED]
    assert plain_chance(game.test) == np.bincount(judged).max() / len(judged)
