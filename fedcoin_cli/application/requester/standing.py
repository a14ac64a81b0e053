"""Asking all miners how things stand, for `status` and `mine --live`; believed by nobody but who reads it."""

import time
from dataclasses import dataclass
from typing import Self

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


class Standings:
    """An open line to all miners of a workspace's roster: a context manager. Raises `KeyFailure` without a key."""

    def __init__(self, workspace: Workspace) -> None:
        self._genesis, self._names = workspace.genesis(), Names.of(workspace)
        self._peers = {peer.address: peer for peer in listening(workspace.peers_file, self._genesis.roster)}
        self._line = Line(_any_key(workspace), self._peers.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    @property
    def complete(self) -> bool:
        """Whether all miners that can be reached have answered lately."""
        return len(self._line.standings()) == len(self._peers)

    def turn(self) -> None:
        """Ask and listen for a moment."""
        self._line.turn(TURN_MS)

    def states(self) -> list[MinerState]:
        """Every miner in roster order, by what it said in the last seconds."""
        denied, standings = self._line.denied, self._line.standings()
        return [
            MinerState(
                self._names.name(one), one, _endpoint(self._peers.get(one)), one in denied, standings.get(one)
            )
            for one in self._genesis.roster
        ]


def ask(workspace: Workspace, wait_s: float) -> list[MinerState]:
    """Every miner in roster order, after at most `wait_s` seconds; raises `KeyFailure` without any key."""
    with Standings(workspace) as standings:
        until_s = time.monotonic() + wait_s
        while time.monotonic() < until_s and not standings.complete:
            standings.turn()
        return standings.states()


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
