from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from chains import ChainMaker, build_chain
from places import place

from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.application.repair.repair import Repaired, repair
from fedcoin_cli.application.workspace.workspace import MinerFolder, Workspace
from ledger_store.base.errors import LedgerInvalid, Locked
from ledger_store.file.chain_file import CHAIN_NAME, ChainFile, ChainReader

BLOCKS = 5


@pytest.fixture
def maker() -> ChainMaker:
    return build_chain(miners=2, blocks=BLOCKS)


@pytest.fixture
def workspace(tmp_path: Path, maker: ChainMaker) -> Workspace:
    return place(tmp_path / "net", maker)


@pytest.fixture
def first(workspace: Workspace) -> MinerFolder:
    return workspace.miner(1)


@pytest.fixture
def alone(workspace: Workspace, first: MinerFolder) -> MinerFolder:
    """Miner 1, while nothing can be had from miner 2's ledger."""
    for path in (workspace.miner(2).chain, workspace.miner(2).tip):
        path.unlink()
    return first


def remember(miner: MinerFolder, maker: ChainMaker) -> None:
    """Let the vote log hold the last block, as it does when a miner dies before its ledger is written."""
    with closing(VoteLog(miner.votes, maker.miners[miner.number - 1].address, maker.genesis.id)) as log:
        log.decide(maker.blocks[-1], maker.certificates[-1], None)


def repaired(workspace: Workspace, donor: Path | None = None) -> Repaired:
    """What became of miner 1."""
    return repair(workspace, donor)[0]


def good(one: Repaired) -> bool:
    return one.problem is None and one.height == BLOCKS and one.certified


def test_a_good_ledger_is_left_alone(workspace: Workspace, first: MinerFolder) -> None:
    """Nothing is done and no byte changes where nothing is wrong."""
    before = {path: path.read_bytes() for path in (first.chain, first.tip)}
    assert [(good(one), one.done) for one in repair(workspace)] == [(True, ())] * 2
    assert {path: path.read_bytes() for path in before} == before


def test_a_torn_tail_is_moved_aside(workspace: Workspace, first: MinerFolder) -> None:
    """Bytes behind the last whole block go into a file of their own, and the ledger ends with that block."""
    whole = first.chain.read_bytes()
    first.chain.write_bytes(whole + b'{"half a blo')
    one = repaired(workspace)
    assert good(one)
    assert "torn tail" in one.done[0]
    assert first.chain.read_bytes() == whole
    assert (first.path / f"{CHAIN_NAME}.torn-1").read_bytes() == b'{"half a blo'


def test_a_block_comes_back_from_the_vote_log(
    alone: MinerFolder, maker: ChainMaker, workspace: Workspace
) -> None:
    """A last block that was torn is put back, with its certificate, from the vote log alone."""
    lines = maker.lines()
    remember(alone, maker)
    alone.chain.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    one = repaired(workspace)
    assert good(one)
    assert one.done == (
        f"moved a torn tail into {CHAIN_NAME}.torn-1",
        f"put back block {BLOCKS} from the vote log",
    )
    assert alone.chain.read_bytes() == b"".join(lines)


def test_a_certificate_comes_back_from_the_vote_log(
    alone: MinerFolder, maker: ChainMaker, workspace: Workspace
) -> None:
    """A tip file that is gone or damaged is written again from the vote log alone."""
    remember(alone, maker)
    for damage in (b"", b"{}\n", None):
        if damage is None:
            alone.tip.unlink()
        else:
            alone.tip.write_bytes(damage)
        assert repaired(workspace).done == (f"put back the certificate of block {BLOCKS}",)
        assert alone.tip.read_bytes() == maker.tip_bytes()


def test_a_certificate_comes_back_from_another_ledger(workspace: Workspace, first: MinerFolder) -> None:
    """Without a word in the vote log another miner's tip file serves."""
    tip = first.tip.read_bytes()
    first.tip.unlink()
    assert good(repaired(workspace))
    assert first.tip.read_bytes() == tip


def test_a_certificate_that_is_nowhere(alone: MinerFolder, workspace: Workspace) -> None:
    """Where nobody has the certificate the ledger is whole but uncertified, and that is said."""
    alone.tip.unlink()
    one = repaired(workspace)
    assert (one.height, one.certified, one.problem) == (BLOCKS, False, None)


@pytest.mark.parametrize("height", [0, 1, 3])
def test_damage_in_the_middle(
    workspace: Workspace, first: MinerFolder, maker: ChainMaker, height: int
) -> None:
    """A ledger damaged at any height is kept as a copy and completed from another one, to the same bytes."""
    lines = maker.lines()
    damaged = b"".join([*lines[:height], lines[height].replace(b"0", b"1", 1), *lines[height + 1 :]])
    first.chain.write_bytes(damaged)
    assert good(repaired(workspace))
    assert first.chain.read_bytes() == b"".join(lines)
    assert (first.path / f"{CHAIN_NAME}.damaged-1").read_bytes() == damaged
    assert good(repaired(workspace))


def test_a_wrong_signature_in_the_middle(workspace: Workspace, first: MinerFolder, maker: ChainMaker) -> None:
    """A ledger that still folds but holds a signature nobody made is completed like a damaged one."""
    transfer = maker.blocks[3].transactions[0]
    digit = "0" if transfer.to_json()["signature"][0] != "0" else "1"
    forged = replace(transfer, signature=digit + transfer.to_json()["signature"][1:])
    lines = maker.lines()
    again = maker.propose(forged)
    header = replace(maker.blocks[3].header, transactions=again.header.transactions)
    lines[4] = replace(maker.blocks[3], header=header, transactions=(forged,)).line + b"\n"
    follower = replace(maker.blocks[4].header, parent=header.id)
    lines[5] = replace(maker.blocks[4], header=follower).line + b"\n"
    first.chain.write_bytes(b"".join(lines))
    ChainReader(first.path).close()
    assert good(repaired(workspace))
    assert first.chain.read_bytes() == b"".join(maker.lines())


def test_damage_that_nobody_can_complete(alone: MinerFolder, maker: ChainMaker, workspace: Workspace) -> None:
    """A miner must not fall behind where it has voted: without another ledger nothing is touched."""
    lines = maker.lines()
    damaged = b"".join([*lines[:2], b"{}\n", *lines[3:]])
    alone.chain.write_bytes(damaged)
    one = repaired(workspace)
    assert isinstance(one.problem, LedgerInvalid)
    assert f"none here reaches height {BLOCKS}" in one.problem.message
    assert "--from" in one.problem.hint
    assert alone.chain.read_bytes() == damaged
    assert not list(alone.path.glob("*.damaged-*"))


def test_a_donor_from_elsewhere(
    alone: MinerFolder, maker: ChainMaker, workspace: Workspace, tmp_path: Path
) -> None:
    """A copied ledger completes a damaged one; one whose certificate was forged does not, nor a shorter one."""
    lines = maker.lines()
    alone.chain.write_bytes(b"".join([*lines[:2], b"{}\n", *lines[3:]]))
    donor = tmp_path / "donor"
    maker.write(donor)
    (donor / CHAIN_NAME).write_bytes(b"".join(lines[:-1]))
    assert repaired(workspace, donor).problem is not None
    forged = build_chain(miners=2, blocks=BLOCKS)
    forged.certificates[-1] = replace(
        maker.certificates[-1],
        signatures=tuple((index, "0" * 128) for index, _ in maker.certificates[-1].signatures),
    )
    forged.write(donor)
    assert repaired(workspace, donor).problem is not None
    maker.write(donor)
    assert good(repaired(workspace, donor))


def test_a_ledger_that_is_gone(workspace: Workspace, first: MinerFolder, maker: ChainMaker) -> None:
    """A ledger that was deleted is fetched whole from another one."""
    first.chain.unlink()
    assert good(repaired(workspace))
    assert first.chain.read_bytes() == b"".join(maker.lines())


@pytest.mark.parametrize("content", [b"no database" * 100, b""])
def test_a_broken_vote_log_is_moved_aside(workspace: Workspace, first: MinerFolder, content: bytes) -> None:
    """A vote log that is no database is kept under another name: the miner starts, and observes for a while."""
    first.votes.write_bytes(content)
    one = repaired(workspace)
    assert good(one)
    assert "observe" in one.done[0]
    assert not first.votes.exists()
    assert (first.path / f"{first.votes.name}.damaged-1").exists()


def test_a_running_miner_is_left_alone(workspace: Workspace, first: MinerFolder) -> None:
    """A ledger that is being written is not repaired; the others are."""
    workspace.miner(2).tip.unlink()
    with ChainFile.open_for_writing(first.path):
        locked, other = repair(workspace)
    assert isinstance(locked.problem, Locked)
    assert good(other)
