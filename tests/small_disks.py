"""File systems so small that they fill up; mounting one takes root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """`folder` as a file system of so many KiB; the test is skipped where nobody may mount."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "fedcoin-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, free_pages: int) -> Path:
    """Leave so many pages free on this disk; returns the file that takes the rest."""
    filler = folder / "filler"
    system = os.statvfs(folder)
    filler.write_bytes(b"x" * ((system.f_bavail - free_pages) * system.f_bsize))
    return filler
