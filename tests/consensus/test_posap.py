from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from chains import ChainMaker, digest
from simulated.signatures import second_signature

from fedcoin_cli.consensus.attempt import (
    Abstained,
    Attempt,
    CheckEntry,
    CheckTable,
    Effect,
    Frozen,
    Opening,
    Persist,
    Send,
)
from fedcoin_cli.consensus.posap import Posap
from fedcoin_cli.contract.metric import blocks_of
from fedcoin_cli.protocol.message import CommitNote, FraudNote, RevealNote
from fedcoin_cli.replica.ports import RosterSigner
from fedcoin_cli.replica.records import Record, from_bytes, to_bytes
from ledger_store.base.names import Address, TaskId
from ledger_store.base.words import TaskState
from ledger_store.transaction import Close, Commit, FraudMark, Result, Reveal

OPENED_MS = 5_000
RUNTIME_MS, DELTA_MS = 20_000, 500
FREEZE_MS, REVEAL_MS = 30_000, 20_000
Note = CommitNote | RevealNote | FraudNote


class Bench:
    """One attempt of one task for R miners; `machine` is miner 0's, everybody's estimates are at hand."""

    def __init__(self, miners: int = 3, refused: Iterable[int] = (), me: int | None = 0) -> None:
        self.maker = ChainMaker(miners)
        self.task = self.maker.task(clients=3)
        self.addresses = [miner.address for miner in self.maker.miners]
        self.attempt = Attempt(
            task=self.task.id,
            number=1,
            roster=tuple(self.addresses),
            refused=frozenset(self.addresses[index] for index in refused),
            clients=3,
            blocks=blocks_of(self.task),
            runtime_ms=RUNTIME_MS,
            least_rankings=1,
            most_rankings=10,
            delta_ms=DELTA_MS,
        )
        self.me = me
        self.disk: list[bytes] = []
        self.machine = self._machine()

    def _machine(self) -> Posap:
        index = self.me or 0
        signer = RosterSigner(self.maker.miners[index], self.maker.genesis)
        return Posap(self.attempt, None if self.me is None else self.addresses[self.me], signer, OPENED_MS)

    def restart(self) -> None:
        """Only what was persisted is left."""
        self.machine = self._machine()
        records: list[Record] = [from_bytes(data) for data in self.disk]
        self.machine.restore(record for record in records if not hasattr(record, "height"))

    def do(self, effects: list[Effect]) -> list[Effect]:
        """Keep what is persisted as the log would; the rest is returned."""
        self.disk += [to_bytes(effect.record) for effect in effects if isinstance(effect, Persist)]
        return [effect for effect in effects if not isinstance(effect, Persist)]

    def reveal(self, index: int, **changes: Any) -> Reveal:
        return self.maker.reveal(self.task, 1, self.maker.miners[index], **changes)

    def commit(self, index: int, reveal: Reveal | None = None) -> Commit:
        sealed = (reveal or self.reveal(index)).commitment(self.task.id, 1)
        return self.maker.commit(self.task.id, 1, self.maker.miners[index], sealed)

    def commit_note(self, index: int, reveal: Reveal | None = None) -> CommitNote:
        return CommitNote(self.task.id, 1, self.commit(index, reveal))

    def reveal_note(self, index: int, **changes: Any) -> RevealNote:
        return RevealNote(self.task.id, 1, self.reveal(index, **changes))

    def fraud(self, by: int, against: int, entry: int = 5) -> FraudNote:
        note = FraudNote(self.task.id, 1, self.addresses[against], entry, self.addresses[by], "")
        signature = self.maker.miners[by].sign("fraud", self.maker.genesis.id, note.terms())
        return replace(note, signature=signature)

    def commits(self, *indices: int) -> tuple[Commit, ...]:
        """Sorted by miner, as in a close."""
        return tuple(sorted((self.commit(index) for index in indices), key=lambda commit: commit.miner))

    def close(self, *indices: int) -> Close:
        return Close(self.task.id, 1, self.commits(*indices), None)

    def result(self, *indices: int, frauds: dict[int, int] | None = None) -> Result:
        """A result with these miners' reveals; its outcome is not this machine's business."""
        reveals = sorted((self.reveal(index) for index in indices), key=lambda reveal: reveal.miner)
        marks = sorted((self.addresses[index], entry) for index, entry in (frauds or {}).items())
        outcome = self.maker.failed(self.task, TaskState.OPEN)
        listed = tuple(FraudMark(*mark) for mark in marks)
        return Result(self.task.id, 1, tuple(reveals), listed, outcome)

    def estimate(self) -> Reveal:
        """Miner 0's own estimate, as it comes from the worker."""
        return replace(self.reveal(0), signature="")

    def revealing(self, *indices: int) -> "Bench":
        """Bring the machine to the phase after a close with these miners; nothing is checked yet."""
        self.do(self.machine.estimated(self.estimate()))
        self.do(self.machine.closed(self.commits(*indices), OPENED_MS + FREEZE_MS))
        self.do(self.machine.tick(OPENED_MS + FREEZE_MS))
        return self

    def check(self, *indices: int, wrong: tuple[int, ...] = (), follows: bool = True) -> list[Effect]:
        """Reveals of these miners arrive and the worker answers."""
        effects: list[Effect] = []
        for index in indices:
            effects += self.do(self.machine.receive(self.reveal_note(index)))
            effects += self.do(self.machine.checked(self.reveal(index), follows, wrong))
        return effects

    def pass_commit_freeze(self) -> None:
        self.do(self.machine.tick(OPENED_MS + FREEZE_MS))

    def pass_reveal_freeze(self) -> None:
        self.do(self.machine.tick(OPENED_MS + FREEZE_MS + REVEAL_MS))


# Clocks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runtime_ms", "delta_ms", "freeze_ms", "reveal_ms"),
    [
        (0, 100, 10_000, 20_000),
        (20_000, 500, 30_000, 20_000),
        (3_600_000, 500, 3_673_500, 723_000),
        (60_000, 30_000, 151_200, 192_000),
    ],
)
def test_clocks_follow_from_the_terms(runtime_ms: int, delta_ms: int, freeze_ms: int, reveal_ms: int) -> None:
    """Freeze at RUNTIME + max(10 s, 3Δ + 2 %); reveals max(20 s, 6Δ + 2 × check budget) after the close [P-8.5]."""
    attempt = replace(Bench().attempt, runtime_ms=runtime_ms, delta_ms=delta_ms)
    assert (attempt.freeze_ms, attempt.reveal_ms) == (freeze_ms, reveal_ms)


# Committing ---------------------------------------------------------------------------------------------------------


def test_opening_then_commit_are_durable_before_the_commit_is_sent() -> None:
    """Persist opening, persist COMMIT, send it, in this order; the commit seals the opening and is signed [P-8.2]."""
    bench = Bench()
    opening, kept, sent = bench.machine.estimated(bench.estimate())
    assert opening == Persist(Opening(bench.task.id, 1, bench.reveal(0)))
    assert kept == Persist(bench.commit_note(0))
    assert sent == Send(bench.commit_note(0))


@pytest.mark.parametrize("case", ["twice", "closed", "refused", "observer", "shown by others", "abstains"])
def test_no_second_and_no_forbidden_commit(case: str) -> None:
    """One commit an attempt, none after the close, none by whom the attempt refuses or who may have committed.

    [P-8.3]
    """
    bench = Bench(refused=[0] if case == "refused" else [], me=None if case == "observer" else 0)
    if case == "twice":
        bench.machine.estimated(bench.estimate())
    if case == "closed":
        bench.machine.closed(bench.commits(1, 2), OPENED_MS)
    if case == "shown by others":
        bench.machine.receive(bench.commit_note(0, bench.reveal(0, salt="ab" * 16)))
    if case == "abstains":
        bench.machine.abstain()
    assert bench.machine.estimated(replace(bench.estimate(), salt="cd" * 16)) == []


def test_the_first_valid_commit_of_each_miner_counts_and_is_passed_on_once() -> None:
    """A second, forged, refused or foreign commit changes nothing and is not relayed [P-8.4]."""
    bench = Bench(4, refused=[3])
    other = bench.commit_note(1, bench.reveal(1, salt="ab" * 16))
    good = bench.commit_note(1)
    forged = replace(
        bench.commit_note(2), commit=replace(bench.commit(2), signature=bench.commit(1).signature)
    )
    assert bench.machine.receive(good) == [Send(good)]
    for note in (
        good,
        other,
        forged,
        bench.commit_note(3),
        replace(bench.commit_note(2), attempt=2),
        replace(bench.commit_note(2), task=TaskId(digest("another task"))),
        replace(bench.commit_note(2), commit=replace(bench.commit(2), miner=Address(digest("nobody")))),
    ):
        assert bench.machine.receive(note) == []
    assert bench.machine.commit_of(bench.addresses[1]) == good
    assert bench.machine.commit_of(bench.addresses[2]) is None


# Closing ------------------------------------------------------------------------------------------------------------


def test_a_close_is_due_when_all_have_committed() -> None:
    """With all R commits nobody waits for a clock; refused miners are not waited for [P-8.7]."""
    bench = Bench(4, refused=[3])
    bench.do(bench.machine.estimated(bench.estimate()))
    bench.machine.receive(bench.commit_note(1))
    assert bench.machine.due_close() is None
    bench.machine.receive(bench.commit_note(2))
    assert bench.machine.due_close() == bench.commits(0, 1, 2)


def test_who_abstains_gives_no_commit_and_still_closes_with_the_others() -> None:
    """A log that says so after a restart: an estimate stays unsaid, the others' commits count [P-8.3]."""
    bench = Bench()
    bench.disk.append(to_bytes(Abstained(bench.task.id, 1)))
    bench.restart()
    assert bench.do(bench.machine.estimated(bench.estimate())) == []
    for index in (1, 2):
        bench.machine.receive(bench.commit_note(index))
    bench.pass_commit_freeze()
    assert bench.machine.due_close() == bench.commits(1, 2)


@pytest.mark.parametrize("held", [(), (1,), (1, 2)])
def test_a_close_is_due_at_the_freeze_with_what_is_held(held: tuple[int, ...]) -> None:
    """At RUNTIME + G, not a millisecond sooner; without any commit the close is empty [P-8.7]."""
    bench = Bench(4)
    for index in held:
        bench.machine.receive(bench.commit_note(index))
    assert bench.machine.deadline_ms == OPENED_MS + FREEZE_MS
    bench.do(bench.machine.tick(OPENED_MS + FREEZE_MS - 1))
    assert bench.machine.due_close() is None
    bench.pass_commit_freeze()
    assert bench.machine.due_close() == bench.commits(*held)
    assert bench.machine.deadline_ms is None


def test_a_late_commit_still_gets_into_the_close() -> None:
    """The frozen set is what must be in, not all that may be."""
    bench = Bench(4)
    bench.pass_commit_freeze()
    bench.machine.receive(bench.commit_note(2))
    assert bench.machine.due_close() == bench.commits(2)


@pytest.mark.parametrize(
    ("held", "frozen", "proposed", "accepted"),
    [
        ((1, 2, 3), False, (0, 1, 2, 3), True),
        ((), False, (0, 1, 2, 3), True),
        ((1, 2), False, (0, 1, 2), False),
        ((1, 2), True, (0, 1, 2), True),
        ((1, 2), True, (1, 2), True),
        ((1, 2), True, (1, 2, 3), True),
        ((1, 2), True, (1,), False),
        ((1, 2), True, (), False),
        ((), True, (), True),
    ],
)
def test_which_fresh_close_gets_a_vote(
    held: tuple[int, ...], frozen: bool, proposed: tuple[int, ...], accepted: bool
) -> None:
    """All R are in, or the freeze passed and nobody of the frozen set is missing [P-8.10]."""
    bench = Bench(4)
    for index in held:
        bench.machine.receive(bench.commit_note(index))
    if frozen:
        bench.pass_commit_freeze()
    assert bench.machine.accepts_close(bench.close(*proposed)) is accepted


def test_a_close_of_another_attempt_gets_no_vote() -> None:
    """Task and attempt must be those at work, and the attempt must not be closed already [P-8.10]."""
    bench = Bench()
    whole = bench.close(0, 1, 2)
    assert not bench.machine.accepts_close(replace(whole, attempt=2))
    assert not bench.machine.accepts_close(replace(whole, task=TaskId(digest("another task"))))
    bench.machine.closed(whole.commits, OPENED_MS)
    assert not bench.machine.accepts_close(whole)


# Frozen sets --------------------------------------------------------------------------------------------------------


def test_a_frozen_set_is_durable_with_its_commits_and_never_changes() -> None:
    """After a restart, hearing nobody, the machine insists on the same miners and can still pack their commits.

    [P-8.6]
    """
    bench = Bench(4)
    bench.do(bench.machine.estimated(bench.estimate()))
    bench.machine.receive(bench.commit_note(1))
    bench.pass_commit_freeze()
    bench.machine.receive(bench.commit_note(2))
    bench.restart()
    assert bench.machine.due_close() == bench.commits(0, 1)
    assert not bench.machine.accepts_close(bench.close(0, 2, 3))
    assert bench.machine.accepts_close(bench.close(0, 1))
    assert bench.machine.tick(OPENED_MS + FREEZE_MS) == []


def test_frozen_reveals_are_durable_and_checked_anew() -> None:
    """After a restart a frozen reveal is there without its miner; until its table is checked no result is due.

    [P-8.6] [P-8.23]
    """
    bench = Bench(4).revealing(0, 1, 2)
    bench.do(bench.machine.checked(bench.reveal(0), True, ()))
    bench.check(1)
    bench.pass_reveal_freeze()
    bench.restart()
    effects = bench.do(bench.machine.closed(bench.commits(0, 1, 2), OPENED_MS + FREEZE_MS))
    asked = [effect.reveal for effect in effects if isinstance(effect, CheckTable)]
    assert asked == [bench.reveal(0), bench.reveal(1)]
    assert bench.machine.due_result() is None
    for reveal in asked:
        bench.do(bench.machine.checked(reveal, True, ()))
    due = bench.machine.due_result()
    assert due is not None
    assert {reveal.miner for reveal in due[0]} == {bench.addresses[0], bench.addresses[1]}
    assert not bench.machine.accepts_result(bench.result(0))
    assert bench.machine.accepts_result(bench.result(0, 1))


# Revealing ----------------------------------------------------------------------------------------------------------


def test_it_reveals_when_the_close_with_its_digest_is_final() -> None:
    """Not before; then the REVEAL goes out, and the own table is checked like any other [P-8.11]."""
    bench = Bench()
    said = bench.machine.estimated(bench.estimate())
    said += bench.machine.tick(OPENED_MS + FREEZE_MS)
    said += bench.machine.standstill()
    assert not any(isinstance(effect, Send) and isinstance(effect.message, RevealNote) for effect in said)
    effects = bench.do(bench.machine.closed(bench.commits(0, 1), OPENED_MS + FREEZE_MS))
    assert effects == [Send(bench.reveal_note(0)), CheckTable(bench.reveal(0))]
    assert bench.machine.phase == "revealing"


@pytest.mark.parametrize("why", ["left out", "another digest"])
def test_who_is_left_out_never_reveals(why: str) -> None:
    """A close without this miner, or with a digest that it did not commit to, gets no reveal of it, ever [P-8.11]."""
    bench = Bench()
    bench.do(bench.machine.estimated(bench.estimate()))
    commits = (
        bench.commits(1, 2) if why == "left out" else (bench.commit(0, bench.reveal(0, salt="ab" * 16)),)
    )
    effects = bench.do(bench.machine.closed(commits, OPENED_MS))
    bench.pass_reveal_freeze()
    assert effects == []
    assert bench.machine.standstill() == []


def test_an_opening_survives_a_restart() -> None:
    """Committed, killed, restarted after the close: the same reveal, byte for byte."""
    bench = Bench()
    bench.do(bench.machine.estimated(bench.estimate()))
    bench.restart()
    assert bench.machine.phase == "committed"
    assert bench.machine.estimated(replace(bench.estimate(), salt="ab" * 16)) == []
    effects = bench.do(bench.machine.closed(bench.commits(0, 1), OPENED_MS))
    assert Send(bench.reveal_note(0)) in effects


def test_early_reveals_wait_for_the_close() -> None:
    """A reveal that overtakes the close is not lost; a forged one in its miner's name does not take its place."""
    bench = Bench()
    forged = replace(
        bench.reveal_note(1), reveal=replace(bench.reveal(1), signature=bench.reveal(2).signature)
    )
    assert bench.machine.receive(forged) == []
    assert bench.machine.receive(bench.reveal_note(1)) == []
    effects = bench.do(bench.machine.closed(bench.commits(0, 1, 2), OPENED_MS))
    assert effects == [Send(bench.reveal_note(1)), CheckTable(bench.reveal(1))]


def bad_reveals(bench: Bench) -> dict[str, RevealNote]:
    """Reveals that do not count after a close with miners 0 to 2."""
    off_grid = bench.reveal(1, rankings=12)
    return {
        "another salt": bench.reveal_note(1, salt="ab" * 16),
        "other sums": bench.reveal_note(1, sums=(1, 2, 3)),
        "another t": bench.reveal_note(1, rankings=9),
        "off the grid": RevealNote(bench.task.id, 1, off_grid),
        "signed by another": replace(
            bench.reveal_note(1), reveal=replace(bench.reveal(1), signature=bench.reveal(2).signature)
        ),
        "a copy under another name": replace(
            bench.reveal_note(1), reveal=replace(bench.reveal(1), miner=bench.addresses[2])
        ),
        "not in the close": bench.reveal_note(3),
        "nobody on the roster": replace(
            bench.reveal_note(1), reveal=replace(bench.reveal(1), miner=Address(digest("nobody")))
        ),
        "another attempt": replace(bench.reveal_note(1), attempt=2),
    }


@pytest.mark.parametrize("why", bad_reveals(Bench(4)))
def test_reveals_that_do_not_open_their_commit_are_ignored(why: str) -> None:
    """Neither kept, nor relayed, nor checked [P-8.12]."""
    bench = Bench(4).revealing(0, 1, 2)
    assert bench.machine.receive(bad_reveals(bench)[why]) == []


@pytest.mark.parametrize(
    ("change", "admitted"),
    [
        ({"rankings": 10}, True),
        ({"rankings": 1}, True),
        ({"rankings": 11}, False),
        ({"exact": True}, True),
        ({"exact": True, "rankings": 9}, False),
        ({"sums": (1, 2)}, False),
        ({"sums": (1, 2, 3, 4)}, False),
    ],
)
def test_which_reveals_an_attempt_admits(change: dict[str, Any], admitted: bool) -> None:
    """K sums; t on the grid from least to most; an exact estimate claims the most [P-7.10]."""
    bench = Bench()
    assert bench.attempt.admits(bench.reveal(1, **change)) is admitted


# Checking -----------------------------------------------------------------------------------------------------------


def test_a_reveal_counts_only_after_its_table_was_checked() -> None:
    """Until the worker has answered, and for ever if the sums do not follow, it is not held [P-8.13]."""
    bench = Bench().revealing(0, 1, 2)
    bench.do(bench.machine.checked(bench.reveal(0), True, ()))
    for index in (1, 2):
        bench.do(bench.machine.receive(bench.reveal_note(index)))
    assert bench.machine.due_result() is None
    assert not bench.machine.accepts_result(bench.result(0, 1, 2))
    bench.do(bench.machine.checked(bench.reveal(1), True, ()))
    bench.do(bench.machine.checked(bench.reveal(2), False, ()))
    bench.pass_reveal_freeze()
    due = bench.machine.due_result()
    assert due is not None
    assert {reveal.miner for reveal in due[0]} == set(bench.addresses[:2])
    assert not bench.machine.accepts_result(bench.result(0, 1, 2))
    assert bench.reveal_note(2) not in [
        effect.message for effect in bench.machine.standstill() if isinstance(effect, Send)
    ]


def test_an_answer_about_a_reveal_that_nobody_asked_about_is_ignored() -> None:
    """The worker's answer must be about the reveal that is kept, to the last bit."""
    bench = Bench().revealing(0, 1, 2)
    bench.do(bench.machine.receive(bench.reveal_note(1)))
    assert bench.machine.checked(replace(bench.reveal(1), salt="ab" * 16), True, (3,)) == []
    assert bench.machine.due_result() is None


def test_results_are_due_when_all_are_held_or_at_the_reveal_freeze() -> None:
    """Nobody waits for a clock when every committed reveal is checked [P-8.24]."""
    bench = Bench(4).revealing(0, 1)
    bench.do(bench.machine.checked(bench.reveal(0), True, ()))
    assert bench.machine.deadline_ms == OPENED_MS + FREEZE_MS + REVEAL_MS
    assert bench.machine.due_result() is None
    bench.check(1)
    due = bench.machine.due_result()
    assert due is not None
    assert due[1] == ()


def test_a_reveal_signed_twice_cannot_divide_the_voters() -> None:
    """A liar signs one reveal in two ways and gives each half one: both halves accept a result with either [P-8.30]."""
    bench = Bench().revealing(0, 1, 2)
    bench.do(bench.machine.checked(bench.reveal(0), True, ()))
    bench.check(1, 2)
    whole = bench.result(0, 1, 2)
    terms = bench.reveal(1).terms(bench.task.id, 1)
    signature = second_signature(bench.maker.miners[1], "reveal", bench.maker.genesis.id, terms)
    assert signature != bench.reveal(1).signature
    other = tuple(
        replace(reveal, signature=signature) if reveal.miner == bench.addresses[1] else reveal
        for reveal in whole.reveals
    )
    assert bench.machine.accepts_result(replace(whole, reveals=other))
    sums = tuple(replace(reveal, sums=(1, 2, 3)) for reveal in whole.reveals)
    assert not bench.machine.accepts_result(replace(whole, reveals=sums))


@pytest.mark.parametrize(
    ("checked", "frozen", "proposed", "accepted"),
    [
        ((0, 1, 2), False, (0, 1, 2), True),
        ((0, 1), False, (0, 1), False),
        ((0, 1), True, (0, 1), True),
        ((0, 1), True, (0,), False),
        ((0, 1), True, (0, 1, 2), False),
        ((0, 1, 2), True, (0, 1), False),
        ((), True, (), True),
    ],
)
def test_which_fresh_result_gets_a_vote(
    checked: tuple[int, ...], frozen: bool, proposed: tuple[int, ...], accepted: bool
) -> None:
    """Everything in it is held, and all committed are in or the freeze passed and the frozen set is in.

    [P-8.28] [P-8.29]
    """
    bench = Bench(4).revealing(0, 1, 2)
    if 0 in checked:
        bench.do(bench.machine.checked(bench.reveal(0), True, ()))
    bench.check(*(index for index in checked if index))
    if frozen:
        bench.pass_reveal_freeze()
    assert bench.machine.accepts_result(bench.result(*proposed)) is accepted


# Frauds -------------------------------------------------------------------------------------------------------------


def test_a_false_count_raises_one_fraud() -> None:
    """The least wrong entry is told to all, signed; a second look at the table raises no second one [P-8.18]."""
    bench = Bench().revealing(0, 1, 2)
    note = bench.fraud(by=0, against=1, entry=3)
    assert bench.check(1, wrong=(6, 3))[-1] == Send(note)
    assert bench.machine.checked(bench.reveal(1), True, (5,)) == []
    assert Send(note) in bench.machine.standstill()


def test_a_fraud_that_i_raised_must_be_listed() -> None:
    """A result that includes the false table gets a vote only if its frauds name it [P-8.28]."""
    bench = Bench().revealing(0, 1, 2)
    bench.do(bench.machine.checked(bench.reveal(0), True, ()))
    bench.check(1, wrong=(3,))
    bench.check(2)
    assert not bench.machine.accepts_result(bench.result(0, 1, 2))
    assert bench.machine.accepts_result(bench.result(0, 1, 2, frauds={1: 3}))
    due = bench.machine.due_result()
    assert due is not None
    assert due[1] == (FraudMark(bench.addresses[1], 3),)


def test_anothers_fraud_is_recomputed_before_it_counts() -> None:
    """It waits for the own answer; accepted, it is relayed and listed; a result waits for pending ones [P-8.19]."""
    bench = Bench().revealing(0, 1, 2)
    bench.do(bench.machine.checked(bench.reveal(0), True, ()))
    bench.check(1, 2)
    note = bench.fraud(by=2, against=1)
    assert bench.machine.receive(note) == [CheckEntry(bench.reveal(1), 5)]
    assert bench.machine.due_result() is None
    assert bench.machine.entry_checked(bench.addresses[1], 5, True) == [Send(note)]
    due = bench.machine.due_result()
    assert due is not None
    assert due[1] == (FraudMark(bench.addresses[1], 5),)
    assert bench.machine.accepts_result(bench.result(0, 1, 2, frauds={1: 5}))


def test_a_false_accusation_mutes_its_sender() -> None:
    """It is not relayed, changes nothing, and its sender is not heard again in this attempt; others are [P-8.21]."""
    bench = Bench(4).revealing(0, 1, 2, 3)
    bench.check(1, 2)
    bench.machine.receive(bench.fraud(by=3, against=1))
    assert bench.machine.entry_checked(bench.addresses[1], 5, False) == []
    assert bench.machine.receive(bench.fraud(by=3, against=2, entry=6)) == []
    assert bench.machine.receive(bench.fraud(by=2, against=1, entry=6)) == [CheckEntry(bench.reveal(1), 6)]


def test_a_fraud_about_a_table_that_is_still_on_its_way_waits() -> None:
    """It is judged when the table has been checked."""
    bench = Bench().revealing(0, 1, 2)
    note = bench.fraud(by=2, against=1)
    assert bench.machine.receive(note) == []
    assert bench.check(1)[-1] == CheckEntry(bench.reveal(1), 5)


def test_frauds_that_make_no_sense_are_ignored() -> None:
    """No such miner in the close, a wrong signature, another attempt, a second one by the same miner."""
    bench = Bench(4).revealing(0, 1, 2)
    bench.check(1, 2)
    good = bench.fraud(by=2, against=1)
    for note in (
        bench.fraud(by=2, against=3),
        replace(good, by=Address(digest("nobody"))),
        replace(good, entry=6),
        replace(good, attempt=2),
    ):
        assert bench.machine.receive(note) == []
    assert bench.machine.receive(good) != []
    assert bench.machine.receive(bench.fraud(by=2, against=1, entry=6)) == []


def test_a_fraud_that_only_the_result_names_is_judged() -> None:
    """`consider` orders the recomputation; the vote follows the answer."""
    bench = Bench().revealing(0, 1, 2)
    bench.do(bench.machine.checked(bench.reveal(0), True, ()))
    bench.check(1, 2)
    named = bench.result(0, 1, 2, frauds={1: 6})
    assert bench.machine.consider(named) == [CheckEntry(bench.reveal(1), 6)]
    assert bench.machine.consider(named) == []
    assert not bench.machine.accepts_result(named)
    bench.do(bench.machine.entry_checked(bench.addresses[1], 6, True))
    assert bench.machine.accepts_result(named)


def test_a_fraud_in_a_result_that_does_not_hold_gets_no_vote() -> None:
    """An honest miner cannot be thrown out by a proposer's word."""
    bench = Bench().revealing(0, 1, 2)
    bench.do(bench.machine.checked(bench.reveal(0), True, ()))
    bench.check(1, 2)
    named = bench.result(0, 1, 2, frauds={1: 6})
    bench.do(bench.machine.consider(named))
    bench.do(bench.machine.entry_checked(bench.addresses[1], 6, False))
    assert not bench.machine.accepts_result(named)
    assert bench.machine.accepts_result(bench.result(0, 1, 2))


# Standstill ---------------------------------------------------------------------------------------------------------


def test_a_standstill_repeats_what_a_veto_protects() -> None:
    """Before the close every commit held, after it every reveal held, with accepted frauds: whoever made them.

    [P-8.36]
    """
    bench = Bench()
    bench.do(bench.machine.estimated(bench.estimate()))
    bench.machine.receive(bench.commit_note(1))
    assert bench.machine.standstill() == [Send(bench.commit_note(0)), Send(bench.commit_note(1))]
    bench.do(bench.machine.closed(bench.commits(0, 1), OPENED_MS))
    bench.check(1)
    assert bench.machine.standstill() == [Send(bench.reveal_note(0)), Send(bench.reveal_note(1))]


def test_an_observer_follows_and_signs_nothing() -> None:
    """Without an address of its own it commits, reveals and raises nothing, and still judges."""
    bench = Bench(me=None)
    assert bench.machine.estimated(bench.estimate()) == []
    bench.do(bench.machine.closed(bench.commits(0, 1), OPENED_MS))
    effects = bench.check(0, 1, wrong=(3,))
    assert all(not isinstance(e, Send) or isinstance(e.message, RevealNote) for e in effects)
    due = bench.machine.due_result()
    assert due is not None
    assert len(due[1]) == 2


def test_nothing_of_an_attempt_is_forgotten_by_its_records() -> None:
    """Every kind of record survives the vote log's bytes."""
    bench = Bench(4).revealing(0, 1)
    bench.check(1)
    bench.pass_reveal_freeze()
    kinds = [type(from_bytes(data)) for data in bench.disk]
    assert kinds == [Opening, CommitNote, RevealNote, Frozen]


# The way out of CLOSED ----------------------------------------------------------------------------------------------

CLOSED_MS = OPENED_MS + FREEZE_MS
# R = 4, f = 1: twice the 20 s for reveals, and twice the 3.0 and 4.5 s of the views 0 and 1.
ABANDON_MS, GIVE_UP_MS = 55_000, 110_000


def stuck() -> Bench:
    """R = 4: own reveal and miner 1's are held, the tables of 2 and 3 never come."""
    bench = Bench(4).revealing(0, 1, 2, 3)
    bench.do(bench.machine.checked(bench.reveal(0), True, ()))
    bench.check(1)
    for index in (2, 3):
        bench.do(bench.machine.receive(bench.reveal_note(index)))
    return bench


def packed(bench: Bench) -> list[int] | None:
    """Whose reveals it would pack as a leader."""
    due = bench.machine.due_result()
    return None if due is None else sorted(bench.addresses.index(reveal.miner) for reveal in due[0])


@pytest.mark.parametrize(
    ("miners", "abandon_ms"), [(1, 46_000), (3, 46_000), (4, 55_000), (7, 68_500), (20, 233_028)]
)
def test_the_last_clocks_leave_f_liars_their_turns(miners: int, abandon_ms: int) -> None:
    """Twice the reveal freeze and twice f + 1 views; giving up takes as long again [P-8.5]."""
    attempt = Bench(miners).attempt
    views = [3_000 * 3**view // 2**view for view in range((miners - 1) // 3 + 1)]
    assert attempt.abandon_ms == 2 * (REVEAL_MS + sum(views)) == abandon_ms
    assert attempt.give_up_ms == 2 * abandon_ms


def test_nobody_insists_for_ever_on_what_others_cannot_get() -> None:
    """Until the clock has run out an omission or an empty result gets no vote, one millisecond later it does.

    [P-8.29] [P-8.31]
    """
    bench = stuck()
    bench.do(bench.machine.tick(CLOSED_MS + ABANDON_MS - 1))
    assert bench.machine.deadline_ms == CLOSED_MS + ABANDON_MS
    for lacking in (bench.result(), bench.result(0), bench.result(1)):
        assert not bench.machine.accepts_result(lacking)
    assert bench.machine.accepts_result(bench.result(0, 1))
    bench.do(bench.machine.tick(CLOSED_MS + ABANDON_MS))
    for lacking in (bench.result(), bench.result(0), bench.result(1)):
        assert bench.machine.accepts_result(lacking)


def test_an_abandoned_attempt_pays_nobody_unseen() -> None:
    """What is included must still be held, and frauds that are known here be listed."""
    bench = stuck()
    bench.do(bench.machine.checked(bench.reveal(2), True, (5,)))
    bench.do(bench.machine.tick(CLOSED_MS + GIVE_UP_MS))
    assert not bench.machine.accepts_result(bench.result(0, 3))
    assert not bench.machine.accepts_result(bench.result(0, 2))
    assert bench.machine.accepts_result(bench.result(0, 2, frauds={2: 5}))


def test_a_leader_packs_what_it_holds_and_at_last_nothing() -> None:
    """Its frozen set from the reveal freeze on; what it holds when it has abandoned; nothing when it has given up.

    [P-8.32]
    """
    bench = stuck()
    assert packed(bench) is None
    bench.do(bench.machine.tick(CLOSED_MS + REVEAL_MS))
    assert packed(bench) == [0, 1]
    bench.do(bench.machine.tick(CLOSED_MS + GIVE_UP_MS - 1))
    assert packed(bench) == [0, 1]
    bench.do(bench.machine.tick(CLOSED_MS + GIVE_UP_MS))
    assert packed(bench) == []
    assert bench.machine.due_result() == ((), ())
    assert bench.machine.deadline_ms is None


def test_who_gave_up_needs_no_answers() -> None:
    """A child that never judges an entry holds up a result with reveals, and no longer that of a failure [P-8.32]."""
    bench = stuck()
    bench.do(bench.machine.receive(bench.fraud(by=2, against=1)))
    bench.do(bench.machine.tick(CLOSED_MS + GIVE_UP_MS - 1))
    assert packed(bench) is None
    bench.do(bench.machine.tick(CLOSED_MS + GIVE_UP_MS))
    assert packed(bench) == []
    assert bench.machine.accepts_result(bench.result())


def test_patience_that_ran_out_stays_so_and_a_restart_checks_again_first() -> None:
    """After a fall the empty result is still accepted at once; a leader waits REVEAL_T for its tables, then packs."""
    bench = stuck()
    bench.do(bench.machine.tick(CLOSED_MS + ABANDON_MS))
    bench.restart()
    bench.do(bench.machine.closed(bench.commits(0, 1, 2, 3), CLOSED_MS))
    back_ms = CLOSED_MS + ABANDON_MS + 5_000
    bench.do(bench.machine.tick(back_ms))
    assert bench.machine.accepts_result(bench.result())
    bench.do(bench.machine.checked(bench.reveal(0), True, ()))
    assert packed(bench) is None
    bench.do(bench.machine.tick(back_ms + REVEAL_MS))
    assert packed(bench) == [0]


def test_a_night_off_costs_no_attempt() -> None:
    """Neither while the process is down nor while it sees fewer than q miners do the last two clocks run.

    And nobody freezes an empty set before its tables had time to be checked again. [P-8.33]
    """
    bench = stuck()
    bench.restart()
    bench.do(bench.machine.closed(bench.commits(0, 1, 2, 3), CLOSED_MS))
    morning_ms = CLOSED_MS + 8 * 3_600_000
    bench.do(bench.machine.tick(morning_ms))
    assert packed(bench) is None
    bench.do(bench.machine.checked(bench.reveal(0), True, ()))
    alone_ms = morning_ms + 1_000
    bench.do(bench.machine.tick(alone_ms))
    for later_ms in range(0, 3_600_000, 60_000):
        bench.do(bench.machine.tick(alone_ms + later_ms, together=False))
    together_ms = alone_ms + 3_540_000
    bench.do(bench.machine.tick(together_ms + ABANDON_MS - 1_001))
    assert not bench.machine.accepts_result(bench.result())
    bench.do(bench.machine.tick(together_ms + ABANDON_MS - 1_000))
    assert bench.machine.accepts_result(bench.result())
