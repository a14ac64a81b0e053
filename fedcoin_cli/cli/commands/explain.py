"""Explain a client's value and payment, down to single coins.

What is explained is `application.reasons`' business, how it reads `cli.explanation_lines`'.
"""

from typing import Annotated

import typer

from fedcoin_cli.cli.options import Call

EXAMPLES = (("fedcoin explain client-001", "why it was paid what it was paid in the newest task"),)


def run(
    call: Call,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="A key's name or an address.")],
    task: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The beginning of the task's id; default: its newest that ended."),
    ] = None,
) -> None:
    """Explain a client's value and payment, down to single coins.

    Shows the value with its error, the coalitions that decided it, how the price became these coins step by step,
    which miners agreed at what distance, and how to check all of it. Everything is computed here from the ledger
    and from the tables that this workspace keeps; without tables it says what the ledger alone tells.
    """
    from fedcoin_cli.application.reasons.explanation import explain
    from fedcoin_cli.application.workspace.names import Names
    from fedcoin_cli.cli.explanation_lines import explanation_lines
    from fedcoin_cli.cli.opened_books import open_books, source

    workspace = call.workspace()
    names = Names.of(workspace)
    address = names.address(client)
    with open_books(call) as books:
        found = explain(books, workspace, address, task)
        call.output.answer(found.to_json(), [*explanation_lines(found, names), "", source(books)])
