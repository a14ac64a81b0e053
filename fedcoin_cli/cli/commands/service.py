"""Write systemd units that run the miners from boot on.

What is in a unit is decided in `application.crew.units`.
"""

import grp
import pwd
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from ledger_store.base.errors import SettingsError

if TYPE_CHECKING:
    from fedcoin_cli.application.workspace.workspace import Workspace

_FOLDERS = {False: Path("/etc/systemd/system"), True: Path("~/.config/systemd/user")}


EXAMPLES = (
    ("fedcoin service", "units for the machine's systemd, in systemd/"),
    (
        "fedcoin service --user -o ~/.config/systemd/user --set metrics.port=9464",
        "for your own systemd, with metrics",
    ),
)


def run(
    call: Call,
    directory: Annotated[
        Path | None,
        typer.Option("-o", metavar="DIR", help="Where to write them; default: systemd/ in the workspace."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What they are called; default: fedcoin- and the folder's name."),
    ] = None,
    user: Annotated[
        bool, typer.Option("--user", help="For your own systemd instead of the machine's.")
    ] = False,
    gpus: Annotated[
        bool, typer.Option("--gpus", help="Do not hide the machine's devices from miners.")
    ] = False,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What opens sealed keys; systemd reads it and hands it to the miners."
        ),
    ] = None,
) -> None:
    """Write systemd units that run the miners from boot on.

    A template with an instance a miner, and a target for all of them. Nothing is installed or started: the answer says
    which commands do that. A miner that falls is started again after five seconds, for ever; one that ends with an
    error that a person must mend stays down. It runs as the owner of the workspace, may write its own ledger and the
    store, sees no key but its own, and logs to the journal, a JSON object a line. What --set says goes into the units.

    `fedcoin stop` and `fedcoin status` know these miners as they know all others. Write the units again after the
    workspace or the program has moved.
    """
    from fedcoin_cli.application.crew.units import Service, service_name
    from ledger_store.base import disk

    workspace = call.workspace()
    call.settings(workspace)  # a bad --set is told now, not at the next boot
    chosen = name or service_name(workspace.root)
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", chosen):
        raise typer.BadParameter(f"--name {chosen}: letters, digits, -, _ and . only")
    service = Service(
        workspace,
        chosen,
        (sys.executable, "-P", "-m", "fedcoin_cli"),
        [word for assignment in call.assignments for word in ("--set", assignment)],
        None if user else _owner(workspace),
        None if passphrase_file is None else passphrase_file.resolve(),
        devices=gpus,
    )
    if service.user is not None and service.user[0] == "root":
        call.output.warn(
            "root owns the workspace, so miners would run as root: chown it to an account of their own"
        )
    folder = directory or workspace.root / "systemd"
    files = service.files()
    with disk.refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / file).write_text(text, "utf-8")
    commands = _commands(folder, list(files), service.target, user=user)
    data = {"folder": str(folder), "files": list(files), "target": service.target, "next": commands}
    lines = [*(f"wrote {folder / file}" for file in files), "", "next:", *(f"  {one}" for one in commands)]
    call.output.answer(data, lines)


def _owner(workspace: "Workspace") -> tuple[str, str]:
    owner = workspace.root.stat()
    try:
        return pwd.getpwuid(owner.st_uid).pw_name, grp.getgrgid(owner.st_gid).gr_name
    except KeyError as error:
        hint = "chown the workspace to the account that shall mine, or use --user"
        raise SettingsError(
            "nobody of this machine owns the workspace", where=str(workspace.root), hint=hint
        ) from error


def _commands(folder: Path, files: list[str], target: str, *, user: bool) -> list[str]:
    place, control = _FOLDERS[user], "systemctl --user" if user else "sudo systemctl"
    copied = " ".join(str(folder / file) for file in files)
    there = folder.resolve() == place.expanduser()
    copy = (
        []
        if there
        else [f"mkdir -p {place} && cp {copied} {place}/" if user else f"sudo cp {copied} {place}/"]
    )
    linger = ["loginctl enable-linger"] if user else []
    return [*copy, *linger, f"{control} daemon-reload", f"{control} enable --now {target}"]
