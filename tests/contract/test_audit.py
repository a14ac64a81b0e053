from pathlib import Path

import pytest
from chains import ChainMaker
from places import refunded_round, settled_round

from fedcoin_cli.contract.outcome_check import CHECKS, CODES
from ledger_store.audit.audit import AuditReport, audit
from ledger_store.audit.checks import CODES as LOWER_CODES


def audited(maker: ChainMaker, folder: Path, level: int = 3) -> AuditReport:
    return audit(maker.write(folder), level, CHECKS)


def test_what_follows_is_found_right(tmp_path: Path) -> None:
    """Settled and refunded tasks whose outcomes follow from what they hold pass level 3."""
    maker = ChainMaker()
    settled_round(maker)
    refunded_round(maker)
    report = audited(maker, tmp_path)
    assert report.ok
    assert (report.height, report.certified_to) == (5, 5)


@pytest.mark.parametrize("code", CODES)
def test_codes_are_its_own(code: str) -> None:
    """No code of level 3 means something else at a lower level."""
    assert code not in LOWER_CODES
