"""Finality: one block a height, whatever crashes, partitions and delays do and up to f miners lie (pure).

Single-shot Simplex (Chan and Pass, 2023) with idle gating. One `Simplex` object decides one height and is then
thrown away. Messages, votes and time come in through `receive` and `tick`; effects come out, in an order that the
driver must keep: a `Persist` is durable before any later `Send` leaves.
Here are the rules; what is remembered is `height_memory`'s, what justifies a proposal `proposals`'s.

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

from dataclasses import dataclass
from typing import Protocol

from fedcoin_cli.consensus.amnesia import Forgotten
from fedcoin_cli.consensus.ballots import Ballots
from fedcoin_cli.consensus.council import Council, Signer
from fedcoin_cli.consensus.height_memory import HeightMemory
from fedcoin_cli.consensus.proposals import Proposals
from fedcoin_cli.consensus.view_timer import ViewTimer
from fedcoin_cli.protocol.message import Certified, Proposal, Vote
from ledger_store.base.names import BlockId
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate, vote_terms

VIEWS_AHEAD = 64


class Judge(Protocol):
    """What the machine asks of its node; each answer is a pure function of the node's state at that moment.

    (docs/adr/0004)
    """

    def valid(self, block: Block) -> bool:
        """Deterministic: parent state and block bytes decide."""
        ...

    def acceptable(self, block: Block) -> bool:
        """Local, asked for fresh blocks only: what this node holds decides; False may become True later."""
        ...

    def pack(self, view: int) -> Block | None:
        """A fresh block for `view`, or None when there is nothing to pack."""
        ...


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


class Simplex:
    """The machine of one height.

    `voting` False makes it observe only (a miner whose log is not trusted yet). `restore` feeds back what was
    persisted; call it before anything else.
    """

    def __init__(self, council: Council, height: int, signer: Signer, judge: Judge, now_ms: int) -> None:
        # Who decides, and how long views are.
        self.council = council
        # The one height that this machine decides.
        self.height = height
        # False while this miner's log is not trusted: it learns and decides, and says nothing.
        self.voting = True
        # The view at work.
        self.view = 0
        # Whether a block is final; then nothing is heard any more.
        self.decided = False
        # All that was voted here, in valid signatures.
        self.ballots = Ballots(council, height, signer)
        # Signs for this miner and verifies the roster.
        self._signer = signer
        # Answers what only the node knows: valid, acceptable, what to pack.
        self._judge = judge
        # The time of the last input: the machine has no clock.
        self._now = now_ms
        # Whether something here is to be decided; an idle height burns no views.
        self._armed = False
        # What this miner lived in each view, and what of it is durable.
        self.memory = HeightMemory(council, height, self.ballots)
        # Which proposals are a leader's to make.
        self.proposals = Proposals(council, height, signer, self.ballots, self.memory)
        # When the view is skipped, when it is left.
        self._timer = ViewTimer()
        # The last view in which a lost log may contradict: only SKIP is said in it.
        self._silent_to = -1
        # Effects since the last answer, in order.
        self._out: list[Effect] = []

    # Inputs -----------------------------------------------------------------------------------------------------

    def restore(self, records: list[Proposal | Vote | Certified | Forgotten], now_ms: int) -> None:
        """Take back own votes, own proposals and notarisations from the log, without sending anything [P-10.23]."""
        self._now = now_ms
        for record in records:
            match record:
                case Proposal():
                    self._restore_proposal(record)
                case Vote():
                    self._keep_own(record)
                    if record.kind != VoteKind.FINAL:
                        self._enter(max(self.view, record.view))
                case Certified():
                    self.memory.restore(record)
                case Forgotten():
                    self._silent_to = max(self._silent_to, record.silent_to(self.height))
        self._out.clear()
        self._armed |= any(not isinstance(record, Forgotten) for record in records)

    def _restore_proposal(self, proposal: Proposal) -> None:
        self.memory.keep_proposal(proposal)
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
                if message.view <= self.view + VIEWS_AHEAD:
                    self.ballots.hear(message)
            case Certified():
                if self.ballots.proves(message):
                    self.memory.learn(message)
        return self._advance()

    def tick(self, now_ms: int) -> list[Effect]:
        """Time has passed, or what the judge knows has changed."""
        self._now = now_ms
        return [] if self.decided else self._advance()

    def arm(self, now_ms: int) -> list[Effect]:
        """There is something to decide: start the clock of this height."""
        self._armed = True
        return self.tick(now_ms)

    def standstill(self) -> list[Effect]:
        """What others may lack: own votes, the best notarisation, skip certificates above it, the own proposal.

        [P-10.24]
        """
        return [Send(message) for message in self.memory.said_again(self.view)]

    # Questions --------------------------------------------------------------------------------------------------

    @property
    def deadline_ms(self) -> int | None:
        """When `tick` must come at the latest; None: never of its own."""
        return self._timer.deadline_ms

    @property
    def armed(self) -> bool:
        """Whether the clock of this height runs [P-10.20]."""
        return self._armed or self.ballots.stirred

    @property
    def disturbed(self) -> bool:
        """Whether more happened than view 0 with one block: then what was said is worth keeping."""
        return self.view > 0 or self.ballots.disturbed

    # Messages ---------------------------------------------------------------------------------------------------

    # Rule [P-10.18].
    def _on_proposal(self, proposal: Proposal) -> None:
        if not self.proposals.is_led(proposal) or not self.proposals.is_justified(proposal):
            return
        self.memory.hear(proposal)
        if proposal.view > self.view:
            self._enter(proposal.view)

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

    # Rule [P-10.19].
    def _decide(self) -> bool:
        if self.ballots.final is None or self.ballots.final[0] not in self.memory.bodies:
            return False
        block, certificate = self.ballots.final
        self.decided = True
        self._out.append(Decide(self.memory.bodies[block], certificate))
        return True

    def _keep(self) -> bool:
        """Certificates must survive a crash of all: without them no later leader could justify its proposal.

        [P-10.22]
        """
        self._out += map(Persist, self.memory.to_keep())
        return False

    # Rule [P-10.15].
    def _finalise(self) -> bool:
        if not self.voting:
            return False
        for number, view in sorted(self.memory.views.items()):
            if not view.notarisation_kept or number <= self._silent_to:
                continue
            block, _ = self.ballots.notarised(number)
            if view.final is None and view.skip is None and view.agrees(block):
                self._vote(VoteKind.FINAL, number, block)
                return True
        return False

    # Rule [P-10.18].
    def _leave(self) -> bool:
        best = self.ballots.best_notarised()
        if self.ballots.at(self.view).skipped is not None:
            self._enter(self.view + 1)
            return True
        if best < self.view:
            return False
        if not self._timer.may_leave(self._now, 2 * self.council.delta_ms):
            return False
        self._enter(best + 1)
        return True

    # Rules [P-10.5] [P-10.8].
    def _propose(self) -> bool:
        view = self.memory.at(self.view)
        leads = self.council.leader(self.height, self.view) == self.council.me
        if not leads or not self._speaks or view.own_proposal is not None:
            return False
        fresh = self._judge.pack(self.view) if self.ballots.best_notarised(below=self.view) < 0 else None
        proposal = self.proposals.make(self.view, fresh)
        if proposal is None:
            return False
        self.memory.keep_proposal(proposal)
        self._out += [Persist(proposal), Send(proposal)]
        return True

    # Rules [P-10.9] [P-10.11].
    def _notarise(self) -> bool:
        view = self.memory.at(self.view)
        proposal = view.proposal
        if proposal is None or view.notar is not None or not self._speaks:
            return False
        if not view.agrees(proposal.block.id):
            return False
        if not self._judge.valid(proposal.block):
            return False
        # A notarised block that comes again is taken on its certificate: checking again would deadlock.
        if proposal.justified < 0 and not self._judge.acceptable(proposal.block):
            return False
        if self.memory.is_new(proposal.block.id):
            self._out.append(Persist(proposal))
        self._vote(VoteKind.NOTAR, self.view, proposal.block.id)
        return True

    def _skip(self) -> bool:
        """The timer: it runs while the height is armed, and gives one SKIP a view [P-10.16]."""
        if not self._timer.rings(self._now, self.council.timeout_ms(self.view), armed=self.armed):
            return False
        view = self.memory.at(self.view)
        notarised = self.ballots.at(self.view).notarised is not None
        done = notarised or view.final is not None or view.skip is not None
        if done or not self.voting or self.view < self._silent_to:
            return False
        self._vote(VoteKind.SKIP, self.view, None)
        return True

    @property
    def _speaks(self) -> bool:
        """Whether proposals and NOTARs of the present view are this miner's to give."""
        return self.voting and self.view > self._silent_to

    # Small parts ------------------------------------------------------------------------------------------------

    # Rule [P-10.21].
    def _vote(self, kind: VoteKind, view: int, block: BlockId | None) -> None:
        signature = self._signer.sign(kind, vote_terms(self.height, view, block))
        vote = Vote(kind, self.council.me, self.height, view, block, signature)
        self._out += [Persist(vote), Send(vote)]
        self._keep_own(vote)

    def _keep_own(self, vote: Vote) -> None:
        self._armed = True
        self.memory.say(vote)

    def _enter(self, number: int) -> None:
        if number != self.view:
            self.view = number
            self._timer.restart()
