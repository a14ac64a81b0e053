"""Write the books as CSV, JSON, Beancount or hledger.

The entries are `ledger_store.bookkeeping.journal`'s, the formats `ledger_store.bookkeeping.export`'s.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.output import counted
from fedcoin_cli.cli.views.opened_books import File, open_books


class Format(StrEnum):
    """What is written."""

    csv = "csv"
    json = "json"
    beancount = "beancount"
    hledger = "hledger"


# A name's ending says the format, where the option does not.
_BY_ENDING = {f".{form}": form for form in Format} | {".journal": Format.hledger}
EXAMPLES = (
    ("fedcoin export -o books.journal", "a journal that hledger checks"),
    ("fedcoin export --format csv", "a line a posting, on standard output"),
)


def run(
    call: Call,
    file: File = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format", help="What to write; default: by FILE's ending (.journal: hledger), else csv."
        ),
    ] = None,
    account: Annotated[
        str | None, typer.Option(metavar="WHO", help="One party's book: a key's name or an address.")
    ] = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", metavar="DATE", formats=["%Y-%m-%d"], help="From this day on, in UTC."),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option("--to", metavar="DATE", formats=["%Y-%m-%d"], help="To this day's end, in UTC."),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; default: standard output."),
    ] = None,
) -> None:
    """Write the books as CSV, JSON, Beancount or hledger.

    Every transaction that moved coins is an entry that sums to zero for each party: coins and prices in escrow are
    assets, what training, mining, serving and transfers brought is income, tasks and transfers are expenses. With
    --account it is one party's book alone; with --from what was before is in an opening entry. CSV has a row a
    change, for a spreadsheet to filter. The two journals assert every balance at the end: `bean-check FILE` and
    `hledger check --strict -f FILE` verify them, `hledger is`, `bs` and `reg` read them. Equal ledgers and names give
    equal bytes.
    """
    from ledger_store.base.disk import put_in_place, refusals, stage
    from ledger_store.base.errors import NotFound
    from ledger_store.bookkeeping.export import FORMATS
    from ledger_store.bookkeeping.journal import entries, excerpt

    form = form or _BY_ENDING.get("" if target is None else target.suffix.lower(), Format.csv)
    if call.output.as_json and target is None and form is not Format.json:
        raise typer.BadParameter(f"--json prints one JSON object: add -o FILE, or --format json to {form}")
    with open_books(call, file) as opened:
        books, names = opened.books, opened.names
        party = None if account is None else opened.account(account)
        whole = entries(books.state.genesis, books.blocks())
        journal = excerpt(whole, party, _begin_ms(first, 0), _begin_ms(last, 1))
        if not journal:
            raise NotFound(
                "no coin moved there then", where=str(books.path), hint="leave out --from and --to"
            )
        height = books.height
    text = FORMATS[form](journal, names.known)
    if target is None:
        typer.echo(text, nl=False)
        return
    with refusals(target):
        put_in_place(stage(target, text.encode()), target)
    data = {"file": str(target), "format": form.value, "height": height, "entries": len(journal)}
    call.output.answer(data, [f"{target}: {counted(len(journal), 'entry').replace('entrys', 'entries')}"])


def _begin_ms(day: datetime | None, later: int) -> int | None:
    """When the day that is `later` days after this one begins, in UTC."""
    if day is None:
        return None
    return int((day.replace(tzinfo=UTC) + timedelta(days=later)).timestamp() * 1000)
