"""One settled round for each finding of audit level 4: the ledger is in order, a file or a table is not.

Levels 0 to 3 pass all of them: sums, payments and signatures follow from each other, just not from the files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evidenced import Bent, Evidenced, evidenced

from ledger_store.base.names import Digest

# 60 images in blocks of 16: u(∅) of four blocks, u(full) of four blocks, then what rankings count between.
_BETWEEN = 8


@dataclass(frozen=True, slots=True)
class Corrupted:
    """The ledger file, the store, the height at fault, and the file at fault (None: the ledger alone is)."""

    chain: Path
    store: Path
    height: int
    file: Path | None


def corrupted(code: str, folder: Path) -> Corrupted:
    """The round whose audit must end with this finding."""
    return _BUILDERS[code](folder)


def codes() -> list[str]:
    """Every code that has a round."""
    return list(_BUILDERS)


def _of(folder: Path, bent: Bent, height: int, file: Callable[[Evidenced], str | None]) -> Corrupted:
    made = evidenced(folder, bent=bent)
    digest = file(made)
    path = None if digest is None else made.store.path(Digest(digest))
    return Corrupted(made.maker.write(folder), made.store.folder, height, path)


def _rotten_file(folder: Path) -> Corrupted:
    found = _of(folder, Bent(), 1, lambda made: made.task.updates[2].digest)
    assert found.file is not None
    found.file.chmod(0o644)
    data = bytearray(found.file.read_bytes())
    data[-1] ^= 1
    found.file.write_bytes(data)
    return found


def _too_many_images(folder: Path) -> Corrupted:
    return _of(folder, Bent(terms={"images": 61}), 1, lambda _: None)


def _missing_count(folder: Path) -> Corrupted:
    bent = Bent(table=lambda data: data[:-1], sums_follow=False)
    return _of(folder, bent, 3, lambda made: made.liar.table)


def _other_sums(folder: Path) -> Corrupted:
    return _of(folder, Bent(sums=(10, -10)), 3, lambda made: made.liar.table)


def _false_count(folder: Path) -> Corrupted:
    """The liar's count of the first client that joins in block 0, with the sums that follow from the lie."""
    return _of(folder, Bent(table=_other_count), 3, lambda made: made.liar.table)


def _other_count(data: bytes) -> bytes:
    count = data[_BETWEEN]
    return data[:_BETWEEN] + bytes([count + 7 if count < 8 else count - 7]) + data[_BETWEEN + 1 :]


def _false_accusation(folder: Path) -> Corrupted:
    return _of(folder, Bent(accuse=_BETWEEN), 3, lambda made: made.liar.table)


_BUILDERS: dict[str, Callable[[Path], Corrupted]] = {
    "E501": _rotten_file,
    "E502": _too_many_images,
    "E504": _missing_count,
    "E505": _other_sums,
    "E506": _false_count,
    "E507": _false_accusation,
}
