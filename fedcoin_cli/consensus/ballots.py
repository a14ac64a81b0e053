"""Ballots: what was voted at one height, counted by view and block, and the certificates that q votes make (pure).

Everything here has a valid signature: votes from elsewhere and certificates are checked once, when they come in. A
miner's first vote of a kind and view counts. A second one for another block proves its fault; it is kept as evidence
and counts for nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from fedcoin_cli.consensus.accountability import contradictions
from fedcoin_cli.consensus.council import Council, Signer
from fedcoin_cli.protocol.message import Certified, Vote
from ledger_store.base.names import BlockId, MinerIndex
from ledger_store.base.words import VoteKind
from ledger_store.block import VIEW_MAX, Certificate, vote_terms

RECALLED_MOST = 1_000


@dataclass
class Ballot:
    """The votes of one view: signatures by voter, for NOTAR and FINAL by block as well."""

    notar: dict[BlockId, dict[MinerIndex, str]] = field(default_factory=dict)
    skip: dict[MinerIndex, str] = field(default_factory=dict)
    final: dict[BlockId, dict[MinerIndex, str]] = field(default_factory=dict)
    notarised: tuple[BlockId, Certificate] | None = None
    skipped: Certificate | None = None
    # Only more than f liars bring about a second notarisation; what a liar said twice counts once.
    rival: tuple[BlockId, Certificate] | None = None
    seconds: dict[tuple[VoteKind, MinerIndex], Vote] = field(default_factory=dict)

    def tally(self, kind: VoteKind) -> dict[BlockId, dict[MinerIndex, str]]:
        """The signatures for each block."""
        return self.notar if kind == VoteKind.NOTAR else self.final


_EMPTY = Ballot()


class Ballots:
    """All votes of one height.

    `stirred` says that an honest miner acts: more than f gave the same vote, or a certificate is known.
    (docs/adr/0007) [P-10.20]
    """

    def __init__(self, council: Council, height: int, signer: Signer) -> None:
        # The height that is voted on.
        self.height = height
        # Whether an honest miner acts here: one vote of a liar must not start a clock.
        self.stirred = False
        # The votes of each view.
        self.views: dict[int, Ballot] = {}
        # The block that q FINALs of one view are for, and their certificate.
        self.final: tuple[BlockId, Certificate] | None = None
        # The quorum, and how many may lie.
        self._council = council
        # Verifies what comes from elsewhere.
        self._signer = signer

    def at(self, view: int) -> Ballot:
        """The ballot of a view, empty if nothing was voted."""
        return self.views.setdefault(view, Ballot())

    # Taking in --------------------------------------------------------------------------------------------------

    def hear(self, vote: Vote) -> None:
        """A vote from elsewhere; what does not verify is ignored."""
        if not 0 <= vote.voter < self._council.miners or vote.voter == self._council.me or self._held(vote):
            return
        terms = vote_terms(self.height, vote.view, vote.block)
        if self._signer.verify(vote.voter, vote.kind, terms, vote.signature):
            self.count(vote)

    def count(self, vote: Vote) -> None:
        """A vote that is known to be signed; q equal ones become a certificate [P-10.4]."""
        ballot = self.at(vote.view)
        if vote.block is None:
            signatures = ballot.skip
        else:
            tally = ballot.tally(vote.kind)
            if any(vote.voter in other for block, other in tally.items() if block != vote.block):
                ballot.seconds[vote.kind, vote.voter] = vote
                return
            signatures = tally.setdefault(vote.block, {})
        signatures[vote.voter] = vote.signature
        self.stirred |= len(signatures) > self._council.faults
        if len(signatures) >= self._council.quorum:
            chosen = sorted(signatures.items())[: self._council.quorum]
            self.learn(
                Certified(vote.kind, self.height, vote.block, Certificate(vote.view, tuple(chosen)), None)
            )

    def learn(self, proof: Certified) -> None:
        """A certificate that is known to be signed; the first of a view stands."""
        ballot = self.at(proof.certificate.view)
        self.stirred = True
        if proof.block is None:
            ballot.skipped = ballot.skipped or proof.certificate
            return
        named = proof.block, proof.certificate
        if proof.votes == VoteKind.FINAL:
            self.final = self.final or named
        elif ballot.notarised is None:
            ballot.notarised = named
        elif ballot.notarised[0] != proof.block:
            ballot.rival = ballot.rival or named

    def _held(self, vote: Vote) -> bool:
        ballot = self.views.get(vote.view, _EMPTY)
        if vote.block is None:
            return vote.voter in ballot.skip
        held = ballot.tally(vote.kind).get(vote.block, ())
        return vote.voter in held or (vote.kind, vote.voter) in ballot.seconds

    # Questions --------------------------------------------------------------------------------------------------

    def proves(self, proof: Certified) -> bool:
        """Exactly q distinct miners in order signed this vote; what is held already is not checked again [P-10.2]."""
        certificate = proof.certificate
        ballot = self.views.get(certificate.view)
        if ballot is not None and _known(ballot, proof):
            return True
        indices = [index for index, _ in certificate.signatures]
        if (
            len(indices) != self._council.quorum
            or indices != sorted(set(indices))
            or indices[-1] >= self._council.miners
        ):
            return False
        terms = vote_terms(self.height, certificate.view, proof.block)
        verify = self._signer.verify
        return all(
            verify(index, proof.votes, terms, signature) for index, signature in certificate.signatures
        )

    def certifies(self, block_id: BlockId) -> bool:
        """Whether a certificate names this block."""
        return any(named is not None and named[0] == block_id for named in (self.final, *self._notarised()))

    def has_skipped(self, view: int) -> bool:
        """Whether the skip certificate of a view is held."""
        ballot = self.views.get(view)
        return ballot is not None and ballot.skipped is not None

    def best_notarised(self, below: int = VIEW_MAX + 1) -> int:
        """The highest view under `below` with a notarisation held, else −1."""
        views = (view for view, ballot in self.views.items() if ballot.notarised is not None and view < below)
        return max(views, default=-1)

    def notarised(self, view: int) -> tuple[BlockId, Certificate]:
        """The block of a view that has a notarisation, and that."""
        notarised = self.views[view].notarised
        assert notarised is not None
        return notarised

    @property
    def disturbed(self) -> bool:
        """Whether something was said that proves more than view 0 with one block: then it is worth keeping.

        That is a certificate of another view or of a SKIP, the same from more than f miners, or two votes of one miner
        that exclude each other. What f miners say once proves nothing: a liar could have everything kept, and so
        nothing for long. (docs/adr/0015, docs/adr/0022) [P-10.32]
        """
        return any(self._tells(view, ballot) for view, ballot in self.views.items()) or bool(
            contradictions(self._said())
        )

    def votes_of(self, index: MinerIndex) -> tuple[Vote, ...]:
        """The newest votes of roster[`index`], alone or in certificates: the answer to its recall."""
        votes = {
            (vote.view, vote.kind, vote.block): vote
            for vote in [*self._in_certificates(), *self.all()]
            if vote.voter == index
        }
        return tuple(sorted(votes.values(), key=lambda vote: vote.view)[-RECALLED_MOST:])

    def evidence(self) -> list[Vote | Certified]:
        """Every certificate held, and every vote that is in none and may prove something with others' evidence.

        These are votes of views up to the last that has a certificate, and beyond them whoever contradicts himself.
        """
        certified = {(vote.kind, vote.view, vote.block, vote.voter) for vote in self._in_certificates()}
        last = max((proof.certificate.view for proof in self._certificates()), default=-1)
        votes = list(self._votes())
        proofs = {vote for pair in contradictions(self._said()).values() for vote in pair}
        loose = (
            vote
            for vote in votes
            if (vote.view <= last or vote in proofs)
            and (vote.kind, vote.view, vote.block, vote.voter) not in certified
        )
        return [*self._certificates(), *loose]

    def all(self) -> Iterator[Vote]:
        """Every vote that counts; some are in certificates only, and not here."""
        for view, ballot in sorted(self.views.items()):
            for voter, signature in ballot.skip.items():
                yield Vote(VoteKind.SKIP, voter, self.height, view, None, signature)
            for kind in (VoteKind.NOTAR, VoteKind.FINAL):
                for block, signatures in ballot.tally(kind).items():
                    for voter, signature in signatures.items():
                        yield Vote(kind, voter, self.height, view, block, signature)

    def _tells(self, view: int, ballot: Ballot) -> bool:
        """Whether q miners, or honest ones among more than f, let view 0 pass, came to another, or chose two blocks."""
        many = [ballot.skip] if view == 0 else [ballot.skip, *ballot.notar.values(), *ballot.final.values()]
        if any(len(signatures) > self._council.faults for signatures in many):
            return True
        return bool(ballot.skipped or ballot.rival or (view and ballot.notarised))

    def _votes(self) -> Iterator[Vote]:
        """Every single vote, those too that count for nothing."""
        yield from self.all()
        for ballot in self.views.values():
            yield from ballot.seconds.values()

    def _said(self) -> Iterator[Vote | Certified]:
        yield from self._certificates()
        yield from self._votes()

    def _in_certificates(self) -> Iterator[Vote]:
        return (vote for proof in self._certificates() for vote in proof.single_votes())

    def _certificates(self) -> Iterator[Certified]:
        for _, ballot in sorted(self.views.items()):
            if ballot.skipped is not None:
                yield Certified(VoteKind.SKIP, self.height, None, ballot.skipped, None)
            for notarised in (ballot.notarised, ballot.rival):
                if notarised is not None:
                    yield Certified(VoteKind.NOTAR, self.height, *notarised, None)
        if self.final is not None:
            yield Certified(VoteKind.FINAL, self.height, *self.final, None)

    def _notarised(self) -> Iterator[tuple[BlockId, Certificate] | None]:
        return (ballot.notarised for ballot in self.views.values())


def _known(ballot: Ballot, proof: Certified) -> bool:
    if proof.votes == VoteKind.SKIP:
        return ballot.skipped is not None
    held = (ballot.notarised, ballot.rival) if proof.votes == VoteKind.NOTAR else ()
    return any(notarised is not None and notarised[0] == proof.block for notarised in held)
