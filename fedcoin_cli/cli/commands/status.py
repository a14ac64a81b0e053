"""Show which miners answer, how far they are and what they do.

Asking is `application.requester.standing`'s business, what a silence means `workspace.silence`'s.
"""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.program.options import Call, no_nan
from fedcoin_cli.cli.program.output import table
from fedcoin_cli.cli.program.passphrases import PassphraseFile
from fedcoin_cli.cli.views.amounts import errors_text
from fedcoin_cli.protocol.message import Phase
from ledger_store.base.errors import ExitCode

if TYPE_CHECKING:
    from fedcoin_cli.application.requester.standing import MinerState, QuorumVerdict
    from fedcoin_cli.application.workspace.workspace import Workspace
    from fedcoin_cli.runtime.falls import Falls

WAIT_S = 1.5


EXAMPLES = (
    ("fedcoin status", "every miner, and whether blocks can become final"),
    ("fedcoin status --wait 60 -q", "after a start: go on as soon as blocks can"),
)


def run(
    call: Call,
    key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who asks: a key's name; default: one that miners admit."),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            metavar="S", min=0, callback=no_nan, help="Wait at most S seconds until blocks can become final."
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Show which miners answer, how far they are and what they do.

    It also tells how many miners may be offline, who is up and does not vote, and why. Miners answer each other,
    accounts of at least 1 FedCoin, and whoever their peers.toml names; --key chooses as whom to ask. The exit code is 0
    when blocks can become final, 7 when too few miners are up or answer this key, 6 when enough are up and too few
    of them vote.
    """
    from fedcoin_cli.application.books.books import certified_tip
    from fedcoin_cli.application.requester.asking import admitted_key
    from fedcoin_cli.application.requester.standing import ask, verdict

    workspace = call.workspace(passphrase_file)
    genesis, known = workspace.genesis(), certified_tip(workspace).state
    name, asking = admitted_key(workspace, known, key)
    if wait is None:
        miners = ask(workspace, asking, WAIT_S)
    else:
        miners = ask(workspace, asking, wait, lambda states: verdict(states, genesis.quorum).final)
    fallen, outlook = _fallen(workspace), verdict(miners, genesis.quorum)
    offline = len(miners) - genesis.quorum
    data = {
        "genesis": genesis.id,
        "height": known.height,
        "quorum": genesis.quorum,
        "offline_allowed": offline,
        "reachable": outlook.up,
        "voting": outlook.voting,
        "final": outlook.final,
        "asked_as": name,
        "miners": [_data(one, fallen.get(one.address)) for one in miners],
    }
    lines = [
        *table(["miner", "endpoint", "state", "height", "doing"], map(_row, miners)),
        *(_line(one.name, fallen[one.address]) for one in miners if one.address in fallen),
        *_silences(miners),
        "",
        *_refusals(name, outlook),
        f"{outlook.up + outlook.hidden} of {len(miners)} miners up, {offline} may be offline: {outlook.said}",
        f"the longest ledger here is certified to height {known.height}",
    ]
    call.output.answer(data, lines)
    if not outlook.final:
        silent = outlook.up >= genesis.quorum
        raise typer.Exit(ExitCode.CONSENSUS if silent else ExitCode.NETWORK)


def _silences(miners: "Sequence[MinerState]") -> Iterator[str]:
    """Who is up and does not vote, and what to do about it."""
    from fedcoin_cli.application.workspace.silence import remedy, said

    for one in miners:
        if one.silence is not None:
            yield f"{one.name} {said(one.silence)}"
            if hint := remedy(one.silence):
                yield f"  hint: {hint}"


def _refusals(name: str, outlook: "QuorumVerdict") -> Iterator[str]:
    if outlook.hidden:
        yield f"{outlook.hidden} of them tell {name} nothing: they answer miners, accounts of at least 1 FedCoin, and"
        yield "whoever their peers.toml names; --key NAME asks as somebody else"


def _fallen(workspace: "Workspace") -> "dict[str, Falls]":
    """Local miners that fell and were started again, by address."""
    from fedcoin_cli.runtime.falls import falls_of

    found = ((miner.name, falls_of(miner.process)) for miner in workspace.miners)
    return {workspace.address(name): falls for name, falls in found if falls is not None}


def _line(name: str, falls: "Falls") -> str:
    times = "once" if falls.restarts == 1 else f"{falls.restarts} times"
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(falls.last_s))
    return f"{name} fell and was started again {times}, last at {at} ({falls.how})"


def _data(one: "MinerState", falls: "Falls | None") -> dict[str, object]:
    data: dict[str, object] = {"name": one.name, "address": one.address, "endpoint": one.endpoint}
    data |= {"reachable": one.standing is not None, "refused": one.denied, "votes": one.votes}
    if falls is not None:
        data |= {"restarts": falls.restarts, "last_fall": {"time": falls.last_s, "how": falls.how}}
    return data | (one.standing.to_json() if one.standing else {})


def _row(one: "MinerState") -> list[object]:
    standing = one.standing
    if standing is None:
        state = "refuses this key" if one.denied else "down" if one.endpoint else "not in peers.toml"
        return [one.name, one.endpoint or "-", state, "-", ""]
    doing: str = standing.phase
    if standing.task is not None:
        doing += f" {standing.task[:16]}"
    if standing.phase == Phase.FILES and standing.total:
        doing = f"inspecting {standing.evaluated} of {standing.total} coalitions"
    if standing.phase == Phase.MINING:
        done = (
            f"{standing.evaluated} of {standing.total}" if standing.total else f"{standing.rankings} rankings"
        )
        doing += f", {done}, {standing.remaining_ms / 1000:.0f} s left"
        if standing.errors is not None:
            doing += f", {errors_text(standing.errors)}"
    return [one.name, one.endpoint, "up" if one.votes else "does not vote", standing.height, doing]
