"""A person who asks with the key of a miner: heard and answered apart from the miner itself."""

from pathlib import Path

from peers import arrived, closing, connect, events_until, gather, village, wait_connected

from fedcoin_cli.network.files.channel import Blobs
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.network.transport.base import asker, owner
from ledger_store.base.names import Address


def test_who_asks_with_a_miners_key_is_answered_and_is_no_miner() -> None:
    """While the miner runs: its words come under its address, the asker's not, and each answer goes to who asked.

    [P-11.8]
    """
    town = village(2)
    first, second = town.node(0), town.node(1)
    with closing(first, second, asking := town.guest(town.keys[0])):
        connect(first, second, asking)
        first.send(town.address(1), b"miner")
        asking.send(town.address(1), b"person")
        frames = gather([first, second, asking], lambda got: len(got[1]) == 2)[1]
        heard = {frame: name for name, frame in frames}
        assert heard[b"miner"] == town.address(0)
        name = heard[b"person"]
        assert name.startswith(asker(town.address(0)))
        assert owner(name) == town.address(0) != name
        assert second.inbound(town.address(0)) == 1
        second.send(Address(name), b"to the person")
        second.send(town.address(0), b"to the miner")
        got = gather([first, second, asking], lambda got: bool(got[0] and got[2]))
        assert got[2] == [(town.address(1), b"to the person")]
        assert got[0] == [(town.address(1), b"to the miner")]


def test_an_asker_reaches_its_own_miner() -> None:
    """With the very key of the door."""
    town = village(1)
    with closing(node := town.node(0), asking := town.guest(town.keys[0])):
        connect(asking, node)
        asking.send(town.address(0), b"?")
        (name, _), *_ = gather([node, asking], lambda got: bool(got[0]))[0]
        node.send(Address(name), b"!")
        assert gather([node, asking], lambda got: bool(got[1]))[1] == [(town.address(0), b"!")]


def test_files_of_one_who_asks_with_a_miners_key(tmp_path: Path) -> None:
    """Offered by the person, pulled over the person's connection, while the miner of that key runs and lacks them."""
    town = village(2)
    data = b"a round" * 100_000
    with closing(miner := town.blobs(0, tmp_path / "0"), other := town.blobs(1, tmp_path / "1")):
        store = Store(tmp_path / "person")
        digest = store.put_bytes(data)
        with closing(person := Blobs(town.keys[0], store, town.endpoints)):
            wait_connected(person)
            for each in (miner, other):
                each.want([digest], each_bytes=2**20, all_bytes=2**20, holders=[town.address(0)])
            person.offer([digest])
            for each in (other, miner):
                assert arrived(events_until(each, lambda events: bool(arrived(events)))) == {digest}
