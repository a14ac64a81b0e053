"""Write the ledger as one HTML page, with pictures.

What is shown is `application.reasons.overview`'s business, how it looks `cli.page.report_page`'s.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.output import counted
from fedcoin_cli.cli.views.opened_books import File, open_books

if TYPE_CHECKING:
    from fedcoin_cli.application.reasons.overview import Overview
    from fedcoin_cli.application.workspace.address_names import Names

_NEWEST = 5


EXAMPLES = (("fedcoin report -o shop.html", "the newest tasks as one page"),)


def run(
    call: Call,
    target: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.html", help="The page.")],
    file: File = None,
    convergence: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Write the miners' convergence as numbers, too."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="Show this task in full; may be repeated.  [default: the newest five]"
        ),
    ] = None,
) -> None:
    """Write the ledger as one HTML page, with pictures.

    The page needs no script, fetches nothing, and looks well in light, in dark and on paper. It is made from the
    ledger, and from tables and round files where this workspace keeps them: error bars and the miners' convergence
    need those. Equal ledgers, files and names give equal bytes. The exit code is 5 when its audit has findings; the
    page is written all the same, and says so.
    """
    from fedcoin_cli.application.reasons.overview import overview
    from fedcoin_cli.cli.page.report_page import page
    from ledger_store.base.disk import put_in_place, refusals, stage
    from ledger_store.base.errors import LedgerInvalid

    with open_books(call, file) as opened:
        view = overview(opened.books, opened.place, task or (), _NEWEST)
    text = page(view, opened.names).encode()
    files = {target: text}
    if convergence is not None:
        files[convergence] = "\n".join(_convergence(view, opened.names)).encode() + b"\n"
    for path, data in files.items():
        with refusals(path):
            put_in_place(stage(path, data), path)
    shown = [picture.report.task_id for picture in view.pictures]
    told = {"file": str(target), "height": view.height, "tasks": shown, "audit_ok": view.audit.ok}
    verdict = "audit ok" if view.audit.ok else "the audit has findings"
    line = f"{target}: {counted(len(shown), 'task')} in full, {len(text) / 1e3:.0f} kB, {verdict}"
    call.output.answer(told, [line])
    if not view.audit.ok:
        found = view.audit.findings[0]
        message = f"the audit of this ledger has findings, the first at height {found.height}: {found.code}"
        raise LedgerInvalid(
            message, where=str(target), hint="fedcoin audit tells more; the page shows it, too"
        )


def _convergence(view: "Overview", names: "Names") -> Iterator[str]:
    """A line a point of the convergence figures; the distance is that to the agreed values."""
    yield "task,miner,rankings,distance_pp"
    for picture in view.pictures:
        for miner, walk in picture.walks.items():
            name = names.known(miner) or miner
            for rankings, distance in walk:
                yield f"{picture.report.task_id},{name},{rankings},{distance:.9f}"
