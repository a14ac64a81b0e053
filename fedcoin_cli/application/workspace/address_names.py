"""Names for addresses, both ways: the keys kept in the workspace, then the peers file.

Nothing is believed here: a name is what this workspace calls an address.
"""

from collections.abc import Iterable, Mapping

from fedcoin_cli.application.workspace.peers import read_peers
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.errors import FedCoinError, NotFound
from ledger_store.base.names import ADDRESS_LENGTH, Address

_SHORT, _PREFIX_LEAST = 16, 4


class Names:
    """Names by address; unreadable keys and peers have none."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)
        self._names = {address: name for name, address in addresses.items()}

    @classmethod
    def of(cls, workspace: Workspace) -> "Names":
        """The names that `workspace` knows; a key's name goes before a peer's."""
        peers = _peers(workspace)
        keys = {name: address for name in workspace.key_names() if (address := _address(workspace, name))}
        return cls({**{n: a for n, a in peers.items() if a not in keys.values()}, **keys})

    def name(self, address: str) -> str:
        """What people read: the name, else the address' first characters."""
        return self._names.get(address) or f"{address[:_SHORT]}…"

    def known(self, address: str) -> str | None:
        """The name, None without one."""
        return self._names.get(address)

    def address(self, text: str, accounts: Iterable[Address] = ()) -> Address:
        """The address that is meant by a name, an address, or the beginning of one of `accounts`; raises `NotFound`."""
        if text in self._addresses:
            return Address(self._addresses[text])
        if len(text) == ADDRESS_LENGTH and set(text) <= set("0123456789abcdef"):
            return Address(text)
        begin = text.removesuffix("…")
        found = [one for one in accounts if one.startswith(begin)] if len(begin) >= _PREFIX_LEAST else []
        if len(found) == 1:
            return found[0]
        if found:
            hint = "write more of the address"
            raise NotFound(f"{len(found)} accounts begin with {text!r}", where="the ledger", hint=hint)
        hint = (
            f"write an address (64 hex digits) or one of: {', '.join(sorted(self._addresses)) or 'no names'}"
        )
        raise NotFound(f"nobody here is called {text!r}", where="keys/ and peers.toml", hint=hint)


def _address(workspace: Workspace, name: str) -> str | None:
    try:
        return workspace.address(name)
    except FedCoinError:
        return None


def _peers(workspace: Workspace) -> dict[str, str]:
    try:
        return {peer.name: peer.address for peer in read_peers(workspace.peers_file)}
    except FedCoinError:
        return {}
