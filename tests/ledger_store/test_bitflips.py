"""Edits of a certified chain: every single-bit flip, and edits hashed again, named at the right height."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from chains import ChainMaker, build_chain

from ledger_store.audit import audit
from ledger_store.block import Block, make_block
from ledger_store.jsonl import CHAIN_NAME, TIP_NAME
from ledger_store.transaction import Close, Result, Task, Transaction, Transfer


def flips(data: bytes) -> list[tuple[int, bytes]]:
    """Every single-bit change, with the offset of the changed byte."""
    return [
        (offset, data[:offset] + bytes([data[offset] ^ 1 << bit]) + data[offset + 1 :])
        for offset in range(len(data))
        for bit in range(8)
    ]


def test_every_bit_flip_of_the_ledger_is_found_at_its_height(ram: Path) -> None:
    """All of them: genesis, headers, transactions, certificates, newlines."""
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


def rehashed(maker: ChainMaker, height: int, edit: Block) -> bytes:
    """The chain with one block exchanged and every hash behind it made to fit again, signatures as they were."""
    lines, parent = maker.lines()[:height], maker.blocks[height - 2].id if height > 1 else maker.genesis.id
    for block in (edit, *maker.blocks[height:]):
        header = block.header
        again = make_block(
            parent,
            block.height,
            header.time_ms,
            header.proposer,
            header.view,
            block.transactions,
            block.certificate,
        )
        lines.append(again.line + b"\n")
        parent = again.id
    return b"".join(lines)


def edits(block: Block) -> list[Block]:
    """Changes that somebody without keys would like to make, each leaving a block of good form."""
    header = block.header
    made = [
        replace(block, header=replace(header, time_ms=header.time_ms + 1)),
        replace(block, transactions=tuple(_richer(item) for item in block.transactions)),
    ]
    if block.certificate is not None:
        (index, signature), *rest = block.certificate.signatures
        forged = ((index, signature[:-1] + ("0" if signature[-1] != "0" else "1")), *rest)
        made.append(replace(block, certificate=replace(block.certificate, signatures=forged)))
    return made


def _richer(transaction: Transaction) -> Transaction:
    if isinstance(transaction, Transfer):
        return replace(transaction, amount_micro=transaction.amount_micro + 1)
    if isinstance(transaction, Task):
        return replace(transaction, images=transaction.images + 1)
    assert isinstance(transaction, Close | Result)
    return replace(transaction, attempt=transaction.attempt + 1)


@pytest.mark.parametrize("height", range(1, 8))
def test_an_edit_that_was_hashed_again_is_found_at_its_height(tmp_path: Path, height: int) -> None:
    """Fitting roots, digests and links do not help: the signatures tell what was voted for."""
    maker = build_chain(4, 7)
    (tmp_path / TIP_NAME).write_bytes(maker.tip_bytes())
    for edit in edits(maker.blocks[height - 1]):
        (tmp_path / CHAIN_NAME).write_bytes(rehashed(maker, height, edit))
        assert [finding.height for finding in audit(tmp_path / CHAIN_NAME).findings] == [height]


def test_random_edits_of_a_longer_chain_are_found(tmp_path: Path) -> None:
    """Bytes changed, removed, inserted, lines swapped, repeated or dropped; the seed is fixed, so is the count."""
    maker = build_chain(1, 12)
    path = maker.write(tmp_path)
    dice = random.Random(20)
    lines = maker.lines()
    for _ in range(250):
        path.write_bytes(_random_edit(dice, lines))
        if path.read_bytes() != b"".join(lines):
            assert not audit(path).ok


def _random_edit(dice: random.Random, lines: list[bytes]) -> bytes:
    changed, number = list(lines), dice.randrange(len(lines))
    line = changed[number]
    at, size = dice.randrange(len(line)), dice.randrange(1, 9)
    match dice.randrange(6):
        case 0:
            changed[number] = line[:at] + dice.randbytes(size) + line[at + size :]
        case 1:
            changed[number] = line[:at] + line[at + size :]
        case 2:
            changed[number] = line[:at] + dice.randbytes(size) + line[at:]
        case 3:
            other = dice.randrange(len(lines))
            changed[number], changed[other] = changed[other], line
        case 4:
            changed.insert(dice.randrange(len(lines) + 1), line)
        case _:
            del changed[number]
    return b"".join(changed)
