"""Key files: one secret key each, readable by its owner only, in the clear or sealed by a passphrase.

One line of canonical JSON: `address`, `format` 1, and either `seed` (hex) or `sealed` (see `passphrase`). The address
is readable either way: names, lists and rosters need no secret. Files appear whole or not at all, and nothing is
overwritten unless a caller means to.
"""

import os
import resource
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ledger_store.base.canonical import decode, encode
from ledger_store.base.disk import open_file, refusals, sync_folder
from ledger_store.base.errors import KeyFailure, Malformed
from ledger_store.base.fields import Fields
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair
from ledger_store.identity.passphrase import Passphrase, Sealed

_PR_SET_DUMPABLE = 4
_BYTES_MOST = 4096

Ask = Callable[[], Passphrase]
"""Whoever can get the passphrase; it is asked only for a sealed key."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What a key file holds: the address, and the secret as a seed or sealed."""

    address: Address
    """The public key: names and rosters need no secret."""
    secret: bytes | Sealed
    """The 32 bytes of the seed, or what a passphrase opens."""

    @property
    def sealed(self) -> bool:
        """Whether a passphrase is needed to use it."""
        return isinstance(self.secret, Sealed)

    @classmethod
    def of(cls, key: KeyPair, passphrase: Passphrase | None = None) -> "KeyRecord":
        """The record of a key, sealed when there is a passphrase."""
        return cls(key.address, key.seed if passphrase is None else passphrase.seal(key.seed))

    def to_bytes(self) -> bytes:
        """The file's one line."""
        fields: dict[str, object] = {"address": self.address, "format": 1}
        if isinstance(self.secret, Sealed):
            fields["sealed"] = self.secret.to_json()
        else:
            fields["seed"] = self.secret.hex()
        return encode(fields) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> "KeyRecord":
        """Read a file's bytes; raises `Malformed`, also for an address that is not a clear key's."""
        value = decode(data.rstrip(b"\n"))
        sealed = type(value) is dict and "sealed" in value
        fields = Fields(value, ("address", "format", "sealed" if sealed else "seed"), "key file")
        fields.integer("format", 1, 1)
        address = fields.address("address")
        if sealed:
            return cls(address, Sealed.from_json(fields.raw("sealed")))
        record = cls(address, bytes.fromhex(fields.hexadecimal("seed", 64)))
        record.open(None, "")
        return record

    def open(self, ask: Ask | None, where: str) -> KeyPair:
        """The key; raises `KeyFailure` without the right passphrase, `Malformed` for somebody else's address.

        [P-2.6]
        """
        key = KeyPair(self._seed(ask, where))
        if key.address != self.address:
            raise Malformed("key file: the address does not belong to the key")
        return key

    def _seed(self, ask: Ask | None, where: str) -> bytes:
        if not isinstance(self.secret, Sealed):
            return self.secret
        if ask is None:
            hint = "--passphrase-file FILE gives the passphrase; at a terminal fedcoin asks for it"
            raise KeyFailure("this key needs its passphrase", where=where, hint=hint)
        seed = ask().open(self.secret)
        if seed is None:
            hint = "try again; without its passphrase the key is lost, unless an export of it has another"
            raise KeyFailure("the passphrase does not open this key", where=where, hint=hint)
        return seed


def read_key(path: Path) -> KeyRecord:
    """Read a key file; raises `KeyFailure`, also for one that other users can read (docs/adr/0010) [P-2.6]."""
    try:
        with open_file(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_BYTES_MOST)
    except FileNotFoundError as error:
        hint = "fedcoin key list shows the keys here; fedcoin key new makes one, key import restores one"
        raise KeyFailure("no such key", where=str(path), hint=hint) from error
    except OSError as error:
        hint = "check that it is a file and that it is yours"
        raise KeyFailure(f"cannot read the key: {error.strerror}", where=str(path), hint=hint) from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeyFailure("other users can read this key", where=str(path), hint=f"chmod 600 {path}")
    try:
        return KeyRecord.from_bytes(data)
    except Malformed as error:
        raise _damaged(error, path) from error


def load_key(path: Path, ask: Ask | None = None) -> KeyPair:
    """Read a key file and open it; raises `KeyFailure`."""
    keep_out_of_core_files()
    record = read_key(path)
    try:
        return record.open(ask, str(path))
    except Malformed as error:
        raise _damaged(error, path) from error


def keep_out_of_core_files() -> None:
    """From now on a crash of this process leaves no image of its memory: a secret key would be in it.

    Both ways are needed: the limit is for files and goes on to child processes; but the kernel hands the image to a
    program that collects crashes whatever the limit, unless the process is marked. A mark costs nothing but that only
    root may look into the process with a debugger.
    """
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def save_key(path: Path, key: KeyPair, passphrase: Passphrase | None = None) -> None:
    """Write a new key file; see `save_record`."""
    save_record(path, KeyRecord.of(key, passphrase))


def save_record(path: Path, record: KeyRecord, *, replace: bool = False) -> None:
    """Write a key file; see `write_private`."""
    write_private(path, record.to_bytes(), replace=replace)


def write_private(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a file with mode 0600, durably and at once; an existing one only when it is to be replaced.

    Raises `KeyFailure` where there is one, `StorageFailure` when the disk refuses; no half of it stays.
    """
    with refusals(path):
        staged = _staged(path, data)
        try:
            if replace:
                staged.replace(path)
            else:
                path.hardlink_to(staged)
        except FileExistsError as error:
            hint = "choose another name, or move the old key away"
            raise KeyFailure("this key exists already", where=str(path), hint=hint) from error
        finally:
            with suppress(FileNotFoundError):
                staged.unlink()
        sync_folder(path.parent)


def _staged(path: Path, data: bytes) -> Path:
    import tempfile

    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        Path(name).unlink()
        raise
    return Path(name)


def _damaged(error: Malformed, path: Path) -> KeyFailure:
    hint = "restore it from a backup: fedcoin key import reads an export"
    return KeyFailure(error.message, where=str(path), hint=hint)
