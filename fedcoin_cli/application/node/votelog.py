"""The vote log: what a miner said, durable before it is said (SQLite, synchronous=FULL).

One file a miner, bound to its key and genesis. Records of a decided height and of finished tasks are dropped in the
transaction that stores the decided block, so the log stays small. A log also knows whether it is whole: one that was
made anew where another was lost is not, until its miner may vote again. `VoteLog` knows bytes and order, not meaning.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from fedcoin_cli.protocol.frame import from_frame, to_frame
from fedcoin_cli.protocol.message import FinalBlock
from fedcoin_cli.replica.records import Record, Remembered, from_bytes, place_of, to_bytes
from ledger_store.base.disk import put_in_place, refusals, sweep, unguessable
from ledger_store.base.errors import KeyFailure, Malformed, StorageFailure
from ledger_store.base.names import GenesisId, TaskId
from ledger_store.block import Block, Certificate

# A vote log tells what its miner has estimated before the others may know it.
_PRIVATE = 0o600
_SCHEMA = """
CREATE TABLE bound (key TEXT NOT NULL, genesis TEXT NOT NULL, whole INTEGER NOT NULL);
CREATE TABLE said (id INTEGER PRIMARY KEY, height INTEGER NOT NULL, task TEXT NOT NULL, record BLOB NOT NULL);
CREATE TABLE decided (height INTEGER PRIMARY KEY, frame BLOB NOT NULL);
"""


class VoteLog:
    """An open vote log. Every method returns only when what it wrote is on the disk.

    Raises `StorageFailure` when the disk refuses, or when the file is no such log. [P-12.8]
    """

    def __init__(self, path: Path, key: str, genesis_id: GenesisId) -> None:
        """Open an existing log; raises `KeyFailure` for another key's or network's."""
        self._path = path
        with _told(path, "cannot be opened"):
            self._database = _open(path, "WAL")
            # SQLite gives its journals the mode of the log, but not those that stand there already.
            for name in (path.name, path.name + "-wal", path.name + "-shm"):
                with suppress(OSError):
                    path.with_name(name).chmod(_PRIVATE)
            try:
                row = self._database.execute("SELECT key, genesis FROM bound").fetchone()
                if row != (key, genesis_id):
                    raise KeyFailure("this vote log belongs to another key or network", where=str(path))
            except BaseException:
                self._database.close()
                raise

    @classmethod
    def found(cls, path: Path, key: str, genesis: GenesisId) -> "VoteLog":
        """The log that is there; a missing one is made anew, and is not whole until it is safe to vote."""
        return cls(path, key, genesis) if path.exists() else cls.create(path, key, genesis, whole=False)

    @classmethod
    def create(cls, path: Path, key: str, genesis_id: GenesisId, *, whole: bool = True) -> "VoteLog":
        """Make an empty log, which is there completely or not at all.

        `init` does this once. Where a log is missing later on, votes were lost: the new one is not `whole`.
        """
        with refusals(path):
            # SQLite would play a journal of the lost log into the new one.
            for name in (path.name + "-wal", path.name + "-shm"):
                path.with_name(name).unlink(missing_ok=True)
            sweep(path)
            staged, handle = unguessable(path, _PRIVATE)
            os.fchmod(handle, _PRIVATE)
            os.close(handle)
        with _told(path, "cannot be made"), closing(_open(staged, "DELETE")) as database:
            database.executescript(_SCHEMA)
            with database:
                database.execute("INSERT INTO bound VALUES (?, ?, ?)", (key, genesis_id, whole))
        put_in_place(staged, path)
        return cls(path, key, genesis_id)

    def append(self, records: list[Record]) -> None:
        """Make records durable, all or none."""
        with self._writing() as database:
            _insert(database, records)

    def remind(self, records: list[Record]) -> None:
        """Add what makes a log that is not whole one that may be relied on, and mark it whole."""
        with self._writing() as database:
            _insert(database, records)
            database.execute("UPDATE bound SET whole = TRUE")

    def decide(self, block: Block, certificate: Certificate, current_task: TaskId | None) -> None:
        """Store the decided block and its certificate; forget this height's votes and all other tasks' records.

        A log that is ahead of its ledger stays as it is until the ledger has caught up. [P-12.9]
        """
        frame = to_frame(FinalBlock(block, certificate))
        with self._writing() as database:
            (ahead,) = database.execute(
                "SELECT count(*) FROM decided WHERE height >= ?", (block.height,)
            ).fetchone()
            if ahead:
                return
            database.execute("DELETE FROM decided")
            database.execute("INSERT INTO decided VALUES (?, ?)", (block.height, frame))
            database.execute(
                "DELETE FROM said WHERE (task = '' AND height <= ?) OR (task != '' AND task != ?)",
                (block.height, current_task or ""),
            )

    def mark(self, *, whole: bool) -> None:
        """Remember whether the log holds all that this miner said and may still contradict [P-12.10]."""
        with self._writing() as database:
            database.execute("UPDATE bound SET whole = ?", (whole,))

    def load(self) -> Remembered:
        """Everything that is held."""
        with _told(self._path, "cannot be read"):
            rows = self._database.execute("SELECT record FROM said ORDER BY id").fetchall()
            row = self._database.execute("SELECT frame FROM decided").fetchone()
            (whole,) = self._database.execute("SELECT whole FROM bound").fetchone()
            decided = None
            if row is not None:
                final = from_frame(row[0])
                assert isinstance(final, FinalBlock)
                decided = final.block, final.certificate
            return Remembered(tuple(from_bytes(record) for (record,) in rows), decided, bool(whole))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; durable when the context ends."""
        hint = "free some space, then start the miner again"
        with _told(self._path, "cannot be written", hint), self._database:
            yield self._database


def is_whole(path: Path) -> bool:
    """Whether a log is there and not known to lack anything; its miner may run, and nothing is written.

    Raises `StorageFailure` for what is not a log.
    """
    if not path.exists():
        return False
    with (
        _told(path, "cannot be read"),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database,
    ):
        (whole,) = database.execute("SELECT whole FROM bound").fetchone()
    return bool(whole)


def _open(path: Path, journal: str) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    try:
        database.execute(f"PRAGMA journal_mode={journal}")
        database.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        database.close()
        raise
    return database


_REMEDY = "restore it from a backup, or: fedcoin repair"


@contextmanager
def _told(path: Path, what: str, hint: str = _REMEDY) -> Iterator[None]:
    """Turn what SQLite says, or a record that is none of ours, into a `StorageFailure` about `path`."""
    try:
        yield
    except (sqlite3.Error, Malformed) as error:
        raise StorageFailure(f"the vote log {what}: {error}", where=str(path), hint=hint) from error


def _insert(database: sqlite3.Connection, records: list[Record]) -> None:
    rows = [(*place_of(record), to_bytes(record)) for record in records]
    database.executemany("INSERT INTO said (height, task, record) VALUES (?, ?, ?)", rows)
