"""Make a workspace: settings, keys, genesis and empty ledgers.

What a new network consists of is decided in `application.founding`.
"""

import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.application.workspace.workspace import SERVER, Workspace
from fedcoin_cli.cli.options import Call
from ledger_store.amount import format_micro
from ledger_store.genesis import Genesis

if TYPE_CHECKING:
    from fedcoin_cli.application.founding import Founding


def run(
    call: Call,
    directory: Annotated[Path | None, typer.Argument(metavar="DIR", help="Where; default: here.")] = None,
    clients: Annotated[
        str | None, typer.Option(metavar="K", help="How many simulated FL clients get a key.")
    ] = None,
    miners: Annotated[str | None, typer.Option(metavar="R", help="How many local miners there are.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Move a workspace that stands there into a folder previous-N.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only tell what would be made.")] = False,
) -> None:
    """Make a workspace: settings, keys, genesis and empty ledgers.

    The keys are requester (who holds the supply), server (the FL server that is paid), one a miner and one a
    client. The genesis fixes the miners and the supply for ever; settings.toml may be changed at any time.
    """
    from fedcoin_cli.application.founding import Founding

    configuration = call.configuration(None, task__clients=clients, network__miners=miners)
    root = (directory or call.folder or Path()).resolve()
    founding = Founding(root, configuration, time.time_ns() // 10**6)
    if dry_run:
        founding.check(force=force)
        _plan(call, founding)
    else:
        _report(call, founding, founding.make(force=force))


def _plan(call: Call, founding: "Founding") -> None:
    moved = [str(path) for path in founding.taken]
    keys = list(founding.key_names)
    lines = [f"would move {path} into previous-N" for path in moved]
    lines.append(f"would make {founding.root} with {len(founding.miners)} miners and {len(keys)} keys")
    call.output.answer({"workspace": str(founding.root), "keys": keys, "moved": moved}, lines)


def _report(call: Call, founding: "Founding", genesis: Genesis) -> None:
    workspace = Workspace(founding.root)
    requester, supply = genesis.supply[0]
    offline = len(genesis.roster) - genesis.quorum
    place = min(os.path.relpath(founding.root), str(founding.root), key=len)
    following = "fedcoin train" + (f" -C {shlex.quote(place)}" if place != "." else "")
    data = {
        "workspace": str(founding.root),
        "genesis": genesis.id,
        "miners": list(genesis.roster),
        "offline": offline,
        "clients": [workspace.key(name).address for name in founding.clients],
        "requester": requester,
        "server": workspace.key(SERVER).address,
        "next": following,
    }
    lines = [
        f"workspace  {founding.root}",
        f"genesis    {genesis.id}",
        f"miners     {len(genesis.roster)}, of which {offline} may be offline",
        f"clients    {len(founding.clients)}",
        f"requester  {requester} holds {format_micro(supply)} FedCoin",
        "",
        f"next: {following}",
    ]
    call.output.answer(data, lines)
