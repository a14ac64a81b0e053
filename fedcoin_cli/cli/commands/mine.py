"""Start this workspace's miners and watch them.

Starting and listening is `application.crew`'s business, showing `miner_watch`'s, what a miner does
`application.node`'s.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.interrupts import Interrupts
from fedcoin_cli.cli.options import Call
from fedcoin_cli.cli.passphrases import PassphraseFile
from ledger_store.errors import ConsensusFailure, ExitCode, NotFound

if TYPE_CHECKING:
    from fedcoin_cli.application.miner.crew import Crew
    from fedcoin_cli.application.workspace.workspace import Workspace
    from fedcoin_cli.cli.miner_watch import Watch


class Via(StrEnum):
    """Ways to run miners."""

    process = "process"


def run(
    call: Call,
    replicas: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N local miners; default: all.")
    ] = None,
    via: Annotated[Via, typer.Option(help="How miners run: a process each.")] = Via.process,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when all are ready; fedcoin stop stops them.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Stop when the next task has ended.")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Start this workspace's miners and watch them.

    Miners that run already are left alone, and watched as well. Ctrl-C stops those that were started here, a
    second Ctrl-C kills them. One that has ended is not started again: `fedcoin mine --detach` does that. The
    passphrase of sealed keys is asked for once; miners get it through a pipe. With --json every event is a line.
    With --once the exit code is 6 when the task was refunded.
    """
    from fedcoin_cli.cli.miner_watch import Watch

    if detach and once:
        raise typer.BadParameter("--detach returns before a task ends: leave out --once")
    crew = make_crew(call, call.workspace(passphrase_file), replicas, via)
    with Interrupts() as interrupts:
        watch = Watch(call.output, crew, interrupts, silent=detach)
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


def make_crew(
    call: Call, workspace: "Workspace", replicas: int | None = None, via: Via = Via.process
) -> "Crew":
    """The first `replicas` of the local miners (None: all)."""
    from fedcoin_cli.application.miner.crew import Crew, posts, share_of_cores
    from fedcoin_cli.runtime.process import ProcessRuntime

    numbers = [miner.number for miner in workspace.miners]
    if replicas is not None and replicas > len(numbers):
        raise typer.BadParameter(f"--replicas {replicas}: this workspace has {len(numbers)} miners")
    if not numbers:
        hint = "fedcoin init makes local miners; others' miners run on their own machines"
        raise NotFound("this workspace has no miners", where=str(workspace.root), hint=hint)
    numbers = numbers[:replicas]
    threads = call.settings(workspace).mining.threads or share_of_cores(len(numbers))
    arguments = [word for assignment in call.assignments for word in ("--set", assignment)]
    arguments += ["--threads", str(threads)]
    secret = _secret(workspace, numbers)
    if secret:
        arguments += ["--passphrase-file", "-"]
    runtimes = {Via.process: ProcessRuntime}
    return Crew(workspace, numbers, runtimes[via](workspace.root, posts(workspace), arguments, secret))


def _secret(workspace: "Workspace", numbers: list[int]) -> bytes:
    """The line that opens the miners' sealed keys, tried on each; empty when none is sealed."""
    from fedcoin_cli.application.workspace.keyring import sealed_keys

    sealed = sealed_keys(workspace, [workspace.miner(number).name for number in numbers])
    if not sealed or workspace.ask is None:
        return b""
    passphrase = workspace.ask()
    for name in sealed:
        workspace.key(name)
    return passphrase.words + b"\n"


def _answer(call: Call, crew: "Crew") -> None:
    from fedcoin_cli.cli.miner_watch import names, outlook

    data = {"miners": list(crew.numbers), "started": list(crew.started), "spare": crew.spare}
    several = len(crew.numbers) > 1
    line = f"{names(crew.numbers)} {'run' if several else 'runs'}; {outlook(crew)}"
    line += f"; fedcoin stop stops {'them' if several else 'it'}"
    call.output.answer(data, [line])


def _judge(watch: "Watch") -> None:
    if watch.state == "REFUNDED":
        hint = "fedcoin show tells how far apart the miners were"
        raise ConsensusFailure("the task was refunded", where=f"task {watch.task}", hint=hint)
