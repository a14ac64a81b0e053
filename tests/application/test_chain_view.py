from dataclasses import replace

import pytest
from chains import ChainMaker, build_chain
from places import refunded_round, settled_round

from fedcoin_cli.application.requester.chain_view import ANSWER_S, ChainView
from fedcoin_cli.protocol.message import Fetch, FinalBlock, Message, Phase, Standing, Status
from ledger_store.base.errors import LedgerInvalid
from ledger_store.base.names import Address
from ledger_store.chain import start

A_ADDRESS = Address("a")
B = Address("b")

NONCE = "0" * 32


def final(maker: ChainMaker, height: int) -> FinalBlock:
    return FinalBlock(maker.blocks[height - 1], maker.certificates[height - 1])


def standing(height: int) -> Standing:
    return Standing(height, None, 0, Phase.IDLE, 0, 0, 0, 0, 0)


def test_it_follows_certified_blocks() -> None:
    """Blocks in order extend the view, whoever sends them; it notes where transactions and tasks ended up."""
    maker = ChainMaker()
    task, other = settled_round(maker), refunded_round(maker)
    view = ChainView(start(maker.genesis))
    view.take(A_ADDRESS, final(maker, 2))
    assert view.tip.height == 0
    for height in range(1, 6):
        view.take(Address("stranger"), final(maker, height))
    assert view.state == maker.tip.state
    assert view.placed == {task.id: 1, other.id: 4}
    assert view.ends == {task.id: maker.blocks[2].transactions[0], other.id: maker.blocks[4].transactions[0]}


def test_a_block_without_a_quorum_is_ignored() -> None:
    """A block with another block's certificate, or with a signature too few, does not extend the view."""
    maker = build_chain(blocks=2)
    view = ChainView(start(maker.genesis))
    view.take(A_ADDRESS, FinalBlock(maker.blocks[0], maker.certificates[1]))
    short = replace(maker.certificates[0], signatures=maker.certificates[0].signatures[:-1])
    view.take(A_ADDRESS, FinalBlock(maker.blocks[0], short))
    assert view.tip.height == 0


def test_a_final_block_that_does_not_follow_is_an_alarm() -> None:
    """A certified result whose payments do not follow from its reveals stops the requester."""
    maker = ChainMaker()
    maker.add_round()
    view = ChainView(start(maker.genesis))
    view.take(A_ADDRESS, final(maker, 1))
    view.take(A_ADDRESS, final(maker, 2))
    with pytest.raises(LedgerInvalid, match="block 3 is final"):
        view.take(A_ADDRESS, final(maker, 3))
    assert view.tip.height == 2


def test_one_miner_is_asked_at_a_time() -> None:
    """Whoever claims more is asked for the next block; the next miner once the first was silent or had its turn."""
    maker = build_chain(blocks=2)
    view = ChainView(start(maker.genesis))
    assert view.fetch(0.0) is None
    view.take(A_ADDRESS, standing(2))
    view.take(B, standing(2))
    assert view.fetch(0.0) == ("a", Fetch(1))
    assert view.fetch(ANSWER_S / 2) is None
    assert view.fetch(ANSWER_S) == ("b", Fetch(1))
    view.take(B, final(maker, 1))
    assert view.fetch(ANSWER_S * 1.5) is None
    view.take(B, Status(2, NONCE))
    assert view.fetch(ANSWER_S * 1.5) == ("a", Fetch(2))
    view.take(A_ADDRESS, final(maker, 2))
    view.take(A_ADDRESS, Status(2, NONCE))
    assert view.fetch(ANSWER_S * 9) is None


def test_everybody_has_a_turn() -> None:
    """Three miners that claim more and are no help are asked one after the other, again and again."""
    view = ChainView(start(build_chain(blocks=1).genesis))
    for miner in "abc":
        view.take(Address(miner), standing(2))
    asked = [view.fetch(turn * ANSWER_S) for turn in range(6)]
    assert [one[0] for one in asked if one is not None] == list("abcabc")


def test_what_was_verified_is_kept_with_its_certificate() -> None:
    """The tip is the last block's certificate, and whoever keeps the blocks is told each with its own, once."""
    maker, kept = build_chain(blocks=2), list[object]()
    view = ChainView(start(maker.genesis), lambda *verified: kept.append(verified))
    for height in (1, 2, 2):
        view.take(A_ADDRESS, final(maker, height))
    assert kept == list(zip(maker.blocks, maker.certificates, strict=True))
    assert view.tip.certificate == maker.certificates[-1]


def test_caught_up_means_with_somebody_honest() -> None:
    """Of four miners one may lie: a single absurd claim does not keep the view waiting, two claims do."""
    maker = build_chain(blocks=2)
    view = ChainView(start(maker.genesis))
    seen = []
    messages: list[Message] = [standing(10**6), standing(0), standing(1), final(maker, 1)]
    for miner, message in zip("abcc", messages, strict=True):
        view.take(Address(miner), message)
        seen.append(view.caught_up)
    assert seen == [False, True, False, True]
    view.forget_claims()
    assert not view.caught_up
