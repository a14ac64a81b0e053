"""The audit: one pass over a chain file, which may be a copy on its own; nothing is written, nothing believed.

Levels: 0 framing and form, 1 links and roots, 2 signatures, quorums and the fold. Higher layers hand in checks of
higher levels. The tip file beside the ledger is optional; without it the last block is not certified.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger_store.audit.bulk import Bulk
from ledger_store.audit.checks import CHECKS, Check, Finding, Subject
from ledger_store.base.errors import BadSignature, Malformed
from ledger_store.base.names import Address, BlockId, GenesisId
from ledger_store.base.words import VoteKind
from ledger_store.chain import Tip, start
from ledger_store.file.chain_file import TIP_NAME, TipRecord, read_chain, read_tip
from ledger_store.file.snapshot import SNAPSHOT_NAME, Snapshot, claimed, difference
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import Verify, verify_bytes
from ledger_store.state import State

_FOLD_LEVEL = 2
# How long an append of a live writer may be half in the file.
_PATIENCE_S = 0.05


@dataclass(frozen=True, slots=True)
class Span:
    """Which heights are asked for: what stands before `first` is only folded, what follows `last` is not read."""

    first: int = 1
    last: int | None = None


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit saw.

    `height` and `head` are those of the last block that passed; `blocks` says how many were asked for and did.
    `genesis` is what all of it rests on: whether that is the network that somebody means is theirs to know. None:
    the first line is not a genesis. Below level 2 no certificate is verified and nothing folded: `certified_to` and
    `balances` (address → micro) are None, the balances also after a finding. `skipped` says in words what was not
    checked.
    """

    level: int
    genesis: Genesis | None
    height: int
    head: BlockId
    certified_to: int | None
    blocks: int
    findings: tuple[Finding, ...]
    skipped: tuple[str, ...]
    balances: Mapping[Address, int] | None

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def audit(
    path: Path,
    level: int = _FOLD_LEVEL,
    extra_checks: Sequence[Check] = (),
    span: Span | None = None,
    jobs: int = 1,
    genesis_id: GenesisId | None = None,
) -> AuditReport:
    """Check a chain file up to the first finding, on `jobs` cores; raises `NotFound` and `StorageFailure` only.

    `genesis_id` names the network that this must be; None: any. (docs/adr/0023) [P-13.18]
    """
    return _Audit(path, level, extra_checks, span or Span(), genesis_id).run(jobs)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an audit stands."""

    height: int
    head: BlockId
    certified_to: int | None
    tip: Tip


class _Audit:
    """One pass: where it stands and what it found. Below level 2 the tip stays at genesis [P-13.17]."""

    def __init__(
        self, path: Path, level: int, extra_checks: Sequence[Check], span: Span, expected: GenesisId | None
    ) -> None:
        # The chain file.
        self._path = path
        # The genesis id that it must have; None: any.
        self._expected = expected
        # How deep is looked.
        self._level = level
        # Which heights are asked for.
        self._span = span
        # The checks of the level, in order.
        self._checks = [check for check in (*CHECKS, *extra_checks) if check.level <= level]
        # The first one ends the audit: what follows hangs on it.
        self._findings: list[Finding] = []
        # What was not checked, in words.
        self._skipped: list[str] = []
        # The last block that passed.
        self._height, self._head = 0, BlockId("")
        # The height to which certificates were verified; None below level 2.
        self._certified_to = 0 if level >= _FOLD_LEVEL else None
        if level >= _FOLD_LEVEL and span.first > 1:
            self._skipped.append(f"signatures and outcomes before height {span.first}: not asked for")
        # The chain so far; genesis alone below level 2.
        self._tip: Tip | None = None
        # What the snapshot beside the ledger says wrongly, told last.
        self._lie: Finding | None = None
        # What that snapshot claims, until its height is reached.
        self._snapshot: Snapshot | None = None
        # Which block stands at the tip file's height.
        self._recorded_id: BlockId | None = None  # of the block at the tip file's height

    def run(self, jobs: int) -> AuditReport:
        record = self._read_record()  # before the chain, which only grows
        lines = read_chain(self._path, _PATIENCE_S)
        self._begin(next(lines, (0, b""))[1])
        failed = self._walk_quickly(lines, record, jobs)
        if failed is not None:
            # Somewhere in that batch a signature is false: again from there, one after the other.
            self._findings.clear()
            self._height, self._head, self._certified_to = failed.height, failed.head, failed.certified_to
            self._tip = failed.tip
            lines = read_chain(self._path, _PATIENCE_S)
            rest = (line for line in lines if line[0] > failed.height)
            while (tip := self._goes_on_from) and (line := next(rest, None)):
                self._step(tip, *line, verify_bytes)
                self._compare(record)
        if self._findings:
            self._skip_rest(lines)
        elif self._wants_more:
            self._judge_tip(record)
            if self._lie is not None:
                self._findings.append(self._lie)
        else:
            self._skipped.append(f"what follows height {self._height}, its certificate too: not asked for")
        folded = self._tip is not None and self._level >= _FOLD_LEVEL and not self._findings
        return AuditReport(
            level=self._level,
            genesis=None if self._tip is None else self._tip.genesis,
            height=self._height,
            head=self._head,
            certified_to=self._certified_to,
            blocks=max(0, self._height - self._span.first + 1),
            findings=tuple(self._findings),
            skipped=tuple(self._skipped),
            balances=self._tip.state.balances if folded and self._tip else None,
        )

    def _walk_quickly(
        self, lines: Iterator[tuple[int, bytes]], record: TipRecord | Malformed | None, jobs: int
    ) -> _Place | None:
        """Walk the lines; where the first batch with a false signature begins, if one does."""
        with Bulk[_Place](jobs) as bulk:
            begun = self._place
            while (tip := self._goes_on_from) and (line := next(lines, None)):
                self._step(tip, *line, bulk.collect)
                self._compare(record)
                if bulk.full and begun is not None:
                    bulk.hand_in(begun)
                    begun = self._place
                    if (failed := bulk.failed(wait=False)) is not None:
                        return failed
            if begun is not None:
                bulk.hand_in(begun)
            return bulk.failed(wait=True)

    @property
    def _place(self) -> _Place | None:
        """None: there is no chain."""
        if self._tip is None:
            return None
        return _Place(self._height, self._head, self._certified_to, self._tip)

    @property
    def _goes_on_from(self) -> Tip | None:
        return None if self._findings or not self._wants_more else self._tip

    def _compare(self, record: TipRecord | Malformed | None) -> None:
        """Note which block stands at the tip file's height."""
        if isinstance(record, TipRecord) and record.height == self._height:
            self._recorded_id = self._head

    def _compare_snapshot(self, folded: State) -> None:
        """No audit believes a snapshot; that one lies here which differs is worth knowing, so it comes last."""
        if self._snapshot is not None and self._snapshot.state.height == folded.height:
            said = difference(self._snapshot, folded)
            if said is not None:
                reason = f"{said}; no miner but its own believes it: delete it"
                self._lie = Finding("E304", folded.height, None, reason, SNAPSHOT_NAME)
            self._snapshot = None

    @property
    def _wants_more(self) -> bool:
        return self._span.last is None or self._height < self._span.last

    # Rule [P-13.20].
    def _begin(self, line: bytes) -> None:
        try:
            genesis = Genesis.from_line(line.removesuffix(b"\n"))
        except Malformed as error:
            self._findings.append(Finding("E100", 0, 1, error.message))
            return
        if not line.endswith(b"\n"):
            self._findings.append(Finding("E101", 0, 1, "the line has no end"))
            return
        self._tip, self._head = start(genesis), genesis.id
        if self._level >= _FOLD_LEVEL:
            self._snapshot = claimed(self._path.parent, genesis)
        if self._expected not in {None, genesis.id}:
            reason = f"this is {genesis.network!r}, genesis {genesis.id}, and not {self._expected}"
            self._findings.append(Finding("E105", 0, 1, reason))

    def _step(self, tip: Tip, height: int, raw: bytes, verify: Verify) -> None:
        trusted = height < self._span.first
        subject = Subject(height, raw, self._head, tip, trusted, verify)
        for check in self._checks:
            if trusted and check.level > _FOLD_LEVEL:
                break
            self._findings.extend(check.run(subject))
            if self._findings:
                return
        self._height, self._head = height, subject.block.id
        if self._level >= _FOLD_LEVEL:
            self._tip = Tip(subject.after)
            self._compare_snapshot(subject.after)
            if not trusted:
                self._certified_to = height - 1

    def _skip_rest(self, lines: Iterator[tuple[int, bytes]]) -> None:
        """Say that more stands behind the finding; not how much, for a file may go on for ever."""
        if next(lines, None) is not None:
            height = self._findings[0].height + 1
            self._skipped.append(f"heights {height} and on: they hang on what was altered")

    def _read_record(self) -> TipRecord | Malformed | None:
        try:
            return read_tip(self._path.with_name(TIP_NAME))
        except Malformed as error:
            return error

    def _judge_tip(self, record: TipRecord | Malformed | None) -> None:
        if isinstance(record, Malformed):
            self._findings.append(Finding("E104", self._height, None, record.message))
        elif (record.height if record else 0) < self._height:
            reason = "the tip file is behind" if record else f"no {TIP_NAME} beside the ledger"
            self._skipped.append(f"the certificate of height {self._height}: {reason}")
        if isinstance(record, TipRecord) and self._level > 0:
            self._findings.extend(self._judge_record(record))

    def _judge_record(self, record: TipRecord) -> Iterator[Finding]:
        if record.height > self._height:
            reason = f"the ledger ends at height {self._height}, the tip file at {record.height}"
            yield Finding("E206", self._height + 1, None, reason)
        elif record.id != self._recorded_id:
            yield Finding("E206", record.height, None, "the tip file names another block of this height")
        elif record.height == self._height and self._level >= _FOLD_LEVEL and self._tip is not None:
            try:
                record.certificate.check(self._tip.genesis, VoteKind.FINAL, self._height, self._head)
                self._certified_to = self._height
            except BadSignature as error:
                yield Finding("E302", self._height, None, error.message)
