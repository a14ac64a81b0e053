"""Plain words become the values that Typer would make of them, and what is not plain is left to Typer."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace

CODE = """
import sys
from fedcoin_cli.cli.main import main
code = main(sys.argv[1:])
print(code, 'pydantic' in sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ("balance", "client-001", "--at", "3"),
        ("log", "--last", "2", "--set", "task.clients=3", "--json"),
        ("show", "4", "-v"),
        ("audit", "--level", "2", "--files", "."),
        ("export", "--format", "hledger", "-o", "books"),
    ],
    ids=" ".join,
)
def test_no_library_is_loaded_for_plain_words(words: tuple[str, ...], workspace: Workspace) -> None:
    """Commands with options of every kind run without the library that Typer validates by."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], cwd=workspace.root, capture_output=True, text=True, check=True
    )
    code, loaded = done.stderr.split()[-2:]
    assert loaded == "False"
    assert code in {"0", "2"}  # --files belongs to level 4, which the command itself says


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("log", "--last", "0"), "(greater than or equal to |x>=)1"),
        (("log", "--last", "1.5"), "integer"),
        (("log", "--last"), "requires an argument"),
        (("export", "--format", "xml"), "is not one of"),
        (("train", "--model", "none.json"), "does not exist"),
        (("train", "--rate", "nan"), "Input should be"),
        (("show",), "Missing argument"),
    ],
    ids=str,
)
def test_what_is_not_plain_is_a_usage_error(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """A number out of range, a choice that does not exist, a missing file or word: exit code 2, in Typer's words."""
    refused = fedcoin(*words, folder=tmp_path)
    assert (refused.code, refused.out) == (2, "")
    assert re.search(said, refused.err)
