"""Whatever numbers clients choose, honest engines stay inside the intervals that others judge them by."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from attacking.hostile import KINDS, Engine, hostile_game, plain_count, verdict

from fedcoin_cli.learning.engines import compiled
from fedcoin_cli.learning.engines.choice import Kind, engine_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.reference.tolerance import BLOCK, CHAIN

Make = Callable[..., Game]


@pytest.mark.parametrize(
    ("kind", "rounds"), [("kernel", 8), ("keras", 8), ("cube", 8), ("walks", 16), ("keras walks", 8)]
)
def test_no_honest_count_is_outside(kind: Engine, rounds: int) -> None:
    """In rounds made to break rounding no count leaves even the narrow interval, admitted or not; many are admitted.

    [P-6.5]
    """
    if "keras" not in kind and compiled.library() is None:
        pytest.skip("no C compiler here")
    verdicts = [found for seed in range(rounds) if (found := verdict(seed, kind)) is not None]
    assert [(each.kind, each.wrong, each.accused) for each in verdicts if each.wrong or each.accused] == []
    assert {each.kind for each in verdicts} == set(KINDS) or kind == "cube"
    assert 1 < sum(not each.refused for each in verdicts) < len(verdicts)


def test_the_truth_is_inside_too() -> None:
    """What the averaged model labels right in extended precision lies within the interval of ε [P-6.4]."""
    for seed in range(32):
        _, game = hostile_game(seed)
        if sum(layer.inputs * layer.units for layer in game.chain.layers) > 60_000:
            continue  # NumPy has no fast products in extended precision
        masks = sorted({1, 2, 3, game.full, game.full - 1} & set(range(1, game.full + 1)))
        for mask, bound in zip(masks, Reference(game).intervals(masks), strict=True):
            assert bound.lo <= plain_count(game, mask) <= bound.hi, (seed, mask)


def test_sums_are_as_short_as_the_bound_takes_them_to_be() -> None:
    """The constants of the derivation are those of the C kernel [P-6.5]."""
    source = "".join(path.read_text() for path in compiled.SOURCES)
    found = dict(re.findall(r"(BLOCK|CHAIN) = ([0-9]+)", source))
    assert found == {"BLOCK": str(BLOCK), "CHAIN": str(CHAIN)}


@pytest.mark.parametrize("kind", ["kernel", "keras"])
def test_sums_are_cut(kind: Kind, make_game: Make) -> None:
    """4,096 products that a running float32 sum would lose one by one are not lost, nor are those of 200 members."""
    if kind == "kernel" and compiled.library() is None:
        pytest.skip("no C compiler here")
    spec = ModelSpec((1,), (Dense(1, 4096, "relu", True), Dense(4096, 2, "linear", True)))
    game = make_game(1, 30, model=spec)
    kernel = np.zeros((4096, 2), np.float32)
    kernel[0], kernel[1:, 0], kernel[1, 1] = 1, 2.0**-24, 1500 * 2.0**-24
    ones = (np.zeros((1, 4096)), np.ones(4096), kernel, np.zeros(2))
    alone = Game(spec, game.test, (tuple(part.astype(np.float32) for part in ones),), (1,))
    right = int((game.test.labels == 0).sum())
    assert engine_for(alone, kind=kind).counts([1]).tolist() == [right]
    assert right not in (0, 30)


@pytest.mark.parametrize("clients", [64, 65, 128, 129, 200])
def test_long_chains_of_members(clients: int, make_game: Make) -> None:
    """Sums over more members than a chain holds, walked up and asked for at once, are those of the reference."""
    if compiled.library() is None:
        pytest.skip("no C compiler here")
    for layers in (
        (Dense(9, 4, "linear", True),),
        (Dense(9, 12, "relu", True), Dense(12, 4, "linear", True)),
        (Dense(9, 12, "relu", True), Dense(12, 7, "relu", True), Dense(7, 4, "linear", True)),
    ):
        game = make_game(clients, 40, model=ModelSpec((9,), layers))
        masks = [(1 << size) - 1 for size in range(1, clients + 1)]
        masks += [game.full, game.full ^ 1 << 63, game.full >> 1, 1 << clients - 1, game.full]
        counts = engine_for(game, kind="kernel").counts(masks).tolist()
        bounds = Reference(game).intervals(masks)
        outside = [(m, c, b) for m, c, b in zip(masks, counts, bounds, strict=True) if not b.lo <= c <= b.hi]
        assert outside == []
