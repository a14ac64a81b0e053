"""The keys of a folder: made, restored, sealed anew. The folder need not be a workspace yet: keys come first.

What is in a key file is `ledger_store.identity.keyfile`'s business, which keys a network needs `founding`'s.
"""

from collections.abc import Iterable

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.disk import refusals
from ledger_store.base.errors import KeyFailure, Malformed
from ledger_store.base.names import Address
from ledger_store.identity.armor import TEXT_MOST, dearmored
from ledger_store.identity.keyfile import KeyRecord, read_key, save_record
from ledger_store.identity.keys import KeyPair
from ledger_store.identity.passphrase import Passphrase


def make_key(folder: Workspace, name: str, passphrase: Passphrase | None = None) -> str:
    """A new key; returns its address. Raises `KeyFailure` where there is one."""
    return restore_key(folder, name, KeyRecord.of(KeyPair.generate(), passphrase))


def restore_key(folder: Workspace, name: str, record: KeyRecord) -> str:
    """Keep a key under this name; returns its address. Raises `KeyFailure` where there is one."""
    path = folder.key_file(name)
    with refusals(folder.keys):
        if not folder.keys.is_dir():
            folder.keys.mkdir(parents=True, exist_ok=True)
            folder.keys.chmod(0o700)  # whatever the umask
    save_record(path, record)
    return record.address


def reseal(folder: Workspace, names: Iterable[str], passphrase: Passphrase | None) -> None:
    """Give keys another passphrase, or none; not one is changed unless all of them open."""
    opened = {name: folder.key(name) for name in names}
    for name, key in opened.items():
        save_record(folder.key_file(name), KeyRecord.of(key, passphrase), replace=True)


def sealed_keys(folder: Workspace, names: Iterable[str]) -> tuple[str, ...]:
    """Those of these keys that need a passphrase; raises `KeyFailure`."""
    return tuple(name for name in names if read_key(folder.key_file(name)).sealed)


def key_of(folder: Workspace, address: Address) -> KeyPair:
    """The key here that has this address; raises `KeyFailure`."""
    for name in folder.key_names():
        if folder.address(name) == address:
            return folder.key(name)
    hint = "fedcoin train makes the keys of simulated clients; restore the folder keys/ as it was then"
    raise KeyFailure("no key here has the address of a simulated client", where=address, hint=hint)


def read_armor(text: bytes, where: str) -> tuple[str, KeyRecord]:
    """Name and key of an export; raises `KeyFailure`."""
    hint = "give the text that fedcoin key export printed, from its first line to its last"
    try:
        if len(text) > TEXT_MOST:
            raise Malformed(f"longer than {TEXT_MOST} bytes")
        return dearmored(text.decode("utf-8", "replace"))
    except Malformed as error:
        raise KeyFailure(f"no exported key: {error.message}", where=where, hint=hint) from error
