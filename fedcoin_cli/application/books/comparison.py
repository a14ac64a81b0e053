"""Comparing two ledgers: equal, one the beginning of the other, or a fork, with proofs of who brought it about.

Reading and deciding only; a ledger may be a workspace, a miner's folder or a chain file on its own. Nothing in it is
believed but genesis: a fork is one only if both blocks are certified by signatures that verify, and a culprit is named
only by two of its own signatures (`consensus.accountability`). What a fork is, and its proof as a file: `books.forks`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fedcoin_cli.application.books.books import ledgers
from fedcoin_cli.application.books.equivocations import Said, read_evidence
from fedcoin_cli.application.books.forks import Fork, judge
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.protocol.message import Certified
from ledger_store.base.errors import BadSignature, FedCoinError, LedgerInvalid, Malformed
from ledger_store.base.names import BlockId
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate
from ledger_store.file.chain_file import CHAIN_NAME, LINE_BYTES_MAX, TIP_NAME, read_chain, read_tip
from ledger_store.genesis import Genesis

EVIDENCE_NAME = "evidence"
_REMEDY = "fedcoin audit FILE tells what was altered"
_ENDLESS = "the line has no end"


class Side:
    """One of two ledgers: its blocks' ids, and the folders in which evidence may be.

    `trailing_bytes` stand behind the last block without an end: a live writer's append, or what a fall has left of one.
    """

    def __init__(self, path: Path, evidence: Sequence[Path]) -> None:
        self.path = path
        self._folders = evidence
        self.trailing_bytes = 0
        lines = read_chain(path)
        self.genesis = self._read_genesis(next(lines, (0, b""))[1])
        self.ids: list[BlockId] = [self.genesis.id, *self._read_ids(lines)]

    @classmethod
    def at(cls, place: Path) -> "Side":
        """The ledger at `place`: the longest of a workspace, a miner's folder, or a chain file itself.

        Raises `NotFound`, and `LedgerInvalid` for what is not a ledger.
        """
        if (place / "genesis.json").is_file():
            workspace = Workspace.find(place)
            path = ledgers(workspace)[0] / CHAIN_NAME
            return cls(path, [miner.evidence for miner in workspace.miners])
        path = place / CHAIN_NAME if place.is_dir() else place
        return cls(path, [path.with_name(EVIDENCE_NAME)])

    @property
    def height(self) -> int:
        """The last block's height."""
        return len(self.ids) - 1

    def certificate_of(self, height: int) -> Certificate | None:
        """The FINAL certificate of a block: in the next block, or in the tip file; None when it is not here."""
        if height < self.height:
            return self._block(height + 1).certificate
        try:
            record = read_tip(self.path.with_name(TIP_NAME))
        except Malformed:
            return None
        here = record is not None and (record.height, record.id) == (height, self.ids[height])
        return record.certificate if record is not None and here else None

    def final(self, height: int) -> Certified | None:
        """The block's FINAL certificate if it is here; raises `LedgerInvalid` when its signatures do not verify."""
        certificate = self.certificate_of(height)
        if certificate is None:
            return None
        try:
            certificate.check(self.genesis, VoteKind.FINAL, height, self.ids[height])
        except BadSignature as error:
            raise LedgerInvalid(error.message, where=str(self.path), hint=_REMEDY) from error
        return Certified(VoteKind.FINAL, height, self.ids[height], certificate, None)

    def evidence(self, height: int) -> list[Said]:
        """What the miners of this side kept of a height."""
        return [said for folder in self._folders for said in read_evidence(folder, height)]

    def _block(self, height: int) -> Block:
        line = next(islice(read_chain(self.path), height, None))[1]
        return self._parsed(height, line)

    def _read_genesis(self, line: bytes) -> Genesis:
        try:
            if not line.endswith(b"\n"):
                raise Malformed(_ENDLESS)
            return Genesis.from_line(line[:-1])
        except Malformed as error:
            raise self._invalid(0, error.message) from error

    def _read_ids(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[BlockId]:
        parent: BlockId = self.genesis.id
        for height, line in lines:
            if not line.endswith(b"\n"):
                if len(line) >= LINE_BYTES_MAX:
                    raise self._invalid(height, _ENDLESS)
                self.trailing_bytes = len(line)
                return  # the file ends here
            header = self._parsed(height, line).header
            if (header.height, header.parent) != (height, parent):
                raise self._invalid(height, "the block does not follow the one before it")
            parent = header.id
            yield parent

    def _parsed(self, height: int, line: bytes) -> Block:
        try:
            return Block.from_line(line.removesuffix(b"\n"))
        except Malformed as error:
            raise self._invalid(height, error.message) from error

    def _invalid(self, height: int, reason: str) -> LedgerInvalid:
        where = f"{self.path}, line {height + 1} (height {height})"
        return LedgerInvalid(f"the ledger is damaged at height {height}: {reason}", where=where, hint=_REMEDY)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two ledgers of one network.

    `common` is the last height at which they agree; both go on behind it only if they differ. `fork` is None when
    they do not differ, or when a differing block lacks its certificate (`uncertified` names the ledgers).
    """

    sides: tuple[Side, Side]
    common: int
    fork: Fork | None
    uncertified: tuple[Path, ...]

    @property
    def relation(self) -> str:
        """equal, prefix, fork, or differ: blocks differ, but not both of them are certified."""
        if self.fork is not None:
            return "fork"
        lengths = {side.height for side in self.sides}
        if min(lengths) > self.common:
            return "differ"
        return "equal" if len(lengths) == 1 else "prefix"


def compare(one: Path, other: Path) -> Comparison:
    """Find the first block in which two ledgers differ.

    Raises `NotFound` where no ledger is and `LedgerInvalid` for a damaged one, or for two networks.
    """
    sides = Side.at(one), Side.at(other)
    if sides[0].genesis.id != sides[1].genesis.id:
        hint = "compare two ledgers of one network"
        raise LedgerInvalid(
            "these ledgers have different genesis blocks", where=f"{one} and {other}", hint=hint
        )
    pairs = zip(sides[0].ids, sides[1].ids, strict=False)
    differing = next((height for height, (here, there) in enumerate(pairs) if here != there), None)
    if differing is None:
        common = min(side.height for side in sides)
        return Comparison(sides, common, None, _uncertified(sides, [side.height for side in sides]))
    uncertified = _uncertified(sides, [differing, differing])
    one_final, other_final = (side.final(differing) for side in sides)
    fork = _fork(sides, (one_final, other_final)) if one_final and other_final else None
    return Comparison(sides, differing - 1, fork, uncertified)


def _uncertified(sides: tuple[Side, Side], heights: Sequence[int]) -> tuple[Path, ...]:
    pairs = zip(sides, heights, strict=True)
    return tuple(side.path for side, height in pairs if height and side.final(height) is None)


def _fork(sides: tuple[Side, Side], finals: tuple[Certified, Certified]) -> Fork:
    said: list[Said] = []
    ignored: list[FedCoinError] = []
    for side in sides:
        try:
            said += side.evidence(finals[0].height)
        except LedgerInvalid as error:
            ignored.append(error)
    return judge(sides[0].genesis, finals, said, tuple(ignored))
