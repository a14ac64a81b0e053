"""The glossary is true: what it says that the code calls a thing is in the code."""

import re

from generated import ROOT

LINES = [
    line.split(" | ")
    for line in (ROOT / "docs" / "glossary.md").read_text("utf-8").splitlines()
    if " | " in line
]
SOURCE = "\n".join(
    path.read_text("utf-8")
    for room in ("ledger_store", "fedcoin_cli")
    for path in (ROOT / room).rglob("*.py")
)
_NAME = re.compile(r"`([A-Za-z_][\w.]*)`")


def missing(cell: str) -> list[str]:
    """The parts of names in a cell that no source line has as a word."""
    parts = {part for name in _NAME.findall(cell) for part in name.split(".")}
    return sorted(part for part in parts if not re.search(rf"\b{part}\b", SOURCE))


def test_names_in_code_exist() -> None:
    """Each name in the last column is a word of the product's sources."""
    assert {line[0]: missing(line[-1]) for line in LINES if missing(line[-1])} == {}


def test_a_name_that_is_gone_is_seen() -> None:
    """What was renamed or never was is told."""
    assert missing("`Reveal.rankings`, `Proxy." + "logits_of_all`") == ["Proxy", "logits_of_all"]


def test_each_word_has_one_line() -> None:
    """No word stands twice, and each is explained."""
    words = [line[0].removeprefix("| ") for line in LINES if not line[0].startswith(("| ---", "| word"))]
    assert len(words) == len(set(words)) > 60
    assert all(len(line) == 3 and line[1].strip() for line in LINES)
