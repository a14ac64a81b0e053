"""Write the books as CSV, JSON, Beancount or hledger.

The entries are `ledger_store.journal`'s, the formats `ledger_store.export`'s.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.options import Call
from fedcoin_cli.cli.output import counted


class Format(StrEnum):
    """What is written."""

    csv = "csv"
    json = "json"
    beancount = "beancount"
    hledger = "hledger"


EXAMPLES = (
    ("fedcoin export --format hledger -o books.journal", "a journal that hledger checks"),
    ("fedcoin export --format csv", "a line a posting, on standard output"),
)


def run(
    call: Call,
    form: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.csv,
    target: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; default: standard output."),
    ] = None,
) -> None:
    """Write the books as CSV, JSON, Beancount or hledger.

    Every transaction that moved coins is an entry whose postings sum to zero, prices in escrow included. The two
    journals assert every account's balance at the end: `bean-check FILE` and `hledger check --strict -f FILE` verify
    them. Equal ledgers and names give equal bytes.
    """
    from fedcoin_cli.application.workspace.names import Names
    from fedcoin_cli.cli.opened_books import open_books
    from ledger_store.disk import put_in_place, refusals, stage
    from ledger_store.export import FORMATS
    from ledger_store.journal import entries

    if call.output.as_json and target is None and form is not Format.json:
        raise typer.BadParameter(f"--json prints one JSON object: add -o FILE, or --format json to {form}")
    names = Names.of(call.workspace())
    with open_books(call) as books:
        journal = list(entries(books.state.genesis, books.blocks()))
        height = books.height
    text = FORMATS[form](journal, names.known)
    if target is None:
        typer.echo(text, nl=False)
        return
    with refusals(target):
        put_in_place(stage(target, text.encode()), target)
    data = {"file": str(target), "format": form.value, "height": height, "entries": len(journal)}
    call.output.answer(data, [f"{target}: {counted(len(journal), 'entry').replace('entrys', 'entries')}"])
