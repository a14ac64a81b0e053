from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcoin_cli.consensus.estimate import Terms, agree
from fedcoin_cli.incentive.payment import Price, pay_refunded, pay_settled, ranking_shares, shapley_shares
from ledger_store.base.names import Address, Digest
from ledger_store.transaction import SAP_RULES, Estimate, Pay, Reveal

A, B = Address("a"), Address("b")
SEED_PRICE = Price(train_micro=700_000_000, computation_micro=100_000_000, shapley_micro=200_000_000)

amounts = st.integers(0, 10**15) | st.integers(0, 20)
prices = st.builds(Price, amounts, amounts, amounts)
client_weights = st.lists(st.integers(0, 5) | st.integers(0, 10**40), min_size=1, max_size=30)
shares = st.lists(st.integers(1, 10**6), min_size=1, max_size=20).map(
    lambda weights: [(f"miner {index}", weight) for index, weight in enumerate(weights)]
)


def sampled(miner: str, rankings: int, *sums: int) -> Reveal:
    return Estimate(rankings, False, sums, Digest("")).opened(Address(miner), "")


def exact(miner: str, *values: int) -> Reveal:
    return Estimate(9535, True, values, Digest("")).opened(Address(miner), "")


@given(prices, client_weights, shares)
def test_a_settled_task_pays_its_price_to_the_micro(
    price: Price, weights: list[int], miners: list[tuple[Address, int]]
) -> None:
    """Each part goes where it belongs, entirely: nothing is made and nothing is lost [P-9.11]."""
    pay = pay_settled(price, weights, miners)
    assert pay.total == price.total_micro
    assert sum(pay.clients) + pay.requester == price.train_micro
    assert pay.requester == (0 if any(weights) else price.train_micro)
    assert pay.server == price.computation_micro
    assert sum(micro for _, micro in pay.miners) == price.shapley_micro
    assert [miner for miner, _ in pay.miners] == [miner for miner, _ in miners]


@given(prices, client_weights.filter(any), shares)
def test_payments_are_within_a_micro_of_proportion(
    price: Price, weights: list[int], miners: list[tuple[Address, int]]
) -> None:
    """Nobody is a whole micro away from the exact fraction of its part, and a weight of 0 earns nothing."""
    pay = pay_settled(price, weights, miners)
    for part, earned, given_weights in (
        (price.train_micro, list(pay.clients), weights),
        (price.shapley_micro, [micro for _, micro in pay.miners], [weight for _, weight in miners]),
    ):
        for micro, weight in zip(earned, given_weights, strict=True):
            assert abs(micro - Fraction(part * weight, sum(given_weights))) < 1
            assert weight or not micro


@given(prices, client_weights, st.integers(1, 10**9))
def test_the_common_denominator_of_the_values_does_not_matter(
    price: Price, weights: list[int], factor: int
) -> None:
    """Weights are values times a common denominator; another denominator pays the same."""
    scaled = [weight * factor for weight in weights]
    assert pay_settled(price, scaled, [(A, 1)]) == pay_settled(price, weights, [(A, 1)])


@given(prices, st.integers(1, 30), shares | st.just([]))
def test_a_refund_returns_the_price_to_the_micro(
    price: Price, clients: int, miners: list[tuple[Address, int]]
) -> None:
    """Clients and server get nothing; SapPrice goes to those whose work was verified, else back."""
    pay = pay_refunded(price, clients, miners)
    assert pay.total == price.total_micro
    assert (pay.clients, pay.server) == ((0,) * clients, 0)
    assert sum(micro for _, micro in pay.miners) == (price.shapley_micro if miners else 0)
    assert len(pay.miners) == len(miners)


def test_the_seeds_price_in_a_worked_round() -> None:
    """1000 coins at 0.7 / 0.1 / 0.2: 700 to the clients as 1 : 2 : 0, 100 and 200 to the others."""
    pay = pay_settled(SEED_PRICE, (480, 960, 0), [(B, 1)])
    assert pay == Pay(
        clients=(233_333_333, 466_666_667, 0), server=100_000_000, miners=((B, 200_000_000),), requester=0
    )


def test_without_a_positive_value_trainprice_returns() -> None:
    """When no client helped, the requester gets TrainPrice back; server and miner did their work."""
    pay = pay_settled(SEED_PRICE, (0, 0), [(A, 1)])
    assert pay == Pay((0, 0), 100_000_000, ((A, 200_000_000),), 700_000_000)


def test_a_free_task_pays_nobody_anything() -> None:
    """A price of 0 asks for values without pay: every payment is 0, settled or refunded."""
    free = Price(0, 0, 0)
    assert pay_settled(free, (1, 2), [(A, 1), (B, 1)]) == Pay((0, 0), 0, ((A, 0), (B, 0)), 0)
    assert pay_refunded(free, 2, ()) == Pay((0, 0), 0, (), 0)


def test_the_winner_takes_sapprice_alone() -> None:
    """Under `winner` a sampled task's SapPrice goes to the nearest estimate, however many are within D."""
    estimates = [sampled(A, 10, 40, 40), sampled(B, 30, 60, 90)]
    agreement = agree(estimates, Terms(2, 100, 10**9, 0))
    assert agreement.within == (A, "b")
    assert shapley_shares("winner", agreement, estimates) == ((B, 1),)


def test_tied_exact_miners_share_equally_and_the_first_of_the_roster_gets_the_remainder() -> None:
    """Three exact miners tie for 200 coins: the two odd micros go to the first in roster order."""
    estimates = [exact("c", 7, 5), exact(A, 7, 5), exact(B, 8, 4)]
    agreement = agree(estimates, Terms(2, 100, 10**9, 1))
    tied = shapley_shares("winner", agreement, estimates)
    pay = pay_settled(Price(0, 0, 200_000_000), agreement.weights, tied)
    assert pay.miners == (("c", 66_666_667), (A, 66_666_667), (B, 66_666_666))


def test_shared_pays_by_rankings_whoever_counts() -> None:
    """Under `shared` 10 and 30 rankings get 50 and 150 coins; beside f + 1 exact ones a sampled gets none."""
    estimates = [sampled(A, 10, 40, 40), sampled(B, 30, 60, 90)]
    agreement = agree(estimates, Terms(2, 100, 1, 0))
    pay = pay_settled(SEED_PRICE, agreement.weights, shapley_shares("shared", agreement, estimates))
    assert pay.miners == ((A, 50_000_000), (B, 150_000_000))
    estimates = [sampled(A, 10, 40, 40), exact(B, 7, 5), exact("c", 7, 5)]
    agreement = agree(estimates, Terms(2, 100, 1, 1))
    assert shapley_shares("shared", agreement, estimates) == ((B, 9535), ("c", 9535))


def test_a_refund_shares_sapprice_by_rankings() -> None:
    """The verified estimates of a failed task get SapPrice by t: 1 : 4 of 200 coins; 800 coins return [P-9.13]."""
    shares_by_t = ranking_shares([sampled(A, 10, 0, 9), sampled(B, 40, 9, 0)])
    pay = pay_refunded(SEED_PRICE, 2, shares_by_t)
    assert pay == Pay((0, 0), 0, ((A, 40_000_000), (B, 160_000_000)), 800_000_000)


def test_every_rule_of_the_ledger_is_known_and_no_other() -> None:
    """Each `sap-rule` that a task may name has its shares; another word is refused, not paid by chance [P-9.12]."""
    estimates = [sampled(A, 1, 2, 3)]
    agreement = agree(estimates, Terms(2, 100, 1, 0))
    assert {rule: shapley_shares(rule, agreement, estimates) for rule in SAP_RULES} == dict.fromkeys(
        SAP_RULES, ((A, 1),)
    )
    with pytest.raises(ValueError, match="sap-rule"):
        shapley_shares("lottery", agreement, estimates)


def test_a_settled_task_without_anyone_to_pay_is_refused() -> None:
    """Settling needs someone within D; SapPrice cannot silently vanish when nobody is named."""
    with pytest.raises(ValueError, match="positive sum"):
        pay_settled(SEED_PRICE, (1, 2), ())
