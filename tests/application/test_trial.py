import pytest
from chains import COIN, ChainMaker, key

from fedcoin_cli.application.requester.trial import check_admissible
from ledger_store.base.errors import (
    ConsensusFailure,
    FedCoinError,
    InsufficientFunds,
    NotFound,
    SettingsError,
    Unfinished,
)
from ledger_store.base.names import TaskId

FRIEND = key("friend")


def refusal(maker: ChainMaker, transaction: object) -> FedCoinError:
    with pytest.raises(FedCoinError) as caught:
        check_admissible(maker.tip.state, transaction)  # type: ignore[arg-type]
    assert caught.value.hint
    return caught.value


def test_what_is_admissible_passes() -> None:
    """A payment, a task, and the cancelling of one's own queued task are admitted."""
    maker = ChainMaker()
    check_admissible(maker.tip.state, maker.transfer(maker.requester, FRIEND.address, COIN, 1))
    maker.add(maker.transfer(maker.requester, FRIEND.address, 50 * COIN))
    maker.add(maker.task())
    queued = maker.task(FRIEND)
    check_admissible(maker.tip.state, queued)
    maker.add(queued)
    check_admissible(maker.tip.state, maker.cancel(FRIEND, queued.id))


def test_funds() -> None:
    """A payment or a price above the balance says both amounts in coins, also for an account that has none."""
    maker = ChainMaker(supply_micro=9 * COIN)
    error = refusal(maker, maker.task())
    assert isinstance(error, InsufficientFunds)
    assert error.message == "11.0 FedCoin, of which 1.0 is a deposit, exceed the balance of 9.0"
    assert isinstance(refusal(maker, maker.transfer(FRIEND, key("x").address, COIN)), InsufficientFunds)


def test_terms_that_genesis_does_not_allow() -> None:
    """What the network's bounds refuse is a matter of settings."""
    maker = ChainMaker()
    assert isinstance(refusal(maker, maker.task(runtime_ms=3_600_001)), SettingsError)
    maker = ChainMaker()
    assert isinstance(refusal(maker, maker.task(least_rankings=10_001, most_rankings=10_001)), SettingsError)
    maker = ChainMaker()
    assert isinstance(refusal(maker, maker.transfer(maker.requester, FRIEND.address, 1)), SettingsError)


def test_another_task_in_the_way() -> None:
    """An account with an unfinished task is told which one it is."""
    maker = ChainMaker()
    first = maker.task()
    maker.add(first)
    error = refusal(maker, maker.task())
    assert isinstance(error, Unfinished)
    assert first.id in error.where


def test_what_cannot_be_cancelled() -> None:
    """An unknown task, somebody else's, and one that miners work on: each has its own reason."""
    maker = ChainMaker()
    maker.add(maker.transfer(maker.requester, FRIEND.address, 50 * COIN))
    at_work, queued = maker.task(), maker.task(FRIEND)
    maker.add(at_work)
    maker.add(queued)
    assert isinstance(refusal(maker, maker.cancel(maker.requester, TaskId("0" * 64))), NotFound)
    maker_two = [refusal(maker, maker.cancel(maker.requester, task.id)) for task in (queued, at_work)]
    assert [type(error) for error in maker_two] == [ConsensusFailure, ConsensusFailure]
    assert "only its requester" in maker_two[0].message
    assert "OPEN" in maker_two[1].message
