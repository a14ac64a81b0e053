"""Accusations of one attempt: entries of tables that somebody calls false, judged by this miner's own recomputation."""

from dataclasses import replace

from fedcoin_cli.consensus.attempt import Attempt, CheckEntry, Effect, Send
from fedcoin_cli.consensus.council import Signer
from fedcoin_cli.consensus.reveals import Reveals
from fedcoin_cli.protocol.message import FraudNote
from ledger_store.base.names import Address
from ledger_store.transaction import FraudMark, Reveal


class Accusations:
    """Who is accused of what, by whom, and what came of it; `reveals` says which tables are here to be judged."""

    def __init__(self, attempt: Attempt, signer: Signer, reveals: Reveals) -> None:
        # What the chain fixes for all miners.
        self._attempt = attempt
        # Signs for this miner and verifies others.
        self._signer = signer
        # What was revealed, and which of it is held.
        self._reveals = reveals
        # Own accusations by miner: a result that includes one unlisted gets no vote.
        self.raised: dict[Address, FraudNote] = {}
        # Accepted false entries by miner; the note that told of each, or None where a result or I did.
        self._frauds: dict[Address, dict[int, FraudNote | None]] = {}
        # Accusations that wait for the own recomputation, by miner and entry.
        self._asked: dict[tuple[Address, int], list[FraudNote]] = {}
        # What the own recomputation said, so that nothing is recomputed twice.
        self._judged: dict[tuple[Address, int], bool] = {}
        # Who accused falsely: not heard again in this attempt.
        self._muted: set[Address] = set()

    def hear(self, note: FraudNote) -> list[Effect]:
        """The first per (by, miner) counts; it is relayed once accepted; a false one mutes its sender.

        [P-8.19] [P-8.20]
        """
        closed = self._reveals.closed
        if closed is None or note.by not in self._attempt.roster or note.by in self._muted:
            return []
        if note.miner not in closed or self._has_heard(note.by, note.miner):
            return []
        if not self._signer.verify(self._attempt.index(note.by), "fraud", note.terms(), note.signature):
            return []
        key = (note.miner, note.entry)
        if key in self._judged:
            return self._settle(note, key)
        fresh = key not in self._asked
        self._asked.setdefault(key, []).append(note)
        held = self._reveals.held.get(note.miner)
        return self._look_up(held, note.entry) if fresh and held is not None else []

    def table_held(self, reveal: Reveal) -> list[Effect]:
        """A table has come to be held: what was said of it before can be judged now."""
        effects: list[Effect] = []
        for key in [key for key in self._asked if key[0] == reveal.miner]:
            effects += self._look_up(reveal, key[1])
        return effects

    def consider(self, fraud: FraudMark) -> list[Effect]:
        """A proposed result names a fraud: have it judged if it is new here."""
        held, key = self._reveals.held.get(fraud.miner), (fraud.miner, fraud.entry)
        if held is None or key in self._judged or key in self._asked:
            return []
        self._asked[key] = []
        return self._look_up(held, fraud.entry)

    def judge(self, miner: Address, entry: int, *, wrong: bool) -> list[Effect]:
        """The own recomputation has ended: all that waited for it are right or wrong."""
        effects: list[Effect] = []
        self._judged[miner, entry] = wrong
        for note in self._asked.pop((miner, entry), []):
            effects += self._settle(note, (miner, entry))
        if wrong:
            self._frauds.setdefault(miner, {}).setdefault(entry, None)
        return effects

    def accuse(self, miner: Address, entry: int, me: Address | None) -> list[Effect]:
        """A claim outside [lo, hi] of 2ε is outside that of ε as well: what I raise, I accept [P-8.18]."""
        self._judged[miner, entry] = True
        if me is None:
            self._frauds.setdefault(miner, {})[entry] = None
            return []
        note = FraudNote(self._attempt.task, self._attempt.number, miner, entry, me, "")
        note = replace(note, signature=self._signer.sign("fraud", note.terms()))
        self.raised[miner] = note
        return self.accept(note, miner, entry)

    # Rule [P-8.19].
    def accept(self, note: FraudNote, miner: Address, entry: int) -> list[Effect]:
        """The entry is false: the first note that says so goes on to the others."""
        marks = self._frauds.setdefault(miner, {})
        if marks.get(entry) is not None:
            return []
        marks[entry] = note
        return [Send(note)]

    # Questions --------------------------------------------------------------------------------------------------

    @property
    def is_pending(self) -> bool:
        """Whether somebody waits for a recomputation of a table that is held."""
        return any(notes for (miner, _), notes in self._asked.items() if miner in self._reveals.held)

    @property
    def cheats(self) -> frozenset[Address]:
        """The miners that have false entries."""
        return frozenset(self._frauds)

    def knows(self, fraud: FraudMark) -> bool:
        """Whether this very entry is known to be false."""
        return fraud.entry in self._frauds.get(fraud.miner, {})

    def marks(self) -> tuple[FraudMark, ...]:
        """One false entry of each such miner, the lowest, for a result."""
        return tuple(FraudMark(miner, min(self._frauds[miner])) for miner in sorted(self._frauds))

    def notes(self) -> list[FraudNote]:
        """What others may lack: the own accusations, then those that were accepted."""
        told = [note for marks in self._frauds.values() for note in marks.values() if note is not None]
        return [*self.raised.values(), *told]

    # Small parts ------------------------------------------------------------------------------------------------

    def _has_heard(self, by: Address, miner: Address) -> bool:
        asked = (one for (of, _), notes in self._asked.items() if of == miner for one in notes)
        accepted = (one for one in self._frauds.get(miner, {}).values() if one is not None)
        return any(one.by == by for one in (*asked, *accepted))

    # Rule [P-8.21].
    def _settle(self, note: FraudNote, key: tuple[Address, int]) -> list[Effect]:
        if self._judged[key]:
            return self.accept(note, *key)
        self._muted.add(note.by)
        return []

    def _look_up(self, reveal: Reveal, entry: int) -> list[Effect]:
        """Have an entry of a held table judged; one that the table does not have is not wrong [P-8.22]."""
        if entry < self._attempt.entries(reveal):
            return [CheckEntry(reveal, entry)]
        return self.judge(reveal.miner, entry, wrong=False)
