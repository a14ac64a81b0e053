from pathlib import Path

import pytest
from corrupt import ledgers, rounds, settlements

from fedcoin_cli.application.auditing.codes import Code, codes
from fedcoin_cli.application.auditing.full_audit import AuditPlan, audit_ledger
from fedcoin_cli.application.rounds.past_files import Evidence
from fedcoin_cli.contract.settlement import check_settlements
from ledger_store.audit.checks import Finding
from ledger_store.base.errors import PeerFault
from ledger_store.block import Block
from ledger_store.chain import Tip, candidate, replay, start
from ledger_store.file.chain_file import ChainReader
from ledger_store.file.snapshot import SNAPSHOT_NAME
from ledger_store.genesis import Genesis


def test_every_code_has_a_ledger() -> None:
    """No finding of any level lacks a ledger that triggers it, and none is described twice [P-13.16]."""
    made = [*ledgers.codes(), *settlements.codes(), *rounds.codes()]
    assert made == [one.code for one in codes()]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("code", ledgers.codes())
def test_codes_of_levels_0_to_2(tmp_path: Path, code: str) -> None:
    """Exactly this finding with height and line; the rest of these ledgers follows from the fold alone."""
    made = ledgers.corrupted(code)
    report, _ = audit_ledger(made.write(tmp_path), AuditPlan(2, genesis_id=made.genesis))
    line = None if code in {"E104", "E206", "E302", "E304"} else made.height + 1
    file = SNAPSHOT_NAME if code == "E304" else None
    assert [_place(one) for one in report.findings] == [(code, made.height, line, file)]


@pytest.mark.parametrize("code", settlements.codes())
def test_codes_of_level_3(tmp_path: Path, code: str) -> None:
    """Exactly this finding with height and line, at level 3 and not below."""
    path, height = settlements.corrupted(code, tmp_path)
    report, _ = audit_ledger(path, AuditPlan(3))
    assert [(one.code, one.height, one.line) for one in report.findings] == [(code, height, height + 1)]
    assert audit_ledger(path, AuditPlan(2))[0].ok


@pytest.mark.parametrize("code", rounds.codes())
def test_codes_of_level_4(tmp_path: Path, code: str) -> None:
    """Exactly this finding with height, line and file, at level 4 and not below; nothing of the round is skipped.

    [P-6.3] [P-13.21]
    """
    made = rounds.corrupted(code, tmp_path)
    find = Evidence([made.store]).find
    report, _ = audit_ledger(made.chain, AuditPlan(4, sample=None, jobs=2), find)
    file = None if made.file is None else str(made.file)
    assert [_place(one) for one in report.findings] == [(code, made.height, made.height + 1, file)]
    assert report.findings[0].message
    assert report.skipped == ()
    assert audit_ledger(made.chain, AuditPlan(3))[0].ok


@pytest.mark.parametrize("one", codes(), ids=lambda one: one.code)
def test_codes_say_their_level(one: Code) -> None:
    """The table of codes names for each the level that looks, and says what it means [P-13.16]."""
    levels = {"E1": 0, "E2": 1, "E3": 2, "E5": 4}
    assert one.level == levels.get(one.code[:2], 3 if one.code > "E410" else 2)
    assert one.meaning


def _place(finding: Finding) -> tuple[str, int, int | None, str | None]:
    return finding.code, finding.height, finding.line, finding.file


@pytest.mark.parametrize(
    "code", ["E301", "E303", *(one.code for one in codes() if "E401" <= one.code <= "E407")]
)
def test_whoever_applies_a_block_hears_the_auditors_code(tmp_path: Path, code: str) -> None:
    """A replica that refuses the block refuses it with the code that an audit finds: there is one transition."""
    made = ledgers.corrupted(code)
    lines = made.write(tmp_path).read_bytes().splitlines()
    with pytest.raises(PeerFault) as refused:
        _folded(lines)
    assert refused.value.code == code


def _folded(lines: list[bytes]) -> Tip:
    """As a voter folds, every signature looked at."""
    tip = start(Genesis.from_line(lines[0]))
    for line in lines[1:]:
        tip = Tip(candidate(tip, Block.read_line(line)))
    return tip


def test_codes_of_settlements_are_the_voters(tmp_path: Path) -> None:
    """What a voter refuses beyond the fold carries the code of level 3."""
    for code in settlements.codes():
        path, height = settlements.corrupted(code, tmp_path / code)
        with ChainReader(path.parent) as reader:
            tip = start(reader.tip.genesis)
            for number in range(1, height):
                tip = replay(tip, reader.block(number))
            with pytest.raises(PeerFault) as refused:
                check_settlements(tip.state, reader.block(height))
            assert refused.value.code == code
