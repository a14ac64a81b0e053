"""The workspace: one folder that holds a network's settings, keys, miners' ledgers and rounds.

    settings.toml   genesis.json   peers.toml   keys/NAME.key
    miners/I/{chain.jsonl, tip.json, votes.sqlite, evidence/, node.log, node.out, node.pid}
    copy/{chain.jsonl, tip.json}    store/DIGEST    rounds/N/

Only places are decided here: what is in the files belongs to the modules that read and write them.
"""

import contextlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ledger_store.base.disk import open_file
from ledger_store.base.errors import FedCoinError, KeyFailure, LedgerInvalid, Malformed, NotFound, NoWorkspace
from ledger_store.base.names import Address
from ledger_store.genesis import GENESIS_BYTES_MAX, Genesis
from ledger_store.identity.keyfile import Ask, load_key, read_key
from ledger_store.identity.keys import KeyPair

if TYPE_CHECKING:
    from ledger_store.file.snapshot import Seal

REQUESTER, SERVER = "requester", "server"
"""The names of the keys of who publishes tasks and of the FL server that is paid."""

NAMES = "a name begins with a letter or digit and has 1 to 64 letters, digits, - and _, for example miner-1"
_GENESIS = "genesis.json"


@dataclass(frozen=True, slots=True)
class MinerFolder:
    """The files of one local miner; `number` counts from 1."""

    number: int
    path: Path

    @property
    def name(self) -> str:
        """The name of the miner's key."""
        return miner_name(self.number)

    @property
    def chain(self) -> Path:
        """The ledger: line h is block h."""
        return self.path / "chain.jsonl"

    @property
    def tip(self) -> Path:
        """The newest block's own certificate."""
        return self.path / "tip.json"

    @property
    def votes(self) -> Path:
        """The vote log."""
        return self.path / "votes.sqlite"

    @property
    def evidence(self) -> Path:
        """Certificates and justifications of heights decided after view 0."""
        return self.path / "evidence"

    @property
    def log(self) -> Path:
        """What the miner's process says."""
        return self.path / "node.log"

    @property
    def process(self) -> Path:
        """Which process runs the miner."""
        return self.path / "node.pid"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder with a genesis file in it. `ask` gets the passphrase when a sealed key is to be used."""

    root: Path
    ask: Ask | None = field(default=None, compare=False, repr=False)

    @classmethod
    def find(cls, start: Path | None = None, ask: Ask | None = None) -> "Workspace":
        """The workspace at `start`, or the nearest one at or above the current folder when none is named.

        Raises `NoWorkspace`.
        """
        # A shell leaves ~ alone within quotes, and nobody's shell has seen what stands in a script.
        here = Path(os.path.expanduser(start or Path())).resolve()  # noqa: PTH111 -- it never raises
        for folder in (here,) if start else (here, *here.parents):
            if (folder / _GENESIS).is_file():
                return cls(folder, ask)
        hint = f"fedcoin init{f' {start}' if start else ''} makes one, -C DIR names one"
        raise NoWorkspace("no FedCoin workspace here", where=str(here), hint=hint)

    @property
    def settings_file(self) -> Path:
        """The workspace's settings."""
        return self.root / "settings.toml"

    @property
    def genesis_file(self) -> Path:
        """Line 0 of every chain of this network."""
        return self.root / _GENESIS

    @property
    def peers_file(self) -> Path:
        """Where the miners listen."""
        return self.root / "peers.toml"

    @property
    def keys(self) -> Path:
        """The folder of secret keys, closed to other users."""
        return self.root / "keys"

    @property
    def store(self) -> Path:
        """Files by digest, shared by the miners of this host."""
        return self.root / "store"

    @property
    def copy(self) -> Path:
        """The ledger as far as a member without a miner has verified it."""
        return self.root / "copy"

    @property
    def rounds(self) -> Path:
        """The folder of rounds."""
        return self.root / "rounds"

    @property
    def miners(self) -> tuple[MinerFolder, ...]:
        """The local miners in order of their numbers."""
        return tuple(self.miner_folder(number) for number in _numbered(self._miners))

    @property
    def contained(self) -> Path:
        """There once miners of this workspace have run in containers."""
        return self._miners / "contained"

    @property
    def _miners(self) -> Path:
        return self.root / "miners"

    def miner_folder(self, number: int) -> MinerFolder:
        """Where a local miner's files belong, whether or not they exist."""
        return MinerFolder(number, self._miners / str(number))

    def miner(self, number: int) -> MinerFolder:
        """One local miner by its number from 1; raises `NotFound`."""
        folder = self.miner_folder(number)
        if not folder.path.is_dir():
            hint = f"local miners here: {', '.join(str(one.number) for one in self.miners) or 'none'}"
            raise NotFound(f"no miner {number} in this workspace", where=str(self._miners), hint=hint)
        return folder

    def genesis(self) -> Genesis:
        """The network's genesis; raises `LedgerInvalid` when the file is damaged."""
        try:
            with open_file(self.genesis_file) as file:
                return Genesis.from_line(file.read(GENESIS_BYTES_MAX + 2).rstrip(b"\n"))
        except (Malformed, OSError) as error:
            hint = "restore it from a backup or from another member: it never changes; or it is another version's"
            reason = error.message if isinstance(error, FedCoinError) else error.strerror
            raise LedgerInvalid(f"{reason}", where=str(self.genesis_file), hint=hint) from error

    def seal(self, ledger: Path) -> "Seal | None":
        """Who seals the snapshots of a ledger here: its miner, and the requester those of a member's copy.

        None without that key in the clear: all blocks are folded then.
        """
        from ledger_store.file.snapshot import Seal

        name = REQUESTER if ledger == self.copy else miner_name(int(ledger.name))
        try:
            return Seal(load_key(self.key_file(name)), self.genesis())
        except FedCoinError:
            return None

    def key_file(self, name: str) -> Path:
        """Where the key of that name is kept; raises `KeyFailure` for what is not a name."""
        if not is_name(name):
            raise KeyFailure(f"{name!r} is not a key's name", where=str(self.keys), hint=NAMES)
        return self.keys / f"{name}.key"

    def key(self, name: str) -> KeyPair:
        """The key of that name; raises `KeyFailure`."""
        return load_key(self.key_file(name), self.ask)

    def address(self, name: str) -> Address:
        """The address of the key of that name, which needs no passphrase; raises `KeyFailure`."""
        return read_key(self.key_file(name)).address

    def key_names(self) -> tuple[str, ...]:
        """The names of the keys kept here, sorted."""
        return tuple(sorted(path.stem for path in self.keys.glob("*.key") if is_name(path.stem)))

    def odd_keys(self) -> tuple[Path, ...]:
        """Files of keys whose names are none: nothing here can use them until they are renamed."""
        return tuple(sorted(path for path in self.keys.glob("*.key") if not is_name(path.stem)))

    def round(self, number: int) -> Path:
        """The folder of round `number`, whether or not it exists."""
        return self.rounds / str(number)

    def latest_round(self) -> Path:
        """The folder of the newest round, made or called for; raises `NotFound`.

        A folder without either file is what an interrupted command has left.
        """
        for number in reversed(_numbered(self.rounds)):
            folder = self.round(number)
            if any((folder / name).is_file() for name in ("round.json", "call.json")):
                return folder
        raise NotFound("no round yet", where=str(self.rounds), hint="fedcoin train makes one")

    def new_round(self) -> Path:
        """Make the folder of the next round; two processes never get the same."""
        self.rounds.mkdir(exist_ok=True)
        while True:
            path = self.round(max(_numbered(self.rounds), default=0) + 1)
            try:
                path.mkdir()
            except FileExistsError:
                continue
            except BaseException:  # Ctrl-C at the moment at which it was made
                with contextlib.suppress(OSError):
                    path.rmdir()
                raise
            return path


def is_name(text: str) -> bool:
    """Whether a key or a peer may be called this: names come from strangers, and go to terminals and spreadsheets."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text) is not None


def miner_name(number: int) -> str:
    """The key's name of local miner `number`, from 1."""
    return f"miner-{number}"


def client_name(number: int) -> str:
    """The key's name of client `number`, from 1; it sorts like the number."""
    return f"client-{number:03d}"


def _numbered(folder: Path) -> list[int]:
    """The numbers that name folders in `folder`, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())
