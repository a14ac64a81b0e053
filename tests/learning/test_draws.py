"""Which counts of a table are looked at where nobody evaluated them: those that stand out, and how many in all."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
from fedcoin_cli.learning.mining.memo import Memo
from fedcoin_cli.learning.mining.proxy import ProxyCounts

from fedcoin_cli.learning.mining.checking import DRAWS, MOST_DISAGREEMENTS, Checker, claims, heavy_masks
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.reference import RAISE_FACTOR, Interval, Reference
from fedcoin_cli.learning.mining.table import Table, TableTerms, decode, encode_exact, encode_sampled

CLIENTS, IMAGES = 14, 200
MASKS = range(1, 1 << CLIENTS)
SEVENS = [mask for mask in MASKS if mask.bit_count() == 7]


class Known:
    """A reference and an engine for which these counts are the truth; what was asked is remembered."""

    batch = 128

    def __init__(self, game: Game, truth: Sequence[int]) -> None:
        self.game, self._truth = game, truth
        self.judged: list[int] = []
        self.factors: set[int] = set()
        self.counted: list[int] = []

    def intervals(self, masks: Sequence[int], factor: int = 1) -> list[Interval]:
        self.judged += masks
        self.factors.add(factor)
        return [Interval(count, count, count) for count in (self._truth[mask - 1] for mask in masks)]

    def counts(self, masks: Sequence[int]) -> npt.NDArray[np.int64]:
        self.counted += masks
        return np.array([self._truth[mask - 1] for mask in masks], np.int64)


class Trend:
    """A proxy that foresees every count."""

    def __init__(self, truth: Sequence[int]) -> None:
        self._truth = truth

    def counts(self, masks: Sequence[int]) -> npt.NDArray[np.float64]:
        return np.array([self._truth[mask - 1] for mask in masks], np.float64)


@pytest.fixture
def game(make_game: Callable[..., Game]) -> Game:
    return make_game(CLIENTS, IMAGES)


def table(counts: Sequence[int]) -> Table:
    return decode(encode_exact(np.array(counts)), TableTerms(CLIENTS, IMAGES, 0), exact=True)


def checker(known: Known, proxy: Trend | None = None) -> Checker:
    return Checker(cast("Reference", known), known, cast("ProxyCounts | None", proxy))


@pytest.mark.parametrize("mask", SEVENS[::700])
def test_a_count_that_stands_out_among_its_size_is_looked_at(game: Game, mask: int) -> None:
    """One false count of 3,432 of its size, all others alike: whoever draws by deviation finds it every time."""
    truth = [100 + 5 * mask.bit_count() for mask in MASKS]
    false = list(truth)
    false[mask - 1] += 5
    assert checker(Known(game, truth)).wrong_masks(table(false), None, 60) == (mask,)


@pytest.mark.parametrize("mask", SEVENS[::700])
def test_a_count_that_stands_out_from_its_trend_is_looked_at(game: Game, mask: int) -> None:
    """Where a proxy foresees how counts vary within a size, what it does not foresee is found every time."""
    truth = [100 + mask * 7919 % 41 for mask in MASKS]
    false = list(truth)
    false[mask - 1] += 5
    assert checker(Known(game, truth), Trend(truth)).wrong_masks(table(false), None, 60) == (mask,)


def test_the_heavy_masks_are_all_and_only_those() -> None:
    """The full coalition, every single client, everybody but one; each once, also where two of them are the same."""
    assert heavy_masks(1) == [1]
    assert sorted(heavy_masks(2)) == [1, 2, 3]
    assert sorted(heavy_masks(4)) == [1, 2, 4, 7, 8, 11, 13, 14, 15]


def test_claims_of_a_table_of_one_mask() -> None:
    """A mask above all that a table holds, one below, and the one that it holds."""
    held = decode(encode_sampled({4: 9}, 4), TableTerms(4, IMAGES, 0), exact=False)
    assert claims(held, [3, 4, 15]) == {4: 9}


def test_a_lie_behind_a_hundred_errors_of_ones_own_is_judged(game: Game) -> None:
    """An own engine that errs widely at 100 masks points there first; a small lie elsewhere is judged all the same."""
    truth = [100] * len(MASKS)
    own, false, lie = Memo(CLIENTS), list(truth), SEVENS[0]
    false[lie - 1] += 5
    errs = SEVENS[1:101]
    own.store([lie, *errs], np.array([100] + [150] * len(errs)))
    assert checker(Known(game, truth)).wrong_masks(table(false), own, 60) == (lie,)


def test_half_of_the_draws_go_by_weight(game: Game) -> None:
    """Where no count stands out, only the other half of the draws is made, all different; 2ε is what accuses."""
    truth = [100] * len(MASKS)
    known = Known(game, truth)
    assert checker(known).wrong_masks(table(truth), None, 60) == ()
    assert known.factors == {RAISE_FACTOR}
    assert len(known.counted) == len(set(known.counted)) == DRAWS // 2


def test_few_of_many_disagreements_are_judged(game: Game) -> None:
    """Own counts that differ from a whole table cost no more than so many looks in float64 before the heavy masks."""
    truth = [100] * len(MASKS)
    own = Memo(CLIENTS)
    own.store(list(MASKS), np.array([101] * len(MASKS)))
    known = Known(game, truth)
    assert checker(known).wrong_masks(table(truth), own, 60) == ()
    assert MOST_DISAGREEMENTS <= len(known.judged) <= MOST_DISAGREEMENTS + 2 * CLIENTS + 1
