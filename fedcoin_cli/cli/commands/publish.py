"""Publish a round, follow its mining and show values and payments.

Sending and following is `application.requester`'s business, what is asked for `application.rounds.terms`'.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.passphrases import PassphraseFile
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

if TYPE_CHECKING:
    from fedcoin_cli.application.reasons.certainty import Certainty
    from fedcoin_cli.application.requester.publication import Publication
    from fedcoin_cli.application.requester.requester import Published, Requester
    from fedcoin_cli.application.rounds.judging import Foresight
    from fedcoin_cli.application.rounds.room import Room
    from fedcoin_cli.application.workspace.address_names import Names
    from fedcoin_cli.application.workspace.workspace import Workspace
    from ledger_store.identity.keys import KeyPair
    from ledger_store.transaction import Task


EXAMPLES = (
    ("fedcoin publish --price 100", "the newest round for 100 FedCoin"),
    ("fedcoin publish rounds/1 --price 20 --runtime 5 --no-wait", "hand a round over and come back later"),
)


def run(  # noqa: PLR0913, PLR0917 -- one parameter an option
    call: Call,
    round_dir: Annotated[
        Path | None,
        typer.Argument(metavar="ROUND_DIR", help="The round's folder; default: the newest under rounds/."),
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
    repeat: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Publish N times; 0: until Ctrl-C.  [default: 1]")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who pays: a key's name; default: requester.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    no_inspect: Annotated[
        bool, typer.Option("--no-inspect", help="Do not look at what the updates are like.")
    ] = False,
    allow_copies: Annotated[
        bool, typer.Option("--allow-copies", help="Two clients may send the very same update.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return once a quorum of miners has the task and its files.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Check round, terms and balance; send nothing.")
    ] = False,
) -> None:
    """Publish a round, follow its mining and show values and payments.

    The price is locked before any miner works; it ends as payments or comes back, a deposit of 1 FedCoin always
    does. What is shown is in a certified block that was verified here. A round of real clients is published
    once, under the terms that they have signed: `fedcoin round call` sets them, and options here that say
    otherwise are refused. What is conspicuous about the updates (see fedcoin-inspect(1)) and how many coalitions the
    time to mine has room for are said first; the very same update by two clients is refused until --allow-copies
    says that it is meant. Ctrl-C leaves the task with
    the miners: `fedcoin show` tells how it ended. The exit code is 6 when the task was refunded.
    """
    from fedcoin_cli.application.requester.publication import wanted_of
    from fedcoin_cli.application.rounds.inspecting import look_first
    from fedcoin_cli.application.workspace.address_names import Names
    from fedcoin_cli.application.workspace.workspace import REQUESTER
    from fedcoin_cli.cli.views.amounts import amount_micro
    from fedcoin_cli.cli.views.inspection_lines import warn_of

    times = 1 if repeat is None else repeat
    if no_wait and times != 1:
        raise typer.BadParameter("--no-wait does not wait for the round before: leave out --repeat")
    workspace = call.workspace(passphrase_file)
    configuration = call.configuration(
        workspace.settings_file,
        task__price=price,
        task__runtime=runtime,
        task__attempts=attempts,
        task__block_images=block_images,
        task__metric=metric,
        task__baseline=baseline,
        task__inspect="no" if no_inspect else None,
        task__copies="allow" if allow_copies else None,
        consensus__difficulty=None if difficulty == AUTO else difficulty,
    )
    names, payer = Names.of(workspace), workspace.key(key or REQUESTER)
    error_micro = None if payment_error is None else amount_micro(payment_error, "--payment-error")

    def wanted() -> "Publication":
        asked = wanted_of(
            workspace, round_dir or workspace.latest_round(), configuration, error_micro, group or ()
        )
        return _learnt(call, workspace, asked) if difficulty == AUTO else asked

    first = wanted()
    if times != 1 and first.called:
        raise typer.BadParameter("real clients have signed for one task: leave out --repeat")
    warn_of(call, look_first(first.round, configuration.settings.task, first.groups), names)
    room = _foretold(call, first, payer) if configuration.settings.task.inspect != "no" else None
    if dry_run:
        _try(call, workspace, payer, first, room)
    elif no_wait:
        _hand_over(call, workspace, payer, first)
    else:
        more = (wanted() for _ in (count() if times == 0 else range(times - 1)))
        _publish(call, workspace, payer, chain([first], more), names, alone=times == 1)


def _foretold(call: Call, wanted: "Publication", payer: "KeyPair") -> "Room | None":
    """How much mining RUNTIME has room for, and what to do where that is too little."""
    from fedcoin_cli.application.rounds.room import room_for
    from ledger_store.base.errors import RoundFilesInvalid, SettingsError

    try:
        room = room_for(wanted.task(payer.address, 1), wanted.round.paths)
    except (RoundFilesInvalid, SettingsError):  # whoever takes the round says so, and more
        return None
    if room is not None:
        call.output.note(room.words)
        if room.scarce:
            call.output.warn(room.advice)
    return room


def _learnt(call: Call, workspace: "Workspace", wanted: "Publication") -> "Publication":
    """The same with the D that the ledger tells."""
    from fedcoin_cli.cli.views.asked_terms import learnt

    if wanted.called:
        message = "the clients have signed for a D: fedcoin round call --difficulty auto learns one"
        raise typer.BadParameter(message, param_hint="--difficulty")
    return replace(wanted, terms=learnt(call, workspace, wanted.terms, len(wanted.round.updates)))


def _try(
    call: Call, workspace: "Workspace", payer: "KeyPair", wanted: "Publication", room: "Room | None"
) -> None:
    from fedcoin_cli.application.books.books import certified_tip
    from fedcoin_cli.application.requester.trial import check_admissible
    from fedcoin_cli.application.rounds.judging import foresee
    from fedcoin_cli.contract.metric import read_metric
    from ledger_store.base.amount import format_micro
    from ledger_store.transaction import sign

    state = certified_tip(workspace).state
    number = state.sequences.get(payer.address, 0) + 1
    task = sign(wanted.task(payer.address, number), payer, state.genesis.id)
    check_admissible(state, task)
    ahead = foresee(task, wanted.round.paths)
    metric = read_metric(task.metric)
    nobody, together = metric.natural(ahead.nobody), metric.natural(ahead.together)
    parts = [format_micro(part) for part in (task.train_micro, task.computation_micro, task.shapley_micro)]
    data = {
        "round": str(wanted.round.folder),
        "clients": task.clients,
        "images": task.images,
        "metric": task.metric,
        "baseline": task.baseline,
        "whole": task.whole,
        "empty": task.empty,
        "nobody": nobody,
        "together": together,
        "to_distribute": ahead.points,
        "difficulty_proves": not ahead.loose,
        "mining": None if room is None else room.to_json(),
        "files": len(task.files),
        "bytes": wanted.round.size_bytes,
        "price": format_micro(task.price_micro),
        "difficulty": format_micro(task.difficulty_micro),
        "parts": parts,
        "deposit": format_micro(state.genesis.bounds.task_deposit_micro),
        "balance": format_micro(state.balances.get(payer.address, 0)),
    }
    lines = [
        f"would publish {wanted.round.folder}: {task.clients} clients, {task.images} test images",
        f"judged by {task.metric}: all together {together}, nobody {nobody}",
        *_warned(ahead, task),
        f"{len(task.files)} files, {wanted.round.size_bytes / 1e6:.1f} MB",
        f"price {data['price']} = {parts[0]} clients + {parts[1]} FL server + {parts[2]} miners",
        f"deposit {data['deposit']}, which returns when the task ends",
        f"balance {data['balance']}",
    ]
    call.output.answer(data, lines)


def _warned(ahead: "Foresight", task: "Task") -> list[str]:
    """What is amiss with what there is to distribute."""
    from ledger_store.base.amount import format_micro

    if ahead.gain <= 0:
        return ["all together are worth no more than nobody: the clients' part would return"]
    if ahead.loose:
        difficulty = format_micro(task.difficulty_micro)
        return [f"there are {ahead.points} pp to distribute: a D of {difficulty} pp proves nothing"]
    return []


def _hand_over(call: Call, workspace: "Workspace", payer: "KeyPair", wanted: "Publication") -> None:
    from fedcoin_cli.application.requester.requester import Requester
    from fedcoin_cli.cli.views.following import ProgressBars

    with (
        ProgressBars(call.output) as bars,
        Requester(workspace, payer, bars) as requester,
        call.output.tells_what_is_on_its_way(requester),
    ):
        task = requester.hand_over(wanted)
    lines = [
        f"task  {task}",
        "",
        f"next: fedcoin status; fedcoin show {task[:16]} once the task is in a block",
    ]
    call.output.answer({"task": task}, lines, done=f"task {task} is with the miners")


def _publish(
    call: Call,
    workspace: "Workspace",
    payer: "KeyPair",
    rounds: "Iterator[Publication]",
    names: "Names",
    *,
    alone: bool,
) -> None:
    """Publish one round after the other; with --json and several there is one answer at the end."""
    from fedcoin_cli.application.reasons.kept_tables import certainty_of
    from fedcoin_cli.application.requester.requester import Requester
    from fedcoin_cli.cli.views.following import ProgressBars
    from fedcoin_cli.cli.views.naming import told

    done: list[dict[str, object]] = []
    try:
        with ProgressBars(call.output) as bars, Requester(workspace, payer, bars) as requester:
            for wanted in rounds:
                published = _follow(call, requester, wanted)
                bars.clear()
                certainty = certainty_of(workspace, *requester.ended(published.task_id))
                done.append(told(_data(published, certainty), names))
                if alone or not call.output.as_json:
                    lines = [*_lines(published, names, certainty), *([] if alone else [""])]
                    call.output.answer(done[-1], lines, done=_done(published))
                published.check()
    finally:
        if call.output.as_json and not alone:
            call.output.answer({"tasks": done}, [])


def _follow(call: Call, requester: "Requester", wanted: "Publication") -> "Published":
    try:
        with call.output.tells_what_is_on_its_way(requester):
            return requester.publish(wanted)
    except KeyboardInterrupt:
        if requester.following is not None:
            call.output.note(f"the miners go on: fedcoin show {requester.following[:16]}")
        raise


def _done(published: "Published") -> str:
    return f"task {published.task_id} was published and is {published.report.state.lower()}"


def _data(published: "Published", certainty: "Certainty | None") -> dict[str, object]:
    rest = published.seconds - published.mining_seconds
    times = {"seconds": Decimal(f"{published.seconds:.3f}"), "seconds_not_mining": Decimal(f"{rest:.3f}")}
    sure = None if certainty is None else certainty.to_json()
    return published.report.to_json() | {"certainty": sure} | times


def _lines(published: "Published", names: "Names", certainty: "Certainty | None") -> list[str]:
    from fedcoin_cli.cli.views.task_lines import task_lines

    rest = published.seconds - published.mining_seconds
    return [
        *task_lines(published.report, names, certainty),
        f"{published.seconds:.1f} s in all, {rest:.1f} s of it not mining",
        "anyone with a copy of the ledger can check this: fedcoin audit",
    ]
