"""How the local miners of a workspace run at this moment: as processes, in containers, in a swarm.

A ledger has one writer, so who starts a miner one way asks first whether it runs another way; and whoever looks at a
miner's ports, what belongs to it.
"""

from collections.abc import Sequence

from fedcoin_cli.application.crew.crew import posts
from fedcoin_cli.application.workspace.settings import Settings
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.runtime.base import Runtime, Via
from fedcoin_cli.runtime.process import ProcessRuntime
from ledger_store.base.errors import Locked, MissingPart

_AS = {Via.process: "as a process", Via.docker: "in a container", Via.swarm: "in a swarm"}


def running(workspace: Workspace, settings: Settings) -> dict[int, Via]:
    """The way of each local miner that runs here; containers are not looked for where there never were any."""
    processes: Runtime = ProcessRuntime(workspace.root, posts(workspace))
    ways = {Via.process: processes} | _contained(workspace, settings)
    numbers = [miner.number for miner in workspace.miners]
    return {number: via for via, runtime in ways.items() for number in numbers if runtime.alive(number)}


def refuse_others(workspace: Workspace, settings: Settings, numbers: Sequence[int], via: Via) -> None:
    """Raises `Locked` when one of these miners runs another way."""
    others = {
        number: way
        for number, way in running(workspace, settings).items()
        if number in numbers and way != via
    }
    if not others:
        return
    way = next(iter(others.values()))
    numbers = [number for number, one in others.items() if one == way]
    verb, named = "runs" if len(numbers) == 1 else "run", ", ".join(map(str, numbers))
    hint = (
        f"fedcoin mine --via {way} --detach starts what is missing beside it; fedcoin stop ends all of them"
    )
    raise Locked(
        f"miner{'' if len(numbers) == 1 else 's'} {named} {verb} {_AS[way]} already",
        where=str(workspace.root),
        hint=hint,
    )


def _contained(workspace: Workspace, settings: Settings) -> dict[Via, Runtime]:
    """Nothing where no engine answers: no container runs then."""
    if not workspace.contained.exists():
        return {}
    from fedcoin_cli.application.crew.containers import stages

    try:
        return dict(stages(workspace, settings))
    except MissingPart:
        return {}
