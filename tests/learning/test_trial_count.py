"""What a trial says of a coalition is the counting alone, whatever laying out rankings takes."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from fedcoin_cli.learning import trial_count as trials
from fedcoin_cli.learning.coalitions.walks import orders
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.trial_count import trial_count

Make = Callable[..., Game]


def test_laying_out_rankings_is_no_part_of_a_coalition(
    make_game: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where rankings take half a second of a processor to lay out a coalition takes what it took: within 20 times.

    It would be thousands of times as long, were they laid out for each measurement.
    """
    game = make_game(8, images=64)

    def slow(*named: Any) -> Any:
        until = time.process_time() + 0.5
        while time.process_time() < until:
            pass
        return orders(*named)

    plain = trial_count(game, "5a" * 32, 16)
    monkeypatch.setattr(trials, "orders", slow)
    found = trial_count(game, "5a" * 32, 16)
    if plain is None:
        pytest.skip("there is no compiler here")
    assert found is not None
    assert 0 < found.seconds < 20 * plain.seconds
