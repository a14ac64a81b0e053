from dataclasses import replace

import pytest
from chains import ChainMaker, digest

from fedcoin_cli.contract.task import attempt_of, check_task, most_table_bytes
from ledger_store.errors import InvalidTransaction
from ledger_store.state import TaskRecord

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
    """u(∅) needs something that it stands for; numbers of rankings lie on the grid."""
    with pytest.raises(InvalidTransaction, match=reason):
        check_task(replace(task, **change))  # type: ignore[arg-type]  # one field at a time


@pytest.mark.parametrize("baseline", [None, digest("update-1")])
def test_admissible_terms_pass(baseline: str | None) -> None:
    """Without a baseline u(∅) is 0; with one it may be anything."""
    check_task(replace(task, baseline=baseline, empty=0 if baseline is None else 10))


def test_an_attempt_fixes_what_the_chain_says() -> None:
    """Roster order, terms, Δ; frauds of this task and who withheld in the task before may not commit."""
    first, second, third, fourth = maker.genesis.roster
    record = TaskRecord(task, 1, "OPEN", 2, frauds=frozenset({first}), refused=frozenset({third}))
    attempt = attempt_of(record, maker.genesis)
    assert (attempt.task, attempt.number, attempt.clients) == (task.id, 2, 3)
    assert attempt.roster == maker.genesis.roster
    assert attempt.expected == {second, fourth}
    assert (attempt.runtime_ms, attempt.delta_ms) == (task.runtime_ms, maker.genesis.delta_ms)
    assert (attempt.least_rankings, attempt.most_rankings) == (task.least_rankings, task.most_rankings)


@pytest.mark.parametrize(
    ("clients", "rankings", "exact", "most"),
    [
        (3, 1, False, 3 * 5),
        (8, 10, False, 80 * 5),
        (3, 10, False, 7 * 5),
        (9, 10, False, 90 * 6),
        (3, 10, True, 7 * 4),
    ],
)
def test_how_much_a_table_weighs_at_most(clients: int, rankings: int, exact: bool, most: int) -> None:
    """A record for each coalition that the rankings visit, none twice; of exact values all counts alone."""
    wide = maker.task(clients=clients)
    reveal = maker.reveal(wide, 1, maker.miners[0], rankings=rankings, exact=exact)
    assert most_table_bytes(wide, reveal) == most
