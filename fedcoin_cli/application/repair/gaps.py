"""Completing a ledger that is damaged in the middle from other ledgers; the damaged one is kept as a copy.

Every certificate and transition that is taken is checked. A miner must not vote again where it has voted, so a ledger
is completed only if that reaches as far as the miner has ever been.
"""

import itertools
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ledger_store.audit.audit import audit
from ledger_store.base import disk
from ledger_store.base.canonical import encode
from ledger_store.base.errors import LedgerInvalid, NotFound, PeerFault
from ledger_store.base.names import BlockId
from ledger_store.block import Block
from ledger_store.chain import Tip, extend, replay, start
from ledger_store.file.chain_file import ChainReader, read_chain
from ledger_store.genesis import Genesis

_SIGNATURES = 2


def first_altered(path: Path) -> int | None:
    """The height of the first block that is not what was signed; the tip file is not judged here."""
    heights = [one.height for one in audit(path, _SIGNATURES).findings if one.line is not None]
    return min(heights, default=None)


def complete(
    path: Path, genesis: Genesis, good_most: int | None, reached: int, donors: Iterable[ChainReader]
) -> list[str]:
    """Write the good blocks, at most so many, and what a donor holds behind them; says what was done.

    The caller holds the ledger's lock. Raises `LedgerInvalid`, having changed nothing, when no donor reaches `reached`.
    """
    lines, tip = _good_lines(path, genesis, good_most)
    for donor in donors:
        if donor.height >= reached and holds(donor, tip.height, tip.state.head):
            more = _verified(donor, tip)
            if tip.height + len(more) >= reached:
                return _rewrite(path, [*lines, *more], tip.height)
    if tip.height < reached:
        hint = "put another miner's chain.jsonl and tip.json into a folder: fedcoin repair --from FOLDER"
        message = f"the ledger is damaged at height {tip.height + 1}, none here reaches height {reached}"
        raise LedgerInvalid(message, where=str(path), hint=hint)
    return _rewrite(path, lines, tip.height)


def holds(donor: ChainReader, height: int, head: BlockId) -> bool:
    """Whether the donor's block at `height` is `head`."""
    if height == 0:
        return True
    return donor.height >= height and donor.block(height).id == head


def unused(path: Path) -> Path:
    """A name beside `path` that nothing has yet."""
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def _rewrite(path: Path, lines: list[bytes], good: int) -> list[str]:
    done = []
    if path.exists():
        aside = unused(path)
        with disk.refusals(aside):
            shutil.copy2(path, aside)
            disk.sync_folder(aside.parent)
        done.append(f"copied the damaged ledger into {aside.name}")
    disk.put_in_place(disk.stage(path, b"".join(lines)), path)
    taken = f"took blocks {good + 1} to {len(lines) - 1} from another ledger"
    return [*done, taken if len(lines) - 1 > good else "wrote a new ledger"]


def _good_lines(path: Path, genesis: Genesis, most: int | None) -> tuple[list[bytes], Tip]:
    """Genesis and the lines of at most so many blocks, before the first that does not even fold."""
    lines, tip = [encode(genesis.to_json()) + b"\n"], start(genesis)
    with suppress(NotFound, PeerFault):
        for _, line in itertools.islice(read_chain(path), 1, None if most is None else most + 1):
            if not line.endswith(b"\n"):
                break
            tip = replay(tip, Block.from_line(line.removesuffix(b"\n")))
            lines.append(line)
    return lines, tip


def _verified(donor: ChainReader, tip: Tip) -> list[bytes]:
    """The donor's lines behind `tip`, as far as every certificate and transition is right."""
    lines: list[bytes] = []
    for height in range(tip.height + 1, donor.height + 1):
        block, certificate = donor.block(height), donor.certificate_of(height)
        if certificate is None:
            break
        try:
            tip = extend(tip, block, certificate)
        except PeerFault:
            break
        lines.append(block.line + b"\n")
    return lines
