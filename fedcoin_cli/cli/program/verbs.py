"""Which commands there are, and how each is loaded when it is asked for.

Every file in `commands/` is a command; the first line of the file is its line in the help, so that the help
needs no command's imports and `fedcoin balance` loads none of the others.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from fedcoin_cli.cli.program.options import command

PROGRAM = "fedcoin"


_MAIN_PATH = ("init", "train", "mine", "publish", "audit")


_PACKAGE = "fedcoin_cli.cli.commands"


@cache
def verbs() -> dict[str, str]:
    """Every command's name and line of help: the main path in its order, then the others by name."""
    files = (
        path for path in Path(__file__).parent.with_name("commands").glob("*.py") if path.stem != "__init__"
    )
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


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')
