"""Reveals of one attempt as they come: those that overtook the close, those that open a commit, those that are held."""

from collections.abc import Iterable
from dataclasses import replace

from fedcoin_cli.consensus.attempt import Attempt, CheckTable, Effect, Send
from fedcoin_cli.consensus.council import Signer
from fedcoin_cli.protocol.message import RevealNote
from ledger_store.base.names import Address, Digest
from ledger_store.transaction import Commit, Reveal


class Reveals:
    """What miners revealed: what is not final cannot be opened, and what is not checked does not count."""

    def __init__(self, attempt: Attempt, signer: Signer) -> None:
        # What the chain fixes for all miners.
        self._attempt = attempt
        # Verifies others.
        self._signer = signer
        # The close's digests by miner; None before the close.
        self.closed: dict[Address, Digest] | None = None
        # Reveals that open a commit, whether checked or not.
        self.opened: dict[Address, Reveal] = {}
        # Reveals whose table is here, whose sums follow, and whose check has ended: these count.
        self.held: dict[Address, Reveal] = {}
        # Miners whose sums do not follow from their table: never held.
        self._false: set[Address] = set()
        # Reveals that overtook the close.
        self.early: list[RevealNote] = []

    def close(self, commits: Iterable[Commit], own: Reveal | None) -> list[Effect]:
        """The close is final: reveal if the own digest is in it, then look at what came too early [P-8.11]."""
        effects: list[Effect] = []
        self.closed = {commit.miner: commit.digest for commit in commits}
        if own is not None and self.closed.get(own.miner) == self._digest(own):
            effects += self.take(RevealNote(self._attempt.task, self._attempt.number, own))
        for note in self.early:
            effects += self.hear(note)
        self.early.clear()
        return effects

    # Rule [P-8.12].
    def hear(self, note: RevealNote) -> list[Effect]:
        """The first reveal of each miner that opens its commit."""
        reveal = note.reveal
        if self.closed is None:
            known = {early.reveal.miner for early in self.early}
            if reveal.miner not in known and self._signed(note):
                self.early.append(note)
            return []
        if reveal.miner in self.opened or self.closed.get(reveal.miner) != self._digest(reveal):
            return []
        return self.take(note) if self._signed(note) else []

    def take(self, note: RevealNote) -> list[Effect]:
        """It opens a commit: relayed once, and its table is checked."""
        self.opened[note.reveal.miner] = note.reveal
        return [Send(note), CheckTable(note.reveal)]

    def checked(self, reveal: Reveal, follows: bool) -> bool:
        """The worker's answer on the sums; True when this reveal counts from now on."""
        if self.opened.get(reveal.miner) != reveal:
            return False
        if follows:
            self.held[reveal.miner] = reveal
        else:
            self._false.add(reveal.miner)
        return follows

    def holds(self, reveal: Reveal) -> bool:
        """Whether it is held, whatever its signature: a liar can sign the same reveal in many ways.

        (docs/adr/0007) [P-8.30]
        """
        held = self.held.get(reveal.miner)
        return held is not None and replace(reveal, signature=held.signature) == held

    def notes(self) -> list[RevealNote]:
        """What others may lack: all that open a commit, but those that are known to be false."""
        task, number = self._attempt.task, self._attempt.number
        return [
            RevealNote(task, number, one) for miner, one in self.opened.items() if miner not in self._false
        ]

    # Rule [P-8.12].
    def _signed(self, note: RevealNote) -> bool:
        reveal = note.reveal
        if reveal.miner not in self._attempt.expected or not self._attempt.admits(reveal):
            return False
        terms = reveal.terms(note.task, note.attempt)
        return self._signer.verify(self._attempt.index(reveal.miner), "reveal", terms, reveal.signature)

    def _digest(self, reveal: Reveal) -> Digest:
        return reveal.commitment(self._attempt.task, self._attempt.number)
