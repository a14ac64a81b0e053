"""The blocks of a test set: small parts of mixed labels, each of which walks rankings of its own.

A Shapley value is linear in the images, so it is the sum of the blocks' values; since the blocks' errors are
independent they cancel, where one ranking of all images is good or bad luck for all of them at once. Images of one
label, or of like targets, err together: the images are sorted by it, in an order that follows from the task's id within
one, and dealt out in turn. So blocks differ by one image at most, and no block is larger than the task says.
"""

from dataclasses import dataclass
from hashlib import shake_256
from typing import Any, Final

import numpy as np
import numpy.typing as npt

TAG: Final = b"fedcoin/v1/partition\0"

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Partition:
    """`images`: all images block after block; block b is `images[starts[b] : starts[b + 1]]`."""

    images: Indices
    starts: Indices

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def sizes(self) -> Indices:
        """Images a block, (blocks,)."""
        return np.diff(self.starts)

    def first(self, blocks: int) -> "Partition":
        """So many of its blocks."""
        return Partition(self.images[: self.starts[blocks]], self.starts[: blocks + 1])

    def block(self, number: int) -> Indices:
        """The images of one block."""
        return self.images[self.starts[number] : self.starts[number + 1]]


def block_sizes(images: int, size: int) -> Indices:
    """The images of each block of at most `size`, (blocks,): what a partition's are whatever the labels."""
    blocks = -(-images // size)
    return np.array([len(range(first, images, blocks)) for first in range(blocks)], np.int64)


def partition(labels: npt.NDArray[Any], size: int, task_id: bytes) -> Partition:
    """Deal images with these labels or targets, (n,), into blocks of at most `size`, by the bytes of a task's id.

    (docs/adr/0033) [P-6.8]
    """
    number = len(labels)
    draws = np.frombuffer(shake_256(TAG + task_id).digest(8 * number), ">u8")
    dealt = np.lexsort((draws, labels))  # stable: equal draws stay in the images' order
    sizes = block_sizes(number, size)
    # Image number p of the sorted ones goes to block p mod B: block after block, every B-th of them.
    images = np.concatenate([dealt[first :: len(sizes)] for first in range(len(sizes))])
    return Partition(images.astype(np.int64), np.concatenate([[0], np.cumsum(sizes)]))
