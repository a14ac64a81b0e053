"""Show which miners answer, how far they are and what they do.

Asking is `application.line`'s business.
"""

from typing import TYPE_CHECKING

from fedcoin_cli.cli.options import Call
from fedcoin_cli.cli.output import table
from fedcoin_cli.cli.passphrases import PassphraseFile
from ledger_store.amount import format_micro

if TYPE_CHECKING:
    from fedcoin_cli.application.requester.standing import MinerState

WAIT_S = 1.5


def run(call: Call, passphrase_file: PassphraseFile = None) -> None:
    """Show which miners answer, how far they are and what they do.

    It also tells how many miners may be offline, and works when none is up.
    """
    from fedcoin_cli.application.books.books import certified_tip
    from fedcoin_cli.application.requester.standing import ask

    workspace = call.workspace(passphrase_file)
    genesis, height = workspace.genesis(), certified_tip(workspace).height
    miners = ask(workspace, WAIT_S)
    up = sum(one.standing is not None for one in miners)
    offline = len(miners) - genesis.quorum
    data = {
        "genesis": genesis.id,
        "height": height,
        "quorum": genesis.quorum,
        "offline_allowed": offline,
        "reachable": up,
        "miners": [_data(one) for one in miners],
    }
    verdict = "blocks can become final" if up >= genesis.quorum else f"at least {genesis.quorum} must be up"
    lines = [
        *table(["miner", "endpoint", "state", "height", "doing"], map(_row, miners)),
        "",
        f"{up} of {len(miners)} miners up, {offline} may be offline: {verdict}",
        f"the longest ledger here is certified to height {height}",
    ]
    call.output.answer(data, lines)


def _data(one: "MinerState") -> dict[str, object]:
    data: dict[str, object] = {"name": one.name, "address": one.address, "endpoint": one.endpoint}
    data |= {"reachable": one.standing is not None, "refused": one.denied}
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
        if standing.error_micro is not None:
            doing += f", payments ± {format_micro(standing.error_micro)}"
    return [one.name, one.endpoint, "up", standing.height, doing]
