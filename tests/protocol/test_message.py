import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from chains import COIN, ChainMaker, build_chain
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcoin_cli.protocol.frame import FRAME_MAX_BYTES, from_frame, is_from_miners_only, to_frame
from fedcoin_cli.protocol.message import (
    CHECKED_MOST,
    Ask,
    Beside,
    Certified,
    CommitNote,
    Errors,
    Fetch,
    FinalBlock,
    FraudNote,
    Message,
    Phase,
    Proposal,
    Recall,
    Recalled,
    Receipt,
    Remind,
    Reminder,
    RevealNote,
    Silence,
    Standing,
    Status,
    Taken,
    TransactionNote,
    Vote,
)
from ledger_store.base.canonical import encode
from ledger_store.base.errors import Malformed
from ledger_store.base.names import Address, BlockId, Digest, MinerIndex, TaskId
from ledger_store.base.words import VoteKind
from ledger_store.block import VIEW_MAX, Certificate
from ledger_store.transaction import Commit, Reveal

GOLDEN = Path(__file__).parent.parent / "golden" / "messages.json"

chain = build_chain(miners=4, blocks=4)
BLOCK, PARENT = chain.blocks[3], chain.certificates[2]
ID, KEY, SIGNATURE = TaskId("ab" * 32), Address("cd" * 32), "ef" * 64


def examples() -> dict[str, Message]:
    """One of each kind, and of each form that a kind has."""
    maker = ChainMaker(4)
    task = maker.task()
    reveal = maker.reveal(task, 1, maker.miners[0])
    exact = maker.reveal(task, 1, maker.miners[1], exact=True, sums=(-(2**64), 0, 2**64))
    skip = Certificate(
        2, ((MinerIndex(0), SIGNATURE), (MinerIndex(1), SIGNATURE), (MinerIndex(3), SIGNATURE))
    )
    vote = Vote(VoteKind.NOTAR, MinerIndex(3), 4, 2, BlockId(ID), SIGNATURE)
    return {
        "proposal, fresh": Proposal(MinerIndex(1), 0, BLOCK, -1, None, (), SIGNATURE),
        "proposal, justified": Proposal(MinerIndex(3), 3, BLOCK, 0, PARENT, (skip, skip), SIGNATURE),
        "notar": vote,
        "skip": replace(vote, kind=VoteKind.SKIP, block=None),
        "final": replace(vote, kind=VoteKind.FINAL),
        "certified skip": Certified(VoteKind.SKIP, 4, None, skip, None),
        "certified notarisation": Certified(VoteKind.NOTAR, 4, BLOCK.id, PARENT, BLOCK),
        "commit": CommitNote(task.id, 1, Commit(KEY, Digest(ID), SIGNATURE)),
        "reveal": RevealNote(task.id, 2, reveal),
        "reveal, exact": RevealNote(task.id, 1, exact),
        "fraud": FraudNote(task.id, 1, KEY, 5, Address("01" * 32), SIGNATURE),
        "transaction": TransactionNote(maker.transfer(maker.requester, maker.server.address, 7 * COIN)),
        "transaction, task": TransactionNote(task),
        "receipt": Receipt(ID, None),
        "receipt, refused": Receipt(ID, "a balance of 0 micro does not cover 7"),
        "status": Status(4, "0f" * 16, (ID, TaskId(KEY))),
        "fetch": Fetch(9),
        "block": FinalBlock(BLOCK, chain.certificates[3]),
        "recall": Recall(),
        "recalled": Recalled(5, (vote, replace(vote, kind=VoteKind.SKIP, block=None))),
        "recalled, with a commit": Recalled(
            5, (), CommitNote(task.id, 2, Commit(KEY, Digest(ID), SIGNATURE))
        ),
        "remind": Remind("0f" * 16),
        "reminder": Reminder(
            2,
            KEY,
            "0f" * 16,
            5,
            ((VoteKind.SKIP, 0, None), (VoteKind.NOTAR, 1, BlockId(ID))),
            (vote,),
            SIGNATURE,
        ),
        "taken": Taken("0f" * 16),
        "beside": Beside("0f" * 16, SIGNATURE),
        "ask": Ask(),
        "standing": Standing(4, TaskId(ID), 1, Phase.MINING, 20, 300, 1_023, 4_500, 3),
        "standing, errors": Standing(
            4, TaskId(ID), 1, Phase.MINING, 20, 0, 0, 4_500, 3, Errors(31_000, 310_000, 1_200_000, 4_100_000)
        ),
        "standing, idle": Standing(4, None, 0, Phase.IDLE, 0, 0, 0, 0, 3),
        "standing, silent": Standing(4, None, 0, Phase.IDLE, 0, 0, 0, 0, 3, silence=Silence.VOTES_LOST),
    }


# The format is frozen -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", examples())
def test_frames_have_not_changed(name: str) -> None:
    """Every kind of message is written as when the format was frozen, and read back as the same value [P-11.2]."""
    golden = json.loads(GOLDEN.read_bytes())
    assert golden.keys() == examples().keys()
    frame = to_frame(examples()[name])
    assert frame.decode("ascii") == golden[name]
    assert from_frame(frame) == examples()[name]


def test_every_kind_has_an_example() -> None:
    """No message is left out of the frozen file [P-11.2]."""
    kinds = {type(message) for message in examples().values()}
    assert kinds == set(Message.__args__)


@pytest.mark.parametrize("name", examples())
def test_what_accounts_cannot_say_is_known_by_its_end(name: str) -> None:
    """Of all types just those that anybody may send are worth reading when an account sends them [P-11.7]."""
    message = examples()[name]
    anyones = isinstance(message, TransactionNote | Fetch | FinalBlock | Ask)
    assert is_from_miners_only(to_frame(message)) == (not anyones)


# Round trips --------------------------------------------------------------------------------------------------------

ids = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
signatures = st.integers(0, 2**512 - 1).map(lambda number: f"{number:0128x}")
heights = st.integers(1, 2**53 - 1)
views = st.integers(0, VIEW_MAX)
rosters = st.integers(0, 63)
bigs = st.integers(-(10**30), 10**30)
certificates = st.builds(
    Certificate, views, st.lists(st.tuples(rosters, signatures), min_size=1, max_size=5).map(tuple)
)
votes = st.builds(
    Vote, st.sampled_from(["notar", "final"]), rosters, heights, views, ids, signatures
) | st.builds(Vote, st.just("skip"), rosters, heights, views, st.none(), signatures)
reveals = st.integers(1, 6).flatmap(
    lambda count: st.builds(
        Reveal,
        st.integers(1, 10**6),
        st.booleans(),
        st.tuples(*[bigs] * count),
        ids,
        ids,
        ids.map(lambda text: text[:32]),
        signatures,
    )
)
attempts = st.integers(1, 5)
messages: st.SearchStrategy[Message] = st.one_of(
    votes,
    st.builds(
        Proposal,
        rosters,
        views,
        st.just(BLOCK),
        st.integers(-1, VIEW_MAX),
        st.none() | certificates,
        st.lists(certificates, max_size=3).map(tuple),
        signatures,
    ),
    st.builds(Certified, st.just("skip"), heights, st.none(), certificates, st.none()),
    st.builds(
        Certified,
        st.sampled_from(["notar", "final"]),
        heights,
        st.just(BLOCK.id),
        certificates,
        st.none() | st.just(BLOCK),
    ),
    st.builds(CommitNote, ids, attempts, st.builds(Commit, ids, ids, signatures)),
    st.builds(RevealNote, ids, attempts, reveals),
    st.builds(FraudNote, ids, attempts, ids, st.integers(0, 2**53 - 1), ids, signatures),
    st.builds(
        Receipt, ids, st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=400)
    ),
    st.builds(
        Status,
        st.integers(0, 2**53 - 1),
        ids.map(lambda text: text[:32]),
        st.lists(ids, max_size=5).map(tuple),
    ),
    st.builds(Fetch, heights),
    st.builds(FinalBlock, st.just(BLOCK), certificates),
    st.builds(Recalled, heights, st.lists(votes, max_size=4).map(tuple)),
    st.builds(
        Reminder,
        rosters,
        ids,
        ids.map(lambda text: text[:32]),
        heights,
        st.lists(votes.map(lambda vote: (vote.kind, vote.view, vote.block)), max_size=4).map(tuple),
        st.lists(votes, max_size=4).map(tuple),
        signatures,
    ),
    st.builds(
        Standing,
        heights,
        st.none() | ids,
        attempts,
        st.sampled_from(["idle", "revealing"]),
        *[st.integers(0, 2**53 - 1)] * 5,
        st.none()
        | st.builds(Errors, *[st.integers(0, 2**53 - 1), st.none() | st.integers(0, 2**53 - 1)] * 2),
    ),
)


@given(messages)
def test_what_is_written_is_read(message: Message) -> None:
    """Any message of any kind comes back equal, and as the same bytes."""
    frame = to_frame(message)
    assert from_frame(frame) == message
    assert to_frame(from_frame(frame)) == frame


# Refusals -----------------------------------------------------------------------------------------------------------

Way = tuple[Any, ...]


def leaves(value: Any, path: Way = ()) -> list[Way]:
    """The way to every value inside, objects and arrays included."""
    here = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        here += leaves(item, (*path, key))
    return here


def changed(value: Any, path: Way, change: Callable[[Any], Any]) -> Any:
    """A copy with the value at `path` exchanged."""
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], change)
    return copy


def refused(value: Any) -> bool:
    """Whether a frame with this content is refused as malformed; any other error is a crash."""
    try:
        from_frame(encode(value))
    except Malformed:
        return True
    return False


SHORT = [
    name for name in examples() if "task" not in name and name not in ("block", "certified notarisation")
]
FLAWS: dict[str, Callable[[Any], Any]] = {
    "a list": lambda _: [1, 2],
    "an object": lambda _: {"a": 1},
    "true": lambda value: "true" if type(value) is bool else True,
    "a negative number": lambda _: -7,
    "a long text": lambda _: "x" * 500,
}


@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize("name", SHORT)
def test_every_field_refuses_what_it_cannot_be(name: str, flaw: str) -> None:
    """A wrong type or an absurd value anywhere in a message is Malformed, never another error."""
    right = json.loads(to_frame(examples()[name]))
    accepted = []
    for path in leaves(right):
        wrong = changed(right, path, FLAWS[flaw])
        if wrong != right and not refused(wrong):
            accepted.append(path)
    assert accepted == []


@pytest.mark.parametrize("name", examples())
def test_fields_are_neither_missing_nor_added(name: str) -> None:
    """Each object has exactly its keys, wherever it is nested [P-1.5]."""
    right = json.loads(to_frame(examples()[name]))
    for path in leaves(right):
        inner = right
        for step in path:
            inner = inner[step]
        if isinstance(inner, dict):
            assert refused(changed(right, path, lambda value: {**value, "more": 1})), path
            for key in inner:
                less = {other: value for other, value in inner.items() if other != key}
                assert refused(changed(right, path, partial(_instead, less))), (path, key)


def _instead(value: Any, _: Any) -> Any:
    return value


SINGLE: list[tuple[str, Way, Any]] = [
    ("notar", ("voter",), 64),
    ("notar", ("view",), VIEW_MAX + 1),
    ("notar", ("height",), 0),
    ("notar", ("block",), None),
    ("skip", ("block",), ID),
    ("notar", ("signature",), "EF" * 64),
    ("notar", ("signature",), "ef" * 63),
    ("proposal, fresh", ("justified",), -2),
    ("proposal, fresh", ("proposer",), 64),
    ("proposal, justified", ("skips",), None),
    ("certified skip", ("block",), ID),
    ("certified skip", ("votes",), "notar"),
    ("certified skip", ("votes",), "veto"),
    ("certified notarisation", ("block",), ID),
    ("certified notarisation", ("votes",), "skip"),
    ("certified notarisation", ("body", "header", "time_ms"), 1),
    ("block", ("block", "transactions"), []),
    ("certified skip", ("certificate", "signatures"), []),
    ("certified skip", ("certificate", "signatures", 0), [0]),
    ("certified skip", ("certificate", "signatures", 0, 0), 64),
    ("commit", ("attempt",), 0),
    ("commit", ("task",), ID[:-1]),
    ("reveal", ("reveal", "exact"), None),
    ("reveal", ("reveal", "sums"), []),
    ("reveal", ("reveal", "sums", 0), "01"),
    ("reveal", ("reveal", "sums", 0), "-0"),
    ("reveal", ("reveal", "sums", 0), "1e3"),
    ("reveal", ("reveal", "sums", 0), "9" * 1025),
    ("reveal", ("reveal", "rankings"), 0),
    ("reveal", ("reveal", "salt"), "ab"),
    ("fraud", ("entry",), -1),
    ("fraud", ("entry",), 2**53),
    ("fraud", ("entry",), "05"),
    ("standing, errors", ("errors", "values_pp_micro"), None),
    ("standing, errors", ("errors", "images_micro"), -1),
    ("standing", ("errors",), []),
    ("status", ("checked",), [ID] * (CHECKED_MOST + 1)),
    ("status", ("height",), -1),
    ("status", ("nonce",), "0F" * 16),
    ("fetch", ("height",), 0),
    ("recalled", ("votes", 0, 0), "veto"),
    ("recalled", ("votes", 0), ["notar"]),
    ("recalled", ("votes", 1, 0), "final"),
    ("reminder", ("own", 0), ["skip", 0]),
    ("reminder", ("own", 0, 0), "veto"),
    ("reminder", ("own", 0, 2), ID),
    ("reminder", ("own", 1, 2), None),
    ("reminder", ("held", 0, 0), "skip"),
    ("reminder", ("witness",), 64),
    ("taken", ("nonce",), "0F" * 16),
    ("beside", ("nonce",), "0F" * 16),
    ("beside", ("signature",), "0f" * 16),
    ("receipt, refused", ("error",), "a\x1b[31mred"),
    ("receipt, refused", ("error",), "x" * 401),
    ("standing", ("phase",), "dreaming"),
    ("transaction", ("transaction", "type"), "gift"),
    ("transaction", ("transaction", "amount_micro"), 0),
]


@pytest.mark.parametrize(("name", "path", "value"), SINGLE)
def test_bounds_and_contradictions_are_refused(name: str, path: Way, value: Any) -> None:
    """Values just outside their bounds, and fields that contradict each other [P-11.3]."""
    right = json.loads(to_frame(examples()[name]))
    assert refused(changed(right, ("fields", *path), lambda _: value))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"fields":{},"type":"party"}',
        b'{"fields":{},"type":7}',
        b'{"fields":{},"type":["ask"]}',
        b'{"fields":[],"type":"ask"}',
        b'{"fields": {},"type":"ask"}',
        b'{"type":"ask","fields":{}}',
        b'{"fields":{},"type":"ask"}\n',
        b'{"fields":{},"fields":{},"type":"ask"}',
        b'{"fields":{},"type":"a\\u0073k"}',
        b'{"fields":{"height":1.0},"type":"fetch"}',
        b'{"fields":{"height":1e2},"type":"fetch"}',
        b'{"fields":{"height":NaN},"type":"fetch"}',
        b'{"fields":{"height":9007199254740992},"type":"fetch"}',
        b'{"fields":' + b"[" * 5_000 + b"]" * 5_000 + b',"type":"ask"}',
    ],
    ids=lambda frame: frame[:40].decode("latin-1"),
)
def test_what_is_no_message_is_malformed(frame: bytes) -> None:
    """Not canonical, not an object, of no known type, nested like a tower: one class of error [P-11.1]."""
    with pytest.raises(Malformed):
        from_frame(frame)


def test_a_frame_has_a_limit() -> None:
    """A frame of the limit is read (and refused for what it says); one byte more is refused for its length [P-11.1]."""
    padding = b"x" * (FRAME_MAX_BYTES - len(b'{"fields":{},"type":""}'))
    with pytest.raises(Malformed, match="type"):
        from_frame(b'{"fields":{},"type":"' + padding + b'"}')
    with pytest.raises(Malformed, match="larger than a frame"):
        from_frame(b'{"fields":{},"type":"' + padding + b'x"}')


@settings(max_examples=300)
@given(st.sampled_from(sorted(examples())), st.data())
def test_bytes_that_were_touched_never_crash(name: str, data: st.DataObject) -> None:
    """Bytes exchanged, cut out or doubled anywhere: either Malformed, or a message that is written as those bytes."""
    frame = bytearray(to_frame(examples()[name]))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(frame) - 1))
        end = data.draw(st.integers(start, min(len(frame), start + 8)))
        token = st.sampled_from([b'"', b"{", b"[", b"-", b"0", b",", b"1"])
        frame[start:end] = data.draw(st.binary(max_size=4) | token)
    try:
        message = from_frame(bytes(frame))
    except Malformed:
        return
    assert to_frame(message) == bytes(frame)


def test_what_voters_sign_names_everything() -> None:
    """A proposal's signature covers block, height, view and what justifies it; a fraud's everything but its sender."""
    proposal, fraud = examples()["proposal, justified"], examples()["fraud"]
    assert isinstance(proposal, Proposal)
    assert isinstance(fraud, FraudNote)
    assert proposal.terms() == {"block": BLOCK.id, "height": 4, "justified": 0, "view": 3}
    assert fraud.terms() == {"attempt": 1, "entry": 5, "miner": KEY, "task": fraud.task}
    assert tuple(VoteKind) == ("notar", "skip", "final")
