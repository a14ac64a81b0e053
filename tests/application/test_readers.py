"""Who may read which files of rounds."""

import hashlib
from dataclasses import replace
from pathlib import Path

from chains import COIN, TO_SIGN, ChainMaker, digest, key
from places import settled_round

from fedcoin_cli.application.node.readers import Named, Readers
from fedcoin_cli.network.transport.base import asker
from ledger_store.base.names import Digest
from ledger_store.file.chain_file import ChainFile, ChainReader
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import Result

STRANGER = KeyPair.generate().address
MINER, AUDITOR = (KeyPair.generate().address for _ in range(2))


def readers_of(maker: ChainMaker, folder: Path) -> Readers:
    maker.write(folder)
    return Readers([MINER, AUDITOR], ChainReader(folder))


def test_members_and_parties(tmp_path: Path) -> None:
    """A round's files and tables are its parties', everything is the miners' and named auditors', nothing others'.

    [P-11.27]
    """
    maker = ChainMaker()
    task = settled_round(maker)
    readers = readers_of(maker, tmp_path)
    (result,) = maker.blocks[-1].transactions
    assert isinstance(result, Result)
    tables = [reveal.table for reveal in result.reveals]
    parties = {task.sender, task.server, *(update.client for update in task.updates)}
    for name in (*task.files, *tables):
        assert all(readers.may_read(address, name) for address in (*parties, MINER, AUDITOR))
        assert not readers.may_read(STRANGER, name)
    assert readers.may_read(MINER, digest("of no task"))
    assert not readers.may_read(task.sender, digest("of no task"))


def test_who_calls_with_a_miners_key_is_known_by_its_address(tmp_path: Path) -> None:
    """What follows an address names the connection, not another account."""
    readers = readers_of(ChainMaker(), tmp_path)
    assert readers.may_read(asker(MINER, b"call"), digest("any"))
    assert not readers.may_read(asker(STRANGER, b"call"), digest("any"))


def test_repeating_a_digest_gives_no_access(tmp_path: Path) -> None:
    """A stranger's later task names an update and a table of an earlier one: they stay its; what is new is its own.

    So it is for who sees it come, and for who starts afterwards; other tasks stand in the same blocks. [P-11.27]
    """
    maker, thief, other = ChainMaker(), key("thief"), key("other")
    maker.add(
        maker.transfer(maker.requester, thief.address, 100 * COIN),
        maker.transfer(maker.requester, other.address, 100 * COIN),
    )
    task = settled_round(maker)
    (result,) = maker.blocks[-1].transactions
    assert isinstance(result, Result)
    (tmp_path / "ledger").mkdir()
    file = ChainFile.create(tmp_path / "ledger", maker.genesis)
    there = Readers([MINER], file)
    table, seen = result.reveals[0].table, task.updates[0].digest
    updates = tuple(
        replace(maker.update(number), digest=name, signature=TO_SIGN)
        for number, name in enumerate((table, seen, digest("own")), 7)
    )
    stolen = maker.task(
        sender=thief, updates=updates, model=digest("the stranger's"), test=digest("its test set")
    )
    both = sorted(
        (stolen, maker.task(sender=other, clients=2, test=digest("another"))), key=lambda one: one.sender
    )
    maker.add(*both)
    for block, certificate in zip(maker.blocks, maker.certificates, strict=True):
        file.append(block, certificate)
        there.follow()
    for readers in (there, readers_of(maker, tmp_path / "later")):
        assert not any(readers.may_read(thief.address, name) for name in (*task.files, table))
        assert all(readers.may_read(task.sender, name) for name in (*task.files, table))
        assert readers.may_read(thief.address, digest("own"))
        assert readers.may_read(thief.address, digest("the stranger's"))
        assert not readers.may_read(thief.address, digest("another"))
        assert readers.may_read(other.address, digest("another"))


def test_what_a_call_names_belongs_to_all_who_were_shown_to_have_it(tmp_path: Path) -> None:
    """Parties of a later task with the same model and test set read those, and nothing else of the first.

    [P-11.27]
    """
    maker, later = ChainMaker(), key("later")
    maker.add(maker.transfer(maker.requester, later.address, 100 * COIN))
    task = settled_round(maker)
    updates = tuple(maker.update(number) for number in range(7, 10))
    maker.add(again := maker.task(sender=later, updates=updates, baseline=task.updates[1].digest))
    readers = readers_of(maker, tmp_path)
    new = {later.address, *(update.client for update in updates)}
    assert again.called_files == (task.model, task.test, task.updates[1].digest)
    for address in new:
        assert all(readers.may_read(address, name) for name in again.files)
        assert not readers.may_read(address, task.updates[0].digest)
    for update in task.updates:
        assert all(readers.may_read(update.client, name) for name in task.files)
        assert not readers.may_read(update.client, again.updates[0].digest)
    assert not any(readers.may_read(STRANGER, name) for name in again.files)


def test_digests_are_kept_small_and_told_apart() -> None:
    """A thousand digests, given twice in two orders, keep the number that each was given first."""
    names = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(1_000)]
    named = Named()
    for number, name in enumerate(names):
        named.add(Digest(name), number)
    for number, name in enumerate(reversed(names)):
        named.add(Digest(name), number)
    assert [named.get(Digest(name)) for name in names] == list(range(1_000))
    assert named.get(Digest(hashlib.sha256(b"another").hexdigest())) is None
    assert named.get(Digest(names[0][:16] + "0" * 48)) == 0
