"""The decision records are all in their index, and whoever names one names one that is there."""

import re

import pytest
from generated import ROOT

RECORDS = ROOT / "docs" / "adr"
INDEX = (RECORDS / "README.md").read_text("utf-8")
_LINE = re.compile(r"^\| (?:\[(\d+)\]\((\d{4}-[a-z0-9-]+\.md)\)|(\d+)) \| (.*) \| (.*) \|$", re.MULTILINE)
_NAMED = re.compile(r"docs/adr/(\d{4})")


def unknown(text: str) -> list[str]:
    """The numbers of records that a text names and that are not there."""
    return [number for number in _NAMED.findall(text) if not list(RECORDS.glob(f"{number}-*.md"))]


def test_every_number_has_its_line() -> None:
    """From 1 to the newest, without a gap: a record of that number, or the words that there is none."""
    lines = [(int(linked or bare), file, status) for linked, file, bare, _, status in _LINE.findall(INDEX)]
    newest = max(int(path.name[:4]) for path in RECORDS.glob("[0-9]*.md"))
    assert [number for number, _, _ in lines] == list(range(1, newest + 1))
    assert [file for _, file, _ in lines if file] == sorted(path.name for path in RECORDS.glob("[0-9]*.md"))
    for number, file, status in lines:
        assert status.startswith(("accepted", "proposed") if file else "not used"), number
        assert not file or int(file[:4]) == number


def test_every_record_says_its_number() -> None:
    """Its first line is its number and its title."""
    for path in RECORDS.glob("[0-9]*.md"):
        assert path.read_text("utf-8").startswith(f"# {int(path.name[:4])}. "), path.name


@pytest.mark.parametrize("folder", ["ledger_store", "fedcoin_cli", "tests", "benchmarks", "docs", "man"])
def test_cited_records_exist(folder: str) -> None:
    """Code, tests and pages name no record that is not there."""
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".c", ".md", ".5", ".7"}]
    assert [
        (str(path), unknown(path.read_text("utf-8"))) for path in files if unknown(path.read_text("utf-8"))
    ] == []


def test_the_code_gives_its_reasons() -> None:
    """Every record is cited by the product code that it decided."""
    cited = set()
    for room in ("ledger_store", "fedcoin_cli", "fedcoin"):
        for path in (ROOT / room).rglob("*.py"):
            cited |= set(_NAMED.findall(path.read_text("utf-8")))
    every = {path.name[:4] for path in RECORDS.glob("[0-9]*.md")}
    assert sorted(every - cited) == []


def test_a_dead_citation_is_seen() -> None:
    """A number that was not used is no record."""
    assert unknown("see docs/adr/" + "0013 and docs/adr/0022") == ["0013"]
