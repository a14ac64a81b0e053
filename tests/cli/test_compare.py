import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from chains import ChainMaker, key
from shell import Said, fedcoin

from fedcoin_cli.application.books.equivocations import keep_evidence
from fedcoin_cli.protocol.message import Certified, Vote
from ledger_store.base.names import BlockId, MinerIndex
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate, vote_terms
from ledger_store.file.chain_file import CHAIN_NAME, LINE_BYTES_MAX, TIP_NAME

COMMON = 3


def chain(blocks: int, to: str = "friend", view: int = 0) -> ChainMaker:
    """Three common blocks, then others that pay `to`, each proposed and certified in `view`."""
    maker = ChainMaker(4)
    maker.add_transfers(COMMON)
    for _ in range(blocks - COMMON):
        maker.add(maker.transfer(maker.requester, key(to).address, 10**6), view=view)
    return maker


def write(maker: ChainMaker, folder: Path, *, tip: bool = True) -> str:
    maker.write(folder, tip=tip)
    return str(folder)


def sign(maker: ChainMaker, kind: str, voter: int, view: int, block: BlockId | None) -> Vote:
    terms = vote_terms(COMMON + 1, view, block)
    return Vote(
        VoteKind(kind),
        MinerIndex(voter),
        COMMON + 1,
        view,
        block,
        maker.miners[voter].sign(kind, maker.genesis.id, terms),
    )


def certified(
    maker: ChainMaker, kind: str, view: int, block: Block | None, voters: Sequence[int]
) -> Certified:
    votes = [sign(maker, kind, voter, view, None if block is None else block.id) for voter in voters]
    certificate = Certificate(view, tuple((vote.voter, vote.signature) for vote in votes))
    return Certified(VoteKind(kind), COMMON + 1, None if block is None else block.id, certificate, None)


def compare(tmp_path: Path, *arguments: str) -> Said:
    return fedcoin("compare", *arguments, folder=tmp_path)


def test_equal_ledgers(tmp_path: Path) -> None:
    """Two copies of one ledger, as a folder and as a file: exit code 0, the head is told."""
    maker = chain(5)
    one, other = write(maker, tmp_path / "one"), write(maker, tmp_path / "other")
    said = compare(tmp_path, one, f"{other}/{CHAIN_NAME}")
    assert said.code == 0, said.err
    assert "the ledgers are equal, to height 5" in said.out
    assert maker.head in said.out


def test_a_beginning(tmp_path: Path) -> None:
    """A shorter copy is the beginning of the longer one, whichever comes first; a lost tip file is told."""
    short, long = write(chain(4), tmp_path / "short"), write(chain(6), tmp_path / "long")
    for pair in ((short, long), (long, short)):
        said = compare(tmp_path, *pair)
        assert said.code == 0, said.err
        assert (
            f"{short}/{CHAIN_NAME} is the beginning of {long}/{CHAIN_NAME}, which goes on for 2 blocks"
            in said.out
        )
        assert "not certified" not in said.out
    (tmp_path / "short" / TIP_NAME).unlink()
    assert f"not certified here: the last block of {short}" in compare(tmp_path, short, long).out


def test_a_line_that_is_being_written_is_told(tmp_path: Path) -> None:
    """What stands before it is compared, and how many bytes are no block yet is said, also in JSON."""
    one, other = write(chain(5), tmp_path / "one"), write(chain(5), tmp_path / "other")
    with (tmp_path / "other" / CHAIN_NAME).open("ab") as file:
        file.write(b'{"payment":"forged"}')
    said = compare(tmp_path, one, other)
    assert said.code == 0, said.err
    assert f"{other}/{CHAIN_NAME}: 20 bytes behind height 5 are not a block" in said.out
    assert f"{one}/{CHAIN_NAME}: " not in said.out
    ledgers = compare(tmp_path, one, other, "--json").json["ledgers"]
    assert [ledger["trailing_bytes"] for ledger in ledgers] == [0, 20]


@pytest.mark.parametrize("behind", [b"", b"\n"])
def test_a_line_without_an_end_hides_no_blocks(tmp_path: Path, behind: bytes) -> None:
    """A piece too long to be an append is damage, at the end as in the middle: exit code 5, its height is named."""
    maker = chain(6)
    one, other = write(maker, tmp_path / "one"), write(maker, tmp_path / "other")
    lines = maker.lines()
    rest = behind + b"".join(lines[4:]) if behind else b""
    (tmp_path / "other" / CHAIN_NAME).write_bytes(b"".join(lines[:4]) + b"x" * LINE_BYTES_MAX + rest)
    said = compare(tmp_path, one, other)
    assert (said.code, said.out) == (5, "")
    assert "error: the ledger is damaged at height 4: " in said.err


def test_a_genesis_without_an_end_is_damage(tmp_path: Path) -> None:
    """Line 1 is never appended: no live writer leaves it unfinished."""
    maker = ChainMaker(4)
    one, other = write(maker, tmp_path / "one"), write(maker, tmp_path / "other")
    (tmp_path / "other" / CHAIN_NAME).write_bytes(maker.lines()[0].rstrip())
    said = compare(tmp_path, one, other)
    assert (said.code, said.out) == (5, "")
    assert "error: the ledger is damaged at height 0: " in said.err


def test_a_fork_in_one_view_needs_no_evidence(tmp_path: Path) -> None:
    """Two blocks final by view 0: those who signed both are named from the ledgers alone, exit code 5."""
    one, other = write(chain(6), tmp_path / "one"), write(chain(5, "foe"), tmp_path / "other")
    said = compare(tmp_path, one, other, "--json")
    assert said.code == 5
    assert said.json["relation"] == "fork"
    assert said.json["common"] == COMMON
    fork = said.json["fork"]
    assert [culprit["charge"] for culprit in fork["culprits"]] == [
        "two FINALs for different blocks in view 0 of height 4"
    ] * 3
    assert (fork["least"], fork["complete"]) == (2, True)
    assert json.loads(said.err)["error"] == f"the ledgers fork at height {COMMON + 1}"


def test_a_fork_across_views(tmp_path: Path) -> None:
    """Without the evidence nobody is named and it says why; with it exactly those who let view 0 pass are."""
    maker, foe = chain(5), chain(5, "foe", view=1)
    one, other = write(maker, tmp_path / "one"), write(foe, tmp_path / "other")
    said = compare(tmp_path, one, other)
    assert said.code == 5
    assert "the culprits cannot be determined from what is here, at least 2 miners lied" in said.out
    assert "lied: it signed" not in said.out
    skipped = certified(maker, "skip", 0, None, (1, 2, 3))
    keep_evidence(tmp_path / "other" / "evidence", COMMON + 1, [skipped])
    said = compare(tmp_path, one, other, "--json", "-o", "proof")
    addresses = [maker.miners[index].address for index in (1, 2)]
    assert [culprit["miner"] for culprit in said.json["fork"]["culprits"]] == addresses
    assert (tmp_path / "proof").is_file()


def test_one_name_too_few(tmp_path: Path) -> None:
    """Where the evidence names some of those who must have lied, it says how many are missing."""
    maker, foe = chain(5), chain(5, "foe", view=1)
    one, other = write(maker, tmp_path / "one"), write(foe, tmp_path / "other")
    keep_evidence(tmp_path / "other" / "evidence", COMMON + 1, [sign(maker, "skip", 2, 0, None)])
    said = compare(tmp_path, one, other)
    assert "lied: it signed FINAL and SKIP in view 0 of height 4" in said.out
    assert "1 culprit of at least 2 cannot be determined" in said.out


def test_blocks_that_differ_without_a_certificate(tmp_path: Path) -> None:
    """Where one of two blocks is not certified no fork is claimed: exit code 5, what is missing is said."""
    one = write(chain(4), tmp_path / "one", tip=False)
    other = write(chain(4, "foe"), tmp_path / "other")
    said = compare(tmp_path, one, other)
    assert said.code == 5
    assert "error: the blocks of height 4 differ, and not both are certified\n" in said.err
    assert one in said.err
    assert "tip.json" in said.err


def test_damaged_evidence_is_told_and_left_out(tmp_path: Path) -> None:
    """A file that is no evidence takes no proof from what is."""
    one, other = write(chain(6), tmp_path / "one"), write(chain(5, "foe"), tmp_path / "other")
    (tmp_path / "one" / "evidence").mkdir()
    (tmp_path / "one" / "evidence" / "4.jsonl").write_bytes(b"nonsense\n")
    said = compare(tmp_path, one, other)
    assert "lied: it signed two FINALs" in said.out
    assert "warning: this is not evidence" in said.err


def test_a_forged_certificate_is_no_fork(tmp_path: Path) -> None:
    """A block whose certificate does not verify is a damaged ledger, not a fork; nobody is named."""
    foe = chain(4, "foe")
    wrong = tuple((index, "0" * 128) for index, _ in foe.certificates[-1].signatures)
    foe.certificates[-1] = Certificate(0, wrong)
    one, other = write(chain(4), tmp_path / "one"), write(foe, tmp_path / "other")
    said = compare(tmp_path, one, other)
    assert said.code == 5
    assert "did not sign it" in said.err
    assert "lied" not in said.out


def test_two_networks(tmp_path: Path) -> None:
    """Ledgers of different networks are not compared."""
    one, other = write(ChainMaker(4), tmp_path / "one"), write(ChainMaker(2), tmp_path / "other")
    said = compare(tmp_path, one, other)
    assert said.code == 5
    assert "different genesis blocks" in said.err


def test_no_ledger(tmp_path: Path) -> None:
    """A place without a ledger is exit code 11."""
    said = compare(tmp_path, write(chain(4), tmp_path / "one"), "nowhere")
    assert said.code == 11
    assert "nowhere" in said.err


def test_a_fork_is_proven_without_ledgers(tmp_path: Path) -> None:
    """What -o wrote convinces who knows the genesis id; of another network, or with a vote less, it does not accuse."""
    maker = chain(6)
    one, other = write(maker, tmp_path / "one"), write(chain(5, "foe"), tmp_path / "other")
    assert compare(tmp_path, one, other, "-o", "proof").code == 5
    network = ("--genesis", maker.genesis.id)
    said = fedcoin("verify", "proof", "--json", *network, folder=tmp_path)
    assert said.code == 0, said.err
    assert len(said.json["fork"]["culprits"]) == 3
    assert fedcoin("verify", "proof", "--genesis", "0" * 64, folder=tmp_path).code == 5
    lines = (tmp_path / "proof").read_bytes().splitlines(keepends=True)
    (tmp_path / "proof").write_bytes(b"".join([*lines[:2], *lines[3:]]))
    assert fedcoin("verify", "proof", *network, folder=tmp_path).code == 5
