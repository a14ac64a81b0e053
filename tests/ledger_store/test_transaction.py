import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from chains import ChainMaker, digest, key

from ledger_store.base.canonical import decode, encode, parse
from ledger_store.base.errors import Malformed
from ledger_store.base.names import BlockId, GenesisId, TaskId
from ledger_store.base.words import TaskState
from ledger_store.outcome import read_outcome
from ledger_store.proof import read_estimate
from ledger_store.transaction import (
    Estimate,
    FraudMark,
    Reveal,
    Task,
    Transaction,
    commit_terms,
    mask_hex,
    parse_transaction,
    trusted_task,
)

MAKER = ChainMaker(4)
TASK = MAKER.task(baseline=digest("update-1"), payment_error_micro=5)
REVEALS = [
    *MAKER.reveals(TASK, miners=MAKER.miners[:2]),
    MAKER.reveal(TASK, 1, MAKER.miners[2], exact=True, sums=(-(10**40), 0, 10**40)),
]
EXAMPLES: dict[str, Transaction] = {
    "transfer": MAKER.transfer(MAKER.requester, key("x").address, 10_000),
    "task": TASK,
    "cancel": MAKER.cancel(MAKER.requester, TASK.id),
    "close": MAKER.close(TASK, REVEALS),
    "result": MAKER.result(TASK, REVEALS, MAKER.settled(TASK), frauds=[FraudMark(REVEALS[0].miner, 5)]),
}
EXAMPLES["close without commits"] = replace(MAKER.close(TASK, []), outcome=MAKER.failed(TASK, TaskState.OPEN))


def copy(kind: str) -> Any:
    return decode(encode(EXAMPLES[kind].to_json()))


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_kind_reads_back(kind: str) -> None:
    """Reading canonical bytes gives the same value, and writing it the same bytes [P-4.3] [P-5.1]."""
    transaction = EXAMPLES[kind]
    again = parse_transaction(copy(kind))
    assert again == transaction
    assert encode(again.to_json()) == encode(transaction.to_json())


def _spoil(value: Any, where: tuple[str | int, ...], new: Any) -> Any:
    target = value
    for step in where[:-1]:
        target = target[step]
    target[where[-1]] = new
    return value


@pytest.mark.parametrize("kind", EXAMPLES)
def test_an_unknown_or_missing_field_is_refused(kind: str) -> None:
    """Exactly the fields of the kind, so that equal meanings have equal bytes."""
    with pytest.raises(Malformed):
        parse_transaction(copy(kind) | {"memo": "hello"})
    for name in copy(kind):
        with pytest.raises(Malformed):
            parse_transaction({field: item for field, item in copy(kind).items() if field != name})


@pytest.mark.parametrize(
    ("kind", "where", "value"),
    [
        ("transfer", ("type",), "mint"),
        ("transfer", ("type",), ["transfer"]),
        ("transfer", ("sequence",), 0),
        ("transfer", ("sequence",), True),
        ("transfer", ("amount_micro",), 0),
        ("transfer", ("amount_micro",), -5),
        ("transfer", ("amount_micro",), "5"),
        ("transfer", ("to",), "AB" * 32),
        ("transfer", ("signature",), "00" * 63),
        ("cancel", ("task",), None),
        ("task", ("updates",), []),
        ("task", ("updates", 0, "examples"), 0),
        ("task", ("updates", 0, "client"), "x"),
        ("task", ("aggregation",), "median"),
        ("task", ("sap_rule",), "loser"),
        ("task", ("payment_error_micro",), 0),
        ("task", ("price_micro",), -1),
        ("task", ("nonce",), "0f"),
        ("task", ("block_images",), 0),
        ("task", ("block_images",), 256),
        ("task", ("block_images",), True),
        ("close", ("attempt",), 0),
        ("close", ("commits", 0, "digest"), None),
        ("close", ("commits",), None),
        ("close without commits", ("outcome", "state"), "CLOSED"),
        ("close without commits", ("outcome", "pay", "server"), -1),
        ("result", ("reveals", 0, "rankings"), 0),
        ("result", ("reveals", 0, "sums"), []),
        ("result", ("reveals", 0, "sums", 0), 1),
        ("result", ("reveals", 0, "exact"), 1),
        ("result", ("reveals", 0, "salt"), "00"),
        ("result", ("frauds", 0, "entry"), -1),
        ("result", ("frauds", 0, "entry"), "05"),
        ("result", ("frauds", 0, "entry"), 2**53),
        ("result", ("outcome", "denominator"), "0"),
        ("result", ("outcome", "denominator"), "-3"),
        ("result", ("outcome", "distance"), ["1", "0"]),
        ("result", ("outcome", "distance"), ["-1", "100"]),
        ("result", ("outcome", "shapley"), ["1", "2"]),
        ("result", ("outcome",), None),
        ("result", ("outcome", "distance"), ["1"]),
        ("result", ("outcome", "shapley"), []),
        ("result", ("outcome", "winner"), "me"),
        ("result", ("outcome", "pay", "miners"), [["me", 1]]),
        ("result", ("outcome", "pay", "miners"), [[1]]),
        ("result", ("outcome", "pay", "clients", 0), True),
    ],
)
def test_a_bad_field_is_refused(kind: str, where: tuple[str | int, ...], value: Any) -> None:
    """Every field has its type and its bounds, nested ones too [P-4.7] [P-8.8] [P-8.25]."""
    with pytest.raises(Malformed):
        parse_transaction(_spoil(copy(kind), where, value))


@pytest.mark.parametrize("value", [None, 1, [], "transfer", {}, {"type": None}, {"type": "Transfer"}])
def test_what_is_no_transaction_is_refused(value: Any) -> None:
    """Another shape is Malformed, not a crash [P-4.3]."""
    with pytest.raises(Malformed):
        parse_transaction(value)


@pytest.mark.parametrize(
    "changed",
    [
        replace(TASK, price_micro=TASK.price_micro + 1),
        replace(TASK, test=digest("another test set")),
        replace(TASK, updates=TASK.updates[:2]),
        replace(TASK, sequence=TASK.sequence + 1),
        replace(TASK, sender=key("x").address),
        replace(TASK, sap_rule="shared"),
    ],
)
def test_id_and_signature_cover_every_term(changed: Task) -> None:
    """A changed term has another id and carries no signature [P-4.4]."""
    assert changed.id != TASK.id
    assert TASK.verified(MAKER.genesis.id)
    assert not changed.verified(MAKER.genesis.id)
    assert not TASK.verified(GenesisId(BlockId("00" * 32)))


def test_the_id_does_not_cover_the_signature() -> None:
    """Nobody can give a transaction a second id [P-4.4]."""
    assert replace(TASK, signature="00" * 64).id == TASK.id


def test_a_commit_binds_everything_that_is_revealed() -> None:
    """Another miner, task, attempt, count, sum, table or salt opens another commit [P-8.1]."""
    reveal = REVEALS[0]
    changed = [
        replace(reveal, miner=REVEALS[1].miner),
        replace(reveal, rankings=9),
        replace(reveal, exact=True),
        replace(reveal, sums=(1, 2, 3)),
        replace(reveal, table=digest("x")),
        replace(reveal, salt="00" * 16),
    ]
    digests = {item.commitment(TASK.id, 1) for item in (reveal, *changed)}
    digests |= {reveal.commitment(TASK.id, 2), reveal.commitment(TaskId(digest("other task")), 1)}
    assert len(digests) == len(changed) + 3


def test_files_are_named_once() -> None:
    """A baseline that is one of the updates is not fetched twice."""
    assert len(TASK.files) == 2 + TASK.clients


def test_masks_are_fixed_width() -> None:
    """Client j is bit j; as many digits as whole bytes need."""
    assert mask_hex(0b101, 3) == "05"
    assert mask_hex(1 << 8, 9) == "0100"
    assert mask_hex(1, 8) == "01"


def test_a_task_of_the_format_before_blocks_is_refused_by_name() -> None:
    """The message names the fields that it lacks and those that a task no longer has; so for calls and bounds.

    [P-5.1]
    """
    old = {name: value for name, value in copy("task").items() if name != "block_images"} | {"proxy": None}
    with pytest.raises(Malformed, match=r"^task: lacks block_images; knows no proxy$"):
        parse_transaction(old)
    strange = copy("transfer") | {f"{number}\x1b[2J" + "x" * 99: 1 for number in range(9)}
    with pytest.raises(Malformed) as refusal:
        parse_transaction(strange)
    assert refusal.value.message.isprintable()
    assert refusal.value.message.isascii()
    assert len(refusal.value.message) < 200


@pytest.mark.parametrize("part", ["clients", "server", "miners", "requester"])
def test_no_payment_is_below_zero(part: str) -> None:
    """An outcome in which somebody pays instead of being paid cannot be read, whoever it is; 0 can [P-1.10]."""
    maker = ChainMaker()
    outcome = maker.settled(maker.task()).to_json()
    miner = maker.miners[0].address
    for micro in (0, -1):
        lists: dict[str, Any] = {"clients": [micro, 1, 1], "miners": [[miner, micro]]}
        changed = {**outcome, "pay": {**outcome["pay"], part: lists.get(part, micro)}}
        if micro == 0:
            assert read_outcome(changed).to_json() == changed
            continue
        with pytest.raises(Malformed, match="pay"):
            read_outcome(changed)


def test_a_task_of_ones_own_ledger_is_read_on_trust() -> None:
    """Read without looking at types it is the task that was read with, id and files included."""
    task = ChainMaker(4).task(baseline=digest("baseline"), clients=3)
    value = parse(task.encoded)
    known = trusted_task(value)
    assert known == task == parse_transaction(value)
    assert (known.id, known.files) == (task.id, task.files)


def test_equal_payments_are_told_apart_by_their_nonce() -> None:
    """Same sender, number, receiver and amount: another nonce is another transaction under another id [P-4.8]."""
    maker = ChainMaker(1)
    payment = maker.transfer(maker.requester, key("receiver").address, 12_500_000)
    again = replace(payment, nonce="1" * 32)
    assert again.id != payment.id
    assert not again.verified(maker.genesis.id)


def test_a_miner_opens_its_estimate_under_a_salt() -> None:
    """What it estimated, whose it is, the salt, and no signature yet."""
    miner, salt, table = key("miner").address, "5a" * 16, digest("table")
    opened = Estimate(10, False, (3, -4), table).opened(miner, salt)
    assert opened == Reveal(10, False, (3, -4), table, miner, salt, "")
    assert (opened.miner, opened.salt, opened.table, opened.signature) == (miner, salt, table, "")


def test_what_a_miner_signs_and_commits_to_is_what_the_protocol_says() -> None:
    """The fields under their names, and the hash of them with the miner's address under its own tag [P-2.2] [P-8.1]."""
    task, miner, table = TaskId(digest("task")), key("miner").address, digest("table")
    assert commit_terms(task, 2, table) == {"attempt": 2, "digest": table, "task": task}
    reveal = Reveal(10, False, (3, -4), table, miner, "5a" * 16, "")
    said = {
        "attempt": 2,
        "exact": False,
        "rankings": 10,
        "salt": "5a" * 16,
        "sums": ["3", "-4"],
        "table": table,
        "task": task,
    }
    assert reveal.terms(task, 2) == said
    sealed = json.dumps({**said, "miner": miner}, sort_keys=True, separators=(",", ":")).encode()
    assert reveal.commitment(task, 2) == sha256(b"fedcoin/v1/commitment\0" + sealed).hexdigest()


def test_an_estimate_reads_back() -> None:
    """Of one ranking too; of none, and with a field more, it is refused."""
    estimate = Estimate(1, False, (3, -4), digest("table"))
    assert read_estimate(estimate.to_json()) == estimate
    for changed in ({"rankings": 0}, {"salt": "5a" * 16}):
        with pytest.raises(Malformed, match="estimate"):
            read_estimate({**estimate.to_json(), **changed})


def test_attempts_are_numbered_from_1() -> None:
    """A result of attempt 0 is none."""
    with pytest.raises(Malformed, match="attempt"):
        parse_transaction({**copy("result"), "attempt": 0})
