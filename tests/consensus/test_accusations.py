"""Accusations in an attempt, one by one: whose, of whom, of which entry, and what is said again."""

from dataclasses import replace

import pytest
from rule_traces import CLOSED_MS, Attempted

from fedcoin_cli.consensus.attempt import CheckEntry, CheckTable, Frozen, Persist, Send, Stage
from fedcoin_cli.protocol.message import RevealNote
from ledger_store.base.words import TaskState
from ledger_store.transaction import FraudMark, Result


def holding(clients: int = 3, *, observes: bool = False) -> Attempted:
    """All three commits are closed, their reveals here and their tables found right."""
    attempted = Attempted(clients, observes=observes).closed(0, 1, 2)
    attempted.held(0, 1, 2)
    return attempted


def result(attempted: Attempted, *frauds: tuple[int, int], attempt: int = 1) -> Result:
    """With the reveals of miners 0 to 2; its outcome is not this machine's business."""
    reveals = sorted((attempted.reveal(miner) for miner in range(3)), key=lambda one: one.miner)
    marks = [FraudMark(attempted.roster[miner], entry) for miner, entry in frauds]
    outcome = attempted.maker.failed(attempted.task, TaskState.OPEN)
    return Result(attempted.task.id, attempt, tuple(reveals), tuple(marks), outcome)


@pytest.mark.parametrize(
    ("clients", "exact", "entries"),
    [(2, False, 63 * 12), (3, False, 63 * 22), (3, True, 7), (17, True, 2**17 - 1)],
)
def test_every_entry_can_be_named_and_no_other(clients: int, exact: bool, entries: int) -> None:
    """63 blocks, each 2 + 10·(K − 1) counts, or every coalition: the first and the last are looked at.

    Who names one behind the last has accused falsely: nobody looks at anything for it, and nobody hears it again.
    """
    attempted = Attempted(clients, most=10).closed(0, 1, 2, exact=exact)
    attempted.held(0, 1, 2, exact=exact)
    machine, accused = attempted.machine, attempted.reveal(1, exact=exact)
    assert machine.receive(attempted.accusation(by=2, against=1, entry=0)) == [CheckEntry(accused, 0)]
    last = attempted.accusation(by=3, against=1, entry=entries - 1)
    assert machine.receive(last) == [CheckEntry(accused, entries - 1)]
    machine.entry_checked(accused.miner, 0, False)
    machine.entry_checked(accused.miner, entries - 1, False)
    attempted = Attempted(clients, most=10).closed(0, 1, 2, exact=exact)
    attempted.held(0, 1, 2, exact=exact)
    machine = attempted.machine
    assert machine.receive(attempted.accusation(by=3, against=1, entry=entries)) == []
    assert machine.due_result() is not None
    assert machine.receive(attempted.accusation(by=3, against=2, entry=0)) == []


def test_an_entry_behind_the_last_is_not_looked_at_when_the_table_comes() -> None:
    """It was named before the table was here; the accuser is not heard again, and no result waits for it [P-8.22]."""
    attempted = Attempted().closed(0, 1, 2)
    attempted.held(0, 2)
    machine = attempted.machine
    assert machine.receive(attempted.accusation(by=3, against=1, entry=10**6)) == []
    attempted.said(1)
    assert machine.checked(attempted.reveal(1), True, ()) == []
    assert machine.due_result() is not None
    assert machine.receive(attempted.accusation(by=3, against=1)) == []


def test_a_result_that_names_an_entry_behind_the_last_gets_no_vote() -> None:
    """Nothing is recomputed for it either."""
    attempted = holding()
    named = result(attempted, (1, 10**6))
    assert attempted.machine.consider(named) == []
    assert not attempted.machine.accepts_result(named)


def test_an_accepted_accusation_is_passed_on_and_said_again() -> None:
    """Once when its count turned out wrong, and at every standstill after that [P-8.19]."""
    attempted = holding()
    note = attempted.accusation(by=3, against=1)
    attempted.machine.receive(note)
    assert attempted.machine.entry_checked(attempted.roster[1], 5, True) == [Send(note)]
    assert attempted.machine.standstill().count(Send(note)) == 1


def test_one_accuser_counts_once_for_each_accused() -> None:
    """Its second accusation of the same miner is not looked at, another's is, and so is its accusation of another.

    [P-8.20]
    """
    attempted = holding()
    machine = attempted.machine
    machine.receive(attempted.accusation(by=3, against=1))
    assert machine.receive(attempted.accusation(by=3, against=1, entry=3)) == []
    machine.entry_checked(attempted.roster[1], 5, True)
    assert machine.receive(attempted.accusation(by=3, against=1, entry=3)) == []
    asked = machine.receive(attempted.accusation(by=2, against=1, entry=3))
    assert asked == [CheckEntry(attempted.reveal(1), 3)]
    assert machine.receive(attempted.accusation(by=3, against=2)) == [CheckEntry(attempted.reveal(2), 5)]


def test_what_a_result_taught_needs_no_second_look() -> None:
    """A proposed result named a false count; who accuses of it afterwards is believed at once and passed on."""
    attempted = holding()
    machine, note = attempted.machine, attempted.accusation(by=3, against=1)
    assert machine.consider(result(attempted, (1, 5))) == [CheckEntry(attempted.reveal(1), 5)]
    assert machine.entry_checked(attempted.roster[1], 5, True) == []
    assert machine.receive(note) == [Send(note)]
    assert Send(note) in machine.standstill()


def test_who_accuses_of_what_was_found_right_is_heard_no_more() -> None:
    """A proposed result named a count that is right; whoever accuses of it afterwards has lied."""
    attempted = holding()
    machine = attempted.machine
    machine.consider(result(attempted, (1, 5)))
    machine.entry_checked(attempted.roster[1], 5, False)
    assert machine.receive(attempted.accusation(by=3, against=1)) == []
    assert machine.receive(attempted.accusation(by=3, against=2)) == []
    assert machine.receive(attempted.accusation(by=2, against=1, entry=3)) == [
        CheckEntry(attempted.reveal(1), 3)
    ]


def test_what_i_raise_i_say_again_and_believe_of_others() -> None:
    """Own wrong entry: sent, said again, and no reason to doubt others who name it."""
    attempted = Attempted().closed(0, 1, 2)
    machine = attempted.machine
    attempted.said(1)
    sent = machine.checked(attempted.reveal(1), True, (6, 5))
    own = attempted.accusation(by=0, against=1, entry=5)
    assert sent == [Send(own)]
    revealed = [RevealNote(attempted.task.id, 1, attempted.reveal(miner)) for miner in (0, 1)]
    assert machine.standstill() == [*map(Send, revealed), Send(own)]
    assert machine.receive(attempted.accusation(by=3, against=1)) == []
    attempted.held(2)
    assert machine.receive(attempted.accusation(by=3, against=2)) == [CheckEntry(attempted.reveal(2), 5)]


def test_an_observer_accuses_nobody() -> None:
    """Without a key it notes what is wrong and says nothing of its own, at once or later."""
    attempted = Attempted(observes=True)
    attempted.machine.closed(tuple(attempted.commit(miner) for miner in range(3)), CLOSED_MS)
    attempted.said(1)
    assert attempted.machine.checked(attempted.reveal(1), True, (5,)) == []
    note = RevealNote(attempted.task.id, 1, attempted.reveal(1))
    assert attempted.machine.standstill() == [Send(note)]


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    """A worker may answer twice."""
    attempted = holding()
    attempted.machine.receive(attempted.accusation(by=3, against=1))
    attempted.machine.entry_checked(attempted.roster[1], 5, False)
    assert attempted.machine.entry_checked(attempted.roster[1], 5, False) == []


def test_only_a_result_of_the_closed_attempt_gets_a_vote() -> None:
    """None before the close is final here, none of another attempt, and the right one does."""
    assert not Attempted().machine.accepts_result(result(Attempted()))
    attempted = holding()
    assert not attempted.machine.accepts_result(result(attempted, attempt=2))
    assert attempted.machine.accepts_result(result(attempted))


def test_an_early_reveal_counts_only_with_its_signature() -> None:
    """Reveals that come before the close are kept, the first of each miner; a forged one is not, nor in the way.

    [P-8.12]
    """
    attempted = Attempted()
    one, two, three = (RevealNote(attempted.task.id, 1, attempted.reveal(miner)) for miner in (1, 2, 3))
    forged = [
        replace(note, reveal=replace(note.reveal, signature=one.reveal.signature)) for note in (two, three)
    ]
    for note in (one, one, *forged, two):
        assert attempted.machine.receive(note) == []
    assert len(attempted.machine.reveals.early) == 2, "what a flood says again takes memory"
    commits = tuple(attempted.commit(miner) for miner in range(4))
    effects = attempted.machine.closed(commits, CLOSED_MS)
    checked = [effect.reveal for effect in effects if isinstance(effect, CheckTable)]
    assert checked == [one.reveal, two.reveal]


def test_reveals_freeze_when_their_time_is_over() -> None:
    """Not when the close is final, not a millisecond early [P-8.23]."""
    attempted = holding()
    machine, until_ms = attempted.machine, CLOSED_MS + attempted.machine.attempt.reveal_ms
    for now_ms in (CLOSED_MS, until_ms - 1):
        assert machine.tick(now_ms) == []
    frozen = machine.tick(until_ms)[-1]
    assert frozen == Persist(Frozen(attempted.task.id, 1, Stage.REVEALS, tuple(sorted(attempted.roster[:3]))))
