from dataclasses import replace

import pytest
from chains import COIN, ChainMaker, build_chain, key

from ledger_store.base.errors import BadSignature, InvalidTransaction
from ledger_store.base.names import MinerIndex
from ledger_store.block import make_block
from ledger_store.chain import candidate, extend, replay, start


def grown() -> ChainMaker:
    maker = ChainMaker(4)
    maker.add_transfers(2)
    return maker


def test_a_chain_grows_block_by_block() -> None:
    """Extending from genesis gives the state that the maker saw, with the tip's certificate [P-10.10]."""
    maker = build_chain(4, 6)
    tip = start(maker.genesis)
    for block, certificate in zip(maker.blocks, maker.certificates, strict=True):
        tip = extend(tip, block, certificate)
    assert tip == maker.tip
    assert tip.certificate == maker.certificates[-1]


def test_replay_gives_the_same_state() -> None:
    """Leaving the signatures out changes nothing but the certificate, which stays open."""
    maker = build_chain(4, 6)
    tip = start(maker.genesis)
    for block in maker.blocks:
        tip = replay(tip, block)
    assert tip.state == maker.tip.state
    assert tip.certificate is None


def test_replay_still_checks_links_and_money() -> None:
    """Without signatures an overdraft or a wrong parent is refused all the same."""
    maker = grown()
    over = maker.propose(maker.transfer(key("poor"), maker.server.address, COIN, sequence=1))
    with pytest.raises(InvalidTransaction, match="does not cover"):
        replay(maker.tip, over)
    with pytest.raises(InvalidTransaction, match="follow"):
        replay(maker.tip, maker.blocks[0])


def test_another_quorum_for_the_parent_is_as_good() -> None:
    """The proposer chooses which q signatures it packs; a voter may hold others [P-13.8]."""
    maker = grown()
    other = maker.certify(maker.blocks[-1], signers=[1, 2, 3])
    transfer = maker.transfer(maker.requester, maker.server.address, COIN)
    block = make_block(maker.head, 3, maker.genesis.time_ms + 3_000, MinerIndex(3), 0, [transfer], other)
    assert candidate(maker.tip, block).height == 3


def test_a_false_certificate_for_the_parent_is_refused() -> None:
    """A block whose inner certificate does not certify the tip is not admissible [P-13.8]."""
    maker = grown()
    false = maker.certify(maker.blocks[0])
    transfer = maker.transfer(maker.requester, maker.server.address, COIN)
    block = make_block(maker.head, 3, maker.genesis.time_ms + 3_000, MinerIndex(3), 0, [transfer], false)
    with pytest.raises(BadSignature):
        candidate(maker.tip, block)


def test_a_block_without_certificates_is_refused() -> None:
    """Neither the block's own nor its parent's certificate can be missing or false."""
    maker = grown()
    transfer = maker.transfer(maker.requester, maker.server.address, COIN)
    block = maker.propose(transfer)
    with pytest.raises(BadSignature):
        extend(maker.tip, block, maker.certify(block, kind="notar"))
    bare = make_block(maker.head, 3, maker.genesis.time_ms + 3_000, MinerIndex(3), 0, [transfer], None)
    with pytest.raises(InvalidTransaction, match="certificate"):
        extend(maker.tip, bare, maker.certify(bare))
    first = ChainMaker(4)
    early = replace(first.propose(transfer), certificate=maker.certificates[0])
    with pytest.raises((InvalidTransaction, BadSignature)):
        extend(first.tip, early, first.certify(early))
