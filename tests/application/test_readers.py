"""Who may read which files of rounds."""

from dataclasses import replace

from chains import ChainMaker, digest
from places import settled_round

from fedcoin_cli.application.miner.readers import Readers
from fedcoin_cli.network.connections import asker
from ledger_store.keys import KeyPair
from ledger_store.transaction import Result, Task

STRANGER = KeyPair.generate().address
MINER, AUDITOR = (KeyPair.generate().address for _ in range(2))


def followed(maker: ChainMaker) -> Readers:
    readers = Readers([MINER, AUDITOR])
    for block in maker.blocks:
        readers.follow(block.transactions)
    return readers


def test_members_and_parties() -> None:
    """A round's files and tables are its parties', everything is the miners' and named auditors', nothing others'."""
    maker = ChainMaker()
    task = settled_round(maker)
    readers = followed(maker)
    (result,) = maker.blocks[-1].transactions
    assert isinstance(result, Result)
    tables = [reveal.table for reveal in result.reveals]
    parties = {task.sender, task.server, *(update.client for update in task.updates)}
    for name in (*task.files, *tables):
        assert all(readers.may_read(address, name) for address in (*parties, MINER, AUDITOR))
        assert not readers.may_read(STRANGER, name)
    assert readers.may_read(MINER, digest("of no task"))
    assert not readers.may_read(task.sender, digest("of no task"))


def test_who_calls_with_a_miners_key_is_known_by_its_address() -> None:
    """What follows an address names the connection, not another account."""
    readers = Readers([MINER])
    assert readers.may_read(asker(MINER, b"call"), digest("any"))
    assert not readers.may_read(asker(STRANGER, b"call"), digest("any"))


def test_repeating_a_digest_gives_no_access() -> None:
    """A stranger's later task names the files of an earlier one: they stay the earlier one's; its own are its own."""
    maker = ChainMaker()
    task: Task = settled_round(maker)
    readers = followed(maker)
    own = replace(task.updates[0], digest=digest("own"), client=STRANGER)
    readers.began(replace(task, sender=STRANGER, nonce="9" * 32, updates=(*task.updates, own)))
    assert not any(readers.may_read(STRANGER, name) for name in task.files)
    assert readers.may_read(STRANGER, own.digest)
    assert readers.may_read(task.sender, task.updates[0].digest)
