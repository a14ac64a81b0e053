"""Run one miner in the foreground.

What a miner does is in `application.node`; `fedcoin mine` starts several of these.
"""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.application.workspace.workspace import MinerFolder
from fedcoin_cli.cli.program.interrupts import Interrupts
from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.output import as_known
from fedcoin_cli.cli.program.passphrases import PassphraseFile
from ledger_store.base.errors import ExitCode

if TYPE_CHECKING:
    from fedcoin_cli.application.node.node import NodeConfig


EXAMPLES = (("fedcoin node 1 --json", "miner 1 in the foreground, its log on standard output"),)


def run(
    call: Call,
    number: Annotated[int, typer.Argument(metavar="N", help="Which of the local miners, from 1.")],
    threads: Annotated[
        str | None,
        typer.Option(metavar="T", help="Threads for mining; 0 shares the cores among the local miners."),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Run one miner in the foreground.

    It votes, mines and checks until Ctrl-C or SIGTERM. What it does is written to miners/N/node.log, one JSON
    object a line; with --json these lines go to stdout as well, for a journal or a container's log. `fedcoin mine`
    starts all local miners, `fedcoin service` writes units for systemd.
    """
    from fedcoin_cli.application.crew.crew import share_of_cores
    from fedcoin_cli.application.node.node import NodeConfig

    workspace = call.workspace(passphrase_file)
    folder = workspace.miner(number)
    settings = call.settings(workspace, mining__threads=threads)
    threads_each = settings.mining.threads or share_of_cores(len(workspace.miners))
    try:
        echo = sys.stdout if call.output.as_json else None
        _serve(call, NodeConfig(workspace, folder, settings, threads_each, echo))
    except Exception as error:
        _leave_word(folder, error)
        raise


def _serve(call: Call, config: "NodeConfig") -> None:
    from fedcoin_cli.application.node.node import Node
    from fedcoin_cli.runtime.process import naming_itself

    with Interrupts() as interrupts:
        node = Node(config)
        # The file goes last: who sees it gone may open the ledger.
        with naming_itself(config.folder.process), node:
            call.output.note(f"miner {config.folder.number} runs; Ctrl-C stops it")
            interrupts.wake = node.stop
            if not interrupts.count:
                node.run()
            interrupts.wake = None


def _leave_word(folder: MinerFolder, error: Exception) -> None:
    """Say in the miner's log why it ended, for whoever started it."""
    from fedcoin_cli.application.node.events import EventLog

    known = as_known(error)
    log = EventLog(folder.log)
    if known is None:
        hint = "this is a bug in fedcoin: report it with the traceback in the log"
        log.write(
            "failed", message=f"{type(error).__name__}: {error}", where="", hint=hint, code=ExitCode.BUG
        )
    else:
        details = {"message": known.message, "where": known.where, "hint": known.hint}
        log.write("failed", **details, code=known.exit_code)
    log.close()
