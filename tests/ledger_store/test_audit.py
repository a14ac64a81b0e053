"""Audits: a clean ledger passes, every finding has a ledger that triggers it, nothing is written."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chains import ChainMaker, build_chain
from corrupt.ledgers import codes, corrupted
from memory import peak_bytes

from ledger_store.audit.audit import audit
from ledger_store.audit.checks import CHECKS, CODES, Check, Finding, Subject
from ledger_store.base.canonical import encode
from ledger_store.base.errors import NotFound
from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME, ChainFile


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {item.name: (item.read_bytes(), item.stat().st_mtime_ns) for item in folder.iterdir()}


@pytest.mark.parametrize("blocks", [0, 1, 2, 7])
@pytest.mark.parametrize("miners", [1, 4])
def test_a_good_ledger_passes(tmp_path: Path, miners: int, blocks: int) -> None:
    """Height, head and balances are the fold's, and the tip is certified."""
    maker = build_chain(miners, blocks)
    report = audit(maker.write(tmp_path))
    assert report.ok
    assert (report.level, report.height, report.blocks, report.certified_to) == (2, blocks, blocks, blocks)
    assert report.head == maker.tip.state.head
    assert report.balances == maker.tip.state.balances
    assert report.skipped == ()


@pytest.mark.parametrize("level", [0, 1])
def test_lower_levels_certify_nothing(tmp_path: Path, level: int) -> None:
    """Framing and links alone give height and head, no balances and no certificate."""
    maker = build_chain(4, 5)
    report = audit(maker.write(tmp_path), level)
    assert report.ok
    assert (report.height, report.head, report.certified_to, report.balances) == (5, maker.head, None, None)


def test_every_code_has_a_ledger() -> None:
    """No finding without a ledger that triggers it."""
    assert codes() == list(CODES)


@pytest.mark.parametrize("code", codes())
def test_each_corruption_is_found(tmp_path: Path, code: str) -> None:
    """Exactly this finding, at the height that was altered, with its line; what hangs on it is skipped.

    [P-13.1] [P-13.17] [P-13.20]
    """
    ledger = corrupted(code)
    report = audit(ledger.write(tmp_path), genesis_id=ledger.genesis)
    assert [finding.code for finding in report.findings] == [code]
    finding = report.findings[0]
    assert finding.height == ledger.height
    assert finding.message
    on_tip_file = code in {"E104", "E206", "E302", "E304"}
    assert finding.line == (None if on_tip_file else finding.height + 1)
    assert not report.ok
    assert report.balances is None
    lines = ledger.chain.count(b"\n")
    assert bool(report.skipped) == (finding.height < lines - 1 and not on_tip_file)


@pytest.mark.parametrize("code", codes())
def test_a_finding_belongs_to_a_level(tmp_path: Path, code: str) -> None:
    """A lower level than the finding's does not see it: levels do what they say [P-13.16]."""
    level = {"E1": 0, "E2": 1, "E3": 2, "E4": 2}[code[:2]]
    ledger = corrupted(code)
    path = ledger.write(tmp_path)
    assert not audit(path, level, genesis_id=ledger.genesis).ok
    if level:
        assert audit(path, level - 1).ok


def test_a_line_longer_than_any_block_is_none(tmp_path: Path) -> None:
    """It ends the audit as no block, whatever stands in it, without memory for what it means."""
    path = build_chain(4, 5).write(tmp_path)
    with path.open("ab") as chain:
        chain.write(b"[" + b"[]," * 10**6 + b"[]]\n")
    reports = []
    assert peak_bytes(lambda: reports.append(audit(path))) < 32 * 2**20
    assert [(one.code, one.height) for one in reports[0].findings] == [("E103", 6)]


def test_a_tip_file_larger_than_any_is_none(tmp_path: Path) -> None:
    """A file of zeros that takes no room on the disk takes none in memory."""
    path = build_chain(4, 5).write(tmp_path)
    with (tmp_path / TIP_NAME).open("r+b") as tip:
        tip.truncate(256 * 2**20)
    reports = []
    assert peak_bytes(lambda: reports.append(audit(path))) < 32 * 2**20
    assert [(one.code, one.height) for one in reports[0].findings] == [("E104", 5)]


def test_an_audit_writes_nothing(tmp_path: Path) -> None:
    """Also beside a torn ledger and an unreadable tip file [P-13.18]."""
    for code in ("E101", "E104", "E407"):
        folder = tmp_path / code
        folder.mkdir()
        path = corrupted(code).write(folder)
        before = snapshot(folder)
        audit(path)
        assert snapshot(folder) == before


def test_a_copy_elsewhere_is_audited_without_its_tip_file(tmp_path: Path) -> None:
    """Any file name; without the tip file it is certified to the last block but one, and says so [P-13.9]."""
    maker = build_chain(4, 5)
    path = tmp_path / "copy of a ledger.txt"
    path.write_bytes(b"".join(maker.lines()))
    report = audit(path)
    assert report.ok
    assert (report.height, report.certified_to) == (5, 4)
    assert report.skipped == ("the certificate of height 5: no tip.json beside the ledger",)


def test_a_tip_file_that_is_behind_is_no_finding(tmp_path: Path) -> None:
    """After a power cut the tip file may name an earlier block; a wrong earlier block is a finding."""
    maker = build_chain(4, 5)
    path = maker.write(tmp_path)
    (tmp_path / TIP_NAME).write_bytes(build_chain(4, 4).tip_bytes())
    report = audit(path)
    assert report.ok
    assert report.certified_to == 4
    assert report.skipped == ("the certificate of height 5: the tip file is behind",)
    stranger = ChainMaker(4)
    stranger.add_transfers(3)
    (tmp_path / TIP_NAME).write_bytes(stranger.tip_bytes())
    assert [(f.code, f.height) for f in audit(path).findings] == [("E206", 3)]


@pytest.mark.parametrize("data", [b"", b"\n", b"hello", b"hello\n", b"\0" * 100, b"{}\n"])
def test_what_is_no_ledger_is_a_finding(tmp_path: Path, data: bytes) -> None:
    """Empty files and other files have no genesis."""
    path = tmp_path / CHAIN_NAME
    path.write_bytes(data)
    assert [(finding.code, finding.height) for finding in audit(path).findings] == [("E100", 0)]


def test_a_genesis_without_an_end_is_torn(tmp_path: Path) -> None:
    """Line 1 must end like every other."""
    path = tmp_path / CHAIN_NAME
    path.write_bytes(encode(ChainMaker(1).genesis.to_json()))
    assert [(finding.code, finding.height) for finding in audit(path).findings] == [("E101", 0)]


def test_no_file_is_not_found(tmp_path: Path) -> None:
    """A missing ledger is no damaged ledger."""
    with pytest.raises(NotFound):
        audit(tmp_path / CHAIN_NAME)


def test_a_ledger_can_be_audited_while_it_is_written(tmp_path: Path) -> None:
    """Neither the writer's lock nor a staged tip file is in the way."""
    maker = build_chain(4, 3)
    with ChainFile.create(tmp_path, maker.genesis) as file:
        for block, certificate in zip(maker.blocks, maker.certificates, strict=True):
            file.append(block, certificate)
            (tmp_path / f".{TIP_NAME}.0.new").write_bytes(b"half")
            report = audit(tmp_path / CHAIN_NAME)
            assert report.ok
            assert report.certified_to == file.height


def test_higher_layers_add_checks(tmp_path: Path) -> None:
    """A check of level 3 sees the state before each block, ends the audit, and sleeps below its level."""
    seen: list[tuple[int, int]] = []

    def dislike_height_three(subject: Subject) -> Iterator[Finding]:
        seen.append((subject.before.state.height, subject.block.height))
        if subject.height == 3:
            yield subject.finding("E999", "three is bad")

    path = build_chain(4, 5).write(tmp_path)
    check = Check("taste", 3, dislike_height_three)
    assert audit(path, 2, [check]).ok
    assert seen == []
    report = audit(path, 3, [check])
    assert seen == [(0, 1), (1, 2), (2, 3)]
    assert report.findings == (Finding("E999", 3, 4, "three is bad"),)
    assert report.skipped == ("heights 4 and on: they hang on what was altered",)
    assert (report.height, report.blocks) == (2, 2)


def test_check_names_are_distinct() -> None:
    """A check is known by its name."""
    assert len({check.name for check in CHECKS}) == len(CHECKS)
