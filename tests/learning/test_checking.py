import itertools
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
from fedcoin_cli.learning.mining.memo import Memo

from fedcoin_cli.learning.mining.checking import DRAWS, Checker, claims, heavy_masks
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.reference import Interval, Reference
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
    assert memo.differing(table.masks(), table.counts, np.ones(255), 1) == [0b01010101]
    heavier = np.where(np.array(table.masks()) == 0b00111100, 3.0, 1.0)
    assert memo.differing(table.masks(), table.counts, heavier, 1) == [0b00111100]
    assert set(Checker(reference).wrong_masks(table, memo, 60)) == {0b00111100, 0b01010101}


def test_claims_of_masks_that_are_not_there(counts: dict[int, int]) -> None:
    """Only masks that a table holds have claims."""
    table = sampled({mask: count for mask, count in counts.items() if mask != 200})
    assert claims(table, [1, 200, 255]) == {1: counts[1], 255: counts[255]}


class Watched:
    """A reference that remembers which masks it was asked for, in order; an engine beside it may be watched, too."""

    def __init__(self, reference: Reference) -> None:
        self.game, self._reference = reference.game, reference
        self.asked: list[int] = []

    def intervals(self, masks: Sequence[int], factor: int = 1) -> list[Interval]:
        self.asked += masks
        return self._reference.intervals(masks, factor)


class Engine:
    """Right counts, and which masks were counted."""

    batch = 128

    def __init__(self, counts: dict[int, int]) -> None:
        self._counts, self.asked = counts, list[int]()

    def counts(self, masks: Sequence[int]) -> npt.NDArray[np.int64]:
        self.asked += masks
        return np.array([self._counts[mask] for mask in masks], np.int64)


def test_disagreements_come_first_then_heavy_masks_then_draws(
    reference: Reference, counts: dict[int, int]
) -> None:
    """The order in which float64 is asked; what the own engine counts alike is not asked at all."""
    watched, engine, memo = Watched(reference), Engine(counts), Memo(8)
    known = [0b00111100, 0b11]
    memo.store(known, np.array([counts[mask] - 1 for mask in known]))  # one image off: a borderline case, say
    checker = Checker(cast("Reference", watched), engine)
    assert checker.wrong_masks(sampled(counts), memo, 60) == ()
    assert set(watched.asked[:2]) == set(known)
    assert watched.asked[2:] == [mask for mask in heavy_masks(8) if mask not in known]
    assert set(engine.asked) == set(counts) - set(known)


def test_a_false_count_that_nobody_else_has_is_drawn(reference: Reference, counts: dict[int, int]) -> None:
    """Any one false count of a table that is drawn whole is found; the engine points, the reference judges."""
    for mask in (0b00111100, 0b01010101, 0b10000001):
        table = sampled(counts | {mask: counts[mask] + 9})
        assert Checker(reference, Engine(counts)).wrong_masks(table, None, 60) == (mask,)


def test_an_engine_that_errs_accuses_nobody(reference: Reference, counts: dict[int, int]) -> None:
    """Counts of the own engine decide nothing: a broken one costs time, no honest miner its pay."""
    broken = Engine({mask: (count + 7) % 300 for mask, count in counts.items()})
    assert Checker(reference, broken).wrong_masks(sampled(counts), None, 60) == ()


def test_the_budget_ends_the_draws(reference: Reference, counts: dict[int, int]) -> None:
    """Once the time is over nothing more is drawn, and one batch of disputed masks is looked at in any case."""
    engine, ticks = Engine(counts), itertools.count()
    checker = Checker(reference, engine, clock=lambda: next(ticks))
    assert checker.wrong_masks(sampled(counts), None, 0.5) == ()
    assert engine.asked == []
    memo = Memo(8)
    memo.store([77], np.array([counts[77]]))
    lie = sampled(counts | {77: counts[77] + 9})
    assert checker.wrong_masks(lie, memo, 0.5) == (77,)


def test_short_budgets_still_draw_some(make_game: Callable[..., Game]) -> None:
    """With many tables to check each gets little time: draws come in batches that begin small and double."""
    reference = Reference(make_game(12, 20))
    engine = Engine(dict.fromkeys(range(1, 1 << 12), 10))
    table = decode(encode_exact(np.full((1 << 12) - 1, 10)), TableTerms(12, 20, 0), exact=True)
    asked: list[int] = []
    checker = Checker(cast("Reference", _Everything(reference)), engine, clock=lambda: float(len(asked)))
    engine.asked = asked
    assert checker.wrong_masks(table, None, 100.0) == ()
    assert len(asked) == 64 + 128


def test_draws_go_where_the_money_is(make_game: Callable[..., Game]) -> None:
    """In a large table small and large coalitions, each of which weighs much, are drawn far more often than others."""
    reference = Reference(make_game(14, 20))
    counts = dict.fromkeys(range(1, 1 << 14), 10)
    engine = Engine(counts)
    table = decode(encode_exact(np.array(list(counts.values()))), TableTerms(14, 20, 0), exact=True)
    Checker(cast("Reference", _Everything(reference)), engine).wrong_masks(table, None, 60)
    sizes = [mask.bit_count() for mask in engine.asked]
    assert len(sizes) <= DRAWS
    pairs, sevens = sizes.count(2) / 91, sizes.count(7) / 3432
    assert pairs > 5 * sevens


class _Everything(Watched):
    """Finds every claim right."""

    def intervals(self, masks: Sequence[int], factor: int = 1) -> list[Interval]:
        return [Interval(0, 10, 20) for _ in masks]


def test_own_counts_that_are_wrong_are_seen(reference: Reference, counts: dict[int, int]) -> None:
    """Before it commits a miner looks at its heaviest counts; a wrong one is found, however many are right."""
    own = Memo(8)
    own.store(list(counts), np.array(list(counts.values())))
    assert Checker(reference).own_errors(own, 60) == ()
    for mask in (255, 1 << 3, 255 ^ 1 << 6):
        wrong = Memo(8)
        wrong.store(list(counts), np.array([count + 9 * (each == mask) for each, count in counts.items()]))
        assert Checker(reference).own_errors(wrong, 60) == (mask,)


class Margins(Watched):
    """A reference whose intervals reach one image to each side at ε, two at 2ε."""

    def interval(self, mask: int, factor: int = 1) -> tuple[int, int]:
        found = self.intervals([mask], factor)[0]
        return found.lo, found.hi

    def intervals(self, masks: Sequence[int], factor: int = 1) -> list[Interval]:
        found = self._reference.intervals(masks)
        return [Interval(one.count - factor, one.count, one.count + factor) for one in found]


@pytest.mark.parametrize(
    ("off", "raised", "accepted"), [(1, False, False), (2, False, True), (3, True, True)]
)
def test_raised_beyond_two_epsilon_accepted_beyond_one(
    off: int, raised: bool, accepted: bool, reference: Reference, counts: dict[int, int]
) -> None:
    """Who accuses is sure by twice the bound, who judges an accusation by once: no borderline count splits voters."""
    table, checker = (
        sampled(counts | {255: counts[255] - off}),
        Checker(cast("Reference", Margins(reference))),
    )
    assert checker.wrong_masks(table, None, 60) == ((255,) if raised else ())
    assert checker.is_wrong(table, 255) == accepted
