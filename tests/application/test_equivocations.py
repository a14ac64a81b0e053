from collections.abc import Callable
from pathlib import Path

import pytest
from chains import ChainMaker
from councils import Assembly

from fedcoin_cli.application.books import equivocations
from fedcoin_cli.application.books.equivocations import heights_kept, keep_evidence, read_evidence
from fedcoin_cli.consensus.accountability import guilty
from fedcoin_cli.consensus.ballots import Ballots
from fedcoin_cli.consensus.council import Council
from fedcoin_cli.protocol.frame import to_frame
from fedcoin_cli.protocol.message import Certified, Recall, Vote
from fedcoin_cli.replica.ports import RosterSigner
from ledger_store.base.errors import LedgerInvalid
from ledger_store.base.names import BlockId, MinerIndex
from ledger_store.base.words import VoteKind
from ledger_store.block import vote_terms

BLOCK = BlockId("a" * 64)
Damage = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def council() -> Assembly:
    return Assembly(4)


def test_what_was_kept_is_read(tmp_path: Path, council: Assembly) -> None:
    """A height's votes and certificates come back; a second life adds what it knows and repeats nothing [P-12.11]."""
    folder = tmp_path / "evidence"
    skip = Certified(VoteKind.SKIP, 1, None, council.skips(0)[0], None)
    one, other = council.vote("skip", 3, 0, None), council.vote("notar", 3, 1, BLOCK)
    keep_evidence(folder, 1, [skip, one])
    keep_evidence(folder, 1, [one, other])
    assert read_evidence(folder, 1) == [skip, one, other]
    assert read_evidence(folder, 2) == []


def said_at(council: Assembly, kind: str, voter: int, height: int, block: BlockId | None) -> Vote:
    """A vote of view 0 at any height, rightly signed."""
    signature = council.signer(voter).sign(kind, vote_terms(height, 0, block))
    return Vote(VoteKind(kind), MinerIndex(voter), height, 0, block, signature)


def test_old_heights_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many heights are kept and no more, of those that prove alike the newest."""
    monkeypatch.setattr(equivocations, "HEIGHTS_KEPT", 10)
    for height in (*range(20, 30), 2, 100):
        keep_evidence(tmp_path, height, [])
    assert sorted(heights_kept(tmp_path)) == [*range(21, 30), 100]


@pytest.mark.parametrize("fork", ["views", "culprits"])
def test_a_liar_cannot_push_out_a_forks_evidence(
    tmp_path: Path, council: Assembly, monkeypatch: pytest.MonkeyPatch, fork: str
) -> None:
    """R = 4: what one miner says of itself at a thousand later heights leaves one of more than f, or of more views.

    [P-12.11]
    """
    monkeypatch.setattr(equivocations, "HEIGHTS_KEPT", 100)
    skip = Certified(VoteKind.SKIP, 5, None, council.skips(0)[0], None)
    both = [
        said_at(council, "final", voter, 5, BlockId(block)) for voter in (1, 2) for block in (BLOCK, "b" * 64)
    ]
    keep_evidence(tmp_path, 5, [skip] if fork == "views" else both)
    for height in range(6, 1_006):
        lies = [said_at(council, "notar", 3, height, BlockId(block)) for block in (BLOCK, "b" * 64)]
        keep_evidence(tmp_path, height, lies)
    assert 5 in heights_kept(tmp_path)
    assert len(heights_kept(tmp_path)) <= 100


def heard(*votes: Vote) -> Ballots:
    """Height 7 of R = 4 in miner 0's eyes, with these votes."""
    maker = ChainMaker(4)
    rules = Council(4, MinerIndex(0), 500, maker.genesis.quorum, maker.genesis.faults)
    ballots = Ballots(rules, 7, RosterSigner(maker.miners[0], maker.genesis))
    for vote in votes:
        ballots.hear(vote)
    return ballots


def test_what_nobody_signed_is_not_worth_keeping(council: Assembly) -> None:
    """A vote with a false signature changes nothing, nor do true ones of f miners that prove nothing [P-10.32]."""
    assert not heard(Vote(VoteKind.NOTAR, MinerIndex(2), 7, 3, BLOCK, "00" * 64)).disturbed
    assert not heard(Vote(VoteKind.SKIP, MinerIndex(2), 7, 0, None, "00" * 64)).disturbed
    assert heard(Vote(VoteKind.NOTAR, MinerIndex(2), 7, 3, BLOCK, "00" * 64)).views == {}
    alone = said_at(council, "notar", 3, 7, BLOCK)
    other = said_at(council, "notar", 2, 7, BlockId("b" * 64))
    late = council.signer(3).sign("notar", vote_terms(7, 3, BLOCK))
    for junk in ([alone], [alone, other], [Vote(VoteKind.NOTAR, MinerIndex(3), 7, 3, BLOCK, late)]):
        ballots = heard(*junk)
        assert (ballots.disturbed, [vote.voter for vote in ballots.all()]) == (
            False,
            [vote.voter for vote in junk],
        )
    assert heard(Vote(VoteKind.NOTAR, MinerIndex(3), 7, 3, BLOCK, late)).evidence() == []


@pytest.mark.parametrize(
    "kinds", [("notar", "notar"), ("final", "final"), ("final", "skip"), ("notar", "final")]
)
def test_two_votes_that_exclude_each_other_are_kept(council: Assembly, kinds: tuple[str, str]) -> None:
    """One miner's double NOTAR or FINAL, FINAL and SKIP, FINAL and NOTAR of different blocks: they prove its lie.

    [P-10.32]
    """
    one = said_at(council, kinds[0], 3, 7, BLOCK)
    other = said_at(council, kinds[1], 3, 7, None if kinds[1] == "skip" else BlockId("b" * 64))
    ballots = heard(one, other)
    assert ballots.disturbed
    assert set(ballots.evidence()) == {one, other}
    assert [guilt.index for guilt in guilty(council.maker.genesis, ballots.evidence())] == [3]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda line: line[:-2] + b"\n", "line 2"),
        (lambda _: to_frame(Recall()) + b"\n", "neither a vote nor a certificate"),
        (lambda _: b"\xff\n", "not canonical"),
        (lambda line: line.replace(b'"height":1', b'"height":2'), "another height"),
    ],
)
def test_what_is_no_evidence_is_refused(
    tmp_path: Path, council: Assembly, damage: Damage, words: str
) -> None:
    """A line that is cut, of another kind, no text, or of another height: refused, naming the file."""
    keep_evidence(tmp_path, 1, [council.vote("skip", 3, 0, None), council.vote("skip", 2, 0, None)])
    first, second = (tmp_path / "1.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "1.jsonl").write_bytes(first + damage(second))
    with pytest.raises(LedgerInvalid) as refusal:
        read_evidence(tmp_path, 1)
    assert words in f"{refusal.value.message} {refusal.value.where}"
    assert "1.jsonl" in refusal.value.where
