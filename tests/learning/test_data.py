from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.simulation.datasets import Dataset, as_float, load
from fedcoin_cli.learning.simulation.splits import SPLITS, mix, noisex, noisey, same, split_of, types, weight
from ledger_store.base.errors import NotFound, RoundFilesInvalid, SettingsError


def labelled(counts: dict[int, int]) -> Dataset:
    """A data set of one-pixel images that carry their own number, with so many of each label."""
    labels = np.repeat(list(counts), list(counts.values())).astype(np.int32)
    images = np.arange(len(labels), dtype=np.float32)[:, None]
    return Dataset("made", images, labels, TestSet(images[:1], labels[:1]))


def test_digits() -> None:
    """The embedded digits are divided once and for all: 1,400 to train on, 397 to judge by, all ten labels in both."""
    digits = load("digits")
    assert digits.x_train.shape == (1400, 8, 8)
    assert digits.test.images.shape == (397, 8, 8)
    assert (digits.classes, digits.input_shape) == (10, (8, 8))
    assert set(digits.test.labels.tolist()) == set(range(10)) == set(digits.y_train.tolist())
    assert 0 <= digits.x_train.min() < digits.x_train.max() == 1
    np.testing.assert_array_equal(digits.x_train, load("digits").x_train)


def test_npz(tmp_path: Path) -> None:
    """A named .npz keeps uint8 pixels, which mean x/255."""
    images = np.array([[[0, 255]], [[51, 102]]], np.uint8)
    path = tmp_path / "own.npz"
    np.savez(path, x_train=images, y_train=np.array([0, 1], np.uint8), x_test=images, y_test=np.array([1, 1]))
    loaded = load(str(path))
    assert loaded.name == "own"
    assert loaded.x_train.dtype == np.uint8
    assert loaded.test.labels.dtype == np.int32
    assert as_float(loaded.x_train).ravel().tolist() == pytest.approx([0, 1, 0.2, 0.4])


def test_npz_refusals(tmp_path: Path) -> None:
    """Pickled objects, missing arrays, odd labels and files that are no archive are refused as bad files."""
    good = {
        "x_train": np.zeros((2, 3)),
        "y_train": np.zeros(2, int),
        "x_test": np.zeros((2, 3)),
        "y_test": np.zeros(2, int),
    }
    bad: list[dict[str, Any]] = [
        {name: array for name, array in good.items() if name != "y_test"},
        good | {"x_train": np.array([object(), object()])},
        good | {"y_train": np.zeros(3, int)},
        good | {"y_train": np.array([0, -1])},
        good | {"y_test": np.array([0.5, 0.5])},
        good | {"x_test": np.zeros((2, 4))},
        good | {"x_test": np.full((2, 3), np.nan)},
    ]
    for number, arrays in enumerate(bad):
        path = tmp_path / f"{number}.npz"
        np.savez(path, **arrays)
        with pytest.raises(RoundFilesInvalid):
            load(str(path))
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK\x03\x04 not a whole archive")
    with pytest.raises(RoundFilesInvalid):
        load(str(broken))


def test_unknown_data_set(tmp_path: Path) -> None:
    """A name that is neither built in nor a file is not found, and the hint says what would be."""
    with pytest.raises(NotFound) as caught:
        load(str(tmp_path / "none.npz"))
    assert "digits" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "people", "signs", "cases"), [("nafld", 17_549, 5, 1_364), ("default", 10_000, 3, 333)]
)
def test_tables_of_people(name: str, people: int, signs: int, cases: int) -> None:
    """Everybody once, scaled by the training part alone; what nobody measured is the mean."""
    found = load(name)
    assert found.name == name
    assert len(found.y_train) + len(found.test) == people
    assert int(found.y_train.sum() + found.test.labels.sum()) == cases
    assert found.input_shape == (signs,)
    assert found.classes == 2
    assert np.abs(found.x_train.mean(axis=0)).max() < 1e-3
    assert found.x_train.std(axis=0).max() == pytest.approx(1, abs=1e-3)
    assert load(name).digest == found.digest


def test_prices_of_diamonds() -> None:
    """Real-valued targets, every diamond once, in thousands of dollars."""
    found = load("diamonds")
    assert (found.real, found.outputs, found.input_shape) == (True, 1, (6,))
    assert found.y_train.dtype == found.test.labels.dtype == np.float32
    assert len(found.y_train) + len(found.test) == 53_940
    assert float(found.y_train.min()) == pytest.approx(0.326)
    assert load("diamonds").digest == found.digest


def targeted(images: int = 200) -> Dataset:
    """One-pixel images that carry their own number, each with a target of its own."""
    targets = np.random.default_rng(0).permutation(images).astype(np.float32)
    pixels = np.arange(images, dtype=np.float32)[:, None]
    return Dataset("made", pixels, targets, TestSet(pixels[:1], targets[:1]))


def test_targets_are_divided_by_their_tenths() -> None:
    """The lowest tenth stands for label 0: `mix` gives each client most of its own, and everything once."""
    dataset = targeted()
    assert np.bincount(dataset.strata).tolist() == [20] * 10
    assert dataset.y_train[dataset.strata == 0].max() == 19
    parts = SPLITS["mix"](dataset, 5, np.random.default_rng(1))
    dealt = np.concatenate([part.images.ravel() for part in parts])
    assert sorted(dealt.tolist()) == list(range(200))
    for number, part in enumerate(parts):
        own = (part.labels >= 40 * number) & (part.labels < 40 * number + 40)
        assert own.mean() == pytest.approx(0.8)
        assert (part.labels == dataset.y_train[part.images.ravel().astype(int)]).all()
        assert (part.strata == dataset.strata[part.images.ravel().astype(int)]).all()


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_takes_targets(split: str) -> None:
    """Nobody stays empty, and targets stay targets; with `noisey` some are those of other images."""
    parts = SPLITS[split](targeted(), 6, np.random.default_rng(2))
    assert min(len(part.labels) for part in parts) >= 1
    assert {part.labels.dtype for part in parts} == {np.dtype(np.float32)}


def test_a_file_of_targets(tmp_path: Path) -> None:
    """Floats as y are targets, finite and of both parts; a model of several outputs cannot learn them."""
    path, x, y = tmp_path / "own.npz", np.zeros((6, 2), np.float32), np.linspace(0, 1, 6)
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    found = load(str(path))
    assert found.real
    assert found.y_train.dtype == np.float32
    with pytest.raises(SettingsError, match="3 outputs cannot learn one target an image"):
        found.check_labels(3)
    for wrong in (np.full(6, np.nan), np.full(6, 1e7), np.arange(6)):
        np.savez(path, x_train=x, y_train=y, x_test=x, y_test=wrong)
        with pytest.raises(RoundFilesInvalid):
            load(str(path))


def test_rare_leaves_the_last_client_without_a_case() -> None:
    """`rare`: 60% of the rarest label's images are the first client's, the last has none of it."""
    parts = SPLITS["rare"](labelled({0: 600, 1: 100}), 6, np.random.default_rng(0))
    assert [np.bincount(part.labels, minlength=2).tolist() for part in parts] == [
        [100, 60],
        *[[100, 10]] * 4,
        [100, 0],
    ]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("clients", [2, 3, 10, 40])
def test_a_seed_fixes_a_split(split: str, clients: int) -> None:
    """The same seed gives the same images, noise and labels, another seed others; nobody stays empty."""
    dataset = labelled({label: 17 + label for label in range(10)})
    one, two, other = (SPLITS[split](dataset, clients, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert len(one) == len(other) == clients
    assert min(len(part.labels) for part in [*one, *other]) >= 1
    for part, again in zip(one, two, strict=True):
        np.testing.assert_array_equal(part.images, again.images)
        np.testing.assert_array_equal(part.labels, again.labels)
    assert not all(np.array_equal(part.images, new.images) for part, new in zip(one, other, strict=True))


@pytest.mark.parametrize("split", ["same", "mix", "weight", "noisey", "rare", "dirichlet"])
@pytest.mark.parametrize("clients", [2, 3, 5, 10, 13, 40])
def test_splits_deal_every_image_once(split: str, clients: int) -> None:
    """Every training image goes to exactly one client."""
    dataset = labelled({label: 17 + label for label in range(10)})
    parts = SPLITS[split](dataset, clients, np.random.default_rng(5))
    dealt = np.concatenate([part.images.ravel() for part in parts])
    assert sorted(dealt.tolist()) == list(range(len(dataset.y_train)))


def test_same_is_the_same_for_all() -> None:
    """`same`: every client has every label equally often."""
    dataset = labelled(dict.fromkeys(range(10), 50))
    for part in same(dataset, 5, np.random.default_rng(0)):
        assert np.bincount(part.labels).tolist() == [10] * 10


def test_mix_is_the_papers_recipe() -> None:
    """`mix` with 5 clients and 10 labels: client i has 80% of digits 2i and 2i+1 and 5% of each other digit."""
    dataset = labelled(dict.fromkeys(range(10), 100))
    for client, part in enumerate(mix(dataset, 5, np.random.default_rng(0))):
        expected = [5] * 10
        expected[2 * client : 2 * client + 2] = [80, 80]
        assert np.bincount(part.labels, minlength=10).tolist() == expected


def test_mix_with_more_clients_than_labels() -> None:
    """`mix` with 4 clients and 2 labels: two owners share a label's 80%, the other two its 20%."""
    dataset = labelled({0: 100, 1: 100})
    counts = [np.bincount(part.labels).tolist() for part in mix(dataset, 4, np.random.default_rng(0))]
    assert counts == [[40, 10], [40, 10], [10, 40], [10, 40]]


def test_weight_is_the_papers_recipe() -> None:
    """`weight` with 5 clients: sizes 2 : 3 : 4 : 5 : 6 of every label, and in equal steps for any other number."""
    dataset = labelled(dict.fromkeys(range(10), 200))
    for client, part in enumerate(weight(dataset, 5, np.random.default_rng(0))):
        assert np.bincount(part.labels).tolist() == [20 + 10 * client] * 10
    sizes = [len(part.labels) for part in weight(dataset, 9, np.random.default_rng(0))]
    assert sizes == pytest.approx(np.linspace(2, 6, 9) * 2000 / 36, abs=10)


def test_noisex_is_the_papers_recipe() -> None:
    """`noisex` with 5 clients: noise of 0.05·i in pixels of 0 to 1, on the images that `same` deals."""
    dataset = labelled({0: 25_000, 1: 25_000})
    grey = Dataset("grey", np.full((50_000, 2), 51, np.uint8), dataset.y_train, dataset.test)
    for client, part in enumerate(noisex(grey, 5, np.random.default_rng(0))):
        assert part.images.dtype == np.float32
        assert part.images.mean() == pytest.approx(0.2, abs=0.01)
        assert part.images.std() == pytest.approx(0.05 * client, rel=0.02, abs=1e-6)
        assert np.bincount(part.labels).tolist() == [5_000, 5_000]


def test_noisey_is_the_papers_recipe() -> None:
    """`noisey` with 5 clients: 0, 5, 10, 15 and 20% of the labels are wrong, by any of the nine others."""
    dataset = labelled(dict.fromkeys(range(10), 1_000))
    for client, part in enumerate(noisey(dataset, 5, np.random.default_rng(0))):
        off = (part.labels - dataset.y_train[part.images.ravel().astype(int)]) % 10
        assert (off > 0).mean() == pytest.approx(0.05 * client)
        assert client == 0 or set(off.tolist()) == set(range(10))


def test_types_are_the_papers() -> None:
    """`types` with 100 clients: ten of each type, type j drawing equally from the first 10 − j labels."""
    dataset = labelled(dict.fromkeys(range(10), 1_000))
    parts = types(dataset, 100, np.random.default_rng(0))
    assert {len(part.labels) for part in parts} == {100}
    for kind in range(10):
        drawn = np.bincount(np.concatenate([part.labels for part in parts[10 * kind : 10 * kind + 10]]))
        assert len(drawn) == 10 - kind
        assert drawn == pytest.approx(np.full(10 - kind, 1_000 / (10 - kind)), rel=0.3)


@pytest.mark.parametrize(("alpha", "spread"), [("0.1", 0.27), ("1", 0.15), ("100", 0.02)])
def test_dirichlet_draws_each_labels_shares(alpha: str, spread: float) -> None:
    """`dirichlet:α`: a label's share of one of five clients has mean 1/5 and Dirichlet(α)'s standard deviation."""
    dataset = labelled(dict.fromkeys(range(400), 50))
    parts = split_of(f"dirichlet:{alpha}")(dataset, 5, np.random.default_rng(0))
    shares = np.array([np.bincount(part.labels, minlength=400) for part in parts]) / 50
    assert shares.mean() == pytest.approx(0.2)
    expected = (0.2 * 0.8 / (1 + 5 * float(alpha))) ** 0.5
    # The last image of a label goes to one client or another.
    assert shares.std() == pytest.approx(expected, rel=0.1, abs=0.006)
    assert shares.std() == pytest.approx(spread, abs=0.06)


@pytest.mark.parametrize(
    "case", ["dirichlet:0", "dirichlet:nan", "dirichlet:", "dirichlet:x", "same:1", "none"]
)
def test_cases_that_are_none(case: str) -> None:
    """A split or alpha that does not exist is refused, and what there is named."""
    with pytest.raises(SettingsError) as caught:
        split_of(case)
    assert "choose" in caught.value.hint


@pytest.mark.parametrize("split", SPLITS)
def test_more_clients_than_images(split: str) -> None:
    """Clients that could not get one image each are a setting that is out of reach."""
    with pytest.raises(SettingsError, match="too few"):
        SPLITS[split](labelled({0: 3, 1: 3}), 7, np.random.default_rng(0))


def test_a_refusal_lists_the_arrays(tmp_path: Path) -> None:
    """Who gives arrays that do not fit is told which ones are read, and not sent to a page that lists none."""
    path = tmp_path / "data.npz"
    images, labels = np.zeros((4, 2, 2), np.float32), np.zeros(4, np.int32)
    np.savez(path, x_train=images, y_train=labels[:3], x_test=images, y_test=labels)
    with pytest.raises(RoundFilesInvalid) as caught:
        load(str(path))
    assert "x_train, y_train, x_test, y_test" in str(caught.value.hint)
