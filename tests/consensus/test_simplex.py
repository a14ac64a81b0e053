from dataclasses import replace

import pytest
from councils import DELTA_MS, Assembly, Said, armed, view_of

from fedcoin_cli.consensus.amnesia import Forgotten
from fedcoin_cli.consensus.ballots import RECALLED_MOST
from fedcoin_cli.consensus.council import TIMEOUT_MAX_MS, Council
from fedcoin_cli.consensus.proposals import SKIPS_CARRIED
from fedcoin_cli.protocol.message import Certified, Proposal, Vote
from fedcoin_cli.replica.records import from_bytes
from ledger_store.base.names import MinerIndex
from ledger_store.base.words import VoteKind

T0_MS = 4 * DELTA_MS + 1_000


def decided(council: Assembly) -> set[str]:
    """Ids of the final blocks; fails where somebody has none."""
    finals = [member.final for member in council.members]
    return {"none" if final is None else final[0].id for final in finals}


def said(council: Assembly) -> list[Said]:
    return [message for member in council.members for message in member.said]


# The good case ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("miners", [1, 2, 3, 4, 7])
def test_the_good_case_takes_one_proposal_and_two_votes_each(miners: int) -> None:
    """One PROPOSAL, R NOTAR, R FINAL in view 0, and everybody has the same block and a whole certificate."""
    council = armed(miners)
    council.converse(council.members, said(council))
    assert len(decided(council)) == 1
    assert "none" not in decided(council)
    kinds = sorted(kind for member in council.members for kind, _ in member.kinds())
    expected = ["final"] * miners + ["notar"] * miners + ["proposal"]
    assert [kind for kind in kinds if kind != "certified"] == expected if miners > 1 else kinds == expected
    for member in council.members:
        assert member.final is not None
        block, certificate = member.final
        certificate.check(council.maker.genesis, VoteKind.FINAL, 1, block.id)


def test_nothing_is_said_twice_unasked() -> None:
    """Time alone makes a decided or waiting machine repeat nothing: repeating is the standstill's business."""
    council = armed(4)
    before = len(said(council))
    assert council.pass_time(1) == []
    assert len(said(council)) == before


# Idle ---------------------------------------------------------------------------------------------------------------


def test_an_idle_height_burns_no_views() -> None:
    """A day without anything to decide: not one message, no deadline, nothing to repeat [P-10.20]."""
    council = Assembly(4)
    for member in council.members:
        member.judge.packs = False
    for _ in range(24):
        assert council.pass_time(3_600_000) == []
    for member in council.members:
        assert member.machine.deadline_ms is None
        assert member.repeat() == []
        assert member.machine.view == 0


def test_a_liar_alone_does_not_arm_an_idle_height() -> None:
    """A proposal, a NOTAR, a FINAL and SKIPs of f miners start no clock; one honest miner's vote more does.

    [P-10.20]
    """
    council = Assembly(4)
    listener = council.members[0]
    listener.judge.packs = False
    listener.judge.refuses = True
    block = council.block()
    lies: list[Said] = [
        council.proposal(0, block),
        council.vote("notar", 1, 0, block.id),
        council.vote("final", 1, 0, block.id),
        *(council.vote("skip", 1, view, None) for view in range(5)),
    ]
    assert listener.hear(*lies) == []
    assert not listener.machine.armed
    listener.hear(council.vote("skip", 2, 0, None))
    assert listener.machine.armed


@pytest.mark.parametrize("kind", ["notar", "skip", "final"])
def test_a_certificate_arms(kind: str) -> None:
    """A certificate holds honest votes: the height's clock starts [P-10.20]."""
    council = Assembly(4)
    block = None if kind == "skip" else council.block().id
    council.members[0].hear(
        Certified(VoteKind(kind), 1, block, council.certificate(kind, 0, block, range(3)), None)
    )
    assert council.members[0].machine.armed


# Timers -------------------------------------------------------------------------------------------------------------


def test_timeouts_grow_by_half_up_to_a_bound() -> None:
    """T_v = min(100 s, T0 · 1.5^v) in whole milliseconds, T0 = 4Δ + a second for validation [P-10.17]."""
    council = Council(4, MinerIndex(0), DELTA_MS, 3, 1)
    assert [council.timeout_ms(view) for view in range(4)] == [T0_MS, 4_500, 6_750, 10_125]
    assert [council.timeout_ms(view) for view in (8, 9, 39, 40, 10_000)] == [76_886, *[TIMEOUT_MAX_MS] * 4]


def test_the_own_skip_may_be_the_last_that_a_certificate_needs() -> None:
    """Then the view is left in the same breath [P-10.18]."""
    council = armed(4)
    council.leader(0).said.clear()
    listener = council.members[0]
    listener.hear(*(council.vote("skip", other, 0, None) for other in (1, 2)))
    assert listener.machine.view == 0
    council.now_ms += T0_MS
    listener.tick()
    assert listener.machine.view == 1


def test_one_miner_decides_in_the_same_breath() -> None:
    """Its own votes are a quorum: from the proposal to the decision nothing waits for another input [P-10.19]."""
    assert armed(1).members[0].final is not None


def test_views_that_are_skipped_already_are_passed_at_once() -> None:
    """View 1 before view 0: whoever leaves 0 is in 2 [P-10.18]."""
    council = armed(4)
    listener = council.members[0]
    listener.hear(*(council.vote("skip", other, view, None) for view in (1, 0) for other in (1, 2, 3)))
    assert listener.machine.view == 2


def test_a_view_that_is_skipped_is_passed_after_a_notarised_one() -> None:
    """View 0 is notarised and not decided for 2Δ; view 1 is skipped already [P-10.18]."""
    council = armed(4)
    listener, block = council.members[0], council.block()
    listener.hear(council.proposal(0, block))
    listener.hear(*(council.vote("notar", other, 0, block.id) for other in (1, 2)))
    listener.hear(*(council.vote("skip", other, 1, None) for other in (1, 2, 3)))
    assert listener.machine.view == 0
    council.now_ms += 2 * DELTA_MS
    listener.tick()
    assert listener.machine.view == 2


def test_what_a_leader_keeps_before_it_proposes_is_kept() -> None:
    """The skip certificate that justifies its proposal is on its disk, and before the proposal [P-10.22]."""
    council = armed(4)
    leader = council.leader(1)
    leader.hear(*(council.vote("skip", other, 0, None) for other in range(4) if other != leader.index))
    assert ("proposal", 1) in leader.kinds()
    kept = [from_bytes(one) for one in leader.disk]
    kinds = [type(one) for one in kept]
    assert kinds.index(Certified) < kinds.index(Proposal)


def test_who_forgot_gives_no_final_up_to_that_view() -> None:
    """A notarisation of the last view that it forgot moves it to nothing, one of the next view does [P-10.29]."""
    for forgotten, finals in ((0, []), (-1, [("final", 0)])):
        council = Assembly(4)
        member, block = council.members[0], council.block()
        member.machine.restore([Forgotten(1, forgotten)], council.now_ms)
        member.hear(council.proposal(0, block))
        member.hear(*(council.vote("notar", other, 0, block.id) for other in (1, 2, 3)))
        assert [one for one in member.kinds() if one[0] == "final"] == finals


def test_a_notarisation_that_comes_first_takes_no_notar_away() -> None:
    """FINAL and NOTAR of the view are for one block, whichever is given first; its judge is asked about that block."""
    council = armed(4)
    listener, block = council.members[0], council.block()
    listener.hear(*(council.vote("notar", other, 0, block.id) for other in (1, 2, 3)))
    listener.hear(council.proposal(0, block))
    assert sorted(listener.kinds()) == [("final", 0), ("notar", 0)]
    assert listener.judge.asked == [block.id]


def test_a_block_that_comes_again_is_kept_once() -> None:
    """View 1 repeats what view 0 has notarised: the proposal that was kept for it is enough [P-10.22]."""
    council = armed(4)
    listener, block = council.members[0], council.block()
    listener.hear(
        council.proposal(0, block), *(council.vote("notar", other, 0, block.id) for other in (1, 2))
    )
    council.now_ms += 2 * DELTA_MS
    listener.tick()
    again = council.proposal(
        1, block, justified=0, notarisation=council.certificate("notar", 0, block.id, range(3))
    )
    listener.hear(again)
    assert ("notar", 1) in listener.kinds()
    assert sum(isinstance(from_bytes(one), Proposal) for one in listener.disk) == 1


def test_each_block_that_is_voted_for_is_kept() -> None:
    """View 0 is skipped after all, view 1 has another block: both proposals are on the disk [P-10.22]."""
    council = armed(4)
    listener = council.members[0]
    listener.hear(council.proposal(0, council.block()))
    listener.hear(council.proposal(1, council.block(view=1, note=2), skips=council.skips(0)))
    assert listener.kinds() == [("notar", 0), ("notar", 1)]
    assert sum(isinstance(from_bytes(one), Proposal) for one in listener.disk) == 2


def test_skip_comes_when_the_timer_fires_and_only_once() -> None:
    """Not a millisecond before T0; never again in the same view [P-10.16]."""
    council = armed(4)
    council.leader(0).said.clear()
    listener = council.members[0]
    council.now_ms += T0_MS - 1
    assert listener.tick() == []
    council.now_ms += 1
    assert [(s.kind, view_of(s)) for s in listener.tick()] == [("skip", 0)]
    council.now_ms += 10 * T0_MS
    assert listener.tick() == []


def test_a_new_view_has_a_timer_of_its_own() -> None:
    """After a skip certificate the clock of view 1 starts from then and is half as long again [P-10.17]."""
    council = armed(4)
    listener = council.members[0]
    council.now_ms += T0_MS
    listener.tick()
    listener.hear(*(council.vote("skip", voter, 0, None) for voter in (2, 3)))
    assert listener.machine.view == 1
    assert listener.machine.deadline_ms == council.now_ms + T0_MS * 3 // 2


# Leaders that fail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("miners", "dead"), [(4, [1]), (5, [1]), (7, [1, 2])])
def test_a_dead_leader_costs_one_view(miners: int, dead: list[int]) -> None:
    """Final by view 1, by view 2 with two dead leaders in a row; and the dead one catches up from a certificate."""
    council = armed(miners)
    alive = [member for member in council.members if member.index not in dead]
    for view in range(len(dead)):
        council.now_ms += Council(miners, MinerIndex(0), DELTA_MS, 0, 0).timeout_ms(view)
        council.converse(alive, [said for member in alive for said in member.tick()])
    finals = {member.final[0].id for member in alive if member.final is not None}
    assert len(finals) == 1
    assert all(member.final is not None for member in alive)
    assert {member.machine.view for member in alive} == {len(dead)}
    final = alive[0].final
    assert final is not None
    late = council.members[dead[0]]
    late.hear(Certified(VoteKind.FINAL, 1, final[0].id, final[1], final[0]))
    assert late.final == final


def test_two_proposals_of_one_leader_never_both_get_certificates() -> None:
    """An equivocating leader divides NOTARs, nothing is notarised, and the next view decides."""
    council = Assembly(4)
    honest = [council.members[index] for index in (0, 2, 3)]
    first, second = council.block(note=1), council.block(note=2)
    for member, block in zip(honest, (first, first, second), strict=True):
        member.arm()
        member.hear(council.proposal(0, block), council.proposal(0, first if block is second else second))
    liar_votes: list[Said] = [council.vote("notar", 1, 0, block.id) for block in (first, second)]
    votes = [message for member in honest for message in member.said]
    assert sorted(vote.block or "" for vote in votes if isinstance(vote, Vote)) == sorted(
        [first.id, first.id, second.id]
    )
    # Its vote for the first block notarises that one at most: the other lacks votes for good.
    council.converse(honest, [*liar_votes, *votes])
    council.now_ms += T0_MS
    council.converse(honest, [message for member in honest for message in member.tick()])
    finals = {member.final[0].id for member in honest if member.final is not None}
    assert len(finals) == 1
    assert all(member.final is not None for member in honest)


# Safety rules -------------------------------------------------------------------------------------------------------


def test_no_final_after_own_skip_and_the_block_comes_again() -> None:
    """A notarisation that comes after the own SKIP gets no FINAL in its view; the next leader repeats the block.

    [P-10.15]
    """
    council = armed(4)
    proposal = next(m for m in council.leader(0).said if isinstance(m, Proposal))
    votes = [council.vote("notar", voter, 0, proposal.block.id) for voter in (1, 2, 3)]
    leader = council.leader(1)
    council.now_ms += T0_MS
    assert [(s.kind, view_of(s)) for s in leader.tick()] == [("skip", 0)]
    said = leader.hear(proposal, *votes)
    assert ("final", 0) not in [(s.kind, view_of(s)) for s in said]
    council.now_ms += 2 * DELTA_MS
    again = next(s for s in leader.tick() if isinstance(s, Proposal))
    assert (again.view, again.block.id, again.justified) == (1, proposal.block.id, 0)
    assert again.block.header.view == 0
    assert again.notarisation is not None


def test_no_skip_after_a_notarisation_or_own_final() -> None:
    """Who holds the notarisation of a view lets its timer pass in silence and leaves after T_final [P-10.16]."""
    council = armed(4)
    proposal = next(m for m in council.leader(0).said if isinstance(m, Proposal))
    member = council.members[0]
    member.hear(proposal, *(council.vote("notar", voter, 0, proposal.block.id) for voter in (1, 2)))
    assert ("final", 0) in member.kinds()
    council.now_ms += 2 * DELTA_MS - 1
    member.tick()
    assert member.machine.view == 0
    council.now_ms += 1
    member.tick()
    assert member.machine.view == 1
    council.now_ms += 10 * T0_MS
    member.tick()
    assert ("skip", 0) not in member.kinds()
    assert ("skip", 1) in member.kinds()


def test_final_is_voted_for_past_views_too() -> None:
    """A notarisation of a view that was left without SKIP gets its FINAL when it comes [P-10.15]."""
    council = Assembly(4)
    member = council.members[0]
    first = council.block()
    member.hear(council.proposal(2, council.block(view=2, note=9), skips=council.skips(0, 1)))
    assert member.machine.view == 2
    member.hear(
        Certified(VoteKind.NOTAR, 1, first.id, council.certificate("notar", 0, first.id, (1, 2, 3)), first)
    )
    assert ("final", 0) in member.kinds()


def test_notar_is_voted_once_a_view_and_in_the_current_view_only() -> None:
    """A second proposal of the view, and a late one of a past view, get no vote [P-10.9]."""
    council = Assembly(4)
    member = council.members[0]
    later = council.proposal(2, council.block(view=2, note=9), skips=council.skips(0, 1))
    member.hear(later, council.proposal(2, council.block(view=2, note=8), skips=council.skips(0, 1)))
    member.hear(council.proposal(0, council.block()), council.proposal(1, council.block(view=1)))
    notars = [vote for vote in member.said if isinstance(vote, Vote) and vote.kind == "notar"]
    assert [(vote.view, vote.block) for vote in notars] == [(2, later.block.id)]


def test_what_is_not_acceptable_yet_is_voted_for_later_in_the_view() -> None:
    """A fresh block waits for what is missing here; the next event of the view looks again [P-10.11]."""
    council = Assembly(4)
    member = council.members[0]
    member.judge.refuses = True
    assert member.hear(council.proposal(0, council.block())) == []
    member.judge.refuses = False
    assert [s.kind for s in member.tick()] == ["notar"]


def test_a_repeated_block_is_taken_on_its_certificate() -> None:
    """The local check is for fresh blocks only; an invalid block is refused whatever its certificate [P-10.11]."""
    council = Assembly(4)
    block = council.block()
    again = council.proposal(1, block, 0, council.certificate("notar", 0, block.id, (1, 2, 3)))
    for member in (council.members[0], council.members[3]):
        member.judge.refuses = True
    council.members[3].judge.invalid.add(block.id)
    assert ("notar", 1) in [(s.kind, view_of(s)) for s in council.members[0].hear(again)]
    assert "notar" not in [s.kind for s in council.members[3].hear(again)]


# Justification ------------------------------------------------------------------------------------------------------


def unjustified() -> list[tuple[str, Proposal]]:
    """Proposals of view 2 that no honest leader makes."""
    council = Assembly(4)
    old, fresh = council.block(), council.block(view=2, note=2)
    notar = council.certificate("notar", 0, old.id, (1, 2, 3))
    skips, few = council.skips(0, 1), council.certificate("skip", 1, None, (0, 1))
    strange = council.certificate("skip", 1, None, (0, 1, 1))
    wrong_kind = council.certificate("notar", 1, None, (0, 1, 2))
    forged = replace(skips[1], signatures=((MinerIndex(0), "0" * 128), *skips[1].signatures[1:]))
    good = council.proposal(2, fresh, skips=skips)
    return [
        ("no skip certificates", council.proposal(2, fresh)),
        ("one is missing", council.proposal(2, fresh, skips=skips[:1])),
        ("one too many", council.proposal(2, fresh, skips=(*skips, *skips[:1]))),
        ("the wrong order", council.proposal(2, fresh, skips=skips[::-1])),
        ("too few signatures", council.proposal(2, fresh, skips=(skips[0], few))),
        ("a miner twice", council.proposal(2, fresh, skips=(skips[0], strange))),
        ("votes of another kind", council.proposal(2, fresh, skips=(skips[0], wrong_kind))),
        ("a forged signature", council.proposal(2, fresh, skips=(skips[0], forged))),
        ("an old header", council.proposal(2, old, skips=skips)),
        ("a notarisation that is not named", council.proposal(2, fresh, -1, notar, skips)),
        ("no notarisation where one is named", council.proposal(2, old, 0, None, skips[1:])),
        ("another block than the notarised", council.proposal(2, fresh, 0, notar, skips[1:])),
        ("a notarisation of another view", council.proposal(2, old, 1, notar)),
        ("a hole after the notarisation", council.proposal(2, old, 0, notar)),
        ("justified by itself", council.proposal(2, old, 2, notar)),
        ("out of turn", council.proposal(2, fresh, skips=skips, proposer=0)),
        ("another signature", replace(good, signature=council.proposal(2, fresh).signature[::-1])),
    ]


@pytest.mark.parametrize("why", [why for why, _ in unjustified()])
def test_unjustified_proposals_are_ignored(why: str) -> None:
    """Nobody enters the view, votes, or keeps the block; a good certificate in a bad proposal may be learned.

    [P-10.6] [P-10.7]
    """
    member = Assembly(4).members[0]
    said = member.hear(dict(unjustified())[why])
    assert said == []
    assert member.machine.view < 2
    assert not any(b'"type":"proposal"' in record for record in member.disk)


def test_a_proposal_of_a_long_height_leaves_out_what_standstills_brought() -> None:
    """It carries the last skip certificates only, and counts with those who hold the ones before [P-10.8]."""
    council = Assembly(4)
    view = SKIPS_CARRIED + 5
    leader, other, late = council.leader(view), council.leader(view + 1), council.leader(view + 2)
    proofs = [Certified(VoteKind.SKIP, 1, None, skip, None) for skip in council.skips(*range(view))]
    for member in (leader, other):
        member.hear(*proofs)
    late.hear(*proofs[2:4])
    proposal = [message for message in leader.said if isinstance(message, Proposal)][-1]
    assert [skip.view for skip in proposal.skips] == list(range(5, view))
    assert ("notar", view) in [(said.kind, view_of(said)) for said in other.hear(proposal)]
    late.hear(proposal)
    assert late.machine.view == 0
    late.hear(*proofs[:5], proposal)
    assert ("notar", view) in late.kinds()


def test_a_justified_proposal_of_a_higher_view_is_jumped_to() -> None:
    """Skip certificates, or a notarisation and skips above it, bring a machine into the view; it votes there.

    [P-10.18]
    """
    council = Assembly(4)
    fresh, old = council.block(view=3, note=2), council.block()
    notar = council.certificate("notar", 0, old.id, (1, 2, 3))
    for proposal in (
        council.proposal(3, fresh, skips=council.skips(0, 1, 2)),
        council.proposal(3, old, 0, notar, council.skips(1, 2)),
    ):
        member = Assembly(4).members[2]
        said = member.hear(proposal)
        assert member.machine.view == 3
        assert ("notar", 3) in [(s.kind, view_of(s)) for s in said]


def test_what_justifies_is_learned() -> None:
    """Certificates inside a proposal count: a notarisation in it gets a FINAL, skips are repeated to others.

    [P-10.6]
    """
    council = Assembly(4)
    member = council.members[2]
    old = council.block()
    notar = council.certificate("notar", 0, old.id, (1, 2, 3))
    member.hear(council.proposal(2, old, 0, notar, council.skips(1)))
    assert ("final", 0) in member.kinds()
    repeated = [(s.votes, view_of(s)) for s in member.repeat() if isinstance(s, Certified)]
    assert repeated == [("skip", 1), ("notar", 0)]


# Votes and certificates ---------------------------------------------------------------------------------------------


def test_a_miners_second_vote_of_a_view_does_not_count() -> None:
    """Two NOTARs for two blocks by one miner are one vote; forged, foreign and own votes from outside are none.

    [P-10.4]
    """
    council = Assembly(4)
    member = council.members[0]
    first, second = council.block(note=1), council.block(note=2)
    good = council.vote("notar", 1, 0, first.id)
    member.hear(good, council.vote("notar", 1, 0, second.id), good)
    member.hear(
        replace(council.vote("notar", 2, 0, first.id), signature=good.signature),
        replace(council.vote("notar", 2, 0, first.id), voter=MinerIndex(9)),
        replace(council.vote("notar", 2, 0, first.id), height=2),
        council.vote("notar", 0, 0, first.id),
        council.vote("notar", 2, 65, first.id),
    )
    assert [m.machine.ballots.votes_of(MinerIndex(1)) for m in (member,)] == [(good,)]
    assert all(member.machine.ballots.votes_of(MinerIndex(voter)) == () for voter in (0, 2, 3))


@pytest.mark.parametrize("voters", [(0, 1), (0, 1, 2, 3), (0, 2, 1), (1, 1, 2), (1, 2, 2)])
def test_a_certificate_is_exactly_q_miners_in_order(voters: tuple[int, ...]) -> None:
    """Fewer, more, unordered or repeated signers certify nothing [P-10.2]."""
    council = Assembly(4)
    certificate = council.certificate("skip", 0, None, voters)
    council.members[3].hear(Certified(VoteKind.SKIP, 1, None, certificate, None))
    assert council.members[3].machine.view == 0
    council.members[3].hear(Certified(VoteKind.SKIP, 1, None, council.skips(0)[0], None))
    assert council.members[3].machine.view == 1


def test_it_decides_from_any_view_once_it_has_the_body() -> None:
    """q FINALs of view 0 reach a machine in view 5; the block itself comes last [P-10.19]."""
    council = Assembly(4)
    member = council.members[0]
    block = council.block()
    member.hear(
        *(Certified(VoteKind.SKIP, 1, None, certificate, None) for certificate in council.skips(*range(5)))
    )
    assert member.machine.view == 5
    member.hear(*(council.vote("final", voter, 0, block.id) for voter in (1, 2, 3)))
    assert not member.machine.decided
    member.hear(
        Certified(VoteKind.NOTAR, 1, block.id, council.certificate("notar", 0, block.id, (1, 2, 3)), block)
    )
    assert member.final is not None
    assert member.final[0] == block


def test_a_notarisation_far_ahead_brings_a_straggler_along() -> None:
    """A machine in view 0 enters view 91 from the notarisation of view 90 alone, as standstills send nothing lower.

    [P-10.18]
    """
    council = Assembly(4)
    member = council.members[0]
    block = council.block(view=90)
    member.hear(
        Certified(VoteKind.NOTAR, 1, block.id, council.certificate("notar", 90, block.id, (1, 2, 3)), block)
    )
    council.now_ms += 2 * DELTA_MS
    member.tick()
    assert member.machine.view == 91


def test_the_answer_to_a_recall_holds_votes_that_came_in_certificates() -> None:
    """A vote that was heard only as part of a certificate is shown too, the newest when there are too many."""
    council = Assembly(4)
    member = council.members[0]
    block = council.block()
    member.hear(
        Certified(VoteKind.SKIP, 1, None, council.skips(0)[0], None),
        Certified(VoteKind.NOTAR, 1, block.id, council.certificate("notar", 3, block.id, (1, 2, 3)), block),
        council.vote("skip", 1, 4, None),
    )
    shown = [(vote.kind, vote.view) for vote in member.machine.ballots.votes_of(MinerIndex(1))]
    assert shown == [("skip", 0), ("notar", 3), ("skip", 4)]
    assert all(
        vote == council.vote(vote.kind, 1, vote.view, vote.block)
        for vote in member.machine.ballots.votes_of(MinerIndex(1))
    )
    assert RECALLED_MOST == 1_000


def test_evidence_holds_every_vote_and_certificate() -> None:
    """What a fork's culprits are named by: both certificates of a view and single votes of views up to it."""
    council = Assembly(4)
    member = council.members[0]
    block = council.block()
    notar = Certified(
        VoteKind.NOTAR, 1, block.id, council.certificate("notar", 0, block.id, (1, 2, 3)), block
    )
    skip = Certified(VoteKind.SKIP, 1, None, council.skips(0)[0], None)
    vote, late = council.vote("final", 3, 0, block.id), council.vote("skip", 3, 9, None)
    member.hear(notar, skip, vote, late)
    evidence = member.machine.ballots.evidence()
    assert {skip, replace(notar, body=None), vote} <= set(evidence)
    assert late not in evidence


# Restarts -----------------------------------------------------------------------------------------------------------


def test_a_restart_repeats_identical_bytes() -> None:
    """Proposal and votes after a restart are those of before, signature for signature, and none is new [P-10.5]."""
    council = armed(4)
    leader = council.leader(0)
    proposal = next(m for m in leader.said if isinstance(m, Proposal))
    leader.hear(*(council.vote("notar", voter, 0, proposal.block.id) for voter in (2, 3)))
    before = {m for m in leader.said if not isinstance(m, Certified)}
    assert {m.kind for m in before} == {"proposal", "notar", "final"}
    leader.restart()
    leader.said.clear()
    assert leader.arm() == []
    assert {m for m in leader.repeat() if not isinstance(m, Certified)} == before


def test_a_restart_counts_its_own_votes_again() -> None:
    """With one vote of a quorum of two lost from memory and restored from disk, the other one suffices [P-10.23]."""
    council = armed(2)
    leader, other = council.leader(0), council.members[0]
    proposal = next(m for m in leader.said if isinstance(m, Proposal))
    leader.restart()
    other.hear(proposal)
    leader.hear(*(m for m in other.said if isinstance(m, Vote) and m.kind == "notar"))
    assert ("final", 0) in leader.kinds()


def test_a_restart_never_contradicts_what_was_said() -> None:
    """After every prefix of what a miner persisted, a restarted machine that hears everything else stays consistent.

    [P-10.23]
    """
    council = armed(4)
    member = council.members[2]
    proposal = next(m for m in council.leader(0).said if isinstance(m, Proposal))
    story: list[Said] = [
        proposal,
        council.vote("skip", 0, 0, None),
        council.vote("skip", 3, 0, None),
        *(council.vote("notar", voter, 0, proposal.block.id) for voter in (0, 1)),
        *(council.vote("notar", voter, 1, proposal.block.id) for voter in (0, 1, 3)),
    ]
    member.hear(proposal)
    council.now_ms += T0_MS
    member.tick()
    member.hear(*story)
    disk, whole = list(member.disk), [m for m in member.said if isinstance(m, Vote | Proposal)]
    for kept in range(len(disk) + 1):
        other = Assembly(4)
        replica = other.members[2]
        replica.disk = disk[:kept]
        replica.restart()
        early = [m for m in replica.repeat() if isinstance(m, Vote | Proposal)]
        assert set(early) <= set(whole)
        replica.hear(*story[::-1], *story)
        votes = [*early, *(m for m in replica.said if isinstance(m, Vote))]
        by_place: dict[tuple[str, int], set[str | None]] = {}
        for vote in votes:
            if isinstance(vote, Vote):
                by_place.setdefault((vote.kind, vote.view), set()).add(vote.block)
        assert all(len(blocks) == 1 for blocks in by_place.values())
        assert not any(("skip", view) in by_place and ("final", view) in by_place for view in range(3))


def test_notarisation_and_body_are_durable_before_the_final_vote() -> None:
    """Whatever is sent rests on what is on the disk: a FINAL on its notarisation, with the block, and on itself.

    [P-10.15] [P-10.21]
    """
    council = armed(4)
    member = council.members[0]
    proposal = next(m for m in council.leader(0).said if isinstance(m, Proposal))
    member.hear(proposal, *(council.vote("notar", voter, 0, proposal.block.id) for voter in (1, 2)))
    assert ("final", 0) in member.kinds()
    member.restart()
    best = next(m for m in member.repeat() if isinstance(m, Certified) and m.votes == "notar")
    assert best.body == proposal.block


def test_an_observer_learns_and_decides_but_says_nothing() -> None:
    """A miner whose log is not trusted yet votes and proposes nothing, and still follows."""
    council = Assembly(4)
    for member in council.members:
        member.machine.voting = member.index != 1
        member.arm()
    observer = council.leader(0)
    council.now_ms += T0_MS
    others = [member for member in council.members if member is not observer]
    council.converse(council.members, [m for member in others for m in member.tick()])
    assert observer.said == []
    assert len(decided(council)) == 1
    assert "none" not in decided(council)


def test_a_standstill_says_what_others_may_lack() -> None:
    """Before a notarisation the own SKIP and the skip certificate; after it that, with its block, and nothing below.

    [P-10.24]
    """
    council = Assembly(4)
    member = next(one for one in council.members if one.index not in {1, 2})
    member.arm()
    council.now_ms += T0_MS
    member.tick()
    member.hear(Certified(VoteKind.SKIP, 1, None, council.skips(0)[0], None))
    assert [(one.kind, view_of(one)) for one in member.repeat()] == [("skip", 0), ("certified", 0)]
    block = council.block(view=1)
    proof = Certified(
        VoteKind.NOTAR, 1, block.id, council.certificate("notar", 1, block.id, (0, 1, 2)), block
    )
    member.hear(proof)
    said = member.repeat()
    assert [one.kind for one in said] == ["final", "certified"]
    assert said[-1] == proof
