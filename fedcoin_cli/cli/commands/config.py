"""Show, check or locate the settings in force.

What the settings are is decided in `application.workspace.settings`, where they come from in
`application.workspace.configuration`.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.application.workspace.configuration import Configuration, user_file
from fedcoin_cli.application.workspace.settings import RULES
from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.output import table
from ledger_store.base.errors import NoWorkspace


class Action(StrEnum):
    """What to do with the settings."""

    show = "show"
    check = "check"
    path = "path"


EXAMPLES = (
    ("fedcoin config show --origin", "all settings and where each comes from"),
    ("fedcoin config check", "only whether all is well"),
)


def run(
    call: Call,
    action: Annotated[Action, typer.Argument(help="show all values, only check them, or name the files.")],
    origin: Annotated[bool, typer.Option("--origin", help="Tell where each value comes from.")] = False,
) -> None:
    """Show, check or locate the settings in force.

    A value comes from a flag, else from a FEDCOIN_SECTION_KEY variable, else from the workspace's
    settings.toml, else from the user's, else it is the default.
    """
    file = _workspace_file(call)
    if action is Action.path:
        files = {"workspace": str(file) if file else None, "user": str(user_file())}
        call.output.answer(files, [f"{name:9}  {path or '-'}" for name, path in files.items()])
        return
    configuration = call.configuration(file)
    if action is Action.check:
        call.output.answer({"settings": "ok"}, ["settings ok"])
    else:
        _show(call, configuration, origin)


def _show(call: Call, configuration: Configuration, origin: bool) -> None:
    values = {key: configuration.settings.value(key) for key in RULES}
    origins = {key: configuration.origin(key) for key in RULES}
    data: dict[str, object] = {"settings": values}
    if origin:
        data["origins"] = {key: {"origin": one.origin, "where": one.where} for key, one in origins.items()}
    rows = [
        [key, value, f"{origins[key].origin}: {origins[key].where}" if origin else RULES[key].unit]
        for key, value in values.items()
    ]
    call.output.answer(data, table(["setting", "value", "from" if origin else "unit"], rows))


def _workspace_file(call: Call) -> Path | None:
    """The workspace's file; outside a workspace the user's settings and the defaults are still there."""
    try:
        return call.workspace().settings_file
    except NoWorkspace:
        if call.folder is not None:
            raise
        return None
