"""Finality: one block a height, whatever crashes, partitions and delays do and up to f miners lie (pure).

Single-shot Simplex (Chan and Pass, 2023) with idle gating. One `Simplex` object decides one height and is then
thrown away. Messages, votes and time come in through `receive` and `tick`; effects come out, in an order that the
driver must keep: a `Persist` is durable before any later `Send` leaves.

Theory of operation. Views 0, 1, 2, … have leaders in roster order. In a view a miner does these things:

    event                                            does                          rule that keeps it safe
    leader, something to pack or a block to repeat   PROPOSAL(v), once             repeats the block of the highest
                                                                                   notarised lower view; a fresh block
                                                                                   needs a skip of every lower view
    proposal of v, valid (and acceptable if fresh)   NOTAR(v), once, current view
    q NOTAR(v) and the body                          FINAL(v), for past views too  never after own SKIP(v), nor
                                                                                   own NOTAR(v) of another block
    timer of v fired                                 SKIP(v)                       never with a notarisation of v
                                                                                   or own FINAL(v)
    q SKIP(v)                                        enter v + 1
    q NOTAR(v), then T_final                         enter v + 1
    justified proposal of a higher view              enter that view
    q FINAL(w) of any view w, and the body           decide

A FINAL quorum and a SKIP quorum of one view exclude each other, so every later justified proposal repeats the block.
The timer of a height runs only once the height is armed: something to decide is known, or an honest miner acts. One
vote of somebody else arms nothing: a liar could make an idle chain burn views.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from fedcoin_cli.consensus.amnesia import Forgotten
from fedcoin_cli.network.message import Certified, Proposal, Vote
from ledger_store.block import VIEW_MAX, Block, Certificate, vote_terms

VIEWS_AHEAD = 64
RECALLED_MOST = 1_000
TIMEOUT_MAX_MS = 100_000


class Judge(Protocol):
    """What the machine asks of its node; each answer is a pure function of the node's state at that moment."""

    def valid(self, block: Block) -> bool:
        """Deterministic: parent state and block bytes decide."""
        ...

    def acceptable(self, block: Block) -> bool:
        """Local, asked for fresh blocks only: what this node holds decides; False may become True later."""
        ...

    def pack(self, view: int) -> Block | None:
        """A fresh block for `view`, or None when there is nothing to pack."""
        ...


class Signer(Protocol):
    """Signatures of this miner and of the roster; stubs in most simulations, Ed25519 otherwise."""

    def sign(self, kind: str, terms: dict[str, object]) -> str:
        """This miner's signature."""
        ...

    def verify(self, miner: int, kind: str, terms: dict[str, object], signature: str) -> bool:
        """Whether roster[miner] signed."""
        ...


@dataclass(frozen=True, slots=True)
class Council:
    """Who decides: R miners, this one's index, the quorum, the bound on message delay."""

    miners: int
    me: int
    delta_ms: int
    quorum: int
    faults: int
    validation_ms: int = 1_000

    def leader(self, height: int, view: int) -> int:
        """Roster order, nobody else: a leader derived from a block id could be ground."""
        return (height + view) % self.miners

    def timeout_ms(self, view: int) -> int:
        """T_v = min(100 s, T0 · 1.5^v), T0 = 4Δ + the time that validation takes."""
        start = 4 * self.delta_ms + self.validation_ms
        return min(TIMEOUT_MAX_MS, start * 3**view // 2**view) if view < 40 else TIMEOUT_MAX_MS


@dataclass(frozen=True, slots=True)
class Persist:
    """Make durable before anything that follows."""

    record: Proposal | Vote | Certified


@dataclass(frozen=True, slots=True)
class Send:
    """To all other miners."""

    message: Proposal | Vote | Certified


@dataclass(frozen=True, slots=True)
class Decide:
    """The height's block is final."""

    block: Block
    certificate: Certificate


Effect = Persist | Send | Decide


@dataclass
class _View:
    """What is known of one view."""

    proposal: Proposal | None = None
    notar: dict[str, dict[int, str]] = field(default_factory=dict)
    skip: dict[int, str] = field(default_factory=dict)
    final: dict[str, dict[int, str]] = field(default_factory=dict)
    notarised: tuple[str, Certificate] | None = None
    skipped: Certificate | None = None
    own_proposal: Proposal | None = None
    own_notar: Vote | None = None
    own_skip: Vote | None = None
    own_final: Vote | None = None
    skip_kept: bool = False
    notarisation_kept: bool = False
    # Only more than f liars bring about a second notarisation; what a liar said twice counts once.
    rival: tuple[str, Certificate] | None = None
    seconds: dict[tuple[str, int], Vote] = field(default_factory=dict)

    def own_votes(self) -> list[Vote]:
        return [vote for vote in (self.own_notar, self.own_skip, self.own_final) if vote is not None]

    def agrees(self, block: str) -> bool:
        """Whether no own vote of this view is for another block: a fork's culprits are named by that."""
        return all(vote is None or vote.block == block for vote in (self.own_notar, self.own_final))


class Simplex:
    """The machine of one height.

    `voting` False makes it observe only (a miner whose log is not trusted yet). `restore` feeds back what was
    persisted; call it before anything else.
    """

    def __init__(self, council: Council, height: int, signer: Signer, judge: Judge, now_ms: int) -> None:
        self.council = council
        self.height = height
        self.voting = True
        self.view = 0
        self.armed = False
        self.decided = False
        self._signer = signer
        self._judge = judge
        self._now = now_ms
        self._views: dict[int, _View] = {}
        self._bodies: dict[str, Block] = {}
        self._kept_bodies: set[str] = set()
        self._finals: tuple[str, Certificate] | None = None
        self._timeout_at: int | None = None
        self._leave_at: int | None = None
        self._silent_to = -1
        self._out: list[Effect] = []

    # Inputs -----------------------------------------------------------------------------------------------------

    def restore(self, records: list[Proposal | Vote | Certified | Forgotten], now_ms: int) -> None:
        """Take back own votes, own proposals and notarisations from the log, without sending anything."""
        self._now = now_ms
        for record in records:
            match record:
                case Proposal():
                    self._restore_proposal(record)
                case Vote():
                    self._keep_own(record)
                    if record.kind != "final":
                        self._enter(max(self.view, record.view))
                case Certified():
                    self._learn_certified(record)
                    view = self._at(record.certificate.view)
                    view.skip_kept |= record.votes == "skip"
                    view.notarisation_kept |= record.votes == "notar"
                    self._kept_bodies |= set(self._bodies)
                case Forgotten():
                    self._silent_to = max(self._silent_to, record.silent_to(self.height))
        self._out.clear()
        self.armed = self.armed or any(not isinstance(record, Forgotten) for record in records)

    def _restore_proposal(self, proposal: Proposal) -> None:
        view = self._at(proposal.view)
        view.proposal = proposal
        self._bodies[proposal.block.id] = proposal.block
        self._kept_bodies.add(proposal.block.id)
        if proposal.proposer == self.council.me:
            view.own_proposal = proposal
        self._enter(max(self.view, proposal.view))

    def receive(self, message: Proposal | Vote | Certified, now_ms: int) -> list[Effect]:
        """A message of this height from elsewhere; what does not verify is ignored."""
        self._now = now_ms
        if message.height != self.height or self.decided:
            return []
        match message:
            case Proposal():
                self._on_proposal(message)
            case Vote():
                self._on_vote(message)
            case Certified():
                if self._certified(message):
                    self._learn_certified(message)
        return self._advance()

    def tick(self, now_ms: int) -> list[Effect]:
        """Time has passed, or what the judge knows has changed."""
        self._now = now_ms
        return [] if self.decided else self._advance()

    def arm(self, now_ms: int) -> list[Effect]:
        """There is something to decide: start the clock of this height."""
        self.armed = True
        return self.tick(now_ms)

    def standstill(self) -> list[Effect]:
        """What others may lack: own votes, the best notarisation, skip certificates above it, the own proposal."""
        best = self._best_notarised()
        again: list[Proposal | Vote | Certified] = []
        for number, view in sorted(self._views.items()):
            again += [vote for vote in view.own_votes() if number >= best or vote.kind == "final"]
            if number > best and view.skipped is not None:
                again.append(Certified("skip", self.height, None, view.skipped, None))
        if best >= 0:
            block, certificate = self._notarised(best)
            again.append(Certified("notar", self.height, block, certificate, self._bodies.get(block)))
        own = self._at(self.view).own_proposal
        if own is not None:
            again.append(own)
        return [Send(message) for message in again]

    # Questions --------------------------------------------------------------------------------------------------

    @property
    def deadline_ms(self) -> int | None:
        """When `tick` must come at the latest; None: never of its own."""
        if self._timeout_at is None or self._leave_at is None:
            return self._leave_at if self._timeout_at is None else self._timeout_at
        return min(self._timeout_at, self._leave_at)

    def votes_of(self, miner: int) -> tuple[Vote, ...]:
        """The newest votes of `miner` held at this height, alone or in certificates: the answer to its recall."""
        held = [*self._certified_votes(), *self._all_votes()]
        votes = {(vote.view, vote.kind, vote.block): vote for vote in held if vote.voter == miner}
        newest = sorted(votes.values(), key=lambda vote: vote.view)
        return tuple(newest[-RECALLED_MOST:])

    def evidence(self) -> list[Vote | Certified]:
        """Every certificate held, and every vote that is in none of them: what a fork's culprits are named by."""
        proofs = list(self._certificates())
        certified = {(vote.kind, vote.view, vote.block, vote.voter) for vote in _votes_in(proofs)}
        seconds = (vote for view in self._views.values() for vote in view.seconds.values())
        votes = [*self._all_votes(), *seconds]
        loose = (vote for vote in votes if (vote.kind, vote.view, vote.block, vote.voter) not in certified)
        return [*proofs, *loose]

    @property
    def disturbed(self) -> bool:
        """Whether more happened than view 0 with one block: then what was said is worth keeping."""
        first = self._views.get(0, _View())
        blocks = first.notar.keys() | first.final.keys()
        return bool(first.skip or first.seconds or first.rival or len(blocks) > 1 or self._views.keys() - {0})

    def own_votes(self) -> list[Vote]:
        """Every own vote of this height."""
        return [vote for view in self._views.values() for vote in view.own_votes()]

    def _all_votes(self) -> Iterator[Vote]:
        for number, view in sorted(self._views.items()):
            for voter, signature in view.skip.items():
                yield Vote("skip", voter, self.height, number, None, signature)
            for kind, tally in (("notar", view.notar), ("final", view.final)):
                for block, signatures in tally.items():
                    for voter, signature in signatures.items():
                        yield Vote(kind, voter, self.height, number, block, signature)

    def _certified_votes(self) -> Iterator[Vote]:
        """The votes inside certificates: some of them never came alone."""
        return _votes_in(self._certificates())

    def _certificates(self) -> Iterator[Certified]:
        for _, view in sorted(self._views.items()):
            if view.skipped is not None:
                yield Certified("skip", self.height, None, view.skipped, None)
            for notarised in (view.notarised, view.rival):
                if notarised is not None:
                    yield Certified("notar", self.height, *notarised, None)
        if self._finals is not None:
            yield Certified("final", self.height, *self._finals, None)

    # Messages ---------------------------------------------------------------------------------------------------

    def _on_proposal(self, proposal: Proposal) -> None:
        number = proposal.view
        if proposal.proposer != self.council.leader(self.height, number) or not self._signed(proposal):
            return
        if not self._justified(proposal):
            return
        view = self._at(number)
        if view.proposal is None:
            view.proposal = proposal
        if view.proposal is proposal or self._wanted(proposal.block.id):
            self._bodies.setdefault(proposal.block.id, proposal.block)
        if number > self.view:
            self._enter(number)

    def _wanted(self, block: str) -> bool:
        """A certificate names this block: its body is worth keeping even from a leader that proposed two."""
        final = self._finals is not None and self._finals[0] == block
        return final or any(v.notarised is not None and v.notarised[0] == block for v in self._views.values())

    def _justified(self, proposal: Proposal) -> bool:
        """The block repeats the named notarisation, or is fresh; every view between was skipped."""
        best, number = proposal.justified, proposal.view
        if not -1 <= best < number or len(proposal.skips) != number - best - 1:
            return False
        fresh = best == -1
        if fresh != (proposal.notarisation is None) or (fresh and proposal.block.header.view != number):
            return False
        for skipped, certificate in zip(range(best + 1, number), proposal.skips, strict=True):
            proof = Certified("skip", self.height, None, certificate, None)
            if certificate.view != skipped or not self._certified(proof):
                return False
            self._learn_certified(proof)
        if proposal.notarisation is not None:
            proof = Certified("notar", self.height, proposal.block.id, proposal.notarisation, proposal.block)
            if proposal.notarisation.view != best or not self._certified(proof):
                return False
            self._learn_certified(proof)
        return True

    def _on_vote(self, vote: Vote) -> None:
        if not 0 <= vote.voter < self.council.miners or vote.view > self.view + VIEWS_AHEAD:
            return
        if vote.voter == self.council.me or self._held(vote):
            return
        terms = vote_terms(self.height, vote.view, vote.block)
        if self._signer.verify(vote.voter, vote.kind, terms, vote.signature):
            self._tally(vote)

    def _held(self, vote: Vote) -> bool:
        """A miner's first vote of a kind and view counts; a second one proves its fault, more are not stored."""
        view = self._at(vote.view)
        if vote.block is None:
            return vote.voter in view.skip
        tally = view.notar if vote.kind == "notar" else view.final
        return vote.voter in tally.get(vote.block, ()) or (vote.kind, vote.voter) in view.seconds

    def _tally(self, vote: Vote) -> None:
        view = self._at(vote.view)
        if vote.kind == "skip":
            view.skip[vote.voter] = vote.signature
            if len(view.skip) > self.council.faults:
                self.armed = True
            if len(view.skip) >= self.council.quorum and view.skipped is None:
                view.skipped = self._collect(vote.view, view.skip)
            return
        assert vote.block is not None
        tally = view.notar if vote.kind == "notar" else view.final
        if any(vote.voter in other for block, other in tally.items() if block != vote.block):
            view.seconds[vote.kind, vote.voter] = vote
            return
        signatures = tally.setdefault(vote.block, {})
        signatures[vote.voter] = vote.signature
        if vote.voter == self.council.me or len(signatures) > self.council.faults:
            self.armed = True
        if len(signatures) >= self.council.quorum:
            certificate = self._collect(vote.view, signatures)
            self._learn_certified(Certified(vote.kind, self.height, vote.block, certificate, None))

    def _collect(self, view: int, signatures: dict[int, str]) -> Certificate:
        chosen = sorted(signatures.items())[: self.council.quorum]
        return Certificate(view, tuple(chosen))

    def _certified(self, proof: Certified) -> bool:
        """Exactly q distinct miners in order signed this vote; what is held already is not checked again."""
        certificate = proof.certificate
        view = self._views.get(certificate.view)
        if view is not None and self._known(view, proof):
            return True
        indices = [index for index, _ in certificate.signatures]
        if (
            len(indices) != self.council.quorum
            or indices != sorted(set(indices))
            or indices[-1] >= self.council.miners
        ):
            return False
        terms = vote_terms(self.height, certificate.view, proof.block)
        verify = self._signer.verify
        return all(
            verify(index, proof.votes, terms, signature) for index, signature in certificate.signatures
        )

    @staticmethod
    def _known(view: _View, proof: Certified) -> bool:
        if proof.votes == "skip":
            return view.skipped is not None
        held = (view.notarised, view.rival) if proof.votes == "notar" else ()
        return any(notarised is not None and notarised[0] == proof.block for notarised in held)

    def _learn_certified(self, proof: Certified) -> None:
        view = self._at(proof.certificate.view)
        if proof.body is not None:
            self._bodies.setdefault(proof.body.id, proof.body)
        self.armed = True
        if proof.votes == "skip":
            view.skipped = view.skipped or proof.certificate
        elif proof.votes == "notar":
            assert proof.block is not None
            view.notarised = view.notarised or (proof.block, proof.certificate)
            if view.notarised[0] != proof.block:
                view.rival = view.rival or (proof.block, proof.certificate)
        else:
            assert proof.block is not None
            self._finals = self._finals or (proof.block, proof.certificate)

    # Progress ---------------------------------------------------------------------------------------------------

    def _advance(self) -> list[Effect]:
        """Do everything that the rules allow now, until nothing changes."""
        while not self.decided and (
            self._decide()
            or self._keep()
            or self._finalise()
            or self._leave()
            or self._propose()
            or self._notarise()
            or self._skip()
        ):
            pass
        out, self._out = self._out, []
        return out

    def _decide(self) -> bool:
        if self._finals is None or self._finals[0] not in self._bodies:
            return False
        block, certificate = self._finals
        self.decided = True
        self._out.append(Decide(self._bodies[block], certificate))
        return True

    def _keep(self) -> bool:
        """Certificates must survive a crash of all: without them no later leader could justify its proposal."""
        for view in self._views.values():
            if view.skipped is not None and not view.skip_kept:
                view.skip_kept = True
                self._out.append(Persist(Certified("skip", self.height, None, view.skipped, None)))
            if view.notarised is not None and not view.notarisation_kept:
                block, certificate = view.notarised
                body = None if block in self._kept_bodies else self._bodies.get(block)
                if body is not None or block in self._kept_bodies:
                    view.notarisation_kept = True
                    self._kept_bodies.add(block)
                    self._out.append(Persist(Certified("notar", self.height, block, certificate, body)))
        return False

    def _finalise(self) -> bool:
        if not self.voting:
            return False
        for number, view in sorted(self._views.items()):
            if view.notarised is None or not view.notarisation_kept or number <= self._silent_to:
                continue
            if view.own_final is None and view.own_skip is None and view.agrees(view.notarised[0]):
                self._vote("final", number, view.notarised[0])
                return True
        return False

    def _leave(self) -> bool:
        best = self._best_notarised()
        if self._at(self.view).skipped is not None:
            self._enter(self.view + 1)
            return True
        if best < self.view:
            return False
        if self._leave_at is None:
            self._leave_at = self._now + 2 * self.council.delta_ms
        if self._now < self._leave_at:
            return False
        self._enter(best + 1)
        return True

    def _propose(self) -> bool:
        view = self._at(self.view)
        leads = self.council.leader(self.height, self.view) == self.council.me
        if not leads or not self._speaks or view.own_proposal is not None:
            return False
        best = self._best_notarised(self.view)
        block = self._judge.pack(self.view) if best < 0 else self._bodies.get(self._notarised(best)[0])
        skips = [self._at(number).skipped for number in range(best + 1, self.view)]
        if block is None or None in skips:
            return False
        proposal = Proposal(
            proposer=self.council.me,
            view=self.view,
            block=block,
            justified=best,
            notarisation=None if best < 0 else self._notarised(best)[1],
            skips=tuple(skip for skip in skips if skip is not None),
            signature="",
        )
        proposal = replace(proposal, signature=self._signer.sign("proposal", proposal.terms()))
        view.proposal = view.own_proposal = proposal
        self._bodies.setdefault(block.id, block)
        self._kept_bodies.add(block.id)
        self._out += [Persist(proposal), Send(proposal)]
        return True

    def _notarise(self) -> bool:
        view = self._at(self.view)
        proposal = view.proposal
        if proposal is None or view.own_notar is not None or not self._speaks:
            return False
        if not view.agrees(proposal.block.id):
            return False
        if not self._judge.valid(proposal.block):
            return False
        # A notarised block that comes again is taken on its certificate: checking again would deadlock.
        if proposal.justified < 0 and not self._judge.acceptable(proposal.block):
            return False
        if proposal.block.id not in self._kept_bodies:
            self._kept_bodies.add(proposal.block.id)
            self._out.append(Persist(proposal))
        self._vote("notar", self.view, proposal.block.id)
        return True

    def _skip(self) -> bool:
        """The timer: it runs while the height is armed, and gives one SKIP a view."""
        if self._timeout_at is None:
            if self.armed:
                self._timeout_at = self._now + self.council.timeout_ms(self.view)
            return False
        if self._now < self._timeout_at:
            return False
        self._timeout_at = self._now + self.council.timeout_ms(self.view)
        view = self._at(self.view)
        done = view.notarised is not None or view.own_final is not None or view.own_skip is not None
        if done or not self.voting or self.view < self._silent_to:
            return False
        self._vote("skip", self.view, None)
        return True

    @property
    def _speaks(self) -> bool:
        """Whether proposals and NOTARs of the present view are this miner's to give."""
        return self.voting and self.view > self._silent_to

    # Small parts ------------------------------------------------------------------------------------------------

    def _vote(self, kind: str, view: int, block: str | None) -> None:
        signature = self._signer.sign(kind, vote_terms(self.height, view, block))
        vote = Vote(kind, self.council.me, self.height, view, block, signature)
        self._out += [Persist(vote), Send(vote)]
        self._keep_own(vote)

    def _keep_own(self, vote: Vote) -> None:
        view = self._at(vote.view)
        if vote.kind == "notar":
            view.own_notar = vote
        elif vote.kind == "skip":
            view.own_skip = vote
        else:
            view.own_final = vote
        self._tally(vote)

    def _enter(self, number: int) -> None:
        if number == self.view:
            return
        self.view = number
        self._timeout_at = None
        self._leave_at = None

    def _signed(self, proposal: Proposal) -> bool:
        return self._signer.verify(proposal.proposer, "proposal", proposal.terms(), proposal.signature)

    def _at(self, number: int) -> _View:
        if number not in self._views:
            self._views[number] = _View()
        return self._views[number]

    def _notarised(self, number: int) -> tuple[str, Certificate]:
        notarised = self._views[number].notarised
        assert notarised is not None
        return notarised

    def _best_notarised(self, below: int = VIEW_MAX + 1) -> int:
        """The highest view under `below` with a notarisation held, else −1."""
        best = -1
        for number, view in self._views.items():
            if view.notarised is not None and best < number < below:
                best = number
        return best


def _votes_in(proofs: Iterable[Certified]) -> Iterator[Vote]:
    """The single votes of certificates."""
    for proof in proofs:
        for voter, signature in proof.certificate.signatures:
            yield Vote(proof.votes, voter, proof.height, proof.certificate.view, proof.block, signature)
