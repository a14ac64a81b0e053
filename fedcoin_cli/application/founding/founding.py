"""Founding: a new workspace with its keys, genesis, settings and the local miners' empty ledgers.

Everything is made in a folder of its own and put in place at the end, the genesis file last: an interrupted `init`
leaves no half workspace. An old workspace is moved aside, never deleted: its keys may hold money. Keys that are in
a folder which is not a workspace yet are its keys from then on. Which network it is decides a plan (`plans`).
"""

import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from fedcoin_cli.application.founding.plans import Beginning, Local, Network, NetworkPlan
from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.application.workspace.configuration import Configuration, FlagError, render
from fedcoin_cli.application.workspace.keyring import restore_key
from fedcoin_cli.application.workspace.peers import render_peers
from fedcoin_cli.application.workspace.workspace import MinerFolder, Workspace, miner_name
from ledger_store.base import disk
from ledger_store.base.canonical import encode
from ledger_store.base.errors import KeyFailure, Malformed, SettingsError
from ledger_store.base.names import Address
from ledger_store.file.chain_file import LOCK_NAME, ChainFile
from ledger_store.genesis import HOLDERS_MAX, Genesis
from ledger_store.identity.keyfile import KeyRecord, read_key
from ledger_store.identity.keys import KeyPair
from ledger_store.identity.passphrase import Passphrase

# In this order they are put in place: a folder is a workspace once it has a genesis file.
_ENTRIES = ("keys", "miners", "copy", "store", "rounds", "peers.toml", "settings.toml", "genesis.json")
# Whatever the umask: keys are secret, and so is what a miner has estimated before all have committed.
_PRIVATE = 0o700
LOCK = ".init.lock"
_MINER = re.compile(r"miner-([1-9][0-9]{0,3})")


@dataclass(frozen=True, slots=True)
class Founding:
    """A workspace to be made at `root` by a plan.

    New keys are sealed with `passphrase`, if any; `old` is a workspace whose keys are brought along.
    """

    root: Path
    configuration: Configuration
    plan: NetworkPlan
    passphrase: Passphrase | None = None
    old: Workspace | None = None

    @property
    def taken(self) -> tuple[Path, ...]:
        """What is at the places of the new workspace; keys alone are not a workspace, they are welcome."""
        standing = tuple(self.root / name for name in _ENTRIES if (self.root / name).exists())
        welcome = self.old is None and [path.name for path in standing] == ["keys"]
        return () if welcome else standing

    @property
    def kept(self) -> Workspace:
        """The folder whose keys the new workspace goes on using: the old one's, else those that are here."""
        nobody = Workspace(self.root / "nobody")
        return self.old or (nobody if self.taken else Workspace(self.root))

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the keys that would be made."""
        return tuple(name for name in self.plan.key_names if name not in self.kept.key_names())

    def check(self, *, force: bool) -> None:
        """Refuse a place that is taken, unless `force`, and in any case when its or the old miners are running.

        Raises `FlagError` or `Locked`.
        """
        if self.taken and not force:
            hint = "--force moves it into a folder previous-1; or name another folder"
            raise FlagError("there is a workspace here already", where=str(self.root), hint=hint)
        for workspace in {self.root, self.old.root if self.old else self.root}:
            for miner in Workspace(workspace).miners:
                os.close(disk.lock(miner.path / LOCK_NAME))

    def make(self, *, force: bool) -> Genesis:
        """Make the workspace; raises what `check` and the plan raise, `KeyFailure` and `StorageFailure`.

        Whatever is refused is refused before the first file is made. Of several at once one makes it, and the others
        wait and are refused, since it stands there then.
        """
        fresh = not self.root.exists()
        with disk.refusals(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        try:
            with disk.alone(self.root / LOCK):
                return self._make(force=force)
        except BaseException:
            if fresh:
                with suppress(OSError):  # somebody else may be making one in it
                    self.root.rmdir()
            raise

    def _make(self, *, force: bool) -> Genesis:
        self.check(force=force)  # whoever was here first has made it by now
        records = self._records()
        addresses = {name: record.address for name, record in records.items()}
        network = self.plan.network(addresses)
        genesis = _readable(network.genesis)
        seats = self._seats(addresses, genesis.roster)
        with disk.refusals(self.root):
            with tempfile.TemporaryDirectory(prefix=".init-", dir=self.root) as folder:
                self._build(Workspace(Path(folder)), network, records, seats)
                self._move_aside()
                for entry in map(Path(folder).joinpath, _ENTRIES):
                    if entry.exists():
                        self._put(entry, self.root / entry.name)
            disk.sync_folder(self.root)
        return genesis

    def _build(
        self, new: Workspace, network: Network, records: Mapping[str, KeyRecord], seats: Mapping[int, Address]
    ) -> None:
        for folder in (new.keys, new.store, new.rounds):
            folder.mkdir()
            folder.chmod(_PRIVATE)
        for name, record in self._new_files(records, seats).items():
            restore_key(new, name, record)
        for number, address in seats.items():
            _empty_ledger(new.miner_folder(number), address, network.genesis)
        new.peers_file.write_text(render_peers(network.peers), "utf-8")
        new.settings_file.write_text(self._settings(network, seats.values()), "utf-8")
        new.genesis_file.write_bytes(encode(network.genesis.to_json()) + b"\n")

    def _records(self) -> dict[str, KeyRecord]:
        """All keys of the new workspace by name: those that are kept, and fresh ones where the plan lacks any."""
        kept = {name: read_key(self.kept.key_file(name)) for name in self.kept.key_names()}
        fresh = {name: KeyRecord.of(KeyPair.generate(), self.passphrase) for name in self.missing}
        return {**fresh, **kept}

    def _seats(self, addresses: Mapping[str, Address], roster: tuple[Address, ...]) -> dict[int, Address]:
        """Which of the roster's miners run here, by number: keys called miner-N keep theirs."""
        named = {int(m[1]): addresses[name] for name in addresses if (m := _MINER.fullmatch(name))}
        seats = {number: address for number, address in sorted(named.items()) if address in roster}
        strangers = [number for number in named if number not in seats]
        if strangers and self.old is None:
            name = miner_name(strangers[0])
            hint = (
                f"give the founder what fedcoin key show {name} --at HOST:PORT prints, or move the key away"
            )
            raise KeyFailure(
                f"the key {name} is not on this network's roster", where=str(self.root), hint=hint
            )
        free = (number for number in itertools.count(1) if number not in named)
        others = (address for address in roster if address in addresses.values())
        return seats | {next(free): address for address in others if address not in seats.values()}

    def _new_files(
        self, records: Mapping[str, KeyRecord], seats: Mapping[int, Address]
    ) -> dict[str, KeyRecord]:
        """The key files to be written: what is not here yet, and a miner's key under its seat's name, too."""
        here = self.kept.key_names() if self.old is None else ()
        by_address = {record.address: record for record in records.values()}
        seated = {miner_name(number): by_address[address] for number, address in seats.items()}
        return {name: record for name, record in {**records, **seated}.items() if name not in here}

    def _settings(self, network: Network, local: Iterable[str]) -> str:
        """What was said on the command line and in the old workspace, what was counted by, and where to listen."""
        settings, given = self.configuration.settings, self.configuration.given
        said = {key for key, one in given.items() if one.origin == "flag"}
        carried = {key for key, one in given.items() if one.origin == "workspace"}
        values = {key: settings.value(key) for key in said | carried | {"task.clients"}}
        values["network.miners"] = len(network.genesis.roster)
        if not isinstance(self.plan, Local) and "network.bind" not in said:
            hosts = {peer.host for peer in network.peers if peer.address in set(local)}
            if len(hosts) == 1:
                values["network.bind"] = _bind_address(hosts.pop())
        return render(values, defaults=False)

    def _put(self, new: Path, place: Path) -> None:
        if place.exists():  # keys that stood here before
            for path in new.iterdir():
                (place / path.name).hardlink_to(path)  # never over a key that came meanwhile
        else:
            new.rename(place)

    def _move_aside(self) -> None:
        if taken := self.taken:
            folders = (self.root / f"previous-{number}" for number in itertools.count(1))
            previous = next(folder for folder in folders if not folder.exists())
            previous.mkdir(mode=0o700)
            # Genesis first: what remains of an interrupted move is not a workspace.
            for path in reversed(taken):
                shutil.move(path, previous / path.name)


def local_founding(root: Path, configuration: Configuration, time_ms: int) -> Founding:
    """A network whose miners and simulated clients are all this host's."""
    settings = configuration.settings
    beginning = Beginning.new(root.resolve().name, settings, time_ms)
    return Founding(root, configuration, Local(beginning, settings, settings.task.clients))


def _readable(genesis: Genesis) -> Genesis:
    """The genesis, if its own readers take it."""
    try:
        return Genesis.from_json(genesis.to_json())
    except Malformed as error:
        hint = (
            f"a network has at most {HOLDERS_MAX:,} accounts at its start and 2**53 - 1 micro-FedCoin in all"
        )
        raise SettingsError(f"this cannot be a genesis: {error.message}", hint=hint) from error


def _bind_address(host: str) -> str:
    """Where to listen so that others reach this host by that name; a name says nothing of interfaces."""
    try:
        ip_address(host)
    except ValueError:
        return "0.0.0.0"  # noqa: S104 -- whoever connects must prove an admitted key
    return host


def _empty_ledger(folder: MinerFolder, address: Address, genesis: Genesis) -> None:
    folder.evidence.mkdir(parents=True)
    for private in (folder.path.parent, folder.path, folder.evidence):
        private.chmod(_PRIVATE)
    ChainFile.create(folder.path, genesis).close()
    VoteLog.create(folder.votes, address, genesis.id).close()
