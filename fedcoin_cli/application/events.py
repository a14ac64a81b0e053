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
    # The child's own warnings stand between the events.
    events = [json.loads(line) for line in whole.split(b"\n") if line.startswith(b"{")]
    return events, offset + len(whole) + (1 if whole or data.startswith(b"\n") else 0)
