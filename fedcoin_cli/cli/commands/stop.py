"""Stop the miners of this workspace that run on this machine.

How a miner is found and ended is decided in `runtime`.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.program.options import Call

if TYPE_CHECKING:
    from fedcoin_cli.runtime.base import Runtime


EXAMPLES = (
    ("fedcoin stop 2", "one miner"),
    ("fedcoin stop", "all that run here"),
)


def run(
    call: Call,
    numbers: Annotated[
        list[int] | None,
        typer.Argument(metavar="[N]...", help="Which of the local miners, from 1; default: all."),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Remove this workspace's containers and networks, too, and this project's untagged images.",
        ),
    ] = False,
) -> None:
    """Stop the miners of this workspace that run on this machine.

    Each is asked to end; one that has not ended after some seconds is killed. No ledger is harmed by that.
    Containers are kept for their logs until --prune, which removes nothing of anybody else's.
    """
    from fedcoin_cli.application.crew.containers import prune as remove
    from fedcoin_cli.application.crew.containers import stages
    from fedcoin_cli.application.crew.crew import posts
    from fedcoin_cli.runtime.base import stop
    from fedcoin_cli.runtime.process import ProcessRuntime

    workspace = call.workspace()
    if numbers and prune:
        raise typer.BadParameter("--prune removes what all of them have left: leave out the numbers")
    chosen = [workspace.miner(number).number for number in numbers or ()]
    chosen = chosen or [miner.number for miner in workspace.miners]
    stopped: list[int] = []
    killed: list[int] = []

    def end(runtime: "Runtime") -> None:
        running = [number for number in chosen if runtime.alive(number)]
        killed.extend(stop(runtime, running))
        stopped.extend(running)

    end(ProcessRuntime(workspace.root, posts(workspace)))
    in_containers = stages(workspace, call.settings(workspace)).values()
    for stage in in_containers:
        end(stage)
    removed = remove(workspace, in_containers) if prune else []
    lines = [f"miner {number} {'killed' if number in killed else 'stopped'}" for number in stopped]
    data = {"stopped": stopped, "killed": killed, "removed": removed}
    lines = lines or [f"no miner of {'these' if numbers else 'this workspace'} runs on this machine"]
    call.output.answer(data, [*lines, *(f"removed {name}" for name in removed)])
