"""Withdraw a task that still waits for others.

Sending and following is `application.requester`'s business.
"""

from typing import Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.passphrases import PassphraseFile

EXAMPLES = (("fedcoin cancel $TASK", "a task that waits, by its id or the beginning of it"),)


def run(
    call: Call,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task's id, or its beginning.")],
    key: Annotated[
        str | None, typer.Option(metavar="NAME", help="The requester's key by its name; default: requester.")
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Withdraw a task that still waits for others.

    Its price comes back from escrow. Once miners work on a task it can no longer be withdrawn.
    """
    from fedcoin_cli.application.books.lookup import task_id
    from fedcoin_cli.application.requester.requester import Requester
    from fedcoin_cli.application.workspace.workspace import REQUESTER

    workspace = call.workspace(passphrase_file)
    with (
        Requester(workspace, workspace.key(key or REQUESTER)) as requester,
        call.output.tells_what_is_on_its_way(requester),
    ):
        requester.connect()
        whole = task_id(requester.state.tasks, task, "unfinished task")
        final = requester.cancel(whole)
    data = {"task": whole, "transaction": final.transaction, "height": final.height}
    line = f"cancelled {whole}, final at height {final.height}"
    call.output.answer(data, [line], done=line)
