from dataclasses import replace

import pytest
from chains import ChainMaker, digest

from fedcoin_cli.consensus.attempt import Attempt
from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.consensus.rankings import table_entries as table_weight
from fedcoin_cli.contract.task import attempt_of, check_task, most_table_bytes
from ledger_store.base.errors import InvalidTransaction
from ledger_store.base.words import TaskState
from ledger_store.genesis import Bounds
from ledger_store.state import TaskRecord
from ledger_store.transaction import Baseline

maker = ChainMaker(4)
task = maker.task(clients=3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"empty": 5}, "without a baseline"),
        ({"least_rankings": 21}, "21 least rankings are not on the grid"),
        ({"most_rankings": 21}, "21 most rankings are not on the grid"),
    ],
)
def test_terms_that_no_miner_could_fulfil_are_refused(change: dict[str, int], reason: str) -> None:
    """u(∅) needs something that it stands for; numbers of rankings lie on the grid [P-5.10] [P-5.11]."""
    with pytest.raises(InvalidTransaction, match=reason):
        check_task(replace(task, **change), maker.genesis)  # type: ignore[arg-type]  # one field at a time


@pytest.mark.parametrize("baseline", ["zero", "chance", digest("update-1")])
def test_admissible_terms_pass(baseline: Baseline) -> None:
    """Without a baseline u(∅) is 0; with one it may be anything."""
    check_task(replace(task, baseline=baseline, empty=0 if baseline == "zero" else 10), maker.genesis)


@pytest.mark.parametrize(
    ("metric", "least", "most"),
    [
        ("accuracy", 1_000, 1_000),
        ("top_k_accuracy:3", 1_000, 1_000),
        ("neg_log_loss:2.5", 4_095_000, 4_095_000),
        ("neg_brier_score:2", 4_095_000, 4_095_000),
        ("balanced_accuracy", 1, 2**32 - 1),
        ("roc_auc", 1, 2 * 500 * 500),
        ("f1", 1, 10**9),
        ("neg_mean_squared_error:40", 4_095_000, 4_095_000),
        ("token_accuracy", 1_000, None),
        ("neg_log_perplexity:7", 4_095_000, None),
    ],
)
def test_what_a_perfect_model_may_be_worth(metric: str, least: int, most: int | None) -> None:
    """M follows from the images, or is bounded by them: what no labels could make is refused [P-5.19]."""
    for whole in (least, most or 1_000 * least):
        check_task(replace(task, metric=metric, whole=whole), maker.genesis)
    for whole in {least - 1, most + 1 if most else least - 2} - {0}:
        with pytest.raises(InvalidTransaction, match="images can be worth"):
            check_task(replace(task, metric=metric, whole=whole), maker.genesis)


def test_a_whole_of_steps_is_made_of_steps() -> None:
    """By perplexity M is so many steps of every judged token [P-5.19]."""
    with pytest.raises(InvalidTransaction, match="images can be worth"):
        check_task(replace(task, metric="neg_log_perplexity:7", whole=4_095_001), maker.genesis)


def test_an_unknown_metric_is_none_that_miners_could_fulfil() -> None:
    """A ledger reads any short text, and the contract takes what it knows, written in one way [P-6.14]."""
    for metric in ("f2", "accuracy:1", "neg_log_loss", "neg_log_loss:2.50", "top_k_accuracy:1", ""):
        with pytest.raises(InvalidTransaction):
            check_task(replace(task, metric=metric), maker.genesis)


def test_an_attempt_fixes_what_the_chain_says() -> None:
    """Roster order, terms, Δ; frauds of this task and who withheld in the task before may not commit."""
    first, second, third, fourth = maker.genesis.roster
    record = TaskRecord(task, 1, TaskState.OPEN, 2, frauds=frozenset({first}), refused=frozenset({third}))
    attempt = attempt_of(record, maker.genesis)
    assert (attempt.task, attempt.number, attempt.clients) == (task.id, 2, 3)
    assert attempt.roster == maker.genesis.roster
    assert attempt.expected == {second, fourth}
    assert (attempt.runtime_ms, attempt.delta_ms) == (task.runtime_ms, maker.genesis.delta_ms)
    assert (attempt.least_rankings, attempt.most_rankings) == (task.least_rankings, task.most_rankings)


@pytest.mark.parametrize(
    ("clients", "rankings", "exact", "most"),
    [
        (2, 1, False, 63 * 3),
        (3, 1, False, 63 * 4),
        (8, 10, False, 63 * 72),
        (9, 10, False, 63 * 82),
        (3, 10, True, 7 * 4),
    ],
)
def test_what_a_table_weighs(clients: int, rankings: int, exact: bool, most: int) -> None:
    """A byte for each count of 63 blocks: both ends, and K − 1 a ranking; four for each coalition of exact values."""
    wide = maker.task(clients=clients)
    reveal = maker.reveal(wide, 1, maker.miners[0], rankings=rankings, exact=exact)
    assert most_table_bytes(wide, reveal) == most


MIB = 2**20


def attempt(miners: int, clients: int, *, most: int = 8, **changes: int) -> Attempt:
    """What R miners are told of a task of K clients; `most` is put on the grid."""
    chain = ChainMaker(miners)
    one = chain.task(clients=3)
    many = replace(one, updates=(one.updates[0],) * clients, most_rankings=grid_up_to(most), **changes)  # type: ignore[arg-type]
    return attempt_of(TaskRecord(many, 1), chain.genesis)


@pytest.mark.parametrize(
    ("miners", "clients", "exact"),
    [
        (1, 20, True),
        (4, 20, True),
        (64, 20, True),
        (4, 24, True),
        (64, 24, False),
        (4, 25, False),
        (1, 100, False),
    ],
)
def test_exact_values_may_be_claimed_where_all_can_have_the_table(
    miners: int, clients: int, exact: bool
) -> None:
    """2^K − 1 counts of 4 bytes: 4 MiB at K = 20 for any roster, 64 MiB at K = 24 for four, more for nobody.

    [P-7.12]
    """
    here = attempt(miners, clients)
    assert here.exact is exact
    reveal = maker.reveal(
        task, 1, maker.miners[0], exact=True, sums=(0,) * clients, rankings=here.most_rankings
    )
    assert here.admits(reveal) is exact


def test_settings_that_were_good_stay_good() -> None:
    """The default's 9,535 rankings of 20 clients in 63 blocks weigh 11 MB: nothing is taken away."""
    assert attempt(4, 20, most=9_535).most_rankings == 9_535
    assert attempt(20, 20, most=9_535).most_rankings == 9_535


@pytest.mark.parametrize(
    ("miners", "runtime_ms", "cap_bytes"),
    [(4, 5_000, 100 * MIB), (16, 5_000, 20 * MIB), (16, 3_600_000, 256 * MIB), (2, 3_600_000, 256 * MIB)],
)
def test_rankings_end_where_tables_become_too_heavy(miners: int, runtime_ms: int, cap_bytes: int) -> None:
    """A thousand clients: 20 MiB a second for all R − 1 tables in 15 s and more, and never above genesis' bound.

    The next number on the grid is too many, for whoever reveals as for whoever settles. [P-7.11]
    """
    here = attempt(miners, 1_000, most=1_000_000, runtime_ms=runtime_ms)
    most = here.most_rankings
    following = max(most + 1, 11 * most // 10)
    assert table_weight(1_000, 63, most) <= cap_bytes < table_weight(1_000, 63, following)
    reveal = maker.reveal(task, 1, maker.miners[0], rankings=most, sums=(0,) * 1_000)
    assert here.admits(reveal)
    assert not here.admits(replace(reveal, rankings=following))


@pytest.mark.parametrize("clients", [2, 3, 20])
@pytest.mark.parametrize("rankings", [2, 20, 55])
def test_a_table_may_weigh_just_as_much_as_it_may(clients: int, rankings: int) -> None:
    """So many rankings fit into a bound that is their table's weight, and fewer where it is a byte less [P-7.11]."""
    for short, most in ((0, rankings), (1, grid_up_to(rankings - 1))):
        chain = ChainMaker(4, Bounds(table_bytes=table_weight(clients, 63, rankings) - short))
        one = chain.task(clients=clients, most_rankings=grid_up_to(1_000))
        assert attempt_of(TaskRecord(one, 1), chain.genesis).most_rankings == most


def test_least_rankings_that_weigh_too_much_are_refused() -> None:
    """A task whose least table nobody could hand on is none that miners could fulfil; one byte more and it is one.

    [P-5.12]
    """
    for table_bytes, admitted in ((251, False), (252, True)):
        chain = ChainMaker(4, Bounds(table_bytes=table_bytes))
        if admitted:
            check_task(chain.task(clients=3), chain.genesis)
            continue
        with pytest.raises(InvalidTransaction, match="more than miners can exchange"):
            check_task(chain.task(clients=3), chain.genesis)
