import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedcoin_cli.consensus.rankings import prefixes, ranking
from fedcoin_cli.learning.engines import compiled
from fedcoin_cli.learning.engines.choice import _gpu, counts, describe, engine_for
from fedcoin_cli.learning.engines.kernel import KernelEngine, _quick_order, suits
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.features import Conv
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.reference.reference import Reference

Make = Callable[..., Game]
SEED = bytes(range(32))

needs_compiler = pytest.mark.skipif(compiled.library() is None, reason="no C compiler on this machine")


def ask(cache: Path, code: str, path: str | None = None) -> subprocess.Popen[str]:
    """Run code in a process with an empty cache folder and, where given, another PATH."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "HOME": str(cache)}
    if path is not None:
        environment["PATH"] = path
    words, pipe = [sys.executable, "-c", code], subprocess.PIPE
    return subprocess.Popen(words, env=environment, stdout=pipe, stderr=pipe, text=True)


def outside(game: Game, masks: list[int], counts: np.ndarray) -> list[int]:
    bounds = Reference(game).intervals(masks)
    pairs = zip(masks, bounds, counts.tolist(), strict=True)
    return [mask for mask, bound, count in pairs if not bound.lo <= count <= bound.hi]


@needs_compiler
@pytest.mark.parametrize("weights", [(1,) * 7, (1, 2, 3, 5, 8, 13, 2**31 - 1)])
@pytest.mark.parametrize("images", [1, 31, 40, 700])
def test_all_coalitions_lie_in_their_intervals(
    images: int, weights: tuple[int, ...], make_game: Make
) -> None:
    """All 127 coalitions, in any number of images and for any weights: no count leaves its float64 interval."""
    game = make_game(7, images, weights=weights)
    masks = list(range(1, 128))
    assert outside(game, masks, KernelEngine(game).counts(masks)) == []


@needs_compiler
def test_same_counts_as_keras(make_game: Make) -> None:
    """The engine in keras.ops and the kernel agree on all coalitions but for near ties of one image."""
    game = make_game(6, 800, weights=(3, 1, 4, 1, 5, 9))
    masks = list(range(1, 64))
    ours, theirs = (engine_for(game, kind=kind).counts(masks) for kind in ("kernel", "keras"))
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).sum() <= 2


@needs_compiler
def test_order_threads_and_repeats_change_nothing(make_game: Make) -> None:
    """A mask's count is the same in ascending, walked, random and repeated lists, on one thread or three."""
    game = make_game(9, 500)
    one, three = KernelEngine(game), KernelEngine(game, threads=3)
    known = dict(zip(range(1, 512), one.counts(range(1, 512)).tolist(), strict=True))
    bound = Reference(game)
    walked = [mask for index in range(20) for mask in prefixes(ranking(SEED, SEED, 0, index, 9))]
    drawn = np.random.default_rng(1).integers(1, 512, 300).tolist()
    for masks in (walked, drawn, [5, 5, 7, 7, 7, 1], [511, 1, 511]):
        counts = one.counts(masks)
        assert counts.tolist() == three.counts(masks).tolist()
        moved = [mask for mask, count in zip(masks, counts.tolist(), strict=True) if known[mask] != count]
        assert all(bound.interval(mask)[0] < bound.interval(mask)[1] for mask in moved)
    assert one.counts([]).tolist() == []


@needs_compiler
def test_batches_are_cut(make_game: Make) -> None:
    """Lists longer than a batch are counted in parts, in order."""
    engine = KernelEngine(make_game(8, 100))
    expected = engine.counts(range(1, 256)).tolist()
    engine.batch = 16
    assert engine.counts(range(1, 256)).tolist() == expected


@needs_compiler
@pytest.mark.parametrize(
    "layers",
    [
        (Dense(9, 4, "linear", True),),
        (Dense(9, 33, "relu", False), Dense(33, 4, "linear", False)),
        (Dense(9, 8, "linear", True), Dense(8, 21, "relu", False), Dense(21, 23, "linear", True)),
        (
            Dense(9, 5, "relu", True),
            Dense(5, 40, "relu", True),
            Dense(40, 12, "relu", True),
            Dense(12, 2, "linear", True),
        ),
    ],
)
def test_other_chains(layers: tuple[Dense, ...], make_game: Make) -> None:
    """No hidden layer, three of them, no biases, widths that fill no tile, 2 to 23 classes."""
    game = make_game(5, 300, weights=(1, 2, 3, 4, 50), model=ModelSpec((9,), layers))
    masks = list(range(1, 32))
    assert outside(game, masks, KernelEngine(game).counts(masks)) == []


@needs_compiler
def test_more_clients_than_a_word_has_bits(make_game: Make) -> None:
    """Masks of 70 clients, walked and drawn, give the counts of the reference."""
    game = make_game(70, 60)
    masks = [mask for index in (0, 1) for mask in prefixes(ranking(SEED, SEED, 0, index, 70))]
    masks += [game.full ^ 1 << place for place in (0, 63, 64, 69)]
    assert outside(game, masks, KernelEngine(game).counts(masks)) == []


@needs_compiler
@pytest.mark.parametrize("hostile", ["huge", "cancelling", "dead", "zero"])
def test_hostile_updates_stay_inside(hostile: str, make_game: Make) -> None:
    """Huge, cancelling and dead updates move no count out of its interval, whoever was summed before."""
    game = make_game(6, 500)
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
    game = replace(game, updates=tuple(updates))
    masks = [*range(63, 0, -1), *range(1, 64)]
    assert outside(game, masks, KernelEngine(game).counts(masks)) == []


@needs_compiler
def test_ties_go_to_the_lowest_class(make_game: Make) -> None:
    """Updates of zeros tie all classes: exactly the images of class 0 are right, the padding of a block never is."""
    game = make_game(2)
    game = replace(game, updates=tuple(tuple(0 * weight for weight in update) for update in game.updates))
    zeros = int((game.test.labels == 0).sum())
    assert KernelEngine(game).counts([1, 2, 3]).tolist() == [zeros] * 3


CURVES = (
    (Dense(9, 6, "sigmoid", True), Dense(6, 4, "linear", True)),
    (Dense(9, 33, "tanh", False), Dense(33, 4, "linear", True)),
    (Dense(9, 33, "tanh", True), Dense(33, 12, "sigmoid", True), Dense(12, 3, "linear", False)),
    (
        Dense(9, 8, "relu", True),
        Dense(8, 40, "tanh", True),
        Dense(40, 20, "relu", True),
        Dense(20, 2, "linear", True),
    ),
)


@needs_compiler
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0, 1e5])
@pytest.mark.parametrize("layers", CURVES)
def test_curves_are_counted(layers: tuple[Dense, ...], scale: float, make_game: Make) -> None:
    """Tanh and sigmoid, from all but straight to quite closed: every count is right, with any weights."""
    game = make_game(5, 300, weights=(1, 2, 3, 4, 5000), model=ModelSpec((9,), layers))
    updates = tuple(tuple(np.float32(scale) * weight for weight in update) for update in game.updates)
    game, masks = replace(game, updates=updates), list(range(1, 32))
    assert suits(game)
    assert counts(game, 1) == "C kernel, 1 thread"
    assert outside(game, masks, engine_for(game).counts(masks)) == []


@needs_compiler
def test_clients_of_a_whole_chain_are_curved_once(make_game: Make) -> None:
    """Members beyond the first 64 stand in a sum of their own until a tanh takes them all."""
    for layers in CURVES[:3]:
        game = make_game(70, 60, model=ModelSpec((9,), layers))
        masks = prefixes(ranking(SEED, SEED, 0, 1, 70))
        assert outside(game, masks, KernelEngine(game).counts(masks)) == []


@needs_compiler
def test_a_tanh_of_nothing_is_nothing(make_game: Make) -> None:
    """Updates of zeros are exact with curves, too: all images get the lowest class."""
    game = make_game(2, model=ModelSpec((9,), CURVES[1]))
    game = replace(game, updates=tuple(tuple(0 * weight for weight in update) for update in game.updates))
    zeros = int((game.test.labels == 0).sum())
    assert KernelEngine(game).counts([1, 2, 3]).tolist() == [zeros] * 3


@needs_compiler
def test_masks_in_any_order(make_game: Make) -> None:
    """Drawn masks are counted ascending and given back in their order; rankings are counted as they stand."""
    game = make_game(9, 200)
    engine = KernelEngine(game)
    every = engine.counts(range(1, 512))
    drawn = np.random.default_rng(1).integers(1, 512, 700)
    assert engine.counts(drawn.tolist()).tolist() == every[drawn - 1].tolist()
    walks = [mask for index in range(20) for mask in prefixes(ranking(SEED, SEED, 0, index, 9))]
    assert _quick_order(walks) == list(range(len(walks)))
    assert _quick_order([6, 1, 5, 2]) == [1, 3, 2, 0]


@needs_compiler
def test_convolutions_are_for_keras(make_game: Make) -> None:
    """The kernel refuses such a game, the choice falls on Keras."""
    front = (Conv((3, 3, 1), 2, (2, 2), (1, 1), False, "relu", True),)
    game = make_game(3, model=ModelSpec((3, 3, 1), (Dense(8, 4, "linear", use_bias=True),), front))
    assert not suits(game)
    assert counts(game, 1).endswith("1 thread: the C kernel takes no convolutions")
    assert type(engine_for(game)).__name__ == "UtilityEngine"
    for kind in ("kernel", "onnx"):
        with pytest.raises(LookupError):
            engine_for(game, kind=kind)


def test_no_compiler_no_kernel(tmp_path: Path) -> None:
    """With an empty PATH there is no library, no error either, and the description names Keras."""
    code = (
        "from fedcoin_cli.learning.engines import choice, compiled\n"
        "print(compiled.library(), choice.describe(2), sep='|')"
    )
    said, _ = ask(tmp_path, code, path="").communicate()
    library, text = said.strip().split("|")
    assert library == "None"
    assert text.startswith("Keras")
    assert text.endswith("2 threads: there is no C kernel, for which cc is needed")


@pytest.mark.parametrize("trouble", ["compiler fails", "cache is a file"])
def test_what_cannot_be_made_is_missing(trouble: str, tmp_path: Path) -> None:
    """A compiler that fails, with a warning of what it said, and a cache that cannot be made leave no library."""
    tools, cache = tmp_path / "tools", tmp_path / "cache"
    tools.mkdir()
    cc = tools / "cc"
    cc.write_text('#!/bin/sh\n[ "$1" = --version ] && echo cc 1.0 && exit 0\necho "no" >&2; exit 1\n')
    cc.chmod(0o755)
    if trouble == "cache is a file":
        cache.write_text("")
    code = "from fedcoin_cli.learning.engines.compiled import library\nprint(library())"
    said, told = ask(cache, code, path=str(tools)).communicate()
    assert said.strip() == "None"
    assert "the C kernel does not compile, so counting is several times slower: no" in told
    assert not list(cache.rglob("*.so"))


@needs_compiler
def test_two_processes_compile_once(tmp_path: Path) -> None:
    """Two first users at the same moment both get a working library; one compiles, and one file is left."""
    tools, made = tmp_path / "tools", tmp_path / "made"
    tools.mkdir()
    cc = tools / "cc"
    cc.write_text(f'#!/bin/sh\n[ "$1" = --version ] || echo made >> {made}\nexec {shutil.which("cc")} "$@"\n')
    cc.chmod(0o755)
    code = "from fedcoin_cli.learning.engines.compiled import library\nprint(library().fedcoin_padded(1))"
    path = f"{tools}:{os.environ['PATH']}"
    both = [ask(tmp_path / "cache", code, path), ask(tmp_path / "cache", code, path)]
    tile = compiled.library().fedcoin_padded(1)
    assert [int(each.communicate()[0]) for each in both] == [tile, tile]
    assert made.read_text() == "made\n"
    assert [file.suffix for file in tmp_path.rglob("*kernel*")] == [".so"]


@needs_compiler
@pytest.mark.parametrize("loose", ["folder", "file"])
def test_what_others_can_write_is_not_loaded(loose: str, tmp_path: Path) -> None:
    """Where others may write the cached library or its folder it is left alone, and one is compiled in private."""
    code = (
        "from fedcoin_cli.learning.engines.compiled import library\n"
        "made = library().fedcoin_padded(1)\n"
        "kept = {line.split()[-1] for line in open('/proc/self/maps') if 'kernel-' in line}\n"
        "print(made, kept)"
    )
    said, _ = ask(tmp_path, code).communicate()
    assert str(tmp_path) in said
    [cached] = tmp_path.rglob("*.so")
    cached.write_bytes(b"no library")
    (cached if loose == "file" else cached.parent).chmod(0o777)
    said, _ = ask(tmp_path, code).communicate()
    assert said.split()[0] == str(compiled.library().fedcoin_padded(1))
    assert str(tmp_path) not in said
    assert not Path(said.split("'")[1]).exists()


@needs_compiler
def test_the_choice_is_told(make_game: Make) -> None:
    """What a miner prints when it is ready and when it mines names the kernel and its threads, or the GPU."""
    if _gpu():
        assert "on gpu" in describe(1)
        return
    assert describe(1) == "C kernel, 1 thread"
    assert describe(4) == "C kernel, 4 threads"
    assert counts(make_game(3), 2) == "C kernel, 2 threads"
