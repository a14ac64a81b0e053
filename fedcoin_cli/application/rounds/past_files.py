"""Where the files of past rounds are found: stores by digest, and folders whose files have any name.

Whether a file holds what its digest says is for whoever reads it to check. Fetching lives in `fetching`.
"""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base import disk
from ledger_store.base.errors import NotFound
from ledger_store.base.names import Digest


class Evidence:
    """Files by digest: in `stores` a file's name is its digest, in `folders` (and below) only its bytes tell."""

    def __init__(self, stores: Sequence[Path] = (), folders: Sequence[Path] = ()) -> None:
        self._stores, self._folders = (*stores, *folders), tuple(folders)

    def find(self, digest: Digest) -> Path | None:
        """The file that claims this digest by its name, or else has it by its bytes."""
        for store in self._stores:
            if (store / digest).is_file():
                return store / digest
        return self._by_content.get(digest)

    @cached_property
    def _by_content(self) -> dict[str, Path]:
        """Every file in the folders that a round may have, hashed once and only when a name did not tell."""
        # Here, because NumPy takes longer to import than most commands take to run.
        from fedcoin_cli.learning.model.tensorfile import MAX_FILE_BYTES

        found = {}
        for folder in self._folders:
            for path in sorted(folder.rglob("*")):
                # What cannot be read is as good as missing, which whoever asks for it says.
                with suppress(OSError, NotFound), disk.open_file(path) as file:
                    if os.fstat(file.fileno()).st_size <= MAX_FILE_BYTES:
                        found[hashlib.file_digest(file, "sha256").hexdigest()] = path
        return found


def evidence(workspace: Workspace | None, folders: Sequence[Path]) -> Evidence:
    """What a workspace's store and some folders hold; raises `NotFound` for a folder that is not there."""
    for folder in folders:
        if not folder.is_dir():
            raise NotFound("no such folder", where=str(folder))
    return Evidence([] if workspace is None else [workspace.store], folders)
