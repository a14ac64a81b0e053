"""The seam between two chains: what a successor must mint, and every way in which it may not."""

from dataclasses import replace

import pytest
from chains import COIN, ChainMaker, build_chain, key

from ledger_store.audit.succession import SEAM_CODES, check_seam, inherited
from ledger_store.genesis import Genesis
from ledger_store.state import State, initial


def successor(end: State, **changes: object) -> Genesis:
    """A right successor's genesis, some fields changed."""
    supply = tuple(sorted(inherited(end).items()))
    genesis = replace(end.genesis, roster=(key("new").address,), supply=supply, predecessor=end.head)
    return replace(genesis, **changes)  # type: ignore[arg-type]


def test_balances_are_inherited_to_the_coin() -> None:
    """Every account's balance after a settled round and payments, and nothing else [P-14.2]."""
    end = build_chain(4, 6).tip.state
    assert inherited(end) == end.balances
    assert sum(inherited(end).values()) == end.genesis.supply_micro
    assert list(check_seam(successor(end), end)) == []


@pytest.mark.parametrize("closed", [False, True])
def test_escrow_goes_back_to_who_put_it_there(closed: bool) -> None:
    """Price and deposit of a task that nobody can finish any more are its requester's; the supply is whole [P-14.2]."""
    maker = ChainMaker(4)
    maker.add(maker.transfer(maker.requester, key("rich").address, 50 * COIN))
    task = maker.task(key("rich"))
    maker.add(task)
    if closed:
        maker.add(maker.close(task, maker.reveals(task)))
    end = maker.tip.state
    assert end.balances[key("rich").address] == 39 * COIN
    assert inherited(end)[key("rich").address] == 50 * COIN
    assert sum(inherited(end).values()) == end.genesis.supply_micro


def test_an_emptied_account_is_not_minted() -> None:
    """An account without coins does not stand in the successor's genesis, which lists none with nothing."""
    maker = ChainMaker(1)
    maker.add(maker.transfer(maker.requester, key("heir").address, maker.genesis.supply_micro))
    assert set(inherited(maker.tip.state)) == {key("heir").address}


def test_every_code_has_a_seam() -> None:
    """No predecessor, another one, a coin too many, too few, moved or made: each is found under its code.

    [P-14.1] [P-14.2]
    """
    end = build_chain(4, 6).tip.state
    (first, amount), *rest = successor(end).supply
    cases = {
        "none": (successor(end, predecessor=None), end, "E207"),
        "another": (successor(end, predecessor="ab" * 32), end, "E207"),
        "not found": (successor(end), None, "E207"),
        "a coin more": (successor(end, supply=((first, amount + 1), *rest)), end, "E408"),
        "a coin less": (successor(end, supply=((first, amount - 1), *rest)), end, "E408"),
        "left out": (successor(end, supply=tuple(rest)), end, "E408"),
        "somebody new": (
            successor(end, supply=(*successor(end).supply, (key("thief").address, 1))),
            end,
            "E408",
        ),
    }
    found = {
        name: [one.code for one in check_seam(genesis, old)] for name, (genesis, old, _) in cases.items()
    }
    assert found == {name: [code] for name, (_, _, code) in cases.items()}
    assert {code for codes in found.values() for code in codes} == set(SEAM_CODES)


def test_an_old_transfer_is_worth_nothing_in_the_successor() -> None:
    """Numbers begin with 1 again, and what was signed under the old genesis is not signed under the new one.

    [P-14.3]
    """
    maker = ChainMaker(1)
    payment = maker.transfer(maker.requester, key("heir").address, COIN)
    maker.add(payment)
    heir = successor(maker.tip.state)
    assert initial(heir).sequences == {}
    assert payment.verified(maker.genesis.id)
    assert not payment.verified(heir.id)
