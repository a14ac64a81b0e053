"""What a miner tells people: one JSON object a line in its log file, read by `mine`, `status` and the curious."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


class EventLog:
    """An append-only log of events; a line is written whole or, on a full disk, not at all."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="ascii")

    def write(self, event: str, **details: Any) -> None:
        """Append one event with the time of day."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **details})
        with suppress(OSError):  # telling people must never stop a miner; the ledger has its own errors
            self._file.write(line + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The events after byte `offset` and the offset behind them; an unfinished last line is left for later."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    whole, _, _ = data.rpartition(b"\n")
    events = [event for line in whole.split(b"\n") if (event := _read(line)) is not None]
    return events, offset + len(whole) + (1 if whole or data.startswith(b"\n") else 0)


def _read(line: bytes) -> dict[str, Any] | None:
    """One event; None for what else stands in a log: the child's warnings, a traceback."""
    if not line.startswith(b'{"time"'):
        return None
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event
