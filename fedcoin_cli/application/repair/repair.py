"""Repairing local ledgers without losing a byte: what is damaged is moved or copied aside, never deleted.

A torn tail is moved aside by opening the ledger; a block or certificate that the vote log still holds is put back.
What is damaged in the middle is `gaps`' business.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.application.repair.gaps import complete, first_altered, holds, unused
from fedcoin_cli.application.workspace.workspace import MinerFolder, Workspace
from fedcoin_cli.replica.records import Remembered
from fedcoin_cli.replica.replica import reconcile
from ledger_store.base import disk
from ledger_store.base.errors import (
    FedCoinError,
    LedgerInvalid,
    Malformed,
    NotFound,
    PeerFault,
    StorageFailure,
)
from ledger_store.block import Block
from ledger_store.file.chain_file import CHAIN_NAME, LOCK_NAME, ChainFile, ChainReader, read_chain, read_tip


@dataclass(frozen=True, slots=True)
class Repaired:
    """One miner's ledger afterwards: what was done, and what remains wrong (`height` is then None)."""

    number: int
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

    def __init__(self, workspace: Workspace, folder: MinerFolder, others: list[Path]) -> None:
        self._workspace, self._miner, self._others = workspace, folder, others
        self._genesis = workspace.genesis()
        self._done: list[str] = []

    def run(self) -> Repaired:
        path = self._miner.path / CHAIN_NAME
        try:
            with self._sound(path) as file:
                self._restore_tip(file)
                certified = file.height == 0 or file.tip.certificate is not None
                return Repaired(self._miner.number, path, file.height, certified, tuple(self._done))
        except FedCoinError as error:
            return Repaired(self._miner.number, path, None, False, tuple(self._done), error)

    def _sound(self, path: Path) -> ChainFile:
        """The ledger, open for writing, each of its blocks as it was signed."""
        try:
            file = self._open()
        except (LedgerInvalid, NotFound):
            self._complete(path, None)
            return self._open()
        altered = first_altered(path)
        if altered is None:
            return file
        file.close()
        self._complete(path, altered - 1)
        return self._open()

    def _complete(self, path: Path, good_most: int | None) -> None:
        with ExitStack() as stack:
            stack.callback(os.close, disk.lock(path.with_name(LOCK_NAME)))
            reached, donors = self._reached(path), self._donors(stack)
            self._done += complete(path, self._genesis, good_most, reached, donors)

    def _open(self) -> ChainFile:
        file = ChainFile.open_for_writing(self._miner.path)
        if file.torn is not None:
            self._done.append(f"moved a torn tail into {file.torn.name}")
        return file

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
                known = holds(donor, file.height, file.tip.state.head)
                certificate = donor.certificate_of(file.height) if known else None
                if certificate is not None:
                    with suppress(PeerFault):
                        file.certify(certificate)
                        return

    def _remembered(self) -> Remembered | None:
        """What the vote log holds; one that is not a database is moved aside, as good as missing."""
        path = self._miner.votes
        if not path.exists():
            return None
        address = self._workspace.address(self._miner.name)
        try:
            with closing(VoteLog(path, address, self._genesis.id)) as log:
                return log.load()
        except (sqlite3.DatabaseError, StorageFailure) as error:
            if not _blames_content(error.__cause__ if isinstance(error, StorageFailure) else error):
                raise
        aside = unused(path)
        with disk.refusals(path):
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        self._done.append(f"moved a broken vote log into {aside.name}; the miner will observe for a while")
        return None

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


def _blames_content(error: BaseException | None) -> bool:
    """Whether SQLite refuses what the file holds, and not the disk, a lock or a permission."""
    return type(error) is sqlite3.DatabaseError or "no such table" in str(error)
