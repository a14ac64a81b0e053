"""Show the blocks, newest last.

Which ledger is read is decided in `application.books`, how a transaction reads in `cli.views.ledger_lines`.
"""

from collections import deque
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.views.opened_books import File, open_books

if TYPE_CHECKING:
    from fedcoin_cli.application.workspace.address_names import Names
    from ledger_store.block import Block
    from ledger_store.transaction import Transaction


EXAMPLES = (("fedcoin log", "all blocks, the newest last"),)


def run(
    call: Call,
    file: File = None,
    account: Annotated[
        str | None, typer.Option(metavar="WHO", help="Only what this key or address signed or received.")
    ] = None,
    last: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the newest N of these blocks.")
    ] = None,
) -> None:
    """Show the blocks, newest last.

    Each with height, time and transactions; `fedcoin show ID` tells more of one block, task or transaction.
    """
    from fedcoin_cli.application.books.lookup import concerns

    found: deque[tuple[Block, list[Transaction]]] = deque(maxlen=last)
    with open_books(call, file) as opened:
        books, names = opened.books, opened.names
        address = None if account is None else opened.account(account)
        for block in books.blocks():
            chosen = [
                one for one in block.transactions if address is None or concerns(books.history, one, address)
            ]
            if chosen:
                found.append((block, chosen))
        blocks = [_data(block, chosen, names) for block, chosen in found]
        data = {"ledger": str(books.path), "height": books.height, "blocks": blocks}
        lines = [line for block, chosen in found for line in _lines(block, chosen, names)]
        call.output.answer(data, [*lines, "", opened.source])


def _data(block: "Block", chosen: "list[Transaction]", names: "Names") -> dict[str, object]:
    from fedcoin_cli.cli.views.ledger_lines import facts, summary
    from fedcoin_cli.cli.views.naming import told

    texts = [told(facts(one), names) | {"text": summary(one, names)} for one in chosen]
    return {"height": block.height, "id": block.id, "time_ms": block.header.time_ms, "transactions": texts}


def _lines(block: "Block", chosen: "list[Transaction]", names: "Names") -> list[str]:
    from fedcoin_cli.cli.views.ledger_lines import date, summary

    first, *others = [summary(one, names) for one in chosen]
    head = f"{block.height:>6}  {date(block.header.time_ms)}  "
    return [f"{head}{first}", *(f"{'':{len(head)}}{text}" for text in others)]
