"""Call for real clients' updates, and gather them into a round.

What a call and a round consist of is decided in `application.rounds`.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.new_round import new_round
from fedcoin_cli.cli.options import Call
from fedcoin_cli.cli.output import counted


class Action(StrEnum):
    """What to do with a round."""

    call = "call"
    gather = "gather"


def run(
    call: Call,
    action: Annotated[Action, typer.Argument(help="call begins a round, gather completes it.")],
    places: Annotated[
        list[Path] | None,
        typer.Argument(metavar="UPDATE...", help="gather: signed updates, or folders of them."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="call: the model, as model.to_json() writes it.")
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="FILE.safetensors", help="call: the test set, images x and labels y."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--round", "-o", metavar="DIR", help="Which round; default: the next, or the newest."),
    ] = None,
    no_proxy: Annotated[
        bool, typer.Option("--no-proxy", help="gather: leave out the proxy; mining is slower without.")
    ] = False,
) -> None:
    """Call for real clients' updates, and gather them into a round.

    call fixes model and test set and writes call.json: give it and model.json to the clients, who train and run
    fedcoin update sign. gather takes what they give back, checks every signature and every number, and writes the
    round that fedcoin publish reads. Simulated clients need neither: fedcoin train does it all.
    """
    if action is Action.call:
        if model is None or test is None:
            raise typer.BadParameter("call needs --model and --test")
        if places:
            raise typer.BadParameter("call takes no updates: gather does")
        _call(call, model, test, folder)
    else:
        if not places:
            raise typer.BadParameter("gather needs the updates, or a folder of them")
        _gather(call, places, folder, proxy=not no_proxy)


def _call(call: Call, model: Path, test: Path, output: Path | None) -> None:
    from fedcoin_cli.application.rounds.calling import CALL_NAME, make_call

    workspace = call.workspace()
    settings = call.settings(workspace)
    with new_round(workspace, output) as folder:
        made = make_call(folder, workspace.genesis(), model, test, settings.task.aggregation)
    data = {"round": str(folder), "nonce": made.nonce, "images": made.images}
    lines = [
        f"round     {folder}",
        f"test set  {counted(made.images, 'image')}",
        "",
        f"next: give the clients {folder / CALL_NAME} and model.json; then fedcoin round gather",
    ]
    call.output.answer(data, lines)


def _gather(call: Call, places: list[Path], folder: Path | None, *, proxy: bool) -> None:
    from fedcoin_cli.application.rounds.gathering import gather, updates_in

    workspace = call.workspace()
    chosen = workspace.latest_round() if folder is None else folder
    gathered = gather(chosen, updates_in(places), workspace.genesis(), proxy=proxy)
    clients = [update.client for update in gathered.updates]
    data = {"round": str(chosen), "clients": clients, "bytes": gathered.size_bytes}
    lines = [
        f"round    {chosen}",
        *(
            f"client {number:3}  {update.client}, {counted(update.examples, 'example')}"
            for number, update in enumerate(gathered.updates, 1)
        ),
        f"files    {gathered.size_bytes / 1e6:.1f} MB",
        "",
        f"next: fedcoin publish {chosen}",
    ]
    call.output.answer(data, lines)
