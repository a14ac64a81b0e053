"""Edits of a certified chain: every single-bit flip, and edits hashed again, named at the right height.

Many edits of a long chain are `scenarios/test_03_edits.py`.
"""

from pathlib import Path

import pytest
from chains import ChainMaker, build_chain
from edits import edits, rehashed

from ledger_store.audit.audit import audit
from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME


def flips(data: bytes) -> list[tuple[int, bytes]]:
    """Every single-bit change, with the offset of the changed byte."""
    return [
        (offset, data[:offset] + bytes([data[offset] ^ 1 << bit]) + data[offset + 1 :])
        for offset in range(len(data))
        for bit in range(8)
    ]


def test_every_bit_flip_of_the_ledger_is_found_at_its_height(ram: Path) -> None:
    """All of them: genesis, headers, transactions, certificates, newlines [P-13.17]."""
    maker = ChainMaker(1)
    maker.add_transfers(2)
    path = maker.write(ram)
    missed = []
    for offset, changed in flips(path.read_bytes()):
        path.write_bytes(changed)
        found = [finding.height for finding in audit(path).findings]
        height = b"".join(maker.lines())[:offset].count(b"\n")
        if found != [height]:
            missed.append((offset, height, found))
    assert missed == []


def test_every_bit_flip_of_the_tip_file_is_found(ram: Path) -> None:
    """The last block's certificate is as well protected as the others."""
    maker = ChainMaker(1)
    maker.add_transfers(1)
    path = maker.write(ram)
    for offset, changed in flips(maker.tip_bytes()):
        (ram / TIP_NAME).write_bytes(changed)
        report = audit(path)
        assert [finding.line for finding in report.findings] == [None], offset


@pytest.mark.parametrize("height", range(1, 8))
def test_an_edit_that_was_hashed_again_is_found_at_its_height(tmp_path: Path, height: int) -> None:
    """Fitting roots, digests and links do not help: the signatures tell what was voted for [P-13.17]."""
    maker = build_chain(4, 7)
    (tmp_path / TIP_NAME).write_bytes(maker.tip_bytes())
    for edit in edits(maker.blocks[height - 1]):
        (tmp_path / CHAIN_NAME).write_bytes(rehashed(maker, height, edit))
        assert [finding.height for finding in audit(tmp_path / CHAIN_NAME).findings] == [height]
