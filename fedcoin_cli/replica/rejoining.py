"""A miner that comes back: what it said before it fell, what others hold of its words, and when it votes again."""

from dataclasses import replace

from fedcoin_cli.consensus.amnesia import Forgotten
from fedcoin_cli.consensus.council import Signer
from fedcoin_cli.consensus.posap import Posap
from fedcoin_cli.consensus.simplex import Simplex
from fedcoin_cli.protocol.message import Certified, Proposal, Recalled, Reminder, Silence, Vote
from fedcoin_cli.replica.catchup import Recovery
from fedcoin_cli.replica.ports import Log
from fedcoin_cli.replica.records import Remembered
from ledger_store.base.names import Address
from ledger_store.block import Block, Certificate
from ledger_store.genesis import Genesis


class Rejoining:
    """What the log remembers, and the recovery until this miner votes; it tells other miners that come back, too."""

    def __init__(
        self,
        genesis: Genesis,
        address: Address,
        signer: Signer,
        log: Log,
        remembered: Remembered,
        height: int,
        patient_until_ms: int,
    ) -> None:
        # The network: who is who on the roster.
        self._genesis = genesis
        # This miner's roster index.
        self._me = genesis.index_of(address)
        # Signs reminders.
        self._signer = signer
        # It is marked while it lacks something.
        self._log = log
        # Kept for good: a ledger that was put back from a copy may be heights behind what this miner said.
        self.said, self._decided = list(remembered.records), remembered.decided
        # Where this miner's memory has gaps: it says nothing there.
        self._forgotten = [record for record in remembered.records if isinstance(record, Forgotten)]
        decided = 0 if self._decided is None else self._decided[0].height
        # Why this miner does not vote yet after its start; None: it votes.
        self._recovery: Recovery | None = Recovery(
            genesis, self._me, signer, height, decided, patient_until_ms, lost=not remembered.whole
        )

    # What was said ----------------------------------------------------------------------------------------------

    def decided_at(self, height: int) -> tuple[Block, Certificate] | None:
        """The block of `height`, if it is the one that the log saw decided."""
        return self._decided if self._decided is not None and self._decided[0].height == height else None

    def said_at(self, height: int) -> list[Proposal | Vote | Certified | Forgotten]:
        """What the machine of a height takes back."""
        said = (record for record in self.said if isinstance(record, Proposal | Vote | Certified))
        return [*self._forgotten, *(record for record in said if record.height == height)]

    # Others that come back --------------------------------------------------------------------------------------

    def answer(self, sender: Address, simplex: Simplex, posap: Posap | None) -> Recalled:
        """What this miner holds of the asker's: its commit in the present attempt, its votes at the present height."""
        commit = None if posap is None else posap.commit_of(sender)
        votes = simplex.ballots.votes_of(self._genesis.index_of(sender))
        return Recalled(simplex.height, votes, commit)

    def remind(self, sender: Address, nonce: str, simplex: Simplex) -> Reminder | None:
        """Tell a miner without its vote log what it may have said; no word of one whose own memory has gaps here."""
        gaps = any(record.silent_to(simplex.height) >= 0 for record in self._forgotten)
        if gaps or self.is_lost:
            return None
        own = tuple((vote.kind, vote.view, vote.block) for vote in simplex.memory.own_votes())
        held = simplex.ballots.votes_of(self._genesis.index_of(sender))
        reminder = Reminder(self._me, sender, nonce, simplex.height, own, held, "")
        signature = self._signer.sign("reminder", reminder.terms())
        return replace(reminder, signature=signature)

    # The own recovery -------------------------------------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        """Whether this miner does not vote yet."""
        return self._recovery is not None

    @property
    def is_lost(self) -> bool:
        """Whether it does not for its log lacks something that it said."""
        return self._recovery is not None and self._recovery.lost

    @property
    def silence(self) -> Silence | None:
        """The same as a word."""
        if self._recovery is None:
            return None
        return Silence.VOTES_LOST if self._recovery.lost else Silence.RECALLING

    def recalled(self, sender: Address, recalled: Recalled, simplex: Simplex) -> None:
        """What another miner holds of this one's votes."""
        if self._recovery is None:
            return
        whole = not self._recovery.lost
        said = (record for record in self.said if isinstance(record, Vote))
        own = [*simplex.memory.own_votes(), *said]
        self._recovery.recalled(sender, recalled, simplex.height, own)
        if whole and self._recovery.lost:
            self._log.mark(whole=False)

    def ended(self, height: int, now_ms: int) -> int | None:
        """Once, when this miner may vote at `height`: the height up to which it may have committed unknowingly."""
        recovery = self._recovery
        if recovery is None or not recovery.ended(height, now_ms):
            return None
        if recovery.lost:
            self._log.mark(whole=True)
        self._recovery = None
        forgotten = max((record.height + 1 for record in self._forgotten), default=-1)
        return height - 1 if recovery.lost else forgotten
