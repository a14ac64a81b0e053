"""The blocks of a test set: who is where is the task's doing alone, and every block is like every other."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcoin_cli.learning.coalitions.partition import Partition, block_sizes, partition

VECTORS = json.loads((Path(__file__).parent / "golden" / "partition.json").read_text(encoding="ascii"))
TASK = bytes(range(32))


def slow_blocks(labels: list[int], size: int, task: bytes) -> list[list[int]]:
    """The rule read literally."""
    stream = hashlib.shake_256(b"fedcoin/v1/partition\0" + task).digest(8 * len(labels))
    drawn = [int.from_bytes(stream[8 * image : 8 * image + 8], "big") for image in range(len(labels))]
    ordered = sorted(range(len(labels)), key=lambda image: (labels[image], drawn[image], image))
    number = (len(labels) + size - 1) // size
    blocks: list[list[int]] = [[] for _ in range(number)]
    for place, image in enumerate(ordered):
        blocks[place % number].append(image)
    return blocks


def as_lists(found: Partition) -> list[list[int]]:
    return [found.block(number).tolist() for number in range(len(found))]


def test_the_published_vectors_hold() -> None:
    """Blocks of these labels, sizes and tasks are the published ones, whole and as a digest [P-6.8]."""
    for item in VECTORS["blocks"]:
        found = partition(np.array(item["labels"]), item["block_images"], bytes.fromhex(item["task"]))
        assert as_lists(found) == item["blocks"]
    for item in VECTORS["digests"]:
        labels = np.arange(item["images"]) * 7 % item["labels"]
        found = partition(labels, item["block_images"], bytes.fromhex(item["task"]))
        text = ";".join(",".join(map(str, block)) for block in as_lists(found))
        assert hashlib.sha256(text.encode()).hexdigest() == item["sha256"]


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=90),
    st.integers(1, 255),
    st.binary(min_size=32, max_size=32),
)
def test_blocks_are_what_the_rule_says(labels: list[int], size: int, task: bytes) -> None:
    """For any labels, size and task: the images sorted by label and draw, dealt out in turn [P-6.8]."""
    assert as_lists(partition(np.array(labels), size, task)) == slow_blocks(labels, size, task)


@pytest.mark.parametrize("images", [1, 2, 15, 16, 17, 397, 2_000])
@pytest.mark.parametrize("size", [1, 2, 16, 255])
def test_blocks_hold_every_image_once_and_equal_parts_of_all_labels(images: int, size: int) -> None:
    """All images; blocks, and each label's parts of them, differ by one image at most; none is too large.

    A test set smaller than one block is one block.
    """
    labels = np.random.default_rng(images).choice(5, images, p=[0.5, 0.3, 0.1, 0.09, 0.01])
    found = partition(labels, size, TASK)
    assert sorted(found.images.tolist()) == list(range(images))
    assert len(found) == -(-images // size)
    assert found.sizes.tolist() == block_sizes(images, size).tolist()
    assert as_lists(found.first(1)) == as_lists(found)[:1]
    assert 1 <= found.sizes.min() <= found.sizes.max() <= min(size, found.sizes.min() + 1)
    parts = np.array([np.bincount(labels[found.block(block)], minlength=5) for block in range(len(found))])
    assert (parts.max(axis=0) - parts.min(axis=0) <= 1).all()


def test_a_task_deals_out_anew() -> None:
    """Another task's id lays out other blocks of the same images; the same id lays out the same ones."""
    labels = np.arange(200) % 10
    one, again, other = (as_lists(partition(labels, 16, task)) for task in (TASK, TASK, bytes(32)))
    assert one == again != other


def test_within_a_label_any_block_is_as_likely() -> None:
    """Over 2,000 tasks an image of four of its label lands in each of four blocks as often, within five errors."""
    labels = np.repeat([0, 1, 2], 4)
    hits = np.zeros((12, 4))
    for number in range(2_000):
        for block, images in enumerate(as_lists(partition(labels, 3, number.to_bytes(32, "big")))):
            hits[images, block] += 1
    assert np.abs(hits - 500).max() < 5 * np.sqrt(2_000 * 3 / 16)
