"""What one miner knows of a height: its own words view by view, the blocks behind ids, and what of that is durable."""

from dataclasses import dataclass

from fedcoin_cli.consensus.ballots import Ballots
from fedcoin_cli.consensus.council import Council
from fedcoin_cli.protocol.message import Certified, Proposal, Vote
from ledger_store.base.names import BlockId
from ledger_store.base.words import VoteKind
from ledger_store.block import Block


@dataclass
class View:
    """One view as this miner lived it: the proposal that it knows, what it said, which certificates are durable."""

    proposal: Proposal | None = None
    own_proposal: Proposal | None = None
    """Sent once, and the same bytes after a restart."""
    notar: Vote | None = None
    skip: Vote | None = None
    final: Vote | None = None
    skip_kept: bool = False
    certificate_kept: bool = False
    notarisation_kept: bool = False  # with its block

    def votes(self) -> list[Vote]:
        """What this miner said in it."""
        return [vote for vote in (self.notar, self.skip, self.final) if vote is not None]

    def agrees(self, block: BlockId) -> bool:
        """Whether no own vote of this view is for another block: a fork's culprits are named by that.

        (docs/adr/0015) [P-10.14]
        """
        return all(vote is None or vote.block == block for vote in (self.notar, self.final))


class HeightMemory:
    """Beside the ballots, which are everybody's. What it has to keep is for its driver to write."""

    def __init__(self, council: Council, height: int, ballots: Ballots) -> None:
        # Who this miner is.
        self._council = council
        # The one height that is remembered.
        self._height = height
        # All that was voted here, in valid signatures.
        self._ballots = ballots
        # What this miner lived in each view.
        self.views: dict[int, View] = {}
        # Blocks by id: a vote and a certificate name only the id.
        self.bodies: dict[BlockId, Block] = {}
        # Ids of blocks that are on the disk, so that none is written twice.
        self._kept_bodies: set[BlockId] = set()

    def at(self, number: int) -> View:
        """A view as this miner lived it."""
        return self.views.setdefault(number, View())

    def own_votes(self) -> list[Vote]:
        """Every own vote of this height."""
        return [vote for view in self.views.values() for vote in view.votes()]

    # Taking in --------------------------------------------------------------------------------------------------

    def say(self, vote: Vote) -> None:
        """An own vote, which counts like any other."""
        view = self.at(vote.view)
        if vote.kind == VoteKind.NOTAR:
            view.notar = vote
        elif vote.kind == VoteKind.SKIP:
            view.skip = vote
        else:
            view.final = vote
        self._ballots.count(vote)

    def hear(self, proposal: Proposal) -> None:
        """A justified proposal of its view's leader; the first of a view stands."""
        view = self.at(proposal.view)
        if view.proposal is None:
            view.proposal = proposal
        if view.proposal is proposal or self._ballots.certifies(proposal.block.id):
            self.bodies.setdefault(proposal.block.id, proposal.block)

    def learn(self, proof: Certified) -> None:
        """A certificate that is known to be signed, perhaps with its block."""
        if proof.body is not None:
            self.bodies.setdefault(proof.body.id, proof.body)
        self._ballots.learn(proof)

    def keep_proposal(self, proposal: Proposal) -> None:
        """A proposal that is durable or is about to be: the own one is said once, and with the same bytes for ever."""
        view = self.at(proposal.view)
        view.proposal = proposal
        self.bodies[proposal.block.id] = proposal.block
        self._kept_bodies.add(proposal.block.id)
        if proposal.proposer == self._council.me:
            view.own_proposal = proposal

    def restore(self, record: Certified) -> None:
        """A certificate from the log."""
        self.learn(record)
        view = self.at(record.certificate.view)
        self._kept_bodies |= set(self.bodies)
        view.skip_kept |= record.votes == VoteKind.SKIP
        view.certificate_kept |= record.votes == VoteKind.NOTAR
        view.notarisation_kept |= record.votes == VoteKind.NOTAR and record.block in self._kept_bodies

    # Giving out -------------------------------------------------------------------------------------------------

    def is_new(self, block: BlockId) -> bool:
        """Whether this block is not on the disk yet; from now on it is."""
        new = block not in self._kept_bodies
        self._kept_bodies.add(block)
        return new

    def to_keep(self) -> list[Certified]:
        """The certificates that are not durable yet; from now on they are.

        A notarisation also without its block: whoever leaves a view on it says neither SKIP nor NOTAR there later on,
        and the others may need just this certificate. (docs/adr/0001, docs/adr/0022) [P-10.22]
        """
        proofs: list[Certified] = []
        for number, ballot in self._ballots.views.items():
            view = self.at(number)
            if ballot.skipped is not None and not view.skip_kept:
                view.skip_kept = True
                proofs.append(Certified(VoteKind.SKIP, self._height, None, ballot.skipped, None))
            if ballot.notarised is not None and not view.notarisation_kept:
                block, certificate = ballot.notarised
                body = None if block in self._kept_bodies else self.bodies.get(block)
                view.notarisation_kept = body is not None or block in self._kept_bodies
                if view.notarisation_kept:
                    self._kept_bodies.add(block)
                if view.notarisation_kept or not view.certificate_kept:
                    view.certificate_kept = True
                    proofs.append(Certified(VoteKind.NOTAR, self._height, block, certificate, body))
        return proofs

    def said_again(self, present: int) -> list[Proposal | Vote | Certified]:
        """What others may lack: own votes, the best notarisation, skip certificates above it, the own proposal.

        [P-10.24]
        """
        best = self._ballots.best_notarised()
        again: list[Proposal | Vote | Certified] = []
        for number in sorted(self.views.keys() | self._ballots.views.keys()):
            again += [
                vote for vote in self.at(number).votes() if number >= best or vote.kind == VoteKind.FINAL
            ]
            skipped = self._ballots.at(number).skipped
            if number > best and skipped is not None:
                again.append(Certified(VoteKind.SKIP, self._height, None, skipped, None))
        if best >= 0:
            block, certificate = self._ballots.notarised(best)
            again.append(Certified(VoteKind.NOTAR, self._height, block, certificate, self.bodies.get(block)))
        own = self.at(present).own_proposal
        if own is not None:
            again.append(own)
        return again
