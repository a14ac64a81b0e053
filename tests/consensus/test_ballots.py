"""Ballots by themselves: what counts, what is looked at twice, what a height's words prove."""

from typing import Any

import pytest
from councils import Assembly, armed

from fedcoin_cli.consensus.amnesia import Forgotten
from fedcoin_cli.consensus.ballots import Ballots
from fedcoin_cli.consensus.council import Council
from fedcoin_cli.consensus.simplex import VIEWS_AHEAD
from fedcoin_cli.protocol.message import Certified, Proposal, Vote
from ledger_store.base.names import BlockId, MinerIndex
from ledger_store.base.words import VoteKind
from ledger_store.block import Certificate

ONE, OTHER = BlockId("a" * 64), BlockId("b" * 64)


class Counting:
    """A signer that notes whose signature is looked at."""

    def __init__(self, council: Assembly) -> None:
        self._signer, self.seen = council.signer(0), list[int]()

    def sign(self, *words: Any) -> str:
        return self._signer.sign(*words)

    def verify(self, index: MinerIndex, *words: Any) -> bool:
        self.seen.append(index)
        return self._signer.verify(index, *words)


@pytest.fixture(scope="module")
def council() -> Assembly:
    """R = 4, f = 1, q = 3."""
    return Assembly(4)


def ballots_of(council: Assembly, *votes: Vote) -> tuple[Ballots, Counting]:
    """Height 1 as miner 0 hears it."""
    genesis, signer = council.maker.genesis, Counting(council)
    ballots = Ballots(Council(4, MinerIndex(0), 500, genesis.quorum, genesis.faults), 1, signer)
    for vote in votes:
        ballots.hear(vote)
    return ballots, signer


def votes_of(council: Assembly, kind: str, view: int, block: BlockId | None, *voters: int) -> list[Vote]:
    return [council.vote(kind, voter, view, block) for voter in voters]


def proof_of(
    council: Assembly, kind: str, view: int, block: BlockId | None, voters: tuple[int, ...] = (0, 1, 2)
) -> Certified:
    return Certified(VoteKind(kind), 1, block, council.certificate(kind, view, block, voters), None)


@pytest.mark.parametrize(("kind", "block"), [("notar", ONE), ("final", ONE), ("skip", None)])
def test_a_vote_is_looked_at_once(council: Assembly, kind: str, block: BlockId | None) -> None:
    """What is held is not verified again; neither are a second vote, one's own, and one of nobody on the roster."""
    vote = council.vote(kind, 3, 0, block)
    ballots, signer = ballots_of(council, vote, vote)
    assert (signer.seen, list(ballots.all())) == ([3], [vote])
    for voter in (-1, 0, 4):
        ballots.hear(Vote(vote.kind, MinerIndex(voter), 1, 0, block, vote.signature))
    assert signer.seen == [3]
    if block is not None:
        second = council.vote(kind, 3, 0, OTHER)
        for _ in range(2):
            ballots.hear(second)
        assert (signer.seen, list(ballots.all())) == ([3, 3], [vote])


def test_more_than_f_equal_votes_stir_for_good(council: Assembly) -> None:
    """One vote does not, the second does, and a single one of another kind afterwards takes nothing back."""
    ballots, _ = ballots_of(council)
    stirred = []
    for kind, voter in (("notar", 1), ("notar", 2), ("final", 3)):
        ballots.hear(council.vote(kind, voter, 0, ONE))
        stirred.append(ballots.stirred)
    assert stirred == [False, True, True]


@pytest.mark.parametrize(("kind", "block"), [("notar", ONE), ("final", ONE), ("skip", None)])
def test_q_votes_are_a_certificate_that_proves_itself(
    council: Assembly, kind: str, block: BlockId | None
) -> None:
    """Of this height, kind, view and block; the voters in order, no more than q."""
    ballots, _ = ballots_of(council, *votes_of(council, kind, 2, block, 3, 2, 1))
    (proof,) = [one for one in ballots.evidence() if isinstance(one, Certified)]
    expected = council.certificate(kind, 2, block, (1, 2, 3))
    assert proof == Certified(VoteKind(kind), 1, block, expected, None)
    assert ballots_of(council)[0].proves(proof)
    assert ballots.certifies(ONE) == (block is not None)
    assert not ballots.certifies(OTHER)


def test_what_is_held_is_not_checked_again(council: Assembly) -> None:
    """A SKIP certificate of a view, and a notarisation of this block; another block's, view's or kind's is."""
    ballots, signer = ballots_of(council)
    for proof in (proof_of(council, "skip", 0, None), proof_of(council, "notar", 1, ONE)):
        assert ballots.proves(proof)
        ballots.learn(proof)
        signer.seen.clear()
        assert ballots.proves(proof)
        assert signer.seen == []
    for proof in (
        proof_of(council, "skip", 1, None),
        proof_of(council, "notar", 1, OTHER),
        proof_of(council, "notar", 0, ONE),
        proof_of(council, "final", 1, ONE),
    ):
        signer.seen.clear()
        assert ballots.proves(proof)
        assert signer.seen == [0, 1, 2]


def test_a_certificate_is_of_q_miners_of_the_roster_in_order(council: Assembly) -> None:
    """Fewer, more, twice the same, another order, an index beyond the roster, somebody else's signature: no proof."""
    ballots, _ = ballots_of(council)
    for voters in ((0, 1), (0, 1, 2, 3), (0, 1, 1), (1, 0, 2)):
        assert not ballots.proves(proof_of(council, "notar", 0, ONE, voters)), voters
    good = proof_of(council, "notar", 0, ONE).certificate.signatures
    for third in (MinerIndex(4), MinerIndex(3)):
        spoilt = Certificate(0, (*good[:2], (third, good[2][1])))
        assert not ballots.proves(Certified(VoteKind.NOTAR, 1, ONE, spoilt, None))


@pytest.mark.parametrize(
    ("said", "tells"),
    [
        ([("notar", 0, ONE, 1), ("notar", 0, ONE, 2)], False),
        ([("final", 0, ONE, 1), ("final", 0, ONE, 2)], False),
        ([("notar", 0, ONE, 1), ("notar", 0, ONE, 2), ("notar", 0, ONE, 3)], False),
        ([("skip", 0, None, 1)], False),
        ([("skip", 0, None, 1), ("skip", 0, None, 2)], True),
        ([("notar", 1, ONE, 1)], False),
        ([("notar", 1, ONE, 1), ("notar", 1, ONE, 2)], True),
        ([("final", 2, ONE, 1), ("final", 2, ONE, 2)], True),
        ([("skip", 1, None, 1), ("skip", 1, None, 2)], True),
    ],
)
def test_what_makes_a_height_worth_keeping(
    council: Assembly, said: list[tuple[str, int, BlockId | None, int]], tells: bool
) -> None:
    """More than f let view 0 pass, or came to another view; one alone tells nothing [P-10.32]."""
    ballots, _ = ballots_of(
        council, *(council.vote(kind, voter, view, block) for kind, view, block, voter in said)
    )
    assert ballots.disturbed == tells


@pytest.mark.parametrize(
    ("proofs", "tells"),
    [
        ([("notar", 0, ONE)], False),
        ([("notar", 0, ONE), ("final", 0, ONE)], False),
        ([("notar", 0, ONE), ("notar", 0, ONE)], False),
        ([("notar", 0, ONE), ("notar", 0, OTHER)], True),
        ([("notar", 1, ONE)], True),
        ([("skip", 0, None)], True),
    ],
)
def test_which_certificates_make_a_height_worth_keeping(
    council: Assembly, proofs: list[tuple[str, int, BlockId | None]], tells: bool
) -> None:
    """A SKIP, a second notarisation of one view, or one of a later view; all that is held is told [P-10.32]."""
    ballots, _ = ballots_of(council)
    known = [proof_of(council, *proof) for proof in proofs]
    for proof in known:
        ballots.learn(proof)
    assert ballots.disturbed == tells
    assert ballots.evidence() == list(dict.fromkeys(known))
    last = max((view for kind, view, _ in proofs if kind == "notar"), default=-1)
    assert ballots.best_notarised() == ballots.best_notarised(below=last + 1) == last
    assert ballots.best_notarised(below=last) == -1


def test_evidence_has_what_no_certificate_holds(council: Assembly) -> None:
    """Votes up to the last view with a certificate, each once; without any certificate none."""
    early, late = council.vote("notar", 3, 0, ONE), council.vote("notar", 3, 2, ONE)
    for view in (0, 1):
        assert ballots_of(council, council.vote("notar", 3, view, ONE))[0].evidence() == []
    ballots, _ = ballots_of(council, early, late, *votes_of(council, "skip", 1, None, 1, 2, 3))
    assert ballots.evidence() == [proof_of(council, "skip", 1, None, (1, 2, 3)), early]


def test_a_completed_log_keeps_its_miner_silent(council: Assembly) -> None:
    """Up to the view that it may have forgotten it says nothing, and it is not armed by that; own votes do arm it."""
    machine = Assembly(4).members[0].machine
    machine.restore([Forgotten(1, 3), Forgotten(1, 2)], 5)
    assert (machine._silent_to, machine.armed) == (3, False)
    machine.restore([council.vote("skip", 0, 0, None)], 5)
    assert (machine._silent_to, machine.armed) == (3, True)
    machine.restore([], 5)
    assert machine.armed


def test_a_restart_is_in_the_view_of_its_own_votes(council: Assembly) -> None:
    """NOTAR and SKIP are given in the present view, a FINAL may be of an earlier one."""
    for kind, block, view in (("skip", None, 2), ("notar", ONE, 2), ("final", ONE, 0)):
        machine = Assembly(4).members[0].machine
        machine.restore([council.vote(kind, 0, 2, block)], 5)
        assert machine.view == view, kind


def test_in_the_last_view_that_is_forgotten_a_skip_is_said() -> None:
    """Nobody else has voted enough for a FINAL there; in an earlier one nothing is said at all."""
    for last, said in ((0, [("skip", 0)]), (1, [])):
        council = Assembly(4)
        member = council.members[0]
        member.machine.restore([Forgotten(1, last)], council.now_ms)
        member.arm()
        council.now_ms += 60_000
        member.tick()
        assert member.kinds() == said


def test_a_view_with_a_notarisation_is_not_skipped() -> None:
    """Who knows that q miners notarised a block leaves the view for the next one, and gives no SKIP of it.

    Not either where it hears of that when its timer has rung already.
    """
    council = armed(4)
    member = council.members[0]
    council.now_ms += 60_000
    member.hear(proof_of(council, "notar", 0, ONE, (1, 2, 3)))
    for _ in range(20):
        council.now_ms += 500
        member.tick()
    assert ("skip", 0) not in member.kinds()
    assert member.machine.view > 0


def test_votes_far_ahead_are_not_kept(council: Assembly) -> None:
    """Up to a bound of views ahead of one's own."""
    member = Assembly(4).members[0]
    for view in (VIEWS_AHEAD, VIEWS_AHEAD + 1):
        member.hear(council.vote("skip", 3, view, None))
    assert sorted(member.machine.ballots.views) == [0, VIEWS_AHEAD]


def test_who_has_voted_is_armed() -> None:
    """The clock of a height goes on when an own vote was said."""
    council = armed(4)
    (proposal,) = [one for one in council.leader(0).said if isinstance(one, Proposal)]
    member = council.members[3]
    member.hear(proposal)
    assert ("notar", 0) in member.kinds()
    assert member.machine.armed


def test_what_is_decided_is_not_voted_on() -> None:
    """A block that was not acceptable, and is by now: its FINAL certificate ends the height, and no vote follows."""
    council = armed(4)
    (proposal,) = [one for one in council.leader(0).said if isinstance(one, Proposal)]
    member = council.members[3]
    member.judge.refuses = True
    member.hear(proposal)
    member.judge.refuses = False
    member.hear(proof_of(council, "final", 0, proposal.block.id))
    assert member.final is not None
    assert member.final[0] == proposal.block
    assert not [said for said in member.said if isinstance(said, Vote)]
