"""Ledgers of anybody: audited, and single payments proven and verified. No workspace and no network is needed."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import Any, Self

from fedcoin.settlements import coins
from fedcoin_cli.application.auditing.full_audit import SAMPLE, AuditPlan, Recomputed, audit_ledger, reached
from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.books.proofs import proof_of
from fedcoin_cli.application.founding.old_chain import ledger_of, unseen_seam
from fedcoin_cli.application.rounds.past_files import evidence
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.audit.checks import Finding
from ledger_store.audit.inclusion import PROOF_BYTES_MAX, read_inclusion
from ledger_store.base.errors import LedgerInvalid, NotFound, NoWorkspace, RoundFilesInvalid, SettingsError
from ledger_store.base.names import BlockId, GenesisId

__all__ = ["Audit", "Payment", "Proven", "audit", "prove", "verify"]

_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit saw. It is true or false as `ok` is.

    Attributes:
        ledger: the file that was read.
        genesis: the network's id, on which all of it rests; None where the first line is not a genesis.
        level: how deep the audit got: 3 where files or time were missing for the 4 that was asked for.
        height: the last block that passed, and `head` its id.
        head: compare both with somebody else's: a ledger cut between two blocks looks like a shorter one.
        certified_to: up to which height certificates were verified; None below level 2.
        findings: what is wrong, each with `code`, `height`, `line`, `message` and `file`.
        skipped: in words, what was not looked at.
        balances: coins by address after the last block; empty below level 2 and after a finding.
        recomputed: how many results, tables and counts level 4 computed again.
    """

    ledger: Path
    genesis: str | None
    level: int
    asked_level: int
    height: int
    head: str
    certified_to: int | None
    findings: tuple[Finding, ...]
    skipped: tuple[str, ...]
    balances: Mapping[str, Decimal]
    recomputed: Recomputed

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __bool__(self) -> bool:
        """As `ok`."""
        return self.ok

    def check(self) -> Self:
        """Itself; raises `LedgerInvalid` for a finding, `RoundFilesInvalid` where the level was not reached."""
        if self.findings:
            first = self.findings[0]
            message = f"at height {first.height}: {first.code} {first.message}"
            raise LedgerInvalid(message, where=str(self.ledger), hint="ask another miner for its chain.jsonl")
        if self.level < self.asked_level:
            done = f"{self.recomputed.results} of {self.recomputed.of_results} results"
            hint = "files= names folders with the rounds' files, seconds= gives each task more time"
            raise RoundFilesInvalid(f"{done} could be recomputed", where=str(self.ledger), hint=hint)
        return self


@dataclass(frozen=True, slots=True)
class Payment:
    """Coins that went to an address, and what for: "client 3", "FL server", "miner", "returned", "transfer"."""

    purpose: str
    to: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof shows: a transaction in a block which a quorum of the genesis' miners certified.

    Attributes:
        genesis: the network's id.
        height: the block's height.
        block: the block's id.
        time_ms: the block's time, in milliseconds since 1970.
        certified_by: addresses of the miners that signed.
        payments: who got how much by it.
        transaction: the transaction as it is in the block.
    """

    genesis: str
    height: int
    block: str
    time_ms: int
    certified_by: tuple[str, ...]
    payments: tuple[Payment, ...]
    transaction: Mapping[str, Any]


def audit(
    ledger: str | Path,
    *,
    level: int = 3,
    genesis: str | None = None,
    files: Sequence[str | Path] = (),
    sample: int | None = SAMPLE,
    seconds: float | None = None,
    jobs: int | None = None,
) -> Audit:
    """Verify a ledger offline: 0 form, 1 links, 2 signatures and balances, 3 every settlement, 4 the counts again.

    Args:
        ledger: a chain file, the folder that holds one, or a workspace, whose longest is taken.
        level: how deep to look, 0 to 4.
        genesis: the id of the network that is meant; without it a perfect ledger of any network passes.
        files: level 4: folders with the rounds' files and tables, beside the workspace's own store.
        sample: level 4: counts drawn from each table; None recomputes every count.
        seconds: level 4: time for each task; default: 600 (60 for one that paid nothing), no end without a sample.
        jobs: cores; default: all.

    Returns:
        What was seen; `check()` raises where something is wrong.

    Raises:
        NotFound: no such ledger or folder.
        SettingsError: there is no such level.
    """
    if level not in range(_DEEPEST + 1):
        raise SettingsError(f"there is no level {level}", where="level", hint=f"0 to {_DEEPEST}")
    path, folders = ledger_of(Path(ledger)), [Path(folder) for folder in files]
    allowed = inf if sample is None and seconds is None else seconds
    network = None if genesis is None else GenesisId(BlockId(genesis))
    plan = AuditPlan(
        level, sample=sample, jobs=jobs or os.cpu_count() or 1, genesis_id=network, seconds=allowed
    )
    report, done = audit_ledger(path, plan, evidence(_workspace_around(path), folders).find)
    unseen = () if report.genesis is None else unseen_seam(report.genesis)
    return Audit(
        ledger=path,
        genesis=None if report.genesis is None else report.genesis.id,
        level=level if reached(report, done) else _DEEPEST - 1,
        asked_level=level,
        height=report.height,
        head=report.head,
        certified_to=report.certified_to,
        findings=report.findings,
        skipped=(*report.skipped, *unseen),
        balances={address: coins(micro) for address, micro in (report.balances or {}).items()},
        recomputed=done,
    )


def prove(ledger: str | Path, what: str) -> bytes:
    """A proof for somebody who holds no ledger: of a transfer, or of what a task came to, with its payments.

    Args:
        ledger: a chain file, the folder that holds one, or a workspace.
        what: the id of a task or transaction, or its beginning.

    Returns:
        One line of bytes that `verify` and `fedcoin verify` read.

    Raises:
        NotFound: no such ledger, or nothing of that id in it.
    """
    with Books.read(ledger_of(Path(ledger))) as books:
        return proof_of(books, what).to_bytes()


def verify(proof: bytes | str | Path, genesis: str) -> Proven:
    """Check a proof against the network that you mean; no ledger is needed.

    Args:
        proof: the bytes that `prove` gave, or a file of them.
        genesis: the id of the network, from somebody whom you trust.

    Raises:
        FedCoinError: the proof is of another network, or proves nothing.
        NotFound: no such file.
    """
    inclusion = read_inclusion(proof if isinstance(proof, bytes) else _read(Path(proof)))
    inclusion.check(GenesisId(BlockId(genesis)))
    return Proven(
        genesis=inclusion.genesis.id,
        height=inclusion.header.height,
        block=inclusion.header.id,
        time_ms=inclusion.header.time_ms,
        certified_by=tuple(inclusion.genesis.roster[index] for index, _ in inclusion.certificate.signatures),
        payments=tuple(Payment(one.purpose, one.to, coins(one.micro)) for one in inclusion.payments()),
        transaction=inclusion.transaction.to_json(),
    )


def _workspace_around(path: Path) -> Workspace | None:
    """The workspace that a ledger is in, whose store may hold the rounds' files."""
    for folder in path.resolve().parents:
        try:
            return Workspace.find(folder)
        except NoWorkspace:
            continue
    return None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(PROOF_BYTES_MAX + 1)
    except OSError as error:
        hint = "fedcoin.prove gives one, and fedcoin show --proof ID -o FILE"
        raise NotFound("no such proof", where=str(path), hint=hint) from error
