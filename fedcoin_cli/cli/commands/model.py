"""Write the model that a round's clients make together.

How updates become one is decided in `application.rounds.aggregating`.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.program.options import Call

EXAMPLES = (
    ("fedcoin model aggregate", "the average of the newest round's updates, in its folder"),
    ("fedcoin model aggregate --clients 1,2 -o pair.safetensors", "of two clients only"),
)


class Action(StrEnum):
    """What to do with a round's model."""

    aggregate = "aggregate"


def run(
    call: Call,
    action: Annotated[Action, typer.Argument(help="aggregate averages the updates.")],
    round_dir: Annotated[
        Path | None,
        typer.Argument(metavar="ROUND_DIR", help="The round's folder; default: the newest under rounds/."),
    ] = None,
    clients: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Only these clients, by their numbers; default: all."),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A .safetensors or .keras file; default: aggregate.safetensors in the round's folder.",
        ),
    ] = None,
) -> None:
    """Write the model that a round's clients make together.

    It is the average that miners judge, weighted as the round says. fedcoin train --start FILE.safetensors goes on
    from it; a .keras file, which needs Keras, is what keras.models.load_model reads.
    """
    from fedcoin_cli.application.rounds.aggregating import AGGREGATE_NAME, aggregate, write_aggregate
    from fedcoin_cli.application.rounds.files import read_round
    from ledger_store.base.disk import refusals

    assert action is Action.aggregate
    workspace = call.workspace()
    made = read_round(round_dir or workspace.latest_round(), workspace.genesis())
    found = aggregate(made, _numbers(clients))
    written = target or made.folder / AGGREGATE_NAME
    with refusals(written):
        write_aggregate(found, written)
    share = f"{100 * found.right / found.images:.4f}"
    data = {
        "file": str(written),
        "clients": list(found.members),
        "right": found.right,
        "images": found.images,
    }
    lines = [
        f"model    {written}, of {len(found.members)} clients",
        f"right    {found.right} of {found.images} test images, {share}%",
        "",
        f"next: fedcoin train --model {made.folder / 'model.json'} --start {written}",
    ]
    call.output.answer(data | {"accuracy": share}, lines[: 4 if written.suffix == ".safetensors" else 2])


def _numbers(text: str | None) -> list[int]:
    words = [] if text is None else text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise typer.BadParameter(f"{text!r} are not numbers of clients: 1,2,5", param_hint="--clients")
    return [int(word) for word in words]
