"""Proof of Shapley: one attempt of one task, as one miner lives it (pure).

One `Posap` object lives from the block that opens an attempt to the block that ends it. Gossip, the worker's answers,
the chain's steps and time come in; effects come out, and a `Persist` is durable before any later `Send` leaves.
What was revealed, who is accused and which clock ran out are machines of their own: `reveals`, `accusations`, `clocks`.

Theory of operation:

    phase      begins with                 this miner                                     is over when
    mining     OPEN applied                mines until RUNTIME, or sooner when exact      the worker answers
    committed  own estimate                persists opening and COMMIT, sends it          CLOSED is applied
    revealing  CLOSED applied, own digest  sends REVEAL; fetches and checks all tables    the result is applied
               in it

A miner left out of the close never reveals. What is held when a clock runs out is the frozen set: persisted, never
changed, and with it the commits or reveals themselves: if all miners fall at once, and the one that made an item stays
down, those that insist on the item must still have it. A close that lacks one of its miners, or a result that lacks one
of its reveals (frauds excepted), gets no vote of this miner while it is fresh. That is why nobody in time can be left
out, whoever proposes.

A way out of CLOSED. Each miner may hold what others never get: a table behind a broken line, a full disk, a bound. So
two more clocks run from when this process first saw CLOSED. After the first, at which an attempt of honest miners that
can reach each other is long over, this miner has abandoned the attempt: it vetoes no omission any more and accepts a
result without reveals, which says that the attempt failed. What a result includes it still must hold. As a leader it
then packs what it holds, after the second clock nothing. That ends for sure: every honest clock passes both. From then
on q miners accept the result of every honest leader, for all propose that same one. An honest leader packs it in each
even view, and in an odd one unless it has something else, which then becomes final and begins a height: view 0, an even
one, goes round all leaders height by height, and the even views of one height go round R or R / 2 of them, more than f.
Both clocks stand still while this miner is down or sees fewer than q: after a night off, or a long partition, all
tables are fetched and checked again before anybody loses patience.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace

from fedcoin_cli.consensus.accusations import Accusations
from fedcoin_cli.consensus.attempt import (
    Abstained,
    Attempt,
    Effect,
    Frozen,
    Opening,
    Persist,
    Record,
    Send,
    Stage,
    Started,
)
from fedcoin_cli.consensus.clocks import Clocks
from fedcoin_cli.consensus.council import Signer
from fedcoin_cli.consensus.reveals import Reveals
from fedcoin_cli.protocol.message import CommitNote, FraudNote, Phase, RevealNote
from ledger_store.base.names import Address
from ledger_store.transaction import Close, Commit, FraudMark, Result, Reveal, commit_terms


class Posap:
    """The machine of one attempt. `me` is this miner's address; None observes only."""

    def __init__(self, attempt: Attempt, me: Address | None, signer: Signer, now_ms: int) -> None:
        # What the chain fixes for all miners.
        self.attempt = attempt
        # This miner's address; None: it observes, for its key or its memory is not here.
        self.me = me
        # Signs for this miner and verifies others.
        self._signer = signer
        # What the own commit opens to; set once, for a second commit would be a lie.
        self._opening: Reveal | None = None
        # The first commit of each miner.
        self._commits: dict[Address, Commit] = {}
        # When what freezes here, and what was held then.
        self.clocks = Clocks(attempt, now_ms)
        # What was revealed, and which of it counts.
        self.reveals = Reveals(attempt, signer)
        # Who is called a fraud, and whether that is so.
        self.accusations = Accusations(attempt, signer, self.reveals)

    # Inputs -----------------------------------------------------------------------------------------------------

    def restore(self, records: Iterable[Record]) -> None:
        """Take back what was persisted for this attempt; nothing is sent, and tables are checked anew."""
        for record in records:
            match record:
                case Opening():
                    self._opening = record.reveal
                case CommitNote():
                    self._commits[record.commit.miner] = record.commit
                case RevealNote():
                    self.reveals.early.append(record)
                case Frozen():
                    self.clocks.frozen[record.stage] = frozenset(record.miners)
                case Abstained():
                    self.abstain()
                case Started():
                    pass  # the node turns wall time into the clocks' `opened_ms` and `closed_ms`

    def estimated(self, reveal: Reveal) -> list[Effect]:
        """Own estimate with salt, unsigned; the first of an attempt counts. Persist opening and COMMIT, send it.

        A commit of this miner that others showed, and its log lacks, is a first one too. [P-8.2] [P-8.3]
        """
        said = self._opening is not None or self.me in self._commits
        expected = self.me if self.me in self.attempt.expected else None
        if said or self.reveals.closed is not None or not expected:
            return []
        task, number = self.attempt.task, self.attempt.number
        signature = self._signer.sign("reveal", reveal.terms(task, number))
        self._opening = replace(reveal, signature=signature)
        digest = self._opening.commitment(task, number)
        commit = Commit(expected, digest, self._signer.sign("commit", commit_terms(task, number, digest)))
        self._commits[expected] = commit
        note = CommitNote(task, number, commit)
        return [Persist(Opening(task, number, self._opening)), Persist(note), Send(note)]

    def abstain(self) -> None:
        """From now on observe only: this miner may have committed before it lost its log [P-8.3]."""
        self.me = None

    def receive(self, note: CommitNote | RevealNote | FraudNote) -> list[Effect]:
        """Gossip about this attempt; what does not verify is ignored, what is new is relayed once."""
        if self._is_of_this(note):
            match note:
                case CommitNote():
                    return self._on_commit(note)
                case RevealNote():
                    return self.reveals.hear(note)
                case FraudNote():
                    return self.accusations.hear(note)
        return []

    def closed(self, commits: Iterable[Commit], now_ms: int) -> list[Effect]:
        """The close is final in the own chain: reveal if the own digest is in it [P-8.11]."""
        self.clocks.closed_ms = now_ms
        return self.reveals.close(commits, self._opening)

    def checked(self, reveal: Reveal, follows: bool, wrong: Collection[int]) -> list[Effect]:
        """The worker's answer: do the sums follow from the table, and which entries lie outside [lo, hi] of 2ε?

        [P-8.13]
        """
        if not self.reveals.checked(reveal, follows):
            return []
        effects: list[Effect] = []
        if wrong and reveal.miner not in self.accusations.raised:
            effects += self.accusations.accuse(reveal.miner, min(wrong), self.me)
        return effects + self.accusations.table_held(reveal)

    def entry_checked(self, miner: Address, entry: int, wrong: bool) -> list[Effect]:
        """The worker's answer to `CheckEntry`: outside [lo, hi] of ε means that the fraud is accepted."""
        return self.accusations.judge(miner, entry, wrong=wrong)

    def consider(self, result: Result) -> list[Effect]:
        """A proposed result names frauds: judge those that are new here."""
        return [effect for fraud in result.frauds for effect in self.accusations.consider(fraud)]

    def tick(self, now_ms: int, *, together: bool = True) -> list[Effect]:
        """Time has passed: freeze what must be frozen. `together`: q miners are in sight [P-8.33]."""
        self.clocks.advance(now_ms, together=together)
        effects: list[Effect] = []
        for stage in self.clocks.run_out():
            effects += self.clocks.freeze(stage, self._kept_of(stage))
        return effects

    def _kept_of(self, stage: Stage) -> dict[Address, CommitNote | RevealNote]:
        """What a miner insists on from now on: commits or reveals; whoever has abandoned the attempt on nothing."""
        task, number = self.attempt.task, self.attempt.number
        if stage == Stage.COMMITS:
            return {miner: CommitNote(task, number, commit) for miner, commit in self._commits.items()}
        held = self.reveals.held if stage == Stage.REVEALS else {}
        return {miner: RevealNote(task, number, reveal) for miner, reveal in held.items()}

    def standstill(self) -> list[Effect]:
        """Everything that others may lack: a veto holds only if what it protects can be had [P-8.36]."""
        if self.reveals.closed is None:
            task, number = self.attempt.task, self.attempt.number
            return [Send(CommitNote(task, number, commit)) for commit in self._commits.values()]
        notes: list[RevealNote | FraudNote] = [*self.reveals.notes(), *self.accusations.notes()]
        return [Send(note) for note in dict.fromkeys(notes)]

    # Questions --------------------------------------------------------------------------------------------------

    def commit_of(self, miner: Address) -> CommitNote | None:
        """The commit of `miner` that is held: for a restarted miner whose log may lack it."""
        commit = self._commits.get(miner)
        return None if commit is None else CommitNote(self.attempt.task, self.attempt.number, commit)

    @property
    def phase(self) -> Phase:
        """mining, committed or revealing."""
        if self.reveals.closed is not None:
            return Phase.REVEALING
        return Phase.COMMITTED if self._opening else Phase.MINING

    @property
    def deadline_ms(self) -> int | None:
        """When the next freeze is due."""
        return self.clocks.deadline_ms

    def due_close(self) -> tuple[Commit, ...] | None:
        """The commits to pack, sorted by miner, or None while a close is not due [P-8.7]."""
        if self.reveals.closed is not None:
            return None
        if self.attempt.expected <= self._commits.keys() or Stage.COMMITS in self.clocks.frozen:
            return tuple(self._commits[miner] for miner in sorted(self._commits))
        return None

    def due_result(self) -> tuple[tuple[Reveal, ...], tuple[FraudMark, ...]] | None:
        """Reveals and frauds to pack, sorted by miner; or None while a result is not due [P-8.24] [P-8.32]."""
        if self.reveals.closed is None:
            return None
        held, frozen = self.reveals.held, self.clocks.frozen
        nobody = not held and frozen.get(Stage.REVEALS) == frozenset()
        if nobody or Stage.GIVEN_UP in frozen:
            return (), ()
        if not held or self.accusations.is_pending or not self._is_complete(frozenset(self.reveals.closed)):
            return None
        return tuple(held[miner] for miner in sorted(held)), self.accusations.marks()

    def accepts_close(self, close: Close) -> bool:
        """Local check of a fresh close: all are in, or my freeze passed and my frozen set is in [P-8.10]."""
        if self.reveals.closed is not None or not self._is_of_this(close):
            return False
        miners = frozenset(commit.miner for commit in close.commits)
        frozen = self.clocks.frozen.get(Stage.COMMITS)
        return self.attempt.expected <= miners or (frozen is not None and frozen <= miners)

    def accepts_result(self, result: Result) -> bool:
        """Local check of a fresh result; see the module's text [P-8.28] [P-8.29] [P-8.31]."""
        closed = self.reveals.closed
        if closed is None or not self._is_of_this(result):
            return False
        frozen, abandoned = self.clocks.frozen.get(Stage.REVEALS), Stage.ABANDONED in self.clocks.frozen
        if not result.reveals:
            return abandoned or frozen == frozenset()
        listed = {fraud.miner for fraud in result.frauds}
        if not all(map(self.reveals.holds, result.reveals)):
            return False
        if not all(map(self.accusations.knows, result.frauds)):
            return False
        included = {reveal.miner for reveal in result.reveals}
        if (self.accusations.raised.keys() & included) - listed:
            return False
        complete = closed.keys() <= included or (frozen is not None and frozen - listed <= included)
        return complete or abandoned

    # Inside -----------------------------------------------------------------------------------------------------

    def _is_of_this(self, said: Close | Result | CommitNote | RevealNote | FraudNote) -> bool:
        return (said.task, said.attempt) == (self.attempt.task, self.attempt.number)

    # Rule [P-8.4].
    def _on_commit(self, note: CommitNote) -> list[Effect]:
        commit = note.commit
        if self.reveals.closed is not None or commit.miner in self._commits:
            return []
        if commit.miner not in self.attempt.expected:
            return []
        terms = commit_terms(note.task, note.attempt, commit.digest)
        if not self._signer.verify(self.attempt.index(commit.miner), "commit", terms, commit.signature):
            return []
        self._commits[commit.miner] = commit
        return [Send(note)]

    def _is_complete(self, closed: frozenset[Address]) -> bool:
        """Whether what is held may be packed: all of it, the frozen set, or what there is of an abandoned attempt.

        [P-8.24]
        """
        held, frozen = self.reveals.held.keys(), self.clocks.frozen.get(Stage.REVEALS)
        if closed <= held:
            return True
        if frozen is not None and frozen - self.accusations.cheats <= held:
            return True
        return Stage.ABANDONED in self.clocks.frozen and not self.clocks.is_patient
