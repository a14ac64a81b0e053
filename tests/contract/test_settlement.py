import hashlib
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import lcm
from typing import Any

import pytest
from chains import COIN, ChainMaker, digest
from hypothesis import given
from hypothesis import strategies as st

from fedcoin_cli.contract.settlement import agreement_of, give_up, settle, validate
from fedcoin_cli.incentive.payment import without_dust
from ledger_store.base.errors import InvalidTransaction
from ledger_store.base.names import Address, TaskId
from ledger_store.base.words import TaskState
from ledger_store.state import TaskRecord
from ledger_store.transaction import Close, Estimate, FraudMark, Outcome, Pay, Result, Reveal, Task

IMAGES = 100
TRAIN, COMPUTATION, SHAPLEY = 7 * COIN, COIN, 2 * COIN


@cache
def maker(miners: int) -> ChainMaker:
    return ChainMaker(miners)


@cache
def task(miners: int, clients: int, changes: tuple[tuple[str, Any], ...] = ()) -> Task:
    terms = {"whole": IMAGES, "attempts": 1, "most_rankings": 9_535, **dict(changes)}
    return maker(miners).task(clients=clients, **terms)


def record(miners: int, clients: int = 2, attempt: int = 1, **changes: Any) -> TaskRecord:
    """A closed attempt of a task of 10 coins, 100 images, D = 1.5 percentage points."""
    verified = changes.pop("verified", ())
    terms = task(miners, clients, tuple(sorted(changes.items())))
    return TaskRecord(
        terms, 1, TaskState.CLOSED, attempt, seed=digest("seed"), opened_height=1, verified=verified
    )


def address(miners: int, index: int) -> Address:
    return maker(miners).genesis.roster[index]


def reveal(miners: int, index: int, rankings: int, sums: Sequence[int], *, exact: bool = False) -> Reveal:
    found = Estimate(rankings, exact, tuple(sums), digest(f"table {index}"))
    return found.opened(address(miners, index), digest(f"salt {index}")[:32])


def settled(one: TaskRecord, miners: int, *reveals: Reveal, frauds: Sequence[int] = ()) -> Outcome:
    marks = [FraudMark(address(miners, index), 1) for index in frauds]
    return settle(one, maker(miners).genesis, reveals, marks)


# By hand ------------------------------------------------------------------------------------------------------------

# Two miners, 10 and 30 rankings: S̄ = (430, 170) / 40 = (10.75, 4.25) images. The first is (−0.75, 0.75) away, the
# second (0.25, −0.25); D = 1.5 points of 100 images are 1.5 images.
FIRST, SECOND = (10, (100, 50)), (30, (330, 120))


def two(**changes: Any) -> Outcome:
    return settled(record(2, **changes), 2, reveal(2, 0, *FIRST), reveal(2, 1, *SECOND))


def test_an_example_by_hand() -> None:
    """The nearest wins; clients share TrainPrice as 10.75 to 4.25, the micro that is left over goes by remainder.

    [P-9.10]
    """
    outcome = two()
    assert (outcome.state, outcome.winner) == (TaskState.SETTLED, address(2, 1))
    assert outcome.shapley is not None
    assert outcome.distance is not None
    assert [Fraction(value, outcome.denominator) for value in outcome.shapley] == [
        Fraction("10.75"),
        Fraction("4.25"),
    ]
    assert Fraction(*outcome.distance) == Fraction("0.125")
    assert outcome.pay == Pay((5_016_667, 1_983_333), COMPUTATION, ((address(2, 1), SHAPLEY),), 0)


def test_shared_sap_price_goes_by_rankings() -> None:
    """`sap-rule` shared: 10 and 30 rankings earn a quarter and three quarters [P-9.12]."""
    pay = two(sap_rule="shared").pay
    assert pay.miners == ((address(2, 0), 500_000), (address(2, 1), 1_500_000))


@pytest.mark.parametrize(
    ("difficulty_micro", "state"),
    [(353_554, TaskState.SETTLED), (353_553, TaskState.REFUNDED), (0, TaskState.REFUNDED)],
)
def test_the_limit_of_d_is_exact(difficulty_micro: int, state: str) -> None:
    """√0.125 = 0.3535533… images: one 10⁻⁶ of a point decides [P-9.4]."""
    assert two(difficulty_micro=difficulty_micro).state == state


def test_a_tie_is_shared_and_named_by_hash() -> None:
    """R = 2 with equal t: both are equally far; SapPrice is halved, an odd micro goes to the first of the roster.

    [P-9.12]
    """
    odd = {"shapley_micro": SHAPLEY + 1, "train_micro": TRAIN - 1}
    outcome = settled(record(2, **odd), 2, reveal(2, 0, 10, (100, 50)), reveal(2, 1, 10, (110, 40)))
    assert outcome.pay.miners == ((address(2, 0), COIN + 1), (address(2, 1), COIN))
    assert outcome.winner == min(
        maker(2).genesis.roster, key=lambda miner: slow_hash(TaskId(outcome_task()), miner)
    )


def outcome_task() -> str:
    odd = {"shapley_micro": SHAPLEY + 1, "train_micro": TRAIN - 1}
    return record(2, **odd).task.id


def slow_hash(task: TaskId, miner: Address) -> str:
    return hashlib.sha256(b"fedcoin/v1/winner\0" + bytes.fromhex(task + miner)).hexdigest()


def test_one_miner_settles_alone() -> None:
    """R = 1: its own estimate is the average, at distance 0 even where D is 0 [P-9.8]."""
    outcome = settled(record(1, difficulty_micro=0), 1, reveal(1, 0, 10, (30, 10)))
    assert (outcome.state, outcome.distance) == (TaskState.SETTLED, (0, 10_000))
    assert outcome.pay == Pay((5_250_000, 1_750_000), COMPUTATION, ((address(1, 0), SHAPLEY),), 0)


def test_clients_without_positive_value_earn_nothing() -> None:
    """A negative value earns 0; where none is positive TrainPrice returns, and the rest is paid all the same.

    [P-9.10]
    """
    outcome = settled(record(1), 1, reveal(1, 0, 10, (-30, 40)))
    assert outcome.pay.clients == (0, TRAIN)
    outcome = settled(record(1), 1, reveal(1, 0, 10, (-30, 0)))
    assert outcome.pay == Pay((0, 0), COMPUTATION, ((address(1, 0), SHAPLEY),), TRAIN)


@pytest.mark.parametrize(
    ("train_micro", "paid"),
    [
        (40_000, (30_000, 10_000)),
        (39_999, (39_999, 0)),
        (10_000, (10_000, 0)),
        (9_999, (0, 0)),
        (0, (0, 0)),
    ],
)
def test_no_client_is_paid_dust(train_micro: int, paid: tuple[int, int]) -> None:
    """Values 30 and 10, the least transfer 10,000 micro: less goes to the other, and below it all returns [P-9.16]."""
    prices = {"train_micro": train_micro, "price_micro": train_micro + COMPUTATION + SHAPLEY}
    pay = settled(record(1, **prices), 1, reveal(1, 0, 10, (30, 10))).pay
    assert pay.clients == paid
    assert pay.requester == train_micro - sum(paid)


def test_equal_clients_share_what_makes_no_dust() -> None:
    """Of 1,000 equals as many are paid as the price has least transfers for, the first of them [P-9.16]."""
    kept = without_dust(35_000, (7,) * 1_000, 10_000)
    assert kept == (7, 7, 7) + (0,) * 997
    assert without_dust(35_000, (0, 1, 5, 0, 3), 0) == (0, 1, 5, 0, 3)


@pytest.mark.parametrize(("sums", "paid"), [((-30, 31), TRAIN), ((-30, 30), 0), ((-30, 29), 0)])
def test_trainprice_returns_where_all_together_gained_nothing(sums: tuple[int, int], paid: int) -> None:
    """Values sum to u(full) − u(∅): at 0 and below nobody is paid for a gain that is none, one image more pays."""
    pay = settled(record(1), 1, reveal(1, 0, 1, sums)).pay
    assert pay == Pay((0, paid), COMPUTATION, ((address(1, 0), SHAPLEY),), TRAIN - paid)


def test_exact_values_that_sum_to_nothing_return_trainprice() -> None:
    """The same rule where values are exact."""
    exact = settled(record(1), 1, reveal(1, 0, 9_535, (-60, 60), exact=True))
    assert (exact.state, exact.pay.requester) == (TaskState.SETTLED, TRAIN)


def test_a_price_of_nothing_gives_values_without_pay() -> None:
    """The values are agreed on like any others."""
    free = {"price_micro": 0, "train_micro": 0, "computation_micro": 0, "shapley_micro": 0}
    outcome = two(**free)
    assert outcome.state == TaskState.SETTLED
    assert outcome.shapley == two().shapley
    assert outcome.pay == Pay((0, 0), 0, ((address(2, 1), 0),), 0)


# Failed attempts ----------------------------------------------------------------------------------------------------


def test_attempts_that_fail() -> None:
    """Attempts left: OPEN and no pay. The last one: SapPrice by rankings for verified work, the rest returns.

    [P-9.8]
    """
    nothing = Pay((0, 0), 0, (), 0)
    again = two(difficulty_micro=0, attempts=2)
    assert (again.state, again.winner, again.pay) == (TaskState.OPEN, None, nothing)
    assert again.distance is not None
    assert again.shapley is not None
    refund = two(difficulty_micro=0)
    shares = ((address(2, 0), 500_000), (address(2, 1), 1_500_000))
    assert (refund.state, refund.pay) == (TaskState.REFUNDED, Pay((0, 0), 0, shares, TRAIN + COMPUTATION))


@pytest.mark.parametrize("how", ["empty close", "no reveal", "frauds only"])
def test_without_verified_work_all_returns(how: str) -> None:
    """No commit, no reveal, or none that is true: the whole price goes back, no value is stated [P-9.13]."""
    one = record(2)
    if how == "empty close":
        outcome = give_up(one)
    elif how == "no reveal":
        outcome = settled(one, 2)
    else:
        outcome = settled(one, 2, reveal(2, 0, *FIRST), reveal(2, 1, *SECOND), frauds=(0, 1))
    nothing = Outcome(TaskState.REFUNDED, None, None, None, 1, Pay((0, 0), 0, (), 10 * COIN))
    assert outcome == nothing


@pytest.mark.parametrize("how", ["empty close", "no reveal", "frauds only"])
def test_the_last_verified_attempt_is_paid_for(how: str) -> None:
    """Work of an earlier attempt keeps its share of SapPrice when later attempts bring nothing [P-9.13]."""
    verified = ((address(2, 0), 1), (address(2, 1), 3))
    one = record(2, attempt=3, attempts=3, verified=verified)
    if how == "empty close":
        outcome = give_up(one)
    elif how == "no reveal":
        outcome = settled(one, 2)
    else:
        outcome = settled(one, 2, reveal(2, 0, *FIRST), frauds=(0,))
    assert outcome.pay.miners == ((address(2, 0), 500_000), (address(2, 1), 1_500_000))
    assert outcome.pay.requester == TRAIN + COMPUTATION


def test_an_empty_close_before_the_last_attempt_opens_the_next() -> None:
    """Nothing is paid and the work goes on."""
    assert give_up(record(2, attempts=2)) == Outcome(
        TaskState.OPEN, None, None, None, 1, Pay((0, 0), 0, (), 0)
    )


# Who counts ---------------------------------------------------------------------------------------------------------


def test_a_cheat_leaves_the_average() -> None:
    """With the second miner's table found false, the first settles alone and is paid alone [P-9.1]."""
    outcome = settled(record(2), 2, reveal(2, 0, *FIRST), reveal(2, 1, 30, (30_000, 0)), frauds=(1,))
    assert (outcome.state, outcome.winner) == (TaskState.SETTLED, address(2, 0))
    assert outcome.pay.miners == ((address(2, 0), SHAPLEY),)
    assert outcome.shapley == (100, 50)


def test_more_than_f_exact_estimates_push_out_the_sampled_ones() -> None:
    """R = 4, f = 1: two exact miners tie and share; one alone counts beside the sampled, by its most rankings.

    [P-9.2]
    """
    exact = [reveal(4, 0, 9_535, (20, 10), exact=True), reveal(4, 1, 9_535, (22, 8), exact=True)]
    sampled = [reveal(4, 2, 10, (900, 0)), reveal(4, 3, 10, (900, 0))]
    outcome = settled(record(4), 4, *exact, *sampled)
    assert outcome.state == TaskState.SETTLED
    assert outcome.shapley is not None
    assert [Fraction(v, outcome.denominator) for v in outcome.shapley] == [Fraction(21, 2), Fraction(9, 2)]
    assert outcome.distance is not None
    assert Fraction(*outcome.distance) == Fraction(1, 2)
    assert outcome.pay.miners == ((address(4, 0), COIN), (address(4, 1), COIN))
    alone = settled(record(4), 4, exact[0], *sampled)
    assert alone.shapley is not None
    assert Fraction(alone.shapley[0], alone.denominator) == Fraction(9_535 * 10 + 2 * 10 * 90, 9_555)


def test_the_distance_is_the_least_of_those_that_tie() -> None:
    """Three exact miners within D tie, whatever their distances; the outcome states the least [P-9.7]."""
    values = [(20, 10), (22, 8), (24, 6)]
    reveals = [reveal(3, index, 9_535, value, exact=True) for index, value in enumerate(values)]
    outcome = settled(record(3, difficulty_micro=3_000_000), 3, *reveals)
    assert outcome.distance is not None
    assert outcome.distance[0] == 0
    assert len(outcome.pay.miners) == 3


def test_the_distance_of_sampled_ties_is_stated_as_the_first_has_it() -> None:
    """Three miners √2 images away, one with twice the rankings: the numbers are those of the first of the roster.

    [P-9.7]
    """
    sums = [(20, (1_020, 980)), (10, (490, 510)), (10, (490, 510))]
    outcome = settled(record(3), 3, *(reveal(3, index, *each) for index, each in enumerate(sums)))
    assert outcome.distance == (2 * 800**2, (20 * 40) ** 2)
    assert len(outcome.pay.miners) == 3


@pytest.mark.parametrize("more", range(8))
def test_whoever_ties_is_named_by_the_tasks_hash(more: int) -> None:
    """The same tie in eight tasks: the winner's name depends on the task, and is the least hash each time [P-9.6]."""
    one = record(2, difficulty_micro=1_500_000 + more)
    outcome = settled(one, 2, reveal(2, 0, 10, (100, 50)), reveal(2, 1, 10, (110, 40)))
    assert outcome.winner == min(maker(2).genesis.roster, key=lambda miner: slow_hash(one.task.id, miner))


@pytest.mark.parametrize("bad", [(21, False), (9_535, True), (8_667, True)])
def test_an_inadmissible_reveal_is_refused(bad: tuple[int, bool]) -> None:
    """Off the grid, or exact without the most rankings: no outcome at all [P-7.10]."""
    rankings, exact = bad
    most = {"most_rankings": 10_488}
    good = reveal(2, 0, *FIRST)
    with pytest.raises(InvalidTransaction):
        settled(record(2, **most), 2, good, reveal(2, 1, rankings, (1, 1), exact=exact))


# Against fractions --------------------------------------------------------------------------------------------------


def parts(total: int, weights: Sequence[Fraction]) -> tuple[int, ...]:
    """Largest remainder, ties by index, in fractions."""
    whole = [total * weight / sum(weights) for weight in weights]
    floors = [share.numerator // share.denominator for share in whole]
    order = sorted(range(len(whole)), key=lambda index: (floors[index] - whole[index], index))
    for index in order[: total - sum(floors)]:
        floors[index] += 1
    return tuple(floors)


def slow(one: TaskRecord, roster: Sequence[Address], faults: int, reveals: list[Reveal]) -> Any:
    """State, values, nearest miners and payments, straight from the protocol's text."""
    scale = lcm(*range(1, one.task.clients + 1))
    order = [next((r for r in reveals if r.miner == miner), None) for miner in roster]
    all_here = [found for found in order if found is not None]
    exact = [found for found in all_here if found.exact]
    columns = range(one.task.clients)
    own = {r.miner: [Fraction(v, scale if r.exact else r.rankings) for v in r.sums] for r in all_here}
    weight = {r.miner: r.rankings for r in all_here}
    if len(exact) > faults:
        own = {r.miner: own[r.miner] for r in exact}
        weight = dict.fromkeys(own, 1)
    total = sum(weight.values())
    mean = [sum((own[m][j] * weight[m] for m in own), Fraction(0)) / total for j in columns]
    squared = {m: sum(((own[m][j] - mean[j]) ** 2 for j in columns), Fraction(0)) for m in own}
    limit = Fraction(one.task.difficulty_micro * one.task.whole, 10**8) ** 2
    within = [m for m in own if squared[m] <= limit]
    least = min(squared.values())
    nearest = within if len(exact) > faults else [m for m in own if squared[m] == least]
    if not within:
        by_rankings = [Fraction(r.rankings) for r in all_here]
        shares = parts(one.task.shapley_micro, by_rankings)
        pay = Pay(
            (0,) * one.task.clients,
            0,
            tuple((r.miner, share) for r, share in zip(all_here, shares, strict=True)),
            one.task.train_micro + one.task.computation_micro,
        )
        return TaskState.REFUNDED, mean, None, pay
    gains = [max(Fraction(0), value) * (sum(mean) > 0) for value in mean]
    # Whoever would get less than a hundredth of a coin is left out, the lightest first, of equals the last.
    while (lightest := min((g for g in gains if g), default=None)) is not None:
        if one.task.train_micro * lightest / sum(gains) >= 10_000:
            break
        gains[max(j for j in columns if gains[j] == lightest)] = Fraction(0)
    paid = list(own) if one.task.sap_rule == "shared" else nearest
    counts = {r.miner: r.rankings for r in all_here}
    share_by = [Fraction(counts[m] if one.task.sap_rule == "shared" else 1) for m in paid]
    shares = parts(one.task.shapley_micro, share_by)
    pay = Pay(
        parts(one.task.train_micro, gains) if any(gains) else (0,) * one.task.clients,
        one.task.computation_micro,
        tuple(zip(paid, shares, strict=True)),
        0 if any(gains) else one.task.train_micro,
    )
    return TaskState.SETTLED, mean, min(nearest, key=lambda miner: slow_hash(one.task.id, miner)), pay


@st.composite
def attempts(draw: st.DrawFn) -> tuple[int, TaskRecord, list[Reveal]]:
    """R, a record, reveals of at least one miner: small numbers, so that ties and limits are met."""
    miners, clients = draw(st.integers(1, 7)), draw(st.integers(2, 4))
    terms: dict[str, Any] = {
        "difficulty_micro": draw(st.sampled_from([0, 500_000, 1_500_000, 10**7])),
        "sap_rule": draw(st.sampled_from(["winner", "shared"])),
    }
    one = record(miners, clients, **terms)
    chosen = draw(st.lists(st.integers(0, miners - 1), min_size=1, unique=True))
    reveals = []
    for index in chosen:
        exact = draw(st.booleans())
        rankings = 9_535 if exact else draw(st.sampled_from([1, 2, 10, 20]))
        scale = lcm(*range(1, clients + 1)) if exact else rankings
        sums = [scale * draw(st.integers(-3, 9)) + draw(st.integers(-1, 1)) for _ in range(clients)]
        reveals.append(reveal(miners, index, rankings, sums, exact=exact))
    return miners, one, reveals


@given(attempts())
def test_outcomes_equal_slow_fractions(case: tuple[int, TaskRecord, list[Reveal]]) -> None:
    """State, values, winner and every payment, for any reveals, exact or not, under both rules [P-9.14]."""
    miners, one, reveals = case
    genesis = maker(miners).genesis
    outcome = settle(one, genesis, reveals, [])
    state, mean, winner, pay = slow(one, genesis.roster, genesis.faults, reveals)
    assert (outcome.state, outcome.winner, outcome.pay) == (state, winner, pay)
    assert outcome.shapley is not None
    assert [Fraction(value, outcome.denominator) for value in outcome.shapley] == mean
    assert outcome.pay.total == one.task.price_micro


# On a chain ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def closed() -> tuple[ChainMaker, Task, list[Reveal]]:
    """A chain whose task is closed, and the reveals that open its commits."""
    chain = ChainMaker(4)
    work = chain.task(clients=3, attempts=2)
    chain.add(work)
    reveals = chain.reveals(work)
    chain.add(chain.close(work, reveals))
    return chain, work, reveals


def right_result(chain: ChainMaker, work: Task, reveals: list[Reveal]) -> Result:
    state = chain.tip.state
    outcome = settle(state.tasks[work.id], chain.genesis, reveals, [])
    return chain.result(work, reveals, outcome)


Closed = tuple[ChainMaker, Task, list[Reveal]]


def test_the_right_outcome_is_valid(closed: Closed) -> None:
    """What settles the task on every honest node passes every voter's check; the agreement can be shown again.

    [P-10.10]
    """
    chain, work, reveals = closed
    result = right_result(chain, work, reveals)
    after = validate(chain.tip, chain.propose(result))
    assert after.record(work.id).state == TaskState.SETTLED
    agreement = agreement_of(chain.records[work.id], chain.genesis, result)
    assert set(agreement.counted) == set(chain.genesis.roster)
    assert agreement.numerators == result.outcome.shapley


def tampered(result: Result) -> dict[str, Outcome]:
    """One change each."""
    right, pay = result.outcome, result.outcome.pay
    assert right.distance is not None
    assert right.shapley is not None
    first, second, *others = pay.clients
    shifted = replace(pay, clients=(first - 1, second + 1, *others))
    to_requester = replace(pay, server=pay.server - 1, requester=1)
    loser = next(r.miner for r in result.reveals if r.miner != right.winner)
    nothing = Pay((0, 0, 0), 0, (), 0)
    return {
        "a micro moved": replace(right, pay=shifted),
        "a micro returned": replace(right, pay=to_requester),
        "another winner": replace(right, winner=loser),
        "no winner": replace(right, winner=None),
        "another distance": replace(right, distance=(right.distance[0] + 1, right.distance[1])),
        "no distance": replace(right, distance=None),
        "other values": replace(right, shapley=(right.shapley[0] + 1, *right.shapley[1:])),
        "the same values over another denominator": replace(
            right, shapley=tuple(2 * v for v in right.shapley), denominator=2 * right.denominator
        ),
        "another attempt instead": replace(right, state=TaskState.OPEN, pay=nothing),
        "a share for a loser": replace(right, pay=replace(pay, miners=((loser, work_price(pay)),))),
    }


def work_price(pay: Pay) -> int:
    return sum(micro for _, micro in pay.miners)


WAYS = (
    "a micro moved",
    "a micro returned",
    "another winner",
    "no winner",
    "another distance",
    "no distance",
    "other values",
    "the same values over another denominator",
    "another attempt instead",
    "a share for a loser",
)


@pytest.mark.parametrize("way", WAYS)
def test_a_tampered_outcome_is_refused(closed: Closed, way: str) -> None:
    """Whatever does not follow from the reveals gets no vote, whoever proposes it [P-9.14]."""
    chain, work, reveals = closed
    result = right_result(chain, work, reveals)
    assert set(tampered(result)) == set(WAYS)
    with pytest.raises(InvalidTransaction):
        validate(chain.tip, chain.propose(replace(result, outcome=tampered(result)[way])))


@pytest.mark.parametrize(("exact", "entries"), [(False, 63 * 22), (True, 7)])
def test_a_fraud_names_an_entry_that_its_table_has(exact: bool, entries: int) -> None:
    """63 blocks, each of 2 + 10·2 counts, or seven coalitions: a mark behind the last throws nobody out [P-8.27]."""
    chain = ChainMaker(4)
    work = chain.task(clients=3, attempts=2)
    chain.add(work)
    reveals = [chain.reveal(work, 1, chain.miners[0], exact=exact)]
    chain.add(chain.close(work, reveals))
    record, victim = chain.records[work.id], reveals[0].miner
    named = FraudMark(victim, entries - 1)
    outcome = settle(record, chain.genesis, reveals, [named])
    result = chain.result(work, reveals, outcome, frauds=[named])
    assert victim in validate(chain.tip, chain.propose(result)).tasks[work.id].frauds
    with pytest.raises(InvalidTransaction, match="no entry"):
        validate(chain.tip, chain.propose(replace(result, frauds=(FraudMark(victim, entries),))))


def test_a_result_without_reveals_opens_the_next_attempt() -> None:
    """Miners that agree on a failure agree on one result; the price stays in escrow."""
    chain = ChainMaker(4)
    work = chain.task(clients=3, attempts=2)
    chain.add(work)
    chain.add(chain.close(work, chain.reveals(work)))
    outcome = settle(chain.records[work.id], chain.genesis, [], [])
    after = validate(chain.tip, chain.propose(chain.result(work, [], outcome))).tasks[work.id]
    assert (after.state, after.attempt) == (TaskState.OPEN, 2)
    assert after.escrow_micro == work.price_micro + chain.genesis.bounds.task_deposit_micro


def test_a_close_without_commits_leads_to_what_follows() -> None:
    """The next attempt opens; a close that claims something else is refused [P-9.9]."""
    chain = ChainMaker(4)
    work = chain.task(attempts=2)
    chain.add(work)
    right = give_up(chain.records[work.id])
    after = validate(chain.tip, chain.propose(Close(work.id, 1, (), right)))
    assert (after.tasks[work.id].state, after.tasks[work.id].attempt) == (TaskState.OPEN, 2)
    wrong = replace(right, denominator=2)
    with pytest.raises(InvalidTransaction):
        validate(chain.tip, chain.propose(Close(work.id, 1, (), wrong)))


def test_a_task_that_nobody_can_fulfil_is_refused_in_a_block() -> None:
    """The voters' check looks at terms, too."""
    chain = ChainMaker(4)
    with pytest.raises(InvalidTransaction, match="grid"):
        validate(chain.tip, chain.propose(chain.task(most_rankings=21)))
