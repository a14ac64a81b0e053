"""Honest miners are never accused, whatever counts for them: real images, updates that have learnt something."""

from pathlib import Path

import numpy as np
import pytest
from fedcoin_cli.learning.mining.memo import Memo
from fedcoin_cli.learning.mining.proxy import ProxyCounts, make_proxy

from fedcoin_cli.learning.mining.checking import Checker
from fedcoin_cli.learning.mining.choice import Kind, engine_for
from fedcoin_cli.learning.mining.compiled import library
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.reference import Reference
from fedcoin_cli.learning.mining.table import TableTerms, decode, encode_exact
from fedcoin_cli.learning.model import Dense, ModelSpec
from fedcoin_cli.learning.weights import TestSet, Weights

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
    game = Game(spec, test, tuple(updates), (1,) * CLIENTS)
    logits = make_proxy(game)
    return Reference(Game(spec, test, tuple(updates), (1,) * CLIENTS, 0, logits))


def _update(first: np.ndarray, images: np.ndarray, labels: np.ndarray) -> Weights:
    """Output weights by least squares on the hidden layer."""
    hidden = np.maximum(images @ first, 0)
    wanted = np.eye(10)[labels]
    extended = np.hstack([hidden, np.ones((len(hidden), 1))])
    solved = np.linalg.lstsq(extended.T @ extended + np.eye(UNITS + 1), extended.T @ wanted, rcond=None)[0]
    parts = (first, np.zeros(UNITS), solved[:-1], solved[-1])
    return tuple(part.astype(np.float32) for part in parts)


@pytest.mark.parametrize("kind", ["kernel", "keras"])
def test_honest_tables_are_never_accused(reference: Reference, kind: Kind) -> None:
    """Every count of an engine lies within [lo, hi] of ε, no checker raises anything, and the clients have learnt."""
    if kind == "kernel" and library() is None:
        pytest.skip("no C compiler here")
    game = reference.game
    masks = list(range(1, 1 << CLIENTS))
    engine = engine_for(game, kind=kind)
    counts = engine.counts(masks)
    assert counts[-1] > IMAGES // 2
    intervals = reference.intervals(masks)
    assert all(one.lo <= count <= one.hi for one, count in zip(intervals, counts.tolist(), strict=True))
    table = decode(encode_exact(counts), TableTerms(CLIENTS, IMAGES, 0), exact=True)
    own = Memo(CLIENTS)
    own.store(masks, np.array([one.count for one in intervals]))
    for known in (own, None):
        checker = Checker(reference, engine, ProxyCounts.of(game))
        assert checker.wrong_masks(table, known, 60) == ()
    assert not any(Checker(reference).is_wrong(table, mask) for mask in masks[::7])
