"""Repairing local ledgers without losing a byte: what is damaged is moved or copied aside, never deleted.

A torn tail is moved aside by opening the ledger; a block or certificate that the vote log still holds is put back. A
ledger damaged in the middle is completed from another miner's, every certificate checked, and only if that reaches as
far as this miner has ever been: it must not vote again where it has voted.
"""

import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from fedcoin_cli.application.replica import reconcile
from fedcoin_cli.application.votelog import Remembered, VoteLog
from fedcoin_cli.application.workspace import MinerFolder, Workspace
from ledger_store import disk
from ledger_store.block import Block
from ledger_store.canonical import encode
from ledger_store.chain import Tip, extend, replay, start
from ledger_store.errors import (
    FedCoinError,
    LedgerInvalid,
    Malformed,
    NotFound,
    PeerFault,
    StorageFailure,
)
from ledger_store.jsonl import CHAIN_NAME, LOCK_NAME, ChainFile, ChainReader, read_chain, read_tip


@dataclass(frozen=True, slots=True)
class Repaired:
    """One miner's ledger afterwards: what was done, and what remains wrong (`height` is then None)."""

    miner: int
    path: Path
    height: int | None
    certified: bool
    done: tuple[str, ...]
    problem: FedCoinError | None = None


def repair(workspace: Workspace, donor: Path | None = None) -> list[Repaired]:
    """Repair every local ledger; `donor` is a folder with one more ledger to complete from.

    Raises `NotFound` without local miners; what cannot be repaired is told in `problem`.
    """
    miners = workspace.miners
    if not miners:
        raise NotFound(
            "no miner in this workspace", where=str(workspace.root), hint="fedcoin init makes miners"
        )
    folders = [miner.path for miner in miners] + ([] if donor is None else [donor])
    return [
        _Repair(workspace, miner, [path for path in folders if path != miner.path]).run() for miner in miners
    ]


class _Repair:
    """One miner's repair."""

    def __init__(self, workspace: Workspace, miner: MinerFolder, others: list[Path]) -> None:
        self._workspace, self._miner, self._others = workspace, miner, others
        self._genesis = workspace.genesis()
        self._done: list[str] = []

    def run(self) -> Repaired:
        path = self._miner.path / CHAIN_NAME
        try:
            with self._open() as file:
                if file.torn is not None:
                    self._done.append(f"moved a torn tail into {file.torn.name}")
                self._restore_tip(file)
                certified = file.height == 0 or file.tip.certificate is not None
                return Repaired(self._miner.number, path, file.height, certified, tuple(self._done))
        except FedCoinError as error:
            return Repaired(self._miner.number, path, None, False, tuple(self._done), error)

    def _open(self) -> ChainFile:
        folder = self._miner.path
        try:
            return ChainFile.open_for_writing(folder)
        except (LedgerInvalid, NotFound):
            lock = disk.lock(folder / LOCK_NAME)
            try:
                self._complete(folder / CHAIN_NAME)
            finally:
                os.close(lock)
            return ChainFile.open_for_writing(folder)

    def _restore_tip(self, file: ChainFile) -> None:
        """The last block or its certificate, from the vote log or else from another ledger."""
        height, certified = file.height, file.tip.certificate is not None
        reconcile(file, self._remembered())
        if file.height > height:
            self._done.append(f"put back block {file.height} from the vote log")
        elif file.height and not certified:
            if file.tip.certificate is None:
                self._certify(file)
            if file.tip.certificate is not None:
                self._done.append(f"put back the certificate of block {file.height}")

    def _certify(self, file: ChainFile) -> None:
        with ExitStack() as stack:
            for donor in self._donors(stack):
                known = _holds(donor, file.height, file.tip.state.head)
                certificate = donor.certificate_of(file.height) if known else None
                if certificate is not None:
                    with suppress(PeerFault):
                        file.certify(certificate)
                        return

    def _remembered(self) -> Remembered | None:
        """What the vote log holds; one that is no database is moved aside, as good as missing."""
        path = self._miner.votes
        if not path.exists():
            return None
        address = self._workspace.key(self._miner.name).address
        try:
            with closing(VoteLog(path, address, self._genesis.id)) as log:
                return log.load()
        except (sqlite3.DatabaseError, StorageFailure):
            aside = _unused(path)
            with disk.refusals(path):
                path.rename(aside)
            self._done.append(
                f"moved a broken vote log into {aside.name}; the miner will observe for a while"
            )
            return None

    # A ledger that is damaged in the middle, or gone ------------------------------------------------------------

    def _complete(self, path: Path) -> None:
        """Write the good blocks and what another ledger holds behind them."""
        lines, tip = self._good_lines(path)
        needed = self._reached(path)
        with ExitStack() as stack:
            for donor in self._donors(stack):
                if donor.height >= needed and _holds(donor, tip.height, tip.state.head):
                    more = _verified(donor, tip)
                    if tip.height + len(more) >= needed:
                        self._rewrite(path, [*lines, *more], tip.height)
                        return
        if tip.height < needed:
            hint = "put another miner's chain.jsonl and tip.json into a folder, then: fedcoin repair --from FOLDER"
            message = (
                f"the ledger is damaged at height {tip.height + 1}, and none here reaches height {needed}"
            )
            raise LedgerInvalid(message, where=str(path), hint=hint)
        self._rewrite(path, lines, tip.height)

    def _rewrite(self, path: Path, lines: list[bytes], good: int) -> None:
        if path.exists():
            aside = _unused(path)
            with disk.refusals(aside):
                shutil.copy2(path, aside)
                disk.sync_folder(aside.parent)
            self._done.append(f"copied the damaged ledger into {aside.name}")
        disk.put_in_place(disk.stage(path, b"".join(lines)), path)
        taken = f"took blocks {good + 1} to {len(lines) - 1} from another ledger"
        self._done.append(taken if len(lines) - 1 > good else "wrote a new ledger")

    def _good_lines(self, path: Path) -> tuple[list[bytes], Tip]:
        """The lines before the first damaged one; genesis at least."""
        lines = [encode(self._genesis.to_json()) + b"\n"]
        tip = start(self._genesis)
        with suppress(NotFound, PeerFault):
            for _, line in itertools.islice(read_chain(path), 1, None):
                tip = replay(tip, Block.from_line(line.removesuffix(b"\n")))
                lines.append(line)
        return lines, tip

    def _reached(self, path: Path) -> int:
        """How far this miner has been, as far as what is left tells: it may not vote again up to there."""
        heights = [0]
        remembered = self._remembered()
        if remembered is not None and remembered.decided is not None:
            heights.append(remembered.decided[0].height)
        with suppress(Malformed):
            record = read_tip(self._miner.tip)
            heights.append(0 if record is None else record.height)
        with suppress(NotFound):
            for _, line in read_chain(path):
                with suppress(Malformed):
                    heights.append(Block.from_line(line.removesuffix(b"\n")).height)
        return max(heights)

    def _donors(self, stack: ExitStack) -> Iterator[ChainReader]:
        for folder in self._others:
            with suppress(FedCoinError):
                reader = stack.enter_context(ChainReader(folder))
                if reader.tip.genesis.id == self._genesis.id:
                    yield reader


def _holds(donor: ChainReader, height: int, head: str) -> bool:
    if height == 0:
        return True
    return donor.height >= height and donor.block(height).id == head


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


def _unused(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())
