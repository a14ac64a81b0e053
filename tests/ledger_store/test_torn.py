"""Torn tails: whatever a power cut left of the last line, the ledger comes back to the exact height."""

import os
from pathlib import Path

import pytest
from chains import ChainMaker, build_chain

from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME, ChainFile

HOLE_BYTES = 64
MAKER = build_chain(1, 4)


def torn(data: bytes, start: int, offset: int, kind: str) -> bytes:
    """What is on the disk when the line that begins at `start` broke at `offset`."""
    at = start + offset
    if kind == "short":
        return data[:at]
    end = min(at + HOLE_BYTES, len(data)) if kind == "hole" else len(data)
    return data[:at] + b"\0" * (end - at) + data[end:]


@pytest.mark.parametrize("kind", ["short", "zeros", "hole"])
def test_a_tail_torn_at_any_offset_comes_back(ram: Path, kind: str) -> None:
    """Every offset of the last line: exactly one block is gone, its bytes are aside, and it can be appended.

    [P-13.13]
    """
    data, last = b"".join(MAKER.lines()), MAKER.lines()[-1]
    start = len(data) - len(last)
    for offset in range(len(last)):
        folder = ram / f"{kind}-{offset}"
        folder.mkdir()
        left = torn(data, start, offset, kind)
        (folder / CHAIN_NAME).write_bytes(left)
        (folder / TIP_NAME).write_bytes(MAKER.tip_bytes())
        with ChainFile.open_for_writing(folder) as file:
            assert file.height == 3, offset
            aside = file.torn.read_bytes() if file.torn else b""
            assert data[:start] + aside == left, offset
            file.append(MAKER.blocks[3], MAKER.certificates[3])
        assert (folder / CHAIN_NAME).read_bytes() == data


@pytest.mark.parametrize(
    "tail", [b"\0", b"\0" * 5_000, b"{", b"\n", b"\n\n\n", b"x\ny\nz", b"\xff" * 100 + b"\n"]
)
def test_rubbish_behind_a_whole_line_costs_no_block(tmp_path: Path, tail: bytes) -> None:
    """Preallocated zeros or anything that is no block behind the tip is moved aside; the tip stays certified."""
    path = MAKER.write(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    with ChainFile.open_for_writing(tmp_path) as file:
        assert file.tip == MAKER.tip
        assert file.torn is not None
        assert file.torn.read_bytes() == tail
    assert path.read_bytes() == whole


def test_torn_tails_never_overwrite_each_other(tmp_path: Path) -> None:
    """Each accident gets its own number, also between files that are there already [P-13.13]."""
    path = MAKER.write(tmp_path)
    (tmp_path / f"{CHAIN_NAME}.torn-2").write_bytes(b"an older accident")
    for tail in (b"first", b"second"):
        with path.open("ab") as file:
            file.write(tail)
        ChainFile.open_for_writing(tmp_path).close()
    aside = {item.name: item.read_bytes() for item in tmp_path.glob("*.torn-*")}
    assert aside == {
        f"{CHAIN_NAME}.torn-1": b"first",
        f"{CHAIN_NAME}.torn-2": b"an older accident",
        f"{CHAIN_NAME}.torn-3": b"second",
    }


def test_a_ledger_of_genesis_alone_comes_back(tmp_path: Path) -> None:
    """The first block torn: height 0, and the chain starts again."""
    path = ChainMaker(1).write(tmp_path)
    with path.open("ab") as file:
        file.write(MAKER.lines()[1][:-1])
    with ChainFile.open_for_writing(tmp_path) as file:
        assert file.height == 0
        file.append(MAKER.blocks[0], MAKER.certificates[0])


def test_a_huge_hole_is_moved_without_being_read_at_once(tmp_path: Path) -> None:
    """A sparse tail of 40 MiB is no line; it is moved in pieces."""
    path = MAKER.write(tmp_path)
    size = path.stat().st_size
    os.truncate(path, size + 40 * 2**20)
    with ChainFile.open_for_writing(tmp_path) as file:
        assert file.tip == MAKER.tip
        assert file.torn is not None
        assert file.torn.stat().st_size == 40 * 2**20
