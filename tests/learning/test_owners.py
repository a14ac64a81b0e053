"""Clients of one owner are one player: in the game, on the ledger, from Python and on the command line."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from chains import COIN, ChainMaker, key
from mined import MinedRound
from shell import fedcoin as program

import fedcoin
from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.reasons.explanation import explain
from fedcoin_cli.learning.shapley.sampling import Estimator
from ledger_store.base.errors import InvalidTransaction, RoundFilesInvalid
from ledger_store.base.names import Address
from ledger_store.state import check_terms

CLIENTS, SIGNS = 5, 4
GROUPS = ((1, 3), (4, 2))


def arrays() -> tuple[tuple[np.ndarray, np.ndarray], list[list[np.ndarray]]]:
    rng = np.random.default_rng(11)
    truth = rng.standard_normal((SIGNS, 3))
    images = rng.standard_normal((150, SIGNS)).astype(np.float32)
    labels = (images @ truth).argmax(axis=1).astype(np.int32)
    updates = [
        [(truth + noise * rng.standard_normal(truth.shape)).astype(np.float32), np.zeros(3, np.float32)]
        for noise in (0.5, 1.0, 2.0, 3.0, 4.0)
    ]
    return (images, labels), updates


def by_hand(owners: Sequence[Sequence[int]], examples: Sequence[int]) -> np.ndarray:
    """Shapley's value of the game of owners, from every order in which they join and plain averages of updates."""
    (images, labels), updates = arrays()

    def worth(joined: Sequence[int]) -> float:
        numbers = [number for owner in joined for number in owners[owner]]
        if not numbers:
            return 0.0
        shares = np.array([examples[number] for number in numbers], np.float64)
        kernel = np.average([updates[number][0] for number in numbers], axis=0, weights=shares)
        return float((images @ kernel).argmax(axis=1).__eq__(labels).mean())

    orders = list(permutations(range(len(owners))))
    found = np.zeros(len(owners))
    for order in orders:
        for step, owner in enumerate(order):
            found[owner] += worth(order[: step + 1]) - worth(order[:step])
    return 100 * found / len(orders)


@pytest.mark.parametrize("examples", [None, (5, 1, 3, 2, 7)])
def test_the_value_of_an_owner_is_that_of_the_game_between_owners(examples: tuple[int, ...] | None) -> None:
    """By all orders of the owners; the joint model is the one that it was without groups [P-6.21]."""
    test, updates = arrays()
    model = fedcoin.mlp(SIGNS, [], 3)
    alone = fedcoin.shapley(model, test, updates, examples=examples, exact=True)
    found = fedcoin.shapley(model, test, updates, examples=examples, groups=GROUPS, exact=True)
    expected = by_hand([(0,), (1, 3), (2, 4)], examples or (1,) * CLIENTS)
    np.testing.assert_allclose(found.values, expected, atol=1e-9)
    assert sum(found.fractions) == sum(alone.fractions)


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        (((0,),), "two or more"),
        (((0, 1), (1, 2)), "each in one"),
        (((0, 0),), "each in one"),
        (((0, 5),), "not there"),
        (((0, 1, 2, 3, 4),), "one owner's"),
    ],
)
def test_groups_that_are_none(groups: Sequence[Sequence[int]], reason: str) -> None:
    """They overlap, are of one, name nobody, or leave nobody to compare with: told before anything is counted."""
    test, updates = arrays()
    with pytest.raises(RoundFilesInvalid, match=reason):
        fedcoin.shapley(fedcoin.mlp(SIGNS, [], 3), test, updates, groups=groups)


MAKER = ChainMaker(4)


def addresses(*numbers: int) -> tuple[Address, ...]:
    return tuple(key(f"client-{number}").address for number in numbers)


def test_an_owner_stands_where_its_first_update_does() -> None:
    """Owners follow the updates; the first address of a group is its owner, update or not [P-5.20]."""
    task = MAKER.task(clients=4, groups=(addresses(4, 2), addresses(9, 3)))
    assert task.owners == (*addresses(1), *addresses(4), *addresses(9))
    assert list(task.members.values()) == [(0,), (1, 3), (2,)]
    assert task.clients == 3
    assert MAKER.task(clients=4).owners == addresses(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ((addresses(1, 2), addresses(2, 3)), "in two groups"),
        ((addresses(1, 1),), "twice in one"),
        ((addresses(1, 2, 3, 4),), "one owner"),
    ],
)
def test_the_ledger_refuses_groups_that_are_none(
    groups: tuple[tuple[Address, ...], ...], reason: str
) -> None:
    """An address stands in one group, once, and there are two owners at least [P-5.21]."""
    task = MAKER.task(clients=4, groups=groups)
    with pytest.raises(InvalidTransaction, match=reason):
        check_terms(task, MAKER.genesis)
    check_terms(replace(task, groups=groups[:1] if len(groups) > 1 else ()), MAKER.genesis)


@pytest.mark.parametrize("estimator", ["balanced", "exact"])
def test_a_round_with_owners_is_mined_paid_and_recomputed(tmp_path: Path, estimator: Estimator) -> None:
    """Three owners of five clients: three values, three payments, each to an owner, and no count is found wrong."""
    unowned = MinedRound(tmp_path / "plain", clients=CLIENTS, rankings=6, estimator="exact")
    clients = [update.client for update in unowned.task.updates]
    owner = key("owner").address  # who sends no update itself
    groups = ((clients[1], clients[3]), (owner, clients[4], clients[2]))
    one = MinedRound(tmp_path / "net", clients=CLIENTS, rankings=6, estimator=estimator, groups=groups)
    pay, outcome = one.result.outcome.pay, one.result.outcome
    assert outcome.shapley is not None
    assert len(outcome.shapley) == len(pay.clients) == 3
    balances = one.maker.tip.state.balances
    paid = dict(zip((clients[0], clients[1], owner), pay.clients, strict=True))
    everybody = [*clients, owner]
    assert [balances.get(one, 0) for one in everybody] == [paid.get(one, 0) for one in everybody]
    assert sum(pay.clients) == 7 * COIN
    with Books.open(one.workspace) as books:
        told = [explain(books, one.workspace, each, None) for each in (clients[1], clients[3])]
        assert told[0].value == told[1].value
        told += [explain(books, one.workspace, each, None) for each in (owner, clients[2])]
        assert [each.number for each in told] == [2, 2, 3, 3]
        assert told[0].report.clients[1].addresses == (clients[1], clients[3])
    assert program("audit", "--level", "4", folder=one.workspace.root).code == 0
