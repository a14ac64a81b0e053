"""Explain a client's value and payment, down to single coins.

What is explained is `application.reasons`' business, how it reads `cli.views.explanation_lines`'.
"""

from typing import Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.views.opened_books import File, open_books

EXAMPLES = (("fedcoin explain client-001", "why it was paid what it was paid in the newest task"),)


def run(
    call: Call,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="A key's name or an address.")],
    file: File = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The beginning of the task's id; default: its newest that ended."),
    ] = None,
) -> None:
    """Explain a client's value and payment, down to single coins.

    Shows the value with its error, the coalitions that decided it, how the price became these coins step by step,
    which miners agreed at what distance, and how to check all of it. Everything is computed here from the ledger
    and from the tables that this workspace keeps, or the folder of FILE; without tables it says what the ledger
    alone tells.
    """
    from fedcoin_cli.application.reasons.explanation import explain
    from fedcoin_cli.cli.views.explanation_lines import explanation_lines
    from fedcoin_cli.cli.views.naming import told

    with open_books(call, file) as opened:
        found = explain(opened.books, opened.place, opened.account(client), task)
        data = told(found.to_json(), opened.names)
        call.output.answer(data, [*explanation_lines(found, opened.names), "", opened.source])
