"""Audit levels 0 to 2 as named checks, and the interface through which higher layers add theirs.

Theory of operation. `audit` shows every line to the checks of its level, in order; what one establishes the next
may use (`block`, `after`), and the first finding ends the audit: what stands behind it hangs on what was altered.
A finding names the height that was altered, which need not be the one where it shows: a header's change shows
where the next block links to it, and the certificate tells which of the two is the one that was voted for.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ledger_store.base.canonical import decode
from ledger_store.base.errors import BadSignature, InvalidTransaction, Malformed
from ledger_store.base.names import BlockId, GenesisId
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, transaction_root
from ledger_store.chain import Tip
from ledger_store.genesis import BLOCK_BYTES_MAX, Genesis
from ledger_store.identity.keys import Verify, verify_bytes
from ledger_store.state import State, apply
from ledger_store.transaction import Close, Result

CODES = {
    "E100": "line 1 is not a genesis",
    "E101": "a line has no end",
    "E102": "a line is not canonical JSON",
    "E103": "a line is not a block",
    "E104": "the tip file is not a tip file",
    "E105": "the genesis is not that of the network that it must be",
    "E201": "a block has a wrong height",
    "E202": "a block's transactions are not the ones its header names",
    "E203": "a block's certificate is not the one its header names",
    "E204": "a block lacks its parent's certificate, or block 1 has one",
    "E205": "a block does not link to the one before it",
    "E206": "the tip file names a block that is not in the ledger",
    "E301": "a certificate does not carry the votes of a quorum for its block",
    "E302": "the tip's certificate does not carry the votes of a quorum",
    "E303": "a signature in a transaction is wrong",
    "E304": "the snapshot beside the ledger holds another state than its blocks come to",
    "E401": "a block breaks the rules of its header: turn, time, size",
    "E402": "a block's transactions are in a wrong order, or too many of one account",
    "E403": "a transfer is not admissible",
    "E404": "a task is not admissible",
    "E405": "a cancel is not admissible",
    "E406": "a close is not admissible",
    "E407": "a result is not admissible",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong: a stable code, the altered height, the line as editors count (None: the tip file), why.

    `file` is the file at fault where that is not the ledger: a round's file or a table.
    """

    code: str
    height: int
    line: int | None
    message: str
    file: str | None = None


@dataclass(slots=True)
class Subject:
    """One line under audit: block `height` as it is in the file, newline included.

    `head` is the id of the block before it. `before` is the chain before it from level 2 on, genesis below.
    `block` and `after` are there once the checks of levels 0 and 2 have passed. `trusted`: nobody asks for its
    signatures, only for what it does to the state. `verify` looks at its signatures, at once or later.
    """

    height: int
    raw: bytes
    head: BlockId
    before: Tip
    trusted: bool = False
    verify: Verify = verify_bytes
    block: Block = field(init=False)
    after: State = field(init=False)

    @property
    def genesis(self) -> Genesis:
        """The network's genesis."""
        return self.before.genesis

    def finding(self, code: str, message: str, height: int | None = None) -> Finding:
        """A finding about this height, or about the `height` that is to blame."""
        altered = self.height if height is None else height
        return Finding(code, altered, altered + 1, message)


@dataclass(frozen=True, slots=True)
class Check:
    """One property of every block. `level` is the least audit level that looks at it [P-13.16]."""

    name: str
    level: int
    run: Callable[[Subject], Iterator[Finding]]


# Rule [P-13.1].
def _framing(subject: Subject) -> Iterator[Finding]:
    if not subject.raw.endswith(b"\n"):
        yield subject.finding("E101", f"the line has no end after {len(subject.raw)} bytes: a torn write")


def _form(subject: Subject) -> Iterator[Finding]:
    line = subject.raw[:-1]
    try:
        subject.block = Block.read_line(line)
    except Malformed as error:
        yield _malformed(subject, line, error)


def _malformed(subject: Subject, line: bytes, error: Malformed) -> Finding:
    """What is not a block may not even be canonical; of what is too long for a block nobody asks."""
    try:
        if len(line) <= BLOCK_BYTES_MAX:
            decode(line)
    except Malformed as deeper:
        return subject.finding("E102", deeper.message)
    return subject.finding("E103", error.message)


def _height(subject: Subject) -> Iterator[Finding]:
    if subject.block.height != subject.height:
        yield subject.finding("E201", f"the block says that its height is {subject.block.height}")


def _transactions(subject: Subject) -> Iterator[Finding]:
    if subject.block.header.transactions != transaction_root(subject.block.transactions):
        yield subject.finding("E202", "the transactions are not the ones that the header names")


def _certificate_digest(subject: Subject) -> Iterator[Finding]:
    if subject.block.header.certificate != subject.block.certificate_digest:
        yield subject.finding("E203", "the certificate is not the one that the header names")


def _certificate_presence(subject: Subject) -> Iterator[Finding]:
    if (subject.block.certificate is None) != (subject.height == 1):
        yield subject.finding("E204", "every block but the first carries its parent's certificate")


def _link(subject: Subject) -> Iterator[Finding]:
    if subject.block.header.parent == subject.head:
        return
    if _parent_was_altered(subject):
        before = subject.height - 1
        yield subject.finding("E205", f"height {subject.height} links to another block than this", before)
    else:
        yield subject.finding("E205", f"the block does not link to height {subject.height - 1}")


def _parent_was_altered(subject: Subject) -> bool:
    """Whether the block that the header names as parent is the one that was signed for."""
    block, named = subject.block, subject.block.header.parent
    if block.certificate is not None:
        return bool(block.certificate.signers(subject.genesis, VoteKind.FINAL, subject.height - 1, named))
    signed = (item for item in block.transactions if not isinstance(item, Close | Result))
    return any(item.verified(GenesisId(named)) for item in signed)


def _certificate(subject: Subject) -> Iterator[Finding]:
    certificate, parent = subject.block.certificate, subject.height - 1
    if certificate is None or subject.trusted:
        return
    try:
        certificate.check(subject.genesis, VoteKind.FINAL, parent, subject.head, subject.verify)
    except BadSignature as error:
        if certificate.signers(subject.genesis, VoteKind.FINAL, parent, subject.head):
            yield subject.finding(error.code, error.message)
        else:
            reason = "no miner signed this block: it is not the one they voted for"
            yield subject.finding(error.code, reason, parent)


def _transition(subject: Subject) -> Iterator[Finding]:
    before, block = subject.before.state, subject.block
    try:
        subject.after = apply(before, block, trusted=subject.trusted, verify=subject.verify)
    except (BadSignature, InvalidTransaction) as error:
        yield subject.finding(error.code, error.message)


CHECKS = (
    Check("framing", 0, _framing),
    Check("form", 0, _form),
    Check("height", 1, _height),
    Check("transactions", 1, _transactions),
    Check("certificate digest", 1, _certificate_digest),
    Check("certificate presence", 1, _certificate_presence),
    Check("link", 1, _link),
    Check("certificate", 2, _certificate),
    Check("transition", 2, _transition),
)
