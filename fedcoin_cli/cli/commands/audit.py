"""Verify a ledger offline: form, links, signatures, payments.

The checks are `ledger_store.checks` (levels 0 to 2) and `contract.audit` (level 3).
"""

import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.options import Call
from fedcoin_cli.cli.output import counted

if TYPE_CHECKING:
    from ledger_store.audit import AuditReport


def run(
    call: Call,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A ledger or its folder; default: the longest here."),
    ] = None,
    level: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=3, help="How deep to look.  [default: 3]")
    ] = None,
) -> None:
    """Verify a ledger offline: form, links, signatures, payments.

    Level 0 reads every line, 1 follows links and roots, 2 verifies all signatures and certificates and folds
    the balances, 3 computes every settlement again from what was revealed. Nothing is written and no miner is
    asked. A ledger cut at the end of a block cannot be told from a shorter one: compare height and head with
    somebody else's. The exit code is 5 when something is wrong.
    """
    from fedcoin_cli.contract.audit import CHECKS
    from ledger_store.audit import audit
    from ledger_store.errors import LedgerInvalid

    path = _path(call, file)
    start_s = time.perf_counter()
    report = audit(path, 3 if level is None else level, CHECKS)
    seconds = time.perf_counter() - start_s
    call.output.answer(_data(path, report, seconds), _lines(path, report, seconds))
    if not report.ok:
        finding = report.findings[0]
        message = f"{counted(len(report.findings), 'finding')}, the first at height {finding.height}: {finding.code}"
        hint = (
            "compare it with another miner's ledger: fedcoin audit FILE; fedcoin repair completes a local one"
        )
        raise LedgerInvalid(message, where=str(path), hint=hint)


def _path(call: Call, file: Path | None) -> Path:
    from fedcoin_cli.application.books.books import ledgers
    from ledger_store.jsonl import CHAIN_NAME

    if file is None:
        return ledgers(call.workspace())[0] / CHAIN_NAME
    return file / CHAIN_NAME if file.is_dir() else file


def _data(path: Path, report: "AuditReport", seconds: float) -> dict[str, object]:
    return {
        "ledger": str(path),
        "ok": report.ok,
        "level": report.level,
        "height": report.height,
        "head": report.head,
        "blocks": report.blocks,
        "certified_to": report.certified_to,
        "findings": [
            {"code": one.code, "height": one.height, "line": one.line, "message": one.message}
            for one in report.findings
        ],
        "skipped": list(report.skipped),
        "seconds": Decimal(f"{seconds:.3f}"),
    }


def _lines(path: Path, report: "AuditReport", seconds: float) -> list[str]:
    rate = f", {report.blocks / seconds:.0f} blocks a second" if report.blocks else ""
    certified = (
        "not looked at below level 2" if report.certified_to is None else f"to height {report.certified_to}"
    )
    lines = [
        f"ledger     {path}",
        f"height     {report.height}",
        f"head       {report.head}",
        f"certified  {certified}",
        *(f"skipped    {text}" for text in report.skipped),
        "",
    ]
    if report.ok:
        return [*lines, f"audit ok: {counted(report.blocks, 'block')}, level {report.level}{rate}"]
    places = ("the tip file" if one.line is None else f"line {one.line}" for one in report.findings)
    return [
        *lines,
        *(
            f"{one.code}  height {one.height}, {place}: {one.message}"
            for one, place in zip(report.findings, places, strict=True)
        ),
    ]
