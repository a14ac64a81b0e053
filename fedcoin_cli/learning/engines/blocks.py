"""What the kernel's users share: blocks of images, masks as words, memory on cache lines, threads over blocks."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.walks import Counts
from fedcoin_cli.learning.engines.compiled import ffi

LANES: Final = 32
"""Images in a block, as in `kernel.c`."""

BENT: Final = {"linear": 0, "relu": 1, "tanh": 2, "sigmoid": 3}
"""What activations are called in C."""

_BLOCKS_AT_ONCE: Final = 4
_LINE_BYTES: Final = 64
_KINDS: Final = {
    "float32": "float[]",
    "float64": "double[]",
    "int32": "int32_t[]",
    "uint8": "uint8_t[]",
    "uint16": "uint16_t[]",
    "uint64": "uint64_t[]",
}

Int32s = npt.NDArray[np.int32]
Work = Callable[[int, int, Int32s], None]


class BlockThreads:
    """The threads that share the blocks of one problem.

    Args:
        threads: cores to use, at least 1.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def over(self, blocks: int, number: int, prepare: Callable[[], Work]) -> Counts:
        """Counts (number,): the sum of what each thread's work adds for the ranges of blocks that it takes.

        `prepare` makes one thread's work, with memory of its own: `work(first, last + 1, counts)`.
        """
        starts = iter(range(0, blocks, _BLOCKS_AT_ONCE))  # shared: whoever is free takes the next

        def one() -> Int32s:
            counts, work = np.zeros(number, np.int32), prepare()
            for start in starts:
                work(start, min(start + _BLOCKS_AT_ONCE, blocks), counts)
            return counts

        if self._pool is None:
            return one().astype(np.int64)
        running = [self._pool.submit(one) for _ in range(self._threads)]
        counts: Counts = np.sum([each.result() for each in running], axis=0, dtype=np.int64)
        return counts


def mask_words(masks: Sequence[int], clients: int) -> npt.NDArray[np.uint64]:
    """Masks (m,) as rows of 64-bit words, the lowest clients first, (m, words)."""
    width = -(-clients // 64) * 8
    raw = b"".join(mask.to_bytes(width, "little") for mask in masks)
    return np.frombuffer(raw, "<u8").reshape(len(masks), width // 8).astype(np.uint64)


def aligned(shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Zeros that start on a cache line: a vector across two lines takes twice the time."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + _LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % _LINE_BYTES
    return raw[start : start + size].view(dtype).reshape(shape)


def pointer(array: npt.NDArray[Any]) -> Any:
    """A contiguous array as C sees it; it keeps the array's memory alive."""
    assert array.flags.c_contiguous
    kind = _KINDS[array.dtype.name]
    return ffi.from_buffer(kind, array)
