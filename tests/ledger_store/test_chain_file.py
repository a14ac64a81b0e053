"""The chain file: writing, reading, random access, the lock, the tip file."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from chains import COIN, ChainMaker, build_chain, key
from children import in_child

from ledger_store.base.canonical import encode
from ledger_store.base.errors import (
    BadSignature,
    ExitCode,
    InvalidTransaction,
    LedgerInvalid,
    Locked,
    NotFound,
    StorageFailure,
)
from ledger_store.base.names import BlockId, MinerIndex
from ledger_store.block import VIEW_MAX, Certificate
from ledger_store.file.chain_file import (
    CHAIN_NAME,
    LOCK_NAME,
    TIP_NAME,
    ChainFile,
    ChainReader,
    TipRecord,
    read_chain,
    read_tip,
)
from ledger_store.genesis import ROSTER_MAX


def written(folder: Path, maker: ChainMaker) -> ChainFile:
    """The maker's chain, appended block by block to a new file that stays open."""
    folder.mkdir(exist_ok=True)
    file = ChainFile.create(folder, maker.genesis)
    for block, certificate in zip(maker.blocks, maker.certificates, strict=True):
        file.append(block, certificate)
    return file


def test_appending_writes_the_lines_and_the_tip(tmp_path: Path) -> None:
    """Line h is block h, byte for byte; the tip file holds the last certificate; the state is the fold's [P-13.1]."""
    maker = build_chain(4, 6)
    with written(tmp_path, maker) as file:
        assert file.tip == maker.tip
        assert file.height == 6
    assert (tmp_path / CHAIN_NAME).read_bytes() == b"".join(maker.lines())
    assert (tmp_path / TIP_NAME).read_bytes() == maker.tip_bytes()
    assert sorted(item.name for item in tmp_path.iterdir()) == [CHAIN_NAME, LOCK_NAME, TIP_NAME]


def test_opening_gives_the_same_tip(tmp_path: Path) -> None:
    """Reader and writer see what was written, genesis alone included."""
    for blocks in (0, 1, 5):
        folder, maker = tmp_path / str(blocks), build_chain(4, blocks)
        written(folder, maker).close()
        with ChainReader(folder) as reader:
            assert reader.tip == maker.tip
        with ChainFile.open_for_writing(folder) as file:
            assert file.tip == maker.tip
            assert file.torn is None


def test_any_block_and_certificate_by_height(tmp_path: Path) -> None:
    """Random access, after opening and for blocks appended since."""
    maker = build_chain(4, 5)
    written(tmp_path, maker).close()
    with ChainFile.open_for_writing(tmp_path) as file:
        maker.add_transfers(2)
        for block, certificate in list(zip(maker.blocks, maker.certificates, strict=True))[5:]:
            file.append(block, certificate)
        for height in range(7, 0, -1):
            assert file.block(height) == maker.blocks[height - 1]
            assert file.certificate_of(height) == maker.certificates[height - 1]
        assert list(file.blocks()) == maker.blocks


@pytest.mark.parametrize("height", [-1, 0, 3])
def test_a_height_that_is_not_there_is_not_found(tmp_path: Path, height: int) -> None:
    """Genesis is no block; beyond the tip there is none; the message says where the ledger ends."""
    with written(tmp_path, build_chain(4, 2)) as file, pytest.raises(NotFound, match="ends at 2"):
        file.block(height)


def test_a_reader_keeps_its_view_while_a_writer_goes_on(tmp_path: Path) -> None:
    """Reading takes no lock, and what is appended later is seen by a later reader."""
    maker = build_chain(4, 2)
    with written(tmp_path, maker) as file, ChainReader(tmp_path) as reader:
        maker.add_transfers(1)
        file.append(maker.blocks[-1], maker.certificates[-1])
        assert reader.height == 2
        assert reader.block(2) == maker.blocks[1]
        with ChainReader(tmp_path) as later:
            assert later.tip == maker.tip


def test_a_block_that_does_not_fit_is_not_written(tmp_path: Path) -> None:
    """Append checks in full: link, certificates, signatures, fold; a refusal leaves the bytes alone."""
    maker = build_chain(4, 2)
    with written(tmp_path, maker) as file:
        before = (tmp_path / CHAIN_NAME).read_bytes(), (tmp_path / TIP_NAME).read_bytes()
        block = maker.propose(maker.transfer(maker.requester, key("x").address, COIN))
        with pytest.raises(BadSignature):
            file.append(block, maker.certificates[-1])
        with pytest.raises(InvalidTransaction):
            file.append(maker.blocks[0], maker.certificates[0])
        assert ((tmp_path / CHAIN_NAME).read_bytes(), (tmp_path / TIP_NAME).read_bytes()) == before
        file.append(block, maker.certify(block))


def test_a_second_writer_is_locked_out(tmp_path: Path) -> None:
    """In another process and in this one; the error names the lock file; closing lets the next one in [P-13.12]."""
    with written(tmp_path, build_chain(4, 1)):
        said = in_child(lambda: str(ChainFile.open_for_writing(tmp_path).height))
        assert said == "Locked: another process is writing this ledger"
        with pytest.raises(Locked) as refused:
            ChainFile.open_for_writing(tmp_path)
        assert refused.value.where == str(tmp_path / LOCK_NAME)
        assert refused.value.exit_code == ExitCode.LOCKED
        assert refused.value.hint
    assert in_child(lambda: str(ChainFile.open_for_writing(tmp_path).height)) == "1"


def test_a_ledger_is_never_created_over_another(tmp_path: Path) -> None:
    """Creating where one stands is refused, and its bytes stay."""
    maker = build_chain(4, 1)
    written(tmp_path, maker).close()
    with pytest.raises(StorageFailure, match=r"is a \w+ here already"):
        ChainFile.create(tmp_path, maker.genesis)
    assert (tmp_path / CHAIN_NAME).read_bytes() == b"".join(maker.lines())


def test_no_ledger_is_not_found(tmp_path: Path) -> None:
    """A folder without a ledger, read or written, says what makes one; the lock is free again."""
    for opener in (ChainReader, ChainFile):
        with pytest.raises(NotFound) as refused:
            opener(tmp_path)
        assert "fedcoin init" in refused.value.hint
    ChainFile.create(tmp_path, ChainMaker(1).genesis).close()


@pytest.mark.parametrize("tip", ["missing", "behind", "garbage", "another chain's", "forged"])
def test_without_its_tip_file_a_ledger_opens_uncertified(tmp_path: Path, tip: str) -> None:
    """The last certificate is then unknown, is given back by `certify`, and opening works again [P-13.9]."""
    maker = build_chain(4, 5)
    written(tmp_path, maker).close()
    path = tmp_path / TIP_NAME
    other = ChainMaker(3)
    other.add_transfers(5)
    forged = build_chain(4, 5)
    forged.certificates[-1] = forged.certificates[0]
    path.write_bytes(
        {
            "missing": b"",
            "behind": build_chain(4, 4).tip_bytes(),
            "garbage": b"{}\n",
            "another chain's": other.tip_bytes(),
            "forged": forged.tip_bytes(),
        }[tip]
    )
    if tip == "missing":
        path.unlink()
    with ChainFile.open_for_writing(tmp_path) as file:
        assert (file.height, file.tip.certificate) == (5, None)
        assert file.certificate_of(5) is None
        assert file.certificate_of(4) == maker.certificates[3]
        with pytest.raises(BadSignature):
            file.certify(maker.certificates[3])
        file.certify(maker.certificates[4])
        assert file.certificate_of(5) == maker.certificates[4]
    with ChainReader(tmp_path) as reader:
        assert reader.tip == maker.tip


def test_an_uncertified_tip_can_be_extended(tmp_path: Path) -> None:
    """The next block brings the missing certificate with it."""
    maker = build_chain(4, 3)
    written(tmp_path, maker).close()
    (tmp_path / TIP_NAME).unlink()
    maker.add_transfers(1)
    with ChainFile.open_for_writing(tmp_path) as file:
        file.append(maker.blocks[3], maker.certificates[3])
        assert file.tip == maker.tip
        assert file.certificate_of(3) == maker.certificates[2]


def test_a_crash_before_the_tip_file_loses_no_block(tmp_path: Path) -> None:
    """Line written, tip file staged but not in place: the block is there, its certificate is asked for."""
    maker = build_chain(4, 3)
    written(tmp_path, maker).close()
    staged = tmp_path / f".{TIP_NAME}.0.new"
    maker.add_transfers(1)
    staged.write_bytes(maker.tip_bytes())
    with (tmp_path / CHAIN_NAME).open("ab") as chain:
        chain.write(maker.lines()[-1])
    with ChainFile.open_for_writing(tmp_path) as file:
        assert (file.height, file.tip.certificate) == (4, None)
        file.certify(maker.certificates[-1])
    assert not staged.exists()


def test_the_largest_tip_file_is_read(tmp_path: Path) -> None:
    """One of 64 miners fits, at the last height that can be written."""
    signatures = tuple((MinerIndex(index), "ab" * 64) for index in range(ROSTER_MAX))
    record = TipRecord(2**53 - 1, BlockId("cd" * 32), Certificate(VIEW_MAX, signatures))
    (tmp_path / TIP_NAME).write_bytes(encode(record.to_json()) + b"\n")
    assert read_tip(tmp_path / TIP_NAME) == record


def spoil(folder: Path, height: int, line: bytes) -> None:
    lines = (folder / CHAIN_NAME).read_bytes().splitlines(keepends=True)
    lines[height] = line
    (folder / CHAIN_NAME).write_bytes(b"".join(lines))


@pytest.mark.parametrize("height", [0, 1, 3, 4])
@pytest.mark.parametrize("line", [b"garbage\n", b"\n", b"\0" * 700 + b"\n", b"{}\n"])
def test_a_bad_line_in_the_middle_is_refused(tmp_path: Path, height: int, line: bytes) -> None:
    """Blocks behind it prove that it is no torn tail: height, remedy, and not one byte changed [P-13.14]."""
    written(tmp_path, build_chain(4, 5)).close()
    spoil(tmp_path, height, line)
    before = (tmp_path / CHAIN_NAME).read_bytes()
    for opener in (ChainReader, ChainFile):
        with pytest.raises(LedgerInvalid, match=f"height {height}") as refused:
            opener(tmp_path)
        assert "fedcoin repair" in refused.value.hint
        assert f"line {height + 1}" in refused.value.where
        assert refused.value.exit_code == ExitCode.LEDGER
    assert (tmp_path / CHAIN_NAME).read_bytes() == before
    assert not list(tmp_path.glob("*.torn-*"))


def test_a_block_that_does_not_follow_is_no_torn_tail(tmp_path: Path) -> None:
    """A last line that is a block, but not the next one, is an edit: refused, not moved aside."""
    maker = build_chain(4, 5)
    written(tmp_path, maker).close()
    spoil(tmp_path, 5, maker.lines()[4])
    with pytest.raises(LedgerInvalid, match="height 5"):
        ChainFile.open_for_writing(tmp_path)


def test_bytes_that_change_after_opening_are_noticed(tmp_path: Path) -> None:
    """A block is parsed again when it is served: a rotten one is refused with its height."""
    maker = build_chain(4, 5)
    with written(tmp_path, maker) as file:
        rotten = maker.lines()[2].replace(b'"view":0', b'"view":1', 1)
        spoil(tmp_path, 2, rotten[:-2] + b"]\n")
        with pytest.raises(LedgerInvalid, match="height 2"):
            file.block(2)


def test_a_file_that_grew_behind_the_writers_back_is_left_alone(tmp_path: Path) -> None:
    """A program that ignores the lock stops the writer before it appends to what it does not know."""
    maker = build_chain(4, 2)
    with written(tmp_path, maker) as file:
        with (tmp_path / CHAIN_NAME).open("ab") as chain:
            chain.write(b"hello\n")
        maker.add_transfers(1)
        with pytest.raises(StorageFailure, match="changed underneath"):
            file.append(maker.blocks[-1], maker.certificates[-1])
        with pytest.raises(StorageFailure, match="after a failed one"):
            file.append(maker.blocks[-1], maker.certificates[-1])


def test_a_reader_passes_over_an_unfinished_line(tmp_path: Path) -> None:
    """What a live writer has half written is not there yet; nothing is moved."""
    maker = build_chain(4, 3)
    written(tmp_path, maker).close()
    with (tmp_path / CHAIN_NAME).open("ab") as chain:
        chain.write(b'{"certificate":')
    with ChainReader(tmp_path) as reader:
        assert reader.tip == maker.tip
    assert not list(tmp_path.glob("*.torn-*"))


def test_patience_lets_a_live_writer_finish_its_line(tmp_path: Path) -> None:
    """A last line without an end is read again once."""
    path = tmp_path / CHAIN_NAME
    path.write_bytes(b"one\ntw")

    def finish() -> None:
        with path.open("ab") as chain:
            chain.write(b"o\n")

    writer = threading.Timer(0.1, finish)
    writer.start()
    lines = list(read_chain(path, patience_s=0.6))
    writer.join()
    assert lines == [(0, b"one\n"), (1, b"two\n")]


APPENDER = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from chains import build_chain
from ledger_store.file.chain_file import ChainFile
maker = build_chain(1, 60)
with ChainFile.open_for_writing(Path(sys.argv[1])) as file:
    for block, certificate in list(zip(maker.blocks, maker.certificates))[file.height:]:
        file.append(block, certificate)
        print(file.height, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_it_reported(tmp_path: Path) -> None:
    """SIGKILL at some moment of appending: every reported height is there, and the next writer goes on [P-13.11]."""
    maker = build_chain(1, 60)
    ChainFile.create(tmp_path, maker.genesis).close()
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", APPENDER, str(tmp_path), str(root), str(root.parent)]
    reported = 0
    for kill in range(5):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(4 + kill):
                reported = int(writer.stdout.readline())
            time.sleep(0.000_7 * kill)
            os.kill(writer.pid, signal.SIGKILL)
            reported = max([reported, *(int(line) for line in writer.stdout)])
        with ChainFile.open_for_writing(tmp_path) as file:
            assert file.height >= reported
            assert list(file.blocks()) == maker.blocks[: file.height]
    assert 0 < reported < 60
