"""Honest miners are never accused, whatever counts for them: real images, updates that have learnt something."""

from pathlib import Path

import numpy as np
import pytest
from block_games import finish

from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.engines.choice import Kind, engine_for, walker_for
from fedcoin_cli.learning.engines.compiled import library
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.weights import TestSet, Weights
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.shapley.checking import Checker
from fedcoin_cli.learning.shapley.judging import CountJudge, Engines
from fedcoin_cli.learning.shapley.sampling import MiningPlan, MiningSession
from fedcoin_cli.learning.shapley.table import Claim, TableTerms, encode_exact, place_of

CLIENTS, IMAGES, EXAMPLES, UNITS = 6, 1_500, 400, 64


@pytest.fixture(scope="module")
def reference(mnist_path: Path) -> Reference:
    """Six clients of MNIST: a hidden layer that they share but for noise, and the output layer that fits each best."""
    with np.load(mnist_path) as data:
        train, truth = data["x_train"].reshape(-1, 784) / 255.0, data["y_train"]
        test = TestSet(data["x_test"][:IMAGES], data["y_test"][:IMAGES].astype(np.int32))
    draw = np.random.default_rng(3)
    shared = draw.normal(0, 0.05, (784, UNITS))
    updates = []
    for client in range(CLIENTS):
        part = slice(EXAMPLES * client, EXAMPLES * (client + 1))
        updates.append(_update(shared + draw.normal(0, 0.01, shared.shape), train[part], truth[part]))
    spec = ModelSpec((28, 28), (Dense(784, UNITS, "relu", True), Dense(UNITS, 10, "linear", True)))
    return Reference(Game(spec, test, tuple(updates), (1,) * CLIENTS))


def _update(first: np.ndarray, images: np.ndarray, labels: np.ndarray) -> Weights:
    """Output weights by least squares on the hidden layer."""
    hidden = np.maximum(images @ first, 0)
    wanted = np.eye(10)[labels]
    extended = np.hstack([hidden, np.ones((len(hidden), 1))])
    solved = np.linalg.lstsq(extended.T @ extended + np.eye(UNITS + 1), extended.T @ wanted, rcond=None)[0]
    parts = (first, np.zeros(UNITS), solved[:-1], solved[-1])
    return tuple(part.astype(np.float32) for part in parts)


@pytest.mark.parametrize("kind", ["kernel", "keras"])
def test_honest_sampled_tables_are_never_accused(reference: Reference, kind: Kind) -> None:
    """Every count of a walker lies within [lo, hi] of ε, whole or by draws; the clients have learnt."""
    if kind == "kernel" and library() is None:
        pytest.skip("no C compiler here")
    game = reference.game
    blocks = partition(game.test.labels, 16, bytes(32))
    terms, walker = TableTerms(CLIENTS, blocks.sizes, 0), walker_for(game, blocks, kind=kind)
    plan = MiningPlan(bytes(32), bytes(32), 1, 4, 1e9, "balanced")
    mined = finish(MiningSession(walker, None, terms, plan)).estimate()
    claim = plan.claim(mined.rankings, exact=False)
    assert walker.ends()[1].sum() > IMAGES // 2
    judge = CountJudge(reference, blocks)
    places = [place_of(entry, claim, terms) for entry in range(len(mined.table))]
    bounds = judge.intervals(places, 1)
    assert all(one.lo <= count <= one.hi for one, count in zip(bounds, mined.table, strict=True))
    engines = Engines(lambda: walker, lambda: engine_for(game, kind=kind))
    for one in (Checker(reference, terms, blocks, engines), Checker(reference, terms, blocks)):
        assert one.wrong_entries(mined.table, claim, 2) == ()
        assert one.own_errors(mined.table, claim, 2) == ()
    # Whoever copies it claims other coalitions.
    copied = Claim(bytes(32), bytes(range(32)), mined.rankings, exact=False)
    assert Checker(reference, terms, blocks, engines).wrong_entries(mined.table, copied, 60)


@pytest.mark.parametrize("kind", ["kernel", "keras"])
def test_honest_exact_tables_are_never_accused(reference: Reference, kind: Kind) -> None:
    """The same of all coalitions on all images, by whoever has counts of its own and whoever draws."""
    if kind == "kernel" and library() is None:
        pytest.skip("no C compiler here")
    game, masks = reference.game, list(range(1, 1 << CLIENTS))
    blocks = partition(game.test.labels, 16, bytes(32))
    engine, terms = engine_for(game, kind=kind), TableTerms(CLIENTS, blocks.sizes, 0)
    counts = engine.counts(masks)
    intervals = reference.intervals(masks)
    assert all(one.lo <= count <= one.hi for one, count in zip(intervals, counts.tolist(), strict=True))
    table, claim = encode_exact(counts), Claim(bytes(32), bytes(32), 1, exact=True)
    right = np.array([one.count for one in intervals])
    one = Checker(reference, terms, blocks, Engines(lambda: walker_for(game, blocks), lambda: engine))
    for own in (right, None):
        assert one.wrong_entries(table, claim, 60, own) == ()
    assert not any(one.is_wrong(table, claim, entry) for entry in range(0, len(masks), 7))
