"""Make, list, show, seal, export and restore keys.

What is in a key file is decided in `identity.keyfile`, how several are handled in `workspace.keyring`.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.output import table
from fedcoin_cli.cli.program.passphrases import Asker, PassphraseFile, new_passphrase
from ledger_store.base.errors import FedCoinError, KeyFailure, NoWorkspace

_PIPE = Path("-")


class Action(StrEnum):
    """What to do with keys."""

    new = "new"
    list = "list"
    show = "show"
    passwd = "passwd"  # noqa: S105 -- a verb
    export = "export"
    restore = "import"


EXAMPLES = (
    ("fedcoin key list", "names and addresses"),
    ("fedcoin key new carol", "a key of that name"),
    ("fedcoin key show miner-1 --at ben.example:7460", "what a founder needs of a miner"),
)


def run(  # noqa: PLR0913, PLR0917 -- one parameter an option
    call: Call,
    action: Annotated[Action, typer.Argument(help="What to do.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...", help="The keys' names; for import the file, or - for standard input."
        ),
    ] = None,
    protect: Annotated[
        bool, typer.Option("--protect", help="new: seal the key with a passphrase that is asked for.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    new_file: Annotated[
        Path | None,
        typer.Option("--new-passphrase-file", metavar="FILE|-", help="passwd: where the new one is."),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="passwd: keep the keys without a passphrase.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="export: a new file; default: stdout."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="import: keep it under another name.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="HOST:PORT", help="show: print the miner's entry for a roster file."),
    ] = None,
) -> None:
    """Make, list, show, seal, export and restore keys.

    new makes a key and tells its address, which is public; a folder needs no network yet to hold keys. show
    with --at prints what a founder needs of a miner. passwd seals keys (all of them, unless named) or gives
    them another passphrase. export prints a key as a block of text with a checksum, sealed as it is; import
    restores one. Nothing is ever overwritten. A sealed key without its passphrase is lost, and so is its money.
    """
    folder, given = _folder(call, action, passphrase_file), tuple(names or ())
    match action:
        case Action.new:
            _new(call, folder, given, protect=protect, file=passphrase_file)
        case Action.list:
            _list(call, folder)
        case Action.show:
            _show(call, folder, given, at)
        case Action.passwd:
            _passwd(call, folder, given, new_file, remove=remove)
        case Action.export:
            _export(call, folder, given, output)
        case Action.restore:
            _restore(call, folder, given, name)


def _folder(call: Call, action: Action, passphrase_file: Path | None) -> Workspace:
    """The workspace, or where one may be later."""
    try:
        return call.workspace(passphrase_file)
    except NoWorkspace:
        folder = Workspace((call.folder or Path()).resolve(), Asker(passphrase_file))
        if not folder.keys.is_dir() and action not in {Action.new, Action.restore}:
            raise
        return folder


def _new(call: Call, folder: Workspace, names: tuple[str, ...], *, protect: bool, file: Path | None) -> None:
    from fedcoin_cli.application.workspace.keyring import make_key

    for name in names or _missing("a name for the new key, for example miner-1"):
        if folder.key_file(name).exists():
            hint = "choose another name, or move the old key away"
            raise KeyFailure("this key exists already", where=str(folder.key_file(name)), hint=hint)
    passphrase = new_passphrase(file) if protect or file is not None else None
    made = {name: make_key(folder, name, passphrase) for name in names}
    lines = [f"{name}  {address}" for name, address in made.items()]
    call.output.answer({"keys": made, "sealed": passphrase is not None}, lines)


def _list(call: Call, folder: Workspace) -> None:
    from fedcoin_cli.application.workspace.workspace import NAMES
    from ledger_store.identity.keyfile import read_key

    rows, data = [], []
    for path in folder.odd_keys():
        call.output.warn(f"{path} is passed over: {NAMES}")
    for name in folder.key_names():
        try:
            record = read_key(folder.key_file(name))
        except FedCoinError as error:
            call.output.warn(f"{error.message} ({error.where})")
            continue
        rows.append([name, "sealed" if record.sealed else "clear", record.address])
        data.append({"name": name, "address": record.address, "sealed": record.sealed})
    call.output.answer({"folder": str(folder.keys), "keys": data}, table(["key", "kept", "address"], rows))


def _show(call: Call, folder: Workspace, names: tuple[str, ...], at: str | None) -> None:
    from fedcoin_cli.application.workspace.peers import parse_endpoint, render_peer
    from ledger_store.identity.keyfile import read_key

    (name,) = names if len(names) == 1 else _missing("the name of one key")
    record = read_key(folder.key_file(name))
    data = {"name": name, "address": record.address, "sealed": record.sealed}
    if at is None:
        call.output.answer(data, [record.address])
        return
    try:
        peer = parse_endpoint(name, record.address, at)
    except ValueError as error:
        raise typer.BadParameter(f"--at {at}: {error}") from error
    call.output.answer(data | {"host": peer.host, "port": peer.port}, render_peer(peer).strip().splitlines())


def _passwd(
    call: Call, folder: Workspace, names: tuple[str, ...], new_file: Path | None, *, remove: bool
) -> None:
    from fedcoin_cli.application.workspace.keyring import reseal, sealed_keys

    if remove and new_file is not None:
        raise typer.BadParameter("--remove takes the passphrase away: leave out --new-passphrase-file")
    chosen = names or folder.key_names()
    if sealed_keys(folder, chosen) and folder.ask is not None:
        folder.ask()  # the old one is asked for before the new one
    reseal(folder, chosen, None if remove else new_passphrase(new_file))
    done = "clear now" if remove else "sealed"
    call.output.answer({"keys": list(chosen), "sealed": not remove}, [f"{done}: {', '.join(chosen)}"])


def _export(call: Call, folder: Workspace, names: tuple[str, ...], output: Path | None) -> None:
    from ledger_store.identity.armor import armored
    from ledger_store.identity.keyfile import read_key, write_private

    (name,) = names if len(names) == 1 else _missing("the name of one key")
    record = read_key(folder.key_file(name))
    text = armored(name, record)
    if not record.sealed:
        call.output.warn("this key is not sealed: whoever reads the export can spend its money")
    data = {"name": name, "address": record.address, "sealed": record.sealed}
    if output is None:
        call.output.answer(data | {"export": text}, text.splitlines())
        return
    write_private(output, text.encode("ascii"))
    call.output.answer(data | {"file": str(output)}, [f"exported {name} to {output}"])


def _restore(call: Call, folder: Workspace, names: tuple[str, ...], wanted: str | None) -> None:
    from fedcoin_cli.application.workspace.keyring import read_armor, restore_key
    from ledger_store.base import disk
    from ledger_store.identity.armor import TEXT_MOST

    (source,) = map(Path, names) if len(names) == 1 else _missing("the export's file, or -")
    if source == _PIPE:
        name, record = read_armor(sys.stdin.buffer.read(TEXT_MOST + 1), "standard input")
    else:
        try:
            with disk.open_file(source) as file:
                name, record = read_armor(file.read(TEXT_MOST + 1), str(source))
        except OSError as error:
            hint = "fedcoin key export makes one"
            raise KeyFailure(f"cannot read it: {error.strerror}", where=str(source), hint=hint) from error
    address = restore_key(folder, wanted or name, record)
    data = {"name": wanted or name, "address": address, "sealed": record.sealed}
    call.output.answer(data, [f"{wanted or name}  {address}"])


def _missing(what: str) -> NoReturn:
    raise typer.BadParameter(f"it needs {what}")
