"""The chain file: line 0 is genesis, line h is block h; beside it the tip file with the last certificate.

`ChainReader` reads without a lock, `ChainFile` is the one writer. Opening checks framing, links and the fold,
no signature: those were checked before the line was written. `checks` trusts nothing. A long chain is read and
hashed, and folded from its newest snapshot on only.

Theory of operation. An append stages the new tip file, appends the line, then puts the tip file in its place:
a full disk is met before the ledger changes, and after a power cut the tip file is never ahead. A torn tail
(bytes that are not a block, with no block after them) is moved aside when a writer opens the file; readers pass
over it.
"""

import contextlib
import hashlib
import math
import os
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Self

from ledger_store.base import disk
from ledger_store.base.canonical import decode, encode, parse
from ledger_store.base.errors import (
    BadSignature,
    LedgerInvalid,
    Malformed,
    NotFound,
    PeerFault,
    StorageFailure,
)
from ledger_store.base.fields import Fields
from ledger_store.base.names import BlockId
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate
from ledger_store.chain import Tip, extend, replay, start
from ledger_store.file.snapshot import SNAPSHOT_NAME, Seal, Snapshot, read_snapshot
from ledger_store.genesis import GENESIS_BYTES_MAX, Genesis

CHAIN_NAME, TIP_NAME, LOCK_NAME = "chain.jsonl", "tip.json", "chain.lock"
# The largest genesis and its newline fit; what is longer is not a line of ours and is read in pieces.
LINE_BYTES_MAX = GENESIS_BYTES_MAX + 2**20
# 64 signatures of 136 bytes, and 200 bytes beside them, are 8,904.
TIP_BYTES_MAX = 16 * 1024
# At most so many blocks are folded again when a ledger is opened whose writer kept snapshots: a tenth of a second.
SNAPSHOT_BLOCKS = 500
_REMEDY = "fedcoin audit names what was altered; fedcoin repair fetches it again from the other miners"


@dataclass(frozen=True, slots=True)
class TipRecord:
    """The tip file: the last block's height, id and certificate [P-13.9]."""

    height: int
    """The last block's height."""
    id: BlockId
    """Its id, so that the certificate cannot be taken for another block's."""
    certificate: Certificate
    """Its FINAL certificate, which no next block holds yet."""

    def to_json(self) -> dict[str, Any]:
        return {"certificate": self.certificate.to_json(), "height": self.height, "id": self.id}

    @classmethod
    def from_bytes(cls, data: bytes) -> "TipRecord":
        """Read the file's bytes; raises `Malformed`."""
        if len(data) > TIP_BYTES_MAX:
            raise Malformed(f"more than the {TIP_BYTES_MAX} bytes that a tip file takes at most")
        reader = Fields(decode(data.removesuffix(b"\n")), ("certificate", "height", "id"), "tip file")
        certificate = Certificate.from_json(reader.raw("certificate"))
        return cls(reader.integer("height", 1), reader.block_id("id"), certificate)


def read_chain(path: Path, patience_s: float = 0.0) -> Iterator[tuple[int, bytes]]:
    """The lines of a chain file with their numbers, newline included; only the last may lack it.

    A last line that lacks it gets `patience_s` to be finished by a live writer. Raises `NotFound` and
    `StorageFailure`. [P-13.1]
    """
    try:
        with disk.open_file(path) as file:
            yield from enumerate(_lines(file, patience_s))
    except FileNotFoundError as error:
        raise NotFound("no ledger here", where=str(path), hint="fedcoin init makes one") from error
    except OSError as error:
        raise StorageFailure(f"cannot read the ledger: {error.strerror}", where=str(path)) from error


def _lines(file: BinaryIO, patience_s: float) -> Iterator[bytes]:
    while line := file.readline(LINE_BYTES_MAX):
        if patience_s and len(line) < LINE_BYTES_MAX and not line.endswith(b"\n"):
            time.sleep(patience_s)
            line += file.readline(LINE_BYTES_MAX)
        yield line


def read_tip(path: Path) -> TipRecord | None:
    """The tip file, None when there is none; raises `Malformed` [P-13.9]."""
    try:
        with disk.open_file(path) as file:
            return TipRecord.from_bytes(file.read(TIP_BYTES_MAX + 1))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageFailure(f"cannot read the tip file: {error.strerror}", where=str(path)) from error


class ChainReader:
    """A chain file, or the one in a folder, as it stands when it is opened; a live writer does not disturb it.

    `ignored_snapshot`: there is one beside it that is not the seal's.

    Raises `NotFound` without a file, `LedgerInvalid` with height and remedy for a bad line in the middle. [P-13.14]
    """

    _FLAGS: ClassVar[int] = os.O_RDONLY
    # What one append can leave is less than a line; nobody looks through more of others' files for a block behind it.
    _TORN_BYTES_MAX: ClassVar[float] = 2**20

    def __init__(self, place: Path, seal: Seal | None = None) -> None:
        """`seal` is that of whoever writes this ledger: its snapshots are believed, without it none are."""
        # The chain file.
        self.path = place if place.is_file() else place / CHAIN_NAME
        # What its keeper's snapshots are sealed with; None: none is believed.
        self._seal = seal
        # Whether one lies there that is not its keeper's.
        self.ignored_snapshot = False
        # The file of the last certificate.
        self._tip_path = self.path.with_name(TIP_NAME)
        record = self._read_tip()  # before the chain, which only grows
        # Where each line begins: eight bytes a block.
        self._offsets = array("Q")
        # Over every byte so far: a snapshot is bound to it.
        self._sha = hashlib.sha256()
        # How far the newest snapshot reaches.
        self._snapshot_height = 0
        # The chain before the last block, for who must fall back on it.
        self._before: Tip | None = None
        # The chain as it stands.
        self._tip = self._load(snapshots=True)
        self._tip = Tip(self._tip.state, self._certificate(record))
        with disk.refusals(self.path):
            # Open as long as this object: blocks are read when they are asked for.
            self._handle = os.open(self.path, self._FLAGS)

    @property
    def tip(self) -> Tip:
        """The last block's state; its certificate is None at genesis, or when the tip file lacks it."""
        return self._tip

    @property
    def before(self) -> Tip | None:
        """The chain without its last block; None at genesis, and where a snapshot spared that block's fold."""
        if self._before is None:
            return None
        height = self._before.height
        return Tip(self._before.state, self.certificate_of(height) if height else None)

    @property
    def height(self) -> int:
        """The last block's height."""
        return self._tip.height

    def block(self, height: int) -> Block:
        """Block 1..`height`; raises `NotFound`, or `LedgerInvalid` when its bytes changed since opening."""
        try:
            return Block.from_line(self._line(height))
        except Malformed as error:
            raise self._invalid(height, error) from error

    def transactions(self, height: int, *kinds: str) -> list[dict[str, Any]]:
        """Those of block `height` that are of these kinds, as they are there; raises as `block`.

        For looks at all of a long chain: a block without any is not even parsed, and no type is checked again of what
        was checked before it was written.
        """
        line = self._line(height)
        if not any(b'"type":"%b"' % kind.encode() in line for kind in kinds):
            return []
        try:
            return [one for one in parse(line)["transactions"] if one["type"] in kinds]
        except Malformed as error:
            raise self._invalid(height, error) from error

    def certificate_of(self, height: int) -> Certificate | None:
        """The certificate of block `height`: it is in the next block; the tip's may be unknown (None)."""
        if height == self.height:
            return self._tip.certificate
        return self.block(height + 1).certificate

    def blocks(self) -> Iterator[Block]:
        """Every block, from height 1 on."""
        return (self.block(height) for height in range(1, self.height + 1))

    def close(self) -> None:
        """Give back the file."""
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _line(self, height: int) -> bytes:
        """The line of a block without its newline; raises `NotFound`."""
        if not 1 <= height <= self.height:
            raise NotFound(f"no block {height}: the ledger ends at {self.height}", where=str(self.path))
        begin, end = self._offsets[height], self._offsets[height + 1]
        return os.pread(self._handle, end - begin - 1, begin)

    @property
    def _end(self) -> int:
        """Where the next line begins, in bytes."""
        return self._offsets[-1]

    def _load(self, *, snapshots: bool) -> Tip:
        """Index and fold the lines; what stands behind `_end` is torn."""
        lines = read_chain(self.path)
        tip = start(self._read_genesis(lines))
        snapshot = None
        if snapshots and self._seal is not None:
            snapshot = read_snapshot(self.path.parent, tip.genesis, self._seal)
            self.ignored_snapshot = snapshot is None and (self.path.parent / SNAPSHOT_NAME).exists()
        if snapshot is not None:
            for _, line in islice(lines, snapshot.state.height):
                self._index(line)
            if self._sha.hexdigest() != snapshot.chain:
                return self._load(snapshots=False)
            tip, self._snapshot_height = Tip(snapshot.state), snapshot.state.height
        for height, line in lines:
            try:
                block = _read_block(line)
            except Malformed as error:
                torn = self.path.stat().st_size - self._end <= self._TORN_BYTES_MAX
                if not torn or any(_is_block(later) for _, later in lines):
                    raise self._invalid(height, error) from error
                break
            try:
                self._before, tip = tip, replay(tip, block)
            except PeerFault as error:
                raise self._invalid(height, error) from error
            self._index(line)
        return tip

    def _read_genesis(self, lines: Iterator[tuple[int, bytes]]) -> Genesis:
        line = next(lines, (0, b""))[1]
        try:
            genesis = Genesis.from_line(_whole(line))
        except Malformed as error:
            raise self._invalid(0, error) from error
        self._offsets, self._sha = array("Q", [0]), hashlib.sha256()
        self._index(line)
        return genesis

    def _index(self, line: bytes) -> None:
        """The next line that counts."""
        self._offsets.append(self._end + len(line))
        self._sha.update(line)

    def _read_tip(self) -> TipRecord | None:
        try:
            return read_tip(self._tip_path)
        except Malformed:
            return None  # as good as missing: the vote log or a peer has it

    def _certificate(self, record: TipRecord | None) -> Certificate | None:
        state = self._tip.state
        if record is None or (record.height, record.id) != (state.height, state.head):
            return None
        try:
            record.certificate.check(state.genesis, VoteKind.FINAL, state.height, state.head)
        except BadSignature:
            return None
        return record.certificate

    def _invalid(self, height: int, error: PeerFault) -> LedgerInvalid:
        where = f"{self.path}, line {height + 1} (height {height})"
        return LedgerInvalid(
            f"the ledger is damaged at height {height}: {error.message}", where=where, hint=_REMEDY
        )


class ChainFile(ChainReader):
    """The one writer of a chain file; `torn` names where a torn tail was moved when it was opened.

    After a `StorageFailure` it refuses further writes: what the disk holds is known only after opening again.
    """

    _FLAGS: ClassVar[int] = os.O_RDWR | os.O_APPEND
    _TORN_BYTES_MAX: ClassVar[float] = math.inf

    def __init__(self, folder: Path, seal: Seal | None = None) -> None:
        with contextlib.ExitStack() as undo:
            self._lock = disk.lock(folder / LOCK_NAME)
            undo.callback(os.close, self._lock)
            for name in (TIP_NAME, CHAIN_NAME):
                disk.sweep(folder / name)
            super().__init__(folder, seal)
            undo.callback(os.close, self._handle)
            self.torn = self._move_torn_tail()
            undo.pop_all()
        self._failed = False
        self._save_snapshot_if_due()

    @classmethod
    def create(cls, folder: Path, genesis: Genesis, seal: Seal | None = None) -> "ChainFile":
        """A new ledger in an existing folder; refuses where there is one."""
        path = folder / CHAIN_NAME
        if path.exists():
            raise StorageFailure(
                "there is a ledger here already", where=str(path), hint="choose another folder"
            )
        disk.put_in_place(disk.stage(path, encode(genesis.to_json()) + b"\n"), path)
        return cls(folder, seal)

    @classmethod
    def open_for_writing(cls, folder: Path, seal: Seal | None = None) -> "ChainFile":
        """Open, lock, and move a torn tail aside; raises `Locked` for a second writer."""
        return cls(folder, seal)

    def append(self, block: Block, certificate: Certificate) -> None:
        """Check `block` and its certificate in full, append it durably, and make it the tip.

        Raises `PeerFault` for a block that does not extend the tip, `StorageFailure` when the disk refuses:
        the ledger's bytes are then as before.
        """
        self._refuse_after_failure()
        tip = extend(self._tip, block, certificate)
        line = block.line + b"\n"
        self._write(TipRecord(block.height, block.id, certificate), line)
        self._index(line)
        self._before, self._tip = self._tip, tip
        self._save_snapshot_if_due()

    def certify(self, certificate: Certificate) -> None:
        """Give the tip the certificate that its file lost; raises `BadSignature` when it is not the tip's."""
        self._refuse_after_failure()
        state = self._tip.state
        certificate.check(state.genesis, VoteKind.FINAL, state.height, state.head)
        self._write(TipRecord(state.height, state.head, certificate), b"")
        self._tip = Tip(state, certificate)

    def close(self) -> None:
        super().close()
        os.close(self._lock)

    def _write(self, record: TipRecord, line: bytes) -> None:
        self._failed = True  # until everything is on the disk
        staged = disk.stage(self._tip_path, encode(record.to_json()) + b"\n")
        if line:
            try:
                disk.append(self._handle, self.path, line, self._end)
            except StorageFailure:
                staged.unlink()
                raise
        disk.put_in_place(staged, self._tip_path)
        self._failed = False

    def _save_snapshot_if_due(self) -> None:
        if self._seal is not None and self.height - self._snapshot_height >= SNAPSHOT_BLOCKS:
            Snapshot(self._sha.hexdigest(), self._tip.state).save(self.path.parent, self._seal)
            self._snapshot_height = self.height

    def _refuse_after_failure(self) -> None:
        if self._failed:
            hint = "start again once the disk is well"
            raise StorageFailure("no write after a failed one", where=str(self.path), hint=hint)

    def _move_torn_tail(self) -> Path | None:
        if os.fstat(self._handle).st_size == self._end:
            return None
        return disk.move_tail(self._handle, self.path, self._end)


def _whole(line: bytes) -> bytes:
    if not line.endswith(b"\n"):
        raise Malformed("the line has no end")
    return line[:-1]


def _read_block(line: bytes) -> Block:
    return Block.from_line(_whole(line))


def _is_block(line: bytes) -> bool:
    try:
        Block.from_line(line.removesuffix(b"\n"))
    except Malformed:
        return False
    return True
