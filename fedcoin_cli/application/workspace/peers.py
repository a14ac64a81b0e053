"""The peers file: where each miner of the network listens. Endpoints change, so genesis does not hold them.

A miner takes two ports: messages on `port`, files on the one after it. An entry with an address alone is somebody who
listens nowhere and may connect to the miners of this host: an auditor, for example. A roster file has the same form.
"""

import re
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcoin_cli.application.workspace.workspace import NAMES, is_name
from ledger_store.base import disk
from ledger_store.base.errors import SettingsError
from ledger_store.base.names import ADDRESS_LENGTH, Address

_BYTES_MAX = 2**20
_PORT_MAX = 65_534


@dataclass(frozen=True, slots=True)
class Peer:
    """Its name in this file, its address (hex key), the host and port where it listens; no host: nowhere."""

    name: str
    address: Address
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
        with disk.open_file(path) as file:
            text = file.read(_BYTES_MAX + 1)
        if len(text) > _BYTES_MAX:
            raise ValueError("larger than 1 MiB")
        document = tomllib.loads(text.decode())
    # Numbers of thousands of digits and towers of brackets are refused by Python, not by tomllib.
    except (ValueError, RecursionError, OSError) as error:
        hint = "write one [name] section a miner, with address, host and port"
        raise SettingsError(f"cannot read the peers: {error}", where=str(path), hint=hint) from error
    return tuple(_peer(path, name, entry) for name, entry in document.items())


def render_peers(peers: Iterable[Peer]) -> str:
    """The text of a peers file."""
    head = "# Where this network's miners listen: messages on the port, files on the one after it.\n"
    return head + "".join(map(render_peer, peers))


def render_peer(peer: Peer) -> str:
    """One entry, with the empty line before it."""
    listens = f'host = "{peer.host}"\nport = {peer.port}\n' if peer.host else ""
    return f'\n[{peer.name}]\naddress = "{peer.address}"\n{listens}'


def listening(path: Path, roster: Collection[Address]) -> tuple[Peer, ...]:
    """The entries of miners of the roster that listen somewhere; raises `SettingsError`."""
    return tuple(peer for peer in read_peers(path) if peer.host and peer.address in roster)


def own_entry(path: Path, address: Address) -> Peer:
    """Where the miner with this address itself listens; raises `SettingsError` where nobody knows."""
    for peer in read_peers(path):
        if peer.address == address and peer.host:
            return peer
    hint = "add its address, host and port"
    raise SettingsError("this miner has no entry among the peers", where=str(path), hint=hint)


def parse_endpoint(name: str, address: Address, text: str) -> Peer:
    """The entry of a miner that listens at HOST:PORT; ValueError says what is wrong with the text."""
    host, colon, port = text.rpartition(":")
    if not (colon and _is_host(host) and port.isdecimal() and 0 < int(port) <= _PORT_MAX):
        raise ValueError(f"HOST:PORT is wanted, with a port from 1 to {_PORT_MAX}")
    return Peer(name, Address(address), host, int(port))


def _peer(path: Path, name: str, entry: Any) -> Peer:
    if not is_name(name):
        raise SettingsError(f"{name!r} is not a peer's name", where=str(path), hint=NAMES)
    match entry:
        case {"address": str(address), "host": str(host), "port": int(port), **rest} if (
            not rest
            and _is_host(host)
            and _is_address(address)
            and type(port) is int
            and 0 < port <= _PORT_MAX
        ):
            return Peer(name, Address(address), host, port)
        case {"address": str(address), **rest} if not rest and _is_address(address):
            return Peer(name, Address(address), "", 0)
    hint = f"an entry has an address (64 hex digits), a host and a port from 1 to {_PORT_MAX}"
    raise SettingsError(f"the peer {name!r} is not an entry", where=str(path), hint=hint)


def _is_address(text: str) -> bool:
    return len(text) == ADDRESS_LENGTH and set(text) <= set("0123456789abcdef")


def _is_host(text: str) -> bool:
    """A name or an IPv4 address; the transport speaks no IPv6."""
    return re.fullmatch(r"[A-Za-z0-9._-]+", text) is not None
