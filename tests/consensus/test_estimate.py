from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import shapley, walk

from fedcoin_cli.consensus.estimate import Agreement, Terms, agree
from fedcoin_cli.consensus.rankings import grid_up_to, ranking
from ledger_store.base.errors import Malformed
from ledger_store.base.names import Address, Digest
from ledger_store.transaction import Estimate, Reveal, exact_denominator

SEED = bytes(32)
IMAGES = 200


def estimate(miner: str, rankings: int, is_exact: bool, sums: tuple[int, ...]) -> Reveal:
    return Estimate(rankings, is_exact, sums, Digest("")).opened(Address(miner), "")


def sampled(miner: str, rankings: int, *sums: int) -> Reveal:
    return estimate(miner, rankings, False, sums)


def exact(miner: str, *values: int, rankings: int = 1) -> Reveal:
    return estimate(miner, rankings, True, values)


def terms(clients: int, difficulty_micro: int = 1_500_000, faults: int = 0, whole: int = IMAGES) -> Terms:
    return Terms(clients, whole, difficulty_micro, faults)


def slow_agree(estimates: Sequence[Reveal], rule: Terms) -> dict[str, object]:
    """The agreement in fractions and percentage points, straight from the paper's averaging."""
    clients = range(rule.clients)
    scale = exact_denominator(rule.clients)
    own = {e.miner: [Fraction(v, scale if e.exact else e.rankings) for v in e.sums] for e in estimates}
    weight = {e.miner: e.rankings for e in estimates}
    perfect = {e.miner: own[e.miner] for e in estimates if e.exact}
    if len(perfect) >= rule.faults + 1:
        own, weight = perfect, dict.fromkeys(perfect, 1)
    total = sum(weight.values())
    mean = [sum((own[m][j] * weight[m] for m in own), Fraction(0)) / total for j in clients]
    squared = {m: sum(((own[m][j] - mean[j]) ** 2 for j in clients), Fraction(0)) for m in own}
    difficulty = Fraction(rule.difficulty_micro, 10**6)
    points = Fraction(100, rule.whole)
    return {
        "counted": tuple(own),
        "mean": mean,
        "squared": squared,
        "within": tuple(m for m in own if squared[m] * points**2 <= difficulty**2),
        "least": tuple(m for m in own if squared[m] == min(squared.values())),
    }


def check_against_fractions(estimates: Sequence[Reveal], rule: Terms) -> Agreement:
    agreement, slow = agree(estimates, rule), slow_agree(estimates, rule)
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
def rounds(draw: st.DrawFn) -> tuple[list[Reveal], Terms]:
    """One to seven estimates of two to five clients, some exact, close enough for D to matter."""
    clients = draw(st.integers(2, 5))
    near = st.integers(-60, 60)
    base = draw(st.lists(st.integers(-40, 200), min_size=clients, max_size=clients))
    estimates = []
    for number in range(draw(st.integers(1, 7))):
        walked = draw(st.integers(1, 12))
        perfect = draw(st.booleans())
        scale, noise = (exact_denominator(clients), 1) if perfect else (walked, 8)
        sums = tuple(scale * value + draw(near) // noise for value in base)
        estimates.append(estimate(f"miner {number}", walked, perfect, sums))
    rule = terms(clients, draw(st.integers(0, 3_000_000)), draw(st.integers(0, 2)))
    return estimates, rule


@given(rounds())
def test_an_agreement_is_what_fractions_say(case: tuple[list[Reveal], Terms]) -> None:
    """Who counts, the average, the distances, who is within D and nearest equal brute-force fractions [P-9.3]."""
    check_against_fractions(*case)


@given(rounds(), st.data())
def test_the_order_of_the_estimates_changes_only_the_order(
    case: tuple[list[Reveal], Terms], data: st.DataObject
) -> None:
    """Reveals that come in another order give the same average, distances and sets of miners."""
    estimates, rule = case
    shuffled = data.draw(st.permutations(estimates))
    one, other = agree(estimates, rule), agree(shuffled, rule)
    assert (one.exact, one.numerators, one.denominator) == (other.exact, other.numerators, other.denominator)
    for name in ("counted", "distances", "within", "nearest"):
        assert set(getattr(one, name)) == set(getattr(other, name))


def test_a_worked_round() -> None:
    """Two miners of 10 and 30 rankings: average, distances and winner are those computed by hand [P-9.5]."""
    agreement = agree([sampled("a", 10, 40, -100), sampled("b", 30, 60, 20)], terms(2, whole=100))
    # Values: a (4, −10), b (2, 2/3), together (100, −80)/40 = (2.5, −2): a is (1.5, −8) away, b (−0.5, 8/3).
    assert [Fraction(value, agreement.denominator) for value in agreement.numerators] == [Fraction(5, 2), -2]
    assert agreement.weights == (100, 0)
    assert agreement.denominator == 40
    distances = [Fraction(d.numerator, d.denominator) for d in agreement.distances]
    assert distances == [Fraction(9, 4) + 64, Fraction(1, 4) + Fraction(64, 9)]
    assert (agreement.within, agreement.nearest) == ((), ("b",))


def test_a_worked_round_with_an_exact_estimate() -> None:
    """One exact estimate among f + 1 = 2: its values count beside the sampled ones, with the weight of its t.

    [P-9.3]
    """
    # E = (9, 3) over Λ = 2 is (4.5, 1.5), thirty times; the sampled one says (2.5, −0.5) ten times.
    estimates = [sampled("a", 10, 25, -5), exact("b", 9, 3, rankings=30)]
    agreement = agree(estimates, terms(2, whole=100, faults=1))
    assert not agreement.exact
    assert [Fraction(v, agreement.denominator) for v in agreement.numerators] == [4, 1]
    # a is (1.5, 1.5) away, squared 4.5; b is (−0.5, −0.5) away, squared 0.5: at n = 100, D = 1.5 has 2.25.
    assert [Fraction(d.numerator, d.denominator) for d in agreement.distances] == [
        Fraction(9, 2),
        Fraction(1, 2),
    ]
    assert agreement.within == agreement.nearest == ("b",)


@pytest.mark.parametrize(("difficulty_micro", "within"), [(3_000_000, ("a", "b")), (2_999_999, ())])
def test_a_distance_of_exactly_d_is_within(difficulty_micro: int, within: tuple[Address, ...]) -> None:
    """Six images of 200 are 3 percentage points: within D = 3, not within D = 3 − 10⁻⁶; both miners tie [P-9.4]."""
    agreement = agree([sampled("a", 1, 0, 12), sampled("b", 1, 12, 12)], terms(2, difficulty_micro))
    assert agreement.within == within
    assert agreement.nearest == ("a", "b")


@pytest.mark.parametrize(("difficulty_micro", "within"), [(3_000_000, ("a", "b")), (2_999_999, ())])
def test_a_distance_of_exactly_d_is_within_for_exact_estimates(
    difficulty_micro: int, within: tuple[Address, ...]
) -> None:
    """The same six images between exact estimates, which carry the factor Λ = 2, meet the same D."""
    agreement = agree([exact("a", 0, 24), exact("b", 24, 24)], terms(2, difficulty_micro))
    assert agreement.within == within
    assert agreement.nearest == ("a", "b")


@pytest.mark.parametrize(("faults", "counted"), [(0, "bc"), (1, "bc"), (2, "abc")])
def test_only_exact_estimates_count_from_f_plus_1_on(faults: int, counted: str) -> None:
    """Two exact estimates outweigh the sampled one when f ≤ 1; with f = 2 all three count, by their t [P-9.2]."""
    estimates = [sampled("a", 4, 8, 8), exact("b", 10, 14, rankings=8), exact("c", 10, 14, rankings=8)]
    agreement = check_against_fractions(estimates, terms(2, faults=faults))
    assert agreement.counted == tuple(counted)
    assert agreement.exact == (faults < 2)


def test_exact_estimates_within_d_tie_and_one_beyond_does_not() -> None:
    """Exact estimates within D share the win, though not equally near; one beyond D gains nothing [P-9.5]."""
    estimates = [exact("a", 200, 100), exact("b", 201, 101), exact("c", 199, 101), exact("far", 220, 100)]
    agreement = check_against_fractions(estimates, terms(2, 2_000_000))
    assert len({Fraction(d.numerator, d.denominator) for d in agreement.distances}) == 4
    assert agreement.nearest == agreement.within == ("a", "b", "c")


def test_equal_exact_estimates_agree_at_zero_difficulty() -> None:
    """D = 0 is met by exact estimates that are equal, at distance 0."""
    agreement = agree([exact("a", 7, 5), exact("b", 7, 5)], terms(2, 0))
    assert agreement.within == agreement.nearest == ("a", "b")
    assert all(distance.numerator == 0 for distance in agreement.distances)


def test_without_an_estimate_nobody_counts() -> None:
    """When every reveal is missing or false, no one is within D and every client's value is 0."""
    agreement = agree([], terms(3))
    assert (agreement.counted, agreement.within, agreement.nearest) == ((), (), ())
    assert (agreement.numerators, agreement.weights, agreement.denominator) == ((0, 0, 0), (0, 0, 0), 1)


@st.composite
def games(draw: st.DrawFn, most_clients: int = 4) -> list[list[int]]:
    """The utilities of one to three blocks of the same clients."""
    clients = draw(st.integers(2, most_clients))
    size = (1 << clients) - 1
    counts = st.lists(st.integers(0, 255), min_size=size + 1, max_size=size + 1)
    return draw(st.lists(counts, min_size=1, max_size=3))


def mine(game: list[list[int]], miner: Address, rankings: int, *, every_mask: bool) -> Reveal:
    """What an honest miner of this name reveals: of each block by rankings of its own."""
    clients = len(game[0]).bit_length() - 1
    key = miner.encode().ljust(32, b"\0")
    if every_mask:
        whole = shapley([sum(column) for column in zip(*game, strict=True)])
        return exact(miner, *(int(value * exact_denominator(clients)) for value in whole), rankings=rankings)
    blocks = [
        walk(utility, [ranking(SEED, key, block, index, clients) for index in range(rankings)])
        for block, utility in enumerate(game)
    ]
    return sampled(miner, rankings, *(sum(column) for column in zip(*blocks, strict=True)))


@given(games())
def test_all_orders_together_give_the_exact_values(game: list[list[int]]) -> None:
    """One ranking each from the whole symmetric group: S̄ is φ(u) of all blocks together."""
    clients = len(game[0]).bit_length() - 1
    whole = [sum(column) for column in zip(*game, strict=True)]
    estimates = [sampled(str(order), 1, *walk(whole, [order])) for order in permutations(range(clients))]
    agreement = check_against_fractions(estimates, terms(clients, faults=1))
    assert tuple(Fraction(value, agreement.denominator) for value in agreement.numerators) == shapley(whole)


@given(games(), st.lists(st.integers(1, 50), min_size=1, max_size=4), st.integers(0, 4))
def test_miners_rounds_agree_with_fractions(
    game: list[list[int]], walked: list[int], exact_miners: int
) -> None:
    """Rounds of real rankings agree with the fractions and distribute the gain; exact miners agree on φ(u)."""
    estimates = [
        mine(game, Address(f"miner {i}"), grid_up_to(t), every_mask=i < exact_miners)
        for i, t in enumerate(walked)
    ]
    clients = len(game[0]).bit_length() - 1
    whole = [sum(column) for column in zip(*game, strict=True)]
    agreement = check_against_fractions(estimates, terms(clients, faults=1))
    assert sum(agreement.numerators) == (whole[-1] - whole[0]) * agreement.denominator
    if agreement.exact:
        assert tuple(Fraction(v, agreement.denominator) for v in agreement.numerators) == shapley(whole)
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
    "estimates",
    [
        [sampled("a", 1, 1, 2, 3)],
        [exact("a", 1, 2, 3)],
        [sampled("a", 1, 1)],
        [sampled("a", 1, 1, 2), sampled("a", 2, 1, 2)],
    ],
)
def test_estimates_of_the_wrong_shape_are_malformed(estimates: list[Reveal]) -> None:
    """Too many or too few values, and a miner that comes twice, are a peer's fault."""
    with pytest.raises(Malformed):
        agree(estimates, terms(2))


@pytest.mark.parametrize("is_exact", [False, True])
def test_an_estimate_of_no_rankings_is_malformed(is_exact: bool) -> None:
    """It would weigh nothing, and a sampled one divide by nothing."""
    with pytest.raises(Malformed):
        agree([estimate("a", 0, is_exact, (1, 2))], terms(2))
