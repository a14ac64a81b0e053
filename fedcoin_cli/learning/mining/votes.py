"""The C kernel for the proxy: integer sums over members, and on how many images the true class leads.

Whatever it gives, `proxy` gives without it as well, image for image.
"""

import numpy as np

from fedcoin_cli.learning.mining.blocks import LANES, BlockThreads, Int32s, Work, aligned, mask_words, pointer
from fedcoin_cli.learning.mining.compiled import library
from fedcoin_cli.learning.mining.walks import Counts, Keys


class Votes:
    """Counts of images where offset + Σ leads ≥ 0 for all other classes.

    Args:
        offsets: (classes−1, 1, n), 0 or −1.
        leads: (classes−1, K, n), such that no sum leaves 32 bits.
        threads: cores to use.
    """

    def __init__(self, offsets: Int32s, leads: Int32s, threads: int) -> None:
        self._functions = library()
        self._threads = BlockThreads(threads)
        self._clients = leads.shape[1]
        # Images that fill the last block trail by one, with everybody's leads at 0.
        self._base = _in_blocks(offsets, -1)
        self._leads = _in_blocks(leads, 0)

    def counts(self, keys: Keys) -> Counts:
        """p of the non-empty coalitions with these keys (m,)."""
        words = mask_words(keys, self._clients)
        blocks, _, units, _ = self._leads.shape

        def prepare() -> Work:
            stack = np.zeros((self._clients + 2, words.shape[1]), np.uint64)
            sums = aligned((self._clients + 1, units, LANES), np.int32)

            def work(first: int, last: int, counts: Int32s) -> None:
                self._functions.fedcoin_votes(
                    *(pointer(self._leads), pointer(self._base), first, last, self._clients, units),
                    *(pointer(words), words.shape[1], len(words)),
                    *(pointer(stack), pointer(sums), pointer(counts)),
                )

            return work

        return self._threads.over(blocks, len(words), prepare)


def _in_blocks(values: Int32s, rest: int) -> Int32s:
    """(classes−1, clients, n) as (blocks, clients, classes−1, LANES)."""
    others, clients, images = values.shape
    blocks = -(-images // LANES)
    padded = np.full((others, clients, blocks * LANES), rest, np.int32)
    padded[:, :, :images] = values
    target: Int32s = aligned((blocks, clients, others, LANES), np.int32)
    target[:] = padded.reshape(others, clients, blocks, LANES).transpose(2, 1, 0, 3)
    return target
