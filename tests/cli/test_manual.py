"""The manual: every page passes the linters, what is written by hand is true, and installing brings all of it."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import errors_page
import pytest
from bad_inputs import CASES
from generated import ROOT

from fedcoin_cli.application.workspace.settings import RULES
from fedcoin_cli.cli.manpage import pages
from ledger_store.base.canonical import decode, encode
from ledger_store.base.merkle import root
from ledger_store.block import Block
from ledger_store.genesis import Genesis
from ledger_store.state import apply, initial
from ledger_store.transaction import Transfer

MANUAL = ROOT / "man"
PAGES = sorted(MANUAL.glob("*.[157]"))
CHAIN = MANUAL / "fedcoin-chain.5"


@pytest.mark.skipif(
    shutil.which("groff") is None, reason="groff is not installed: apt-get install groff-base"
)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_groff_warns_of_nothing(page: Path) -> None:
    """groff sets the page without a warning."""
    command: list[str | Path] = ["groff", "-man", "-Tutf8", "-ww", page]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed: apt-get install mandoc")
def test_mandoc_warns_of_nothing() -> None:
    """mandoc finds nothing to warn of in any page, but that they have no date."""
    done = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning", *PAGES], capture_output=True, text=True, check=False
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if "missing date" not in line]
    assert said == []


def test_every_page_is_installed() -> None:
    """The wheel takes every page of every section along."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    taken = project["tool"]["setuptools"]["data-files"]
    for page in PAGES:
        assert page in [path for glob in taken[f"share/man/man{page.suffix[1:]}"] for path in ROOT.glob(glob)]


def test_pages_name_pages_that_exist() -> None:
    """What SEE ALSO and the text name is there, under its section."""
    for page in PAGES:
        text = page.read_text().replace("\\-", "-")
        for name, section in re.findall(r"(fedcoin(?:-[a-z]+)*)\\fR\((\d)\)", text):
            assert (MANUAL / f"{name}.{section}").is_file(), (page.name, name)


def test_every_setting_has_its_place() -> None:
    """fedcoin-settings(5) tells of every setting, with its default and its variable."""
    text = pages()["fedcoin-settings.5"].replace("\\-", "-")
    for key, rule in RULES.items():
        variable = "FEDCOIN_" + re.sub("[.-]", "_", key).upper()
        assert re.search(rf"^\\fB{key.partition('.')[2]}\\fR$", text, re.MULTILINE)
        default = "empty" if rule.default == "" else rule.default
        assert f"Default: {default}. Variable: {variable}." in text


def example(name: str) -> str:
    """What stands between two comments of the page about the chain, as a reader sees it, its breaks undone."""
    text = CHAIN.read_text().split(f'.\\" {name}\n')[1].split('.\\" end')[0]
    return text.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\").replace("\n", "")


def test_the_example_is_a_chain() -> None:
    """The example's lines are canonical and linked, what is signed is, and their ids are those that the page names."""
    genesis = Genesis.from_json(decode(example("line 0").encode()))
    block = Block.from_line(example("line 1").encode())
    (transfer,) = block.transactions
    assert isinstance(transfer, Transfer)
    assert example("ids") == genesis.id + transfer.id + block.id
    assert (block.header.parent, block.header.height) == (genesis.id, 1)
    assert block.header.transactions == root([encode(transfer.to_json())]).hex()
    assert transfer.verified(genesis.id)
    assert transfer.amount_micro == 12_500_000
    before = initial(genesis)
    assert apply(before, block).balances[transfer.to] == 12_500_000


def test_the_commands_print_the_id(tmp_path: Path) -> None:
    """The shell line of the example prints the genesis id that the page names."""
    (tmp_path / "chain.jsonl").write_text(example("line 0") + "\n" + example("line 1") + "\n")
    command = ["sh", "-c", example("command")]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.split()[0] == example("ids")[:64]


def test_every_error_has_its_entry() -> None:
    """docs/errors.md has exactly one entry for each kind of bad input; that each is true is seen where they are run."""
    cases = [f"{bad.case[0].upper()}{bad.case[1:]}" for bad in CASES]
    assert sorted(re.findall(r"^### (.*)$", errors_page.page(), re.MULTILINE)) == sorted(cases)
