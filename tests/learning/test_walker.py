from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedcoin_cli.learning.coalitions.partition import Partition, partition
from fedcoin_cli.learning.coalitions.walks import orders
from fedcoin_cli.learning.engines import compiled, keraswalker
from fedcoin_cli.learning.engines.arithmetic import product
from fedcoin_cli.learning.engines.choice import Kind, walker_for
from fedcoin_cli.learning.engines.keraswalker import KerasWalker
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.game.utility import Walker
from fedcoin_cli.learning.model.backend import ops
from fedcoin_cli.learning.model.features import Conv, Pool
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.weights import Weights
from fedcoin_cli.learning.reference.reference import Reference

Make = Callable[..., Game]
SEED = bytes(range(32))

needs_compiler = pytest.mark.skipif(compiled.library() is None, reason="no C compiler on this machine")
both = pytest.mark.parametrize("kind", [pytest.param("kernel", marks=needs_compiler), "keras"])

MODELS = {
    "tanh, twice": ModelSpec(
        (9,), (Dense(9, 20, "tanh", True), Dense(20, 40, "tanh", False), Dense(40, 4, "linear", True))
    ),
    "sigmoid": ModelSpec(
        (9,), (Dense(9, 33, "sigmoid", use_bias=True), Dense(33, 4, "linear", use_bias=True))
    ),
    "convolutions": ModelSpec(
        (8, 7, 2),
        (Dense(20, 4, "linear", use_bias=True),),
        (
            Conv((8, 7, 2), 4, (3, 3), (1, 1), False, "relu", True),
            Pool((6, 5, 4), (2, 2), (1, 1), True),
            Conv((5, 4, 4), 5, (2, 3), (2, 1), False, "tanh", True),
        ),
    ),
    "one convolution": ModelSpec(
        (6, 6, 1),
        (Dense(12, 7, "relu", use_bias=True), Dense(7, 4, "linear", use_bias=False)),
        (Conv((6, 6, 1), 3, (3, 3), (1, 1), False, "relu", False), Pool((4, 4, 3), (2, 2), (2, 2), False)),
    ),
}


def outside(game: Game, parts: Partition, walker: Walker, rankings: int = 3) -> list[tuple[int, int]]:
    """Block and number of each count, ends included, that is not in the interval of the reference on that block."""
    blocks = range(len(parts))
    walked = orders(SEED, SEED, blocks, range(rankings), game.clients)
    empty, full = walker.ends()
    counts = walker.walk(blocks, walked)
    assert counts.shape == (len(blocks), rankings, game.clients - 1)
    assert counts.dtype == np.uint8
    reference, wrong = Reference(game), []
    alone = None if game.baseline is None else Reference(game.of_update(game.baseline))
    for block in blocks:
        # Row s of a ranking's members holds the first s + 1 of it.
        joined = [
            np.tril(np.ones((game.clients, game.clients), np.uint8))[:, np.argsort(order)]
            for order in walked[block]
        ]
        bounds = reference.block_intervals(parts.block(block), np.concatenate(joined))
        found = np.concatenate([counts[block], np.full((rankings, 1), full[block])], axis=1).ravel()
        places = np.flatnonzero((found < bounds[:, 0]) | (found > bounds[:, 2])).tolist()
        lo, hi = 0, 0
        if alone is not None:
            lo, _, hi = alone.block_intervals(parts.block(block), np.ones((1, 1), np.uint8))[0].tolist()
        places += [] if lo <= empty[block] <= hi else [-1]
        wrong += [(block, place) for place in places]
    return wrong


@both
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("clients", "images"), [(2, 40), (3, 1), (10, 100), (70, 33), (130, 20)])
def test_counts_lie_in_their_intervals(
    kind: Kind, clients: int, images: int, weighted: bool, make_game: Make
) -> None:
    """Two clients, more than a chain and than two, any weights, a last block that is short: every count is right."""
    weights = (*(1 + 37 * client % 100 for client in range(clients - 1)), 2**31 - 1)
    game = make_game(clients, images, weights=weights if weighted else ())
    parts = partition(game.test.labels, 16, SEED)
    assert outside(game, parts, walker_for(game, parts, kind=kind)) == []


@both
@pytest.mark.parametrize("size", [1, 15, 16, 17, 255])
def test_blocks_of_any_size(kind: Kind, size: int, make_game: Make) -> None:
    """Blocks of one image, of less and more than a row, and of the most that there may be."""
    game = make_game(5, 300, weights=(1, 2, 3, 4, 50))
    parts = partition(game.test.labels, size, SEED)
    assert outside(game, parts, walker_for(game, parts, kind=kind), 1) == []


@both
@pytest.mark.parametrize(
    "layers",
    [
        (Dense(9, 4, "linear", True),),
        (Dense(9, 33, "relu", False), Dense(33, 4, "linear", False)),
        (Dense(9, 100, "linear", True), Dense(100, 41, "linear", True)),
        (Dense(9, 8, "linear", True), Dense(8, 21, "relu", False), Dense(21, 23, "linear", True)),
        (Dense(9, 40, "relu", True), Dense(40, 70, "relu", True), Dense(70, 2, "linear", True)),
        (Dense(9, 70, "tanh", True), Dense(70, 40, "relu", True), Dense(40, 5, "linear", True)),
        (Dense(9, 40, "relu", False), Dense(40, 33, "sigmoid", True), Dense(33, 3, "linear", False)),
        (Dense(9, 33, "sigmoid", True), Dense(33, 4, "linear", True)),
    ],
)
@pytest.mark.parametrize("clients", [5, 67])
def test_other_chains(kind: Kind, clients: int, layers: tuple[Dense, ...], make_game: Make) -> None:
    """No hidden layer, two of them (in double), no biases, widths that fill no tile and no block, 2 to 41 classes."""
    game = make_game(clients, 50, weights=tuple(range(1, clients + 1)), model=ModelSpec((9,), layers))
    parts = partition(game.test.labels, 16, SEED)
    assert outside(game, parts, walker_for(game, parts, kind=kind)) == []


@both
def test_deep_models_walk_in_double(kind: Kind, make_game: Make) -> None:
    """31 products that a float32 sum of 32 would lose one by one decide for class 0, in the last of three layers.

    [P-6.6]
    """
    layers = (Dense(1, 8, "relu", True), Dense(8, 40, "relu", True), Dense(40, 2, "linear", True))
    last = np.zeros((40, 2))
    last[0], last[1:32, 0], last[0, 1] = 1, 2.0**-25, 1 + 2.0**-23
    update = (np.zeros((1, 8)), np.ones(8), np.zeros((8, 40)), np.ones(40), last, np.zeros(2))
    game = make_game(2, 100, model=ModelSpec((1,), layers))
    game = replace(game, updates=(tuple(part.astype(np.float32) for part in update),) * 2)
    parts = partition(game.test.labels, 16, SEED)
    walker = walker_for(game, parts, kind=kind)
    zeros = [int((game.test.labels[parts.block(block)] == 0).sum()) for block in range(len(parts))]
    assert walker.ends()[1].tolist() == zeros
    assert outside(game, parts, walker) == []


@needs_compiler
def test_threads_and_parts_change_nothing(make_game: Make) -> None:
    """One thread or two, all blocks or some of them, one ranking or many: a coalition's count is the same."""
    game = make_game(9, 500)
    parts = partition(game.test.labels, 16, SEED)
    one, two = (walker_for(game, parts, threads=threads, kind="kernel") for threads in (1, 2))
    walked = orders(SEED, SEED, range(len(parts)), range(7), 9)
    counts = one.walk(range(len(parts)), walked)
    assert (two.walk(range(len(parts)), walked) == counts).all()
    assert (two.walk(range(5, 12), walked[5:12, 2:3]) == counts[5:12, 2:3]).all()
    assert (np.array(one.ends()) == np.array(two.ends())).all()
    assert counts.std() > 0.5


@both
def test_the_empty_coalition_is_the_baseline(kind: Kind, make_game: Make) -> None:
    """With a baseline u(∅) of each block is what that update labels correctly there; without one it is 0 [P-6.3]."""
    game = make_game(4, 150)
    baseline: Weights = tuple(-part for part in game.updates[2])
    parts = partition(game.test.labels, 16, SEED)
    assert walker_for(game, parts, kind=kind).ends()[0].tolist() == [0] * len(parts)
    named = replace(game, baseline=baseline)
    walker = walker_for(named, parts, kind=kind)
    assert outside(named, parts, walker) == []
    assert walker.ends()[0].sum() > 0


@both
@pytest.mark.parametrize("hostile", ["huge", "cancelling", "dead", "zero", "light"])
def test_hostile_updates_stay_inside(kind: Kind, hostile: str, make_game: Make) -> None:
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
    assert outside(game, parts, walker_for(game, parts, kind=kind), 4) == []


@both
def test_ties_go_to_the_lowest_class(kind: Kind, make_game: Make) -> None:
    """Updates of zeros tie all classes: exactly the images of class 0 are right, a lane without an image never is."""
    game = make_game(2)
    game.test.labels[:20] = 0
    game = replace(game, updates=tuple(tuple(0 * weight for weight in update) for update in game.updates))
    parts = partition(game.test.labels, 15, SEED)
    zeros = [int((game.test.labels[parts.block(block)] == 0).sum()) for block in range(len(parts))]
    assert sum(zeros) >= 20
    assert walker_for(game, parts, kind=kind).ends()[1].tolist() == zeros


def test_keras_fills_and_cuts_its_calls(make_game: Make) -> None:
    """Any number of blocks and rankings, less and more than a call takes, gives each coalition its own count."""
    game = make_game(5, 700)
    parts = partition(game.test.labels, 4, SEED)
    walker = KerasWalker(game, parts)
    walked = orders(SEED, SEED, range(len(parts)), range(300), 5)
    counts = walker.walk(range(len(parts)), walked)
    assert walked.shape[0] * walked.shape[1] > walker.rows
    assert (walker.walk(range(3, 4), walked[3:4, 7:8]) == counts[3:4, 7:8]).all()
    assert (walker.walk(range(90, 175), walked[90:, 5:50]) == counts[90:, 5:50]).all()


@pytest.mark.parametrize("weights", [(), (3, 1, 2, 2**31 - 1)], ids=["mean", "fedavg"])
@pytest.mark.parametrize("name", MODELS)
def test_curves_and_convolutions(name: str, weights: tuple[int, ...], make_game: Make) -> None:
    """Tanh and sigmoid, convolutions, poolings and two hidden layers: every count lies in its interval."""
    game = make_game(4, 100, weights=weights, model=MODELS[name])
    parts = partition(game.test.labels, 16, SEED)
    assert outside(game, parts, KerasWalker(game, parts)) == []
    own = walker_for(game, parts)
    assert isinstance(own, KerasWalker) == bool(game.chain.features or compiled.library() is None)
    assert outside(game, parts, own) == []


@pytest.mark.parametrize("clients", [3, 130])
def test_rankings_that_are_cut(clients: int, make_game: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the coalitions of a ranking have no room together they are evaluated in parts."""
    values = 3 * 16 * 33
    monkeypatch.setattr(keraswalker, "_CPU_VALUES", 20 * values)
    monkeypatch.setattr(keraswalker, "_GPU_VALUES", 20 * values)
    game = make_game(clients, 20, model=MODELS["sigmoid"])
    parts = partition(game.test.labels, 16, SEED)
    assert outside(game, parts, KerasWalker(game, parts)) == []


def test_what_narrows_is_noticed(make_game: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend whose products are float32 where double is needed ends the walker, not a miner's pay."""
    monkeypatch.setattr(keraswalker, "product", lambda *asked: ops.cast(product(*asked), "float32"))
    game = make_game(3, 20, model=MODELS["tanh, twice"])
    with pytest.raises(TypeError, match="gives float32 where float64"):
        KerasWalker(game, partition(game.test.labels, 16, SEED))
