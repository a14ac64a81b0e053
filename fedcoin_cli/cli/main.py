"""The `fedcoin` program: which commands there are, and how each is loaded when it is asked for.

Every file in `commands/` is a command; the first line of the file is its line in the help, so that the help
needs no command's imports and `fedcoin balance` loads none of the others.
"""

import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from fedcoin_cli.cli.options import HELP_OPTIONS, answer_help, command
from fedcoin_cli.cli.output import Output, abandon_stdout, let_print, open_missing_streams
from ledger_store.errors import ExitCode

PROGRAM = "fedcoin"

_MAIN_PATH = ("init", "train", "mine", "publish", "audit")
_PACKAGE = "fedcoin_cli.cli.commands"
# `typer.BadParameter` is public; what it derives from covers every error in a command line's words.
_USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[2]


class Shell(StrEnum):
    """Shells that can complete commands."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


@cache
def verbs() -> dict[str, str]:
    """Every command's name and line of help: the main path in its order, then the others by name."""
    files = (path for path in Path(__file__).with_name("commands").glob("*.py") if path.stem != "__init__")
    found = {path.stem.replace("_", "-"): _first_line(path) for path in files}
    order = [name for name in _MAIN_PATH if name in found]
    return {name: found[name] for name in [*order, *sorted(found.keys() - set(order))]}


def load(verb: str) -> Any:
    """The whole command of a verb, its module imported now."""
    return command(verb, function(verb))


def function(verb: str) -> Callable[..., None]:
    """The function `run(call, …)` of a verb, its module imported now."""
    run: Callable[..., None] = import_module(f"{_PACKAGE}.{verb.replace('-', '_')}").run
    return run


def sections(verb: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """What a verb's manual page says beyond its help: titled lists of a term and its meaning."""
    told: list[tuple[str, list[tuple[str, str]]]] = getattr(
        import_module(f"{_PACKAGE}.{verb.replace('-', '_')}"), "sections", list
    )()
    return told


def examples(verb: str) -> tuple[tuple[str, str], ...]:
    """What a person may type with this verb, and what that does; tests run every one of them."""
    told: tuple[tuple[str, str], ...] = import_module(f"{_PACKAGE}.{verb.replace('-', '_')}").EXAMPLES
    return told


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
        from fedcoin_cli.cli.completion import script

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


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')
