"""A disk that refuses: full, limited, or failing its fsync. The ledger's bytes stay, the writer stops."""

import errno
import platform
import resource
import subprocess
from pathlib import Path

import pytest
from chains import COIN, ChainMaker, key
from children import FSYNC_CALLS, forbid_fsync, in_child
from small_disks import fill

from ledger_store.audit.audit import audit
from ledger_store.base.errors import ExitCode, StorageFailure
from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME, ChainFile, ChainReader

PAGE = 4096


def large_block() -> ChainMaker:
    """A chain of one small block a few larger ones, and one of about four pages."""
    maker = ChainMaker(1)
    maker.add_transfers(1)
    senders = sorted((key(f"sender-{number}") for number in range(40)), key=lambda one: one.address)
    for first in range(0, 40, 8):
        maker.add(*(maker.transfer(maker.requester, one.address, COIN) for one in senders[first : first + 8]))
    maker.add(*(maker.transfer(one, maker.server.address, COIN) for one in senders))
    return maker


MAKER = large_block()


def prepared(folder: Path) -> ChainFile:
    """All but the last block."""
    file = ChainFile.create(folder, MAKER.genesis)
    for block, certificate in list(zip(MAKER.blocks, MAKER.certificates, strict=True))[:-1]:
        file.append(block, certificate)
    return file


def ledger_bytes(folder: Path) -> dict[str, bytes]:
    return {item.name: item.read_bytes() for item in folder.iterdir() if item.name != "filler"}


@pytest.mark.parametrize("free_pages", range(4))
def test_a_full_disk_changes_nothing(small_disk: Path, free_pages: int) -> None:
    """With 0 to 3 pages left the append fails as a whole; with room again the ledger goes on."""
    with prepared(small_disk) as file:
        before = ledger_bytes(small_disk)
        filler = fill(small_disk, free_pages)
        with pytest.raises(StorageFailure, match="refused") as refused:
            file.append(MAKER.blocks[-1], MAKER.certificates[-1])
        assert refused.value.exit_code == ExitCode.STORAGE
        assert refused.value.hint
        assert ledger_bytes(small_disk) == before
        with pytest.raises(StorageFailure, match="after a failed one"):
            file.append(MAKER.blocks[-1], MAKER.certificates[-1])
        filler.unlink()
    with ChainFile.open_for_writing(small_disk) as file:
        assert file.torn is None
        file.append(MAKER.blocks[-1], MAKER.certificates[-1])
        assert file.tip == MAKER.tip


def test_a_full_disk_makes_no_half_ledger(small_disk: Path) -> None:
    """Creating a ledger on a full disk leaves no chain file behind."""
    fill(small_disk, 0)
    with pytest.raises(StorageFailure):
        ChainFile.create(small_disk, MAKER.genesis)
    assert [item.name for item in small_disk.iterdir()] == ["filler"]


def test_a_torn_tail_that_cannot_be_moved_stays_where_it_is(small_disk: Path) -> None:
    """Moving aside needs room; without it the file is left as it was, nothing half-moved stays, no file stays open."""
    prepared(small_disk).close()
    with (small_disk / CHAIN_NAME).open("ab") as chain:
        chain.write(b"torn" * PAGE)
    before, open_files = ledger_bytes(small_disk), len(list(Path("/proc/self/fd").iterdir()))
    fill(small_disk, 1)
    with pytest.raises(StorageFailure):
        ChainFile.open_for_writing(small_disk)
    assert ledger_bytes(small_disk) == before
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


@pytest.mark.parametrize("room", [0, 1, 1_000, 14_000])
def test_a_short_write_is_taken_back(tmp_path: Path, room: int) -> None:
    """A file size limit cuts the write short after `room` bytes; the ledger's bytes are as before [P-13.11]."""
    file = prepared(tmp_path)
    before = ledger_bytes(tmp_path)
    limit = len(before[CHAIN_NAME]) + room
    assert room < len(MAKER.lines()[-1])

    def work() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        file.append(MAKER.blocks[-1], MAKER.certificates[-1])
        return "appended"

    assert in_child(work).startswith("StorageFailure: the disk refused")
    assert ledger_bytes(tmp_path) == before
    file.append(MAKER.blocks[-1], MAKER.certificates[-1])
    file.close()


@pytest.mark.skipif(platform.machine() not in FSYNC_CALLS, reason="no system call numbers for this machine")
def test_a_failing_fsync_stops_the_writer(tmp_path: Path) -> None:
    """The kernel answers the chain's fsync with EIO: StorageFailure, no second try, and it opens afterwards.

    [P-13.11]
    """

    def work() -> str:
        with prepared(tmp_path) as file:
            forbid_fsync(file._handle, errno.EIO)
            said = []
            for _ in range(2):
                try:
                    file.append(MAKER.blocks[-1], MAKER.certificates[-1])
                except StorageFailure as error:
                    said.append(error.message)
            return " / ".join(said)

    assert in_child(work) == "the disk refused: Input/output error / no write after a failed one"
    with ChainFile.open_for_writing(tmp_path) as file:
        assert file.height == MAKER.tip.height - 1
        file.append(MAKER.blocks[-1], MAKER.certificates[-1])


def test_a_read_only_disk_can_be_read_and_audited(small_disk: Path) -> None:
    """Writing is refused as storage, reading and auditing need no lock."""
    prepared(small_disk).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageFailure, match="Read-only"):
        ChainFile.open_for_writing(small_disk)
    with ChainReader(small_disk) as reader:
        assert reader.height == MAKER.tip.height - 1
    assert audit(small_disk / CHAIN_NAME).ok


def test_a_folder_in_the_place_of_the_tip_file_is_refused(tmp_path: Path) -> None:
    """What cannot be read as a file is a storage failure, not a crash."""
    prepared(tmp_path).close()
    (tmp_path / TIP_NAME).unlink()
    (tmp_path / TIP_NAME).mkdir()
    with pytest.raises(StorageFailure, match="tip file"):
        ChainFile.open_for_writing(tmp_path)
