"""The peers file: where each miner of the network listens. Endpoints change, so genesis does not hold them.

A miner takes two ports: messages on `port`, files on the one after it.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger_store.errors import SettingsError
from ledger_store.keys import ADDRESS_LENGTH

_PORT_MAX = 65_534


@dataclass(frozen=True, slots=True)
class Peer:
    """One miner: its name in this file, its address (hex key), and the host and port where it listens."""

    name: str
    address: str
    host: str
    port: int

    @property
    def messages(self) -> str:
        """The endpoint for messages."""
        return f"tcp://{self.host}:{self.port}"

    @property
    def files(self) -> str:
        """The endpoint for files."""
        return f"tcp://{self.host}:{self.port + 1}"


def read_peers(path: Path) -> tuple[Peer, ...]:
    """The miners in a peers file, in its order; raises `SettingsError` naming the file and the entry."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        hint = "write one [name] section a miner, with address, host and port"
        raise SettingsError(f"cannot read the peers: {error}", where=str(path), hint=hint) from error
    return tuple(_peer(path, name, entry) for name, entry in document.items())


def render_peers(peers: Iterable[Peer]) -> str:
    """The text of a peers file."""
    head = "# Where this network's miners listen: messages on the port, files on the one after it.\n"
    return head + "".join(
        f'\n[{peer.name}]\naddress = "{peer.address}"\nhost = "{peer.host}"\nport = {peer.port}\n'
        for peer in peers
    )


def _peer(path: Path, name: str, entry: Any) -> Peer:
    match entry:
        case {"address": str(address), "host": str(host), "port": int(port), **rest} if (
            not rest and host and _is_address(address) and type(port) is int and 0 < port <= _PORT_MAX
        ):
            return Peer(name, address, host, port)
    hint = f"an entry has an address (64 hex digits), a host and a port from 1 to {_PORT_MAX}"
    raise SettingsError(f"the peer {name!r} is not an entry", where=str(path), hint=hint)


def _is_address(text: str) -> bool:
    return len(text) == ADDRESS_LENGTH and set(text) <= set("0123456789abcdef")
