"""Catching up: final blocks asked for, served and verified; and what a restart needs before this miner votes again.

Nothing is believed for who says it: a block comes with its certificate and is checked in full.
"""

from fedcoin_cli.application.ports import Ledger, Ports
from fedcoin_cli.consensus.simplex import Signer, Simplex
from fedcoin_cli.network.message import BLOCKS_A_FETCH, Fetch, FinalBlock, Recalled, Status, Vote
from ledger_store.block import vote_terms
from ledger_store.genesis import Genesis

ANSWER_INTERVAL_MS = 100


class CatchUp:
    """Fetching and serving final blocks, with a bound on how often the same is asked or answered."""

    def __init__(self, ledger: Ledger, ports: Ports) -> None:
        self._ledger = ledger
        self._ports = ports
        self._lately: dict[tuple[str, str], tuple[int, int]] = {}

    @property
    def uncertified(self) -> bool:
        """The tip's certificate was lost with its file; a peer has it."""
        return self._ledger.tip.height > 0 and self._ledger.tip.certificate is None

    def heard(self, sender: str, height: int) -> None:
        """A peer is at `height`: ask it for blocks when that is above the own."""
        if height > self._ledger.tip.height and self._not_lately("fetch", sender, self._ledger.tip.height):
            self._ports.send(sender, Fetch(self._ledger.tip.height + 1))

    def serve(self, sender: str, height: int, status: Status) -> None:
        """Final blocks from `height` on, then the own status, so that the other knows whether to ask again."""
        if not 1 <= height <= self._ledger.tip.height or not self._not_lately("serve", sender, height):
            return
        room = self._ledger.tip.genesis.bounds.block_bytes
        for number in range(height, min(height + BLOCKS_A_FETCH, self._ledger.tip.height + 1)):
            block, certificate = self._ledger.block(number), self._ledger.certificate_of(number)
            room -= len(block.line)
            if certificate is None or (room < 0 and number > height):
                break
            self._ports.send(sender, FinalBlock(block, certificate))
        self._ports.send(sender, status)

    def _not_lately(self, what: str, sender: str, height: int) -> bool:
        """Whether this was not done for this peer and height a moment ago."""
        now = self._ports.now_ms()
        last_height, last_ms = self._lately.get((what, sender), (-1, 0))
        if height == last_height and now - last_ms < ANSWER_INTERVAL_MS:
            return False
        self._lately[what, sender] = height, now
        return True


class Recovery:
    """No vote before the log is known to hold everything that this miner ever said.

    q − 1 others must have told which votes of this miner they hold. A log that lacks one of them, or that was missing
    (`lost`), is no base for voting: the miner observes until a height that nobody can have reached before.
    """

    def __init__(self, genesis: Genesis, me: int, signer: Signer, height: int, *, lost: bool) -> None:
        self._genesis = genesis
        self._me = me
        self._signer = signer
        self._highest = height
        self._lost = lost
        self._answered: set[str] = set()

    def recalled(self, sender: str, recalled: Recalled, simplex: Simplex) -> None:
        """One miner's answer."""
        if sender not in self._genesis.roster or sender == self._genesis.roster[self._me]:
            return
        self._answered.add(sender)
        self._highest = max(self._highest, recalled.height)
        own = {(vote.height, vote.kind, vote.view, vote.block) for vote in simplex.own_votes()}
        for vote in recalled.votes:
            unknown = (vote.height, vote.kind, vote.view, vote.block) not in own
            self._lost |= vote.height >= simplex.height and unknown and self._mine(vote)

    def ended(self, height: int) -> bool:
        """Whether this miner may vote at `height`."""
        if len(self._answered) < self._genesis.quorum - 1:
            return False
        # One height above the highest that was told may have been decided by this miner alone before it fell.
        return not self._lost or height > self._highest + 1

    def _mine(self, vote: Vote) -> bool:
        terms = vote_terms(vote.height, vote.view, vote.block)
        return vote.voter == self._me and self._signer.verify(self._me, vote.kind, terms, vote.signature)
