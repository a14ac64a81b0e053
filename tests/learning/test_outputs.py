"""What outputs are scored for along rankings: as plain evaluation has it, and no coalition twice on a block."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from toys import MODEL, toy

from fedcoin_cli.learning.coalitions.partition import Partition, partition
from fedcoin_cli.learning.coalitions.walks import members, orders, prefix_masks
from fedcoin_cli.learning.engines import outputs
from fedcoin_cli.learning.engines.outputs import ChainOutputs, Compute, OutputEngine, OutputWalker
from fedcoin_cli.learning.game.game import Floats, Game
from fedcoin_cli.learning.metrics.scorer import Places
from fedcoin_cli.learning.model.arrays import as_test_set, updates_of
from fedcoin_cli.learning.model.model import parse_model

CLIENTS, RANKINGS = 5, 40


class Watched(ChainOutputs):
    """Whose coalitions on which first image were computed, in order."""

    def __init__(self, game: Game) -> None:
        super().__init__(game)
        self.computed: list[tuple[int, tuple[bool, ...]]] = []

    def of_images(self, images: Places) -> Compute:
        compute: Callable[[Floats], Floats] = super().of_images(images)

        def watched(shares: Floats) -> Floats:
            self.computed += [(int(images[0]), tuple(row > 0)) for row in shares]
            return compute(shares)

        return watched


def played() -> tuple[Game, Partition]:
    spec = parse_model(MODEL, where="model")
    (images, labels), updates = toy(CLIENTS)
    weights: Any = updates_of(updates, spec)
    game = Game(spec, as_test_set(images, labels, spec), weights, (1,) * CLIENTS)
    return game, partition(game.test.labels, 16, bytes(32))


def walked_in_parts(walker: OutputWalker, blocks: range) -> np.ndarray:
    """All rankings, a few a call as a session walks them."""
    every = [
        walker.walk(blocks, orders(bytes(32), bytes(32), blocks, range(start, start + 4), CLIENTS))
        for start in range(0, RANKINGS, 4)
    ]
    return np.concatenate(every, axis=1)


@pytest.mark.parametrize("held", [1 << 22, 0])
def test_no_coalition_is_computed_twice_on_a_block(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 160 coalitions on the way 30 at most are computed; where there is no room for them, as many again a call.

    Whatever is remembered, each place has what the coalition is worth on the block's images, computed by itself.
    """
    monkeypatch.setattr(outputs, "_HELD_COALITIONS", held)
    game, parts = played()
    source = Watched(game)
    walker, blocks = OutputWalker(source, parts), range(len(parts))
    source.computed.clear()
    found = walked_in_parts(walker, blocks)
    if held:
        assert len(source.computed) == len(set(source.computed)) <= 30 * len(parts)
    else:
        assert len(source.computed) > 60 * len(parts)
    walked = orders(bytes(32), bytes(32), blocks, range(RANKINGS), CLIENTS)
    for block in blocks:
        images = parts.block(block)
        alone = OutputEngine(
            ChainOutputs(Game(game.model, game.test.taken(images), game.updates, game.weights))
        )
        worth = alone.counts(range(1, 1 << CLIENTS))
        masks = np.array([prefix_masks(order) for order in walked[block]])
        np.testing.assert_array_equal(found[block], worth[masks - 1])
        some = members(walked[block, :3]).reshape(-1, CLIENTS)
        np.testing.assert_array_equal(walker.count(block, some), worth[masks[:3].ravel() - 1])
