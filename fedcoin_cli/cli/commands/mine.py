"""Start this workspace's miners and watch them.

Starting and listening is `application.crew`'s business, showing `miner_watch`'s, what a miner does
`application.node`'s.
"""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.program.interrupts import Interrupts
from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.passphrases import PassphraseFile
from fedcoin_cli.runtime.base import Via
from ledger_store.base.errors import ConsensusFailure, ExitCode
from ledger_store.base.words import TaskState

if TYPE_CHECKING:
    from fedcoin_cli.application.crew.crew import Crew
    from fedcoin_cli.application.workspace.workspace import Workspace
    from fedcoin_cli.cli.views.live_screen import Screen
    from fedcoin_cli.cli.views.miner_watch import MinerWatch


EXAMPLES = (
    ("fedcoin mine --detach", "start those that do not run, and return when all are ready"),
    ("fedcoin mine --once", "watch the miners until the next task has ended"),
)


def run(  # noqa: PLR0913, PLR0917 -- one parameter an option
    call: Call,
    replicas: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N local miners; default: all.")
    ] = None,
    via: Annotated[
        Via, typer.Option(help="How miners run: a process, a Docker container or a Swarm service each.")
    ] = Via.process,
    build: Annotated[
        bool, typer.Option("--build", help="Build the images first that are missing or of other code.")
    ] = False,
    gpus: Annotated[str, typer.Option(metavar="N", help="GPUs for each container: a number, or all.")] = "",
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when all are ready; fedcoin stop stops them.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Draw miners, progress, distances and blocks, four times a second.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Stop when the next task has ended.")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Start this workspace's miners and watch them.

    Miners that run already are left alone, and watched as well. Ctrl-C stops those that were started here, a
    second Ctrl-C kills them. One that falls is started again after a pause, which grows while it goes on falling; one
    that ends with an error is not: `fedcoin mine --detach` does that. The passphrase of sealed keys is asked for once;
    miners get it through a pipe. Containers are watched and stopped like processes. With --json every event is a line.
    With --once the exit code is 6 when the task was refunded.
    """
    from fedcoin_cli.cli.views.miner_watch import MinerWatch

    if live and (detach or call.output.as_json):
        raise typer.BadParameter("--live draws on a terminal: leave out --detach and --json")
    if detach and once:
        raise typer.BadParameter("--detach returns before a task ends: leave out --once")
    _check_container_options(via, build=build, gpus=gpus)
    workspace = call.workspace(passphrase_file)
    if build:
        build_images(call)
    crew = make_crew(call, workspace, replicas, via, gpus)
    with Interrupts() as interrupts, _screen(call, workspace, live) as screen:
        watch = MinerWatch(call.output, crew, interrupts, silent=detach, screen=screen)
        try:
            watch.start()
            watch.wait()
            if detach and not interrupts.count:
                _answer(call, crew)
                return
            aborted = interrupts.count > 0 and (detach or not crew.ready)
            watch.follow(once=once)
        except BaseException:
            crew.stop(lambda: interrupts.count > 0)
            raise
        watch.stop()
    if aborted or interrupts.count > 1:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if once:
        _judge(watch)


def _screen(call: Call, workspace: "Workspace", live: bool) -> "AbstractContextManager[Screen | None]":
    """What --live draws on; off a terminal its lines are the plain ones."""
    if not live or not sys.stdout.isatty():
        return nullcontext()
    from fedcoin_cli.cli.views.live_screen import Screen

    return Screen(workspace, color=call.output.color)


def _check_container_options(via: Via, *, build: bool, gpus: str) -> None:
    if via is Via.process and (build or gpus):
        raise typer.BadParameter("--build and --gpus are for containers: add --via docker")
    if gpus and not (gpus == "all" or (gpus.isdecimal() and int(gpus) > 0)):
        raise typer.BadParameter(f"--gpus {gpus}: a number of at least 1, or all")
    if gpus and via is Via.swarm:
        raise typer.BadParameter("--gpus: Swarm hands out GPUs by its own settings; use --via docker")


def build_images(call: Call) -> None:
    """Build the images that are not there or are of other code, showing how far that is."""
    from fedcoin_cli.application.crew.containers import build
    from fedcoin_cli.cli.program.progress import works

    with works(call.output) as step:
        build(call.settings(call.workspace()), lambda name, *done: step(f"building image {name}", *done))


def make_crew(
    call: Call,
    workspace: "Workspace",
    replicas: int | None = None,
    via: Via = Via.process,
    gpus: str = "",
) -> "Crew":
    """The first `replicas` of the local miners (None: all)."""
    from fedcoin_cli.application.crew.local import crew_of, local_numbers

    numbers = local_numbers(workspace)
    if replicas is not None and replicas > len(numbers):
        raise typer.BadParameter(f"--replicas {replicas}: this workspace has {len(numbers)} miners")
    settings = call.settings(workspace)
    return crew_of(workspace, settings, numbers[:replicas], via, call.assignments, gpus)


def _answer(call: Call, crew: "Crew") -> None:
    from fedcoin_cli.cli.views.miner_watch import names, outlook

    data = {"miners": list(crew.numbers), "started": list(crew.started), "spare": crew.spare}
    several = len(crew.numbers) > 1
    line = f"{names(crew.numbers)} {'run' if several else 'runs'}; {outlook(crew)}"
    line += f"; fedcoin stop stops {'them' if several else 'it'}"
    call.output.answer(data, [line])


def _judge(watch: "MinerWatch") -> None:
    if watch.state == TaskState.REFUNDED:
        hint = "fedcoin show tells how far apart the miners were"
        raise ConsensusFailure("the task was refunded", where=f"task {watch.task}", hint=hint)
