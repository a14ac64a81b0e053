"""Accusations in an attempt, one by one: whose, of whom, of which mask, and what is said again."""

from dataclasses import replace

import pytest
from rule_traces import CLOSED_MS, Attempted

from fedcoin_cli.consensus.estimate import no_proxy
from fedcoin_cli.consensus.posap import CheckMask, CheckTable, Frozen, Persist, Posap, Send
from fedcoin_cli.network.message import RevealNote
from ledger_store.transaction import FraudMark, Result


def holding(clients: int = 3, *, observes: bool = False) -> Attempted:
    """All three commits are closed, their reveals here and their tables found right."""
    attempted = Attempted(clients, observes=observes).closed(0, 1, 2)
    attempted.held(0, 1, 2)
    return attempted


def result(attempted: Attempted, *frauds: tuple[int, int], attempt: int = 1) -> Result:
    """With the reveals of miners 0 to 2; its outcome is not this machine's business."""
    reveals = sorted((attempted.reveal(miner) for miner in range(3)), key=lambda one: one.miner)
    marks = [FraudMark(attempted.roster[miner], mask) for miner, mask in frauds]
    proxy, outcome = no_proxy(attempted.clients), attempted.maker.failed(attempted.task, "OPEN")
    whole = (tuple(reveals), tuple(marks), proxy.sums, proxy.denominator, outcome)
    return Result(attempted.task.id, attempt, *whole)


@pytest.mark.parametrize(
    ("clients", "mask"), [(3, 1), (3, 7), (5, 0x10), (8, 0x80), (9, 0x100), (16, 0x8000), (17, 0x10000)]
)
def test_every_coalition_can_be_named(clients: int, mask: int) -> None:
    """The first and the last mask, of as many bytes as the clients take: each is looked at as it was written."""
    attempted = holding(clients)
    effects = attempted.machine.receive(attempted.accusation(by=3, against=1, mask=mask))
    assert effects == [CheckMask(attempted.reveal(1), mask)]


@pytest.mark.parametrize("mask", ["5", "005", "00", "08", "ff"])
def test_what_names_no_coalition_is_ignored(mask: str) -> None:
    """Too short, too long, nobody, or with clients that there are not."""
    attempted = holding()
    note = replace(attempted.accusation(by=3, against=1), mask=mask)
    signature = attempted.maker.miners[3].sign("fraud", attempted.maker.genesis.id, note.terms())
    assert attempted.machine.receive(replace(note, signature=signature)) == []


def test_an_accepted_accusation_is_passed_on_and_said_again() -> None:
    """Once when its mask turned out wrong, and at every standstill after that."""
    attempted = holding()
    note = attempted.accusation(by=3, against=1)
    attempted.machine.receive(note)
    assert attempted.machine.mask_checked(attempted.roster[1], 5, True) == [Send(note)]
    assert attempted.machine.standstill().count(Send(note)) == 1


def test_one_accuser_counts_once_for_each_accused() -> None:
    """Its second accusation of the same miner is not looked at, another's is, and so is its accusation of another."""
    attempted = holding()
    machine = attempted.machine
    machine.receive(attempted.accusation(by=3, against=1))
    assert machine.receive(attempted.accusation(by=3, against=1, mask=3)) == []
    machine.mask_checked(attempted.roster[1], 5, True)
    assert machine.receive(attempted.accusation(by=3, against=1, mask=3)) == []
    asked = machine.receive(attempted.accusation(by=2, against=1, mask=3))
    assert asked == [CheckMask(attempted.reveal(1), 3)]
    assert machine.receive(attempted.accusation(by=3, against=2)) == [CheckMask(attempted.reveal(2), 5)]


def test_what_a_result_taught_needs_no_second_look() -> None:
    """A proposed result named a false mask; who accuses of it afterwards is believed at once and passed on."""
    attempted = holding()
    machine, note = attempted.machine, attempted.accusation(by=3, against=1)
    assert machine.consider(result(attempted, (1, 5))) == [CheckMask(attempted.reveal(1), 5)]
    assert machine.mask_checked(attempted.roster[1], 5, True) == []
    assert machine.receive(note) == [Send(note)]
    assert Send(note) in machine.standstill()


def test_who_accuses_of_what_was_found_right_is_heard_no_more() -> None:
    """A proposed result named a mask that is right; whoever accuses of it afterwards has lied."""
    attempted = holding()
    machine = attempted.machine
    machine.consider(result(attempted, (1, 5)))
    machine.mask_checked(attempted.roster[1], 5, False)
    assert machine.receive(attempted.accusation(by=3, against=1)) == []
    assert machine.receive(attempted.accusation(by=3, against=2)) == []
    assert machine.receive(attempted.accusation(by=2, against=1, mask=3)) == [
        CheckMask(attempted.reveal(1), 3)
    ]


def test_what_i_raise_i_say_again_and_believe_of_others() -> None:
    """Own wrong mask: sent, said again, and no reason to doubt others who name it."""
    attempted = Attempted().closed(0, 1, 2)
    machine = attempted.machine
    attempted.said(1)
    sent = machine.checked(attempted.reveal(1), True, (6, 5))
    own = attempted.accusation(by=0, against=1, mask=5)
    assert sent == [Send(own)]
    revealed = [RevealNote(attempted.task.id, 1, attempted.reveal(miner)) for miner in (0, 1)]
    assert machine.standstill() == [*map(Send, revealed), Send(own)]
    assert machine.receive(attempted.accusation(by=3, against=1)) == []
    attempted.held(2)
    assert machine.receive(attempted.accusation(by=3, against=2)) == [CheckMask(attempted.reveal(2), 5)]


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
    attempted.machine.mask_checked(attempted.roster[1], 5, False)
    assert attempted.machine.mask_checked(attempted.roster[1], 5, False) == []


def test_only_a_result_of_the_closed_attempt_gets_a_vote() -> None:
    """None before the close is final here, none of another attempt, and the right one does."""
    assert not Attempted().machine.accepts_result(result(Attempted()))
    attempted = holding()
    assert not attempted.machine.accepts_result(result(attempted, attempt=2))
    assert attempted.machine.accepts_result(result(attempted))


def test_an_early_reveal_counts_only_with_its_signature() -> None:
    """Reveals that come before the close are kept, the first of each miner; a forged one is not, nor in the way."""
    attempted = Attempted()
    one, two, three = (RevealNote(attempted.task.id, 1, attempted.reveal(miner)) for miner in (1, 2, 3))
    forged = [
        replace(note, reveal=replace(note.reveal, signature=one.reveal.signature)) for note in (two, three)
    ]
    for note in (one, one, *forged, two):
        assert attempted.machine.receive(note) == []
    assert len(attempted.machine._early) == 2, "what a flood says again takes memory"
    commits = tuple(attempted.commit(miner) for miner in range(4))
    effects = attempted.machine.closed(commits, CLOSED_MS)
    checked = [effect.reveal for effect in effects if isinstance(effect, CheckTable)]
    assert checked == [one.reveal, two.reveal]


def test_reveals_freeze_when_their_time_is_over() -> None:
    """Not when the close is final, not a millisecond early."""
    attempted = holding()
    machine, until_ms = attempted.machine, CLOSED_MS + attempted.machine.attempt.reveal_ms
    for now_ms in (CLOSED_MS, until_ms - 1):
        assert machine.tick(now_ms) == []
    frozen = machine.tick(until_ms)[-1]
    assert frozen == Persist(Frozen(attempted.task.id, 1, "reveals", tuple(sorted(attempted.roster[:3]))))


def test_no_result_before_the_proxys_sums_are_here() -> None:
    """All reveals are here and right; a new machine knows no P yet, and without it nothing follows from them."""
    attempted = Attempted()
    machine = attempted.machine
    machine.proxy = Posap(machine.attempt, None, machine._signer, 0).proxy
    attempted.closed(0, 1, 2).held(0, 1, 2)
    assert machine.due_result() is None
    machine.proxy = no_proxy(attempted.clients)
    assert machine.due_result() is not None
