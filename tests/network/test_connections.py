import os

from fedcoin_cli.network.transport.connections import Connection, Connections, surplus
from ledger_store.base.names import Address


def test_a_number_that_became_another_files() -> None:
    """Looking at a descriptor that is no connection any more leaves no copy of it: its reader sees the end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    Connections(1).opened(writer, 0.0)
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_no_account_takes_the_places_of_others() -> None:
    """Beyond four an account loses its longest idle; beyond all places those with most lose first, then the idlest.

    [P-11.10]
    """
    greedy = [Connection(number, None, float(number), Address("greedy")) for number in range(9)]
    idle, fresh = Connection(20, None, 0.5, Address("idle")), Connection(21, None, 99.0, Address("fresh"))
    assert [gone.fd for gone in surplus([*reversed(greedy), idle, fresh], 64)] == [0, 1, 2, 3, 4]
    assert [gone.fd for gone in surplus([*greedy, idle, fresh], 4)] == [0, 1, 2, 3, 4, 5, 6]
    assert [gone.fd for gone in surplus([idle, fresh], 1)] == [20]
    silent = [Connection(number, None, float(number)) for number in range(9)]
    assert [gone.fd for gone in surplus(silent, 8)] == [0]
