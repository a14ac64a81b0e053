import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_disks


@pytest.fixture
def ram(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: for tests that fsync thousands of times."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB; takes root."""
    with small_disks.small_disk(tmp_path / "small", 128) as folder:
        yield folder
