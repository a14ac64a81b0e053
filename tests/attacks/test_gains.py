"""What can be gained within the rules, in coins, and that lies do not pay."""

import numpy as np
import pytest
from attacking.gains import Bench, alone_exact, choosing_t, choosing_the_task, copied_update, false_tables
from attacking.games import small_game
from attacking.suite import PAPER, by_the_paper, pairs

from fedcoin_cli.learning.shapley.table import Claim, derive

COIN = 10**6
SHAPLEY, TRAIN = 200 * COIN, 700 * COIN


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(small_game())


def test_what_the_bench_computes_is_what_miners_would(bench: Bench) -> None:
    """Sums of many rankings come to the exact values: gains are measured on true estimates, whose tables give them."""
    sums = bench.sums(bytes(32), bytes(range(32)), 1_000)
    assert np.abs(sums[-1] / 1_000 - bench.truth).max() < 0.2
    claim = Claim(bytes(32), bytes(range(32)), 20, exact=False)
    assert derive(bench.table(claim), claim, bench.terms) == tuple(sums[19])


def test_false_tables_do_not_pay() -> None:
    """Each false count moves as much as one can, and a partner looks away: more is lost than won."""
    gain = false_tables(Bench(small_game(16)), 4, 1_000, 10, 8, step=16)
    assert gain.gained_micro < -SHAPLEY // 8


def test_a_partner_that_looks_away_hides_nothing() -> None:
    """Two of four that find each other's tables right: the honest ones name the liar, and nobody loses a coin."""
    row = next(pairs(1))  # R = 4
    assert (row["accepted"], row["loss"]) == (0, 0)


def test_choosing_t_wins_little(bench: Bench) -> None:
    """A miner that knows the exact values and picks its t wins more often than one in four, and far from always."""
    gain = choosing_t(bench, 4, 1, 60, 200)
    assert 0 < gain.gained_micro < SHAPLEY // 4


def test_whoever_is_exact_alone_takes_all(bench: Bench) -> None:
    """Two of four that share one exact computation take the whole SapPrice: said plainly, not prevented."""
    assert alone_exact(bench, 4, 2, 60, 3).gained_micro == SHAPLEY // 2


def test_foreseeing_the_seed_is_worth_something(bench: Bench) -> None:
    """A requester that picks the best of 40 tasks gains coins for its friend, and fewer when miners walk more."""
    few, many = (choosing_the_task(bench, 4, rankings, 40, 4) for rankings in (8, 200))
    assert 0 < many.gained_micro < few.gained_micro < TRAIN // 50


def test_a_copied_update_shares_its_value() -> None:
    """A weak client that hands in a strong one's update is paid about as much as that one; the others lose it."""
    gain = copied_update(small_game(), 7, 0)
    assert gain.gained_micro > 20 * COIN
    assert gain.lost_micro >= gain.gained_micro - 1


def test_every_lie_about_estimates_is_tried_on_the_paper_too() -> None:
    """The table's right half is computed: a copier comes through in all tries and costs the SapPrice."""
    row = by_the_paper("copier", 5)
    assert row is not None
    assert (row["accepted"], row["loss"]) == (5, SHAPLEY)
    assert len(PAPER) >= 10
