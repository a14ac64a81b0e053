"""What clients sign of a task, which call serves, and what is locked beside the price."""

from dataclasses import fields, replace
from typing import Any

import pytest
from chains import COIN, TO_SIGN, ChainMaker, key

from ledger_store.base.errors import BadSignature, PeerFault
from ledger_store.genesis import Bounds
from ledger_store.identity.keys import KeyPair, verify
from ledger_store.signed import UNCALLED
from ledger_store.transaction import Task, Update, sign

MAKER = ChainMaker(4)
OWNED = ((key("client-1").address, key("client-2").address),)
TASK = MAKER.task(baseline="ab" * 32, frozen="cd" * 32, groups=OWNED, empty=5, payment_error_micro=7)


def changed(task: Task, name: str) -> Any:
    """Another value of the same type."""
    value = getattr(task, name)
    if isinstance(value, int):
        return value + 1
    others: dict[str, Any] = {"aggregation": "fedavg", "sap_rule": "shared", "groups": (OWNED[0][::-1],)}
    return others.get(name) or "".join("1" if digit != "1" else "2" for digit in value)


@pytest.mark.parametrize("name", [field.name for field in fields(Task) if field.name not in UNCALLED])
def test_a_client_signs_every_term(name: str) -> None:
    """Whatever single term of a task is changed, no client's signature covers it any longer [P-5.2]."""
    other = replace(TASK, **{name: changed(TASK, name)})
    for task, covered in ((TASK, True), (other, False)):
        for update in task.updates:
            terms = task.update_terms(update)
            assert verify(update.client, "update", MAKER.genesis.id, terms, update.signature) is covered


def test_what_a_client_does_not_sign() -> None:
    """The other clients' updates and the requester's own hand, but nothing else [P-5.2]."""
    other = replace(TASK, updates=TASK.updates[:2], sequence=9, signature="00" * 64)
    assert other.call == TASK.call
    assert {"updates", "sequence", "signature"} == UNCALLED


@pytest.mark.parametrize(
    "changes",
    [
        {"baseline": "ab" * 32, "empty": 397},
        {"aggregation": "fedavg"},
        {"server": key("thief").address},
        {"train_micro": 0, "shapley_micro": 9 * COIN},
        {"most_clients": 1_000},
    ],
)
def test_the_ledger_takes_no_terms_that_clients_did_not_sign(changes: dict[str, Any]) -> None:
    """A requester that changes terms after its clients have signed has a task that no block may hold [P-5.3]."""
    maker = ChainMaker(4)
    task = maker.task()
    bent = sign(replace(task, **changes), maker.requester, maker.genesis.id)
    with pytest.raises(BadSignature):
        maker.add(bent)
    maker.add(task)


def test_another_requester_cannot_use_a_call() -> None:
    """Signed updates are worth nothing to anybody but the requester who called for them."""
    maker, thief = ChainMaker(4), key("thief")
    maker.add(maker.transfer(maker.requester, thief.address, 100 * COIN))
    stolen = replace(maker.task(), sender=thief.address, sequence=1)
    with pytest.raises(BadSignature):
        maker.add(sign(stolen, thief, maker.genesis.id))


def ended(maker: ChainMaker, **terms: Any) -> Task:
    """A task that was settled."""
    task = maker.task(**terms)
    maker.add(task)
    reveals = maker.reveals(task)
    maker.add(maker.close(task, reveals))
    maker.add(maker.result(task, reveals, maker.settled(task)))
    return task


def test_a_call_serves_once() -> None:
    """The same requester and nonce again are refused: at once, while the first is queued, and after its end [P-5.4]."""
    maker = ChainMaker(4)
    first = ended(maker)
    with pytest.raises(PeerFault, match="has served"):
        maker.add(maker.task(nonce=first.nonce))
    maker.forget()
    maker.add(maker.transfer(maker.requester, key("other").address, 100 * COIN))
    maker.add(
        maker.task(sender=key("other"), nonce=first.nonce)
    )  # another's call of the same nonce is another call


def test_a_cancelled_task_frees_its_call() -> None:
    """Nobody has worked and nobody was paid: the clients' signatures still serve [P-5.4]."""
    maker, other = ChainMaker(4), key("other")
    maker.add(maker.transfer(maker.requester, other.address, 100 * COIN))
    maker.add(maker.task())
    waiting = maker.task(sender=other)
    maker.add(waiting)
    with pytest.raises(PeerFault, match="has served"):
        maker.add(maker.task(sender=other, nonce=waiting.nonce))
    maker.forget()
    maker.add(maker.cancel(other, waiting.id))
    maker.add(maker.task(sender=other, nonce=waiting.nonce))


def test_a_deposit_is_locked_and_returns() -> None:
    """Beside the price a coin is in escrow until the task has ended, however it ends; no coin is made or lost.

    [P-5.14]
    """
    maker = ChainMaker(4)
    before = maker.tip.state.balances[maker.requester.address]
    task = maker.task(price_micro=0, train_micro=0, computation_micro=0, shapley_micro=0)
    maker.add(task)
    assert (
        before - maker.tip.state.balances[maker.requester.address] == maker.genesis.bounds.task_deposit_micro
    )
    assert maker.tip.state.total_micro == maker.genesis.supply_micro
    reveals = maker.reveals(task)
    maker.add(maker.close(task, reveals))
    maker.add(maker.result(task, reveals, maker.settled(task)))
    assert maker.tip.state.balances[maker.requester.address] == before


def test_accounts_without_a_coin_ask_for_nothing() -> None:
    """Free tasks of a thousand accounts that hold nothing: none is queued, and an honest task is."""
    maker = ChainMaker(4, Bounds(task_deposit_micro=COIN))
    for _ in range(1_000):
        stranger = KeyPair.generate()
        free = maker.task(
            sender=stranger, clients=2, price_micro=0, train_micro=0, computation_micro=0, shapley_micro=0
        )
        with pytest.raises(PeerFault, match="does not cover"):
            maker.add(free)
    maker.forget()
    maker.add(maker.task())


def test_a_flat_least_price() -> None:
    """A network may ask a least SapPrice of every task, whatever its runtime [P-5.8]."""
    maker = ChainMaker(4, Bounds(least_shapley_price_micro=3 * COIN))
    with pytest.raises(PeerFault, match="SapPrice"):
        maker.add(maker.task(runtime_ms=0))
    maker.forget()
    maker.add(maker.task(runtime_ms=0, train_micro=6 * COIN, shapley_micro=3 * COIN))


def test_as_many_clients_as_were_called() -> None:
    """K lies between what the call says, which lies between 2 and what genesis admits [P-5.5]."""
    maker = ChainMaker(4, Bounds(clients=5))
    for least, most in ((4, 5), (2, 2), (1, 3), (3, 6)):
        with pytest.raises(PeerFault, match="clients"):
            maker.add(maker.task(least_clients=least, most_clients=most))
        maker.forget()
    maker.add(maker.task(least_clients=2, most_clients=5))


def test_an_update_that_is_not_signed() -> None:
    """An empty signature is no signature."""
    maker = ChainMaker(4)
    task = maker.task()
    bare = tuple(Update(one.digest, one.client, one.examples, "00" * 64) for one in task.updates)
    assert TO_SIGN not in {update.signature for update in task.updates}
    with pytest.raises(BadSignature):
        maker.add(sign(replace(task, updates=bare), maker.requester, maker.genesis.id))
