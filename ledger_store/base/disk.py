"""Writes that survive a power cut: the lock, an append that is whole or undone, replacement by rename.

Which bytes are written is `jsonl`'s business. Every refusal of the disk is a `StorageFailure`; a file is then
as it was before, as far as the disk still allows.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from ledger_store.base.errors import Locked, NotFound, StorageFailure

STAGED = ".new"


def lock(path: Path) -> int:
    """Take the exclusive lock on `path`, made when missing; closing the returned descriptor gives it back.

    Raises `Locked` when another process, or another object of this one, holds it. [P-13.12]
    """
    with refusals(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        hint = "one writer a ledger: stop the other one first (fedcoin stop)"
        raise Locked("another process is writing this ledger", where=str(path), hint=hint) from error
    return handle


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process is in here with the same `path`, a file that is gone afterwards."""
    while True:
        with refusals(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                break
        os.close(handle)  # whoever was here before has taken the file away with it
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def append(handle: int, path: Path, data: bytes, length: int) -> None:
    """Append `data` to a file of `length` bytes (O_APPEND) in one write, and fsync it.

    A refused or short write, or a failing fsync, takes the bytes back and raises `StorageFailure`. [P-13.11]
    """
    if os.fstat(handle).st_size != length:
        hint = "another program writes this file; stop it, then open the ledger again"
        raise StorageFailure("the file changed underneath its writer", where=str(path), hint=hint)
    with refusals(path):
        try:
            written = os.write(handle, data)
            if written != len(data):
                raise OSError(0, f"{written} of {len(data)} bytes were written")
            os.fsync(handle)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, length)
                os.fsync(handle)
            raise


def stage(path: Path, data: bytes) -> Path:
    """Write `data` durably beside `path`, to be put in its place by `put_in_place`."""
    with refusals(path):
        staged, handle = unguessable(path)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            staged.unlink(missing_ok=True)
            raise
    return staged


def unguessable(path: Path, mode: int = 0o644) -> tuple[Path, int]:
    """A new empty file beside `path`, open for writing, under a name that nobody can have put a link at before."""
    staged = path.with_name(f".{path.name}.{os.urandom(8).hex()}{STAGED}")
    return staged, os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)


def sweep(path: Path) -> None:
    """Remove what a killed writer of `path` has left; for whoever holds its lock."""
    with contextlib.suppress(OSError):
        for left in path.parent.glob(f".{path.name}.*{STAGED}"):
            left.unlink()


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading; raises `NotFound` at once for a pipe, a socket or a device, and `OSError`."""
    mode = path.stat().st_mode  # first, because opening alone does something to some devices
    if stat.S_ISREG(mode):
        # Should it be exchanged now, opening a pipe must not wait for its other end.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        mode = os.fstat(handle).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        hint = "name a regular file"
        raise NotFound("this is a pipe, a socket or a device, not a file", where=str(path), hint=hint)
    return os.fdopen(handle, "rb")


def put_in_place(staged: Path, path: Path) -> None:
    """Put a staged file in the place of `path`, durably and at once."""
    with refusals(path):
        staged.replace(path)
        sync_folder(path.parent)


def move_tail(handle: int, path: Path, start: int) -> Path:
    """Move the bytes of `path` from offset `start` on into the first unused `<name>.torn-<n>` [P-13.13]."""
    with refusals(path):
        aside, name = _unused(path)
        try:
            with os.fdopen(os.dup(handle), "rb") as source, os.fdopen(aside, "wb") as copy:
                source.seek(start)
                shutil.copyfileobj(source, copy)
                copy.flush()
                os.fsync(copy.fileno())
        except OSError:
            name.unlink()
            raise
        sync_folder(path.parent)
        os.ftruncate(handle, start)
        os.fsync(handle)
        return name


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn the disk's refusal into a `StorageFailure` about `path`."""
    try:
        yield
    except OSError as error:
        hint = "make room or repair the disk, then start again: nothing was lost"
        raise StorageFailure(f"the disk refused: {error.strerror}", where=str(path), hint=hint) from error


def _unused(path: Path) -> tuple[int, Path]:
    for number in itertools.count(1):
        name = path.with_name(f"{path.name}.torn-{number}")
        with contextlib.suppress(FileExistsError):
            return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), name
    raise AssertionError("counting never ends")
