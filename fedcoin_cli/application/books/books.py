"""The books: a read-only view of the workspace's longest certified ledger.

Balances, tasks and blocks as the chain file says, no signature checked again (`audit` does that) and no lock taken.
Nothing here needs sockets or arrays.
"""

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Self

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.errors import BadSignature, FedCoinError, LedgerInvalid, Malformed, NotFound
from ledger_store.base.names import GenesisId
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate
from ledger_store.bookkeeping.history import History
from ledger_store.chain import Tip, replay, start
from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME, ChainReader, read_chain, read_tip
from ledger_store.file.snapshot import Seal
from ledger_store.state import State


def ledgers(workspace: Workspace) -> list[Path]:
    """The folders of the workspace's ledgers, the one that claims to be longest first; raises `NotFound`."""
    places = [*(miner.path for miner in workspace.miners), workspace.copy]
    folders = [folder for folder in places if (folder / CHAIN_NAME).is_file()]
    if not folders:
        hint = "fedcoin sync gets one from the miners; fedcoin audit FILE reads one from anywhere"
        raise NotFound("no ledger in this workspace", where=str(workspace.root), hint=hint)
    return sorted(folders, key=claimed_height, reverse=True)


def claimed_height(folder: Path) -> int:
    """How long a ledger says it is: by its tip file, else by its lines. Believed only for choosing."""
    with contextlib.suppress(Malformed):
        record = read_tip(folder / TIP_NAME)
        if record is not None:
            return record.height
    return sum(1 for _ in read_chain(folder / CHAIN_NAME)) - 1


class Books:
    """One ledger as it stood when it was opened; `tip` is its last certified block.

    `ignored` holds what was wrong with ledgers that claimed to be longer and could not be read.
    """

    def __init__(self, reader: ChainReader, ignored: tuple[FedCoinError, ...] = ()) -> None:
        self._reader = reader
        self.ignored = ignored
        self.tip = self._certified()

    @classmethod
    def open(cls, workspace: Workspace) -> "Books":
        """The longest certified ledger of `workspace`, of its network.

        Raises `NotFound` when there is no ledger, and what is wrong with the first when none can be read.
        """
        best: Books | None = None
        ignored: list[FedCoinError] = []
        genesis = workspace.genesis().id
        for folder in ledgers(workspace):
            if best is not None and claimed_height(folder) <= best.height:
                break
            try:
                books = cls(_reader_of(folder, genesis, workspace.seal(folder)))
            except FedCoinError as error:
                ignored.append(error)
                continue
            if best is None or books.height > best.height:
                best = books
        if best is None:
            raise ignored[0]
        best.ignored = tuple(ignored)
        return best

    @classmethod
    def read(cls, place: Path) -> "Books":
        """The ledger in a file or folder, of whatever network; raises `NotFound` and what is wrong with it."""
        if not place.exists():
            hint = "name a chain.jsonl, under whatever name, or the folder that holds one"
            raise NotFound("no such ledger", where=str(place), hint=hint)
        return cls(ChainReader(place))

    @property
    def ignored_snapshot(self) -> bool:
        """Whether there is a snapshot that its miner has not sealed."""
        return self._reader.ignored_snapshot

    @property
    def path(self) -> Path:
        """The chain file."""
        return self._reader.path

    @property
    def state(self) -> State:
        """The state after the last certified block."""
        return self.tip.state

    @property
    def height(self) -> int:
        """The last certified block's height."""
        return self.tip.height

    @cached_property
    def history(self) -> History:
        """Every task up to there, ended ones too: a second walk over all blocks, for those who ask."""
        known = History(self.tip.genesis)
        for block in self.blocks():
            known.follow(block)
        return known

    def state_at(self, height: int) -> State:
        """The state after block `height`; raises `NotFound` beyond the last certified block."""
        return self._tip_at(height).state

    def block(self, height: int) -> Block:
        """Block 1..`height`; raises `NotFound`."""
        if height > self.height:
            raise _beyond(height, self.height, self.path)
        return self._reader.block(height)

    def certificate_of(self, height: int) -> Certificate | None:
        """The certificate of a certified block; None for genesis."""
        return self._reader.certificate_of(height) if height else None

    def blocks(self) -> Iterator[Block]:
        """Every certified block, from height 1 on."""
        return (self._reader.block(height) for height in range(1, self.height + 1))

    def close(self) -> None:
        """Give back the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _certified(self) -> Tip:
        """The reader's tip, or the block before it when the tip's certificate is not here (yet).

        Either certificate is verified, and by its links it vouches for every block.
        """
        tip = self._reader.tip
        if tip.height == 0 or tip.certificate is not None:
            return tip
        before = self._reader.before or self._folded(tip.height - 1)
        if before.certificate is not None:
            try:
                before.certificate.check(before.genesis, VoteKind.FINAL, before.height, before.state.head)
            except BadSignature as error:
                hint = "fedcoin audit names what was altered"
                raise LedgerInvalid(error.message, where=str(self._reader.path), hint=hint) from error
        return before

    def _tip_at(self, height: int) -> Tip:
        if not 0 <= height <= self.height:
            raise _beyond(height, self.height, self.path)
        return self.tip if height == self.height else self._folded(height)

    def _folded(self, height: int) -> Tip:
        tip = start(self._reader.tip.genesis)
        for number in range(1, height + 1):
            tip = replay(tip, self._reader.block(number))
        return Tip(tip.state, self._reader.certificate_of(height) if height else None)


def _reader_of(folder: Path, genesis_id: GenesisId, seal: Seal | None) -> ChainReader:
    """A ledger's reader; raises `LedgerInvalid` for one of another network than this genesis names."""
    reader = ChainReader(folder, seal)
    found = reader.tip.genesis
    if found.id != genesis_id:
        reader.close()
        hint = "move it away; fedcoin audit FILE reads a ledger of any network"
        raise LedgerInvalid(
            f"a ledger of another network, {found.network}", where=str(reader.path), hint=hint
        )
    return reader


def certified_tip(workspace: Workspace) -> Tip:
    """Where this workspace's longest certified ledger ends; genesis when it has none that can be read."""
    try:
        with Books.open(workspace) as books:
            return books.tip
    except FedCoinError:
        return start(workspace.genesis())


def _beyond(height: int, end: int, path: Path) -> NotFound:
    return NotFound(f"no block {height}: the certified ledger ends at {end}", where=str(path))
