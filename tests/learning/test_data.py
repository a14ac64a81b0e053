from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcoin_cli.learning.datasets import Dataset, as_float, load
from fedcoin_cli.learning.splits import SPLITS, mix, same
from fedcoin_cli.learning.weights import TestSet
from ledger_store.errors import NotFound, RoundFilesInvalid, SettingsError


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


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("clients", [2, 3, 5, 10, 13, 40])
def test_splits_deal_every_image_once(split: str, clients: int) -> None:
    """Every training image goes to exactly one client, nobody stays empty, and a seed fixes who gets what."""
    dataset = labelled({label: 17 + label for label in range(10)})
    parts = SPLITS[split](dataset, clients, np.random.default_rng(5))
    again = SPLITS[split](dataset, clients, np.random.default_rng(5))
    other = SPLITS[split](dataset, clients, np.random.default_rng(6))
    dealt = np.concatenate([part.images.ravel() for part in parts])
    assert sorted(dealt.tolist()) == list(range(len(dataset.y_train)))
    assert len(parts) == clients
    assert min(len(part.labels) for part in parts) >= 1
    assert all(np.array_equal(one.images, two.images) for one, two in zip(parts, again, strict=True))
    assert not all(np.array_equal(one.images, two.images) for one, two in zip(parts, other, strict=True))


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


def test_more_clients_than_images() -> None:
    """Clients that could not get one image each are a setting that is out of reach."""
    with pytest.raises(SettingsError, match="too few"):
        same(labelled({0: 3, 1: 3}), 7, np.random.default_rng(0))
