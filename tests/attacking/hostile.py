"""Rounds made to break rounding: wide and deep models whose clients chose every number so that sums go wrong.

Each has a seed, and a strength from harmless to hopeless: some are admitted, some refused. What is asked of all of them
is in `verdict`: no honest engine leaves the interval of the reference, so no honest miner can be accused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import numpy as np
from numpy.random import Generator

from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.coalitions.walks import Counts, orders
from fedcoin_cli.learning.engines.choice import Kind, engine_for, walker_for
from fedcoin_cli.learning.engines.cube import Cube, suits
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.reference.reference import RAISE_FACTOR, Reference
from fedcoin_cli.learning.reference.update_admission import admission_masks, refused_update

TASK = "ab" * 32
MOST_MASKS = 48
BLOCK_IMAGES, RANKINGS = 16, 2
FACTORS = (1, RAISE_FACTOR)
WIDTHS = (64, 128, 512, 1024, 2048, 4096)

Engine = Kind | Literal["cube", "walks", "keras walks"]
WALKERS: dict[str, Kind] = {"walks": "kernel", "keras walks": "keras"}

Layers = list[np.ndarray]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One round: whether miners refuse it, and of the coalitions looked at how many counts lie outside of ε and 2ε."""

    kind: str
    refused: bool
    coalitions: int
    wrong: int
    accused: int


def hostile_game(seed: int) -> tuple[str, Game]:
    """The kind and the game of a seed: 2 to 12 clients, 2 to 8 layers, up to 4,096 units, any weights."""
    rng = np.random.default_rng(seed)
    kind = sorted(KINDS)[seed % len(KINDS)]
    clients, images = int(rng.integers(2, 13)), 48
    spec = _spec(rng)
    pictures = rng.standard_normal((images, *spec.input_shape)).astype(np.float32)
    labels = rng.integers(0, spec.classes, images).astype(np.int32)
    honest = [_honest(spec, rng) for _ in range(clients)]
    updates = KINDS[kind](spec, honest, rng)
    weights = [1] * clients if rng.random() < 0.5 else (2 ** rng.integers(0, 32, clients)).tolist()
    rounded = tuple(tuple(part.astype(np.float32) for part in update) for update in updates)
    return kind, Game(spec, TestSet(pictures, labels), rounded, tuple(max(1, each - 1) for each in weights))


def verdict(seed: int, engine: Engine = "auto") -> Verdict | None:
    """What an honest engine counts in the round of a seed, against the reference; its first layer is its own.

    None: the engine is for other models.
    """
    kind, game = hostile_game(seed)
    reference = Reference(game)
    if engine in WALKERS:
        counts, bounds = _walked(game, reference, WALKERS[engine])
    else:
        if engine == "cube" and not suits(game):
            return None
        drawn = np.random.default_rng(seed).permutation(admission_masks(TASK, game.clients))
        masks = sorted({game.full, *drawn[:MOST_MASKS].tolist()})
        if engine == "cube":
            counts = _all_counts(game)[[mask - 1 for mask in masks]]
        else:
            counts = engine_for(
                game, threads=0 if engine == "keras" else 1, kind=cast("Kind", engine)
            ).counts(masks)
        bounds = [
            np.array([(one.lo, one.hi) for one in reference.intervals(masks, factor)]) for factor in FACTORS
        ]
    outside = [int(((counts < bound[:, 0]) | (counts > bound[:, 1])).sum()) for bound in bounds]
    return Verdict(kind, refused_update(reference, TASK) is not None, len(counts), *outside)


def _walked(game: Game, reference: Reference, kind: Kind) -> tuple[Counts, list[Counts]]:
    """Counts of some rankings in each block, (n,), and what they may be for each factor, (n, 2)."""
    parts = partition(game.test.labels, BLOCK_IMAGES, bytes.fromhex(TASK))
    blocks, key = range(len(parts)), bytes(32)
    walked = orders(bytes.fromhex(TASK), key, blocks, range(RANKINGS), game.clients)
    walker = walker_for(game, parts, threads=0 if kind == "keras" else 1, kind=kind)
    full = np.broadcast_to(walker.ends()[1][:, None, None], (*walked.shape[:2], 1))
    counts = np.concatenate([walker.walk(blocks, walked), full], axis=2)
    # Of a ranking's members row s holds the first s + 1.
    ladder = np.tril(np.ones((game.clients, game.clients), np.uint8))
    bounds = []
    for factor in FACTORS:
        found = [
            reference.block_intervals(parts.block(block), ladder[:, np.argsort(order)], factor)[:, [0, 2]]
            for block in blocks
            for order in walked[block]
        ]
        bounds.append(np.concatenate(found))
    return counts.ravel().astype(np.int64), bounds


def _all_counts(game: Game) -> Counts:
    cube = Cube(game)
    while cube.done < cube.total:
        cube.step()
    return cube.counts()


def _spec(rng: Generator) -> ModelSpec:
    """Wide with one hidden layer, or deep: each layer may be wider than a block of sums."""
    if rng.random() < 0.5:
        widths = [4, int(rng.choice(WIDTHS)), int(rng.integers(2, 12))]
    else:
        depth = int(rng.integers(3, 9))
        widths = [4, *rng.integers(8, 300, depth - 1).tolist(), int(rng.integers(2, 12))]
    layers = tuple(
        Dense(inputs, units, "linear" if number == len(widths) - 2 else "relu", use_bias=True)
        for number, (inputs, units) in enumerate(pairwise(widths))
    )
    return ModelSpec((4,), layers)


def _honest(spec: ModelSpec, rng: Generator) -> Layers:
    parts: Layers = []
    for layer in spec.layers:
        parts += [rng.standard_normal((layer.inputs, layer.units)) * (2 / layer.inputs) ** 0.5]
        parts += [0.1 * rng.standard_normal(layer.units)]
    return parts


def _one(update: Layers, rng: Generator) -> Layers:
    """One hidden value of 1 and many tiny ones that decide together: a running sum loses all of them.

    The layers below the last are made constant, so that every image is a near tie.
    """
    made = [0.0 * part for part in update]
    for bias in made[1:-1:2]:
        bias[:] = 1.0
    kernel = made[-2]
    tiny = 2.0 ** -int(rng.integers(16, 28)) * rng.uniform(0.9, 1, len(kernel) - 1)
    kernel[1:, 0], kernel[0, 0], kernel[0, 1] = tiny, 1.0, 1.0 + tiny.sum() * rng.uniform(0, 1)
    return made


def _creeping(_spec: ModelSpec, honest: list[Layers], rng: Generator) -> list[Layers]:
    return [_one(update, rng) for update in honest]


def _one_creeping(_spec: ModelSpec, honest: list[Layers], rng: Generator) -> list[Layers]:
    return [_one(honest[0], rng), *honest[1:]]


def _cancelling(_spec: ModelSpec, honest: list[Layers], rng: Generator) -> list[Layers]:
    """Two clients' updates are huge and opposite: what is left of their sum is rounding."""
    size = 10.0 ** rng.uniform(0, 8)
    huge = [size * rng.standard_normal(part.shape) for part in honest[0]]
    first = [own + part for own, part in zip(honest[0], huge, strict=True)]
    second = [own - part for own, part in zip(honest[1], huge, strict=True)]
    return [first, second, *honest[2:]]


def _inside(spec: ModelSpec, honest: list[Layers], rng: Generator) -> list[Layers]:
    """Opposite weights of some layer on two equal inputs, far larger than all others."""
    size, layer = 10.0 ** rng.uniform(0, 10), int(rng.integers(0, len(spec.layers)))
    for update in honest:
        kernel = update[2 * layer]
        if layer:
            for part in update[2 * layer - 2 : 2 * layer]:
                part[..., 1] = part[..., 0]
        kernel[0] += size
        kernel[1] -= size
    return honest


def _unlike(_spec: ModelSpec, honest: list[Layers], rng: Generator) -> list[Layers]:
    """Layers whose sizes differ by many powers of ten, by client too."""
    spread = rng.uniform(0, 12)
    return [[10.0 ** rng.uniform(-spread, spread) * part for part in update] for update in honest]


def _ties(_spec: ModelSpec, honest: list[Layers], rng: Generator) -> list[Layers]:
    """All classes have the same weights but for their last digits."""
    apart = 10.0 ** rng.uniform(-7, -1)
    for update in honest:
        kernel, bias = update[-2:]
        kernel[:] = kernel[:, :1] * (1 + apart * rng.standard_normal(kernel.shape))
        bias[:] = bias[0]
    return honest


def _vanishing(_spec: ModelSpec, honest: list[Layers], rng: Generator) -> list[Layers]:
    """Numbers near the end of float32's range, where some machines calculate with zeros."""
    scale = 2.0 ** -rng.uniform(5, 140)
    return [[scale * part for part in update] for update in honest]


def _empty(_spec: ModelSpec, honest: list[Layers], _rng: Generator) -> list[Layers]:
    """A client that sends zeros, one whose hidden units are all dead."""
    dead = [part.copy() for part in honest[1]]
    dead[1] -= 1e6
    return [[0.0 * part for part in honest[0]], dead, *honest[2:]]


KINDS: dict[str, Callable[[ModelSpec, list[Layers], Generator], list[Layers]]] = {
    "cancelling": _cancelling,
    "creeping": _creeping,
    "empty": _empty,
    "inside": _inside,
    "one creeping": _one_creeping,
    "ties": _ties,
    "unlike": _unlike,
    "vanishing": _vanishing,
}


def averaged(game: Game, mask: int) -> tuple[np.ndarray, ...]:
    """The aggregate of a coalition in extended precision."""
    shares = np.array(
        [weight if mask >> at & 1 else 0 for at, weight in enumerate(game.weights)], np.longdouble
    )
    shares /= shares.sum()
    return tuple(
        np.tensordot(shares, np.array(each, np.longdouble), 1) for each in zip(*game.updates, strict=True)
    )


def plain_count(game: Game, mask: int) -> int:
    """What the averaged model labels correctly, in extended precision and with nothing clever."""
    values, weights = game.test.images.astype(np.longdouble), iter(averaged(game, mask))
    for layer in game.chain.layers:
        values = values @ next(weights) + next(weights)
        values = np.maximum(values, 0) if layer.activation == "relu" else values
    return int((values.argmax(axis=1) == game.test.labels).sum())
