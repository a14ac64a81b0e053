"""Catching up: final blocks asked for, served and verified; and what a restart needs before this miner votes again.

Nothing is believed for who says it: a block comes with its certificate and is checked in full.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from fedcoin_cli.consensus.council import Signer
from fedcoin_cli.protocol.message import BLOCKS_A_FETCH, Fetch, FinalBlock, Recalled, Status, Vote
from fedcoin_cli.replica.ports import Ledger, Ports
from ledger_store.base.names import Address, MinerIndex
from ledger_store.block import vote_terms
from ledger_store.genesis import Genesis

ANSWER_INTERVAL_MS = 100
PEERS_REMEMBERED = 1_000
# What an account is sent of blocks; a question is 60 bytes, its answer up to a megabyte (docs/adr/0043).
ACCOUNT_BYTES_A_S, ACCOUNT_BYTES_AT_ONCE = 2**19, 2**22


@dataclass(frozen=True, slots=True)
class Served:
    """What one peer was sent: the height that it would ask for next, when, and the bytes that count against it."""

    following: int
    at_ms: int
    spent: int

    def left(self, now_ms: int) -> int:
        """The bytes that still count."""
        return max(0, self.spent - (now_ms - self.at_ms) * ACCOUNT_BYTES_A_S // 1_000)


class CatchUp:
    """Fetching and serving final blocks, with a bound on how often the same is asked or answered."""

    def __init__(self, ledger: Ledger, ports: Ports) -> None:
        # Whose blocks are served and fetched.
        self._ledger = ledger
        # The clock, and the way to peers.
        self._ports = ports
        # At which own height each peer was last asked, and when.
        self._asked: dict[Address, tuple[int, int]] = {}
        # What each peer was served: who jumps about waits, and so does an account that has had much.
        self._served: dict[Address, Served] = {}

    @property
    def uncertified(self) -> bool:
        """The tip's certificate was lost with its file; a peer has it."""
        return self._ledger.tip.height > 0 and self._ledger.tip.certificate is None

    def heard(self, sender: Address, height: int) -> None:
        """A peer is at `height`: ask it for blocks when that is above the own."""
        if height > self._ledger.tip.height and self._may_ask(sender):
            self._ports.send(sender, Fetch(self._ledger.tip.height + 1))

    def serve(self, sender: Address, height: int, status: Status) -> None:
        """Final blocks from `height` on, then the own status, so that the other knows whether to ask again.

        [P-11.21]
        """
        if not 1 <= height <= self._ledger.tip.height or not self._may_serve(sender, height):
            return
        tip, now = self._ledger.tip, self._ports.now_ms()
        room = tip.genesis.bounds.block_bytes
        spent = self._served[sender].left(now) if sender in self._served else 0
        number, block = height, self._ledger.block(height)
        for _ in range(BLOCKS_A_FETCH):
            above = self._ledger.block(number + 1) if number < tip.height else None
            certificate = tip.certificate if above is None else above.certificate
            size = len(block.line)
            room -= size
            if certificate is None or (room < 0 and number > height):
                break
            self._ports.send(sender, FinalBlock(block, certificate))
            number, spent = number + 1, spent + size
            if above is None:
                break
            block = above
        self._served[sender] = Served(number, now, spent)
        if len(self._served) > PEERS_REMEMBERED:
            for old in [peer for peer, served in self._served.items() if self._is_over(served)]:
                del self._served[old]
        self._ports.send(sender, status)

    def _may_ask(self, sender: Address) -> bool:
        """Whether this peer was not asked for the same a moment ago."""
        now, height = self._ports.now_ms(), self._ledger.tip.height
        last_height, last_ms = self._asked.get(sender, (-1, 0))
        if height == last_height and now - last_ms < ANSWER_INTERVAL_MS:
            return False
        self._remember(self._asked, sender, height)
        return True

    def _may_serve(self, sender: Address, height: int) -> bool:
        """Whoever reads on is served at once; whoever jumps about waits: answers are much longer than questions."""
        served = self._served.get(sender)
        if served is None:
            return True
        now = self._ports.now_ms()
        if sender not in self._ledger.tip.genesis.roster and served.left(now) >= ACCOUNT_BYTES_AT_ONCE:
            return False
        return height == served.following or now - served.at_ms >= ANSWER_INTERVAL_MS

    def _is_over(self, served: Served) -> bool:
        """Whether it decides nothing any more."""
        now = self._ports.now_ms()
        return now - served.at_ms >= ANSWER_INTERVAL_MS and not served.left(now)

    def _remember(self, heights: dict[Address, tuple[int, int]], sender: Address, height: int) -> None:
        """What is older than the interval decides nothing: accounts come and go, the memory of them does not grow."""
        now = self._ports.now_ms()
        heights[sender] = height, now
        if len(heights) > PEERS_REMEMBERED:
            for old in [peer for peer, (_, at) in heights.items() if now - at >= ANSWER_INTERVAL_MS]:
                del heights[old]


class Recovery:
    """No vote before the log is known to hold everything that this miner ever said and might contradict.

    Up to the height that the log saw decided, its votes are forgotten: a ledger that is behind it catches up first.
    q − 1 others must have told which votes of this miner they hold; until `patient_until_ms` all of them: what an old
    log lacks may be known to one alone. A log that lacks one of them, or that was missing
    (`lost`), is no base for voting: the miner observes until a height that it cannot have reached before. With its
    fault counted among the f, of any q − 1 that answer one works at least at the height before that where this miner
    was: it may vote two above what q − 1 of them told first. Whoever claims more keeps nobody back.
    (docs/adr/0006, docs/adr/0021, docs/adr/0022) [P-10.29]
    """

    def __init__(
        self,
        genesis: Genesis,
        me: MinerIndex,
        signer: Signer,
        height: int,
        decided: int,
        patient_until_ms: int,
        *,
        lost: bool,
    ) -> None:
        # The network: quorum and roster.
        self._genesis = genesis
        # This miner's roster index.
        self._me = me
        # Verifies the votes that others show.
        self._signer = signer
        # The height at work when this process began.
        self._began = height
        # The last height that the log saw decided: at lower ones its votes are forgotten.
        self._decided = decided
        # Until when all others are waited for: one alone may know of a vote.
        self._patient_until_ms = patient_until_ms
        # Whether the log lacks something that this miner said.
        self.lost = lost
        # The height that each told first: a moving chain must not be chased.
        self._first: dict[Address, int] = {}
        # The greatest height that each told.
        self._answered: dict[Address, int] = {}

    def recalled(self, sender: Address, recalled: Recalled, height: int, own: Iterable[Vote]) -> None:
        """One miner's answer; this miner works at `height` and its log holds the votes `own`."""
        if sender not in self._genesis.roster or sender == self._genesis.roster[self._me]:
            return
        # The first answer: a chain that moves on must not be chased for ever.
        self._first.setdefault(sender, recalled.height)
        self._answered[sender] = max(recalled.height, self._answered.get(sender, 0))
        known = {(vote.height, vote.kind, vote.view, vote.block) for vote in own}
        for vote in recalled.votes:
            remembered = (
                vote.height <= self._decided or (vote.height, vote.kind, vote.view, vote.block) in known
            )
            self.lost |= vote.height >= height and not remembered and self._mine(vote)

    def ended(self, height: int, now_ms: int) -> bool:
        """Whether this miner may vote at `height`; who works at a lower one cannot know what was said there.

        [P-10.27] [P-10.28] [P-10.30]
        """
        answers = sum(told >= height for told in self._answered.values())
        if answers < self._genesis.quorum - 1 or height <= self._decided:
            return False
        if answers < len(self._genesis.roster) - 1 and now_ms < self._patient_until_ms:
            return False
        # Who works higher tells nothing of this height, which is decided when more than f do: catch up first.
        if sum(told > height for told in self._answered.values()) > self._genesis.faults:
            return False
        # One height above may have been decided by this miner alone before it fell.
        below = sum(told + 1 < height for told in self._first.values())
        return not self.lost or (below >= self._genesis.quorum - 1 and height > self._began + 1)

    def _mine(self, vote: Vote) -> bool:
        terms = vote_terms(vote.height, vote.view, vote.block)
        return vote.voter == self._me and self._signer.verify(self._me, vote.kind, terms, vote.signature)
