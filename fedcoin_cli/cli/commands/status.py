"""Show which miners answer, how far they are and what they do.

Asking is `application.line`'s business.
"""

import time
from typing import TYPE_CHECKING

from fedcoin_cli.cli.amounts import errors_text
from fedcoin_cli.cli.options import Call
from fedcoin_cli.cli.output import table
from fedcoin_cli.cli.passphrases import PassphraseFile

if TYPE_CHECKING:
    from fedcoin_cli.application.requester.standing import MinerState
    from fedcoin_cli.application.workspace.workspace import Workspace
    from fedcoin_cli.runtime.keeper import Falls

WAIT_S = 1.5


def run(call: Call, passphrase_file: PassphraseFile = None) -> None:
    """Show which miners answer, how far they are and what they do.

    It also tells how many miners may be offline, and works when none is up.
    """
    from fedcoin_cli.application.books.books import certified_tip
    from fedcoin_cli.application.miner.events import clock_behind
    from fedcoin_cli.application.requester.standing import ask

    workspace = call.workspace(passphrase_file)
    genesis, height = workspace.genesis(), certified_tip(workspace).height
    miners = ask(workspace, WAIT_S)
    fallen = _fallen(workspace)
    up = sum(one.standing is not None for one in miners)
    offline = len(miners) - genesis.quorum
    data = {
        "genesis": genesis.id,
        "height": height,
        "quorum": genesis.quorum,
        "offline_allowed": offline,
        "reachable": up,
        "miners": [_data(one, fallen.get(one.address)) for one in miners],
    }
    verdict = "blocks can become final" if up >= genesis.quorum else f"at least {genesis.quorum} must be up"
    lines = [
        *table(["miner", "endpoint", "state", "height", "doing"], map(_row, miners)),
        *(_line(one.name, fallen[one.address]) for one in miners if one.address in fallen),
        "",
        f"{up} of {len(miners)} miners up, {offline} may be offline: {verdict}",
        f"the longest ledger here is certified to height {height}",
    ]
    clocks = {one.name: said for one in workspace.miners if (said := clock_behind(one.log)) is not None}
    data["clocks_behind"] = clocks
    lines += [f"{name}: {said}" for name, said in clocks.items()]
    call.output.answer(data, lines)


def _fallen(workspace: "Workspace") -> "dict[str, Falls]":
    """Local miners that fell and were started again, by address."""
    from fedcoin_cli.runtime.keeper import falls_of

    found = ((miner.name, falls_of(miner.process)) for miner in workspace.miners)
    return {workspace.address(name): falls for name, falls in found if falls is not None}


def _line(name: str, falls: "Falls") -> str:
    times = "once" if falls.restarts == 1 else f"{falls.restarts} times"
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(falls.last_s))
    return f"{name} fell and was started again {times}, last at {at} ({falls.how})"


def _data(one: "MinerState", falls: "Falls | None") -> dict[str, object]:
    data: dict[str, object] = {"name": one.name, "address": one.address, "endpoint": one.endpoint}
    data |= {"reachable": one.standing is not None, "refused": one.denied}
    if falls is not None:
        data |= {"restarts": falls.restarts, "last_fall": {"time": falls.last_s, "how": falls.how}}
    return data | (one.standing.to_json() if one.standing else {})


def _row(one: "MinerState") -> list[object]:
    standing = one.standing
    if standing is None:
        return [one.name, one.endpoint or "-", "refuses this key" if one.denied else "down", "-", ""]
    doing = standing.phase
    if standing.task is not None:
        doing += f" {standing.task[:16]}"
    if standing.phase == "files" and standing.total:
        doing = f"inspecting {standing.evaluated} of {standing.total} coalitions"
    if standing.phase == "mining":
        done = (
            f"{standing.evaluated} of {standing.total}" if standing.total else f"{standing.rankings} rankings"
        )
        doing += f", {done}, {standing.remaining_ms / 1000:.0f} s left"
        if standing.errors is not None:
            doing += f", {errors_text(standing.errors)}"
    return [one.name, one.endpoint, "up", standing.height, doing]
