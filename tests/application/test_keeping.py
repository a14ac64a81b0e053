"""The copy of the ledger that a member without a miner keeps."""

from pathlib import Path

import pytest
from chains import ChainMaker, key
from places import place, settled_round

from fedcoin_cli.application.books.books import Books, certified_tip
from fedcoin_cli.application.requester.chain_view import ChainView
from fedcoin_cli.application.requester.keeping import Copy
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.protocol.message import FinalBlock
from ledger_store.audit.audit import audit
from ledger_store.base.canonical import encode
from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME


@pytest.fixture
def maker() -> ChainMaker:
    """Four miners, elsewhere, and six blocks."""
    maker = ChainMaker(4)
    settled_round(maker)
    maker.add_transfers(3)
    return maker


@pytest.fixture
def member(tmp_path: Path, maker: ChainMaker) -> Workspace:
    """A workspace that knows the genesis and nothing else."""
    workspace = Workspace(tmp_path)
    workspace.genesis_file.write_bytes(encode(maker.genesis.to_json()) + b"\n")
    return workspace


def hear(member: Workspace, maker: ChainMaker, first: int, last: int) -> None:
    """A session that verifies blocks `first` to `last`, sent by some miner."""
    copy = Copy.of(member, maker.genesis)
    view = ChainView(certified_tip(member), copy.keep)
    for block, certificate in list(zip(maker.blocks, maker.certificates, strict=True))[first - 1 : last]:
        view.take(maker.miners[0].address, FinalBlock(block, certificate))
    copy.close()


def test_the_copy_is_the_miners_ledger(member: Workspace, maker: ChainMaker) -> None:
    """Session after session it grows by what was verified, byte for byte as a miner writes it, and audits clean."""
    hear(member, maker, 1, 2)
    assert certified_tip(member).height == 2
    hear(member, maker, 1, 6)
    chain = member.copy / CHAIN_NAME
    assert chain.read_bytes() == b"".join(maker.lines())
    assert (audit(chain).ok, audit(chain).certified_to) == (True, 6)
    with Books.open(member) as books:
        assert books.state.balances == maker.tip.state.balances


def test_nothing_unverified_is_kept(member: Workspace, maker: ChainMaker) -> None:
    """A block under another block's certificate, or out of order, leaves the copy as it is."""
    hear(member, maker, 1, 2)
    before = (member.copy / CHAIN_NAME).read_bytes()
    copy = Copy.of(member, maker.genesis)
    view = ChainView(certified_tip(member), copy.keep)
    view.take(key("x").address, FinalBlock(maker.blocks[2], maker.certificates[3]))
    view.take(key("x").address, FinalBlock(maker.blocks[4], maker.certificates[4]))
    copy.close()
    assert (member.copy / CHAIN_NAME).read_bytes() == before


def test_a_lost_certificate_comes_back(member: Workspace, maker: ChainMaker) -> None:
    """Where the tip file is lost the last block is verified again, and its certificate kept."""
    hear(member, maker, 1, 4)
    (member.copy / TIP_NAME).unlink()
    assert certified_tip(member).height == 3
    hear(member, maker, 4, 6)
    assert (member.copy / CHAIN_NAME).read_bytes() == b"".join(maker.lines())
    assert certified_tip(member).height == 6


def test_two_sessions_at_a_time(member: Workspace, maker: ChainMaker) -> None:
    """The second goes on without writing: both see the same blocks, one keeps them."""
    first = Copy.of(member, maker.genesis)
    hear(member, maker, 1, 6)
    assert certified_tip(member).height == 0
    first.close()
    hear(member, maker, 1, 6)
    assert certified_tip(member).height == 6


def test_miners_keep_their_own(tmp_path: Path, maker: ChainMaker) -> None:
    """A workspace with miners has their ledgers and no copy."""
    workspace = place(tmp_path / "net", maker)
    Copy.of(workspace, maker.genesis).close()
    assert not workspace.copy.exists()
