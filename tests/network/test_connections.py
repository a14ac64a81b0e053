import os

from fedcoin_cli.network.connections import Connections


def test_a_number_that_became_another_files() -> None:
    """Looking at a descriptor that is no connection any more leaves no copy of it: its reader sees the end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    Connections(1).opened(writer, 0.0)
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)
