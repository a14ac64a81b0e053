"""Edits of a chain file by somebody without keys: bytes and lines at random, and blocks hashed again."""

import random
from dataclasses import replace

from chains import ChainMaker

from ledger_store.block import Block, make_block
from ledger_store.transaction import Close, Result, Task, Transaction, Transfer


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


def random_edit(dice: random.Random, lines: list[bytes]) -> bytes:
    """Bytes changed, removed or inserted, lines swapped, repeated or dropped."""
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


def first_altered(lines: list[bytes], edited: bytes) -> int | None:
    """The height of the first line that is not as it was, None for the same bytes."""
    now = edited.splitlines(keepends=True)
    for height, line in enumerate(lines):
        if height >= len(now) or now[height] != line:
            return height
    return len(lines) if len(now) > len(lines) else None
