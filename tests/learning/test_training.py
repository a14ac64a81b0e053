import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import shapley

from fedcoin_cli.learning.game import game as game_module
from fedcoin_cli.learning.game.game import Game, RoundFiles
from fedcoin_cli.learning.metrics.plain import plain
from fedcoin_cli.learning.model.build import build
from fedcoin_cli.learning.model.model import parse_model, seed_spec
from fedcoin_cli.learning.model.weights import TestSet, write_test, write_update
from fedcoin_cli.learning.reference.forward import own_logits
from fedcoin_cli.learning.reference.referee import own_outputs
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.simulation.datasets import Dataset, load
from fedcoin_cli.learning.simulation.training import Descent, Trained, batch_of, in_batches, train_round
from ledger_store.base.errors import RoundFilesInvalid


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> Trained:
    return train_round(digits, "same", 4, epochs=3, seed=7)


@pytest.fixture
def round_files(tmp_path: Path, trained: Trained, digits: Dataset) -> RoundFiles:
    """The trained round as files."""
    (tmp_path / "model.json").write_text(trained.model_json)
    write_test(tmp_path / "test.safetensors", digits.test)
    paths = tuple(tmp_path / f"client-{number:03d}.safetensors" for number in range(1, 5))
    for path, update in zip(paths, trained.updates, strict=True):
        write_update(path, update.weights)
    return RoundFiles(tmp_path / "model.json", tmp_path / "test.safetensors", paths)


def test_a_round_of_targets_learns() -> None:
    """By squared error, with one output: together the clients explain most of the targets' variance."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(260, 3)).astype(np.float32)
    y = (x @ np.array([1.0, -2.0, 0.5]) + 0.1 * draw.normal(size=260)).astype(np.float32)
    dataset = Dataset("made", x[60:], y[60:], TestSet(x[:60], y[:60]))
    found = train_round(dataset, "same", 2, epochs=6, descent=Descent(rate=0.02), seed=1)
    spec = parse_model(found.model_json)
    assert spec.row == (1,)
    assert [sum(one.labelled) for one in found.updates] == [100, 100]
    mean = tuple(
        np.mean(parts, axis=0) for parts in zip(*(one.weights for one in found.updates), strict=True)
    )
    game = Game(spec, dataset.test, (mean,), (1,))
    assert plain(dataset.test, own_outputs(game, 0)) > 0.8


def test_a_round_learns(round_files: RoundFiles, trained: Trained) -> None:
    """Three passes over 350 digits make useful updates, and together they are better than the worst alone."""
    counts = [Reference(Game.load(round_files)).count(mask) / 397 for mask in (1, 2, 4, 8, 15)]
    assert min(counts) > 0.6
    assert counts[4] > min(counts)
    assert sum(update.examples for update in trained.updates) == 1400


def test_model_json_is_the_seed_model(trained: Trained) -> None:
    """The round's model description is an allowed one, of the seed's shape."""
    assert parse_model(trained.model_json) == seed_spec((8, 8), 10)


def test_a_seed_reproduces_a_round(digits: Dataset, trained: Trained) -> None:
    """The same seed gives the same bits, another seed other ones."""
    again, other = (train_round(digits, "same", 4, epochs=3, seed=seed) for seed in (7, 8))
    assert again.model_json == trained.model_json
    for one, two, three in zip(trained.updates, again.updates, other.updates, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.weights, two.weights, strict=True))
        assert not any(np.array_equal(a, b) for a, b in zip(one.weights, three.weights, strict=True))


def test_clients_start_from_one_model(digits: Dataset) -> None:
    """With no pass at all every update is the same initial model."""
    updates = train_round(digits, "mix", 3, epochs=0, seed=1).updates
    assert all(
        np.array_equal(a, b)
        for update in updates
        for a, b in zip(update.weights, updates[0].weights, strict=True)
    )


@given(st.integers(1, 200), st.integers(1, 50))
def test_a_pass_takes_every_image_once(images: int, size: int) -> None:
    """All steps are of one size, each image counts once in a pass, and what fills up the last for nothing."""
    batches, counts = in_batches(np.random.default_rng(images).permutation(images), size)
    assert batches.shape == counts.shape == (-(-images // size), size)
    assert sorted(batches[counts == 1].tolist()) == list(range(images))
    assert counts.sum() == images


@pytest.mark.parametrize(("images", "clients", "size"), [(60_000, 20, 30), (1_400, 20, 8), (60_000, 2, 32)])
def test_a_batch_is_the_rounds(images: int, clients: int, size: int) -> None:
    """How many images make a step follows from the average client, so that all clients take steps of one length."""
    assert batch_of(images, clients) == size


def test_an_image_counts_alike_in_every_step(digits: Dataset) -> None:
    """One image in a batch for eight moves the weights by an eighth of what it does in a batch of its own."""
    two = Dataset("two", digits.x_train[:2], digits.y_train[:2], digits.test)
    initial, alone, of_eight = (
        train_round(two, "same", 2, epochs=epochs, seed=1, descent=Descent(batch=batch)).updates[0].weights
        for epochs, batch in ((0, 1), (1, 1), (1, 8))
    )
    for start, one, eighth in zip(initial, alone, of_eight, strict=True):
        np.testing.assert_allclose(eighth - start, (one - start) / 8, atol=1e-7)


LARGE, BATCH = 3, 30
"""Digits drawn three times as large weigh as much as MNIST's, so that a step on one image is as long as there."""


@pytest.mark.parametrize("left", range(0, 3 * BATCH, 6))
def test_equal_data_is_paid_equally_whatever_is_left_over(left: int, digits: Dataset) -> None:
    """Three clients of one distribution and 390 to 420 images each have one value, within its error by the test set."""
    order = np.random.default_rng(left).permutation(1_400)[: 3 * 13 * BATCH + left]
    test = TestSet(large(digits.test.images), digits.test.labels)
    dataset = Dataset("large", large(digits.x_train[order]), digits.y_train[order], test)
    trained = train_round(dataset, "same", 3, epochs=5, seed=left, descent=Descent(batch=BATCH))
    right = np.array([np.zeros(len(test)), *(labelled_right(trained, test, mask) for mask in range(1, 8))])
    values = np.array([[float(value) for value in shapley(game)] for game in right.T.astype(int).tolist()])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        apart = values[:, one] - values[:, other]
        assert abs(apart.mean()) <= 4 * apart.std() / len(test) ** 0.5


def large(images: np.ndarray) -> np.ndarray:
    """Every pixel as a square of pixels."""
    return np.kron(images, np.ones((1, LARGE, LARGE), np.float32))


def labelled_right(trained: Trained, test: TestSet, mask: int) -> np.ndarray:
    """On which images the members' average is right."""
    members = [update.weights for client, update in enumerate(trained.updates) if mask >> client & 1]
    average = tuple(np.mean(parts, axis=0) for parts in zip(*members, strict=True))
    game = Game(parse_model(trained.model_json), test, (average,), (1,))
    return np.asarray(own_logits(game, 0).argmax(axis=1) == test.labels)


def test_progress_is_reported(digits: Dataset) -> None:
    """Every finished pass of every client is reported, in order."""
    seen: list[tuple[int, int]] = []
    train_round(digits, "same", 2, epochs=2, report=lambda client, epochs: seen.append((client, epochs)))
    assert seen == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_round_files_make_a_game(round_files: RoundFiles, trained: Trained) -> None:
    """A round's files load into the game they describe, with weights by examples where the task says so [P-6.1]."""
    game = Game.load(round_files, [update.examples for update in trained.updates], empty=40)
    assert (game.clients, game.images, game.full, game.empty) == (4, 397, 15, 40)
    np.testing.assert_array_equal(game.updates[2][0], trained.updates[2].weights[0])


def test_a_damaged_round_names_the_client(round_files: RoundFiles) -> None:
    """A cut update is refused as that client's, and a missing model description by its path."""
    path = round_files.updates[2]
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(RoundFilesInvalid, match=r"^client 3: "):
        Game.load(round_files)
    round_files.model.unlink()
    with pytest.raises(RoundFilesInvalid) as caught:
        Game.load(round_files)
    assert caught.value.where == str(round_files.model)


@pytest.mark.parametrize(
    "limit",
    [
        "MAX_WEIGHTS",
        "MAX_ACTIVATION_BYTES",
        "MAX_COALITION_FLOP",
        "MAX_FIRST_LAYER_FLOP",
        "MAX_IMAGE_FLOP",
        "MAX_CHUNK_FLOP",
    ],
)
def test_games_beyond_a_miner_are_refused(
    limit: str, round_files: RoundFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A game that needs more memory or work than the bounds is refused before anything is computed [P-6.13]."""
    needs = {
        "MAX_WEIGHTS": 4 * (64 * 128 + 128 + 128 * 10 + 10),
        "MAX_ACTIVATION_BYTES": 4 * 4 * 397 * 128,
        "MAX_COALITION_FLOP": 2 * 397 * 128 * 10,
        "MAX_FIRST_LAYER_FLOP": 2 * 4 * 397 * 64 * 128,
        "MAX_IMAGE_FLOP": 2 * 64 * 128 + 2 * 128 * 10,
        "MAX_CHUNK_FLOP": 2 * 4 * 64 * 128,
    }
    monkeypatch.setattr(game_module, limit, needs[limit])
    Game.load(round_files)
    monkeypatch.setattr(game_module, limit, needs[limit] - 1)
    with pytest.raises(RoundFilesInvalid, match="too much"):
        Game.load(round_files)


def test_weights_fit_the_built_model(trained: Trained) -> None:
    """A Keras model built from the description takes the updates' weights."""
    model = build(parse_model(trained.model_json))
    model.set_weights(list(trained.updates[0].weights))
    assert model.output_shape == (None, 10)


def run(code: str) -> str:
    """What a fresh interpreter prints for this code."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_without_keras() -> None:
    """Where Keras is missing, training and mining say what to install, and nothing else is needed to know."""
    code = """
import sys
sys.modules["keras"] = None  # what the import system holds for a package that is not there
from ledger_store.base.errors import MissingPart
for name in ("simulation.training", "model.build", "engines.engine"):
    try:
        __import__("fedcoin_cli.learning." + name)
    except MissingPart as error:
        print(error.hint)
"""
    assert run(code).splitlines() == ["pip install 'fedcoin[mine]'"] * 3


def test_checks_need_no_keras() -> None:
    """Round files, tables, exact values and the reference are NumPy: no Keras, no TensorFlow."""
    modules = (
        *(f"model.{name}" for name in ("weights", "model")),
        *(f"simulation.{name}" for name in ("splits", "datasets")),
        *(f"reference.{name}" for name in ("reference", "update_admission")),
        *(f"shapley.{name}" for name in ("table", "checking", "sampling")),
        "coalitions.exact",
    )
    imports = "; ".join(f"import fedcoin_cli.learning.{name}" for name in modules)
    heavy = "{'keras', 'tensorflow', 'sklearn', 'scipy'}"
    assert run(f"import sys; {imports}; print(sorted({heavy} & set(sys.modules)))") == "[]"
