"""What a miner tells people: one JSON object a line in its log file, read by `mine`, `status` and the curious.

The file is of bounded size: when it is full it is copied to `node.log.1`, in the place of the one before, and begins
anew. It stays the same file, since the keeper appends to it, too. It holds nothing but such lines.
"""

import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from ledger_store.base.disk import sweep, unguessable

LOG_BYTES_MOST = 4 * 2**20
DISK_LEAST_BYTES = 256 * 2**20
"""With less a miner says so and takes no new task."""


class EventLog:
    """An append-only log of events; a line is written whole or, on a full disk, not at all."""

    def __init__(self, path: Path, bytes_most: int = LOG_BYTES_MOST, echo: TextIO | None = None) -> None:
        self._path, self._bytes_most, self._echo = path, bytes_most, echo
        self._full_at = bytes_most
        self._file = path.open("a", buffering=1, encoding="ascii")

    def write(self, event: str, **details: Any) -> None:
        """Append one event with the time of day."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **details})
        with suppress(OSError):  # telling people must never stop a miner; the ledger has its own errors
            self._make_room()
            self._file.write(line + "\n")
        if self._echo is not None:
            with suppress(OSError):
                self._echo.write(line + "\n")
                self._echo.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _make_room(self) -> None:
        size = os.fstat(self._file.fileno()).st_size
        if size < self._full_at:
            return
        self._full_at = size + self._bytes_most  # a disk too full for the copy is tried again much later
        sweep(_earlier(self._path))
        try:
            staged, handle = unguessable(_earlier(self._path))
            with self._path.open("rb") as source, os.fdopen(handle, "wb") as copy:
                shutil.copyfileobj(source, copy)
            staged.replace(_earlier(self._path))
        except OSError:
            sweep(_earlier(self._path))
            return
        self._file.truncate(0)
        self._full_at = self._bytes_most


def _earlier(path: Path) -> Path:
    """Where the lines before a log's first one are."""
    return path.with_name(path.name + ".1")


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The events after byte `offset` and the offset behind them; an unfinished last line is left for later.

    When the log has begun anew since, its rest is read where it was put, and then the log from its beginning.
    """
    try:
        with path.open("rb") as file:
            missed = b""
            if os.fstat(file.fileno()).st_size < offset:
                missed, offset = _rest(_earlier(path), offset), 0
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    whole, _, _ = data.rpartition(b"\n")
    lines = [*missed.split(b"\n"), *whole.split(b"\n")]
    events = [event for line in lines if (event := _read(line)) is not None]
    return events, offset + len(whole) + (1 if whole or data.startswith(b"\n") else 0)


def clock_behind(path: Path) -> str | None:
    """What a miner last said of its clock, if it has put nothing on its ledger and was not started since."""
    said = None
    for event in read_events(path)[0]:
        if event.get("event") == "clock behind":
            said = str(event.get("hint", ""))
        elif event.get("event") in {"started", "block"}:
            said = None
    return said


def _rest(path: Path, offset: int) -> bytes:
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset)
        return file.read()
    return b""


def _read(line: bytes) -> dict[str, Any] | None:
    """One event; None for whatever else is in a log: an earlier version's, or one torn by a power cut."""
    if not line.startswith(b'{"time"'):
        return None
    try:
        event: dict[str, Any] = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event
