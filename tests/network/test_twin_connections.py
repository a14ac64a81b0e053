"""Two processes with one key at the door of a third."""

import time

from peers import HOST, closing

from fedcoin_cli.network.transport.admission import Admission
from fedcoin_cli.network.transport.base import Door
from fedcoin_cli.network.transport.p2p import P2P
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair

PATIENCE_S = 60.0


def test_an_answer_to_each_reaches_both_of_a_key() -> None:
    """Both connections are counted, and what is said on each comes to both; when one ends there is one."""
    door, key = KeyPair.generate(), KeyPair.generate()
    host = P2P(door, {}, Door(HOST, 0, Admission([key.address])))
    endpoint = f"tcp://{HOST}:{host.port}"
    twins = [P2P(key, {door.address: endpoint}) for _ in range(2)]
    heard: set[int] = set()
    until_s = time.monotonic() + PATIENCE_S
    with closing(host, twins[0]):
        while (host.inbound(key.address) < 2 or len(heard) < 2) and time.monotonic() < until_s:
            for number, twin in enumerate(twins):
                twin.send(door.address, b"here")
                if (door.address, b"both") in twin.poll(20)[0]:
                    heard.add(number)
            host.poll(20)
            host.answer_each(key.address, b"both")
        assert heard == {0, 1}
        assert host.inbound(key.address) == 2
        twins[1].close()
        while host.inbound(key.address) > 1 and time.monotonic() < until_s:
            host.poll(20)
        assert host.inbound(key.address) == 1
        assert host.answer_each(Address("nobody"), b"both") == 0
