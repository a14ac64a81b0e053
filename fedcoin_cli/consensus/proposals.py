"""Proposals of one height: who may make one, what justifies it, and the own one."""

from dataclasses import replace

from fedcoin_cli.consensus.ballots import Ballots
from fedcoin_cli.consensus.council import Council, Signer
from fedcoin_cli.consensus.height_memory import HeightMemory
from fedcoin_cli.protocol.message import Certified, Proposal
from ledger_store.base.words import VoteKind
from ledger_store.block import Block

# A proposal must fit into a frame however long a height goes on; standstills bring the certificates before these.
SKIPS_CARRIED = 64


class Proposals:
    """A leader repeats the block of the highest notarised lower view, or packs a fresh one where all were skipped."""

    def __init__(
        self, council: Council, height: int, signer: Signer, ballots: Ballots, memory: HeightMemory
    ) -> None:
        # Who leads.
        self._council = council
        # The height that is proposed for.
        self._height = height
        # Signs for this miner and verifies the roster.
        self._signer = signer
        # All that was voted here, in valid signatures.
        self._ballots = ballots
        # The blocks that may be repeated; certificates that come with a proposal are learnt.
        self._memory = memory

    def is_led(self, proposal: Proposal) -> bool:
        """Whether the leader of its view signed this proposal."""
        leader = self._council.leader(proposal.height, proposal.view)
        terms = proposal.terms()
        return proposal.proposer == leader and self._signer.verify(
            leader, "proposal", terms, proposal.signature
        )

    def is_justified(self, proposal: Proposal) -> bool:
        """The block repeats the named notarisation, or is fresh; every view between was skipped [P-10.6] [P-10.7]."""
        best, number = proposal.justified, proposal.view
        first = number - len(proposal.skips)
        if not -1 <= best < number or first <= best:
            return False
        fresh = best == -1
        if fresh != (proposal.notarisation is None) or (fresh and proposal.block.header.view != number):
            return False
        if not all(self._ballots.has_skipped(view) for view in range(best + 1, first)):
            return False
        for skipped, certificate in zip(range(first, number), proposal.skips, strict=True):
            proof = Certified(VoteKind.SKIP, self._height, None, certificate, None)
            if certificate.view != skipped or not self._ballots.proves(proof):
                return False
            self._memory.learn(proof)
        if proposal.notarisation is not None:
            proof = Certified(
                VoteKind.NOTAR, self._height, proposal.block.id, proposal.notarisation, proposal.block
            )
            if proposal.notarisation.view != best or not self._ballots.proves(proof):
                return False
            self._memory.learn(proof)
        return True

    def make(self, view: int, fresh: Block | None) -> Proposal | None:
        """The own proposal of `view`, `fresh` where there is nothing to repeat; None: it could not be justified."""
        best = self._ballots.best_notarised(below=view)
        block = fresh if best < 0 else self._memory.bodies.get(self._ballots.notarised(best)[0])
        skips = [self._ballots.at(number).skipped for number in range(best + 1, view)]
        if block is None or None in skips:
            return None
        proposal = Proposal(
            proposer=self._council.me,
            view=view,
            block=block,
            justified=best,
            notarisation=None if best < 0 else self._ballots.notarised(best)[1],
            skips=tuple(skip for skip in skips if skip is not None)[-SKIPS_CARRIED:],
            signature="",
        )
        return replace(proposal, signature=self._signer.sign("proposal", proposal.terms()))
