"""Show the blocks, newest last.

Which ledger is read is decided in `application.books`, how a transaction reads in `cli.ledger_lines`.
"""

from collections import deque
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.options import Call

if TYPE_CHECKING:
    from fedcoin_cli.application.workspace.names import Names
    from ledger_store.block import Block
    from ledger_store.transaction import Transaction


def run(
    call: Call,
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
    from fedcoin_cli.application.workspace.names import Names
    from fedcoin_cli.cli.opened_books import open_books, source

    names = Names.of(call.workspace())
    address = None if account is None else names.address(account)
    found: deque[tuple[Block, list[Transaction]]] = deque(maxlen=last)
    with open_books(call) as books:
        for block in books.blocks():
            chosen = [
                one for one in block.transactions if address is None or concerns(books.history, one, address)
            ]
            if chosen:
                found.append((block, chosen))
        blocks = [_data(block, chosen, names) for block, chosen in found]
        data = {"ledger": str(books.path), "height": books.height, "blocks": blocks}
        lines = [line for block, chosen in found for line in _lines(block, chosen, names)]
        call.output.answer(data, [*lines, "", source(books)])


def _data(block: "Block", chosen: "list[Transaction]", names: "Names") -> dict[str, object]:
    from fedcoin_cli.cli.ledger_lines import sender, summary

    texts = [{"type": one.kind, "sender": sender(one), "text": summary(one, names)} for one in chosen]
    return {"height": block.height, "id": block.id, "time_ms": block.header.time_ms, "transactions": texts}


def _lines(block: "Block", chosen: "list[Transaction]", names: "Names") -> list[str]:
    from fedcoin_cli.cli.ledger_lines import date, summary

    first, *others = [summary(one, names) for one in chosen]
    head = f"{block.height:>6}  {date(block.header.time_ms)}  "
    return [f"{head}{first}", *(f"{'':{len(head)}}{text}" for text in others)]
