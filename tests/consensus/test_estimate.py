from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import shapley, walk

from fedcoin_cli.consensus.estimate import (
    Agreement,
    Estimate,
    ProxySums,
    Terms,
    agree,
    check_sums,
    exact_denominator,
    no_proxy,
)
from fedcoin_cli.consensus.rankings import grid_up_to, ranking
from ledger_store.errors import Malformed

SEED = bytes(32)
IMAGES = 200


def sampled(miner: str, rankings: int, *sums: int) -> Estimate:
    return Estimate(miner, rankings, False, sums, None)


def exact(miner: str, *values: int, rankings: int = 1) -> Estimate:
    return Estimate(miner, rankings, True, (0,) * len(values), values)


def terms(clients: int, difficulty_micro: int = 1_500_000, faults: int = 0, images: int = IMAGES) -> Terms:
    return Terms(clients, images, difficulty_micro, faults)


def slow_agree(estimates: Sequence[Estimate], proxy: ProxySums, rule: Terms) -> dict[str, object]:
    """The agreement in fractions and percentage points, straight from the paper's averaging."""
    clients = range(rule.clients)
    scale = exact_denominator(rule.clients)
    public = [Fraction(value, proxy.denominator) for value in proxy.sums]
    perfect = {e.miner: [Fraction(v, scale) for v in e.values] for e in estimates if e.values is not None}
    if len(perfect) >= rule.faults + 1:
        own, weight = perfect, dict.fromkeys(perfect, 1)
    else:
        own = {e.miner: [public[j] + Fraction(e.sums[j], e.rankings) for j in clients] for e in estimates}
        weight = {e.miner: e.rankings for e in estimates}
    total = sum(weight.values())
    mean = [sum((own[m][j] * weight[m] for m in own), Fraction(0)) / total for j in clients]
    squared = {m: sum(((own[m][j] - mean[j]) ** 2 for j in clients), Fraction(0)) for m in own}
    difficulty = Fraction(rule.difficulty_micro, 10**6)
    points = Fraction(100, rule.images)
    return {
        "counted": tuple(own),
        "mean": mean,
        "squared": squared,
        "within": tuple(m for m in own if squared[m] * points**2 <= difficulty**2),
        "least": tuple(m for m in own if squared[m] == min(squared.values())),
    }


def check_against_fractions(estimates: Sequence[Estimate], proxy: ProxySums, rule: Terms) -> Agreement:
    agreement, slow = agree(estimates, proxy, rule), slow_agree(estimates, proxy, rule)
    assert agreement.counted == slow["counted"]
    assert [Fraction(value, agreement.denominator) for value in agreement.numerators] == slow["mean"]
    distances = {d.miner: Fraction(d.numerator, d.denominator) for d in agreement.distances}
    assert distances == slow["squared"]
    assert agreement.within == slow["within"]
    tied = (slow["within"] or slow["counted"]) if agreement.exact else slow["least"]
    assert agreement.nearest == tied
    assert set(agreement.nearest) <= set(agreement.within) or not agreement.within
    gained = sum(slow["mean"]) > 0
    assert agreement.weights == tuple(max(0, value) * gained for value in agreement.numerators)
    return agreement


@st.composite
def rounds(draw: st.DrawFn) -> tuple[list[Estimate], ProxySums, Terms]:
    """One to seven estimates of two to five clients, some exact, close enough for D to matter."""
    clients = draw(st.integers(2, 5))
    near = st.integers(-60, 60)
    base = draw(st.lists(st.integers(-40, 200), min_size=clients, max_size=clients))
    estimates = []
    for number in range(draw(st.integers(1, 7))):
        walked = draw(st.integers(1, 12))
        sums = tuple(walked * value + draw(near) // 8 for value in base)
        scale = exact_denominator(clients)
        values = tuple(scale * value + draw(near) for value in base) if draw(st.booleans()) else None
        estimates.append(Estimate(f"miner {number}", walked, values is not None, sums, values))
    public = draw(st.lists(st.integers(-500, 500), min_size=clients, max_size=clients))
    rule = terms(clients, draw(st.integers(0, 3_000_000)), draw(st.integers(0, 2)))
    return estimates, ProxySums(tuple(public), draw(st.integers(1, 60))), rule


@given(rounds())
def test_an_agreement_is_what_fractions_say(case: tuple[list[Estimate], ProxySums, Terms]) -> None:
    """Who counts, the average, the distances, who is within D and nearest equal brute-force fractions."""
    check_against_fractions(*case)


@given(rounds(), st.data())
def test_the_order_of_the_estimates_changes_only_the_order(
    case: tuple[list[Estimate], ProxySums, Terms], data: st.DataObject
) -> None:
    """Reveals that come in another order give the same average, distances and sets of miners."""
    estimates, proxy, rule = case
    shuffled = data.draw(st.permutations(estimates))
    one, other = agree(estimates, proxy, rule), agree(shuffled, proxy, rule)
    assert (one.exact, one.numerators, one.denominator) == (other.exact, other.numerators, other.denominator)
    for name in ("counted", "distances", "within", "nearest"):
        assert set(getattr(one, name)) == set(getattr(other, name))


def test_a_worked_round() -> None:
    """Two miners, 10 and 30 rankings, a proxy: average, distances and winner are those computed by hand."""
    agreement = agree(
        [sampled("a", 10, 40, -10), sampled("b", 30, 60, 90)], ProxySums((7, -9), 2), terms(2, images=100)
    )
    # Means of u − p: a (4, −1), b (2, 3), together (100, 80)/40 = (2.5, 2). P = (3.5, −4.5).
    assert [Fraction(value, agreement.denominator) for value in agreement.numerators] == [6, Fraction(-5, 2)]
    assert agreement.weights == (480, 0)
    assert agreement.denominator == 80
    # a is (1.5, −3) away, squared 11.25; b is (−0.5, 1) away, squared 1.25: at n = 100, D = 1.5 has 2.25.
    assert [Fraction(d.numerator, d.denominator) for d in agreement.distances] == [
        Fraction(45, 4),
        Fraction(5, 4),
    ]
    assert agreement.within == agreement.nearest == ("b",)


@pytest.mark.parametrize(("difficulty_micro", "within"), [(3_000_000, ("a", "b")), (2_999_999, ())])
def test_a_distance_of_exactly_d_is_within(difficulty_micro: int, within: tuple[str, ...]) -> None:
    """Six images of 200 are 3 percentage points: within D = 3, not within D = 3 − 10⁻⁶; both miners tie."""
    agreement = agree(
        [sampled("a", 1, 0, 12), sampled("b", 1, 12, 12)], no_proxy(2), terms(2, difficulty_micro)
    )
    assert agreement.within == within
    assert agreement.nearest == ("a", "b")


@pytest.mark.parametrize(("difficulty_micro", "within"), [(3_000_000, ("a", "b")), (2_999_999, ())])
def test_a_distance_of_exactly_d_is_within_for_exact_estimates(
    difficulty_micro: int, within: tuple[str, ...]
) -> None:
    """The same six images between exact estimates, which carry the factor Λ = 2, meet the same D."""
    agreement = agree([exact("a", 0, 24), exact("b", 24, 24)], no_proxy(2), terms(2, difficulty_micro))
    assert agreement.within == within
    assert agreement.nearest == ("a", "b")


@pytest.mark.parametrize(("faults", "counted"), [(0, "bc"), (1, "bc"), (2, "abc")])
def test_only_exact_estimates_count_from_f_plus_1_on(faults: int, counted: str) -> None:
    """Two exact estimates outweigh the sampled one when f ≤ 1; with f = 2 all three count, by their sums."""
    estimates = [sampled("a", 4, 8, 8), exact("b", 10, 14, rankings=8), exact("c", 10, 14, rankings=8)]
    agreement = check_against_fractions(estimates, no_proxy(2), terms(2, faults=faults))
    assert agreement.counted == tuple(counted)
    assert agreement.exact == (faults < 2)


def test_exact_estimates_within_d_tie_and_one_beyond_does_not() -> None:
    """Exact estimates within D share the win, though not equally near; one beyond D gains nothing."""
    estimates = [exact("a", 200, 100), exact("b", 201, 101), exact("c", 199, 101), exact("far", 220, 100)]
    agreement = check_against_fractions(estimates, no_proxy(2), terms(2, 2_000_000))
    assert len({Fraction(d.numerator, d.denominator) for d in agreement.distances}) == 4
    assert agreement.nearest == agreement.within == ("a", "b", "c")


def test_equal_exact_estimates_agree_at_zero_difficulty() -> None:
    """D = 0 is met by exact estimates that are equal, at distance 0."""
    agreement = agree([exact("a", 7, 5), exact("b", 7, 5)], no_proxy(2), terms(2, 0))
    assert agreement.within == agreement.nearest == ("a", "b")
    assert all(distance.numerator == 0 for distance in agreement.distances)


def test_without_an_estimate_nobody_counts() -> None:
    """When every reveal is missing or false, no one is within D and every client's value is 0."""
    agreement = agree([], no_proxy(3), terms(3))
    assert (agreement.counted, agreement.within, agreement.nearest) == ((), (), ())
    assert (agreement.numerators, agreement.weights, agreement.denominator) == ((0, 0, 0), (0, 0, 0), 1)


@st.composite
def games(draw: st.DrawFn, most_clients: int = 4) -> tuple[list[int], list[int]]:
    """A utility and a proxy of the same clients that agree on the empty coalition."""
    clients = draw(st.integers(2, most_clients))
    size = (1 << clients) - 1
    counts = st.lists(st.integers(0, IMAGES), min_size=size, max_size=size)
    empty = draw(st.integers(0, IMAGES))
    return [empty, *draw(counts)], [empty, *draw(counts)]


def mine(game: list[int], proxy: list[int], miner: str, rankings: int, *, every_mask: bool) -> Estimate:
    """What an honest miner of this name reveals."""
    clients = len(game).bit_length() - 1
    key = miner.encode().ljust(32, b"\0")
    rest = [u - p for u, p in zip(game, proxy, strict=True)]
    sums = walk(rest, (ranking(SEED, key, index, clients) for index in range(rankings)))
    values = tuple(int(value * exact_denominator(clients)) for value in shapley(game)) if every_mask else None
    return Estimate(miner, rankings, every_mask, sums, values)


def exact_sums(proxy: list[int]) -> ProxySums:
    scale = exact_denominator(len(proxy).bit_length() - 1)
    return ProxySums(tuple(int(value * scale) for value in shapley(proxy)), scale)


@given(games(), st.integers(1, 40), st.booleans(), st.integers(-3, 3))
def test_sums_hold_for_honest_estimates_only(
    case: tuple[list[int], list[int]], rankings: int, every_mask: bool, error: int
) -> None:
    """An honest estimate distributes u(full) − u(∅) to the image; any single sum off by anything does not."""
    game, proxy = case
    gain, proxy_gain = game[-1] - game[0], proxy[-1] - proxy[0]
    honest = mine(game, proxy, "honest", grid_up_to(rankings), every_mask=every_mask)
    assert check_sums(honest, gain, proxy_gain)
    forged = replace(honest, sums=(honest.sums[0] + error, *honest.sums[1:]))
    assert check_sums(forged, gain, proxy_gain) == (error == 0)
    if honest.values is not None:
        forged = replace(honest, values=(honest.values[0] + error, *honest.values[1:]))
        assert check_sums(forged, gain, proxy_gain) == (error == 0)


@given(games())
def test_all_orders_together_give_the_exact_values(case: tuple[list[int], list[int]]) -> None:
    """One ranking each from the whole symmetric group, on u − p with P exact: S̄ is φ(u), whatever p is."""
    game, proxy = case
    rest = [u - p for u, p in zip(game, proxy, strict=True)]
    clients = len(game).bit_length() - 1
    estimates = [sampled(str(order), 1, *walk(rest, [order])) for order in permutations(range(clients))]
    agreement = check_against_fractions(estimates, exact_sums(proxy), terms(clients, faults=1))
    assert tuple(Fraction(value, agreement.denominator) for value in agreement.numerators) == shapley(game)


@given(games(), st.lists(st.integers(1, 50), min_size=1, max_size=4), st.integers(0, 4))
def test_miners_rounds_agree_with_fractions(
    case: tuple[list[int], list[int]], walked: list[int], exact_miners: int
) -> None:
    """Rounds of real rankings agree with the fractions; enough exact miners give φ(u) with distance 0."""
    game, proxy = case
    estimates = [
        mine(game, proxy, f"miner {i}", grid_up_to(t), every_mask=i < exact_miners)
        for i, t in enumerate(walked)
    ]
    clients = len(game).bit_length() - 1
    agreement = check_against_fractions(estimates, exact_sums(proxy), terms(clients, faults=1))
    if agreement.exact:
        assert tuple(Fraction(v, agreement.denominator) for v in agreement.numerators) == shapley(game)
        assert all(distance.numerator == 0 for distance in agreement.distances)
        assert agreement.nearest == agreement.counted


@pytest.mark.parametrize("clients", range(1, 26))
def test_the_exact_denominator_is_the_least_that_makes_every_weight_an_integer(clients: int) -> None:
    """Λ times each coalition weight 1 / (K·C(K−1, s)) is an integer, and no smaller number does it."""
    weights = [Fraction(1, clients * comb(clients - 1, size)) for size in range(clients)]
    scale = exact_denominator(clients)
    assert all((scale * weight).denominator == 1 for weight in weights)
    assert not any(
        all((scale // prime * weight).denominator == 1 for weight in weights)
        for prime in (2, 3, 5, 7, 11, 13, 17, 19, 23)
        if scale % prime == 0
    )


@pytest.mark.parametrize(
    ("estimates", "proxy"),
    [
        ([sampled("a", 1, 1, 2, 3)], no_proxy(2)),
        ([Estimate("a", 1, True, (1, 2), (1, 2, 3))], no_proxy(2)),
        ([sampled("a", 1, 1, 2)], no_proxy(3)),
        ([sampled("a", 1, 1, 2), sampled("a", 2, 1, 2)], no_proxy(2)),
    ],
)
def test_estimates_of_the_wrong_shape_are_malformed(estimates: list[Estimate], proxy: ProxySums) -> None:
    """Too many sums, values or proxy sums, and a miner that comes twice, are a peer's fault."""
    with pytest.raises(Malformed):
        agree(estimates, proxy, terms(2))


def test_contradicting_parts_are_malformed() -> None:
    """No rankings, an exact estimate without values, a sampled one with them, and Λ_P = 0 are refused."""
    for rankings, is_exact, values in ((0, False, None), (1, True, None), (1, False, (1, 2))):
        with pytest.raises(Malformed):
            Estimate("a", rankings, is_exact, (1, 2), values)
    with pytest.raises(Malformed):
        ProxySums((1, 2), 0)
