import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedcoin_cli.learning.coalitions.exact import exact_numerators
from fedcoin_cli.learning.coalitions.partition import Partition, partition
from fedcoin_cli.learning.coalitions.walks import Counts, Orders
from fedcoin_cli.learning.engines import compiled, cube
from fedcoin_cli.learning.engines.choice import engine_for, enumeration_for, walker_for
from fedcoin_cli.learning.engines.cube import Cube, suits
from fedcoin_cli.learning.engines.enumeration import Enumerating
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.game.utility import Found
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.reference.forward import FirstLayer
from fedcoin_cli.learning.reference.reference import Interval, Reference
from fedcoin_cli.learning.shapley.sampling import MiningPlan, MiningSession
from fedcoin_cli.learning.shapley.table import TableTerms

Make = Callable[..., Game]
SEED, KEY = bytes(range(32)), bytes(range(32, 64))

pytestmark = pytest.mark.skipif(compiled.library() is None, reason="no C compiler on this machine")


def chain(units: int, classes: int, *, biases: bool = True) -> ModelSpec:
    return ModelSpec((9,), (Dense(9, units, "relu", biases), Dense(units, classes, "linear", biases)))


def counted(game: Game, threads: int = 1) -> list[int]:
    """All counts, in as many steps as it takes."""
    whole = Cube(game, threads=threads)
    while whole.done < whole.total:
        whole.step()
    return [int(count) for count in whole.counts()]


def judged(game: Game) -> list[Interval]:
    return Reference(game).intervals(range(1, 1 << game.clients))


def assert_right(game: Game) -> None:
    """No count differs from the float64 reference's; where numbers are too large for any bound all are admitted."""
    bounds = judged(game)
    if all((bound.lo, bound.hi) == (0, game.images) for bound in bounds):
        assert all(0 <= count <= game.images for count in counted(game))
        return
    assert counted(game) == [bound.count for bound in bounds]


@pytest.mark.parametrize("seed", range(30))
def test_every_count_is_the_reference_s(seed: int, make_game: Make) -> None:
    """In random games of every shape all 2^K − 1 counts are those of the float64 reference."""
    rng = np.random.default_rng(seed)
    clients, images = int(rng.integers(2, 11)), int(rng.integers(1, 90))
    model = chain(int(rng.integers(1, 65)), int(rng.integers(2, 11)), biases=bool(seed % 3))
    weights = tuple(rng.integers(1, 1000, clients).tolist()) if seed % 2 else ()
    assert_right(make_game(clients, images, weights=weights, model=model, seed=seed))


@pytest.mark.parametrize(("units", "classes"), [(12, 2), (12, 17), (20, 18), (9, 40)])
def test_many_levels_and_any_number_of_lanes(units: int, classes: int, make_game: Make) -> None:
    """With 13 clients, of whom some resemble each other, most images are decided by bounds: the counts are right."""
    game = make_game(13, 24, model=chain(units, classes))
    common = game.updates[0]
    updates = [
        tuple(shared + np.float32(0.3) * own for shared, own in zip(common, update, strict=True))
        for update in game.updates
    ]
    assert_right(replace(game, updates=tuple(updates)))


@pytest.mark.parametrize(
    "hostile",
    ["huge", "cancelling", "nearly", "dead", "zero", "twins", "tiny", "vast", "biased", "one heavy"],
)
def test_hostile_updates(hostile: str, make_game: Make) -> None:
    """Whatever is huge, cancels, is dead, equal, tiny or outweighs the others: no count differs."""
    game = make_game(9, 120, model=chain(16, 5))
    updates, factor = list(game.updates), np.float32
    match hostile:
        case "huge":
            updates[3] = tuple(factor(1e5) * weight for weight in updates[0])
        case "cancelling":
            big = tuple(factor(1e4) * weight for weight in updates[0])
            updates[4] = big
            updates[2] = tuple(own - large for own, large in zip(updates[1], big, strict=True))
        case "nearly":
            # Pairs that leave next to nothing of each other: leads far smaller than what they are made of.
            for one in range(0, 8, 2):
                kernel, bias, above, last = updates[one]
                nearly = factor(1e-6) * updates[8][2] - above
                updates[one + 1] = (kernel, bias, nearly, -last)
        case "dead":
            kernel, bias, *upper = updates[1]
            updates[1] = (kernel, bias - factor(1e6), *upper)
        case "zero":
            updates[0] = updates[5] = tuple(0 * weight for weight in updates[0])
        case "twins":
            updates[2] = updates[6] = updates[1]
        case "tiny":
            updates = [tuple(factor(1e-37) * weight for weight in update) for update in updates]
        case "vast":
            updates = [tuple(factor(1e37) * weight for weight in update) for update in updates]
        case "biased":
            updates = [(*update[:3], factor(1e3) * update[3]) for update in updates]
        case "one heavy":
            game = replace(game, weights=(1, 2, 3, 2**31 - 1, 5, 1, 1, 1, 8))
    assert_right(replace(game, updates=tuple(updates)))


@pytest.mark.parametrize("signs", [(1,) * 11, (1, -1, 1, -1, -1, 1, 1, -1, 1, -1, 1)])
def test_bounds_that_are_met(signs: tuple[int, ...]) -> None:
    """Where the bounds of 2¹¹ coalitions are met by one of them, pictures just beside a tie are counted right.

    One client holds a lead that each of the others whose sign is 1 takes a part of; all of them take it all where
    the picture is 1. With signs of -1 the only unit is asleep in some coalitions.
    """
    spec = ModelSpec((1,), (Dense(1, 1, "relu", False), Dense(1, 2, "linear", True)))
    rng, none = np.random.default_rng(0), np.zeros((1, 1))
    shares = rng.uniform(1, 2, (2, 11)) * np.array(signs)
    shares *= np.sqrt(1e6 * (1 + 1e-3 * signs.count(1))) / shares[:, shares[0] > 0].sum(axis=1, keepdims=True)
    updates = [(none + own, np.array([[0, lead]]), np.zeros(2)) for own, lead in shares.T]
    updates.append((none, np.zeros((1, 2)), np.array([1.0, 0.0])))
    test = TestSet(np.linspace(0.5, 1.5, 401, dtype=np.float32)[:, None], np.arange(401, dtype=np.int32) % 2)
    cast = tuple(tuple(weight.astype(np.float32) for weight in update) for update in updates)
    assert_right(Game(spec, test, cast, (1,) * 11 + (1000,)))


def test_pictures_of_unlike_size(make_game: Make) -> None:
    """Pictures a sextillion times as bright as others are judged as well as those."""
    game = make_game(9, 60, model=chain(10, 4))
    scales = np.logspace(-12, 12, 60, dtype=np.float32)[:, None]
    assert_right(replace(game, test=TestSet(game.test.images * scales, game.test.labels)))


@pytest.mark.parametrize("biases", [True, False])
def test_ties(biases: bool, make_game: Make) -> None:
    """Small integers tie everywhere: no count leaves its interval, and where nothing is rounded none differs."""
    game = make_game(9, 200, model=chain(6, 5, biases=biases))
    rng = np.random.default_rng(5)
    updates = tuple(
        tuple(rng.integers(-1, 2, weight.shape).astype(np.float32) for weight in update)
        for update in game.updates
    )
    pictures = rng.integers(0, 2, game.test.images.shape).astype(np.float32)
    game = replace(game, updates=updates, test=TestSet(pictures, game.test.labels))
    for mask, (count, interval) in enumerate(zip(counted(game), judged(game), strict=True), 1):
        assert interval.lo <= count <= interval.hi
        if mask.bit_count() in (1, 2, 4, 8):
            assert count == interval.count


def test_classes_that_never_differ(make_game: Make) -> None:
    """Where two classes have equal weights in every update the lower one wins; where all are zero, class 0."""
    game = make_game(9, 100, model=chain(8, 4))
    updates = []
    for kernel, bias, above, last in game.updates:
        same = above.copy(), last.copy()
        same[0][:, 2], same[1][2] = above[:, 1], last[1]
        updates.append((kernel, bias, *same))
    assert_right(replace(game, updates=tuple(updates)))
    nothing = replace(game, updates=tuple(tuple(0 * weight for weight in update) for update in updates))
    zeros = int((game.test.labels == 0).sum())
    assert set(counted(nothing)) == {zeros}


def test_classes_that_hardly_differ(make_game: Make) -> None:
    """Where two classes differ by less than float64 can tell beside their weights, the lower one wins there too."""
    game = make_game(9, 100, model=chain(8, 4))
    updates = []
    for kernel, bias, above, last in game.updates:
        alike = above.copy(), last.copy()
        alike[0][:, 2], alike[1][2] = above[:, 1], last[1]
        alike[0][0, 1:3] = 1e-25, 2e-25
        updates.append((kernel, bias, *alike))
    assert_right(replace(game, updates=tuple(updates)))


def test_threads_and_parts_change_nothing(make_game: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three threads, images in parts, and a first layer that is never kept give the counts of one thread."""
    game = make_game(12, 150, weights=tuple(range(1, 13)))
    expected = counted(game)
    assert expected == [interval.count for interval in judged(game)]
    assert counted(game, threads=3) == expected
    monkeypatch.setattr(cube, "_PART_WORK", cube._cost(6, 4) << 9)
    assert Cube(game).total == 8 * 150
    assert counted(game, threads=3) == expected
    first = FirstLayer(game)
    first.cached = False
    whole = Cube(game, first, 2)
    while whole.done < whole.total:
        whole.step()
    assert whole.counts().tolist() == expected


def test_steps_add_up(make_game: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step ends after the part that it is at, and each part is done once."""
    monkeypatch.setattr(cube, "STEP_S", 0.0)
    whole, seen = Cube(make_game(9, 20)), []
    while whole.done < whole.total:
        whole.step()
        seen.append(whole.done)
    assert seen == list(range(1, 21))
    whole.step()
    assert whole.done == 20


def test_what_suits(make_game: Make) -> None:
    """One hidden layer of ReLUs and up to 24 clients suit; few clients are counted one by one all the same."""
    two = ModelSpec((9,), (Dense(9, 5, "relu", True), Dense(5, 5, "relu", True), Dense(5, 3, "linear", True)))
    none = ModelSpec((9,), (Dense(9, 3, "linear", True),))
    bent = ModelSpec((9,), (Dense(9, 5, "sigmoid", True), Dense(5, 3, "linear", True)))
    assert suits(make_game(3, 5))
    assert not any(suits(make_game(3, 5, model=model)) for model in (two, none, bent))
    assert not suits(make_game(25, 5))
    assert not suits(make_game(3, 5, model=chain(2000, 200)))
    small = make_game(5, 5)
    assert isinstance(enumeration_for(small, lambda: engine_for(small)), Enumerating)


class Paced:
    """A cube with a clock: a step takes a tenth of a second on it."""

    def __init__(self, whole: Cube, clock: list[float]) -> None:
        self._whole, self._clock, self.total = whole, clock, whole.total

    @property
    def done(self) -> int:
        return self._whole.done

    def step(self) -> None:
        self._clock[0] += 0.1
        self._whole.step()

    def seconds_left(self) -> float | None:
        return 0.1 * (self.total - self.done) if self.done else None

    def counts(self) -> np.ndarray:
        return self._whole.counts()

    def save(self, path: Path) -> None:
        self._whole.save(path)

    def restore(self, path: Path) -> None:
        self._whole.restore(path)


@pytest.mark.parametrize(
    ("runtime_s", "estimator", "exact"),
    [
        (60, "auto", True),
        (3, "auto", False),
        (60, "exact", True),
        (3, "exact", False),
        (60, "balanced", False),
    ],
)
def test_a_session_takes_the_whole_where_it_fits(
    runtime_s: float, estimator: str, exact: bool, make_game: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exact values come from the cube where its pace fits into RUNTIME; else rankings, which an attempt more ends."""
    monkeypatch.setattr(cube, "STEP_S", 0.0)
    game, clock = make_game(9, 40), [0.0]
    whole = Paced(Cube(game), clock)  # 40 steps: 4 s
    plan = MiningPlan(SEED, KEY, 1, 60, runtime_s, estimator)  # type: ignore[arg-type]
    blocks = partition(game.test.labels, 16, bytes(32))
    walker = Ticking(game, blocks, clock)
    session = MiningSession(walker, whole, TableTerms(9, blocks.sizes, 3), plan, lambda: clock[0])
    seen = []
    while not (progress := session.advance(0.05)).finished:
        seen.append(progress)
    assert session.estimate().exact == exact
    if not exact and estimator == "auto":
        assert session.estimate().rankings > 20
    enumerated = [step.enumerated for step in seen if step.exact_total]
    assert enumerated == sorted(enumerated)
    if not exact and estimator == "exact":
        assert 0 < max(enumerated) < 511
        session.extend(60)
        while not session.advance(0.05).finished:
            pass
    if exact or estimator == "exact":
        counts = np.array([interval.count for interval in judged(game)])
        assert session.estimate().sums == tuple(exact_numerators(counts, 3, 9))


class Ticking:
    """A walker that takes 10 ms a coalition of all images on the clock."""

    together = 1

    def __init__(self, game: Game, blocks: Partition, clock: list[float]) -> None:
        self._walker, self._blocks, self._clock = walker_for(game, blocks, threads=1), len(blocks), clock

    def ends(self) -> tuple[Counts, Counts]:
        return self._walker.ends()

    def walk(self, blocks: range, walked: Orders) -> Found:
        self._clock[0] += 0.01 * walked.shape[1] * (walked.shape[2] - 1) * len(blocks) / self._blocks
        return self._walker.walk(blocks, walked)


_VARIANT = """
import sys, numpy as np
sys.path.insert(0, {folder!r})
from conftest import random_update
from fedcoin_cli.learning.engines.cube import Cube
from fedcoin_cli.learning.engines.compiled import library
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.weights import TestSet
rng = np.random.default_rng(0)
spec = ModelSpec((9,), (Dense(9, 20, "relu", True), Dense(20, 10, "linear", True)))
pictures = rng.standard_normal((60, 9)).astype(np.float32)
updates = tuple(random_update(spec, rng) for _ in range(11))
game = Game(spec, TestSet(pictures, rng.integers(0, 10, 60).astype(np.int32)), updates, (1,) * 11)
whole = Cube(game)
while whole.done < whole.total:
    whole.step()
counts = [interval.count for interval in Reference(game).intervals(range(1, 1 << 11))]
print(library().fedcoin_cube_width(), whole.counts().tolist() == counts)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="flavours of x86-64")
@pytest.mark.parametrize(("march", "width"), [("x86-64", 4), ("x86-64-v3", 8)])
def test_other_processors(tmp_path: Path, march: str, width: int) -> None:
    """Built for processors without AVX-512, and without AVX, it counts the same."""
    flavour = Path("/proc/cpuinfo").read_text()
    if march == "x86-64-v3" and "avx2" not in flavour:
        pytest.skip("this processor has no AVX2")
    name = str(tmp_path / compiled.INSTALLED)
    build = [
        "cc",
        "-O3",
        f"-march={march}",
        "-ffp-contract=fast",
        "-std=gnu11",
        "-shared",
        "-fPIC",
        "-o",
        name,
    ]
    subprocess.run([*build, *map(str, compiled.SOURCES)], check=True)
    places = {"PATH": "", "LD_LIBRARY_PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    code = _VARIANT.format(folder=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | places, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(width), "True"]
