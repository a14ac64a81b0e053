"""Tables: every count behind an estimate, as the bytes that travel and are hashed.

A sampled table is u(∅) of each block, u(full) of each block, then block by block and ranking by ranking the K−1 proper
coalitions on the way, each as many bytes as a block's u may need, one where it counts images. Which coalition an entry
counts follows from the task's seed, the miner's key and its place: masks are not stored. An exact table is u of the
masks 1..2^K−1 on all images, in four bytes or more. Integers are big-endian. A u has a number in either, its *entry*; a
fraud names one. Whether a count is right is the
reference's business; what follows from a table is derived here. (docs/adr/0033)
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.consensus.rankings import ranking, table_entries
from fedcoin_cli.contract.metric import LEAST_EXACT_BYTES, entry_bytes, exact_bytes
from fedcoin_cli.learning.coalitions.exact import exact_numerators
from fedcoin_cli.learning.coalitions.walks import Counts, marginal_sums, orders, prefix_masks
from ledger_store.base.errors import Malformed
from ledger_store.transaction import ZERO, Task, mask_hex

Entries = npt.NDArray[np.integer[Any]]

_KINDS: Final = (np.uint8, np.uint16, np.uint32, np.uint64)
_WALKED_AT_ONCE: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class TableTerms:
    """What a table is read against.

    K; what each block is worth at most, (blocks,), which are its images where those are counted; u(∅), and whether that
    is a baseline's; how many bytes an entry has in a sampled and in an exact table.
    """

    clients: int
    sizes: Counts
    empty: int
    baseline: bool = False
    width: int = 1
    exact_width: int = LEAST_EXACT_BYTES

    @classmethod
    def of(cls, task: Task, sizes: Counts) -> "TableTerms":
        """Of a task whose blocks are worth so much at most."""
        return cls(
            task.clients, sizes, task.empty, task.baseline != ZERO, entry_bytes(task), exact_bytes(task)
        )

    @classmethod
    def holding(cls, clients: int, sizes: Counts, empty: int, *, baseline: bool) -> "TableTerms":
        """The same without a task, as wide as the blocks need."""
        width, exact = ((int(most).bit_length() + 7) // 8 for most in (sizes.max(), sizes.sum()))
        return cls(clients, sizes, empty, baseline, max(1, width), max(LEAST_EXACT_BYTES, exact))

    @property
    def whole(self) -> int:
        """M."""
        return int(self.sizes.sum())

    @property
    def kind(self) -> npt.DTypeLike:
        """What holds an entry of a sampled table in memory."""
        return next(kind for kind in _KINDS if np.dtype(kind).itemsize >= self.width)


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
    """u of a sampled estimate: of ∅ and the full coalition in each block, (blocks,), and (blocks, rankings, K − 1)."""

    empty: Entries
    full: Entries
    walked: Entries

    def encode(self, width: int = 1) -> bytes:
        """Its bytes, so many an entry [P-12.4]."""
        return b"".join(_written(part, width) for part in (self.empty, self.full, self.walked))

    @property
    def ends(self) -> tuple[Counts, Counts]:
        """u(∅) and u(full) of each block."""
        return self.empty.astype(np.int64), self.full.astype(np.int64)


def encode_exact(counts: Counts, width: int = LEAST_EXACT_BYTES) -> bytes:
    """The table of all masks from their u (2^K − 1,), mask 1 first [P-12.5]."""
    return _written(counts, width)


def _written(entries: npt.NDArray[Any], width: int) -> bytes:
    """Integers in so many bytes each, big-endian."""
    if width == 1:
        return entries.astype(np.uint8).tobytes()
    whole = np.ascontiguousarray(entries.ravel().astype(">u8"))
    return np.ascontiguousarray(whole.view(np.uint8).reshape(-1, 8)[:, 8 - width :]).tobytes()


def _read(data: bytes, width: int) -> Entries:
    """The integers that `_written` wrote; single bytes stay what they are."""
    raw = np.frombuffer(data, np.uint8)
    if width == 1:
        return raw
    whole = np.zeros((len(raw) // width, 8), np.uint8)
    whole[:, 8 - width :] = raw.reshape(-1, width)
    return whole.view(">u8").ravel().astype(np.uint64)


def decode(data: bytes, claim: Claim, terms: TableTerms) -> Table:
    """Read a sampled table strictly [P-12.6].

    Raises:
        Malformed: a wrong length, more than the block is worth, or u(∅) above 0 where it is 0 by declaration.
    """
    clients, blocks = terms.clients, len(terms.sizes)
    if len(data) != terms.width * entries_of(claim, terms):
        raise Malformed("a table has one count for each coalition that its rankings visit in each block")
    counts = _read(data, terms.width)
    walked = counts[2 * blocks :].reshape(blocks, claim.rankings, clients - 1)
    table = Table(counts[:blocks], counts[blocks : 2 * blocks], walked)
    highest = np.maximum(np.maximum(table.empty, table.full), walked.max(axis=(1, 2), initial=0))
    # Unsigned with unsigned: eight bytes may be more than a signed integer holds.
    if (highest > terms.sizes.astype(np.uint64)).any():
        raise Malformed("the table claims more than a perfect model is worth on a block")
    if table.empty.any() and not terms.baseline:
        raise Malformed("the table has nobody be worth something, and the task has no baseline")
    return table


def decode_exact(data: bytes, terms: TableTerms) -> Counts:
    """Read an exact table strictly: the counts of the masks 1, 2, …, 2^K − 1 [P-12.6].

    Raises:
        Malformed: a wrong length, or a count above M.
    """
    if len(data) != terms.exact_width * ((1 << terms.clients) - 1):
        raise Malformed("an exact table has one count for each of the 2^K − 1 coalitions")
    counts = _read(data, terms.exact_width)
    if counts.max(initial=0) > terms.whole:
        raise Malformed("the table claims more than a perfect model is worth")
    return counts.astype(np.int64)


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
    return table_entries(terms.clients, len(terms.sizes), None if claim.exact else claim.rankings)


def entry_count(data: bytes, claim: Claim, entry: int, terms: TableTerms) -> int:
    """The count number `entry` of a table that has it."""
    width = terms.exact_width if claim.exact else terms.width
    return int.from_bytes(data[width * entry : width * (entry + 1)], "big")


def all_counts(data: bytes, claim: Claim, terms: TableTerms) -> Counts:
    """All counts of a whole table, by their entries."""
    return _read(data, terms.exact_width if claim.exact else terms.width).astype(np.int64)
