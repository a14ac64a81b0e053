import pytest
from chains import ChainMaker, key

from fedcoin_cli.application.requester.submission import REMIND_EVERY, RESEND_S, Submission
from ledger_store.base.names import Address

A_ADDRESS = Address("a")
B = Address("b")

MINERS = (Address("a"), Address("b"), Address("c"), Address("d"))


@pytest.fixture
def submission() -> Submission:
    maker = ChainMaker()
    return Submission(maker.transfer(maker.requester, key("friend").address, 10**6), MINERS, 3)


def verdicts(submission: Submission) -> tuple[bool, str | None, str | None]:
    return submission.taken, submission.refusal, submission.files_refusal


def test_a_quorum_takes_it(submission: Submission) -> None:
    """It is taken once a quorum of miners said so; strangers' receipts and repetitions do not count."""
    for miner in ("a", "a", "stranger", "b"):
        submission.receipt(Address(miner), None)
    assert verdicts(submission) == (False, None, None)
    submission.receipt(Address("d"), None)
    assert verdicts(submission) == (True, None, None)


def test_refusals_count_once_a_quorum_is_lost(submission: Submission) -> None:
    """One refusal of four changes nothing; with two the reason that most give is the verdict, until one takes it."""
    submission.receipt(A_ADDRESS, "behind")
    assert verdicts(submission) == (False, None, None)
    submission.receipt(B, "sequence")
    submission.receipt(Address("c"), "sequence")
    assert verdicts(submission) == (False, "sequence", None)
    submission.receipt(A_ADDRESS, None)
    submission.receipt(B, None)
    assert verdicts(submission) == (False, None, None)


def test_a_refusal_after_acceptance_is_about_the_files(submission: Submission) -> None:
    """A miner that took it and then refuses has checked the files; its verdict stays."""
    for miner in MINERS:
        submission.receipt(Address(miner), None)
    submission.receipt(A_ADDRESS, "client 3: too wide")
    submission.receipt(B, "client 3: too wide")
    submission.receipt(A_ADDRESS, "client 3: too wide")
    assert verdicts(submission) == (False, None, "client 3: too wide")


def test_whom_to_tell_again(submission: Submission) -> None:
    """At intervals those are told again that have not taken it, now and then all, but none that refused the files."""
    assert submission.due(10.0) == MINERS
    submission.receipt(A_ADDRESS, None)
    submission.receipt(B, None)
    submission.receipt(B, "bad files")
    assert submission.due(10.0 + RESEND_S / 2) == ()
    told = [submission.due(10.0 + RESEND_S * turn) for turn in range(1, REMIND_EVERY)]
    assert told == [("c", "d")] * (REMIND_EVERY - 2) + [("a", "c", "d")]
