"""Tables: every count behind an estimate, as the bytes that travel and are hashed.

A sampled table is one byte a count: u(∅) of each block, u(full) of each block, then block by block and ranking by
ranking the K−1 proper coalitions on the way. Which coalition a byte counts follows from the task's seed, the miner's
key and its place: masks are not stored. An exact table is the counts of the masks 1..2^K−1 on all images, four bytes
each, big-endian. A count has a number in either, its *entry*; a fraud names one. Whether a count is right is the
reference's business; what follows from a table is derived here. (docs/adr/0033)
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.consensus.rankings import ranking
from fedcoin_cli.learning.coalitions.exact import exact_numerators
from fedcoin_cli.learning.coalitions.walks import Counts, marginal_sums, orders, prefix_masks
from ledger_store.base.errors import Malformed
from ledger_store.transaction import mask_hex

COUNT_BYTES: Final = 4
"""A count on all images, in an exact table."""

_WALKED_AT_ONCE: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class TableTerms:
    """What a table is read against: K, the images of each block, (blocks,), u(∅), and whether that is a baseline's."""

    clients: int
    sizes: Counts
    empty: int
    baseline: bool = False

    @property
    def images(self) -> int:
        """n."""
        return int(self.sizes.sum())


@dataclass(frozen=True, slots=True)
class Claim:
    """What identifies an estimate: its rankings follow from the task's seed, the miner's key and t."""

    seed: bytes
    miner_key: bytes
    rankings: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Place:
    """What an entry counts: the coalition `mask` on the images of `block`, on all images where that is None."""

    block: int | None
    mask: int

    def words(self, clients: int) -> str:
        """For people: the coalition, and in which block."""
        coalition = f"coalition {mask_hex(self.mask, clients)}"
        return coalition if self.block is None else f"{coalition} in block {self.block}"


@dataclass(frozen=True, slots=True)
class Table:
    """The counts of a sampled estimate: u(∅) and u(full) of each block, (blocks,), and (blocks, rankings, K − 1)."""

    empty: npt.NDArray[np.uint8]
    full: npt.NDArray[np.uint8]
    walked: npt.NDArray[np.uint8]

    def encode(self) -> bytes:
        """Its bytes [P-12.4]."""
        return self.empty.tobytes() + self.full.tobytes() + np.ascontiguousarray(self.walked).tobytes()

    @property
    def ends(self) -> tuple[Counts, Counts]:
        """u(∅) and u(full) of each block."""
        return self.empty.astype(np.int64), self.full.astype(np.int64)


def encode_exact(counts: Counts) -> bytes:
    """The table of all masks from their counts (2^K − 1,), mask 1 first [P-12.5]."""
    return counts.astype(">u4").tobytes()


def table_bytes(clients: int, blocks: int, rankings: int, *, exact: bool) -> int:
    """What a table of this kind weighs, to the byte."""
    if exact:
        return COUNT_BYTES * ((1 << clients) - 1)
    return blocks * (2 + rankings * (clients - 1))


def decode(data: bytes, claim: Claim, terms: TableTerms) -> Table:
    """Read a sampled table strictly [P-12.6].

    Raises:
        Malformed: a wrong length, a count above the block's images, or u(∅) above 0 where it is 0 by declaration.
    """
    clients, blocks = terms.clients, len(terms.sizes)
    if len(data) != table_bytes(clients, blocks, claim.rankings, exact=False):
        raise Malformed("a table has one count for each coalition that its rankings visit in each block")
    counts = np.frombuffer(data, np.uint8)
    walked = counts[2 * blocks :].reshape(blocks, claim.rankings, clients - 1)
    table = Table(counts[:blocks], counts[blocks : 2 * blocks], walked)
    highest = np.maximum(np.maximum(table.empty, table.full), walked.max(axis=(1, 2), initial=0))
    if (highest > terms.sizes).any():
        raise Malformed("the table claims more correct images than a block has")
    if table.empty.any() and not terms.baseline:
        raise Malformed("the table counts images for nobody, and the task has no baseline")
    return table


def decode_exact(data: bytes, terms: TableTerms) -> Counts:
    """Read an exact table strictly: the counts of the masks 1, 2, …, 2^K − 1 [P-12.6].

    Raises:
        Malformed: a wrong length, or a count above n.
    """
    if len(data) != table_bytes(terms.clients, len(terms.sizes), 0, exact=True):
        raise Malformed("an exact table has one count for each of the 2^K − 1 coalitions")
    counts = np.frombuffer(data, ">u4").astype(np.int64)
    if counts.max(initial=0) > terms.images:
        raise Malformed("the table claims more correct images than the test set has")
    return counts


def derive(data: bytes, claim: Claim, terms: TableTerms) -> tuple[int, ...]:
    """What a table says of each client: E_j = Λ·φ_j(u) of an exact one, else N_j over all blocks and t rankings.

    Raises:
        Malformed: not the table of this claim.
    """
    if claim.exact:
        return tuple(exact_numerators(decode_exact(data, terms), terms.empty, terms.clients))
    table = decode(data, claim, terms)
    return sums_of(table, claim)


def sums_of(table: Table, claim: Claim) -> tuple[int, ...]:
    """N_j of each client over the table's blocks and rankings [P-7.7]."""
    blocks, rankings, steps = table.walked.shape
    empty, full = table.ends
    at_once = max(1, _WALKED_AT_ONCE // (rankings * (steps + 1)))
    sums = [0] * (steps + 1)
    for first in range(0, blocks, at_once):
        part = slice(first, min(first + at_once, blocks))
        walked = orders(claim.seed, claim.miner_key, range(part.start, part.stop), range(rankings), steps + 1)
        more = marginal_sums(walked, table.walked[part], (empty[part], full[part]))
        sums = [total + one for total, one in zip(sums, more, strict=True)]
    return tuple(sums)


def place_of(entry: int, claim: Claim, terms: TableTerms) -> Place:
    """What the count number `entry` of a table of this claim counts [P-12.7].

    Raises:
        Malformed: the table has no such entry.
    """
    clients, blocks = terms.clients, len(terms.sizes)
    if not 0 <= entry < entries_of(claim, terms):
        raise Malformed(f"the table has no entry {entry}")
    if claim.exact:
        return Place(None, entry + 1)
    if entry < 2 * blocks:
        return Place(entry % blocks, 0 if entry < blocks else (1 << clients) - 1)
    block, within = divmod(entry - 2 * blocks, claim.rankings * (clients - 1))
    index, step = divmod(within, clients - 1)
    return Place(block, prefix_masks(ranking(claim.seed, claim.miner_key, block, index, clients))[step])


def entries_of(claim: Claim, terms: TableTerms) -> int:
    """How many counts a table of this claim holds."""
    size = table_bytes(terms.clients, len(terms.sizes), claim.rankings, exact=claim.exact)
    return size // COUNT_BYTES if claim.exact else size


def entry_count(data: bytes, claim: Claim, entry: int) -> int:
    """The count number `entry` of a table that has it."""
    if claim.exact:
        return int.from_bytes(data[COUNT_BYTES * entry : COUNT_BYTES * (entry + 1)], "big")
    return data[entry]
