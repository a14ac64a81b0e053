"""Call for real clients' updates, and gather them into a round.

What a call and a round consist of is decided in `application.rounds`.
"""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.application.rounds.new_round import new_round
from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.output import counted
from fedcoin_cli.cli.views.asked_terms import (
    AUTO,
    Attempts,
    Baseline,
    BlockImages,
    Difficulty,
    Groups,
    Metric,
    PaymentError,
    Price,
    Runtime,
)


class Action(StrEnum):
    """What to do with a round."""

    call = "call"
    gather = "gather"


EXAMPLES = (
    (
        "fedcoin round call --model model.json --test test.safetensors --clients 2 --price 10",
        "what clients are to sign: call.json",
    ),
    ("fedcoin round gather updates/", "what they gave back becomes a round"),
)


def run(  # noqa: PLR0913, PLR0917 -- one parameter an option
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
    clients: Annotated[
        str | None,
        typer.Option(
            metavar="N|N-M", help="call: how many clients; default: 2 to as many as the network admits."
        ),
    ] = None,
    price: Price = None,
    runtime: Runtime = None,
    attempts: Attempts = None,
    block_images: BlockImages = None,
    metric: Metric = None,
    baseline: Baseline = None,
    difficulty: Difficulty = None,
    payment_error: PaymentError = None,
    group: Groups = None,
    key: Annotated[
        str | None, typer.Option(metavar="NAME", help="call: who will publish; default: requester.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--round", "-o", metavar="DIR", help="Which round; default: the next, or the newest."),
    ] = None,
) -> None:
    """Call for real clients' updates, and gather them into a round.

    call fixes everything that clients sign: model, test set, price and its parts, all terms of mining, who
    publishes and how many clients take part; it writes call.json: give it and model.json to the clients, who
    train and run fedcoin update sign. A call serves once. gather takes what they give back, checks every
    signature and every number, and writes the round that fedcoin publish reads. Simulated clients need neither:
    fedcoin train does it all.
    """
    if action is Action.call:
        if model is None or test is None:
            raise typer.BadParameter("call needs --model and --test")
        if places:
            raise typer.BadParameter("call takes no updates: gather does")
        terms = {"price": price, "runtime": runtime, "attempts": attempts, "block_images": block_images}
        terms |= {"metric": metric, "baseline": baseline}
        _call(call, (model, test), folder, terms, (difficulty, payment_error, clients, key), group or [])
    else:
        if not places:
            raise typer.BadParameter("gather needs the updates, or a folder of them")
        _gather(call, places, folder)


def _call(
    call: Call,
    files: tuple[Path, Path],
    output: Path | None,
    flags: dict[str, str | None],
    rest: tuple[str | None, str | None, str | None, str | None],
    groups: list[str],
) -> None:
    from fedcoin_cli.application.rounds.calling import CALL_NAME, make_call
    from fedcoin_cli.application.rounds.terms import read_groups
    from fedcoin_cli.application.workspace.address_names import Names
    from fedcoin_cli.application.workspace.workspace import REQUESTER
    from fedcoin_cli.cli.views.asked_terms import learnt, terms_of
    from fedcoin_cli.cli.views.call_lines import call_data, call_lines

    difficulty, payment_error, clients, key = rest
    workspace = call.workspace()
    genesis, names = workspace.genesis(), Names.of(workspace)
    configuration = call.configuration(
        workspace.settings_file,
        **{f"task__{name}": value for name, value in flags.items()},
        consensus__difficulty=None if difficulty == AUTO else difficulty,
    )
    asked = _asked_clients(clients, genesis.bounds.clients)
    terms = terms_of(configuration, names.address(configuration.settings.task.server), payment_error)
    terms = replace(terms, groups=read_groups(groups, names))
    if difficulty == AUTO:
        terms = learnt(call, workspace, terms, asked[1])
    sender = workspace.address(key or REQUESTER)
    with new_round(workspace, output) as folder:
        made = make_call(folder, genesis, files, terms, sender, asked)
    lines = [
        f"round     {folder}",
        *call_lines(made, names),
        "",
        f"next: give the clients {folder / CALL_NAME} and model.json; then fedcoin round gather",
    ]
    call.output.answer({"round": str(folder), **call_data(made)}, lines)


def _asked_clients(text: str | None, most: int) -> tuple[int, int]:
    """N, or N-M, or nothing at all."""
    least, dash, last = (text or f"2-{most}").partition("-")
    if not least.isdecimal() or (dash and not last.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not a number of clients: N, or N-M", param_hint="--clients")
    low, high = int(least), int(last if dash else least)
    if not 2 <= low <= high <= most:
        raise typer.BadParameter(f"a round has 2 to {most} clients", param_hint="--clients")
    return low, high


def _gather(call: Call, places: list[Path], folder: Path | None) -> None:
    from fedcoin_cli.application.rounds.gathering import alone, gather, updates_in

    workspace = call.workspace()
    chosen = workspace.latest_round() if folder is None else folder
    gathered = gather(chosen, updates_in(places), workspace.genesis())
    clients = [update.client for update in gathered.updates]
    grouped = () if gathered.call is None else gathered.call.groups
    if missing := sum(one not in clients for group in grouped for one in group):
        call.output.note(f"{counted(missing, 'address')} of the call's groups have sent no update")
    found = alone(gathered)
    weak = [number for number, measure in enumerate(found.measures, 1) if measure <= found.chance]
    if weak:
        named = ", ".join(map(str, weak))
        call.output.note(
            f"no better than one output for all images: client {named}. Weights are wanted, not their change since the"
            " round began; with safetensors.numpy store np.ascontiguousarray(weight)"
        )
    data = {
        "round": str(chosen),
        "clients": clients,
        "alone": [f"{100 * measure:.4f}" for measure in found.measures],
        "bytes": gathered.size_bytes,
    }
    lines = [
        f"round    {chosen}",
        *(
            f"client {number:3}  {update.client}, {counted(update.examples, 'example')}, {words} alone"
            for number, (update, words) in enumerate(zip(gathered.updates, found.words, strict=True), 1)
        ),
        f"files    {gathered.size_bytes / 1e6:.1f} MB",
        "",
        f"next: fedcoin publish {chosen}",
    ]
    call.output.answer(data, lines)
