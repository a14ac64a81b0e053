from dataclasses import replace
from pathlib import Path

import pytest
from chains import COIN, ChainMaker, key

from ledger_store.audit import bulk
from ledger_store.audit.audit import audit
from ledger_store.audit.bulk import Bulk
from ledger_store.base.names import BlockId, GenesisId
from ledger_store.block import Block
from ledger_store.identity.keys import signed_bytes


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BATCH", 12)


def forged(maker: ChainMaker) -> Block:
    """A block with a transfer whose amount was changed after it was signed."""
    transfer = maker.transfer(maker.requester, key("thief").address, COIN)
    return maker.propose(replace(transfer, amount_micro=9 * COIN))


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("before", [0, 1, 7, 20])
def test_a_false_signature_is_found_at_its_height(tmp_path: Path, before: int, jobs: int) -> None:
    """Whatever batch it falls into and whoever checks it: the finding is that of one look after the other."""
    maker = ChainMaker(4)
    maker.add_transfers(before)
    maker.force(forged(maker))
    for _ in range(15):
        maker.force(maker.propose(maker.transfer(maker.requester, key("friend").address, COIN, sequence=99)))
    report = audit(maker.write(tmp_path), jobs=jobs)
    assert [(one.code, one.height) for one in report.findings] == [("E303", before + 1)]
    assert (report.height, report.certified_to) == (before, max(0, before - 1))
    assert report.skipped == (f"heights {before + 2} and on: they hang on what was altered",)


def test_the_earlier_of_two_findings_is_told(tmp_path: Path) -> None:
    """A wrong order that is seen at once does not hide the false signature that stands before it in the batch."""
    maker = ChainMaker(4)
    maker.add_transfers(2)
    maker.certificates[-1] = maker.certify(maker.blocks[-1], signers=[0, 1, 2], kind="notar")
    maker.force(maker.propose(maker.transfer(maker.requester, maker.server.address, COIN)))
    two = [maker.transfer(maker.requester, maker.server.address, COIN) for _ in range(2)]
    maker.force(maker.propose(*two[::-1]))
    report = audit(maker.write(tmp_path))
    assert [(one.code, one.height) for one in report.findings] == [("E301", 2)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_good_chain_passes_in_many_batches(tmp_path: Path, jobs: int) -> None:
    """Height, balances and certification are the same on any number of cores."""
    maker = ChainMaker(4)
    maker.add_transfers(30)
    report = audit(maker.write(tmp_path), jobs=jobs)
    assert (report.ok, report.height, report.certified_to) == (True, 30, 30)
    assert report.balances == maker.tip.state.balances


@pytest.mark.parametrize("jobs", [1, 2])
def test_batches_wait_only_so_long(jobs: int) -> None:
    """However many are handed in, few wait; the mark of the first false one comes back, from whatever process."""
    good, message = key("miner-1"), signed_bytes("final", GenesisId(BlockId("00" * 32)), {"height": 1})
    signature = good.sign("final", GenesisId(BlockId("00" * 32)), {"height": 1})
    failed = []
    with Bulk[int](jobs) as batches:
        for mark in range(8):
            batches.collect(good.address, message, signature if mark != 6 else "0" * 128)
            batches.hand_in(mark)
            failed.append(batches.failed(wait=False))
            assert len(batches._waiting) <= 2 * jobs
        failed.append(batches.failed(wait=True))
    assert [mark for mark in failed if mark is not None] == [6]
