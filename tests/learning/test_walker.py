from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from fedcoin_cli.learning.mining import compiled
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.partition import Partition, partition
from fedcoin_cli.learning.mining.reference import Reference
from fedcoin_cli.learning.mining.walker import KernelWalker
from fedcoin_cli.learning.mining.walks import orders, prefix_masks
from fedcoin_cli.learning.model import Dense, ModelSpec
from fedcoin_cli.learning.weights import TestSet, Weights

Make = Callable[..., Game]
SEED = bytes(range(32))

needs_compiler = pytest.mark.skipif(compiled.library() is None, reason="no C compiler on this machine")


def outside(game: Game, parts: Partition, walker: KernelWalker, rankings: int = 3) -> list[tuple[int, int]]:
    """Block and mask of each count, ends included, that is not in the interval of the game of that block alone."""
    blocks = range(len(parts))
    walked = orders(SEED, SEED, blocks, range(rankings), game.clients)
    empty, full = walker.ends()
    counts = walker.walk(blocks, walked)
    assert counts.shape == (len(blocks), rankings, game.clients - 1)
    wrong = []
    for block in blocks:
        alone = _on_block(game, parts, block)
        masks = [mask for order in walked[block] for mask in prefix_masks(order)] + [game.full]
        found = [*counts[block].ravel().tolist(), int(full[block])]
        bounds = Reference(alone).intervals(masks)
        wrong += [
            (block, mask)
            for mask, bound, count in zip(masks, bounds, found, strict=True)
            if not bound.lo <= count <= bound.hi
        ]
        if game.baseline is None:
            lo = hi = 0
        else:
            lo, hi = Reference(alone.of_update(game.baseline)).interval(1)
        wrong += [(block, 0)] if not lo <= empty[block] <= hi else []
    return wrong


def _on_block(game: Game, parts: Partition, block: int) -> Game:
    mine = parts.block(block)
    return replace(game, test=TestSet(game.test.images[mine], game.test.labels[mine]))


@needs_compiler
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("clients", "images"), [(2, 40), (3, 1), (10, 100), (70, 33), (130, 20)])
def test_counts_lie_in_their_intervals(clients: int, images: int, weighted: bool, make_game: Make) -> None:
    """Two clients, more than a chain and than two, any weights, a last block that is short: every count is right."""
    weights = (*(1 + 37 * client % 100 for client in range(clients - 1)), 2**31 - 1)
    game = make_game(clients, images, weights=weights if weighted else ())
    parts = partition(game.test.labels, 16, SEED)
    assert outside(game, parts, KernelWalker(game, parts)) == []


@needs_compiler
@pytest.mark.parametrize("size", [1, 15, 16, 17, 255])
def test_blocks_of_any_size(size: int, make_game: Make) -> None:
    """Blocks of one image, of less and more than a row, and of the most that there may be."""
    game = make_game(5, 300, weights=(1, 2, 3, 4, 50))
    parts = partition(game.test.labels, size, SEED)
    assert outside(game, parts, KernelWalker(game, parts), 1) == []


@needs_compiler
@pytest.mark.parametrize(
    "layers",
    [
        (Dense(9, 4, "linear", True),),
        (Dense(9, 33, "relu", False), Dense(33, 4, "linear", False)),
        (Dense(9, 100, "linear", True), Dense(100, 41, "linear", True)),
        (Dense(9, 8, "linear", True), Dense(8, 21, "relu", False), Dense(21, 23, "linear", True)),
        (Dense(9, 40, "relu", True), Dense(40, 70, "relu", True), Dense(70, 2, "linear", True)),
    ],
)
@pytest.mark.parametrize("clients", [5, 67])
def test_other_chains(clients: int, layers: tuple[Dense, ...], make_game: Make) -> None:
    """No hidden layer, two of them (in double), no biases, widths that fill no tile and no block, 2 to 41 classes."""
    game = make_game(clients, 50, weights=tuple(range(1, clients + 1)), model=ModelSpec((9,), layers))
    parts = partition(game.test.labels, 16, SEED)
    assert outside(game, parts, KernelWalker(game, parts)) == []


@needs_compiler
def test_deep_models_walk_in_double(make_game: Make) -> None:
    """All classes of a deep model have the same last weights but for some digits: float32 leaves the interval."""
    widths = (9, 60, 50, 60, 50, 4)
    layers = tuple(
        Dense(inputs, units, "linear" if units == 4 else "relu", use_bias=True)
        for inputs, units in pairwise(widths)
    )
    game = make_game(6, 200, model=ModelSpec((9,), layers))
    apart = 1 + 1e-7 * np.random.default_rng(0).standard_normal((50, 4))
    updates = tuple(
        (*below, (kernel[:, :1] * apart).astype(np.float32), 0 * bias)
        for *below, kernel, bias in game.updates
    )
    game = replace(game, updates=updates)
    parts = partition(game.test.labels, 16, SEED)
    assert outside(game, parts, KernelWalker(game, parts)) == []


@needs_compiler
def test_threads_and_parts_change_nothing(make_game: Make) -> None:
    """One thread or two, all blocks or some of them, one ranking or many: a coalition's count is the same."""
    game = make_game(9, 500)
    parts = partition(game.test.labels, 16, SEED)
    one, two = (KernelWalker(game, parts, threads=threads) for threads in (1, 2))
    walked = orders(SEED, SEED, range(len(parts)), range(7), 9)
    counts = one.walk(range(len(parts)), walked)
    assert (two.walk(range(len(parts)), walked) == counts).all()
    assert (two.walk(range(5, 12), walked[5:12, 2:3]) == counts[5:12, 2:3]).all()
    assert (np.array(one.ends()) == np.array(two.ends())).all()
    assert counts.std() > 0.5


@needs_compiler
def test_the_empty_coalition_is_the_baseline(make_game: Make) -> None:
    """With a baseline u(∅) of each block is what that update labels correctly there; without one it is 0."""
    game = make_game(4, 150)
    baseline: Weights = tuple(-part for part in game.updates[2])
    parts = partition(game.test.labels, 16, SEED)
    assert KernelWalker(game, parts).ends()[0].tolist() == [0] * len(parts)
    named = replace(game, baseline=baseline)
    walker = KernelWalker(named, parts)
    assert outside(named, parts, walker) == []
    assert walker.ends()[0].sum() > 0


@needs_compiler
@pytest.mark.parametrize("hostile", ["huge", "cancelling", "dead", "zero", "light"])
def test_hostile_updates_stay_inside(hostile: str, make_game: Make) -> None:
    """Huge, cancelling, dead and vanishing updates, and weights 2³¹ apart, move no count out of its interval."""
    weights = (1, 1, 1, 2**31 - 1, 1, 1) if hostile == "light" else ()
    game = make_game(6, 300, weights=weights)
    updates = list(game.updates)
    big = tuple(np.float32(1e5) * weight for weight in updates[0])
    match hostile:
        case "huge":
            updates[3] = big
        case "cancelling":
            updates[4] = big
            updates[2] = tuple(own - large for own, large in zip(updates[1], big, strict=True))
        case "dead":
            kernel, bias, *above = updates[1]
            updates[1] = (kernel, bias - np.float32(1e6), *above)
        case "zero":
            updates[0] = updates[5] = tuple(0 * weight for weight in updates[0])
        case "light":
            updates = [tuple(np.float32(2.0**-30) * part for part in update) for update in updates]
    game = replace(game, updates=tuple(updates))
    parts = partition(game.test.labels, 16, SEED)
    assert outside(game, parts, KernelWalker(game, parts), 4) == []


@needs_compiler
def test_ties_go_to_the_lowest_class(make_game: Make) -> None:
    """Updates of zeros tie all classes: exactly the images of class 0 are right, a lane without an image never is."""
    game = make_game(2)
    game.test.labels[:20] = 0
    game = replace(game, updates=tuple(tuple(0 * weight for weight in update) for update in game.updates))
    parts = partition(game.test.labels, 15, SEED)
    zeros = [int((game.test.labels[parts.block(block)] == 0).sum()) for block in range(len(parts))]
    assert sum(zeros) >= 20
    assert KernelWalker(game, parts).ends()[1].tolist() == zeros
