"""Evidence: what was said at a height that took more than one view, or in which somebody contradicted himself.

One file a height, `evidence/HEIGHT.jsonl` in a miner's folder: one vote or certificate a line, each the frame in which
it travels. Which of it proves anything is decided in `consensus.accountability`; a line need not be true to be read.

When there are too many files the least telling go: first those in which the fewest contradict themselves and which hold
no certificate beyond view 0, for any one liar can make such a height at every height. A fork takes more than f
culprits, so what f liars say of themselves never pushes out what is known of one. (docs/adr/0015)
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from fedcoin_cli.consensus.accountability import contradictions
from fedcoin_cli.protocol.frame import from_frame, to_frame
from fedcoin_cli.protocol.message import Certified, Vote
from ledger_store.base.disk import put_in_place, refusals, stage
from ledger_store.base.errors import LedgerInvalid, Malformed
from ledger_store.base.words import VoteKind

Said = Vote | Certified
# Files of this many heights are kept. More than one goes at a time: which are the least telling takes a look at all.
HEIGHTS_KEPT = 2_000
_LEFT_OF_TEN = 9


def evidence_file(folder: Path, height: int) -> Path:
    """Where the evidence of a height belongs in an evidence folder."""
    return folder / f"{height}.jsonl"


def keep_evidence(folder: Path, height: int, said: Iterable[Said]) -> None:
    """Add to a height's file; what an earlier life of the miner wrote stays, the least telling beyond the bound go.

    Raises `StorageFailure`. [P-12.11]
    """
    path = evidence_file(folder, height)
    with refusals(path):
        folder.mkdir(exist_ok=True)
        earlier = path.read_bytes().splitlines() if path.exists() else []
    lines = dict.fromkeys([*earlier, *map(to_frame, said)])
    put_in_place(stage(path, b"".join(line + b"\n" for line in lines)), path)
    heights = heights_kept(folder)
    if len(heights) <= HEIGHTS_KEPT:
        return
    by_worth = sorted(heights, key=lambda kept: _worth(folder, kept))
    with refusals(folder):
        for old in by_worth[: len(heights) - HEIGHTS_KEPT * _LEFT_OF_TEN // 10]:
            evidence_file(folder, old).unlink(missing_ok=True)


def _worth(folder: Path, height: int) -> tuple[bool, int, int]:
    """What a height's file proves: that it took more than one view, how many contradict themselves, how new it is."""
    try:
        said = read_evidence(folder, height)
    except LedgerInvalid:
        return False, 0, height
    views = any(
        isinstance(one, Certified) and (one.votes == VoteKind.SKIP or one.certificate.view) for one in said
    )
    return views, len(contradictions(said)), height


def heights_kept(folder: Path) -> list[int]:
    """The heights of which an evidence folder has a file."""
    return [int(path.stem) for path in folder.glob("*.jsonl") if path.stem.isdecimal()]


def read_evidence(folder: Path, height: int) -> list[Said]:
    """What was said at `height`, nothing where no file is; raises `LedgerInvalid` for what is not evidence."""
    path = evidence_file(folder, height)
    with refusals(path):
        if not path.exists():
            return []
        data = path.read_bytes()
    said = list(read_said(str(path), data.splitlines(), 1))
    if any(one.height != height for one in said):
        raise LedgerInvalid(f"evidence of another height than {height}", where=str(path), hint=_REMEDY)
    return said


def read_said(file: str, lines: Iterable[bytes], first: int) -> Iterator[Said]:
    """The votes and certificates in `lines`, of which the first is line `first` of `file`; raises `LedgerInvalid`."""
    for number, line in enumerate(lines, first):
        message = None
        reason = "neither a vote nor a certificate"
        try:
            message = from_frame(line)
        except Malformed as error:
            reason = error.message
        if not isinstance(message, Vote | Certified):
            where = f"{file}, line {number}"
            raise LedgerInvalid(f"this is not evidence: {reason}", where=where, hint=_REMEDY)
        yield message


_REMEDY = "move this file away, or get it again from the miner that wrote it"
