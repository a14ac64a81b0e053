from dataclasses import replace
from pathlib import Path

import pytest
from chains import ChainMaker
from places import refunded_round, settled_round

from fedcoin_cli.contract.audit import CHECKS, CODES
from ledger_store.audit import AuditReport, audit
from ledger_store.checks import CODES as LOWER_CODES
from ledger_store.transaction import Close, Pay


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


def test_payments_that_do_not_follow(tmp_path: Path) -> None:
    """A certified result whose payments do not follow from its reveals is E413 at its height, from level 3 on."""
    maker = ChainMaker()
    maker.add_round()
    report = audited(maker, tmp_path)
    assert [(one.code, one.height, one.line) for one in report.findings] == [("E413", 3, 4)]
    assert audited(maker, tmp_path, level=2).ok


def test_a_refund_that_does_not_follow(tmp_path: Path) -> None:
    """A certified close without commits that gives SapPrice to a miner who did nothing is E412."""
    maker = ChainMaker()
    task = maker.task(attempts=1)
    maker.add(task)
    back = task.price_micro - task.shapley_micro
    pay = Pay((0,) * task.clients, 0, ((maker.miners[0].address, task.shapley_micro),), back)
    maker.add(Close(task.id, 1, (), replace(maker.failed(task, "REFUNDED"), pay=pay)))
    assert [one.code for one in audited(maker, tmp_path).findings] == ["E412"]


def test_terms_that_nobody_can_fulfil(tmp_path: Path) -> None:
    """A certified task whose numbers of rankings are off the grid is E411."""
    maker = ChainMaker()
    maker.add(maker.task(most_rankings=10_001))
    assert [one.code for one in audited(maker, tmp_path).findings] == ["E411"]


@pytest.mark.parametrize("code", CODES)
def test_codes_are_its_own(code: str) -> None:
    """No code of level 3 means something else at a lower level."""
    assert code not in LOWER_CODES
