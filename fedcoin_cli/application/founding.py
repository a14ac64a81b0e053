"""Founding a network: a new workspace with its keys, genesis, settings and the miners' empty ledgers.

Everything is made in a folder of its own and put in place at the end, the genesis file last: an interrupted
`init` leaves no half workspace. An old workspace is moved aside, never deleted: its keys may hold money.
"""

import itertools
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fedcoin_cli.application.miner.votelog import VoteLog
from fedcoin_cli.application.workspace.configuration import Configuration, FlagError, render
from fedcoin_cli.application.workspace.peers import Peer, render_peers
from fedcoin_cli.application.workspace.workspace import (
    REQUESTER,
    SERVER,
    MinerFolder,
    Workspace,
    client_name,
    miner_name,
)
from ledger_store import disk
from ledger_store.canonical import encode
from ledger_store.genesis import Genesis
from ledger_store.jsonl import LOCK_NAME, ChainFile
from ledger_store.keyfile import save_key
from ledger_store.keys import KeyPair

# In this order they are put in place: a folder is a workspace once it has a genesis file.
_ENTRIES = ("keys", "miners", "store", "rounds", "peers.toml", "settings.toml", "genesis.json")


@dataclass(frozen=True, slots=True)
class Founding:
    """A workspace to be made at `root` with these settings, at `time_ms` (Unix)."""

    root: Path
    configuration: Configuration
    time_ms: int

    @property
    def miners(self) -> tuple[str, ...]:
        """The names of the local miners' keys."""
        return tuple(miner_name(number + 1) for number in range(self.configuration.settings.network.miners))

    @property
    def clients(self) -> tuple[str, ...]:
        """The names of the clients' keys."""
        return tuple(client_name(number + 1) for number in range(self.configuration.settings.task.clients))

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names of all keys."""
        return (REQUESTER, SERVER, *self.miners, *self.clients)

    @property
    def taken(self) -> tuple[Path, ...]:
        """What stands at the places of the new workspace."""
        return tuple(self.root / name for name in _ENTRIES if (self.root / name).exists())

    def check(self, *, force: bool) -> None:
        """Refuse a place that is taken, unless `force`, and in any case one whose miners are running.

        Raises `FlagError` or `Locked`.
        """
        if self.taken and not force:
            hint = "--force moves it into a folder previous-1; or name another folder"
            raise FlagError("a workspace stands here already", where=str(self.root), hint=hint)
        for miner in Workspace(self.root).miners:
            os.close(disk.lock(miner.path / LOCK_NAME))

    def make(self, *, force: bool) -> Genesis:
        """Make the workspace; raises what `check` raises and `StorageFailure`."""
        self.check(force=force)
        with disk.refusals(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".init-", dir=self.root) as folder:
                genesis = self._build(Workspace(Path(folder)))
                self._move_aside()
                for name in _ENTRIES:
                    (Path(folder) / name).rename(self.root / name)
            disk.sync_folder(self.root)
        return genesis

    def _build(self, new: Workspace) -> Genesis:
        for folder in (new.keys, new.store, new.rounds):
            folder.mkdir(mode=0o700)
        keys = {name: KeyPair.generate() for name in self.key_names}
        for name, key in keys.items():
            save_key(new.key_file(name), key)
        roster = tuple(keys[name].address for name in self.miners)
        genesis = self._genesis(roster, keys[REQUESTER].address)
        for number, address in enumerate(roster, start=1):
            _empty_ledger(new.miner_folder(number), address, genesis)
        new.peers_file.write_text(render_peers(self._peers(roster)), "utf-8")
        new.settings_file.write_text(self._settings(), "utf-8")
        new.genesis_file.write_bytes(encode(genesis.to_json()) + b"\n")
        return genesis

    def _genesis(self, roster: tuple[str, ...], requester: str) -> Genesis:
        fixed = self.configuration.settings.genesis
        return Genesis(
            network=self.root.resolve().name[:64] or "fedcoin",
            time_ms=self.time_ms,
            roster=roster,
            supply=((requester, fixed.supply_micro),),
            delta_ms=fixed.delta_ms,
        )

    def _peers(self, roster: tuple[str, ...]) -> list[Peer]:
        network = self.configuration.settings.network
        host = network.advertise or network.bind
        return [
            Peer(name, address, host, network.port + 2 * index)
            for index, (name, address) in enumerate(zip(self.miners, roster, strict=True))
        ]

    def _settings(self) -> str:
        """What was said on the command line, and what the keys were counted by."""
        said = {key for key, one in self.configuration.given.items() if one.origin == "flag"}
        keys = said | {"task.clients", "network.miners"}
        return render({key: self.configuration.settings.value(key) for key in keys}, defaults=False)

    def _move_aside(self) -> None:
        if taken := self.taken:
            folders = (self.root / f"previous-{number}" for number in itertools.count(1))
            previous = next(folder for folder in folders if not folder.exists())
            previous.mkdir(mode=0o700)
            # Genesis first: what remains of an interrupted move is no workspace.
            for path in reversed(taken):
                shutil.move(path, previous / path.name)


def _empty_ledger(miner: MinerFolder, address: str, genesis: Genesis) -> None:
    miner.evidence.mkdir(parents=True)
    ChainFile.create(miner.path, genesis).close()
    VoteLog.create(miner.votes, address, genesis.id).close()
