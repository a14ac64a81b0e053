from dataclasses import replace
from itertools import product

import pytest
from councils import Assembly, armed
from traces import first_proposal, votes

from fedcoin_cli.consensus.accountability import guilty, least_culprits
from fedcoin_cli.protocol.message import Certified, Vote
from ledger_store.base.names import BlockId, MinerIndex
from ledger_store.base.words import VoteKind

X, Y = BlockId("a" * 64), BlockId("b" * 64)


@pytest.fixture(scope="module")
def council() -> Assembly:
    return Assembly(4)


def excluded(one: Vote, other: Vote) -> bool:
    """What no honest miner says both of, written down once more."""
    said = {(one.kind, one.block), (other.kind, other.block)}
    return said in (
        [{("notar", X), ("notar", Y)}, {("final", X), ("final", Y)}]
        + [{("final", block), ("skip", None)} for block in (X, Y)]
        + [{("final", X), ("notar", Y)}, {("final", Y), ("notar", X)}]
    )


def test_every_pair_of_votes_of_one_view(council: Assembly) -> None:
    """Of all pairs of votes of one miner in one view exactly those that exclude each other accuse it [P-10.33]."""
    kinds: list[tuple[str, BlockId | None]] = [("skip", None), *product(("notar", "final"), (X, Y))]
    every = [council.vote(kind, 2, 3, block) for kind, block in kinds]
    for one, other in product(every, every):
        named = [guilt.index for guilt in guilty(council.maker.genesis, [one, other])]
        assert named == ([2] if excluded(one, other) else []), (one.kind, other.kind)


def test_votes_of_different_views_or_miners_accuse_nobody(council: Assembly) -> None:
    """A FINAL in one view and anything in another, or of another miner, may be honest."""
    final = council.vote("final", 1, 0, X)
    for voter, view in ((1, 1), (2, 0)):
        for kind, block in (("skip", None), ("notar", Y), ("final", Y)):
            assert guilty(council.maker.genesis, [final, council.vote(kind, voter, view, block)]) == ()


def test_only_right_signatures_accuse(council: Assembly) -> None:
    """A vote that its miner did not sign accuses nobody, also where a right one stands beside it [P-10.33]."""
    genesis = council.maker.genesis
    skip, final = council.vote("skip", 1, 0, None), council.vote("final", 1, 0, X)
    forged = replace(final, signature=council.vote("final", 2, 0, X).signature)
    moved = replace(final, view=1)
    stranger = replace(final, voter=MinerIndex(63))
    assert guilty(genesis, [skip, forged, moved, stranger]) == ()
    (proof,) = guilty(genesis, [skip, forged, final])
    assert set(proof.votes) == {skip, final}
    assert proof.charge == "SKIP and FINAL in view 0 of height 1"


def test_certificates_count_vote_by_vote(council: Assembly) -> None:
    """Two quorums that exclude each other accuse exactly those who stand in both."""
    skipped = Certified(VoteKind.SKIP, 1, None, council.certificate("skip", 0, None, (0, 1, 2)), None)
    final = Certified(VoteKind.FINAL, 1, X, council.certificate("final", 0, X, (1, 2, 3)), None)
    proofs = guilty(council.maker.genesis, [skipped, final])
    assert [proof.index for proof in proofs] == [1, 2]
    assert len(proofs) == least_culprits(council.maker.genesis)


def test_an_honest_miner_makes_nothing_final_beside_the_block_it_chose() -> None:
    """R = 4: a leader proposes one block to 0 and 2 and another to 3, which then sees the first one notarised.

    [P-10.14]
    """
    council = armed(4)
    zero, leader, two, three = council.members
    proposal = first_proposal(council)
    other = council.block(note=77)
    three.hear(council.proposal(0, other))
    assert [vote.block for vote in votes(three, "notar") if isinstance(vote, Vote)] == [other.id]
    for member in (zero, two):
        member.hear(proposal)
    three.hear(proposal, *votes(zero, "notar"), *votes(two, "notar"), *votes(leader, "notar"))
    assert not votes(three, "final")
    council.go_on(council.members, 60_000)
    assert {member.final[0].id for member in council.members if member.final} == {proposal.block.id}
    assert all(member.final for member in council.members)
    said = [vote for member in council.members for vote in member.said if isinstance(vote, Vote)]
    assert guilty(council.maker.genesis, said) == ()


def test_a_miner_without_a_choice_keeps_to_what_it_made_final() -> None:
    """R = 4: one that voted FINAL on others' votes gives no NOTAR to another block of that view that comes late.

    [P-10.14]
    """
    council = armed(4)
    three = council.members[3]
    proposal = first_proposal(council)
    block = proposal.block
    proof = Certified(
        VoteKind.NOTAR, 1, block.id, council.certificate("notar", 0, block.id, (0, 1, 2)), block
    )
    three.hear(proof)
    assert votes(three, "final")
    three.hear(council.proposal(0, council.block(note=77)))
    assert not votes(three, "notar")


def test_second_votes_and_rival_notarisations_are_kept_as_evidence() -> None:
    """What contradicts what was held before changes no tally, and is there when culprits are sought [P-10.4]."""
    council = Assembly(4)
    member = council.members[0]
    one, other = council.block(note=1), council.block(note=2)
    first, second = (
        Certified(VoteKind.NOTAR, 1, block.id, council.certificate("notar", 0, block.id, (1, 2, 3)), block)
        for block in (one, other)
    )
    before = member.machine.disturbed
    member.hear(first, second)
    assert (before, member.machine.disturbed) == (False, True)
    twice = [council.vote("final", 1, 0, block.id) for block in (one, other)]
    member.hear(*twice, council.vote("final", 1, 0, X))
    evidence = member.machine.ballots.evidence()
    assert {replace(first, body=None), replace(second, body=None), *twice} <= set(evidence)
    assert sum(isinstance(said, Vote) and said.voter == 1 for said in evidence) == 2
    assert [guilt.index for guilt in guilty(council.maker.genesis, evidence)] == [1, 2, 3]
