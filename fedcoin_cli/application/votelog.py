"""The vote log: what a miner said, durable before it is said (SQLite, synchronous=FULL).

One file a miner, bound to its key and genesis. Records of a decided height and of finished tasks are dropped in the
transaction that stores the decided block, so the log stays small. `VoteLog` knows bytes and order, not meaning.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcoin_cli.consensus.posap import Frozen, Opening, Started
from fedcoin_cli.network.message import (
    Certified,
    CommitNote,
    FinalBlock,
    Proposal,
    Vote,
    from_frame,
    to_frame,
)
from ledger_store.block import Block, Certificate
from ledger_store.canonical import decode, encode
from ledger_store.errors import KeyFailure, StorageFailure
from ledger_store.transaction import read_reveal

Record = Proposal | Vote | Certified | CommitNote | Opening | Frozen | Started

_SCHEMA = """
CREATE TABLE bound (key TEXT NOT NULL, genesis TEXT NOT NULL);
CREATE TABLE said (id INTEGER PRIMARY KEY, height INTEGER NOT NULL, task TEXT NOT NULL, record BLOB NOT NULL);
CREATE TABLE decided (height INTEGER PRIMARY KEY, frame BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a log holds: records in the order in which they were made, and the last decided block."""

    records: tuple[Record, ...]
    decided: tuple[Block, Certificate] | None


class VoteLog:
    """An open vote log. Every method returns only when what it wrote is on the disk."""

    def __init__(self, path: Path, key: str, genesis: str) -> None:
        """Open an existing log; raises `KeyFailure` for another key's or network's."""
        self._path = path
        self._database = _connect(path)
        try:
            row = self._database.execute("SELECT key, genesis FROM bound").fetchone()
        except sqlite3.Error as error:
            raise _damaged(path, error) from error
        if row != (key, genesis):
            raise KeyFailure("this vote log belongs to another key or network", where=str(path))

    @classmethod
    def create(cls, path: Path, key: str, genesis: str) -> "VoteLog":
        """Make an empty log; `init` does this once. A missing log later on means that votes were lost."""
        database = _connect(path)
        with database:
            database.executescript(_SCHEMA)
            database.execute("INSERT INTO bound VALUES (?, ?)", (key, genesis))
        database.close()
        return cls(path, key, genesis)

    def append(self, records: list[Record]) -> None:
        """Make records durable, all or none."""
        rows = [(*_place(record), to_bytes(record)) for record in records]
        self._commit("INSERT INTO said (height, task, record) VALUES (?, ?, ?)", rows)

    def decide(self, block: Block, certificate: Certificate, current_task: str | None) -> None:
        """Store the decided block and its certificate; forget this height's votes and all other tasks' records."""
        frame = to_frame(FinalBlock(block, certificate))
        try:
            with self._database as database:
                database.execute("DELETE FROM decided")
                database.execute("INSERT INTO decided VALUES (?, ?)", (block.height, frame))
                database.execute(
                    "DELETE FROM said WHERE (task = '' AND height <= ?) OR (task != '' AND task != ?)",
                    (block.height, current_task or ""),
                )
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def load(self) -> Remembered:
        """Everything that is held."""
        rows = self._database.execute("SELECT record FROM said ORDER BY id").fetchall()
        row = self._database.execute("SELECT frame FROM decided").fetchone()
        decided = None
        if row is not None:
            final = from_frame(row[0])
            assert isinstance(final, FinalBlock)
            decided = final.block, final.certificate
        return Remembered(tuple(from_bytes(record) for (record,) in rows), decided)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _commit(self, statement: str, rows: list[Any]) -> None:
        try:
            with self._database as database:
                database.executemany(statement, rows)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> StorageFailure:
        hint = "free some space, then start the miner again"
        return StorageFailure(f"the vote log cannot be written: {error}", where=str(self._path), hint=hint)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(path)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error as error:
        raise _damaged(path, error) from error
    return database


def _damaged(path: Path, error: sqlite3.Error) -> StorageFailure:
    hint = "move it aside: without a log the miner observes until it is safe to vote"
    return StorageFailure(f"the vote log cannot be opened: {error}", where=str(path), hint=hint)


def _place(record: Record) -> tuple[int, str]:
    """Height for votes, task for mining records: what decides when a record may be forgotten."""
    if isinstance(record, Proposal | Vote | Certified):
        return record.height, ""
    return 0, record.task


def to_bytes(record: Record) -> bytes:
    """A record's canonical bytes."""
    match record:
        case Opening():
            body: dict[str, Any] = {"reveal": record.reveal.to_json()}
        case Frozen():
            body = {"miners": list(record.miners), "stage": record.stage}
        case Started():
            body = {"stage": record.stage, "wall_ms": record.wall_ms}
        case _:
            return to_frame(record)
    name = type(record).__name__
    return encode({name: {**body, "attempt": record.attempt, "task": record.task}})


def from_bytes(data: bytes) -> Record:
    """Read them back; the log is our own file, so only what `to_bytes` wrote is expected."""
    value = decode(data)
    if "type" in value:
        message = from_frame(data)
        assert isinstance(message, Proposal | Vote | Certified | CommitNote)
        return message
    ((name, body),) = value.items()
    place = (body["task"], body["attempt"])
    if name == "Opening":
        return Opening(*place, read_reveal(body["reveal"]))
    if name == "Frozen":
        return Frozen(*place, body["stage"], tuple(body["miners"]))
    return Started(*place, body["stage"], body["wall_ms"])
