"""Which network a new workspace belongs to: one of local miners, one of invited people's, or one that exists.

A plan turns the addresses of the workspace's keys into a genesis and a peers file. Keys, folders and files are
`founding`'s business, where another chain ended `old_chain`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from fedcoin_cli.application.workspace.peers import Peer, read_peers
from fedcoin_cli.application.workspace.settings import Settings
from fedcoin_cli.application.workspace.workspace import REQUESTER, SERVER, client_name, miner_name
from fedcoin_cli.network.transport.admission import transport_public
from ledger_store.audit.succession import inherited
from ledger_store.base.disk import open_file
from ledger_store.base.errors import KeyFailure, LedgerInvalid, Malformed, NotFound, SettingsError
from ledger_store.base.names import Address, BlockId
from ledger_store.genesis import GENESIS_BYTES_MAX, ROSTER_MAX, Bounds, Genesis
from ledger_store.state import State

LEAST_SHAPLEY_MICRO_A_SECOND = 10_000
LEAST_SHAPLEY_MICRO = 10_000
"""What invited miners ask at least: 0.01 FedCoin a second of RUNTIME; nobody mines for strangers for nothing."""

_NAME_MOST = 64


@dataclass(frozen=True, slots=True)
class Network:
    """What a workspace knows of its network: what never changes, and where the miners listen today."""

    genesis: Genesis
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class Beginning:
    """Line 0 but for the roster. Without `supply` (address → micro) the requester holds `supply_micro`."""

    network: str
    time_ms: int
    delta_ms: int
    supply_micro: int = 0
    supply: Mapping[Address, int] | None = None
    bounds: Bounds = field(default_factory=Bounds)
    predecessor: BlockId | None = None

    @classmethod
    def new(cls, name: str, settings: Settings, time_ms: int) -> "Beginning":
        """A network that follows no other; its name becomes printable ASCII."""
        printable = "".join(sign if sign.isascii() and sign.isprintable() else "?" for sign in name)
        network = printable[:_NAME_MOST] or "fedcoin"
        return cls(network, time_ms, settings.genesis.delta_ms, settings.genesis.supply_micro)

    @classmethod
    def after(cls, end: State, time_ms: int, delta_ms: int | None = None) -> "Beginning":
        """The successor of the chain that ends here: its name, bounds and balances, and its delay unless told."""
        old = end.genesis
        return cls(
            network=old.network,
            time_ms=max(time_ms, end.time_ms),
            delta_ms=delta_ms or old.delta_ms,
            supply=inherited(end),
            bounds=old.bounds,
            predecessor=end.head,
        )

    def genesis(self, roster: tuple[Address, ...], requester: Address) -> Genesis:
        """Line 0 of the network of these miners."""
        supply = {requester: self.supply_micro} if self.supply is None else self.supply
        return Genesis(
            network=self.network,
            time_ms=self.time_ms,
            roster=roster,
            supply=tuple(sorted(supply.items())),
            delta_ms=self.delta_ms,
            bounds=self.bounds,
            predecessor=self.predecessor,
        )


class NetworkPlan(Protocol):
    """What a workspace is to be; `key_names` are the keys that it cannot do without."""

    @property
    def key_names(self) -> tuple[str, ...]:
        """Made where they are missing."""
        ...

    def network(self, addresses: Mapping[str, Address]) -> Network:
        """Genesis and peers, given the addresses of all keys by name; raises `FedCoinError`."""
        ...


@dataclass(frozen=True, slots=True)
class Local:
    """All miners are this host's; `clients` simulated clients get a key."""

    beginning: Beginning
    settings: Settings
    clients: int

    @property
    def key_names(self) -> tuple[str, ...]:
        """Requester, server, miners and clients."""
        return (REQUESTER, SERVER, *self._miners, *map(client_name, range(1, self.clients + 1)))

    @property
    def _miners(self) -> tuple[str, ...]:
        return tuple(miner_name(number + 1) for number in range(self.settings.network.miners))

    def network(self, addresses: Mapping[str, Address]) -> Network:
        """The roster is miner-1, miner-2, …, on consecutive pairs of ports."""
        network = self.settings.network
        host = network.advertise or network.bind
        peers = tuple(
            Peer(name, addresses[name], host, network.port + 2 * index)
            for index, name in enumerate(self._miners)
        )
        roster = tuple(peer.address for peer in peers)
        return Network(self.beginning.genesis(roster, addresses[REQUESTER]), peers)


@dataclass(frozen=True, slots=True)
class Invited:
    """The miners are those that listen in a roster file; who else is in it may connect to this host's."""

    beginning: Beginning
    roster: Path

    @property
    def key_names(self) -> tuple[str, ...]:
        """Requester and server: who founds holds the supply."""
        return (REQUESTER, SERVER)

    def network(self, addresses: Mapping[str, Address]) -> Network:
        """The roster in the file's order; raises `KeyFailure` for a key twice, or one that is none."""
        peers = read_roster(self.roster)
        bounds = self.beginning.bounds
        least = max(bounds.least_shapley_price_micro_a_second, LEAST_SHAPLEY_MICRO_A_SECOND)
        flat = max(bounds.least_shapley_price_micro, LEAST_SHAPLEY_MICRO)
        asked = replace(bounds, least_shapley_price_micro=flat, least_shapley_price_micro_a_second=least)
        beginning = replace(self.beginning, bounds=asked)
        roster = tuple(peer.address for peer in peers if peer.host)
        return Network(beginning.genesis(roster, addresses[REQUESTER]), peers)


@dataclass(frozen=True, slots=True)
class Joined:
    """A network that others founded: their genesis file, and a peers file that tells where its miners listen."""

    genesis_file: Path
    peers: Path

    @property
    def key_names(self) -> tuple[str, ...]:
        """Requester and server; a miner has made its key before, for the founder to know it."""
        return (REQUESTER, SERVER)

    def network(self, addresses: Mapping[str, Address]) -> Network:  # noqa: ARG002 -- as every plan
        """What the files say; raises `LedgerInvalid`, `NotFound` and `SettingsError`."""
        genesis, peers = read_genesis(self.genesis_file), read_peers(self.peers)
        lacking = len(set(genesis.roster) - {peer.address for peer in peers if peer.host})
        if lacking > len(genesis.roster) - genesis.quorum:
            message = f"{lacking} of the {len(genesis.roster)} miners are not in the peers file"
            hint = "ask a member for the peers file of this very network"
            raise SettingsError(message, where=str(self.peers), hint=hint)
        return Network(genesis, peers)


def read_roster(path: Path) -> tuple[Peer, ...]:
    """The entries of a roster file, at least one of which listens; raises `KeyFailure` and `SettingsError`."""
    peers, seen = read_peers(path), dict[bytes, str]()
    for peer in peers:
        key = transport_public(peer.address)
        if key is None:
            hint = f"ask {peer.name} for what fedcoin key show prints"
            raise KeyFailure(f"the address of {peer.name!r} is not a key", where=str(path), hint=hint)
        if (other := seen.setdefault(key, peer.name)) != peer.name:
            hint = "every miner has a key of its own"
            raise KeyFailure(f"{other!r} and {peer.name!r} have one key", where=str(path), hint=hint)
    if not 1 <= sum(bool(peer.host) for peer in peers) <= ROSTER_MAX:
        hint = f"a network has 1 to {ROSTER_MAX} miners; fedcoin key show NAME --at HOST:PORT prints an entry"
        raise SettingsError("no miner in this roster, or too many", where=str(path), hint=hint)
    return peers


def read_genesis(path: Path) -> Genesis:
    """Line 0 of a genesis or chain file; raises `NotFound` and `LedgerInvalid`."""
    hint = "ask a member for the genesis.json of the network"
    try:
        with open_file(path) as file:
            line = file.readline(GENESIS_BYTES_MAX + 2)
        return Genesis.from_line(line.removesuffix(b"\n"))
    except FileNotFoundError as error:
        raise NotFound("no such genesis file", where=str(path), hint=hint) from error
    except OSError as error:
        raise NotFound(f"cannot read the genesis: {error.strerror}", where=str(path), hint=hint) from error
    except Malformed as error:
        raise LedgerInvalid(f"this is not a genesis: {error.message}", where=str(path), hint=hint) from error
