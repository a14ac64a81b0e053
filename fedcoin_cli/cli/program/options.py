"""What every command shares: the common options, the call that they make, and how a call may end.

A command is a function `run(call, …)` in `commands/`; `command` turns it into one that the command line can
start. Which commands there are is decided in `main`.
"""

import inspect
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from fedcoin_cli.cli.program.output import Output, abandon_stdout
from fedcoin_cli.cli.program.plain_words import quicken
from ledger_store.base.errors import ExitCode

if TYPE_CHECKING:
    from fedcoin_cli.application.workspace.configuration import Configuration
    from fedcoin_cli.application.workspace.settings import Settings
    from fedcoin_cli.application.workspace.workspace import Workspace


def no_nan(value: float | None) -> float | None:
    """An option's callback that refuses "nan", which older releases of Typer find in any range."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("Input should be a number")
    return value


HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation of a command: where it works, what it was told and how it speaks."""

    output: Output
    folder: Path | None = None
    assignments: tuple[str, ...] = ()

    def workspace(self, passphrase_file: Path | None = None) -> "Workspace":
        """The workspace that -C names, or the nearest one; raises `NoWorkspace`.

        Its sealed keys open with the passphrase in that file; without one a person at the terminal is asked.
        """
        # Here, because help needs neither files nor keys.
        from fedcoin_cli.application.workspace.workspace import Workspace
        from fedcoin_cli.cli.program.passphrases import Asker

        return Workspace.find(self.folder, Asker(passphrase_file))

    def settings(self, workspace: "Workspace", **flags: object) -> "Settings":
        """The settings in force in `workspace`; see `configuration`."""
        return self.configuration(workspace.settings_file, **flags).settings

    def configuration(self, file: Path | None, **flags: object) -> "Configuration":
        """Settings with their origins.

        `flags` are the command's own options that set a setting, named like it: `task__price="5"` is what
        `--price 5` says; None means that the option was not given. Raises `SettingsError`.
        """
        # Here, because a command that needs no setting should not pay for the schema.
        from fedcoin_cli.application.workspace.configuration import Given, assignment, load

        given = dict(assignment(text) for text in self.assignments)
        for name, value in flags.items():
            if value is not None:
                key = name.replace("__", ".").replace("_", "-")
                given[key] = Given(str(value), "flag", f"--{key.split('.')[1]}")
        return load(file, given)


@dataclass(frozen=True, slots=True)
class _Common:
    """The options of every command, in the order of the help."""

    workspace: Annotated[
        Path | None, typer.Option("--workspace", "-C", metavar="DIR", help="Work in this workspace.")
    ] = None
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting for this command."),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer and errors only.")] = False
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose", "-v", count=True, show_default=False, help="Print more; -vv adds tracebacks."
        ),
    ] = 0
    no_color: Annotated[bool, typer.Option("--no-color", help="Use no colour.")] = False

    def call(self) -> Call:
        verbosity = self.verbose or (-1 if self.quiet else 0)
        output = Output(as_json=self.json, verbosity=verbosity, color=not self.no_color)
        return Call(output, self.workspace, tuple(self.assignments or ()))


_COMMON = dict(inspect.signature(_Common).parameters)


COMMON_NAMES = frozenset(_COMMON)
"""The parameter names of the common options."""


class _QuickHelp(TyperCommand):
    """A command that answers a lone -h at once, and takes plain words without Typer's validation."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        answer_help(ctx, args)
        return super().parse_args(ctx, args)

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            quicken(option, bool, None)
        return option


def answer_help(context: Any, arguments: list[str]) -> None:
    """Print the help and end, when that is all that was asked for.

    Typer would first build a converter for each option, whose library takes longer to import than all the rest.
    """
    if len(arguments) == 1 and arguments[0] in HELP_OPTIONS["help_option_names"]:
        typer.echo(context.get_help())
        raise typer.Exit


def command(name: str, run: Callable[..., None]) -> Any:
    """The command-line command `name` of a function `run(call, …)`, common options included."""
    own = list(inspect.signature(run, eval_str=True).parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [one.replace(kind=keyword) for one in [*own, *_COMMON.values()]]

    def guarded(**arguments: Any) -> None:
        common = _Common(**{key: arguments.pop(key) for key in _COMMON})
        _guard(run, common.call(), arguments)

    vars(guarded)["__signature__"] = inspect.Signature(parameters)
    guarded.__annotations__ = {one.name: one.annotation for one in parameters}
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=_QuickHelp, help=inspect.getdoc(run), context_settings=HELP_OPTIONS)(guarded)
    whole = typer.main.get_command(app)
    annotated = {one.name: one.annotation for one in parameters}
    for option in getattr(whole, "params", ()):
        if option.name in annotated:
            quicken(option, *get_args(annotated[option.name])[:2])
            _keep_help(option, *get_args(annotated[option.name])[1:2])
    return whole


def _keep_help(option: Any, declared: Any = None) -> None:
    """An argument's line of help: Click from 8.5 on has a help of its own, and wipes out what Typer 0.20 has set."""
    if not getattr(option, "help", None) and getattr(declared, "help", None):
        option.help = declared.help


def _guard(run: Callable[..., None], call: Call, arguments: Mapping[str, Any]) -> None:
    """Run a command; whatever happens becomes an exit code and at most three lines."""
    try:
        run(call, **arguments)
        sys.stdout.flush()
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except BrokenPipeError as error:
        abandon_stdout()
        raise typer.Exit(ExitCode.CLOSED_PIPE) from error
    except KeyboardInterrupt as error:
        call.output.note("interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from error
    except Exception as error:
        raise typer.Exit(call.output.failure(error)) from error
