"""Whom a miner admits as the ledger grows."""

from dataclasses import replace
from random import Random

from chains import build_chain

from fedcoin_cli.application.node.guests import GUEST_LEAST_MICRO, PARTING_MOST, PARTING_MS, Guests
from fedcoin_cli.network.transport.admission import Admission
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair
from ledger_store.layered import editable
from ledger_store.state import State

EMPTY = build_chain(miners=4, blocks=0).tip.state


def with_balances(state: State, changes: dict[Address, int]) -> State:
    """The state with other balances, made as a block makes them."""
    balances = editable(state.balances)
    for address, micro in changes.items():
        if micro:
            balances[address] = micro
        else:
            balances.pop(address, None)
    return replace(state, balances=balances.settled())


def test_block_by_block_the_same_as_all_at_once() -> None:
    """Whatever 60 blocks do to 200 accounts, across a merge of the layers: exactly those with a coin are admitted.

    [P-11.5]
    """
    random, members = Random(5), [KeyPair.generate().address]
    accounts = [KeyPair.generate().address for _ in range(200)]
    state, admission = (
        with_balances(EMPTY, dict.fromkeys(accounts[:100], GUEST_LEAST_MICRO)),
        Admission(members),
    )
    guests = Guests(admission, state)
    for block in range(60):
        changes = {one: random.choice([0, 1, GUEST_LEAST_MICRO]) for one in random.sample(accounts, 40)}
        changes |= {Address(f"{block:04x}{number:060x}"): 1 for number in range(40)}
        state = with_balances(state, changes)
        guests.follow(state, block)
        for one in accounts:
            assert admission.admits(one) == (state.balances.get(one, 0) >= GUEST_LEAST_MICRO)
    assert all(map(admission.admits, members))


def test_who_parts_is_admitted_a_little_longer() -> None:
    """For a minute after its last coin went, and no more than 64 of them [P-11.5]."""
    last = KeyPair.generate().address
    state, admission = with_balances(EMPTY, {last: GUEST_LEAST_MICRO}), Admission([])
    guests = Guests(admission, state)
    spent = with_balances(state, {last: 0})
    guests.part(last, 0)
    guests.follow(spent, 0)
    assert admission.admits(last)
    guests.follow(spent, PARTING_MS)
    assert not admission.admits(last)
    guests.part(last, 0)
    guests.follow(spent, 1)
    for _ in range(PARTING_MOST):
        guests.part(KeyPair.generate().address, 1)
    assert not admission.admits(last)
