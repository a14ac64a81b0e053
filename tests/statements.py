"""What miners were heard to say, and whether anybody contradicted itself: signatures checked, everything remembered.

A miner signs one proposal and one NOTAR, SKIP and FINAL a view, never both SKIP and FINAL of one, and one COMMIT an
attempt. Only what carries its own valid signature is held against it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fedcoin_cli.protocol.message import Certified, CommitNote, Message, Proposal, Recalled, Vote
from ledger_store.base.names import Address
from ledger_store.block import vote_terms
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import verify
from ledger_store.transaction import commit_terms

Place = tuple[Any, ...]


@dataclass
class Statements:
    """The first thing said in every place where only one may be said."""

    genesis: Genesis
    said: dict[Place, str] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)

    def hear(self, message: Message) -> None:
        """Take every signed statement out of a message."""
        for place, what, signer, kind, terms, signature in self._signed(message):
            if self.said.get(place) == what:
                continue
            if verify(Address(signer), kind, self.genesis.id, terms, signature):
                self._take(place, what)

    def _take(self, place: Place, what: str) -> None:
        if place in self.said:
            self.conflicts.append(f"two things were said as {place}")
        self.said[place] = what
        other = {"skip": "final", "final": "skip"}.get(str(place[0]))
        if other is not None and (other, *place[1:]) in self.said:
            self.conflicts.append(f"skip and final of one view: {place[1:]}")

    def _signed(self, message: Message) -> Iterator[tuple[Place, str, str, str, Any, str]]:
        match message:
            case Vote():
                yield self._vote(message)
            case Recalled():
                yield from map(self._vote, message.votes)
                if message.commit is not None:
                    yield from self._signed(message.commit)
            case Certified():
                yield from self._certificate(message)
            case Proposal():
                signer = self.genesis.roster[message.proposer]
                place: Place = ("proposal", message.proposer, message.height, message.view)
                yield place, message.block.id, signer, "proposal", message.terms(), message.signature
            case CommitNote(task, attempt, commit):
                place = ("commit", commit.miner, task, attempt)
                terms = commit_terms(task, attempt, commit.digest)
                yield place, commit.digest, commit.miner, "commit", terms, commit.signature

    def _vote(self, vote: Vote) -> tuple[Place, str, str, str, Any, str]:
        place = (vote.kind, vote.voter, vote.height, vote.view)
        terms = vote_terms(vote.height, vote.view, vote.block)
        return place, vote.block or "", self.genesis.roster[vote.voter], vote.kind, terms, vote.signature

    def _certificate(self, proof: Certified) -> Iterator[tuple[Place, str, str, str, Any, str]]:
        view = proof.certificate.view
        for voter, signature in proof.certificate.signatures:
            yield self._vote(Vote(proof.votes, voter, proof.height, view, proof.block, signature))
