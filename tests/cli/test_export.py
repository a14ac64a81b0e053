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


def test_one_object(workspace: Workspace, maker: ChainMaker) -> None:
    """With --json the answer on stdout is one object, so another format is refused; into a file it is not."""
    data = json.loads(fedcoin("export", "--format", "json", "--json", folder=workspace.root).out)
    assert (data["schema"], data["entries"][0]["about"]) == (1, maker.genesis.id)
    assert fedcoin("export", "--format", "csv", "--json", folder=workspace.root).code == 2


def test_a_place_that_is_none(workspace: Workspace) -> None:
    """A file that cannot be written is said, with the exit code of a disk that refuses."""
    said = fedcoin("export", "-o", "nowhere/books", folder=workspace.root)
    assert (said.code, said.out) == (12, "")
    assert "nowhere/books" in said.err
