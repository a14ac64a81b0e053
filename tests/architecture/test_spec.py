"""SPEC.md and the code hold on to each other: every rule is cited by code and by a test, and no citation is dead."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from generated import ROOT

SPEC = (ROOT / "SPEC.md").read_text("utf-8")
_MARK = re.compile(r"\[(P-\d+\.\d+)\]")
_RULE = re.compile(r"^\*\*\[(P-\d+\.\d+)\]\*\* (.*)$", re.MULTILINE)
_NORMATIVE = re.compile(r"\b(MUST|SHOULD|MAY)\b")


def citations(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Where each rule is cited."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        for rule in _MARK.findall(path.read_text("utf-8")):
            found.setdefault(rule, []).append(path)
    return found


def product() -> dict[str, list[Path]]:
    return citations(path for room in ("ledger_store", "fedcoin_cli") for path in (ROOT / room).rglob("*.py"))


def proven() -> dict[str, list[Path]]:
    """This file names no rule as kept: what stands here is about marks."""
    return citations(path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))


def rules(text: str) -> list[str]:
    return [number for number, _ in _RULE.findall(text)]


def amiss(text: str, code: Mapping[str, object], proofs: Mapping[str, object]) -> list[str]:
    """What is wrong between a specification, the code's citations and the tests'."""
    known = rules(text)
    return [
        *(f"{rule}: no code cites it" for rule in known if rule not in code),
        *(f"{rule}: no test cites it" for rule in known if rule not in proofs),
        *(
            f"{rule}: cited, and no rule"
            for rule in sorted({*code, *proofs, *_MARK.findall(text)} - {*known})
        ),
    ]


def test_every_rule_is_kept_and_proven_and_no_citation_is_dead() -> None:
    """Each rule is cited by product code and by a test; whatever is cited there or in SPEC.md is a rule."""
    assert amiss(SPEC, product(), proven()) == []


@pytest.mark.parametrize(
    ("code", "proofs", "said"),
    [
        ({}, {"P-1.1": 0}, "P-1.1: no code cites it"),
        ({"P-1.1": 0}, {}, "P-1.1: no test cites it"),
        ({"P-1.1": 0, "P-1.2": 0}, {"P-1.1": 0}, "P-1.2: cited, and no rule"),
        ({"P-1.1": 0}, {"P-1.1": 0, "P-2.1": 0}, "P-2.1: cited, and no rule"),
    ],
)
def test_this_finds_what_is_wrong(code: dict[str, int], proofs: dict[str, int], said: str) -> None:
    """A rule without code, one without a test, and a dead citation in either are seen."""
    assert amiss("**[P-1.1]** It MUST be.\n", code, proofs) == [said]


def test_numbers_are_unique_and_in_order() -> None:
    """Section by section, and within a section one by one from 1."""
    numbers = [tuple(map(int, rule[2:].split("."))) for rule in rules(SPEC)]
    sections = [int(number) for number in re.findall(r"^## (\d+)\. ", SPEC, re.MULTILINE)]
    assert sections == list(range(1, len(sections) + 1))
    expected = [
        (section, rule)
        for section in sections
        for rule in range(1, sum(number[0] == section for number in numbers) + 1)
    ]
    assert numbers == expected


def test_a_rule_is_one_normative_sentence() -> None:
    """It says MUST, SHOULD or MAY, ends once, and gives its reasons as links only."""
    for number, text in _RULE.findall(SPEC):
        sentence = text.split(" Why: ")[0]
        assert _NORMATIVE.search(sentence), number
        assert sentence.endswith("."), number
        assert ". " not in sentence, number


def test_reasons_are_records_that_exist() -> None:
    """Every decision record that a rule points to is there."""
    links = re.findall(r"\]\((docs/adr/[^)]*)\)", SPEC)
    assert [link for link in links if not (ROOT / link).is_file()] == []
