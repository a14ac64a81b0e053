"""Show one task, block or transaction.

What an id means is decided in `application.lookup`, how it reads in `cli.ledger_lines`.
"""

from typing import Annotated

import typer

from fedcoin_cli.cli.options import Call


def run(
    call: Call,
    which: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A height, or the beginning of a task's, block's or transaction's id."
        ),
    ],
) -> None:
    """Show one task, block or transaction.

    A settled task shows values, payments and every miner's estimate. Four characters of an id are enough where
    no other id begins with them.
    """
    from fedcoin_cli.application.books.lookup import FoundBlock, FoundTask, find
    from fedcoin_cli.application.workspace.names import Names
    from fedcoin_cli.cli.ledger_lines import block_lines, summary
    from fedcoin_cli.cli.opened_books import open_books, source
    from fedcoin_cli.cli.task_lines import task_lines

    names = Names.of(call.workspace())
    with open_books(call) as books:
        found = find(books, which)
        match found:
            case FoundTask(report):
                data, lines = report.to_json(), task_lines(report, names)
            case FoundBlock(block, signers):
                data = {"id": block.id, **block.to_json(), "certified_by": list(signers)}
                lines = block_lines(block, signers, names)
            case _:
                one = found.transaction
                data = {"id": one.id, "height": found.height, "transaction": one.to_json()}
                lines = [f"id      {one.id}", f"height  {found.height}", "", summary(one, names)]
        call.output.answer(data, [*lines, "", source(books)])
