"""Clients' signatures in slices, and the waits of those who sign for false ones."""

from dataclasses import replace

from chains import ChainMaker

from fedcoin_cli.replica.signatures import WAIT_MOST_MS, WAIT_MS, Signatures, Waits
from ledger_store.base.names import Address, BlockId, GenesisId

A = Address("a")


def test_slices_come_to_the_end() -> None:
    """Nothing is said before the last one was looked at; the same task is good or not whatever the slices."""
    chain = ChainMaker(4)
    task = chain.task()
    signatures = Signatures(task, chain.genesis.id)
    said = [signatures.good(1) for _ in task.updates]
    assert said == [None] * (task.clients - 1) + [True]
    assert Signatures(task, chain.genesis.id).good(task.clients) is True


def test_a_false_one_is_found_wherever_it_stands() -> None:
    """The last one and the first one; and one that is made for another network."""
    chain = ChainMaker(4)
    task = chain.task()
    for place in (0, task.clients - 1):
        updates = list(task.updates)
        updates[place] = replace(updates[place], signature="00" * 64)
        assert Signatures(replace(task, updates=tuple(updates)), chain.genesis.id).good(task.clients) is False
    assert Signatures(task, GenesisId(BlockId("00" * 32))).good(task.clients) is False


def test_waits_grow_and_end() -> None:
    """Twice as long each time up to the most; who has been good for long begins anew [P-11.16]."""
    waits, now = Waits(), 0
    assert waits.left_ms(A, now) == 0
    for times in range(3):
        waits.add(A, now)
        assert waits.left_ms(A, now) == WAIT_MS * 2**times
        now += waits.left_ms(A, now)
        assert waits.left_ms(A, now) == 0
    for _ in range(20):
        waits.add(A, now)
    assert waits.left_ms(A, now) == WAIT_MOST_MS
    assert waits.left_ms(Address("b"), now) == 0
    now += 2 * WAIT_MOST_MS
    waits.add(A, now)
    assert waits.left_ms(A, now) == WAIT_MS
