"""Why a value is what it is, read from tables: against walking every block and ranking one client at a time."""

from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from block_games import BlockGame, finish, picture_game, random_game
from oracles import shapley

from fedcoin_cli.consensus.rankings import ranking
from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.coalitions.walks import Counts, Orders
from fedcoin_cli.learning.engines.choice import walker_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.game.utility import Walker
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.shapley import attribution as room
from fedcoin_cli.learning.shapley.attribution import agreed, convergence, reasons, test_set_error
from fedcoin_cli.learning.shapley.precision import payment_errors
from fedcoin_cli.learning.shapley.sampling import MiningPlan, MiningSession, Stakes
from fedcoin_cli.learning.shapley.table import Claim, TableTerms, derive, encode_exact
from ledger_store.transaction import exact_denominator

test_set_error.__test__ = False  # type: ignore[attr-defined]  # a function of the room, no test

SEED, MICRO = bytes(range(32)), 10**8
Tables = list[tuple[Claim, bytes]]


def walked(game: BlockGame, *rankings: int) -> Tables:
    """A table of so many rankings by each of several miners."""
    found: Tables = []
    for number, count in enumerate(rankings):
        plan = MiningPlan(SEED, number.to_bytes(32, "big"), 1, count, 1e9, "balanced", Stakes(MICRO))
        mined = finish(MiningSession(game, None, game.terms, plan)).estimate()
        found.append((plan.claim(count, exact=False), mined.table))
    return found


def exact_of(game: BlockGame, rankings: int = 39, key: bytes = bytes(32)) -> tuple[Claim, bytes]:
    return Claim(SEED, key, rankings, exact=True), encode_exact(np.array(game.whole[1:]))


def values_of(game: BlockGame, tables: Tables) -> list[Fraction]:
    """Σ t·v / T, an exact one weighing what it claims."""
    total = sum(claim.rankings for claim, _ in tables)
    sums = [Fraction(0)] * game.clients
    for claim, data in tables:
        scale = Fraction(claim.rankings, exact_denominator(game.clients)) if claim.exact else 1
        for client, value in enumerate(derive(data, claim, game.terms)):
            sums[client] += scale * value
    return [value / total for value in sums]


Seen = dict[int, tuple[Fraction, Fraction]]


def by_hand(game: BlockGame, tables: Tables, client: int) -> Seen:
    """Coalition before → (weight of all images, what it adds in images), one block and ranking after the other."""
    found, total = Seen(), sum(claim.rankings for claim, _ in tables)
    others = [other for other in range(game.clients) if other != client]

    def add(mask: int, weight: Fraction, images: int, gain: int) -> None:
        before = found.get(mask, (Fraction(0), Fraction(0)))
        found[mask] = before[0] + weight * images / game.terms.whole, before[1] + weight * gain

    for claim, _ in tables:
        if claim.exact:
            for size in range(game.clients):
                for members in combinations(others, size):
                    mask = sum(1 << other for other in members)
                    weight = Fraction(
                        factorial(size) * factorial(game.clients - 1 - size), factorial(game.clients)
                    )
                    gain = game.whole[mask | 1 << client] - game.whole[mask]
                    add(mask, weight * claim.rankings / total, game.terms.whole, gain)
            continue
        for block, counts in enumerate(game.counts.tolist()):
            for index in range(claim.rankings):
                order = ranking(claim.seed, claim.miner_key, block, index, game.clients)
                mask = sum(1 << other for other in order[: order.index(client)])
                gain = counts[mask | 1 << client] - counts[mask]
                add(mask, Fraction(1, total), int(game.sizes[block]), gain)
    return found


@pytest.mark.parametrize("kind", ["one", "two", "exact", "mixed", "baseline", "pieces"])
def test_coalitions_are_those_of_walking_one_by_one(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client's coalitions, weights and gains, by size and the largest of each sign, which add up to the value."""
    game = random_game(5, [4, 4, 3, 3], seed=5, baseline=kind == "baseline")
    tables = {
        "one": walked(game, 11),
        "two": walked(game, 7, 24),
        "exact": [exact_of(game), exact_of(game, key=bytes(range(32)))],
        "mixed": [*walked(game, 7, 24), exact_of(game)],
        "baseline": walked(game, 13),
        "pieces": walked(game, 24),
    }[kind]
    if kind == "pieces":
        monkeypatch.setattr(room, "_WALKED_AT_ONCE", 1)
    values = values_of(game, tables)
    for client in range(5):
        found = reasons(tables, game.terms, client, 4, exact=kind == "exact")
        expected = by_hand(game, tables, client)
        assert found.total == values[client]
        for size, step in enumerate(found.steps):
            of_size = [seen for mask, seen in expected.items() if mask.bit_count() == size]
            assert (step.size, step.weight, step.adds) == (
                size,
                *(sum(c, Fraction(0)) for c in zip(*of_size, strict=True)),
            )
            assert step.gain == step.adds / step.weight
        assert sum(step.weight for step in found.steps) == 1
        if kind == "mixed":
            continue  # what was walked and what was enumerated weigh unlike, and are named apart
        assert found.coalitions == len(expected)
        for sign, named in ((1, found.helped), (-1, found.hurt)):
            largest = sorted((sign * adds for _, adds in expected.values()), reverse=True)
            assert [sign * one.adds for one in named] == [adds for adds in largest if adds > 0][:4]
            for one in named:
                weight, adds = expected[one.mask]
                assert (one.weight * one.images, one.weight * one.gain) == (weight * game.terms.whole, adds)


def test_many_clients_have_wide_masks() -> None:
    """Of 70 clients a coalition is told by its whole mask."""
    keys = np.zeros((2, 9), np.uint8)
    keys[1, 8] = 1  # client 64
    assert len(np.unique(room._sortable(keys))) == 2
    draw = np.random.default_rng(3)
    clients, sizes = 70, np.array([16, 16])
    game = random_game(2, sizes)
    terms = TableTerms(clients, sizes, 0)
    claim = Claim(SEED, bytes(32), 3, exact=False)
    data = bytes([0, 0, 9, 9, *draw.integers(0, 17, 2 * 3 * 69).tolist()])
    sums = derive(data, claim, terms)
    assert game.clients == 2
    for client in (0, 63, 64, 69):
        found = reasons([(claim, data)], terms, client, 9, exact=False)
        assert (found.total, found.coalitions) == (Fraction(sums[client], 3), 6)
        masks = {
            sum(1 << other for other in order[: order.index(client)])
            for order in (
                ranking(SEED, bytes(32), block, index, clients) for block in (0, 1) for index in range(3)
            )
        }
        assert {one.mask for one in (*found.helped, *found.hurt)} <= masks


def test_one_miners_errors_are_what_its_session_says() -> None:
    """Read from its table alone, both errors of a lone miner are those that it reported while mining."""
    game = picture_game(5, 200)
    for rankings in (9, 20):
        plan = MiningPlan(SEED, bytes(32), 1, rankings, 1e9, "balanced", Stakes(MICRO))
        session = finish(MiningSession(game, None, game.terms, plan))
        mined = session.estimate()
        precision = mined.precision
        assert precision is not None
        values = [total / rankings for total in mined.sums]
        found = agreed([(plan.claim(rankings, exact=False), mined.table)], game.terms, values, MICRO)
        assert found is not None
        assert found.rankings == rankings
        np.testing.assert_allclose(found.values_pp, precision.values_pp)
        np.testing.assert_allclose(found.payments_micro, precision.payments_micro)
        np.testing.assert_allclose(found.images_pp, precision.images_pp)
        np.testing.assert_allclose(found.images_micro, precision.images_micro)


def test_agreed_errors_are_calibrated() -> None:
    """Over 80 rounds of three miners with unlike t, mining's error of the average is the true one within a quarter."""
    game = picture_game(5, 200)
    truth = np.array([float(value) for value in shapley(game.whole)])
    off, said = [], []
    for number in range(80):
        tables: Tables = []
        for miner, count in enumerate((4, 10, 20)):
            plan = MiningPlan(SEED, bytes([number, miner]) * 16, 1, count, 1e9, "balanced", None)
            mined = finish(MiningSession(game, None, game.terms, plan)).estimate()
            tables.append((plan.claim(count, exact=False), mined.table))
        values = [float(value) for value in values_of(game, tables)]
        found = agreed(tables, game.terms, values, MICRO)
        assert found is not None
        off.append(100 / 200 * (np.array(values) - truth))
        said.append(found.values_pp)
    assert 0.8 < np.sqrt(np.square(said).mean() / np.square(off).mean()) < 1.25


def test_no_errors_without_two_rankings() -> None:
    """Exact tables alone, and one ranking alone, tell no error of mining."""
    game = picture_game(4, 100)
    assert agreed([exact_of(game)], game.terms, [1.0] * 4, MICRO) is None
    assert agreed(walked(game, 1), game.terms, [1.0] * 4, MICRO) is None


def test_who_cannot_be_told_apart() -> None:
    """Neighbours by value whose difference is below two errors of the difference, which is not that of their sum."""
    values = (9.0, 5.0, 1.0)
    assert room._alike(values, np.eye(3)) == ()
    assert room._alike(values, np.diag([4.0, 1.0, 1.0])) == ((0, 1),)
    together = np.ones((3, 3)) * 4 + np.eye(3) * 0.1
    assert room._alike(values, together) == ()
    apart = np.array([[2.0, -2.0, 0], [-2.0, 2.5, -2.0], [0, -2.0, 2.0]])
    assert room._alike((1.0, 5.0, 9.0), apart) == ((2, 1), (1, 0))


def test_convergence_is_the_distance_of_the_mean_so_far() -> None:
    """After each number of rankings: the Euclidean distance of their mean from the values, in points; the last is t."""
    game = random_game(4, [8, 8, 7], seed=1)
    ((claim, data),) = walked(game, 20)
    values = [3.0, 4.0, 5.0, 2.0]
    found = convergence(claim, data, game.terms, values)
    assert [count for count, _ in found] == list(range(1, 21))
    for count, distance in found:
        total = np.zeros(4)
        for block, counts in enumerate(game.counts.tolist()):
            for index in range(count):
                mask = 0
                for client in ranking(claim.seed, claim.miner_key, block, index, 4):
                    total[client] += counts[mask | 1 << client] - counts[mask]
                    mask |= 1 << client
        assert distance == pytest.approx(100 / 23 * np.linalg.norm(total / count - values))


def test_the_test_sets_error_from_files_alone(make_game: Callable[..., Game]) -> None:
    """Of exact values: nothing by mining, and by the images what their values scatter, one by one, within a fifth."""
    game = make_game(4, 400)
    reference = Reference(game)
    members = np.array([[mask >> client & 1 for client in range(4)] for mask in range(1, 16)], np.uint8)
    alone = np.zeros((400, 16))
    for image in range(400):
        alone[image, 1:] = reference.block_intervals(np.array([image]), members)[:, 1]
    values = np.array([[float(v) for v in shapley([int(x) for x in counts])] for counts in alone])
    within = sum(
        np.cov(values[game.test.labels == label].T) * (game.test.labels == label).sum() for label in range(4)
    )
    found = test_set_error(game, values.sum(axis=0).tolist(), MICRO)
    assert found is not None
    assert (found.rankings, found.values_pp, found.payments_micro) == (0, (0.0,) * 4, (0.0,) * 4)
    expected = 100 / 400 * np.sqrt(np.diag(within))
    ratios = np.array(found.images_pp) / expected
    assert ((ratios > 0.7) & (ratios < 1.4)).all(), ratios
    coins = payment_errors(values.sum(axis=0), within, MICRO)
    assert 0.7 < np.mean(np.array(found.images_micro) / coins) < 1.4
    assert test_set_error(make_game(4, 1), [1.0] * 4, MICRO) is None


def test_of_a_slow_model_few_rankings_are_walked(
    make_game: Callable[..., Game], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as seconds allow, two of two blocks at least; where they allow all, the error is as if untried."""
    game, values = make_game(4, 400), [60.0] * 4
    whole = test_set_error(game, values, MICRO)
    monkeypatch.setattr(room, "_LITTLE_FLOP", 0)
    monkeypatch.setattr(room, "_TEST_SET_S", 1e6)
    assert test_set_error(game, values, MICRO) == whole
    monkeypatch.setattr(room, "_TEST_SET_S", 0.0)
    shapes: list[tuple[int, ...]] = []

    def watched(game: Game, part: Partition) -> Walker:
        walker = walker_for(game, part)
        monkeypatch.setattr(walker, "walk", lambda *words: walk(walker, *words))
        return walker

    def walk(walker: Walker, blocks: range, orders: Orders) -> Counts:
        shapes.append(orders.shape)
        found: Counts = np.asarray(type(walker).walk(walker, blocks, orders), np.int64)
        return found

    monkeypatch.setattr(room, "walker_for", watched)
    few = test_set_error(game, values, MICRO)
    assert shapes == [(2, 2, 4)] * 2
    assert few is not None
    assert few != whole
