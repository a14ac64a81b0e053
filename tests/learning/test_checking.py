from collections.abc import Callable

import numpy as np
import pytest

from fedcoin_cli.learning.mining.checking import Checker, claims
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.memo import Memo
from fedcoin_cli.learning.mining.reference import Reference
from fedcoin_cli.learning.mining.table import Table, TableTerms, decode, encode_exact, encode_sampled


@pytest.fixture
def reference(make_game: Callable[..., Game]) -> Reference:
    return Reference(make_game(8, 300))


@pytest.fixture
def counts(reference: Reference) -> dict[int, int]:
    """The true counts of all 255 coalitions."""
    masks = range(1, 256)
    return {mask: bounds.count for mask, bounds in zip(masks, reference.intervals(masks), strict=True)}


def sampled(counts: dict[int, int]) -> Table:
    return decode(encode_sampled(counts, 8), TableTerms(8, 300, 0), exact=False)


def exact(counts: dict[int, int]) -> Table:
    return decode(encode_exact(np.array(list(counts.values()))), TableTerms(8, 300, 0), exact=True)


@pytest.mark.parametrize("kind", [sampled, exact])
def test_a_true_table_accuses_nobody(
    kind: Callable[[dict[int, int]], Table], reference: Reference, counts: dict[int, int]
) -> None:
    """Counts that are right are found right, by every kind of draw."""
    table = kind(counts)
    assert Checker(reference).wrong_masks(table, None, 60) == ()
    assert not any(Checker(reference).is_wrong(table, mask) for mask in (1, 77, 255))


@pytest.mark.parametrize("kind", [sampled, exact])
@pytest.mark.parametrize("mask", [255, 1 << 5, 255 ^ 1 << 2])
def test_a_lie_where_it_pays_most_is_always_found(
    mask: int, kind: Callable[[dict[int, int]], Table], reference: Reference, counts: dict[int, int]
) -> None:
    """A false count of the full coalition, a singleton or a co-singleton is looked at in every table."""
    table = kind(counts | {mask: counts[mask] + 9})
    assert Checker(reference).wrong_masks(table, None, 60) == (mask,)
    assert Checker(reference).is_wrong(table, mask)


def test_own_counts_point_at_a_lie(reference: Reference, counts: dict[int, int]) -> None:
    """A false count of any mask that was evaluated here is found first, the largest difference before all others."""
    memo = Memo(8)
    memo.store(list(counts), np.array(list(counts.values())))
    table = sampled(counts | {0b00111100: counts[0b00111100] - 9, 0b01010101: counts[0b01010101] + 20})
    assert memo.differing(table.masks(), table.counts, 1) == [0b01010101]
    assert set(Checker(reference).wrong_masks(table, memo, 60)) == {0b00111100, 0b01010101}


def test_claims_of_masks_that_are_not_there(counts: dict[int, int]) -> None:
    """Only masks that a table holds have claims."""
    table = sampled({mask: count for mask, count in counts.items() if mask != 200})
    assert claims(table, [1, 200, 255]) == {1: counts[1], 255: counts[255]}
