"""The `fedcoin` program: its command line, read as far as the command's name."""

import gc
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from fedcoin_cli.cli.program.options import HELP_OPTIONS, answer_help
from fedcoin_cli.cli.program.output import Output, abandon_stdout, let_print, open_missing_streams
from fedcoin_cli.cli.program.verbs import PROGRAM, load, verbs
from ledger_store.base.errors import ExitCode

# A start makes objects and no garbage: at Python's 700 looking for some is a fortieth of `fedcoin status`.
_OBJECTS_A_COLLECTION = 10_000

# `typer.BadParameter` is public; what it derives from covers every error in a command line's words.
_USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[2]


class Shell(StrEnum):
    """Shells that can complete commands."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


class _Verbs(TyperGroup):
    """What is asked without a verb, or with one that does not exist: a group that knows each line of help."""

    def __init__(self, **attributes: Any) -> None:
        attributes["commands"] = {name: TyperCommand(name, help=line) for name, line in verbs().items()}
        super().__init__(**attributes)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        answer_help(ctx, args)
        return super().parse_args(ctx, args)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"{PROGRAM} {version('fedcoin')}")
        raise typer.Exit


def _show_completion(shell: Shell | None) -> None:
    if shell is not None:
        from fedcoin_cli.cli.program.completion import script

        typer.echo(script(shell.value), nl=False)
        raise typer.Exit


app = typer.Typer(cls=_Verbs, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(
    context_settings=HELP_OPTIONS,
    invoke_without_command=True,
    epilog="`fedcoin COMMAND -h` tells more; `man fedcoin` tells most.",
)
def program(
    context: typer.Context,
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    __: Annotated[
        Shell | None,
        typer.Option(
            "--show-completion",
            callback=_show_completion,
            is_eager=True,
            help="Print a completion script; put it where your shell looks for one.",
        ),
    ] = None,
) -> None:
    """Shapley-value payments for federated learning, agreed by independent miners on a plain-file ledger.

    The main path: init, train, mine, publish, audit.
    """
    typer.echo(context.get_help(), err=True)
    raise typer.Exit(ExitCode.USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    gc.set_threshold(_OBJECTS_A_COLLECTION)
    open_missing_streams()
    let_print(sys.stdout)
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = words[0] if words and words[0] in verbs() else None
    name = f"{PROGRAM} {verb}" if verb else PROGRAM
    try:
        target = load(words.pop(0)) if verb else typer.main.get_command(app)
        code = target.main(args=words, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except _USAGE_ERROR as error:
        Output(as_json="--json" in words).complain(
            ExitCode.USAGE, error.format_message(), hint=f"{name} --help"
        )
        return ExitCode.USAGE
    except (typer.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        abandon_stdout()
        return ExitCode.CLOSED_PIPE
    except Exception as error:  # noqa: BLE001 - a command that does not even load
        return Output(as_json="--json" in words).failure(error)
    return int(code or 0)
