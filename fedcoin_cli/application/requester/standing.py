"""Asking all miners of the roster how things stand, for `status`; believed by nobody but the person who reads it."""

import time
from dataclasses import dataclass

from fedcoin_cli.application.requester.line import Line
from fedcoin_cli.application.workspace.names import Names
from fedcoin_cli.application.workspace.peers import Peer, listening
from fedcoin_cli.application.workspace.workspace import REQUESTER, Workspace
from fedcoin_cli.network.message import Standing
from ledger_store.errors import KeyFailure
from ledger_store.keys import KeyPair

TURN_MS = 50


@dataclass(frozen=True, slots=True)
class MinerState:
    """One miner of the roster; `endpoint` is None when peers.toml does not name it, `standing` when it is silent."""

    name: str
    address: str
    endpoint: str | None
    denied: bool
    standing: Standing | None


def ask(workspace: Workspace, wait_s: float) -> list[MinerState]:
    """Every miner in roster order, after at most `wait_s` seconds; raises `KeyFailure` without any key."""
    genesis, names = workspace.genesis(), Names.of(workspace)
    peers = {peer.address: peer for peer in listening(workspace.peers_file, genesis.roster)}
    line = Line(_any_key(workspace), peers.values())
    try:
        until_s = time.monotonic() + wait_s
        while time.monotonic() < until_s and len(line.standings()) < len(peers):
            line.turn(TURN_MS)
        denied, standings = line.denied, line.standings()
    finally:
        line.close()
    return [
        MinerState(names.name(one), one, _endpoint(peers.get(one)), one in denied, standings.get(one))
        for one in genesis.roster
    ]


def _any_key(workspace: Workspace) -> KeyPair:
    """A key to speak with: the requester's, who holds coins and is let in, else any other."""
    hint = "fedcoin key new requester makes one"
    reason = KeyFailure("no key to speak with", where=str(workspace.keys), hint=hint)
    for name in sorted(workspace.key_names(), key=lambda name: name != REQUESTER):
        try:
            return workspace.key(name)
        except KeyFailure as error:
            reason = error
    raise reason


def _endpoint(peer: Peer | None) -> str | None:
    return None if peer is None else peer.messages
