"""Every reading command on a ledger that lies anywhere: no workspace, no keys, no peers file."""

import shutil
from pathlib import Path

import pytest
from chains import ChainMaker, key
from places import place
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace

CLIENT = key("client-1").address
READERS = [
    ("balance",),
    ("balance", CLIENT),
    ("log",),
    ("show", "3"),
    ("explain", CLIENT),
    ("export", "--format", "json"),
]


@pytest.fixture
def copy(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an auditor is given: the two files, in a folder of their own."""
    folder = tmp_path_factory.mktemp("copy")
    for path in (workspace.miner(1).chain, workspace.miner(1).tip):
        shutil.copy(path, folder)
    return folder


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_copy_says_what_its_workspace_says(
    command: tuple[str, ...], workspace: Workspace, copy: Path
) -> None:
    """The folder, or the file under any name, answers as the workspace does, names and the ledger's place apart."""
    meant = fedcoin(*command, "--json", folder=workspace.root).json
    (copy / "chain.jsonl").rename(copy / "books of 2023")
    for where in (copy / "books of 2023", copy):
        if where is copy:
            (copy / "books of 2023").rename(copy / "chain.jsonl")
        said = fedcoin(*command, str(where), "--json", folder=copy)
        assert said.code == 0, said.err
        assert bare(said.json) == bare(meant)


def bare(answer: object) -> object:
    """An answer without what a workspace calls its accounts, and without the ledger's place."""
    if isinstance(answer, dict):
        return {name: bare(one) for name, one in answer.items() if not _called(name)}
    if isinstance(answer, list):
        return sorted(map(bare, answer), key=str)
    return answer


def _called(field: str) -> bool:
    return field in {"ledger", "name", "names", "text"} or field.endswith("_name")


def test_a_report_of_a_copy(copy: Path) -> None:
    """The page is made of a lone copy too."""
    said = fedcoin("report", str(copy), "-o", "page.html", "--json", folder=copy)
    assert (said.code, said.json["audit_ok"]) == (0, True)
    assert CLIENT[:16] in (copy / "page.html").read_text()


def test_a_copy_names_its_network(copy: Path, maker: ChainMaker) -> None:
    """Anybody can make a ledger of another network, so the answer says whose this is."""
    assert maker.genesis.id in fedcoin("log", str(copy), folder=copy).out


def test_the_beginning_of_an_address_is_enough(copy: Path) -> None:
    """Where nobody has a name, what the tables print of an address names the account, in every command."""
    short = f"{CLIENT[:16]}…"
    assert short in fedcoin("log", str(copy), folder=copy).out
    assert (
        fedcoin("balance", short, str(copy), "--json", folder=copy).json["balances"][0]["address"] == CLIENT
    )
    assert fedcoin("explain", CLIENT[:8], str(copy), "--json", folder=copy).json["client"] == CLIENT
    said = fedcoin("log", str(copy), "--account", CLIENT[:4], "--json", folder=copy)
    assert [block["height"] for block in said.json["blocks"]] == [3, 4]


def test_names_come_from_the_workspace_of_that_network_only(
    workspace: Workspace, copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A copy read in a workspace of its network has that one's names, in another's none; one in place has its own."""
    other = place(tmp_path_factory.mktemp("other") / "net", ChainMaker(1))
    assert "client-001" in fedcoin("balance", str(copy), folder=workspace.root).out
    assert "client-001" not in fedcoin("balance", str(copy), folder=other.root).out
    assert "client-001" in fedcoin("balance", str(workspace.miner(2).path), folder=other.root).out


def test_who_goes_before_a_file(workspace: Workspace, copy: Path) -> None:
    """A folder that is called like an account does not hide it."""
    shutil.copytree(copy, workspace.root / "server")
    assert len(fedcoin("balance", "server", "--json", folder=workspace.root).json["balances"]) == 1
    assert len(fedcoin("balance", "./server", "--json", folder=workspace.root).json["balances"]) > 1


def test_a_place_without_a_ledger(tmp_path: Path) -> None:
    """What is no ledger is said so with its place, and who has no workspace is told that a file serves as well."""
    said = fedcoin("log", "nowhere", folder=tmp_path)
    assert (said.code, said.out) == (11, "")
    assert "nowhere" in said.err
    (tmp_path / "words").write_text("no ledger\n")
    assert fedcoin("log", "words", folder=tmp_path).code == 5
    assert "name its file or folder" in fedcoin("log", folder=tmp_path).err
