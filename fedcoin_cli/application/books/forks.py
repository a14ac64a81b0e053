"""Forks: two certified blocks of one height, who is proven to have brought them about, and the proof as a file.

Who is guilty of what is decided in `consensus.accountability`; here a fork is judged, written and read again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedcoin_cli.application.books.equivocations import Said, read_said
from fedcoin_cli.consensus.accountability import Guilt, guilty, least_culprits
from fedcoin_cli.protocol.frame import to_frame
from fedcoin_cli.protocol.message import Certified
from ledger_store.base.canonical import encode
from ledger_store.base.disk import put_in_place, stage
from ledger_store.base.errors import BadSignature, FedCoinError, LedgerInvalid, Malformed
from ledger_store.base.words import VoteKind
from ledger_store.genesis import Genesis


@dataclass(frozen=True, slots=True)
class Fork:
    """Two certified blocks of one height; `culprits` are proven, at least `least` have lied."""

    height: int
    finals: tuple[Certified, Certified]
    culprits: tuple[Guilt, ...]
    least: int
    ignored: tuple[FedCoinError, ...]

    @property
    def complete(self) -> bool:
        """Whether as many are named as must have lied at least."""
        return len(self.culprits) >= self.least


def judge(
    genesis: Genesis,
    finals: tuple[Certified, Certified],
    said: Iterable[Said],
    ignored: tuple[FedCoinError, ...] = (),
) -> Fork:
    """Name the culprits of a fork whose FINAL certificates were verified, from them and what else was `said`."""
    height = finals[0].height
    relevant = (one for one in (*finals, *said) if one.height == height)
    return Fork(height, finals, guilty(genesis, relevant), least_culprits(genesis), ignored)


def write_proof(path: Path, genesis: Genesis, fork: Fork) -> None:
    """Genesis, both FINAL certificates and each culprit's two votes, one a line: whoever has this file can check it.

    Raises `StorageFailure`.
    """
    said: list[Said] = [*fork.finals, *(vote for guilt in fork.culprits for vote in guilt.votes)]
    lines = [encode(genesis.to_json()), *map(to_frame, said)]
    put_in_place(stage(path, b"".join(line + b"\n" for line in lines)), path)


def looks_like_a_fork(data: bytes) -> bool:
    """Whether these bytes begin as a fork's proof does; whether they prove anything is another question."""
    first, _, rest = data.partition(b"\n")
    try:
        Genesis.from_line(first)
    except Malformed:
        return False
    return bool(rest)


def read_proof(data: bytes, where: str) -> tuple[Genesis, Fork]:
    """Read a proof found at `where` and judge it anew; raises `LedgerInvalid` when it proves no fork."""
    first, *lines = data.splitlines() or [b""]
    try:
        genesis = Genesis.from_line(first)
    except Malformed as error:
        raise LedgerInvalid(f"this is not a proof: {error.message}", where=where, hint=_NO_PROOF) from error
    said = list(read_said(where, lines, 2))
    finals = [one for one in said if isinstance(one, Certified) and one.votes == VoteKind.FINAL]
    if len(finals) != 2 or finals[0].height != finals[1].height or finals[0].block == finals[1].block:
        raise LedgerInvalid("two different final blocks are not in it", where=where, hint=_NO_PROOF)
    try:
        for final in finals:
            final.certificate.check(genesis, VoteKind.FINAL, final.height, final.block)
    except BadSignature as error:
        raise LedgerInvalid(error.message, where=where, hint=_NO_PROOF) from error
    return genesis, judge(genesis, (finals[0], finals[1]), said)


_NO_PROOF = "nobody is to be accused by this file; ask for one made by: fedcoin compare A B -o FILE"
