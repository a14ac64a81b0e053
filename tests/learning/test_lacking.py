"""What a miner without Keras counts: everything, in NumPy where the C kernel does not."""

from typing import Any

import numpy as np
import pytest
from toys import MODEL, toy

from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.coalitions.walks import orders, prefix_masks
from fedcoin_cli.learning.engines import choice
from fedcoin_cli.learning.engines.outputs import OutputEngine, OutputWalker
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.arrays import as_test_set, updates_of
from fedcoin_cli.learning.model.model import parse_model
from fedcoin_cli.learning.reference.reference import Reference

MASKS = (1, 2, 3)


def game(model: str) -> Game:
    """A small game of this model's."""
    spec = parse_model(model, where="model")
    (images, labels), updates = toy(2)
    weights: Any = updates_of(updates, spec)
    return Game(spec, as_test_set(images, labels, spec), weights, (1, 1))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_without_keras_and_compiler_numpy_counts(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole coalitions and rankings, as the reference has them; people are told what counts."""
    monkeypatch.setattr(choice, "find_spec", lambda _name: None)
    monkeypatch.setattr(choice, "library", lambda: None)
    monkeypatch.setattr(choice, "suits", lambda _game: False)
    played = game(MODEL.replace('"relu"', f'"{activation}"'))
    engine = choice.engine_for(played)
    assert isinstance(engine, OutputEngine)
    assert engine.counts(MASKS).tolist() == [Reference(played).count(mask) for mask in MASKS]
    blocks = partition(played.test.labels, 16, bytes(32))
    walker = choice.walker_for(played, blocks)
    assert isinstance(walker, OutputWalker)
    walked = orders(bytes(32), bytes(32), range(len(blocks)), range(1), 2)
    found = walker.walk(range(len(blocks)), walked)[:, 0, 0].tolist()
    judge = Reference(played)
    for block, count in enumerate(found):
        (mask,) = prefix_masks(walked[block, 0])
        members = np.array([[mask & 1, mask >> 1]], np.uint8)
        assert judge.block_intervals(blocks.block(block), members)[0, 1] == count
    assert choice.describe(1).startswith("NumPy in float64")
    assert choice.counts(played, 1).startswith("NumPy in float64")
