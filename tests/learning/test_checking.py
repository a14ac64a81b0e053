"""Checking tables: honest ones are never accused, false ones are found, and what accuses is the reference alone."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
from block_games import BlockGame, KnownReference, random_game

from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.coalitions.walks import orders
from fedcoin_cli.learning.game.game import Game, member_bits
from fedcoin_cli.learning.game.utility import Utility
from fedcoin_cli.learning.reference.reference import RAISE_FACTOR, Reference
from fedcoin_cli.learning.shapley import checking
from fedcoin_cli.learning.shapley.checking import Checker
from fedcoin_cli.learning.shapley.exact_look import DRAWN_MASKS, MOST_DISAGREEMENTS, heavy_masks
from fedcoin_cli.learning.shapley.judging import CountJudge, Engines
from fedcoin_cli.learning.shapley.table import (
    Claim,
    Place,
    Table,
    encode_exact,
    entries_of,
    place_of,
)
from ledger_store.base.errors import Malformed

SEED, KEY = bytes(range(32)), bytes(range(32, 64))
Counts = npt.NDArray[np.int64]
Make = Callable[..., Game]


def claim(rankings: int, key: bytes = KEY, *, exact: bool = False) -> Claim:
    return Claim(SEED, key, rankings, exact)


def sampled(game: BlockGame, rankings: int, key: bytes = KEY) -> bytearray:
    """The table of an honest miner, to be edited."""
    blocks = range(len(game.sizes))
    walked = game.walk(blocks, orders(SEED, key, blocks, range(rankings), game.clients))
    empty, full = game.ends()
    return bytearray(Table(empty.astype(np.uint8), full.astype(np.uint8), walked).encode())


class Wholes:
    """An engine of whole coalitions by look-up; what it was asked for is in `counted`."""

    batch = 128

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts, self.counted = np.array(counts, np.int64), list[int]()

    def counts(self, masks: Sequence[int]) -> Counts:
        self.counted += masks
        return np.asarray(self._counts[list(masks)])


def engines(walker: BlockGame, utility: Wholes | None = None) -> Engines:
    return Engines(lambda: walker, lambda: cast("Utility", utility))


def checker(
    game: BlockGame,
    known: KnownReference | None = None,
    own: Engines | None = None,
    clock: Callable[[], float] | None = None,
    seed: int = 0,
) -> Checker:
    """A checker whose draws follow from `seed`."""
    known = known or KnownReference(game)
    made = Checker(
        cast("Reference", known), game.terms, known.partition, own, clock or itertools.repeat(0.0).__next__
    )
    made._random = np.random.default_rng(seed)
    return made


# Honest tables -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def near_game() -> BlockGame:
    """Counts of a game in 8 blocks of 12 images."""
    return random_game(5, [12] * 8, seed=1)


def test_honest_tables_are_never_accused(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 miners whose counts lie anywhere within ε of what is right: no check and no judge accuses one of them.

    Their checkers count otherwise, too, or have no engine at all. [P-6.7]
    """
    monkeypatch.setattr(checking, "DRAWN_RANKINGS", 100)  # more draws look at the same few entries again
    draw = np.random.default_rng(0)
    game = random_game(4, [12] * 4, seed=9)
    slack = draw.integers(0, 3, game.counts.shape)
    slack[:, 0] = 0

    def wavering() -> BlockGame:
        off = draw.integers(-slack, slack + 1)
        return replace(game, counts=np.clip(game.counts + off, 0, 12))

    known = KnownReference(game, slack)
    for number in range(1_000):
        key = number.to_bytes(32, "big")
        data, made = bytes(sampled(wavering(), 3, key)), claim(3, key)
        one = checker(game, known, engines(wavering()) if number % 3 else None, seed=number)
        assert one.wrong_entries(data, made, 60) == ()
        assert one.own_errors(data, made, 60) == ()
        assert not any(one.is_wrong(data, made, entry) for entry in draw.integers(0, len(data), 3).tolist())
    assert known.factors == {1, RAISE_FACTOR}


def test_an_engine_that_errs_accuses_nobody(near_game: BlockGame) -> None:
    """Counts of the own engine decide nothing: a broken one costs time, no honest miner its pay [P-8.16]."""
    broken = replace(near_game, counts=12 - near_game.counts)
    data = bytes(sampled(near_game, 20))
    assert checker(near_game, own=engines(broken)).wrong_entries(data, claim(20), 60) == ()


class Counting(BlockGame):
    """A walker that counts coalitions of a block alone, too."""

    coalitions = 1

    def count(self, block: int, members: np.ndarray) -> Counts:
        masks = members.astype(np.int64) @ (1 << np.arange(self.clients))
        return np.asarray(self.counts[block, masks])


@pytest.mark.parametrize(
    ("mask", "exact"), [(0, False), (1, False), (21, False), (31, False), (1, True), (21, True)]
)
@pytest.mark.parametrize("proven", [False, True])
def test_what_the_own_engine_counts_as_well_is_false_where_bounds_are_proven(
    mask: int, exact: bool, proven: bool
) -> None:
    """An engine that errs in one coalition: who says the same is accused of a chain's count alone [P-6.26]."""
    right = random_game(5, [12] * 3, seed=4, baseline=True)
    off = right.counts.copy()
    off[1, mask] = (off[1, mask] + 5) % 13
    known, erring = KnownReference(right), Counting(right.sizes, off, baseline=True)
    known.proven = proven
    one = checker(right, known, engines(erring, Wholes(erring.whole)))
    if exact:
        made, entry = claim(1, exact=True), mask - 1
        counts = np.array(erring.whole[1:])
        said = encode_exact(counts)
        counts[entry] -= 1
        lie = encode_exact(counts)
    else:
        made, table = claim(40), sampled(erring, 40)
        said, places = bytes(table), range(len(table))
        entry = next(each for each in places if place_of(each, made, right.terms) == Place(1, mask))
        table[entry] = (table[entry] + 1) % 13
        lie = bytes(table)
    assert one.is_wrong(said, made, entry) == proven
    assert one.is_wrong(lie, made, entry)
    assert proven or one.own_errors(said, made, 1e9) == ()
    assert one.wrong_entries(lie, made, 1e9, np.array(erring.whole[1:]) if exact else None) != ()


def test_what_the_own_engine_counts_alike_is_not_judged(near_game: BlockGame) -> None:
    """The reference is asked only where claim and own count differ: the rest costs no float64 [P-8.16]."""
    known, data = KnownReference(near_game, 5), sampled(near_game, 20)
    data[16 + 7] ^= 1
    one = checker(near_game, known, engines(near_game))
    for _ in range(20):
        assert one.wrong_entries(bytes(data), claim(20), 60) == ()
    place = place_of(16 + 7, claim(20), near_game.terms)
    assert set(known.judged) == {(place.block, place.mask)}


# False tables --------------------------------------------------------------------------------------------------------


def faked(game: BlockGame, data: bytearray, entries: Counts) -> bytes:
    """Half of each block's images further on, and still no more than it has."""
    counts, sizes = np.frombuffer(data, np.uint8).copy(), int(game.sizes.min())
    counts[entries] = (counts[entries] + sizes // 2) % (sizes + 1)
    return counts.tobytes()


@pytest.mark.parametrize(("blocks", "rankings"), [(300, 126), (100, 10)])
@pytest.mark.parametrize("shape", ["spread", "rankings"])
def test_few_false_counts_are_found(shape: str, blocks: int, rankings: int) -> None:
    """0.2% false entries, spread out or whole rankings of single blocks, are found in 99 of 100 trials of 200.

    What is found is false, and any judge agrees. [P-8.14]
    """
    game = random_game(6, [16] * blocks, seed=2)
    data, steps, number = sampled(game, rankings), 5, blocks * rankings
    found = 0
    for seed in range(200):
        draw = np.random.default_rng([7, seed])
        if shape == "spread":
            entries = 2 * blocks + draw.choice(steps * number, steps * number // 500, replace=False)
        else:
            chosen = draw.choice(number, number // 500, replace=False)
            entries = 2 * blocks + (steps * chosen[:, None] + np.arange(steps)).ravel()
        false = faked(game, data, entries)
        one = checker(game, own=engines(game), seed=seed)
        wrong = one.wrong_entries(false, claim(rankings), 60)
        found += bool(wrong)
        assert set(wrong) <= set(entries.tolist())
        assert all(one.is_wrong(false, claim(rankings), entry) for entry in wrong)
    assert found >= 198


@pytest.mark.parametrize("own", [True, False])
def test_a_false_end_is_always_found(own: bool) -> None:
    """u(∅) or u(full) of any one block, by an image: looked at in every table, with an engine and without one.

    [P-8.14]
    """
    game = random_game(5, [16] * 40, seed=3, baseline=True)
    known = KnownReference(game)
    known.game.baseline = ()
    for entry in range(80):
        data = sampled(game, 4)
        data[entry] += 1 if data[entry] < 16 else -1
        one = checker(game, known, engines(game) if own else None, seed=entry)
        # Nobody's count with a baseline is judged by the game of the baseline alone.
        one._judge.__dict__["_baseline"] = Alone(game, known)
        assert one.wrong_entries(bytes(data), claim(4), 1e9) == (entry,)
        assert one.is_wrong(bytes(data), claim(4), entry)


class Alone:
    """A baseline's game, whose only coalition counts what nobody counts in the game."""

    def __init__(self, game: BlockGame, known: KnownReference) -> None:
        self._game, self._known = game, known

    def block_intervals(self, positions: Counts, members: npt.NDArray[np.uint8], factor: int = 1) -> Counts:
        assert members.tolist() == [[1]]
        block = int(np.searchsorted(self._known.partition.starts, positions[0], side="right")) - 1
        return np.full((1, 3), self._game.counts[block, 0])


def test_any_one_false_count_of_a_small_table_is_found(near_game: BlockGame) -> None:
    """Where draws reach the whole table, one false entry is found, and named once; by its owner as well."""
    for entry in range(16, 16 + 8 * 3 * 4, 7):
        false = faked(near_game, sampled(near_game, 3), np.array([entry]))
        one = checker(near_game, own=engines(near_game))
        assert one.wrong_entries(false, claim(3), 60) == (entry,)
        assert one.own_errors(false, claim(3), 60) == (entry,)


def test_what_is_no_table_is_malformed(near_game: BlockGame) -> None:
    """A cut table, and one with a count above a block's images, are not looked into."""
    data = sampled(near_game, 3)
    one = checker(near_game, own=engines(near_game))
    for bad in (bytes(data[:-1]), bytes([*data[:20], 13, *data[21:]])):
        for look in (one.wrong_entries, one.own_errors):
            with pytest.raises(Malformed):
                look(bad, claim(3), 60)


@pytest.mark.parametrize("exact", [False, True])
def test_an_accusation_of_no_entry_is_malformed(exact: bool, near_game: BlockGame) -> None:
    """Who accuses an entry beyond the table has said nothing; the last entry is one."""
    data = encode_exact(np.array(near_game.whole[1:])) if exact else bytes(sampled(near_game, 3))
    made = claim(3, exact=exact)
    most = entries_of(made, near_game.terms)
    one = checker(near_game)
    assert not one.is_wrong(data, made, most - 1)
    for entry in (-1, most, 2**40):
        with pytest.raises(Malformed):
            one.is_wrong(data, made, entry)


@pytest.mark.parametrize(
    ("off", "raised", "accepted"), [(1, False, False), (2, False, True), (3, True, True)]
)
@pytest.mark.parametrize("exact", [False, True])
def test_raised_beyond_two_epsilon_accepted_beyond_one(
    off: int, raised: bool, accepted: bool, exact: bool
) -> None:
    """Who accuses is sure by twice the bound, who judges an accusation by once: no borderline count splits voters.

    [P-6.7]
    """
    game = random_game(4, [16], seed=5)
    game.counts[:, -1] = 8
    slack = np.zeros_like(game.counts)
    slack[:, -1] = 1
    one = checker(game, KnownReference(game, slack))
    made = claim(3, exact=exact)
    if exact:
        data, entry = encode_exact(np.array([*game.whole[1:-1], 8 - off])), 14
    else:
        edited, entry = sampled(game, 3), 1
        edited[1] -= off
        data = bytes(edited)
    assert one.wrong_entries(data, made, 60) == ((entry,) if raised else ())
    assert one.is_wrong(data, made, entry) == accepted


def test_the_budget_ends_the_draws() -> None:
    """Once the time is over nothing more is drawn, and the first disputed entry is judged in any case [P-8.14]."""
    ticks = itertools.count()
    game = random_game(5, [16] * 1_000, seed=4)
    known = KnownReference(game)
    false = faked(game, sampled(game, 9), np.arange(1_000, 2_000 + 9 * 4 * 1_000))
    one = checker(game, known, engines(game), clock=lambda: float(next(ticks)))
    assert len(one.wrong_entries(false, claim(9), 0.5)) == len(known.judged) == 1
    known.judged.clear()
    assert one.wrong_entries(bytes(sampled(game, 9)), claim(9), 0.5) == ()
    assert known.judged == []


# Real games ----------------------------------------------------------------------------------------------------------


def test_places_of_a_real_game_are_judged_one_by_one(make_game: Make) -> None:
    """Bounds of any mixture of places, nobody's with and without a baseline among them: as looked up one by one."""
    game = make_game(5, 70)
    for baseline in (None, game.updates[2]):
        reference = Reference(replace(game, baseline=baseline))
        blocks = partition(game.test.labels, 16, bytes(32))
        judge = CountJudge(reference, blocks)
        draw = np.random.default_rng(0)
        places = [Place(int(draw.integers(5)), int(draw.integers(32))) for _ in range(60)]
        places += [Place(None, 9), Place(0, 0), Place(None, 31), Place(0, 0), Place(0, 31)]
        for factor in (1, 2):
            for place, found in zip(places, judge.intervals(places, factor), strict=True):
                if place.block is None:
                    assert found == reference.intervals([place.mask], factor)[0]
                    continue
                positions = blocks.block(place.block)
                if place.mask:
                    members = member_bits([place.mask], 5)
                    expected = reference.block_intervals(positions, members, factor)[0].tolist()
                elif baseline is None:
                    expected = [0, 0, 0]
                else:
                    alone = Reference(game.of_update(baseline))
                    expected = alone.block_intervals(positions, np.ones((1, 1), np.uint8), factor)[0].tolist()
                assert [found.lo, found.count, found.hi] == expected


def test_a_table_of_a_real_game(make_game: Make) -> None:
    """Counts of the reference make a table that nobody accuses; under another key the same bytes are found false."""
    game = make_game(6, 150)
    reference = Reference(game)
    blocks = partition(game.test.labels, 16, bytes(32))
    masks = member_bits(range(1, 64), 6)
    counts = np.zeros((len(blocks), 64), np.int64)
    for block in range(len(blocks)):
        counts[block, 1:] = reference.block_intervals(blocks.block(block), masks)[:, 1]
    known = BlockGame(blocks.sizes, counts)
    data = bytes(sampled(known, 12))
    for own in (None, engines(known)):
        one = Checker(reference, known.terms, blocks, own)
        assert one.wrong_entries(data, claim(12), 60) == ()
        assert one.wrong_entries(data, claim(12, bytes(32)), 60)


# Exact tables --------------------------------------------------------------------------------------------------------

MANY = 14
MASKS = range(1, 1 << MANY)
SEVENS = [mask for mask in MASKS if mask.bit_count() == 7]


def flat(counts: Sequence[int]) -> BlockGame:
    """One block of so many images that any count fits an exact table."""
    return BlockGame(np.array([10_000]), np.array([[0, *counts]], np.int64))


def of(counts: Sequence[int]) -> bytes:
    return encode_exact(np.array(counts))


def look(
    truth: Sequence[int], false: Sequence[int], *, own: Sequence[int] | None = None, seed: int = 0
) -> tuple[tuple[int, ...], KnownReference, Wholes]:
    """What a checker finds, and which masks it asked the reference and the engine for."""
    game = flat(truth)
    known, engine = KnownReference(game), Wholes([0, *truth])
    one = checker(game, known, engines(game, engine), seed=seed)
    counts = None if own is None else np.array(own, np.int64)
    return one.wrong_entries(of(false), claim(1, exact=True), 60, counts), known, engine


@pytest.mark.parametrize("mask", [2**14 - 1, 1 << 5, (2**14 - 1) ^ 1 << 2])
def test_a_lie_where_it_pays_most_is_always_found(mask: int) -> None:
    """A false count of the full coalition, a singleton or a co-singleton is looked at in every exact table [P-8.15]."""
    truth = [100 + 5 * each.bit_count() for each in MASKS]
    false = list(truth)
    false[mask - 1] += 1
    assert look(truth, false)[0] == (mask - 1,)
    game = flat(truth)
    assert checker(game).own_errors(of(false), claim(1, exact=True), 60) == (mask - 1,)


def test_own_counts_point_at_a_lie() -> None:
    """Any false count of an exact table is found by who has all counts, behind a hundred errors of its own as well."""
    truth = [100] * len(MASKS)
    for lie in (SEVENS[0], SEVENS[1_700], 3):
        false, own = list(truth), list(truth)
        false[lie - 1] += 5
        for mask in SEVENS[1:101]:
            own[mask - 1] += 50
        assert look(truth, false, own=own)[0] == (lie - 1,)


def test_disagreements_come_first_and_the_heaviest_before_all() -> None:
    """Own counts that differ are judged first, a pair's before a seven's; then heavy masks, and nothing is drawn."""
    truth = [100] * len(MASKS)
    own = list(truth)
    own[SEVENS[5] - 1], own[3 - 1] = 130, 101
    wrong, known, engine = look(truth, truth, own=own)
    assert wrong == ()
    judged = [mask for _, mask in known.judged]
    assert judged[:2] == [3, SEVENS[5]]
    assert judged[2:] == heavy_masks(MANY)
    assert engine.counted == []


def test_few_of_many_disagreements_are_judged() -> None:
    """Own counts that differ from a whole table cost no more than so many looks in float64 before the heavy masks."""
    truth = [100] * len(MASKS)
    _, known, _ = look(truth, truth, own=[101] * len(MASKS))
    assert MOST_DISAGREEMENTS <= len(known.judged) <= MOST_DISAGREEMENTS + 2 * MANY + 1


@pytest.mark.parametrize("mask", SEVENS[::700])
def test_a_count_that_stands_out_among_its_size_is_looked_at(mask: int) -> None:
    """One false count of 3,432 of its size, all others alike: whoever draws by deviation finds it every time."""
    truth = [100 + 5 * each.bit_count() for each in MASKS]
    false = list(truth)
    false[mask - 1] += 5
    assert look(truth, false)[0] == (mask - 1,)


def test_few_false_counts_of_an_exact_table_are_found() -> None:
    """0.5% false counts that hide among others: found in 99 of 100 of 200 trials [P-8.15]."""
    draw = np.random.default_rng(1)
    truth = draw.integers(50, 150, len(MASKS))
    found = 0
    for seed in range(200):
        false = truth.copy()
        entries = draw.choice(len(MASKS), len(MASKS) // 200, replace=False)
        false[entries] = draw.permutation(truth[entries] + 1)
        found += bool(look(truth.tolist(), false.tolist(), seed=seed)[0])
    assert found >= 198


def test_half_of_the_draws_go_by_weight() -> None:
    """Where no count stands out, only the other half of the draws is made, all different; 2ε is what accuses."""
    truth = [100] * len(MASKS)
    wrong, known, engine = look(truth, truth)
    assert wrong == ()
    assert known.factors == {RAISE_FACTOR}
    assert len(engine.counted) == len(set(engine.counted)) == DRAWN_MASKS // 2


def test_draws_go_where_the_money_is() -> None:
    """Small and large coalitions, each of which weighs much, are drawn far more often than those between."""
    truth = [100] * len(MASKS)
    counted = [mask for seed in range(5) for mask in look(truth, truth, seed=seed)[2].counted]
    sizes = [mask.bit_count() for mask in counted]
    assert sizes.count(2) / 91 > 5 * sizes.count(7) / 3432


def test_short_budgets_still_draw_some() -> None:
    """With many tables to check each gets little time: draws come in batches, which grow only where they are quick."""
    truth = [100] * len(MASKS)
    game, engine = flat(truth), Wholes([0, *truth])
    one = checker(game, own=engines(game, engine), clock=lambda: float(len(engine.counted)))
    assert one.wrong_entries(of(truth), claim(1, exact=True), 100.0) == ()
    assert len(engine.counted) == 64 + 64


def test_the_heavy_masks_are_all_and_only_those() -> None:
    """The full coalition, every single client, everybody but one; each once, also where two of them are the same."""
    assert heavy_masks(1) == [1]
    assert sorted(heavy_masks(2)) == [1, 2, 3]
    assert sorted(heavy_masks(4)) == [1, 2, 4, 7, 8, 11, 13, 14, 15]
