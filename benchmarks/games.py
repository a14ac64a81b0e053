"""Real games for the benchmarks: clients trained on MNIST, and the values to judge estimates by, kept in a cache.

Values are exact ones while all coalitions can be counted; with more clients they are those of a long run, whose own
error is said beside them. MNIST comes from FEDCOIN_MNIST, from ../shared/data/mnist.npz, or by Keras' download.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path

from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.learning.coalitions.exact import MAX_EXACT_CLIENTS, exact_numerators
from fedcoin_cli.learning.coalitions.partition import Partition, partition
from fedcoin_cli.learning.coalitions.walks import Counts, orders
from fedcoin_cli.learning.engines.choice import engine_for, enumeration_for, walker_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.game.utility import Walker
from fedcoin_cli.learning.model.model import parse_model
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.shapley.precision import Marginals, Walk
from fedcoin_cli.learning.shapley.table import TableTerms
from fedcoin_cli.learning.simulation.datasets import Dataset, load
from fedcoin_cli.learning.simulation.training import train_round
from ledger_store.transaction import exact_denominator

CACHE = user_cache_path("fedcoin") / "benchmarks"

BLOCK_IMAGES: Final = 16
TASK: Final = bytes(32)
"""The id that images are dealt into blocks by."""
SEED: Final = bytes(32)
_LONG_KEY: Final = b"a long run, judging short ones.."

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """K clients of a split, trained for some epochs on `train` images by a seed, judged on `test` images."""

    split: str
    clients: int
    epochs: int = 3
    train: int = 60_000
    test: int = 10_000
    seed: int = 1

    @property
    def name(self) -> str:
        seeded = "" if self.seed == 1 else f"-s{self.seed}"
        return f"{self.split}-{self.clients}-{self.epochs}-{self.train}-{self.test}{seeded}"

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.split}, K = {self.clients}"


@dataclass(frozen=True, slots=True)
class Blocks:
    """A game laid out for mining."""

    game: Game
    partition: Partition
    walker: Walker
    terms: TableTerms

    @classmethod
    def of(cls, game: Game, threads: int = 0) -> "Blocks":
        """In blocks of the usual size, on so many cores (0: all)."""
        blocks = blocks_of_task(game)
        walker = walker_for(game, blocks, threads=threads)
        return cls(game, blocks, walker, TableTerms(game.clients, blocks.sizes, 0))


@dataclass(frozen=True, slots=True)
class Truth:
    """Values in images, (K,), and their Euclidean error over all clients in percentage points: 0 of exact ones."""

    values: Floats
    error_pp: float
    rankings: int


def mnist() -> Dataset:
    """MNIST from wherever it is."""
    here = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist.npz"
    named = os.environ.get("FEDCOIN_MNIST")
    return load(named or (str(here) if here.is_file() else "mnist"))


def real_game(case: Case) -> Game:
    """The case's game; trained once, then read from the cache."""
    path, data = CACHE / f"{case.name}.npz", mnist()
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        trained = train_round(_cut(data, case), case.split, case.clients, epochs=case.epochs, seed=case.seed)
        updates = zip(*(update.weights for update in trained.updates), strict=True)
        arrays = {f"weights_{place}": np.stack(each) for place, each in enumerate(updates)}
        np.savez(path, allow_pickle=False, model=np.array(trained.model_json), **arrays)
    with np.load(path) as kept:
        spec = parse_model(str(kept["model"]))
        stacks = [kept[f"weights_{place}"] for place in range(len(spec.weight_shapes))]
    return Game(spec, _cut(data, case).test, tuple(zip(*stacks, strict=True)), (1,) * case.clients)


def exact_counts(case: Case, report: Callable[[int, int], None] = lambda _done, _total: None) -> Counts:
    """The counts of all masks, entry 0 for ∅; evaluated once, then read from the cache."""
    path = CACHE / f"{case.name}.npy"
    if not path.exists():
        game = real_game(case)
        enumeration = enumeration_for(game, lambda: engine_for(game))
        assert enumeration is not None
        while enumeration.done < enumeration.total:
            enumeration.step()
            report(enumeration.done, enumeration.total)
        np.save(path, np.concatenate([[game.empty], enumeration.counts()]))
    counts: Counts = np.load(path)
    return counts


def true_values(case: Case, rankings: int) -> Truth:
    """The case's values: exact up to `MAX_EXACT_CLIENTS`, else of a run of `rankings` rankings or a longer one."""
    if case.clients <= MAX_EXACT_CLIENTS:
        sums = exact_numerators(exact_counts(case)[1:], 0, case.clients)
        return Truth(np.array(sums, np.float64) / exact_denominator(case.clients), 0.0, 0)
    path = CACHE / f"{case.name}.long.npz"
    if not path.exists() or int(np.load(path)["rankings"]) < rankings:
        found = _long_run(Blocks.of(real_game(case)), rankings)
        np.savez(path, values=found.values, error_pp=found.error_pp, rankings=found.rankings)
    with np.load(path) as kept:
        return Truth(kept["values"], float(kept["error_pp"]), int(kept["rankings"]))


def _long_run(blocks: Blocks, rankings: int) -> Truth:
    """Whole pairs of squares of a key that no miner has; only sums are kept."""
    clients, everywhere = blocks.terms.clients, range(len(blocks.terms.sizes))
    marginals, ends = Marginals(len(everywhere), clients), blocks.walker.ends()
    at_once = max(1, (1 << 26) // (len(everywhere) * clients))
    pair = 2 * clients
    for first in range(0, -(-rankings // pair) * pair, pair):
        for start in range(first, first + pair, 2 * at_once):
            some = range(start, min(start + 2 * at_once, first + pair))
            walked = orders(SEED, _LONG_KEY, everywhere, some, clients)
            counts = blocks.walker.walk(everywhere, walked)
            for stream in (0, 1):
                walk = Walk.of(len(everywhere), clients)
                walk.put(slice(None), walked[:, stream::2], counts[:, stream::2], ends)
                marginals.add(stream, walk)
    spread = marginals.spread()
    assert spread is not None
    error_pp = 100 / blocks.terms.whole * float(np.sqrt(np.trace(spread.covariance)))
    return Truth(marginals.blocks().sum(axis=0), error_pp, marginals.rankings)


def longest(work: int, clients: int) -> int:
    """The most rankings on the grid that count at most so many coalitions in each block, the full one once."""
    return grid_up_to(max(1, (work - 1) // (clients - 1)))


def blocks_of_task(game: Game) -> Partition:
    """Its test set in blocks of the usual size."""
    return partition(game.test.labels, BLOCK_IMAGES, TASK)


def _cut(data: Dataset, case: Case) -> Dataset:
    """As much of the data as the case wants."""
    test = TestSet(data.test.images[: case.test], data.test.labels[: case.test])
    return Dataset("mnist", data.x_train[: case.train], data.y_train[: case.train], test)
