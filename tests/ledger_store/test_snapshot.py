"""Snapshots: opening a long ledger with one gives what folding every block gives; a bad one changes nothing."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from chains import COIN, ChainMaker, build_chain, key

from ledger_store.audit.audit import audit
from ledger_store.base.canonical import digest
from ledger_store.base.errors import LedgerInvalid
from ledger_store.base.words import TaskState
from ledger_store.block import Block
from ledger_store.chain import Tip, replay
from ledger_store.file import chain_file
from ledger_store.file.chain_file import CHAIN_NAME, SNAPSHOT_BLOCKS, ChainFile, ChainReader
from ledger_store.file.snapshot import SNAPSHOT_NAME, Seal, Snapshot, claimed, read_snapshot
from ledger_store.genesis import Genesis
from ledger_store.state import State

TAIL = 20
OWNER = key("owner")


def seal_of(folder: Path) -> Seal:
    """The seal of the miner whose ledger lies in the folder."""
    return Seal(OWNER, Genesis.from_line((folder / CHAIN_NAME).read_bytes().partition(b"\n")[0]))


@pytest.fixture(scope="module")
def maker() -> ChainMaker:
    """A chain that is long enough: rounds that pay and one that refunds, transfers, a task at work at the end."""
    maker = ChainMaker(4)
    first = maker.add_round()
    maker.add_round(maker.failed(first, TaskState.REFUNDED), attempts=1)
    maker.add_transfers(SNAPSHOT_BLOCKS - len(maker.blocks) - 2)
    last = maker.task()
    maker.add(last)
    maker.add(maker.close(last, maker.reveals(last)))
    maker.add_transfers(TAIL)
    return maker


@pytest.fixture
def ledger(maker: ChainMaker, ram: Path) -> Path:
    """The chain up to the height of a snapshot, which opening it for writing makes; then the rest."""
    (ram / CHAIN_NAME).write_bytes(b"".join(maker.lines()[: SNAPSHOT_BLOCKS + 1]))
    ChainFile.open_for_writing(ram, seal_of(ram)).close()
    assert (ram / SNAPSHOT_NAME).exists()
    maker.write(ram)
    return ram


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The heights of the blocks that opening a ledger folds."""
    heights: list[int] = []

    def noted(tip: Tip, block: Block) -> Tip:
        heights.append(block.height)
        return replay(tip, block)

    monkeypatch.setattr(chain_file, "replay", noted)
    return heights


def in_order(state: State) -> tuple[list[tuple[str, int]], list[tuple[str, int]], list[str]]:
    """What equality of mappings does not see."""
    return list(state.balances.items()), list(state.sequences.items()), list(state.tasks)


def test_only_the_rest_is_folded(ledger: Path, maker: ChainMaker, folded: list[int]) -> None:
    """With a snapshot the tip is the same in every respect, and only the blocks behind it were folded."""
    with ChainReader(ledger, seal_of(ledger)) as reader:
        assert folded == list(range(SNAPSHOT_BLOCKS + 1, SNAPSHOT_BLOCKS + TAIL + 1))
        assert reader.tip == maker.tip
        assert in_order(reader.tip.state) == in_order(maker.tip.state)
        assert [block.id for block in reader.blocks()] == [block.id for block in maker.blocks]
        assert reader.before is not None
        assert reader.before.certificate == maker.certificates[-2]


def test_a_missing_one_changes_nothing(ledger: Path, maker: ChainMaker, folded: list[int]) -> None:
    """Without it every block is folded, and the tip is the same."""
    (ledger / SNAPSHOT_NAME).unlink()
    with ChainReader(ledger, seal_of(ledger)) as reader:
        assert len(folded) == len(maker.blocks)
        assert reader.tip == maker.tip


def test_a_damaged_one_is_passed_over(ledger: Path, maker: ChainMaker) -> None:
    """Cut anywhere, or with any byte of it altered, it is no snapshot."""
    path = ledger / SNAPSHOT_NAME
    data = path.read_bytes()
    places = [*range(0, len(data) - 1, 997), 0, 63, 64, 65, len(data) - 2]
    for place in places:
        path.write_bytes(data[:place])
        assert read_snapshot(ledger, maker.genesis, seal_of(ledger)) is None
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert read_snapshot(ledger, maker.genesis, seal_of(ledger)) is None
    with ChainReader(ledger, seal_of(ledger)) as reader:
        assert reader.tip == maker.tip


def test_a_foreign_one_is_passed_over(ledger: Path, maker: ChainMaker, folded: list[int]) -> None:
    """A snapshot of another network, or of another chain of the same network, is not used [P-13.15]."""
    other = ChainMaker(4, supply_micro=10**5 * COIN)
    Snapshot("0" * 64, other.tip.state).save(ledger, seal_of(ledger))
    assert read_snapshot(ledger, maker.genesis, seal_of(ledger)) is None

    rival = build_chain(4, 5)
    assert rival.genesis == maker.genesis
    rival.add(rival.transfer(rival.requester, key("rival").address, COIN))
    Snapshot(digest(b"".join(rival.lines())), rival.tip.state).save(ledger, seal_of(ledger))
    assert read_snapshot(ledger, maker.genesis, seal_of(ledger)) is not None
    with ChainReader(ledger, seal_of(ledger)) as reader:
        assert len(folded) == len(maker.blocks)
        assert reader.tip == maker.tip


def test_one_that_makes_money_is_passed_over(ledger: Path, maker: ChainMaker) -> None:
    """Sealed well but with a coin too much, it is no snapshot."""
    good = read_snapshot(ledger, maker.genesis, seal_of(ledger))
    assert good is not None
    rich = {**good.state.balances, key("thief").address: COIN}
    Snapshot(good.chain, replace(good.state, balances=rich)).save(ledger, seal_of(ledger))
    assert read_snapshot(ledger, maker.genesis, seal_of(ledger)) is None


def test_damage_behind_a_snapshot_is_still_named(ledger: Path) -> None:
    """A bit that flips in a block which the snapshot covers is found when the ledger is opened, with its height."""
    path = ledger / CHAIN_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    lines[100] = lines[100].replace(b'"amount_micro":1000000', b'"amount_micro":1000001')
    path.write_bytes(b"".join(lines))
    with pytest.raises(LedgerInvalid, match="height 100"):
        ChainReader(ledger, seal_of(ledger))


def test_a_chain_that_was_cut_is_not_lengthened(ledger: Path, maker: ChainMaker) -> None:
    """A chain file that ends below the height of the snapshot is what the file says."""
    (ledger / CHAIN_NAME).write_bytes(b"".join(maker.lines()[:11]))
    with ChainReader(ledger, seal_of(ledger)) as reader:
        assert reader.height == 10


def test_appending_keeps_them(maker: ChainMaker, ram: Path, folded: list[int]) -> None:
    """A writer that is never closed leaves a snapshot every so many blocks; a refusing disk does not stop it."""
    (ram / CHAIN_NAME).write_bytes(b"".join(maker.lines()[: SNAPSHOT_BLOCKS - 1]))
    (ram / SNAPSHOT_NAME).mkdir()
    writer = ChainFile.open_for_writing(ram, seal_of(ram))
    for number in range(SNAPSHOT_BLOCKS - 2, SNAPSHOT_BLOCKS + 1):
        writer.append(maker.blocks[number], maker.certificates[number])
    assert writer.height == SNAPSHOT_BLOCKS + 1
    (ram / SNAPSHOT_NAME).rmdir()
    writer.close()
    ChainFile.open_for_writing(ram, seal_of(ram)).close()
    folded.clear()
    with ChainReader(ram, seal_of(ram)) as reader:
        assert folded == []
        assert reader.before is None
        assert reader.height == SNAPSHOT_BLOCKS + 1


def lie(ledger: Path, maker: ChainMaker, seal: Seal) -> None:
    """Swap the balances of two accounts in the snapshot, and seal it."""
    good = claimed(ledger, maker.genesis)
    assert good is not None
    swapped = dict(good.state.balances)
    first, second = list(swapped)[:2]
    swapped[first], swapped[second] = swapped[second], swapped[first]
    Snapshot(good.chain, replace(good.state, balances=swapped)).save(ledger, seal)


def test_an_edited_one_moves_no_coin(ledger: Path, maker: ChainMaker, folded: list[int]) -> None:
    """Whoever edits a snapshot cannot seal it: its miner folds every block and says that it passed one over.

    [P-13.15]
    """
    for seal in (
        Seal(key("thief"), maker.genesis),
        Seal(OWNER, ChainMaker(4, supply_micro=COIN * 10**5).genesis),
    ):
        lie(ledger, maker, seal)
        folded.clear()
        with ChainReader(ledger, seal_of(ledger)) as reader:
            assert reader.ignored_snapshot
            assert len(folded) == len(maker.blocks)
            assert reader.tip.state.balances == maker.tip.state.balances


def test_who_has_no_seal_believes_none(ledger: Path, maker: ChainMaker, folded: list[int]) -> None:
    """A reader of somebody else's ledger folds for itself, however well its snapshot is sealed [P-13.15]."""
    lie(ledger, maker, seal_of(ledger))
    with ChainReader(ledger) as reader:
        assert not reader.ignored_snapshot
        assert len(folded) == len(maker.blocks)
        assert reader.tip.state.balances == maker.tip.state.balances


def test_the_audit_compares_it(ledger: Path, maker: ChainMaker) -> None:
    """A snapshot that lies leaves what the audit says of the ledger as it is, and is told, whoever sealed it.

    [P-13.18]
    """
    true = audit(ledger / CHAIN_NAME, 2)
    assert true.ok
    lie(ledger, maker, seal_of(ledger))
    found = audit(ledger / CHAIN_NAME, 2)
    assert [(one.code, one.height, one.file) for one in found.findings] == [
        ("E304", SNAPSHOT_BLOCKS, SNAPSHOT_NAME)
    ]
    assert (found.height, found.head, found.certified_to) == (true.height, true.head, true.certified_to)
    assert "balances of 2 accounts" in found.findings[0].message


def test_what_is_no_snapshot_is_not_read(ledger: Path, maker: ChainMaker) -> None:
    """Neither a pipe nor a file that is longer than any snapshot of this chain stops or fills a reader."""
    path = ledger / SNAPSHOT_NAME
    path.unlink()
    os.mkfifo(path)
    assert claimed(ledger, maker.genesis) is None
    path.unlink()
    path.touch()
    os.truncate(path, 200 * 2**30)
    assert claimed(ledger, maker.genesis) is None
    assert audit(ledger / CHAIN_NAME, 2).ok
