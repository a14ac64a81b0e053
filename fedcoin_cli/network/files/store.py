"""The content store: round files and tables by the SHA-256 of their bytes. No socket, no view of content.

A file appears under its digest only when it is whole, verified and on the disk, so processes may share the
folder: two that bring the same file replace it by itself. Unfinished files end in `.part`; those a day old
are swept away, and so is whatever else is as old and that nobody names as needed.
"""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from ledger_store.base.disk import refusals, sync_folder
from ledger_store.base.errors import NotFound
from ledger_store.base.names import Address, Digest

COPY_BYTES = 2**20
OLD_S = 24 * 3600
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Store:
    """A folder of files named by digest (64 hex characters), made when missing.

    Every method raises `StorageFailure` when the disk refuses.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with refusals(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._sweep(self.folder.glob("*.part"))

    def put_file(self, path: Path) -> Digest:
        """Copy a file in and return its digest; raises `NotFound`.

        A copy, not a hard link: whoever rewrites the original in place would change what the digest promises.
        """
        try:
            with path.open("rb") as source:
                return self._put(iter(lambda: source.read(COPY_BYTES), b""))
        except FileNotFoundError as error:
            raise NotFound("no such file", where=str(path)) from error

    def put_bytes(self, data: bytes) -> Digest:
        """Store `data` and return its digest."""
        return self._put([data])

    def has(self, digest: Digest) -> bool:
        """Whether the whole file is here."""
        return _DIGEST.fullmatch(digest) is not None and (self.folder / digest).is_file()

    def path(self, digest: Digest) -> Path:
        """Where the file is; raises `NotFound`."""
        if not self.has(digest):
            raise NotFound("no such file in the store", where=f"{self.folder}: {digest}")
        return self.folder / digest

    def size(self, digest: Digest) -> int:
        """The file's length in bytes; raises `NotFound`."""
        path = self.path(digest)
        with refusals(path):
            return path.stat().st_size

    def read(self, digest: Digest, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset` on; raises `NotFound`."""
        path = self.path(digest)
        with refusals(path), path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), length, offset)

    def remove(self, digest: Digest) -> None:
        """Forget a file; one that is not here is not an error."""
        if self.has(digest):
            with refusals(self.folder / digest):
                (self.folder / digest).unlink(missing_ok=True)

    def sweep(self, needed: Collection[Digest]) -> None:
        """Remove what is a day old, but for the files `needed`."""
        with refusals(self.folder):
            self._sweep(path for path in self.folder.iterdir() if path.name not in needed)

    def partial(self, digest: Digest, owner: Address) -> "Partial":
        """The unfinished copy of a file that `owner` (one process at a time) is fetching."""
        return Partial(self.folder / digest, self.folder / f"{digest}.{owner}.part")

    # Rule [P-1.9].
    def _put(self, pieces: Iterable[bytes]) -> Digest:
        with refusals(self.folder):
            handle, name = tempfile.mkstemp(suffix=".part", dir=self.folder)
            part = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    sha = hashlib.sha256()
                    for piece in pieces:
                        sha.update(piece)
                        file.write(piece)
                    file.flush()
                    _settle(file.fileno(), part, self.folder / sha.hexdigest())
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        return Digest(sha.hexdigest())

    @staticmethod
    def _sweep(paths: Iterable[Path]) -> None:
        oldest_s = time.time() - OLD_S
        for path in paths:
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest_s:
                    path.unlink()


class Partial:
    """An unfinished file: appended to, hashed on the way, named by its digest only when that is right."""

    def __init__(self, target: Path, part: Path) -> None:
        self._target, self._part = target, part
        self._sha = hashlib.sha256()
        with refusals(part):
            self._file = part.open("a+b", buffering=0)
            self._file.seek(0)
            while piece := self._file.read(COPY_BYTES):
                self._sha.update(piece)
            self.size = self._file.tell()

    def append(self, data: bytes) -> None:
        """Write the next bytes; after a `StorageFailure` the file ends where it did."""
        with refusals(self._part):
            try:
                written = self._file.write(data)
                if written != len(data):
                    raise OSError(0, f"{written} of {len(data)} bytes were written")
            except OSError:
                self._file.truncate(self.size)
                raise
        self._sha.update(data)
        self.size += len(data)

    def restart(self) -> None:
        """Throw away what is here and begin again at offset 0."""
        with refusals(self._part):
            self._file.truncate(0)
        self._sha = hashlib.sha256()
        self.size = 0

    def finish(self) -> bool:
        """Put the file into the store if its bytes have the digest; otherwise False, and nothing changes [P-11.25]."""
        if self._sha.hexdigest() != self._target.name:
            return False
        with refusals(self._part):
            _settle(self._file.fileno(), self._part, self._target)
            self._file.close()
        return True

    def close(self) -> None:
        """Leave the file for later."""
        self._file.close()

    def discard(self) -> None:
        """Close and delete it."""
        self._file.close()
        with refusals(self._part):
            self._part.unlink(missing_ok=True)


def _settle(handle: int, part: Path, target: Path) -> None:
    """Make a whole file durable under its name; read-only, since its name says what it holds."""
    os.fsync(handle)
    part.replace(target)
    os.fchmod(handle, 0o444)
    sync_folder(target.parent)
