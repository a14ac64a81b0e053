"""Where another chain ended, audited in full: what a successor is founded on, and what its members look at.

What the seam must be is `ledger_store.audit.succession`'s business.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedcoin_cli.application.books.books import ledgers
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.contract.outcome_check import CHECKS
from ledger_store.audit.audit import audit
from ledger_store.audit.checks import Check, Finding, Subject
from ledger_store.audit.succession import check_seam
from ledger_store.base.amount import format_micro
from ledger_store.base.errors import ConsensusFailure, LedgerInvalid
from ledger_store.base.names import BlockId
from ledger_store.file.chain_file import CHAIN_NAME
from ledger_store.genesis import Genesis
from ledger_store.state import State, initial

_LEVEL = 3


def ledger_of(place: Path) -> Path:
    """The chain file that a person means by a workspace, a ledger's folder or a chain file."""
    if (place / CHAIN_NAME).is_file():
        return place / CHAIN_NAME
    if place.is_dir():
        return ledgers(Workspace.find(place))[0] / CHAIN_NAME
    return place


def end_of(path: Path, *, refund: bool) -> State:
    """The state after a ledger's last certified block, every check of an audit passed.

    Raises `LedgerInvalid`, and `ConsensusFailure` for a task that is not finished unless its price may be refunded.
    [P-14.4]
    """
    seen = _Ends()
    report = audit(path, _LEVEL, [*CHECKS, seen.check])
    if report.findings:
        finding = report.findings[0]
        hint = "fedcoin audit tells more; found the successor on a whole ledger"
        message = f"the old ledger is invalid at height {finding.height}: {finding.code} {finding.message}"
        raise LedgerInvalid(message, where=str(path), hint=hint)
    end = seen.at(report.certified_to or 0) or initial(_genesis_of(path))
    if end.queue and not refund:
        record = next(iter(end.tasks.values()))
        price = format_micro(record.escrow_micro)
        message = f"task {record.task.id[:16]} is {record.state}: {price} FedCoin are in escrow"
        hint = (
            "wait for its end; where its miners are gone, --refund gives the price back to who published it"
        )
        raise ConsensusFailure(message, where=str(path), hint=hint)
    return end


@dataclass(frozen=True, slots=True)
class Seam:
    """What a look across a seam saw: what is wrong, what was not checked, how many old blocks come after it.

    `end` is the state that was carried over, None where none was found. A finding about the old ledger itself names its
    place in the message.
    """

    findings: tuple[Finding, ...]
    skipped: tuple[str, ...] = ()
    after: int = 0
    end: State | None = field(default=None, compare=False)


def look_across(genesis: Genesis, path: Path) -> Seam:
    """Audit the ledger before a genesis, and compare its end with what the genesis mints."""
    seen = _Ends(genesis.predecessor)
    report = audit(path, _LEVEL, [*CHECKS, seen.check])
    if report.findings:
        first = report.findings[0]
        where = f"{path}, height {first.height}: {first.code} {first.message}"
        return Seam((Finding("E207", 0, 1, f"the ledger before it is invalid: {where}"),))
    old = initial(_genesis_of(path))
    end = old if old.head == genesis.predecessor else seen.named
    if end is not None and end.height > (report.certified_to or 0):
        end = None
    skipped = [*report.skipped, *unseen_seam(report.genesis)]
    after = report.height - end.height if end else 0
    return Seam(tuple(check_seam(genesis, end)), tuple(f"{path}: {text}" for text in skipped), after, end)


def unseen_seam(genesis: Genesis | None) -> list[str]:
    """What an audit of a successor alone has to leave open."""
    if genesis is None or genesis.predecessor is None:
        return []
    return [f"what the genesis mints: it follows a chain that ended with block {genesis.predecessor}"]


class _Ends:
    """States that an audit passes: the last two, and the one after the block that is looked for."""

    def __init__(self, head: BlockId | None = None) -> None:
        self.named: State | None = None
        self._head = head
        self._last: list[State] = []

    @property
    def check(self) -> Check:
        """A check that finds nothing and remembers."""
        return Check("ends", _LEVEL, self._remember)

    def at(self, height: int) -> State | None:
        """The state at one of the last two heights."""
        return next((state for state in self._last if state.height == height), None)

    def _remember(self, subject: Subject) -> Iterator[Finding]:
        self._last = [*self._last[-1:], subject.after]
        if subject.after.head == self._head:
            self.named = subject.after
        return iter(())


def _genesis_of(path: Path) -> Genesis:
    # Here, because plans bring the settings' schema with them, which an audit does not need.
    from fedcoin_cli.application.founding.plans import read_genesis

    return read_genesis(path)
