"""Bring a member's copy of the ledger up to date.

Asking and verifying is `application.requester`'s business.
"""

from typing import Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.output import counted
from fedcoin_cli.cli.program.passphrases import PassphraseFile

EXAMPLES = (("fedcoin sync", "what is new since the last time"),)


def run(
    call: Call,
    key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who asks: a key's name; default: one that miners admit."),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Bring a member's copy of the ledger up to date.

    For a workspace without miners: final blocks are asked for, verified in full and kept under copy/, so that
    balance, show, explain and audit work here. Publishing and paying do the same on the way. Miners serve accounts of
    at least 1 FedCoin, and whoever their peers.toml names.
    """
    from fedcoin_cli.application.books.books import certified_tip
    from fedcoin_cli.application.requester.asking import admitted_key
    from fedcoin_cli.application.requester.requester import Requester
    from ledger_store.base.errors import StorageFailure

    workspace = call.workspace(passphrase_file)
    known = certified_tip(workspace).state
    before = known.height
    _, asking = admitted_key(workspace, known, key)
    with Requester(workspace, asking) as requester:
        requester.connect()
        state, problem = requester.state, requester.copy_problem
    if problem is not None:
        hint = "make room or repair the disk, then run it again: nothing was lost"
        raise StorageFailure(problem, where=str(workspace.copy), hint=hint)
    data = {"height": state.height, "head": state.head, "new": state.height - before}
    lines = [
        f"height  {state.height}, {counted(state.height - before, 'block')} of it new",
        f"head    {state.head}",
    ]
    if workspace.miners:
        call.output.note("this workspace has miners: they keep its ledgers up to date themselves")
    call.output.answer(data, lines)
