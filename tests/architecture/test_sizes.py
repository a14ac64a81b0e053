"""A class is read in one sitting: who opens it finds one duty, and no more lines than that takes.

`python tests/architecture/test_sizes.py` prints the largest ones, in the checkout that it is told (this one, if none).
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES_MOST = 250
"""Of one class, with its docstrings and the comments on its attributes."""


def lengths(source: str) -> Iterator[tuple[int, str]]:
    """How many lines each class of a module has, from its `class` to its last one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and node.end_lineno is not None:
            yield node.end_lineno - node.lineno + 1, node.name


def largest(root: Path) -> list[tuple[int, str, str]]:
    """Every class of the product, the longest first, with its file."""
    files = [
        path for room in ("ledger_store", "fedcoin_cli", "fedcoin") for path in (root / room).rglob("*.py")
    ]
    found = [
        (lines, name, str(path.relative_to(root)))
        for path in files
        for lines, name in lengths(path.read_text("utf-8"))
    ]
    return sorted(found, reverse=True)


def test_no_class_is_too_long() -> None:
    """A second duty that has grown in a class is to leave it."""
    assert [one for one in largest(ROOT) if one[0] > LINES_MOST] == []


def test_a_long_class_is_seen() -> None:
    """Lines are counted as an editor shows them: blank ones and comments, too."""
    assert list(lengths('class A:\n    """A."""\n\n    # why\n    x = 1\n\n\nclass B: ...\n')) == [
        (5, "A"),
        (1, "B"),
    ]


if __name__ == "__main__":
    for line in largest(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)[:15]:
        print(*line)  # noqa: T201
