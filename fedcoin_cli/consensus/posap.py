"""Proof of Shapley: one attempt of one task, as one miner lives it (pure).

One `Posap` object lives from the block that opens an attempt to the block that ends it. Gossip, the worker's answers,
the chain's steps and time come in; effects come out, and a `Persist` is durable before any later `Send` leaves.

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

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from fedcoin_cli.consensus.council import Signer, timeout_ms
from fedcoin_cli.consensus.rankings import on_grid, table_entries
from fedcoin_cli.protocol.message import CommitNote, FraudNote, Phase, RevealNote
from ledger_store.base.names import Address, Digest, MinerIndex, TaskId
from ledger_store.base.words import TaskState
from ledger_store.transaction import Close, Commit, FraudMark, Result, Reveal, commit_terms

FREEZE_LEAST_MS = 10_000
REVEAL_LEAST_MS = 20_000
CHECK_LEAST_MS = 5_000


class Stage(StrEnum):
    """What a clock that ran out has frozen, or given up."""

    COMMITS = "commits"
    REVEALS = "reveals"
    ABANDONED = "abandoned"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the chain fixes: task, a, who may commit (roster order), K, B, RUNTIME, Δ, whether values may be exact."""

    task: TaskId
    """Id of the task."""
    number: int
    """a, from 1."""
    roster: tuple[Address, ...]
    """The miners' addresses in their order."""
    refused: frozenset[Address]
    """Who may not commit: frauds of this task, and who withheld in an earlier one."""
    clients: int
    """K."""
    blocks: int
    """B, the blocks of images."""
    runtime_ms: int
    """RUNTIME in milliseconds."""
    least_rankings: int
    """The fewest rankings of an estimate."""
    most_rankings: int
    """The most, by the task's words and by what a table may weigh."""
    delta_ms: int
    """The network's message delay in milliseconds."""
    exact: bool = True
    """Whether a table of all coalitions can be carried in time."""

    def admits(self, reveal: Reveal) -> bool:
        """K sums, and t on the grid between least and most; an exact estimate claims the most [P-7.10]."""
        if len(reveal.sums) != self.clients or not on_grid(reveal.rankings):
            return False
        if reveal.exact:
            return self.exact and reveal.rankings == self.most_rankings
        return self.least_rankings <= reveal.rankings <= self.most_rankings

    def entries(self, reveal: Reveal) -> int:
        """How many counts the table of this reveal holds."""
        return table_entries(self.clients, self.blocks, None if reveal.exact else reveal.rankings)

    @property
    def expected(self) -> frozenset[Address]:
        """The miners whose commits count."""
        return frozenset(self.roster) - self.refused

    @property
    def freeze_ms(self) -> int:
        """Commits freeze at RUNTIME + G; this costs nothing when all commit [P-8.5]."""
        return self.runtime_ms + max(FREEZE_LEAST_MS, 3 * self.delta_ms + self.runtime_ms // 50)

    @property
    def check_budget_ms(self) -> int:
        """How long the checks of tables may take in all [P-8.5]."""
        return max(CHECK_LEAST_MS, self.runtime_ms // 10)

    @property
    def reveal_ms(self) -> int:
        """Reveals freeze this long after CLOSED [P-8.5]."""
        return max(REVEAL_LEAST_MS, 6 * self.delta_ms + 2 * self.check_budget_ms)

    @property
    def abandon_ms(self) -> int:
        """The veto of omissions ends this long after CLOSED: no liar may bring that about.

        That is twice the reveal freeze, and twice as long as f liars that lead in a row can hold up a height: once
        where a result is due, and once more where view f is odd and something else was packed there.
        (docs/adr/0025) [P-8.5]
        """
        faults = (len(self.roster) - 1) // 3
        return 2 * (self.reveal_ms + sum(timeout_ms(self.delta_ms, view) for view in range(faults + 1)))

    @property
    def give_up_ms(self) -> int:
        """Then leaders propose that the attempt failed, whatever they hold [P-8.5]."""
        return 2 * self.abandon_ms


@dataclass(frozen=True, slots=True)
class Opening:
    """Own estimate with its salt: persisted before the COMMIT."""

    task: TaskId
    """Id of the task."""
    attempt: int
    """Which attempt it is of."""
    reveal: Reveal
    """What the commit's digest stands for: lost, the commit could not be opened."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """What was held when a clock ran out; `stage` is commits or reveals, abandoned or given up (then of nobody)."""

    task: TaskId
    """Id of the task."""
    attempt: int
    """Which attempt it is of."""
    stage: Stage
    """Which clock ran out: commits, reveals, abandoned or given up."""
    miners: tuple[Address, ...]
    """Whose commits or reveals were held then, ascending by address."""


@dataclass(frozen=True, slots=True)
class Started:
    """When a stage (open or closed) began by this node's wall clock, for a restart in the middle."""

    task: TaskId
    """Id of the task."""
    attempt: int
    """Which attempt it is of."""
    stage: TaskState
    """OPEN or CLOSED."""
    wall_ms: int
    """When it began by this node's time of day: monotonic time does not outlive a process."""


@dataclass(frozen=True, slots=True)
class Abstained:
    """This miner may have committed in this attempt and does not know to what: it observes until the next.

    (docs/adr/0006, docs/adr/0016)
    """

    task: TaskId
    """Id of the task."""
    attempt: int
    """In which attempt this miner says nothing."""


Record = Opening | Frozen | Started | Abstained | CommitNote | RevealNote


@dataclass(frozen=True, slots=True)
class Persist:
    """Make durable before anything that follows."""

    record: Record


@dataclass(frozen=True, slots=True)
class Send:
    """To all other miners."""

    message: CommitNote | RevealNote | FraudNote


@dataclass(frozen=True, slots=True)
class CheckTable:
    """Fetch the reveal's table, derive its sums, recompute counts; answer with `checked`."""

    reveal: Reveal


@dataclass(frozen=True, slots=True)
class CheckEntry:
    """Recompute one entry of a held table against [lo, hi] of ε; answer with `entry_checked`."""

    reveal: Reveal
    entry: int


Effect = Persist | Send | CheckTable | CheckEntry


class Posap:
    """The machine of one attempt. `me` is this miner's address; None observes only."""

    def __init__(self, attempt: Attempt, me: Address | None, signer: Signer, now_ms: int) -> None:
        # What the chain fixes for all miners.
        self.attempt = attempt
        # This miner's address; None: it observes, for its key or its memory is not here.
        self.me = me
        # When the attempt opened here, monotonic: commits freeze by it.
        self.opened_ms = now_ms
        # When the close was applied here; None before: reveals freeze by it.
        self.closed_ms: int | None = None
        # Signs for this miner and verifies others.
        self._signer = signer
        # The time of the last tick: the machine has no clock.
        self._now = now_ms
        # What the own commit opens to; set once, for a second commit would be a lie.
        self._opening: Reveal | None = None
        # The first commit of each miner.
        self._commits: dict[Address, Commit] = {}
        # What was held when each clock ran out; it never changes, or a veto would move.
        self._frozen: dict[Stage, frozenset[Address]] = {}
        # The close's digests by miner; None before the close.
        self._closed: dict[Address, Digest] | None = None
        # Reveals that open a commit, whether checked or not.
        self._reveals: dict[Address, Reveal] = {}
        # Reveals whose table is here, whose sums follow, and whose check has ended: these count.
        self._held: dict[Address, Reveal] = {}
        # Miners whose sums do not follow from their table: never held.
        self._false: set[Address] = set()
        # Own accusations by miner: a result that includes one unlisted gets no vote.
        self._raised: dict[Address, FraudNote] = {}
        # Accepted false entries by miner; the note that told of each, or None where a result or I did.
        self._frauds: dict[Address, dict[int, FraudNote | None]] = {}
        # Accusations that wait for the own recomputation, by miner and entry.
        self._asked: dict[tuple[Address, int], list[FraudNote]] = {}
        # What the own recomputation said, so that nothing is recomputed twice.
        self._judged: dict[tuple[Address, int], bool] = {}
        # Who accused falsely: not heard again in this attempt.
        self._muted: set[Address] = set()
        # Reveals that overtook the close.
        self._early: list[RevealNote] = []
        # Effects since the last answer, in order.
        self._out: list[Effect] = []
        # When this process first saw CLOSED, plus the time since then in which it saw fewer than q miners.
        self._watched_ms: int | None = None

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
                    self._early.append(record)
                case Frozen():
                    self._frozen[record.stage] = frozenset(record.miners)
                case Abstained():
                    self.abstain()
                case Started():
                    pass  # the node turns wall time into `opened_ms` and `closed_ms`

    def estimated(self, reveal: Reveal) -> list[Effect]:
        """Own estimate with salt, unsigned; the first of an attempt counts. Persist opening and COMMIT, send it.

        A commit of this miner that others showed, and its log lacks, is a first one too. [P-8.2] [P-8.3]
        """
        said = self._opening is not None or self.me in self._commits
        expected = self.me if self.me in self.attempt.expected else None
        if said or self._closed is not None or not expected:
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
        if (note.task, note.attempt) == (self.attempt.task, self.attempt.number):
            match note:
                case CommitNote():
                    self._on_commit(note)
                case RevealNote():
                    self._on_reveal(note)
                case FraudNote():
                    self._on_fraud(note)
        return self._effects()

    def closed(self, commits: Iterable[Commit], now_ms: int) -> list[Effect]:
        """The close is final in the own chain: reveal if the own digest is in it [P-8.11]."""
        self.closed_ms = now_ms
        self._closed = {commit.miner: commit.digest for commit in commits}
        own = self._opening
        if own is not None and self._closed.get(own.miner) == self._digest(own):
            self._take(RevealNote(self.attempt.task, self.attempt.number, own))
        for note in self._early:
            self._on_reveal(note)
        self._early.clear()
        return self._effects()

    def checked(self, reveal: Reveal, follows: bool, wrong: Collection[int]) -> list[Effect]:
        """The worker's answer: do the sums follow from the table, and which entries lie outside [lo, hi] of 2ε?

        [P-8.13]
        """
        if self._reveals.get(reveal.miner) != reveal:
            return []
        if not follows:
            self._false.add(reveal.miner)
            return []
        self._held[reveal.miner] = reveal
        if wrong and reveal.miner not in self._raised:
            self._raise(reveal.miner, min(wrong))
        for key in [key for key in self._asked if key[0] == reveal.miner]:
            self._look_up(reveal, key[1])
        return self._effects()

    def entry_checked(self, miner: Address, entry: int, wrong: bool) -> list[Effect]:
        """The worker's answer to `CheckEntry`: outside [lo, hi] of ε means that the fraud is accepted."""
        self._judge(miner, entry, wrong=wrong)
        return self._effects()

    def consider(self, result: Result) -> list[Effect]:
        """A proposed result names frauds: judge those that are new here."""
        for fraud in result.frauds:
            held, key = self._held.get(fraud.miner), (fraud.miner, fraud.entry)
            if held is not None and key not in self._judged and key not in self._asked:
                self._asked[key] = []
                self._look_up(held, fraud.entry)
        return self._effects()

    def tick(self, now_ms: int, *, together: bool = True) -> list[Effect]:
        """Time has passed: freeze what must be frozen. `together`: q miners are in sight [P-8.33]."""
        passed_ms, self._now = now_ms - self._now, now_ms
        task, number = self.attempt.task, self.attempt.number
        if self._closed is None and now_ms >= self.opened_ms + self.attempt.freeze_ms:
            commits = {miner: CommitNote(task, number, commit) for miner, commit in self._commits.items()}
            self._freeze(Stage.COMMITS, commits)
        if self._closed is not None and self._watched_ms is None:
            self._watched_ms = now_ms
        elif self._watched_ms is not None and not together:
            self._watched_ms += passed_ms
        for stage, at_ms in self._last_clocks():
            held = self._held if stage == Stage.REVEALS else {}
            if now_ms >= at_ms:
                self._freeze(stage, {m: RevealNote(task, number, reveal) for m, reveal in held.items()})
        return self._effects()

    def standstill(self) -> list[Effect]:
        """Everything that others may lack: a veto holds only if what it protects can be had [P-8.36]."""
        task, number = self.attempt.task, self.attempt.number
        if self._closed is None:
            return [Send(CommitNote(task, number, commit)) for commit in self._commits.values()]
        notes: list[RevealNote | FraudNote] = [
            RevealNote(task, number, reveal)
            for miner, reveal in self._reveals.items()
            if miner not in self._false
        ]
        notes += self._raised.values()
        notes += [note for marks in self._frauds.values() for note in marks.values() if note is not None]
        return [Send(note) for note in dict.fromkeys(notes)]

    # Questions --------------------------------------------------------------------------------------------------

    def commit_of(self, miner: Address) -> CommitNote | None:
        """The commit of `miner` that is held: for a restarted miner whose log may lack it."""
        commit = self._commits.get(miner)
        return None if commit is None else CommitNote(self.attempt.task, self.attempt.number, commit)

    @property
    def phase(self) -> Phase:
        """mining, committed or revealing."""
        if self._closed is not None:
            return Phase.REVEALING
        return Phase.COMMITTED if self._opening else Phase.MINING

    @property
    def deadline_ms(self) -> int | None:
        """When the next freeze is due."""
        if self._closed is None:
            return None if Stage.COMMITS in self._frozen else self.opened_ms + self.attempt.freeze_ms
        return min((at_ms for stage, at_ms in self._last_clocks() if stage not in self._frozen), default=None)

    def due_close(self) -> tuple[Commit, ...] | None:
        """The commits to pack, sorted by miner, or None while a close is not due [P-8.7]."""
        if self._closed is not None:
            return None
        if self.attempt.expected <= self._commits.keys() or Stage.COMMITS in self._frozen:
            return tuple(self._commits[miner] for miner in sorted(self._commits))
        return None

    def due_result(self) -> tuple[tuple[Reveal, ...], tuple[FraudMark, ...]] | None:
        """Reveals and frauds to pack, sorted by miner; or None while a result is not due [P-8.24] [P-8.32]."""
        if self._closed is None:
            return None
        nobody = not self._held and self._frozen.get(Stage.REVEALS) == frozenset()
        if nobody or Stage.GIVEN_UP in self._frozen:
            return (), ()
        pending = any(notes for (miner, _), notes in self._asked.items() if miner in self._held)
        if not self._held or pending or not self._complete(self._closed):
            return None
        reveals = tuple(self._held[miner] for miner in sorted(self._held))
        frauds = tuple(FraudMark(miner, min(self._frauds[miner])) for miner in sorted(self._frauds))
        return reveals, frauds

    def accepts_close(self, close: Close) -> bool:
        """Local check of a fresh close: all are in, or my freeze passed and my frozen set is in [P-8.10]."""
        if self._closed is not None or (close.task, close.attempt) != (
            self.attempt.task,
            self.attempt.number,
        ):
            return False
        miners = frozenset(commit.miner for commit in close.commits)
        frozen = self._frozen.get(Stage.COMMITS)
        return self.attempt.expected <= miners or (frozen is not None and frozen <= miners)

    def accepts_result(self, result: Result) -> bool:
        """Local check of a fresh result; see the module's text [P-8.28] [P-8.29] [P-8.31]."""
        if self._closed is None or (result.task, result.attempt) != (self.attempt.task, self.attempt.number):
            return False
        frozen, abandoned = self._frozen.get(Stage.REVEALS), Stage.ABANDONED in self._frozen
        if not result.reveals:
            return abandoned or frozen == frozenset()
        listed = {fraud.miner for fraud in result.frauds}
        if not all(self._holds(reveal) for reveal in result.reveals):
            return False
        if any(fraud.entry not in self._frauds.get(fraud.miner, {}) for fraud in result.frauds):
            return False
        included = {reveal.miner for reveal in result.reveals}
        if (self._raised.keys() & included) - listed:
            return False
        complete = self._closed.keys() <= included or (frozen is not None and frozen - listed <= included)
        return complete or abandoned

    # Gossip -----------------------------------------------------------------------------------------------------

    # Rule [P-8.4].
    def _on_commit(self, note: CommitNote) -> None:
        commit = note.commit
        if (
            self._closed is not None
            or commit.miner in self._commits
            or commit.miner not in self.attempt.expected
        ):
            return
        terms = commit_terms(note.task, note.attempt, commit.digest)
        if self._verify(commit.miner, "commit", terms, commit.signature):
            self._commits[commit.miner] = commit
            self._out.append(Send(note))

    # Rule [P-8.12].
    def _on_reveal(self, note: RevealNote) -> None:
        reveal = note.reveal
        if self._closed is None:
            known = {early.reveal.miner for early in self._early}
            if reveal.miner not in known and self._signed(note):
                self._early.append(note)
            return
        if reveal.miner in self._reveals or self._closed.get(reveal.miner) != self._digest(reveal):
            return
        if self._signed(note):
            self._take(note)

    # Rule [P-8.12].
    def _signed(self, note: RevealNote) -> bool:
        reveal = note.reveal
        if reveal.miner not in self.attempt.expected or not self.attempt.admits(reveal):
            return False
        terms = reveal.terms(note.task, note.attempt)
        return self._verify(reveal.miner, "reveal", terms, reveal.signature)

    def _holds(self, reveal: Reveal) -> bool:
        """Whether it is held, whatever its signature: a liar can sign the same reveal in many ways.

        (docs/adr/0007) [P-8.30]
        """
        held = self._held.get(reveal.miner)
        return held is not None and replace(reveal, signature=held.signature) == held

    def _take(self, note: RevealNote) -> None:
        self._reveals[note.reveal.miner] = note.reveal
        self._out += [Send(note), CheckTable(note.reveal)]

    def _on_fraud(self, note: FraudNote) -> None:
        """The first per (by, miner) counts; it is relayed once accepted; a false one mutes its sender.

        [P-8.19] [P-8.20]
        """
        if self._closed is None or note.by not in self.attempt.roster or note.by in self._muted:
            return
        asked = (
            known.by for (miner, _), notes in self._asked.items() if miner == note.miner for known in notes
        )
        marks = self._frauds.get(note.miner, {})
        if (
            note.miner not in self._closed
            or note.by in asked
            or any(m and m.by == note.by for m in marks.values())
        ):
            return
        if not self._verify(note.by, "fraud", note.terms(), note.signature):
            return
        key = (note.miner, note.entry)
        if key in self._judged:
            self._settle_note(note, key)
        else:
            fresh = key not in self._asked
            self._asked.setdefault(key, []).append(note)
            held = self._held.get(note.miner)
            if fresh and held is not None:
                self._look_up(held, note.entry)

    # Rule [P-8.21].
    def _settle_note(self, note: FraudNote, key: tuple[Address, int]) -> None:
        if self._judged[key]:
            self._accept(note, *key)
        else:
            self._muted.add(note.by)

    def _look_up(self, reveal: Reveal, entry: int) -> None:
        """Have an entry of a held table judged; one that the table does not have is not wrong [P-8.22]."""
        if entry < self.attempt.entries(reveal):
            self._out.append(CheckEntry(reveal, entry))
        else:
            self._judge(reveal.miner, entry, wrong=False)

    def _judge(self, miner: Address, entry: int, *, wrong: bool) -> None:
        self._judged[miner, entry] = wrong
        for note in self._asked.pop((miner, entry), []):
            self._settle_note(note, (miner, entry))
        if wrong:
            self._frauds.setdefault(miner, {}).setdefault(entry, None)

    # Rule [P-8.19].
    def _accept(self, note: FraudNote, miner: Address, entry: int) -> None:
        marks = self._frauds.setdefault(miner, {})
        if marks.get(entry) is None:
            marks[entry] = note
            self._out.append(Send(note))

    def _raise(self, miner: Address, entry: int) -> None:
        """A claim outside [lo, hi] of 2ε is outside that of ε as well: what I raise, I accept [P-8.18]."""
        self._judged[miner, entry] = True
        if self.me is None:
            self._frauds.setdefault(miner, {})[entry] = None
            return
        note = FraudNote(self.attempt.task, self.attempt.number, miner, entry, self.me, "")
        note = replace(note, signature=self._signer.sign("fraud", note.terms()))
        self._raised[miner] = note
        self._accept(note, miner, entry)

    # The end of patience ----------------------------------------------------------------------------------------

    def _last_clocks(self) -> Iterable[tuple[Stage, int]]:
        """When reveals freeze, after a restart not before they could be checked again; when patience ends [P-8.23]."""
        began, attempt = self._watched_ms, self.attempt
        if began is None or self.closed_ms is None:
            return ()
        reveals_ms = max(self.closed_ms + attempt.reveal_ms, began + attempt.check_budget_ms)
        return (
            (Stage.REVEALS, reveals_ms),
            (Stage.ABANDONED, began + attempt.abandon_ms),
            (Stage.GIVEN_UP, began + attempt.give_up_ms),
        )

    def _complete(self, closed: Mapping[Address, Digest]) -> bool:
        """Whether what is held may be packed: all of it, the frozen set, or what there is of an abandoned attempt.

        [P-8.24]
        """
        frozen = self._frozen.get(Stage.REVEALS)
        if closed.keys() <= self._held.keys():
            return True
        if frozen is not None and frozen - self._frauds.keys() <= self._held.keys():
            return True
        # Who has abandoned and then restarted checks the tables again first.
        began = self._watched_ms
        patient = began is None or self._now < began + self.attempt.reveal_ms
        return Stage.ABANDONED in self._frozen and not patient

    # Small parts ------------------------------------------------------------------------------------------------

    # The reason is in docs/adr/0006.
    # Rule [P-8.6].
    def _freeze(self, stage: Stage, held: Mapping[Address, CommitNote | RevealNote]) -> None:
        if stage not in self._frozen:
            self._frozen[stage] = frozenset(held)
            self._out += [Persist(note) for _, note in sorted(held.items())]
            miners = tuple(sorted(held))
            self._out.append(Persist(Frozen(self.attempt.task, self.attempt.number, stage, miners)))

    def _digest(self, reveal: Reveal) -> Digest:
        return reveal.commitment(self.attempt.task, self.attempt.number)

    def _verify(self, miner: Address, kind: str, terms: dict[str, object], signature: str) -> bool:
        return self._signer.verify(MinerIndex(self.attempt.roster.index(miner)), kind, terms, signature)

    def _effects(self) -> list[Effect]:
        out, self._out = self._out, []
        return out
