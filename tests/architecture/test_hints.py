"""What the program tells people to type exists: every command and option in its words, and in the user's pages."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from generated import ROOT

from fedcoin_cli.cli.program.verbs import load, verbs

SOURCES = sorted(
    path for package in ("fedcoin", "fedcoin_cli", "ledger_store") for path in (ROOT / package).rglob("*.py")
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "man").glob("*.[57]"))]
# A command ends where the sentence goes on.
_COMMAND = re.compile(r"(?<![\w./-])fedcoin ([a-z][a-z-]*)((?: +[^\s;,:`()|&]+)*)")
# What is said of the program itself.
_PROSE = frozenset({"as", "asks", "from", "program"})
_OPTION = re.compile(r"(?<!\S)(--[a-z][a-z-]*|-[a-zA-Z])\b")


def texts(path: Path) -> Iterator[str]:
    """Every text in a source file, f-strings with something in their gaps."""
    tree = ast.parse(path.read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


@cache
def options(verb: str) -> frozenset[str]:
    """What a command takes."""
    return frozenset(name for one in load(verb).params for name in [*one.opts, *one.secondary_opts]) | {
        "--help",
        "-h",
    }


def wrong(text: str) -> list[str]:
    """The commands in a text that are none, or that do not take what is written behind them."""
    found = []
    for verb, rest in _COMMAND.findall(" ".join(text.replace("\\-", "-").split())):
        if verb not in verbs():
            found += [verb] if verb not in _PROSE else []
        else:
            found += [f"{verb} {name}" for name in _OPTION.findall(rest) if name not in options(verb)]
    return found


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_named_exists(path: Path) -> None:
    """A hint, a help text, a page: whoever types what stands there is understood."""
    words = texts(path) if path.suffix == ".py" else path.read_text().splitlines()
    assert [one for text in words for one in wrong(text)] == []


def test_this_finds_what_is_wrong() -> None:
    """A command that does not exist and an option that another command has are seen."""
    assert wrong("hint: fedcoin mend --all, or fedcoin pay --level 3; fedcoin audit --level 3") == [
        "mend",
        "pay --level",
    ]
