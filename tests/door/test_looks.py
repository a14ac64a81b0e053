"""Other values and looks at updates from Python: what comes out, and what is refused."""

from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import MODEL, brute_force, logits, toy

import fedcoin
from fedcoin_cli.learning.scrutiny.signs import Kind

CLIENTS = 5


def counts() -> dict[tuple[int, ...], int]:
    """How many images each coalition of the toy labels correctly."""
    (pixels, labels), updates = toy(CLIENTS)
    found: dict[tuple[int, ...], int] = {(): 0}
    for size in range(1, CLIENTS + 1):
        for members in combinations(range(CLIENTS), size):
            parts = zip(*(updates[one] for one in members), strict=True)
            weights = [np.mean(np.array(part, np.float64), axis=0) for part in parts]
            found[members] = int((logits(pixels, weights).argmax(axis=1) == labels).sum())
    return found


def test_methods_are_those_of_the_definitions() -> None:
    """Shapley, Banzhaf and leave-one-out equal adding up all coalitions, as fractions of points."""
    test, updates = toy(CLIENTS)
    game, images = counts(), len(test[1])
    everybody = tuple(range(CLIENTS))
    for client in range(CLIENTS):
        others = [members for members in game if client not in members]
        gains = [game[tuple(sorted((*members, client)))] - game[members] for members in others]
        assert fedcoin.semivalues(MODEL, test, updates, "banzhaf").fractions[client] == Fraction(
            100 * sum(gains), images * len(gains)
        )
        less = game[tuple(one for one in everybody if one != client)]
        loo = fedcoin.semivalues(MODEL, test, updates, "loo", rankings=4)
        assert loo.fractions[client] == Fraction(100 * (game[everybody] - less), images)
        assert loo.exact
    assert list(fedcoin.semivalues(MODEL, test, updates, "shapley").fractions) == brute_force(test, updates)


def test_sampled_banzhaf_lies_within_its_errors() -> None:
    """Estimated from rankings, values differ from the exact ones by a few of their standard errors."""
    test, updates = toy(CLIENTS)
    values, errors = fedcoin.semivalues(MODEL, test, updates, "banzhaf", rankings=40)
    right = fedcoin.semivalues(MODEL, test, updates, "banzhaf").values
    assert min(errors) > 0
    assert all(abs(one - other) < 5 * error for one, other, error in zip(values, right, errors, strict=True))


def test_a_method_that_is_none() -> None:
    """Another word is refused, and the three are named."""
    test, updates = toy(3)
    with pytest.raises(fedcoin.FedCoinError) as caught:
        fedcoin.semivalues(MODEL, test, updates, "owen")
    assert caught.value.where == "method"
    assert "shapley, banzhaf, loo" in caught.value.hint


def test_looks_at_lists_and_mappings() -> None:
    """A copy and an idler are told of lists of arrays as of named ones; a start makes the difference."""
    _, updates = toy(7)
    start = [weight + np.float32(1) for weight in updates[0]]
    updates[3] = updates[1]
    updates[5] = start
    found = fedcoin.inspect(updates, initial=start)
    assert {(one.client, one.kind, one.other) for one in found.signs if one.client in {3, 5}} >= {
        (3, Kind.copy, 1),
        (5, Kind.untouched, None),
    }
    named = [dict(zip("abcd", update, strict=True)) for update in updates]
    again = fedcoin.inspect(named, initial=dict(zip("abcd", start, strict=True)))
    assert [(one.client, one.kind) for one in again.signs] == [(one.client, one.kind) for one in found.signs]
    unknown = fedcoin.inspect(updates)
    assert (3, Kind.copy) in {(one.client, one.kind) for one in unknown.signs}
    assert not any(one.kind is Kind.untouched for one in unknown.signs)


def test_what_cannot_be_looked_at() -> None:
    """No update, other tensors, counts that are not one a client, and what is no array: each is named."""
    _, updates = toy(3)
    cases: list[tuple[Any, dict[str, Any], str]] = [
        ([], {}, "no update"),
        ([updates[0], updates[1][:3]], {}, "client 2: tensor '003' is missing"),
        (updates, {"examples": [1, 2]}, "3 whole numbers"),
        (updates, {"examples": [1, 2, 0]}, "3 whole numbers"),
        ([updates[0], [["a", "b"]]], {}, "no array of numbers"),
    ]
    for given, more, words in cases:
        with pytest.raises(fedcoin.RoundFilesInvalid, match=words):
            fedcoin.inspect(given, **more)


def test_publishing_copies_needs_a_word(tmp_path: Path) -> None:
    """From Python, too, the very same update twice is refused before any miner is asked, until it is allowed."""
    test, updates = toy(3)
    shop = fedcoin.Workspace.create(tmp_path / "shop", miners=2)
    shop.make_round(MODEL, test, [updates[0], updates[1], updates[0]])
    with pytest.raises(fedcoin.RoundFilesInvalid, match="clients 1 and 3 send the very same update"):
        shop.publish(price=1)
    with pytest.raises(fedcoin.FedCoinError, match="miners reachable"):
        shop.publish(price=1, settings={"task.copies": "allow"})
