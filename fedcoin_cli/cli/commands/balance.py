"""Show who holds how much, and what is in escrow.

Which ledger is read is decided in `application.books`.
"""

from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.views.opened_books import File, Opened, open_books

EXAMPLES = (
    ("fedcoin balance", "all accounts, and what is in escrow"),
    ("fedcoin balance client-001 --at 1", "one account as it was at height 1"),
)


def run(
    call: Call,
    who: Annotated[
        str | None, typer.Argument(metavar="WHO", help="A key's name or an address; default: all accounts.")
    ] = None,
    file: File = None,
    at: Annotated[
        int | None, typer.Option(metavar="HEIGHT", min=0, help="After this block instead of the last one.")
    ] = None,
) -> None:
    """Show who holds how much, and what is in escrow.

    The longest certified ledger of the workspace is read, or that in FILE, which needs no workspace; a lone
    argument that is nobody's name may be FILE. A price is in escrow until its task ends.
    """
    from fedcoin_cli.cli.program.output import table
    from fedcoin_cli.cli.views.amounts import aligned
    from ledger_store.base.amount import format_micro

    with _opened(call, who, file) as opened:
        books, names = opened.books, opened.names
        who = None if opened.named and file is None else who
        state = books.state if at is None else books.state_at(at)
        wanted = sorted(state.balances) if who is None else [opened.account(who)]
        accounts = [(names.name(one), one, format_micro(state.balances.get(one, 0))) for one in wanted]
        accounts.sort()
        locked = state.tasks.values()
        escrow = [(one.task.id, one.task.sender, format_micro(one.escrow_micro)) for one in locked]
        data = {
            "ledger": str(books.path),
            "height": state.height,
            "balances": [{"name": n, "address": a, "balance": b} for n, a, b in accounts],
            "escrow": [{"task": t, "address": a, "amount": m} for t, a, m in escrow],
        }
        rows: list[tuple[str, str, str]] = [(name, balance, address) for name, address, balance in accounts]
        rows += [(f"escrow of {names.name(a)}", m, f"task {t}") for t, a, m in escrow if a in wanted]
        coins = aligned([amount for _, amount, _ in rows])
        shown = [[who, amount, where] for (who, _, where), amount in zip(rows, coins, strict=True)]
        lines = table(["account", "FedCoin", "address"], shown)
        note = opened.source if at is None else f"{books.path}, at height {at}"
        call.output.answer(data, [*lines, "", note])


def _opened(call: Call, who: str | None, file: Path | None) -> Opened:
    """The books; those in `who` where that names no account here but a ledger."""
    if file is None and who is not None and (lone := Path(who)).exists() and not _is_known(call, who):
        return open_books(call, lone)
    return open_books(call, file)


def _is_known(call: Call, who: str) -> bool:
    from fedcoin_cli.application.workspace.address_names import Names
    from ledger_store.base.errors import NotFound, NoWorkspace

    try:
        return bool(Names.of(call.workspace()).address(who))
    except (NotFound, NoWorkspace):
        return False
