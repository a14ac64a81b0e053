"""Verify a ledger offline, from its form to every payment.

The checks are `audit.checks` (levels 0 to 2), `contract.outcome_check` (3) and `learning.recomputation` (4).
"""

import os
import shlex
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.output import counted, dumps
from fedcoin_cli.cli.program.passphrases import PassphraseFile
from fedcoin_cli.cli.views.genesis_id import checked_genesis
from ledger_store.base.amount import format_micro

if TYPE_CHECKING:
    from fedcoin_cli.application.auditing.full_audit import AuditPlan, AuditWatch, Find, Recomputed
    from fedcoin_cli.application.workspace.workspace import Workspace
    from ledger_store.audit.audit import AuditReport
    from ledger_store.audit.checks import Finding
    from ledger_store.base.names import GenesisId
    from ledger_store.genesis import Genesis

_RECOMPUTE = 4


EXAMPLES = (
    ("fedcoin audit", "the longest ledger of this workspace"),
    ("fedcoin audit ledger/ --genesis $GENESIS", "a copied ledger of the network with that id"),
    ("fedcoin audit --level 4 --all -o audit.json", "every count again from the rounds' files"),
)


def run(  # noqa: PLR0913, PLR0917 -- one parameter an option
    call: Call,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A ledger or its folder; default: the longest here."),
    ] = None,
    level: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=4, help="How deep to look.  [default: 3]")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Level 4: counts drawn from each table.  [default: 64]"),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Level 4: recompute every count.")] = False,
    time_s: Annotated[
        int | None,
        typer.Option(
            "--seconds",
            metavar="N",
            min=0,
            help="Level 4: time for each task.  [default: 600, free ones 60; --all: no end]",
        ),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--files", metavar="DIR", help="Level 4: more files of rounds, by any name."),
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Level 4: ask miners for files not here.")] = False,
    key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who fetches: a key's name; default: requester.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    first: Annotated[
        int | None, typer.Option("--from", metavar="H", min=1, help="Fold the blocks before H, no more.")
    ] = None,
    last: Annotated[int | None, typer.Option("--to", metavar="H", min=0, help="Stop after H.")] = None,
    previous: Annotated[
        Path | None,
        typer.Option(
            metavar="OLD", help="A successor's: look across the seam at the ledger or workspace before."
        ),
    ] = None,
    genesis: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The network's genesis id; default, without FILE: the workspace's."),
    ] = None,
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Cores; default: all.")] = None,
    report_file: Annotated[
        Path | None, typer.Option("-o", metavar="FILE", help="Write the report there as JSON, too.")
    ] = None,
) -> None:
    """Verify a ledger offline, from its form to every payment.

    Level 0 reads every line, 1 follows links and roots, 2 verifies all signatures and certificates and folds
    the balances, 3 computes every settlement again from what was revealed. Level 4 reads the rounds' files and the
    miners' tables, from the workspace's store, --files or --fetch: sums exactly from each table, and counts in
    float64: the heaviest, all on which miners disagree, and a secret sample (or --all). A task that takes longer than
    --seconds is left, and not called recomputed.

    With --previous the ledger before a successor's is audited as well: the genesis must name a certified block of
    it and mint exactly the balances there, what was in escrow going back to who had put it there.

    What was not checked is listed as skipped. No ledger is written, and without --fetch no miner is asked. All
    rests on the genesis: anybody can make a perfect ledger of another network, so know the id of the one that you
    mean. A ledger cut at the end of a block cannot be told from a shorter one: compare height and head with somebody
    else's. The exit code is 5 when something is wrong; the manual page lists the codes of findings. It is 13 when
    nothing is, but --level 4 lacked files or time and could not recompute every result: only level 3 is reached then.
    """
    from fedcoin_cli.application.auditing.full_audit import SAMPLE, AuditPlan, audit_ledger, reached
    from ledger_store.base.errors import LedgerInvalid, NotFound, RoundFilesInvalid

    deep = everything or fetch or sample is not None or time_s is not None or bool(files)
    level = (_RECOMPUTE if deep else 3) if level is None else level
    if deep and level < _RECOMPUTE:
        raise typer.BadParameter("--sample, --all, --seconds, --files and --fetch belong to --level 4")
    if everything and sample is not None:
        raise typer.BadParameter("--all leaves nothing to --sample")
    if report_file is not None and not report_file.absolute().parent.is_dir():
        raise NotFound("no such folder", where=str(report_file.parent))
    drawn = None if everything else SAMPLE if sample is None else sample
    meant = checked_genesis(genesis) or (_genesis_here(call) if file is None else None)
    allowed_s = inf if everything and time_s is None else time_s
    plan = AuditPlan(level, first or 1, last, drawn, jobs or os.cpu_count() or 1, meant, allowed_s)
    path = _path(call, file)
    start_s = time.perf_counter()
    find = _find(call, plan, files or [])
    if fetch:
        _fetch(call, call.workspace(passphrase_file), path, plan, key, find)
    with _Bars(call) as watch:
        report, recomputed = audit_ledger(path, plan, find, watch)
    if report.ok and plan.first > max(report.height, 1):
        raise NotFound(
            f"the ledger ends at height {report.height}", where=str(path), hint="choose a lower --from"
        )
    seam = None
    if report.ok and report.genesis:
        report, seam = _across_the_seam(report, report.genesis, previous)
        report = replace(report, skipped=(*report.skipped, *_open_question(call, report, plan)))
    seconds = time.perf_counter() - start_s
    data = _data(path, report, recomputed, seconds) | ({} if seam is None else {"seam": seam})
    call.output.answer(data, _lines(path, report, recomputed, seam, seconds))
    if report_file is not None:
        report_file.write_text(dumps({"schema": 1, **data}) + "\n")
    if not report.ok:
        finding = report.findings[0]
        message = f"{counted(len(report.findings), 'finding')}, the first at height {finding.height}: {finding.code}"
        raise LedgerInvalid(message, where=str(path), hint=_remedy(call, path))
    if not reached(report, recomputed):
        message = f"level 4 was asked for, and {_done(recomputed)} recomputed"
        hint = "--fetch asks the miners for the files that lack, --files DIR names more of them"
        if recomputed.late:
            hint = "--seconds N gives each task more time, --from H and --to H choose some of them"
        raise RoundFilesInvalid(message, where=str(path), hint=hint)


def sections() -> list[tuple[str, list[tuple[str, str]]]]:
    """The manual page's table of codes."""
    from fedcoin_cli.application.auditing.codes import codes
    from ledger_store.audit.succession import SEAM_CODES

    findings = [(one.code, f"{one.meaning} (level {one.level})") for one in codes()]
    findings += [(code, f"{meaning} (--previous)") for code, meaning in SEAM_CODES.items()]
    return [("FINDINGS", sorted(findings))]


def _remedy(call: Call, path: Path) -> str:
    """Where a right copy of these blocks may be had."""
    from fedcoin_cli.application.books.books import ledgers
    from ledger_store.base.errors import FedCoinError

    compare = f"fedcoin compare {shlex.quote(str(path.parent))} OTHER tells where it parts from another's"
    try:
        here = path.parent.resolve() in [one.resolve() for one in ledgers(call.workspace())]
    except FedCoinError:
        here = False
    if here:
        return f"{compare}; fedcoin repair completes it from the ledgers here, --from FOLDER from another"
    return f"{compare}; ask a miner for its chain.jsonl"


def _across_the_seam(
    report: "AuditReport", genesis: "Genesis", previous: Path | None
) -> "tuple[AuditReport, dict[str, object] | None]":
    """The report with what a look at the ledger before it finds, and what that was; or that nobody looked."""
    from fedcoin_cli.application.founding.old_chain import ledger_of, look_across, unseen_seam

    if previous is None:
        return replace(report, skipped=(*report.skipped, *unseen_seam(genesis))), None
    old = ledger_of(previous)
    seam = look_across(genesis, old)
    left = [f"{counted(seam.after, 'block')} of {old} after the seam: not carried over"] if seam.after else []
    seen: dict[str, object] = {"ledger": str(old), "block": genesis.predecessor}
    if seam.end is not None:
        supply = sum(micro for _, micro in genesis.supply)
        seen |= {"height": seam.end.height, "minted": format_micro(supply)}
        seen |= {"accounts": len(genesis.supply), "queued": len(seam.end.queue), "after": seam.after}
    return replace(report, findings=seam.findings, skipped=(*report.skipped, *seam.skipped, *left)), seen


def _seam_lines(seam: dict[str, object] | None, *, ok: bool) -> list[str]:
    """What was found across the seam, where that is good."""
    if seam is None or not ok:
        return []
    queued = f", {seam['queued']} unfinished tasks' prices returned" if seam["queued"] else ""
    minted = f"{seam['accounts']} accounts begin with its final balances, {seam['minted']} FedCoin in all"
    return [f"previous   {seam['ledger']}: audited; block {seam['height']} is named; {minted}{queued}"]


def _genesis_here(call: Call) -> "GenesisId | None":
    """The id of the network whose workspace this is."""
    from ledger_store.base.errors import NoWorkspace

    try:
        return call.workspace().genesis().id
    except NoWorkspace:
        return None


def _open_question(call: Call, report: "AuditReport", plan: "AuditPlan") -> list[str]:
    """Which network somebody means, only they know."""
    found = "" if report.genesis is None else report.genesis.id
    if found in {plan.genesis_id, _genesis_here(call)}:
        return []
    return [f"whether {found} is the network that you mean: --genesis ID tells"]


def _path(call: Call, file: Path | None) -> Path:
    from fedcoin_cli.application.books.books import ledgers
    from ledger_store.file.chain_file import CHAIN_NAME

    if file is None:
        return ledgers(call.workspace())[0] / CHAIN_NAME
    return file / CHAIN_NAME if file.is_dir() else file


# Level 4 --------------------------------------------------------------------------------------------------------


def _find(call: Call, plan: "AuditPlan", folders: list[Path]) -> "Find":
    """Where files are looked for."""
    from fedcoin_cli.application.rounds.past_files import evidence
    from ledger_store.base.errors import NoWorkspace

    if plan.level < _RECOMPUTE:
        return lambda _: None
    # Threads share the work already; NumPy's own would only be in their way.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        return evidence(call.workspace(), folders).find
    except NoWorkspace:
        return evidence(None, folders).find


def _fetch(
    call: Call, workspace: "Workspace", path: Path, plan: "AuditPlan", key: str | None, find: "Find"
) -> None:
    """Bring files that are not here into the store."""
    from fedcoin_cli.application.auditing.full_audit import read_ledger
    from fedcoin_cli.application.auditing.missing_files import parcels
    from fedcoin_cli.application.requester.fetching import fetch
    from fedcoin_cli.application.workspace.workspace import REQUESTER
    from fedcoin_cli.cli.program.progress import progress

    report, results = read_ledger(path, plan)
    if not report.ok:
        return  # the audit itself will say what is wrong
    wanted = parcels(results, workspace.genesis().bounds, find)
    total = sum(len(parcel.digests) for parcel in wanted)
    with progress(call.output, "fetching", total, "files") as step:
        failed = fetch(workspace, workspace.key(key or REQUESTER), wanted, step) if wanted else {}
    for digest, reason in failed.items():
        call.output.detail(f"{digest[:16]}: {reason}")


class _Bars:
    """One bar a task, as long as there is one at work."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._stack = ExitStack()
        self._title = ""
        self._show: Callable[[int], None] = lambda _: None

    def begin(self, task_id: str, number: int, of: int) -> None:
        self._title = f"task {number} of {of} ({task_id[:12]})"
        self._stack.close()

    def step(self, done: int, total: int) -> None:
        from fedcoin_cli.cli.program.progress import progress

        if done == 0:
            self._stack.close()
            bar = progress(self._call.output, self._title, total, "coalitions")
            self._show = self._stack.enter_context(bar)
        self._show(done)

    def __enter__(self) -> "AuditWatch":
        from fedcoin_cli.application.auditing.full_audit import AuditWatch

        return AuditWatch(self.begin, self.step)

    def __exit__(self, *_: object) -> None:
        self._stack.close()


# Words ----------------------------------------------------------------------------------------------------------


def _data(path: Path, report: "AuditReport", recomputed: "Recomputed", seconds: float) -> dict[str, object]:
    from fedcoin_cli.application.auditing.full_audit import reached

    names = ("code", "height", "line", "message", "file")
    done = {name: getattr(recomputed, name) for name in recomputed.__slots__}
    return {
        "ledger": str(path),
        "network": None if report.genesis is None else report.genesis.network,
        "genesis": None if report.genesis is None else report.genesis.id,
        "ok": report.ok,
        "level": report.level if reached(report, recomputed) else _RECOMPUTE - 1,
        "asked_level": report.level,
        "height": report.height,
        "head": report.head,
        "blocks": report.blocks,
        "certified_to": report.certified_to,
        "findings": [{name: getattr(one, name) for name in names} for one in report.findings],
        "skipped": list(report.skipped),
        **({"recomputed": done} if report.level >= _RECOMPUTE else {}),
        "seconds": Decimal(f"{seconds:.3f}"),
    }


def _lines(
    path: Path,
    report: "AuditReport",
    recomputed: "Recomputed",
    seam: dict[str, object] | None,
    seconds: float,
) -> list[str]:
    certified = (
        "not looked at below level 2" if report.certified_to is None else f"to height {report.certified_to}"
    )
    genesis = "none" if report.genesis is None else f"{report.genesis.network}, genesis {report.genesis.id}"
    lines = [
        f"ledger     {path}",
        f"network    {genesis}",
        f"height     {report.height}",
        f"head       {report.head}",
        f"certified  {certified}",
        *_recomputed_lines(report, recomputed),
        *_seam_lines(seam, ok=report.ok),
        *(f"skipped    {text}" for text in report.skipped),
        "",
    ]
    if not report.ok:
        return [*lines, *map(_finding_line, report.findings)]
    from fedcoin_cli.application.auditing.full_audit import reached

    rate = f", {report.blocks / seconds:.0f} blocks a second" if report.blocks and report.level < 4 else ""
    if not reached(report, recomputed):
        verdict = f"audit ok: {counted(report.blocks, 'block')}, to level 3 of the {report.level} asked for"
        return [*lines, f"{verdict}: {_done(recomputed)} recomputed"]
    return [*lines, f"audit ok: {counted(report.blocks, 'block')}, level {report.level}{rate}"]


def _done(done: "Recomputed") -> str:
    return f"{done.results} of {counted(done.of_results, 'result')} could be"


def _recomputed_lines(report: "AuditReport", done: "Recomputed") -> list[str]:
    if report.level < _RECOMPUTE:
        return []
    results, tables = counted(done.of_results, "result"), counted(done.of_tables, "table")
    whole = f"{done.results} of {results}, {done.tables} of {tables}"
    return [f"recomputed {whole}, {done.counts} of the {done.of_counts} counts in them"]


def _finding_line(finding: "Finding") -> str:
    place = f"line {finding.line}"
    if finding.line is None:
        place = "the tip file" if finding.file is None else "beside the ledger"
    file = "" if finding.file is None else f" ({finding.file})"
    return f"{finding.code}  height {finding.height}, {place}: {finding.message}{file}"
