"""Tables whose entries have more than one byte, and sums that no float holds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcoin_cli.learning.coalitions.exact import exact_numerators, whole_sums
from fedcoin_cli.learning.coalitions.walks import marginal_sums, marginals_of
from fedcoin_cli.learning.engines.enumeration import Enumerating
from fedcoin_cli.learning.shapley.table import (
    Claim,
    Table,
    TableTerms,
    all_counts,
    decode,
    decode_exact,
    derive,
    encode_exact,
    entry_count,
)
from ledger_store.base.errors import Malformed
from ledger_store.transaction import exact_denominator

SEED, KEY = bytes(range(32)), bytes(range(32, 64))
CLIENTS, RANKINGS = 3, 2
MOST = 2**53 - 1


def claim(*, exact: bool = False) -> Claim:
    return Claim(SEED, KEY, RANKINGS, exact)


def made(most: int, seed: int = 0) -> tuple[Table, TableTerms]:
    """A table of two blocks, worth up to `most` each, and what it is read against."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most, (2, 2 + RANKINGS * (CLIENTS - 1)), endpoint=True).astype(np.uint64)
    counts[:, 1] = most
    terms = TableTerms.holding(CLIENTS, np.array([most, most], np.int64), 5, baseline=True)
    return Table(counts[:, 0], counts[:, 1], counts[:, 2:].reshape(2, RANKINGS, CLIENTS - 1)), terms


@pytest.mark.parametrize(
    ("most", "width"), [(255, 1), (256, 2), (65_520, 2), (2**24, 4), (2**32 - 1, 4), (MOST // 2, 7)]
)
def test_a_wide_table_comes_back(most: int, width: int) -> None:
    """Entries are big-endian integers of as many bytes as a block's most needs; each is read as it was written.

    [P-12.4] [P-12.12]
    """
    table, terms = made(most)
    assert terms.width == width
    data = table.encode(width)
    assert len(data) == width * 2 * (2 + RANKINGS * (CLIENTS - 1))
    again = decode(data, claim(), terms)
    for part in ("empty", "full", "walked"):
        assert getattr(again, part).tolist() == getattr(table, part).tolist()
    whole = [*table.empty.tolist(), *table.full.tolist(), *table.walked.ravel().tolist()]
    assert all_counts(data, claim(), terms).tolist() == whole
    assert [entry_count(data, claim(), entry, terms) for entry in range(len(whole))] == whole
    assert data[:width] == whole[0].to_bytes(width, "big")
    assert np.dtype(terms.kind).itemsize >= width


@pytest.mark.parametrize("most", [300, 2**32 - 2, MOST // 2 - 1])
def test_more_than_a_block_is_worth_is_refused(most: int) -> None:
    """One above the most, and all bits of an entry, are no table; the most itself is [P-12.6]."""
    table, terms = made(most)
    width = terms.width
    data = table.encode(width)
    derive(most.to_bytes(width, "big") + data[width:], claim(), terms)
    for above in (most + 1, 256**width - 1):
        with pytest.raises(Malformed, match="worth on a block"):
            derive(above.to_bytes(width, "big") + data[width:], claim(), terms)
    with pytest.raises(Malformed, match="one count for each"):
        derive(data[:-1], claim(), terms)


@pytest.mark.parametrize(("most", "width"), [(1, 4), (2**31 - 1, 4), (2**32, 5), (MOST // 2, 7)])
def test_a_wide_exact_table_comes_back(most: int, width: int) -> None:
    """Four bytes, or as many as the whole needs; one above the whole is refused [P-12.5] [P-12.12]."""
    terms = TableTerms.holding(CLIENTS, np.array([most, most], np.int64), 0, baseline=False)
    assert terms.exact_width == width
    counts = np.random.default_rng(0).integers(0, 2 * most, 7, endpoint=True)
    data = encode_exact(counts, width)
    assert len(data) == 7 * width
    assert decode_exact(data, terms).tolist() == counts.tolist()
    assert [entry_count(data, claim(exact=True), entry, terms) for entry in range(7)] == counts.tolist()
    counts[3] = 2 * most + 1
    with pytest.raises(Malformed, match="more than a perfect model is worth"):
        decode_exact(encode_exact(counts, width), terms)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-MOST, MOST)), max_size=60))
def test_sums_are_exact_however_large(pairs: list[tuple[int, int]]) -> None:
    """By place, as Python's integers add: beyond 2⁵³ a float would round."""
    places = np.array([place for place, _ in pairs], np.int64)
    values = np.array([value for _, value in pairs], np.int64)
    expected = [sum(value for place, value in pairs if place == wanted) for wanted in range(4)]
    assert whole_sums(places, values, 4) == expected


def test_marginals_and_values_of_large_wholes_are_exact() -> None:
    """Sampled sums and exact numerators of u near 2⁵³ telescope to u(full) − u(∅) to the unit [P-7.7] [P-7.8]."""
    table, _ = made(2**40)
    walked = np.array([[[0, 1, 2], [2, 0, 1]], [[1, 2, 0], [0, 2, 1]]], np.uint16)
    ends = table.ends
    sums = marginal_sums(walked, table.walked, ends)
    assert sum(sums) == RANKINGS * int((ends[1] - ends[0]).sum())
    assert marginals_of(walked, table.walked, ends).sum(axis=0).tolist() == sums
    counts = np.random.default_rng(1).integers(0, MOST, 2**10 - 1)
    values = exact_numerators(counts, 3, 10)
    assert sum(values) == exact_denominator(10) * (int(counts[-1]) - 3)


class Large:
    """An engine whose coalitions are worth more than 32 bits hold."""

    batch = 4

    def counts(self, masks: Sequence[int]) -> np.ndarray:
        return np.array([2**40 + mask for mask in masks], np.int64)


def test_large_worths_are_enumerated_and_survive(tmp_path: Path) -> None:
    """What does not fit into 32 bits is kept in 64, in memory and on disk; a file of the other kind is not believed."""
    path = tmp_path / "all"
    one = Enumerating(Large(), 5, 2**41)
    while one.done < one.total:
        one.step()
    assert one.counts().tolist() == [2**40 + mask for mask in range(1, 32)]
    one.save(path)
    again = Enumerating(Large(), 5, 2**41)
    again.restore(path)
    assert (again.done, again.counts().tolist()) == (31, one.counts().tolist())
    narrow = Enumerating(Large(), 5, 2**20)
    narrow.restore(path)
    assert narrow.done == 0
