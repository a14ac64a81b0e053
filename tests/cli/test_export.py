import json

import pytest
from chains import ChainMaker
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace


@pytest.mark.parametrize("form", ["csv", "json", "beancount", "hledger"])
def test_formats(workspace: Workspace, form: str) -> None:
    """Every format names the workspace's accounts, is the same on stdout as in a file, and the same each time."""
    out = fedcoin("export", "--format", form, folder=workspace.root)
    said = fedcoin("export", "--format", form, "-o", "books", "--json", folder=workspace.root)
    assert (out.code, said.code) == (0, 0)
    assert out.out == (workspace.root / "books").read_text()
    assert "lient-001" in out.out
    assert (said.json["format"], said.json["height"], said.json["entries"]) == (form, 4, 4)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.journal", "hledger"),
        ("a.hledger", "hledger"),
        ("a.beancount", "beancount"),
        ("a.JSON", "json"),
        ("a", "csv"),
    ],
)
def test_a_names_ending_says_the_format(workspace: Workspace, name: str, form: str) -> None:
    """Unless --format does; a name without a known ending is CSV."""
    said = fedcoin("export", "-o", name, "--json", folder=workspace.root)
    assert said.json["format"] == form
    said = fedcoin("export", "-o", name, "--format", "csv", "--json", folder=workspace.root)
    assert said.json["format"] == "csv"


def test_one_object(workspace: Workspace, maker: ChainMaker) -> None:
    """With --json the answer on stdout is one object, so another format is refused; into a file it is not."""
    data = json.loads(fedcoin("export", "--format", "json", "--json", folder=workspace.root).out)
    assert (data["schema"], data["entries"][0]["about"]) == (2, maker.genesis.id)
    assert fedcoin("export", "--format", "csv", "--json", folder=workspace.root).code == 2


def test_a_place_that_is_none(workspace: Workspace) -> None:
    """A file that cannot be written is said, with the exit code of a disk that refuses."""
    said = fedcoin("export", "-o", "nowhere/books", folder=workspace.root)
    assert (said.code, said.out) == (12, "")
    assert "nowhere/books" in said.err


def test_one_partys_book_of_a_period(workspace: Workspace) -> None:
    """--account takes one party's entries by name or the beginning of its address, --from and --to some days'."""
    root = workspace.root
    rows = fedcoin("export", "--account", "client-001", folder=root).out.splitlines()[1:]
    assert [row.split(",")[2] for row in rows] == ["settled", "settled", "transfer", "transfer"]
    assert {row.split(",")[5] for row in rows} == {"client-001"}
    later = fedcoin(
        "export", "--account", "client-001", "--from", "2023-11-15", folder=root
    ).out.splitlines()[1:]
    assert [row.split(",")[2] for row in later] == ["opening balances"] * 2
    day = ("--from", "2023-11-14", "--to", "2023-11-14")
    assert fedcoin("export", *day, folder=root).out == fedcoin("export", folder=root).out
    assert fedcoin("export", "--to", "2023-11-13", folder=root).code == 11
    assert fedcoin("export", "--from", "yesterday", folder=root).code == 2
