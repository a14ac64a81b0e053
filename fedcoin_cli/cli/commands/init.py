"""Make a workspace: of a new network, or of one that exists.

What a workspace consists of is decided in `application.founding`.
"""

import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.application.workspace.workspace import REQUESTER, SERVER, Workspace
from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.output import counted
from fedcoin_cli.cli.program.passphrases import PassphraseFile, new_passphrase
from ledger_store.base.amount import format_micro
from ledger_store.genesis import Genesis

if TYPE_CHECKING:
    from fedcoin_cli.application.founding.founding import Founding
    from fedcoin_cli.application.founding.plans import Beginning, NetworkPlan
    from fedcoin_cli.application.workspace.configuration import Configuration


EXAMPLES = (
    ("fedcoin init shop --clients 8 --miners 4", "a network of four miners on this machine"),
    ("fedcoin init club --roster roster.toml", "found a network of the miners that a file lists"),
    ("fedcoin init mine --join genesis.json", "enter it, with peers.toml beside genesis.json"),
)


def run(  # noqa: PLR0913, PLR0917 -- one parameter an option
    call: Call,
    directory: Annotated[Path | None, typer.Argument(metavar="DIR", help="Where; default: here.")] = None,
    clients: Annotated[
        str | None, typer.Option(metavar="K", help="How many simulated FL clients get a key.")
    ] = None,
    miners: Annotated[str | None, typer.Option(metavar="R", help="How many local miners there are.")] = None,
    roster: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Found a network of other people's miners, listed in a file."),
    ] = None,
    join: Annotated[
        Path | None, typer.Option(metavar="GENESIS", help="Enter the network of this genesis file.")
    ] = None,
    peers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="--join: where its miners listen; default: peers.toml beside GENESIS."
        ),
    ] = None,
    old: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="OLD",
            help="Succeed this workspace's network: balances, keys and settings go along.",
        ),
    ] = None,
    refund: Annotated[
        bool, typer.Option("--refund", help="--from: give the price of an unfinished task back.")
    ] = False,
    protect: Annotated[
        bool, typer.Option("--protect", help="Seal new keys with a passphrase that is asked for.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    force: Annotated[
        bool, typer.Option("--force", help="Move a workspace that is there already into a folder previous-N.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only tell what would be made.")] = False,
) -> None:
    """Make a workspace: of a new network, or of one that exists.

    Alone it founds a network of R local miners: the keys are requester (who holds the supply), server (the FL
    server that is paid), one a miner and one a client. The genesis fixes the miners and the supply for ever;
    settings.toml may be changed at any time. Keys that are in DIR/keys already are used.

    With --roster the miners are other people's: a section each with address, host and port, as fedcoin key show
    NAME --at HOST:PORT prints it. With --join they are those of a network that exists: a miner whose key is on
    its roster mines here, others publish, pay or audit; send a founder's genesis.json and peers.toml along.

    With --from a chain with another roster goes on where an old one ended: its genesis names the old head and
    mints the old final balances. Stop the old miners first. Together with --join the genesis must be that of a
    successor of OLD, as OLD's own ledger tells.
    """
    from fedcoin_cli.application.founding.founding import Founding

    _check_options(
        join=join, roster=roster, peers=peers, miners=miners, clients=clients, old=old, refund=refund
    )
    root = (directory or call.folder or Path()).resolve()
    brought = _workspace_of(old)
    settings = brought.settings_file if brought else None
    configuration = call.configuration(settings, task__clients=clients, network__miners=miners)
    if join is not None:
        plan = _joined(join, peers, old)
    else:
        beginning = _beginning(root, configuration, old, refund=refund)
        plan = _founded(beginning, configuration, roster, simulated=old is None or clients is not None)
    founding = Founding(root, configuration, plan, old=brought)
    founding.check(force=force)
    if dry_run:
        _plan(call, founding)
        return
    if protect or passphrase_file is not None:
        passphrase = new_passphrase(passphrase_file)
        founding = Founding(root, configuration, plan, passphrase, brought)
    _report(call, founding, founding.make(force=force))


def _check_options(
    *,
    join: Path | None,
    roster: Path | None,
    peers: Path | None,
    miners: str | None,
    clients: str | None,
    old: Path | None,
    refund: bool,
) -> None:
    if join is not None and (roster is not None or miners is not None):
        raise typer.BadParameter(
            "--join enters a network whose miners are fixed: leave out --roster, --miners"
        )
    if roster is not None and miners is not None:
        raise typer.BadParameter("--roster lists the miners: leave out --miners")
    if clients is not None and (join is not None or roster is not None):
        hint = "real clients keep their own keys, and a call says how many there are"
        raise typer.BadParameter(f"--clients makes keys of simulated clients of local miners; {hint}")
    if peers is not None and join is None:
        raise typer.BadParameter("--peers belongs to --join; a roster file holds the endpoints itself")
    if refund and (old is None or join is not None):
        raise typer.BadParameter("--refund belongs to --from, and founding decides it, not joining")


def _workspace_of(old: Path | None) -> Workspace | None:
    """The old workspace, whose keys come along; None for a bare ledger, which has no keys."""
    from ledger_store.base.errors import NoWorkspace

    try:
        return None if old is None else Workspace.find(old)
    except NoWorkspace:
        return None


def _founded(
    beginning: "Beginning", configuration: "Configuration", roster: Path | None, *, simulated: bool
) -> "NetworkPlan":
    from fedcoin_cli.application.founding.plans import Invited, Local

    if roster is not None:
        return Invited(beginning, roster)
    settings = configuration.settings
    return Local(beginning, settings, settings.task.clients if simulated else 0)


def _beginning(root: Path, configuration: "Configuration", old: Path | None, *, refund: bool) -> "Beginning":
    from fedcoin_cli.application.founding.old_chain import end_of, ledger_of
    from fedcoin_cli.application.founding.plans import Beginning

    now_ms, settings = time.time_ns() // 10**6, configuration.settings
    if old is None:
        return Beginning.new(root.name, settings, now_ms)
    said = {key for key, one in configuration.given.items() if one.origin == "flag"}
    if "genesis.supply" in said:
        raise typer.BadParameter("--from carries the old supply over: leave out genesis.supply")
    end = end_of(ledger_of(old), refund=refund)
    return Beginning.after(end, now_ms, settings.genesis.delta_ms if "genesis.delta" in said else None)


def _joined(genesis_file: Path, peers: Path | None, old: Path | None) -> "NetworkPlan":
    from fedcoin_cli.application.founding.old_chain import ledger_of, look_across
    from fedcoin_cli.application.founding.plans import Joined, read_genesis
    from ledger_store.base.errors import LedgerInvalid

    if old is not None:
        ledger = ledger_of(old)
        findings = look_across(read_genesis(genesis_file), ledger).findings
        if findings:
            hint = "ask its founder; bring OLD up to date first, where its ledger ends before the seam"
            message = f"this network does not follow from {ledger}: {findings[0].message}"
            raise LedgerInvalid(message, where=str(genesis_file), hint=hint)
    return Joined(genesis_file, peers or genesis_file.with_name("peers.toml"))


def _plan(call: Call, founding: "Founding") -> None:
    moved = [str(path) for path in founding.taken]
    keys = list(founding.missing)
    lines = [f"would move {path} into previous-N" for path in moved]
    lines.append(
        f"would make {founding.root} with {counted(len(keys), 'new key')}: {', '.join(keys) or 'none'}"
    )
    call.output.answer({"workspace": str(founding.root), "keys": keys, "moved": moved}, lines)


def _report(call: Call, founding: "Founding", genesis: Genesis) -> None:
    workspace = Workspace(founding.root)
    local, offline = [miner.number for miner in workspace.miners], len(genesis.roster) - genesis.quorum
    requester = workspace.address(REQUESTER)
    names = [name for name in workspace.key_names() if name.startswith("client-")]
    place = min(os.path.relpath(founding.root), str(founding.root), key=len)
    alone = len(local) == len(genesis.roster)
    verb = "train" if alone and genesis.predecessor is None else "mine" if local else "status"
    following = f"fedcoin {verb}" + (f" -C {shlex.quote(place)}" if place != "." else "")
    held = dict(genesis.supply).get(requester, 0)
    data = {
        "workspace": str(founding.root),
        "genesis": genesis.id,
        "predecessor": genesis.predecessor,
        "miners": list(genesis.roster),
        "local_miners": local,
        "offline": offline,
        "clients": [workspace.address(name) for name in names],
        "requester": requester,
        "server": workspace.address(SERVER),
        "holds": format_micro(held),
        "next": following,
    }
    here = "" if alone else f", {len(local) or 'none'} of them here"
    lines = [
        f"workspace  {founding.root}",
        f"genesis    {genesis.id}",
        *([f"follows    {genesis.predecessor}"] if genesis.predecessor else []),
        f"miners     {len(genesis.roster)}, of which {offline} may be offline{here}",
        f"clients    {len(names)}",
        f"requester  {requester} holds {format_micro(held)} FedCoin",
        "",
        f"next: {following}",
    ]
    call.output.answer(data, lines)
