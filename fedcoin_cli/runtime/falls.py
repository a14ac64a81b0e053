"""How often a kept miner fell and was started again: one small file beside its process file, written by its keeper."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Falls:
    """How often a miner was started again since a person started it, and its last fall (seconds since 1970)."""

    restarts: int
    last_s: float
    how: str


def falls_of(process: Path) -> Falls | None:
    """What the keeper of the miner with this process file has noted; None when it never fell."""
    try:
        return Falls(**json.loads(falls_file(process).read_text("ascii")))
    except (OSError, ValueError, TypeError):
        return None


def falls_file(process: Path) -> Path:
    """Where the keeper of the miner with this process file notes them."""
    return process.with_suffix(".falls")
