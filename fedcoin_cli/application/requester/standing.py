"""Asking all miners how things stand, for `status` and `mine --live`; believed by nobody but who reads it."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Self

from fedcoin_cli.application.requester.line import Line
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.peers import Peer, listening
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.protocol.message import Silence, Standing
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair

# Frames end a turn at once; only a refusal is seen so late.
TURN_MS = 100


@dataclass(frozen=True, slots=True)
class MinerState:
    """One miner of the roster; `endpoint` is None when peers.toml does not name it, `standing` when it is silent."""

    name: str
    address: Address
    endpoint: str | None
    denied: bool
    standing: Standing | None

    @property
    def silence(self) -> Silence | None:
        """Why it votes for nothing although it answers."""
        return None if self.standing is None else self.standing.silence

    @property
    def votes(self) -> bool:
        """Whether it answers and votes."""
        return self.standing is not None and self.silence is None


@dataclass(frozen=True, slots=True)
class QuorumVerdict:
    """Whether blocks can become final, by what `total` miners say of which `quorum` must vote.

    `hidden` are up and tell nothing: they refuse the key that asks.
    """

    total: int
    quorum: int
    up: int
    voting: int
    hidden: int

    @property
    def final(self) -> bool:
        """Whether blocks can become final."""
        return self.voting >= self.quorum

    @property
    def said(self) -> str:
        """In words."""
        if self.final:
            return "blocks can become final"
        if self.up + self.hidden < self.quorum:
            return f"nothing becomes final: at least {self.quorum} must be up"
        if self.hidden and self.voting + self.hidden >= self.quorum:
            return f"whether blocks become final cannot be told: {self.hidden} refuse the key that asks"
        return f"nothing becomes final: {self.voting} of them vote, at least {self.quorum} must"


def verdict(miners: Collection[MinerState], quorum: int) -> QuorumVerdict:
    """What the miners' states come to."""
    up, voting = sum(one.standing is not None for one in miners), sum(one.votes for one in miners)
    return QuorumVerdict(
        len(miners), quorum, up, voting, sum(one.denied and one.standing is None for one in miners)
    )


class Standings:
    """An open line of `key` to all miners of a workspace's roster: a context manager."""

    def __init__(self, workspace: Workspace, key: KeyPair) -> None:
        self._genesis, self._names = workspace.genesis(), Names.of(workspace)
        self._peers = {peer.address: peer for peer in listening(workspace.peers_file, self._genesis.roster)}
        self._line = Line(key, self._peers.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    @property
    def complete(self) -> bool:
        """Whether all miners that can be reached have answered lately, or refused to."""
        return len(self._line.standings().keys() | set(self._line.denied)) == len(self._peers)

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


def ask(
    workspace: Workspace,
    key: KeyPair,
    wait_s: float,
    enough: Callable[[list[MinerState]], bool] | None = None,
) -> list[MinerState]:
    """Every miner in roster order as soon as all have answered, or it is `enough`, after at most `wait_s` seconds."""
    with Standings(workspace, key) as standings:
        until_s = time.monotonic() + wait_s
        while time.monotonic() < until_s:
            if standings.complete if enough is None else enough(standings.states()):
                break
            standings.turn()
        return standings.states()


def _endpoint(peer: Peer | None) -> str | None:
    return None if peer is None else peer.messages
