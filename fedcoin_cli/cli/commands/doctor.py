"""Check this machine and workspace for what stands in the way.

What is checked is `application.diagnosis`' business.
"""

from typing import TYPE_CHECKING

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.output import counted
from ledger_store.base.errors import NoWorkspace

if TYPE_CHECKING:
    from fedcoin_cli.application.diagnosis.finding import CheckFinding

_MARKS = {"ok": "✓", "note": "–", "bad": "✗"}


EXAMPLES = (("fedcoin doctor", "this machine, and the workspace where there is one"),)


def run(call: Call) -> None:
    """Check this machine and workspace for what stands in the way.

    Nothing is changed and no miner is asked; `fedcoin status` asks them, `fedcoin audit` verifies the ledger. What
    lacks but is not needed by everybody is a note. The exit code is that of the first thing that will not work.
    """
    from fedcoin_cli.application.diagnosis.finding import BAD

    findings = _findings(call)
    data = [
        {"check": one.name, "state": one.state, "said": one.said, "hint": one.hint or None}
        for one in findings
    ]
    lines = [line for one in findings for line in _lines(one)]
    bad = [one for one in findings if one.state == BAD]
    verdict = f"{counted(len(bad), 'thing')} will not work" if bad else "nothing is in the way"
    call.output.answer({"ok": not bad, "checks": data}, [*lines, "", verdict])
    if bad:
        raise typer.Exit(bad[0].code)


def _findings(call: Call) -> "list[CheckFinding]":
    from fedcoin_cli.application.diagnosis import machine, workspace_checks
    from fedcoin_cli.application.diagnosis.finding import NOTE, CheckFinding

    found = [check() for check in machine.CHECKS]
    try:
        workspace = call.workspace()
    except NoWorkspace as error:
        if call.folder is not None:
            raise
        return [
            *found,
            CheckFinding("workspace", NOTE, "none here: only the machine was checked", error.hint),
        ]
    return [*found, *(check(workspace) for check in workspace_checks.CHECKS)]


def _lines(one: "CheckFinding") -> list[str]:
    lines = [f"{_MARKS[one.state]} {one.name:9} {one.said}"]
    return [*lines, f"  {'':9} hint: {one.hint}"] if one.hint else lines
