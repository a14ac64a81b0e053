"""Values at the very edge of what the fold and the readers admit, and those one beyond."""

from dataclasses import replace
from typing import Any

import pytest
from chains import COIN, ChainMaker, key

from fedcoin_cli.contract.settlement import give_up
from ledger_store.base.amount import SUPPLY_MAX_MICRO
from ledger_store.base.errors import BadSignature, InvalidTransaction, Malformed
from ledger_store.base.fields import Fields
from ledger_store.base.names import MinerIndex
from ledger_store.base.words import VoteKind
from ledger_store.block import VIEW_MAX, Block, Certificate, Header, make_block
from ledger_store.genesis import BLOCK_BYTES_MAX, ROSTER_MAX, Bounds
from ledger_store.identity.keys import SIGNATURE_LENGTH
from ledger_store.outcome import read_outcome
from ledger_store.state import apply
from ledger_store.task_record import check_terms, result_bytes
from ledger_store.transaction import Close

# Miners, clients, most rankings; sums of up to most × 1,000 images have so many digits, and a sign, quotes and a comma.
SIZES = [(1, 2, 10, 5_286), (4, 3, 10, 8_522), (10, 12, 9_535, 16_580)]


def test_each_view_has_the_next_miner_as_its_leader() -> None:
    """The turn goes up with the view as with the height: the same block by the miner before is out of turn [P-10.1]."""
    maker = ChainMaker()
    maker.add(maker.transfer(maker.requester, key("friend").address, COIN), view=1)
    block = maker.propose(maker.transfer(maker.requester, key("friend").address, COIN), view=1)
    assert block.header.proposer == (block.height + 1) % 4
    apply(maker.tip.state, block)
    before = make_block(
        maker.head,
        block.height,
        block.header.time_ms,
        MinerIndex((block.height - 1) % 4),
        1,
        block.transactions,
        maker.certificates[-1],
    )
    with pytest.raises(InvalidTransaction, match="out of turn"):
        apply(maker.tip.state, before)


def test_a_block_may_be_just_as_long_as_it_may_be() -> None:
    """Genesis says how many transactions a block has at most: so many are admitted, one more is not [P-13.7]."""
    maker = ChainMaker(bounds=Bounds(transactions_a_block=2))
    one, two, three = (
        maker.transfer(maker.requester, key("friend").address, COIN, number) for number in (1, 2, 3)
    )
    apply(maker.tip.state, maker.propose(one, two))
    with pytest.raises(InvalidTransaction, match="too long"):
        apply(maker.tip.state, maker.propose(one, two, three))


def test_who_has_nothing_pays_nothing() -> None:
    """An account that was never paid cannot even afford a task of one micro [P-4.10]."""
    maker = ChainMaker()
    poor = key("poor")
    task = maker.task(poor, price_micro=1, train_micro=1, computation_micro=0, shapley_micro=0)
    with pytest.raises(InvalidTransaction, match="a balance of 0 micro does not cover 1"):
        apply(maker.tip.state, maker.propose(task))


def test_commits_are_forgotten_when_their_attempt_is_over() -> None:
    """A closed attempt's commits stand in the task's record until its result, whatever that is; then none do."""
    maker = ChainMaker()
    task = maker.task()
    maker.add(task)
    reveals = maker.reveals(task)
    maker.add(maker.close(task, reveals))
    assert len(maker.records[task.id].commits) == 4
    failed = maker.result(task, [], give_up(maker.records[task.id]))
    maker.add(failed)
    assert maker.records[task.id].commits == ()
    assert maker.records[task.id].attempt == 2
    for number in (2, 3):
        maker.add(Close(task.id, number, (), give_up(maker.records[task.id])))
    assert maker.records[task.id].commits == ()
    other = ChainMaker()
    settled = other.add_round()
    assert other.records[settled.id].commits == ()


NARROW = Bounds(
    clients=4,
    images=500,
    block_images=20,
    runtime_ms=5_500,
    attempts=4,
    rankings=20,
    examples=100,
    least_difficulty_micro=7,
    least_shapley_price_micro_a_second=3,
)
TERMS = {
    "images": 500,
    "empty": 0,
    "price_micro": 100,
    "train_micro": 0,
    "computation_micro": 0,
    "shapley_micro": 100,
    "runtime_ms": 5_500,
    "difficulty_micro": 7,
    "most_rankings": 20,
}


@pytest.mark.parametrize(
    ("at", "beyond"),
    [
        ({"clients": 2}, {"clients": 1}),
        ({"clients": 4}, {"clients": 5}),
        ({"images": 1}, {"images": 0}),
        ({"images": 500}, {"images": 501}),
        ({"block_images": 1}, {"block_images": 0}),
        ({"block_images": 20}, {"block_images": 21}),
        ({"empty": 500}, {"empty": 501}),
        ({"runtime_ms": 5_500}, {"runtime_ms": 5_501}),
        ({"attempts": 1}, {"attempts": 0}),
        ({"attempts": 4}, {"attempts": 5}),
        ({"difficulty_micro": 7}, {"difficulty_micro": 6}),
        ({"least_rankings": 1}, {"least_rankings": 0}),
        ({"least_rankings": 20}, {"least_rankings": 21}),
        ({"most_rankings": 20}, {"most_rankings": 21}),
        # 11.001 s of RUNTIME in all are paid for as 12 s.
        (
            {"price_micro": 36, "shapley_micro": 36, "runtime_ms": 3_667},
            {"price_micro": 35, "shapley_micro": 35, "runtime_ms": 3_667},
        ),
        ({"train_micro": 1, "price_micro": 101}, {"train_micro": 1, "price_micro": 102}),
    ],
    ids=str,
)
def test_terms_at_their_bounds_make_a_task(at: dict[str, Any], beyond: dict[str, Any]) -> None:
    """As much as genesis allows is admitted, one more or less is not [P-5.7]."""
    maker = ChainMaker(bounds=NARROW)
    check_terms(maker.task(**(TERMS | at)), maker.genesis)
    with pytest.raises(InvalidTransaction):
        check_terms(maker.task(**(TERMS | beyond)), maker.genesis)


def test_a_result_may_just_fit_into_a_block() -> None:
    """As large as a block may be: admitted; a byte less room: refused. Twice the same client: refused."""
    task = ChainMaker().task()
    room = result_bytes(task, ChainMaker().genesis)
    check_terms(task, ChainMaker(bounds=Bounds(block_bytes=room)).genesis)
    with pytest.raises(InvalidTransaction, match="would not fit"):
        check_terms(task, ChainMaker(bounds=Bounds(block_bytes=room - 1)).genesis)
    with pytest.raises(InvalidTransaction, match="two updates of one client"):
        check_terms(replace(task, updates=(task.updates[0], *task.updates[:2])), ChainMaker().genesis)


def test_an_update_may_be_of_as_many_examples_as_there_may_be() -> None:
    """Just as many: admitted; one more: refused [P-5.6]."""
    task = ChainMaker().task()
    check_terms(task, ChainMaker(bounds=Bounds(examples=100)).genesis)
    with pytest.raises(InvalidTransaction, match="too many examples"):
        check_terms(task, ChainMaker(bounds=Bounds(examples=99)).genesis)


@pytest.mark.parametrize(("miners", "clients", "most", "size"), SIZES)
def test_all_miners_reckon_alike_with_the_result(miners: int, clients: int, most: int, size: int) -> None:
    """How large a result may become decides which tasks are admitted: one byte of difference would be a fork.

    [P-5.9]
    """
    maker = ChainMaker(miners)
    assert result_bytes(maker.task(clients=clients, most_rankings=most), maker.genesis) == size


def _paying(part: str, micro: int) -> dict[str, Any]:
    """An outcome in which one amount is this."""
    maker = ChainMaker()
    outcome = maker.settled(maker.task()).to_json()
    amounts = {"clients": [micro, 0, 0], "miners": [[maker.miners[0].address, micro]]}
    return {**outcome, "pay": {**outcome["pay"], part: amounts.get(part, micro)}}


@pytest.mark.parametrize("part", ["clients", "miners", "server", "requester"])
def test_no_payment_is_more_than_all_coins_there_can_be(part: str) -> None:
    """Each amount of an outcome is from nothing to the greatest supply; nobody is paid more, or less than nothing.

    [P-1.10]
    """
    for micro in (0, SUPPLY_MAX_MICRO):
        read_outcome(_paying(part, micro))
    for micro in (-1, SUPPLY_MAX_MICRO + 1):
        with pytest.raises(Malformed, match=part.removesuffix("s")):
            read_outcome(_paying(part, micro))


# Forms ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [0, VIEW_MAX])
@pytest.mark.parametrize("voter", [0, ROSTER_MAX - 1])
def test_a_certificate_holds_any_view_and_any_miner(view: int, voter: int) -> None:
    """One signature is enough for its form, of the first miner or of the last that a roster can have [P-11.3]."""
    value = {"signatures": [[voter, "0" * SIGNATURE_LENGTH]], "view": view}
    assert Certificate.from_json(value).signatures == ((voter, "0" * SIGNATURE_LENGTH),)
    for spoilt in ({"view": VIEW_MAX + 1}, {"signatures": [[ROSTER_MAX, "0" * SIGNATURE_LENGTH]]}):
        with pytest.raises(Malformed):
            Certificate.from_json({**value, **spoilt})


def test_a_signature_of_the_miner_after_the_last_is_nobodys() -> None:
    """An index that the form admits and the roster does not have is a bad signature, and ends nothing else."""
    maker = ChainMaker()
    maker.add_transfers(1)
    whole = maker.certificates[0]
    beyond = replace(whole, signatures=(*whole.signatures[:-1], (MinerIndex(4), whole.signatures[0][1])))
    with pytest.raises(BadSignature):
        beyond.check(maker.genesis, VoteKind.FINAL, 1, maker.blocks[0].id)


def test_a_certificate_is_checked_as_its_reader_wants() -> None:
    """Whoever brings a check of signatures of its own has that one asked, not another."""
    maker = ChainMaker()
    maker.add_transfers(1)
    noise = replace(
        maker.certificates[0],
        signatures=tuple((MinerIndex(index), "0" * SIGNATURE_LENGTH) for index in range(3)),
    )
    with pytest.raises(BadSignature):
        noise.check(maker.genesis, VoteKind.FINAL, 1, maker.blocks[0].id)
    noise.check(maker.genesis, VoteKind.FINAL, 1, maker.blocks[0].id, lambda *_: True)


def test_a_header_holds_the_first_moment_and_the_last_miner() -> None:
    """Time 0 and the greatest roster index are read, one more is not [P-1.12]."""
    maker = ChainMaker()
    maker.add_transfers(1)
    value = maker.blocks[0].header.to_json()
    edge = {**value, "time_ms": 0, "proposer": ROSTER_MAX - 1}
    header = Header.from_json(edge)
    assert (header.time_ms, header.proposer) == (0, ROSTER_MAX - 1)
    with pytest.raises(Malformed, match="proposer"):
        Header.from_json({**edge, "proposer": ROSTER_MAX})


def test_a_fraction_may_be_nothing() -> None:
    """0 over 1 is a distance; a negative one is none, and neither is one over nothing."""
    assert Fields({"it": ["0", "1"]}, ["it"], "test").fraction("it") == (0, 1)
    for wrong in (["-1", "1"], ["1", "0"], ["1", "-1"]):
        with pytest.raises(Malformed):
            Fields({"it": wrong}, ["it"], "test").fraction("it")


def test_numbered_texts_go_up_to_their_number() -> None:
    """From 0 to the greatest number, at least none unless more are asked for."""
    assert Fields({"it": [[0, "ab"], [9, "cd"]]}, ["it"], "test").signatures("it", 9, 2, 2) == (
        (0, "ab"),
        (9, "cd"),
    )
    assert Fields({"it": []}, ["it"], "test").signatures("it", 9, 2, 2) == ()
    assert Fields({"it": []}, ["it"], "test").hexes("it", 2, 2) == ()
    for wrong in ([[10, "ab"]], [[-1, "ab"]], [[True, "ab"]]):
        with pytest.raises(Malformed):
            Fields({"it": wrong}, ["it"], "test").signatures("it", 9, 2, 2)


def test_numbers_of_any_size_have_a_thousand_digits_at_most() -> None:
    """1,024 characters are read, one more is not [P-1.6]."""
    assert Fields({"it": "9" * 1_024}, ["it"], "test").big("it") == 10**1_024 - 1
    with pytest.raises(Malformed, match="decimal"):
        Fields({"it": "9" * 1_025}, ["it"], "test").big("it")


def test_a_line_may_be_as_long_as_a_block_may_be() -> None:
    """Noise of just that length is refused as noise, noise of one byte more for its length, unread."""
    with pytest.raises(Malformed) as noise:
        Block.read_line(b"x" * BLOCK_BYTES_MAX)
    assert "longer than any block" not in noise.value.message
    with pytest.raises(Malformed, match="longer than any block"):
        Block.read_line(b"x" * (BLOCK_BYTES_MAX + 1))
