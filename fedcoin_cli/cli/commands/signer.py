"""Sign a client's updates for a federation, behind a socket.

What is signed and what is refused is `application.federation.agent`'s business.
"""

from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.program.interrupts import Interrupts
from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.passphrases import PassphraseFile

EXAMPLES = (("fedcoin signer --key client-001", "until Ctrl-C; a SuperNode is told of signer.sock"),)


def run(
    call: Call,
    key: Annotated[str, typer.Option(metavar="NAME", help="Who signs and is paid: a key's name.")],
    place: Annotated[
        Path | None,
        typer.Option(
            "--socket", metavar="PATH", help="Where it listens; default: signer.sock in the workspace."
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What it was asked for; default: signer.jsonl in the workspace."),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign a client's updates for a federation, behind a socket.

    The code that trains in a federation comes from others, so it had better not see a key. Like ssh-agent, this
    process keeps the key and signs for whoever connects to its socket as the same user: updates alone, of this
    workspace's network alone, never a transfer or a task. Each request is a line in the log, with the call, the
    digest of the weights and the price; what cannot be logged is not signed.

    A SuperNode is told of it by --node-config 'fedcoin-signer="PATH"', and runs as the same user. An agent keeps the
    key from code that reads files and from what is sent anywhere; code that may trace this very process gets it: where
    that matters, keep the SuperNode's ClientApp in a container and mount the socket alone.
    """
    from fedcoin_cli.application.federation.agent import SigningAgent

    workspace = call.workspace(passphrase_file)
    listening = place or workspace.root / "signer.sock"
    record = log or workspace.root / "signer.jsonl"
    signing = SigningAgent(workspace.key(key), workspace.genesis(), listening, record)
    with Interrupts() as interrupts, signing as agent:
        call.output.note(f"{key} is ready to sign at {listening}; Ctrl-C stops it")
        interrupts.wake = agent.stop
        if not interrupts.count:
            agent.run()
        interrupts.wake = None
