"""One file on its way here, driven by hand: sources, turns, lies. Time is an argument."""

import hashlib
from pathlib import Path

import pytest

from fedcoin_cli.network.files.download import (
    STALL_S,
    TURN_ALONE_S,
    TURN_S,
    WINDOW_CHUNKS,
    Budget,
    Download,
    DownloadOutcome,
    Grant,
)
from fedcoin_cli.network.files.pieces import CHUNK_BYTES, Chunk, Want
from fedcoin_cli.network.files.store import Store
from ledger_store.base.names import Address, Digest

ME = Address("me")
A_ADDRESS = Address("a")
B = Address("b")
LIAR = Address("liar")
HONEST = Address("honest")

DATA = bytes(range(256)) * 1024 + b"end"
DIGEST = Digest(hashlib.sha256(DATA).hexdigest())
LARGE = 2**30


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def download(store: Store, *sources: str, most_bytes: int = LARGE, budget: Budget | None = None) -> Download:
    grant = Grant(most_bytes, budget or Budget(LARGE))
    made = Download(DIGEST, grant, lambda: store.partial(DIGEST, ME))
    made.add(map(Address, sources))
    return made


def chunk(want: Want, data: bytes = DATA) -> Chunk:
    """What a holder of `data` answers."""
    offset = min(want.offset, len(data))
    return Chunk(DIGEST, offset, len(data), data[offset : offset + CHUNK_BYTES])


def pull(
    made: Download, source: Address, data: bytes = DATA, chunks: int = 1000, now_s: float = 0.0
) -> DownloadOutcome:
    """Let a source serve up to `chunks` of its wants."""
    wants = [made.begin(source, now_s)]
    outcome = DownloadOutcome.MORE
    while wants and outcome is DownloadOutcome.MORE and chunks:
        outcome = made.take(chunk(wants.pop(0), data), now_s)
        chunks -= 1
        if outcome is DownloadOutcome.MORE:
            wants += made.wants()
    return outcome


def test_a_whole_file_from_one_source(store: Store) -> None:
    """Five chunks, the last one short, end in the store under their digest."""
    assert pull(download(store, "a"), A_ADDRESS) is DownloadOutcome.DONE
    assert store.path(DIGEST).read_bytes() == DATA


def test_an_empty_file_is_a_file(store: Store) -> None:
    """Zero bytes come as one empty chunk."""
    empty = hashlib.sha256(b"").hexdigest()
    made = Download(Digest(empty), Grant(LARGE, Budget(LARGE)), lambda: store.partial(Digest(empty), ME))
    made.add([A_ADDRESS])
    made.begin(A_ADDRESS, 0.0)
    assert made.take(Chunk(Digest(empty), 0, 0, b""), 0.0) is DownloadOutcome.DONE
    assert store.size(Digest(empty)) == 0


def test_credit_is_a_window(store: Store) -> None:
    """The first want asks for the size; then eight chunks are asked for ahead of what came, and no more [P-11.26]."""
    total = 100 * CHUNK_BYTES
    made = download(store, "a")
    made.begin(A_ADDRESS, 0.0)
    assert made.wants() == []
    made.take(Chunk(DIGEST, 0, total, bytes(CHUNK_BYTES)), 0.0)
    offsets = [want.offset for want in made.wants()]
    assert offsets == [index * CHUNK_BYTES for index in range(1, 1 + WINDOW_CHUNKS)]
    assert made.wants() == []


def test_another_source_goes_on_where_the_first_stopped(store: Store) -> None:
    """Nothing is asked for twice when a peer falls silent."""
    made = download(store, "a", "b")
    pull(made, A_ADDRESS, chunks=2)
    assert not made.is_overdue(TURN_S)
    assert made.is_overdue(TURN_S + 0.1)
    made.leave()
    assert made.begin(B, 10.0).offset == 2 * CHUNK_BYTES
    assert made.take(chunk(Want(DIGEST, 2 * CHUNK_BYTES)), 10.0) is DownloadOutcome.MORE


def test_the_only_source_is_left_when_silent_not_when_slow(store: Store) -> None:
    """Without anyone else waiting a turn has no end, as long as something comes."""
    made = download(store, "a")
    want = made.begin(A_ADDRESS, 0.0)
    for step in range(1, 4):
        assert not made.is_overdue(step * (STALL_S - 1))
        made.take(chunk(want), step * (STALL_S - 1))
        want = (made.wants() or [want])[0]
    assert made.is_overdue(3 * (STALL_S - 1) + STALL_S + 0.1)


def test_a_source_that_gave_something_has_another_turn(store: Store) -> None:
    """Turned away at the end of its turn, it waits again; one that gave nothing does not."""
    made = download(store, "a", "b")
    pull(made, A_ADDRESS, chunks=1)
    made.leave()
    assert list(made.waiting) == ["b", "a"]
    made.begin(B, 0.0)
    made.leave()
    assert list(made.waiting) == ["a"]


def test_a_single_giver_of_wrong_bytes_is_the_liar(store: Store) -> None:
    """It is not asked again, and what it gave is gone."""
    made = download(store, "a")
    assert pull(made, A_ADDRESS, DATA[:-1] + b"!") is DownloadOutcome.LIE
    assert made.blame() == "a"
    made.add([A_ADDRESS, B])
    assert list(made.waiting) == ["b"]
    assert pull(made, B) is DownloadOutcome.DONE


def test_of_several_givers_each_is_asked_alone(store: Store) -> None:
    """Wrong bytes from two: nobody is blamed yet, both are asked from offset 0, and that finds the liar."""
    wrong = b"!" + DATA[1:]
    made = download(store, "liar", "honest")
    pull(made, LIAR, wrong, chunks=1)
    made.leave()
    assert pull(made, HONEST) is DownloadOutcome.MIXED
    made.start_over()
    assert sorted(made.waiting) == ["honest", "liar"]
    assert pull(made, LIAR, wrong) is DownloadOutcome.LIE
    made.blame()
    assert pull(made, HONEST) is DownloadOutcome.DONE
    assert store.path(DIGEST).read_bytes() == DATA


def test_alone_a_source_starts_from_nothing_and_has_one_longer_turn(store: Store) -> None:
    """What a silent source left is not mixed into the next one's, and it is not asked again in this round."""
    made = download(store, "a", "b")
    pull(made, A_ADDRESS, b"!" + DATA[1:], chunks=1)
    made.leave()
    pull(made, B)
    made.start_over()
    pull(made, A_ADDRESS, chunks=2, now_s=100.0)
    assert not made.is_overdue(100.0 + TURN_S + 1)
    made.take(chunk(Want(DIGEST, 2 * CHUNK_BYTES)), 100.0 + TURN_ALONE_S)
    assert made.is_overdue(100.0 + TURN_ALONE_S + 0.1)
    made.leave()
    assert list(made.waiting) == ["b"]
    assert made.begin(B, 0.0).offset == 0


def test_bytes_of_an_earlier_process_blame_nobody(store: Store) -> None:
    """A part that was left by another run may be wrong; the source that completes it is innocent."""
    part = store.partial(DIGEST, ME)
    part.append(b"!" * CHUNK_BYTES)
    part.close()
    made = download(store, "a")
    assert pull(made, A_ADDRESS) is DownloadOutcome.MIXED
    made.start_over()
    assert pull(made, A_ADDRESS) is DownloadOutcome.DONE


def test_a_part_that_is_too_long_does_not_stay_in_the_way(store: Store) -> None:
    """A liar that gave more bytes than the file has is found, though honest holders end before that."""
    made = download(store, "liar", "honest")
    pull(made, LIAR, DATA * 2, chunks=6)
    made.leave()
    assert pull(made, HONEST) is DownloadOutcome.MIXED
    made.start_over()
    assert pull(made, HONEST) is DownloadOutcome.DONE


def test_a_size_that_changes_is_a_lie(store: Store) -> None:
    """A source that says another total in its second chunk is turned away."""
    made = download(store, "a")
    want = made.begin(A_ADDRESS, 0.0)
    made.take(chunk(want), 0.0)
    assert made.take(chunk(made.wants()[0], DATA + b"more"), 0.0) is DownloadOutcome.LIE


def test_chunks_out_of_order_change_nothing(store: Store) -> None:
    """A repeated or early chunk is passed over."""
    made = download(store, "a")
    want = made.begin(A_ADDRESS, 0.0)
    made.take(chunk(want), 0.0)
    wants = made.wants()
    assert made.take(chunk(wants[1]), 0.0) is DownloadOutcome.MORE
    assert made.take(chunk(want), 0.0) is DownloadOutcome.MORE
    assert made.take(chunk(wants[0]), 0.0) is DownloadOutcome.MORE
    assert made.wants()[-1:] == []
    assert pull_rest(made, wants[1:]) is DownloadOutcome.DONE


def pull_rest(made: Download, wants: list[Want]) -> DownloadOutcome:
    outcomes = [made.take(chunk(want), 0.0) for want in wants]
    return outcomes[-1]


def test_too_large_a_file_is_refused_before_its_bytes(store: Store) -> None:
    """The bound of a file and the bound of a group hold by the size that the source claims."""
    assert pull(download(store, "a", most_bytes=len(DATA) - 1), A_ADDRESS) is DownloadOutcome.REFUSED
    assert pull(download(store, "a", budget=Budget(len(DATA) - 1)), A_ADDRESS) is DownloadOutcome.REFUSED
    assert not store.has(DIGEST)
    assert store.partial(DIGEST, ME).size == 0


def test_a_budget_is_spent_by_files_not_by_claims(store: Store) -> None:
    """What a liar claimed is given back; what arrived is not."""
    budget = Budget(len(DATA) + 10)
    made = download(store, "liar", "honest", budget=budget)
    pull(made, LIAR, DATA + b"!" * 10)
    assert budget.left_bytes == 0
    made.blame()
    assert budget.left_bytes == len(DATA) + 10
    assert pull(made, HONEST) is DownloadOutcome.DONE
    assert budget.left_bytes == 10


def test_a_forgotten_file_leaves_nothing(store: Store) -> None:
    """Giving up deletes the part and frees the budget."""
    budget = Budget(len(DATA))
    made = download(store, "a", budget=budget)
    pull(made, A_ADDRESS, chunks=2)
    made.abandon()
    assert list(store.folder.iterdir()) == []
    assert budget.left_bytes == len(DATA)
