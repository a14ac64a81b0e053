"""What a miner without Keras counts: the C kernel's models, and any model by a metric that NumPy scores."""

from typing import Any

import pytest
from toys import MODEL, toy

from fedcoin_cli.learning.engines import choice
from fedcoin_cli.learning.engines.compiled import library
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.arrays import as_test_set, updates_of
from fedcoin_cli.learning.model.model import parse_model


@pytest.mark.skipif(library() is None, reason="there is no C compiler")
def test_what_the_kernel_takes_needs_no_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of ReLU layers lacks nothing; one with another activation lacks Keras, and the refusal installs it."""
    monkeypatch.setattr(choice, "find_spec", lambda _name: None)
    assert choice.lacking(game(MODEL)) is None
    said = choice.lacking(game(MODEL.replace('"relu"', '"tanh"')))
    assert said is not None
    assert "pip install 'fedcoin[mine]'" in said


def game(model: str) -> Game:
    """A small game of this model's."""
    spec = parse_model(model, where="model")
    (images, labels), updates = toy(2)
    weights: Any = updates_of(updates, spec)
    return Game(spec, as_test_set(images, labels, spec), weights, (1, 1))
