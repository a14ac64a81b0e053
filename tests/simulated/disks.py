"""The twins of chain file and vote log: they keep what was written when their node dies, and lose nothing else.

Some of the seeds use the real ones instead: `simulated.files`.
"""

from collections.abc import Callable
from random import Random

from fedcoin_cli.consensus.attempt import Opening
from fedcoin_cli.protocol.message import CommitNote, Proposal, Vote
from fedcoin_cli.replica.records import Record, Remembered, from_bytes, place_of, to_bytes
from ledger_store.base.names import TaskId
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate
from ledger_store.chain import Tip, extend, replay, start
from ledger_store.genesis import Genesis

Step = Callable[[], None]
Saved = tuple[list[tuple[int, str, bytes]], tuple[Block, Certificate] | None, bool]


class MemoryLedger:
    """The chain file's twin; `step` is called before and after what reaches the disk, and may kill the node."""

    def __init__(self, genesis: Genesis, step: Step, on_append: Callable[[Block], None]) -> None:
        self.tip: Tip = start(genesis)
        self._blocks: list[tuple[Block, Certificate]] = []
        self._step = step
        self._on_append = on_append

    def append(self, block: Block, certificate: Certificate) -> None:
        self._step()
        self.tip = extend(self.tip, block, certificate)
        self._blocks.append((block, certificate))
        self._on_append(block)
        self._step()

    def certify(self, certificate: Certificate) -> None:
        certificate.check(self.tip.genesis, VoteKind.FINAL, self.tip.height, self.tip.state.head)
        self.tip = Tip(self.tip.state, certificate)

    def block(self, height: int) -> Block:
        return self._blocks[height - 1][0]

    def certificate_of(self, height: int) -> Certificate | None:
        if height < len(self._blocks):
            return self._blocks[height][0].certificate
        return self.tip.certificate

    def cut(self, blocks: int) -> None:
        """Put an older copy of the file in its place, without a tip file."""
        del self._blocks[len(self._blocks) - blocks :]
        self.tip = start(self.tip.genesis)
        for block, _ in self._blocks:
            self.tip = replay(self.tip, block)

    def tear(self, _: Random) -> None:
        """The last line broke while it was written: what opening makes of it is a ledger without that line."""
        if self._blocks:
            self.cut(1)

    def reopen(self) -> None:
        """Nothing was lost."""

    def close(self) -> None:
        """Nothing is held."""

    @property
    def lines(self) -> list[bytes]:
        return [block.line for block, _ in self._blocks]


class MemoryLog:
    """The vote log's twin: the same bytes, the same forgetting.

    `signatures` are all that were ever durable here.
    """

    def __init__(self, step: Step) -> None:
        self._rows: list[tuple[int, str, bytes]] = []
        self._decided: tuple[Block, Certificate] | None = None
        self._whole = True
        self._step = step
        self.signatures: set[str] = set()

    def append(self, records: list[Record]) -> None:
        self._step()
        for record in records:
            self._rows.append((*place_of(record), to_bytes(record)))
            self.signatures |= signatures_of(record)
        self._step()

    def decide(self, block: Block, certificate: Certificate, current_task: TaskId | None) -> None:
        self._step()
        if self._decided is None or self._decided[0].height < block.height:
            self._decided = block, certificate
            self._rows = [
                row
                for row in self._rows
                if (row[1] == "" and row[0] > block.height) or (row[1] != "" and row[1] == current_task)
            ]
        self._step()

    def mark(self, *, whole: bool) -> None:
        self._step()
        self._whole = whole
        self._step()

    def load(self) -> Remembered:
        return Remembered(tuple(from_bytes(data) for _, _, data in self._rows), self._decided, self._whole)

    def saved(self) -> Saved:
        """A copy, as a backup would make it."""
        return list(self._rows), self._decided, self._whole

    def put_back(self, saved: Saved) -> None:
        """An old copy takes the log's place."""
        self._rows, self._decided, self._whole = list(saved[0]), saved[1], saved[2]

    def lose(self) -> None:
        """The file is gone; the node makes a new one that is not whole."""
        self.put_back(([], None, False))

    def reopen(self) -> None:
        """Nothing was lost."""

    def close(self) -> None:
        """Nothing is held."""


def signatures_of(record: Record) -> set[str]:
    """The signatures by which this miner says something in a record."""
    match record:
        case Vote() | Proposal():
            return {record.signature}
        case CommitNote():
            return {record.commit.signature}
        case Opening():
            return {record.reveal.signature}
    return set()
