"""Sign a client's own weights for a round that somebody publishes.

What is signed is decided in `application.rounds.calling`.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.passphrases import PassphraseFile


class Action(StrEnum):
    """What to do with an update."""

    sign = "sign"


EXAMPLES = (
    (
        "fedcoin update sign mine.safetensors --examples 500 --key client-001",
        "in the folder of the publisher's call.json",
    ),
)


def run(
    call: Call,
    _action: Annotated[Action, typer.Argument(metavar="sign", help="What to do.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The weights: a .safetensors file, a tensor a weight.")
    ],
    examples: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many examples the client trained on.")
    ],
    key: Annotated[str, typer.Option(metavar="NAME", help="Who signs and is paid: a key's name.")],
    call_file: Annotated[
        Path | None,
        typer.Option("--call", metavar="FILE", help="The publisher's call.json; default: beside FILE."),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign a client's own weights for a round that somebody publishes.

    A client trains on its own host and its data never leave it. It has joined the network before: fedcoin init
    --join. Two files go back to the publisher: the weights, and NAME.update.json beside them, which names call,
    weights and example count under the client's signature. What it covers is shown: who pays how much, how many
    clients there may be, every term of mining; nobody can change any of it afterwards. Where model.json is
    beside the call, the weights are checked against it.

    FILE holds the weights after training, not their change. fedcoin convert writes it; who writes it with
    safetensors.numpy gives it np.ascontiguousarray(a) of each array: of a view such as a.T it would write other
    numbers in the right shape.
    """
    from fedcoin_cli.application.rounds.calling import CALL_NAME, sign_weights
    from fedcoin_cli.application.workspace.address_names import Names
    from fedcoin_cli.cli.views.call_lines import call_data, call_lines

    workspace = call.workspace(passphrase_file)
    signer = workspace.key(key)
    place = call_file or file.with_name(CALL_NAME)
    signed, asked = sign_weights(file, place, workspace.genesis(), signer, examples)
    data = {"update": str(signed), "weights": str(file), "client": signer.address, "examples": examples}
    lines = [
        f"signed    {signed}",
        *call_lines(asked, Names.of(workspace)),
        "",
        f"next: give the publisher this file and {file}",
    ]
    call.output.answer(data | call_data(asked), lines)
