"""What this miner fetched for tasks that are not final: a journal of digests, so that a restart knows of them, too.

What is in the store for any other reason is not in it: tables, files of rounds on the ledger, what a person put there.
Miners of one workspace share a store; each reads the journals of the others.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ledger_store.base.disk import refusals
from ledger_store.base.names import Digest

FILE_NAME = "fetched.jsonl"


class Fetched:
    """The journal of one miner's folder, beside those of `others` (their folders)."""

    def __init__(self, folder: Path, others: Iterable[Path]) -> None:
        self._path = folder / FILE_NAME
        self._others = tuple(other / FILE_NAME for other in others if other != folder)
        self.digests = _read(self._path)

    def add(self, digests: Iterable[Digest]) -> None:
        """Note what is about to be fetched, before it is asked for."""
        fresh = sorted(set(digests) - self.digests)
        if fresh:
            self.digests.update(fresh)
            with refusals(self._path), self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(fresh) + "\n")

    def drop(self, digests: Iterable[Digest]) -> None:
        """These are no longer for a pending task only, or about to be deleted."""
        left = self.digests - set(digests)
        if left != self.digests:
            self.digests = left
            draft = self._path.with_suffix(".part")
            with refusals(self._path):
                draft.write_text(json.dumps(sorted(left)) + "\n", encoding="utf-8")
                draft.replace(self._path)

    def elsewhere(self) -> set[Digest]:
        """What the others' journals name at this moment."""
        return set().union(*map(_read, self._others))


def _read(path: Path) -> set[Digest]:
    """A line that was not written to its end named nothing that was asked for."""
    found: set[Digest] = set()
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                listed = json.loads(line)
                if isinstance(listed, list):
                    found.update(Digest(one) for one in listed if isinstance(one, str))
    return found
