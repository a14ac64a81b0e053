"""Real games for the benchmarks: clients trained on MNIST, and the exact counts of all coalitions, kept in a cache.

MNIST comes from FEDCOIN_MNIST, from ../shared/data/mnist.npz, or by Keras' download.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from fedcoin_cli.learning.datasets import Dataset, load
from fedcoin_cli.learning.mining.choice import engine_for, whole_for
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.proxy import make_proxy
from fedcoin_cli.learning.mining.walks import Counts
from fedcoin_cli.learning.model import parse_model
from fedcoin_cli.learning.training import train_round
from fedcoin_cli.learning.weights import TestSet

CACHE = user_cache_path("fedcoin") / "benchmarks"


@dataclass(frozen=True, slots=True)
class Case:
    """K clients of a split, trained for some epochs on `train` images, judged on `test` images."""

    split: str
    clients: int
    epochs: int = 3
    train: int = 60_000
    test: int = 10_000

    @property
    def name(self) -> str:
        return f"{self.split}-{self.clients}-{self.epochs}-{self.train}-{self.test}"


def mnist() -> Dataset:
    """MNIST from wherever it is."""
    here = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist.npz"
    named = os.environ.get("FEDCOIN_MNIST")
    return load(named or (str(here) if here.is_file() else "mnist"))


def real_game(case: Case) -> Game:
    """The case's game with its proxy; trained once, then read from the cache."""
    path, data = CACHE / f"{case.name}.npz", mnist()
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        trained = train_round(_cut(data, case), case.split, case.clients, epochs=case.epochs, seed=1)
        updates = zip(*(update.weights for update in trained.updates), strict=True)
        arrays = {f"weights_{place}": np.stack(each) for place, each in enumerate(updates)}
        np.savez(path, allow_pickle=False, model=np.array(trained.model_json), **arrays)
    with np.load(path) as kept:
        spec = parse_model(str(kept["model"]))
        stacks = [kept[f"weights_{place}"] for place in range(len(spec.weight_shapes))]
    game = Game(spec, _cut(data, case).test, tuple(zip(*stacks, strict=True)), (1,) * case.clients)
    return replace(game, logits=make_proxy(game))


def exact_counts(case: Case, report: Callable[[int, int], None] = lambda _done, _total: None) -> Counts:
    """The counts of all masks, entry 0 for ∅; evaluated once, then read from the cache."""
    path = CACHE / f"{case.name}.npy"
    if not path.exists():
        np.save(path, _enumerate(real_game(case), report))
    counts: Counts = np.load(path)
    return counts


def _cut(data: Dataset, case: Case) -> Dataset:
    """As much of the data as the case wants."""
    test = TestSet(data.test.images[: case.test], data.test.labels[: case.test])
    return Dataset("mnist", data.x_train[: case.train], data.y_train[: case.train], test)


def _enumerate(game: Game, report: Callable[[int, int], None]) -> Counts:
    whole, total = whole_for(game), 1 << game.clients
    while whole is not None and whole.done < whole.total:
        whole.step()
        report(whole.done, whole.total)
    if whole is not None:
        return np.concatenate([[game.empty], whole.counts()])
    engine = engine_for(game)
    counts = np.full(total, game.empty, np.int64)
    step = 64 * engine.batch
    for start in range(1, total, step):
        masks = range(start, min(start + step, total))
        counts[masks.start : masks.stop] = engine.counts(masks)
        report(masks.stop, total)
    return counts
