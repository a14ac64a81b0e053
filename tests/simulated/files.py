"""Chain file and vote log as the product writes them, on a disk of this machine: for some of the seeds.

A node that dies leaves its files as they are at that moment. What a power cut or a person may then do to them is here:
a torn tail (short, zeros, a hole), an older copy, a log that is gone, rubbish behind the log's journal.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random

from simulated.disks import Step, signatures_of

from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.replica.records import Record, Remembered
from ledger_store.base.names import GenesisId, TaskId
from ledger_store.block import Block, Certificate
from ledger_store.chain import Tip
from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME, ChainFile
from ledger_store.genesis import Genesis

HOLE_BYTES = 64


class FileLedger:
    """The real chain file; `step` is called before and after what reaches the disk, and may kill the node."""

    def __init__(
        self, folder: Path, genesis: Genesis, step: Step, on_append: Callable[[Block], None]
    ) -> None:
        self._folder = folder
        self._file = ChainFile.create(folder, genesis)
        self._step = step
        self._on_append = on_append

    @property
    def tip(self) -> Tip:
        return self._file.tip

    def append(self, block: Block, certificate: Certificate) -> None:
        self._step()
        self._file.append(block, certificate)
        self._on_append(block)
        self._step()

    def certify(self, certificate: Certificate) -> None:
        self._file.certify(certificate)

    def block(self, height: int) -> Block:
        return self._file.block(height)

    def certificate_of(self, height: int) -> Certificate | None:
        return self._file.certificate_of(height)

    def reopen(self) -> None:
        """As a node does when it starts."""
        self._file.close()
        self._file = ChainFile.open_for_writing(self._folder)

    def cut(self, blocks: int) -> None:
        """Put an older copy of the file in its place, without a tip file."""
        kept = self._lines()[: self.tip.height + 1 - blocks]
        self._path.write_bytes(b"".join(kept))
        (self._folder / TIP_NAME).unlink(missing_ok=True)
        self.reopen()

    def tear(self, dice: Random) -> None:
        """The last line broke anywhere while it was written."""
        if not self.tip.height:
            return
        data, last = self._path.read_bytes(), self._lines()[-1]
        start = len(data) - len(last)
        at = start + dice.randrange(len(last))
        end = dice.choice((at, len(data), min(at + HOLE_BYTES, len(data))))
        rest = b"" if end == at else b"\0" * (end - at) + data[end:]
        self._path.write_bytes(data[:at] + rest)
        self.reopen()

    @property
    def lines(self) -> list[bytes]:
        return [line.removesuffix(b"\n") for line in self._lines()[1:]]

    def close(self) -> None:
        self._file.close()

    @property
    def _path(self) -> Path:
        return self._folder / CHAIN_NAME

    def _lines(self) -> list[bytes]:
        return self._path.read_bytes().splitlines(keepends=True)


class FileLog:
    """The real vote log; `signatures` are all that were ever durable here."""

    def __init__(self, folder: Path, key: str, genesis: GenesisId, step: Step, dice: Random) -> None:
        self._path = folder / "votes.sqlite"
        self._journal = folder / "votes.sqlite-wal"
        self._bound = key, genesis
        self._log = VoteLog.create(self._path, key, genesis)
        self._step = step
        self._dice = dice
        self.signatures: set[str] = set()

    def append(self, records: list[Record]) -> None:
        self._step()
        self._log.append(records)
        for record in records:
            self.signatures |= signatures_of(record)
        self._step()

    def decide(self, block: Block, certificate: Certificate, current_task: TaskId | None) -> None:
        self._step()
        self._log.decide(block, certificate, current_task)
        self._step()

    def mark(self, *, whole: bool) -> None:
        self._step()
        self._log.mark(whole=whole)
        self._step()

    def load(self) -> Remembered:
        return self._log.load()

    def reopen(self) -> None:
        """As a node does when it starts: on the files as they were when it died, journal and all."""
        rubbish = self._dice.choice((b"", b"\0" * 5_000, self._dice.randbytes(300)))
        database, journal = self.saved()
        self.put_back((database, journal + rubbish))

    def saved(self) -> tuple[bytes, bytes]:
        """A copy, as a backup would make it."""
        return self._path.read_bytes(), self._journal.read_bytes() if self._journal.exists() else b""

    def put_back(self, saved: tuple[bytes, bytes]) -> None:
        """An old copy takes the log's place."""
        self._log.close()
        self._path.write_bytes(saved[0])
        self._journal.write_bytes(saved[1])
        self._log = VoteLog(self._path, *self._bound)

    def lose(self) -> None:
        """The file is gone; the node makes a new one that is not whole."""
        self._log.close()
        self._path.unlink()
        self._log = VoteLog.create(self._path, *self._bound, whole=False)

    def close(self) -> None:
        self._log.close()
