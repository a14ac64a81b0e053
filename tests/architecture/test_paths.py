"""Files and modules that documents and docstrings name are there."""

import re
import sys
from pathlib import Path

import pytest
from generated import ROOT

from fedcoin_cli.application.workspace.settings import RULES

TREES = ("fedcoin", "fedcoin_cli", "ledger_store", "tests", "benchmarks", "docs")
_PATH = re.compile(rf"\b(?:{'|'.join(TREES)})/[\w./-]*\w(?:/|\b)")
_MODULE = re.compile(r"`((?:[a-z_]+\.)+[a-z_]+)`")
DOCUMENTS = [
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "docs/index.md", "docs/extending.md")
]
SOURCES = [path for package in TREES[:3] for path in sorted((ROOT / package).rglob("*.py"))]
MODULES = {path.relative_to(ROOT).with_suffix("").parts for path in SOURCES}
PACKAGES = {parts[:end] for parts in MODULES for end in range(1, len(parts))} - {("fedcoin",)}


def gone_paths(text: str) -> list[str]:
    """Paths in a text that lead nowhere; a decision record is cited by its number alone."""
    return [path for path in _PATH.findall(text) if not any(ROOT.glob(f"{path.rstrip('/')}*"))]


def gone_modules(text: str) -> list[str]:
    """Dotted names that begin with a package and go on with what is not in it; no settings, no model.json."""
    names = [name for name in _MODULE.findall(text) if name not in RULES and not name.endswith(".json")]
    return [name for name in names if _is_gone(tuple(name.split(".")))]


def _is_gone(parts: tuple[str, ...]) -> bool:
    roots = [package for package in PACKAGES if package[-1] == parts[0]]
    return bool(roots) and not any(_leads_on(package, parts[1:]) for package in roots)


def _leads_on(package: tuple[str, ...], rest: tuple[str, ...]) -> bool:
    """Whether `rest` names a package or module below; what follows a module is a name in it."""
    below = (*package, rest[0])
    if below in PACKAGES and len(rest) > 1:
        return _leads_on(below, rest[1:])
    return below in MODULES | PACKAGES


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_paths_in_documents_exist(path: Path) -> None:
    """A newcomer who follows a document to a file finds it."""
    assert gone_paths(path.read_text("utf-8")) == []


def test_modules_in_docstrings_exist() -> None:
    """Who is sent on to another module finds it there, also after it has moved."""
    found = {str(path.relative_to(ROOT)): gone_modules(path.read_text("utf-8")) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("room", ["benchmarks", "tests"])
def test_no_script_hides_the_standard_library(room: str) -> None:
    """Whoever runs a script of a room finds that room first: a module named like Python's own would be taken for it."""
    assert not {path.stem for path in (ROOT / room).iterdir()} & sys.stdlib_module_names


def test_what_has_moved_is_seen() -> None:
    """Both kinds are told by the name that they had."""
    assert gone_paths("see ledger_store/transfers.py and `ledger_store/block.py`") == [
        "ledger_store/transfers.py"
    ]
    moved = (
        "`learning.weights`, `learning.model.weights`, `node.log`, `consensus.difficulty`, `shapley.walks`"
    )
    assert gone_modules(moved) == ["learning.weights", "node.log", "shapley.walks"]
