"""The content store."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedcoin_cli.network.files.store import OLD_S, Store
from ledger_store.base.errors import NotFound, StorageFailure
from ledger_store.base.names import Address, Digest

A_ADDRESS = Address("a")

DATA = b"updates" * 1000
DIGEST = Digest(hashlib.sha256(DATA).hexdigest())

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from fedcoin_cli.network.files.store import Store
from ledger_store.base.errors import StorageFailure
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
store = Store(Path(sys.argv[1]))
part = store.partial("0" * 64, "me")
part.append(b"x" * 900)
for write in (lambda: store.put_bytes(b"y" * 5000), lambda: part.append(b"x" * 900)):
    try:
        write()
    except StorageFailure as error:
        print(error.exit_code.value, part.size)
"""


def names(store: Store) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir())


def test_bytes_and_files_are_found_by_their_digest(tmp_path: Path) -> None:
    """The same content put twice, once from a file, is one read-only file under its SHA-256 [P-1.9]."""
    store = Store(tmp_path / "store")
    (tmp_path / "original").write_bytes(DATA)
    assert store.put_bytes(DATA) == store.put_file(tmp_path / "original") == DIGEST
    assert names(store) == [DIGEST]
    assert store.path(DIGEST).read_bytes() == DATA
    assert store.path(DIGEST).stat().st_mode & 0o222 == 0
    assert (store.size(DIGEST), store.read(DIGEST, 7, 7)) == (7000, b"updates")


def test_rewriting_the_original_does_not_change_the_store(tmp_path: Path) -> None:
    """A round that is trained again in place leaves the published bytes alone."""
    original = tmp_path / "original"
    original.write_bytes(DATA)
    store = Store(tmp_path / "store")
    digest = store.put_file(original)
    original.write_bytes(b"other")
    assert store.path(digest).read_bytes() == DATA


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    """Missing files, removed files and names that are no digest (a way out of the folder) are refused."""
    store = Store(tmp_path / "store")
    store.put_bytes(DATA)
    store.remove(DIGEST)
    store.remove(DIGEST)
    (tmp_path / "secret").write_bytes(b"secret")
    for digest in (DIGEST, "../secret", "", "A" * 64):
        assert not store.has(Digest(digest))
        with pytest.raises(NotFound):
            store.path(Digest(digest))
    with pytest.raises(NotFound):
        store.put_file(tmp_path / "nothing")


def test_a_partial_file_is_resumed_by_its_owner(tmp_path: Path) -> None:
    """What one process got is where the next one of the same owner goes on, and another owner is apart."""
    store = Store(tmp_path)
    part = store.partial(DIGEST, A_ADDRESS)
    part.append(DATA[:4000])
    part.close()
    assert store.partial(DIGEST, Address("b")).size == 0
    resumed = store.partial(DIGEST, A_ADDRESS)
    assert resumed.size == 4000
    resumed.append(DATA[4000:])
    assert not store.has(DIGEST)
    assert resumed.finish()
    assert store.path(DIGEST).read_bytes() == DATA


def test_wrong_bytes_never_get_the_name(tmp_path: Path) -> None:
    """A file whose hash is wrong stays a part, and can be fetched again from the beginning [P-11.25]."""
    store = Store(tmp_path)
    part = store.partial(DIGEST, A_ADDRESS)
    part.append(b"wrong")
    assert not part.finish()
    assert not store.has(DIGEST)
    part.restart()
    part.append(DATA)
    assert part.finish()


def test_processes_may_bring_the_same_file(tmp_path: Path) -> None:
    """Two owners finish the same digest one after the other; the folder holds it once."""
    store = Store(tmp_path)
    parts = [store.partial(DIGEST, Address(owner)) for owner in ("a", "b")]
    for part in parts:
        part.append(DATA)
    assert [part.finish() for part in parts] == [True, True]
    assert names(store) == [DIGEST]


def test_old_leftovers_are_swept_and_young_ones_kept(tmp_path: Path) -> None:
    """A part nobody touched for a day goes when a store is opened; everything else stays."""
    store = Store(tmp_path)
    store.put_bytes(DATA)
    for owner in ("old", "young"):
        store.partial(Digest("0" * 64), Address(owner)).close()
    past_s = time.time() - OLD_S - 60
    os.utime(tmp_path / f"{'0' * 64}.old.part", (past_s, past_s))
    os.utime(tmp_path / DIGEST, (past_s, past_s))
    assert names(Store(tmp_path)) == [f"{'0' * 64}.young.part", DIGEST]


def test_a_full_disk_is_a_storage_failure_and_leaves_no_file(tmp_path: Path) -> None:
    """A process that may write 1,000 bytes a file gets exit code 12, no digest, and its part uncut."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.split("\n")[:2] == ["12 900", "12 900"]
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [(f"{'0' * 64}.me.part", 900)]


def test_a_folder_that_cannot_be_made_is_a_storage_failure(tmp_path: Path) -> None:
    """A file where the store should be is named in the error."""
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(StorageFailure) as failure:
        Store(tmp_path / "store")
    assert failure.value.where == str(tmp_path / "store")
