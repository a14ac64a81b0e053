"""Which files a miner's store keeps, over a real chain file and a real store."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from chains import COIN, ChainMaker, digest, key

from fedcoin_cli.application.node.fetched import Fetched
from fedcoin_cli.application.node.housekeeping import SWEEP_EVERY_S, Housekeeping
from fedcoin_cli.application.node.past_rounds import Rounds
from fedcoin_cli.contract.settlement import give_up
from fedcoin_cli.network.files.store import OLD_S, Store
from ledger_store.base.words import TaskState
from ledger_store.file.chain_file import ChainFile
from ledger_store.transaction import Close, Task

KEEP = 2


class Place:
    """A ledger and a store, to which every digest that a task names is put as a file."""

    def __init__(self, folder: Path) -> None:
        self.maker = ChainMaker(4)
        self.store = Store(folder / "store")
        (folder / "ledger").mkdir()
        self.ledger = ChainFile.create(folder / "ledger", self.maker.genesis)
        self.folders = [folder / "miner", folder / "neighbour"]
        for each in self.folders:
            each.mkdir()
        self.housekeeping = self.begin()

    def begin(self, miner: int = 0) -> Housekeeping:
        """A process of one of the two miners that share the store."""
        fetched = Fetched(self.folders[miner], self.folders)
        return Housekeeping(self.ledger, self.store, KEEP, fetched)

    def fetch(self, task: Task, housekeeping: Housekeeping | None = None) -> None:
        """What is missing is noted, then it comes."""
        (housekeeping or self.housekeeping).wanted(task)
        self.put(*task.files)

    def settle(self, *pending: Task, housekeeping: Housekeeping | None = None) -> None:
        """What must go goes."""
        for name in (housekeeping or self.housekeeping).settle(pending)[1]:
            self.store.remove(name)

    def put(self, *names: str) -> None:
        for name in names:
            (self.store.folder / name).write_bytes(b"content")

    def task(self, number: int) -> Task:
        """A signed task with a test set of its own, whose files are in the store."""
        task = self.named(digest(f"test {number}"), number)
        self.put(*task.files)
        return task

    def named(self, test: str, number: int) -> Task:
        """A signed task with this test set."""
        maker = self.maker
        updates = (
            replace(maker.update(1), digest=digest(f"update {number}")),
            replace(maker.update(2), digest=digest(f"second {number}")),
        )
        return maker.task(updates=updates, test=test)

    def round(self, number: int) -> tuple[Task, set[str]]:
        """A task from its publication to its settlement; its tables are in the store."""
        maker, task = self.maker, self.task(number)
        maker.add(task)
        tables = {miner.address: digest(f"table {number} {miner.address}") for miner in maker.miners}
        reveals = [
            maker.reveal(task, 1, miner, table=tables[miner.address])
            for miner in sorted(maker.miners, key=lambda miner: miner.address)
        ]
        self.put(*tables.values())
        maker.add(maker.close(task, reveals))
        maker.add(maker.result(task, reveals, maker.settled(task)))
        self.append()
        return task, {*task.files, *tables.values()}

    def append(self) -> None:
        for number in range(self.ledger.height, len(self.maker.blocks)):
            self.ledger.append(self.maker.blocks[number], self.maker.certificates[number])

    @property
    def held(self) -> set[str]:
        return {path.name for path in self.store.folder.iterdir()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_newest_rounds_stay(place: Place) -> None:
    """Files and tables of the newest finished tasks stay, those of the one before go; what all name stays."""
    named = []
    for number in range(4):
        named.append(place.round(number)[1])
        place.housekeeping.tidy([])
        assert place.held == set().union(*named[-KEEP:])


def test_rounds_that_end_together(place: Place) -> None:
    """Several ends between two looks, as after a catch-up, leave nothing behind; nor does a restart between them."""
    named = [place.round(number)[1] for number in range(5)]
    place.begin().tidy([])
    assert place.held == set().union(*named[-KEEP:])


def test_pending_and_unfinished_tasks_keep_their_files(place: Place) -> None:
    """A task that waits for a block, and one at work, keep their files however many end after them."""
    for number in range(3):
        place.round(number)
    waiting = place.task(7)
    place.maker.forget()
    working = place.task(8)
    place.maker.add(working)
    place.append()
    place.housekeeping.tidy([waiting])
    assert set(waiting.files) | set(working.files) <= place.held


def test_a_refused_task_leaves_nothing(place: Place) -> None:
    """Whatever made an end of it: what was fetched for it goes, except what another task needs."""
    place.round(0)
    before = place.held
    bad, good = place.named(digest("test bad"), 9), place.named(digest("test good"), 9)
    place.fetch(bad)
    place.fetch(good)
    place.settle(bad, good)
    assert set(bad.files) | set(good.files) <= place.held
    place.settle(good)
    assert place.held == before | set(good.files)
    place.settle()
    assert place.held == before


def test_a_refused_task_takes_nothing_that_was_here(place: Place) -> None:
    """A task may name tables of the attempt at work, files of a round, and what a person put there: all stay."""
    _, named = place.round(0)
    table, own, late = digest("a table at work"), digest("a person's file"), digest("a table to come")
    place.put(table, own)
    place.housekeeping.works_on([table, late])
    for number, test in enumerate((table, own, late, min(named))):
        place.fetch(place.named(test, 20 + number))
    place.settle()
    assert named | {table, own, late} == place.held


def test_files_of_a_task_that_became_final_stay(place: Place) -> None:
    """They are the ledger's from then on, whichever pending task named them first."""
    bad = place.named(digest("test"), 3)
    place.maker.forget()
    good = place.named(digest("test"), 3)
    place.fetch(bad)
    place.maker.add(good)
    place.append()
    place.settle()
    assert place.held == set(good.files)
    assert place.begin().settle(()) == (set(), set())


def test_a_restart_remembers_what_was_fetched(place: Place) -> None:
    """What an earlier process fetched for tasks that were pending goes at the next start."""
    task = place.named(digest("test"), 3)
    place.fetch(task)
    place.settle(housekeeping=place.begin())
    assert place.held == set()


def test_what_a_neighbour_still_needs_stays(place: Place) -> None:
    """Two miners share the store: a file goes when the last of them lets go, whoever fetched it."""
    task, neighbour = place.named(digest("test"), 3), place.begin(1)
    place.fetch(task)
    place.fetch(task, neighbour)
    place.settle()
    assert place.held == set(task.files)
    place.settle(housekeeping=neighbour)
    assert place.held == set()


def test_what_no_task_names_goes_when_it_is_old(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in a while a day-old file that belongs to no round is removed, a young one is not."""
    _, named = place.round(0)
    old, young = digest("a table of a failed attempt"), digest("a table of today")
    place.put(old, young)
    past_s = time.time() - OLD_S - 60
    for name in (*named, old):
        os.utime(place.store.folder / name, (past_s, past_s))
    place.housekeeping.tidy([])
    assert place.held == {*named, old, young}
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + SWEEP_EVERY_S)
    place.housekeeping.tidy([])
    assert place.held == {*named, young}


def test_tables_of_failed_attempts_are_kept_as_evidence(place: Place) -> None:
    """As long as a task is kept, or not even finished, so are the tables that any of its results names."""
    maker, task = place.maker, place.task(0)
    maker.add(task)
    tables: set[str] = set()
    for attempt in (1, 2):
        reveals = [
            maker.reveal(task, attempt, miner, table=digest(f"attempt {attempt} {miner.address}"))
            for miner in sorted(maker.miners, key=lambda miner: miner.address)
        ]
        named = [reveal.table for reveal in reveals]
        place.put(*named)
        tables |= set(named)
        for name in (*named, *task.files):
            os.utime(place.store.folder / name, (0, 0))
        maker.add(maker.close(task, reveals, attempt))
        outcome = maker.failed(task, TaskState.OPEN) if attempt == 1 else maker.settled(task)
        maker.add(maker.result(task, reveals, outcome, attempt))
        place.append()
        place.housekeeping._swept_s -= SWEEP_EVERY_S
        place.housekeeping.tidy([])
        assert place.held == {*task.files, *tables}
    for number in range(1, 1 + KEEP):
        place.round(number)
    place.housekeeping.tidy([])
    assert not tables & place.held


def test_looking_back_finds_what_following_knows(place: Place) -> None:
    """At every height who starts there knows the unfinished rounds and the newest ended as who was there all along."""
    maker = place.maker
    folder = place.folders[0] / "grown"
    folder.mkdir()
    ledger = ChainFile.create(folder, maker.genesis)
    followed = Rounds(ledger, KEEP)
    maker.add(maker.transfer(maker.requester, key("other").address, 100 * COIN))
    place.round(0)
    first, waiting = place.task(1), maker.task(sender=key("other"), attempts=1)
    maker.add(first)
    maker.add(waiting)
    for attempt in (1, 2, 3):
        reveals = [
            maker.reveal(first, attempt, miner, table=digest(f"attempt {attempt} {miner.address}"))
            for miner in sorted(maker.miners, key=lambda miner: miner.address)
        ]
        maker.add(maker.close(first, reveals, attempt))
        outcome = maker.failed(first, TaskState.OPEN if attempt < 3 else TaskState.REFUNDED)
        maker.add(maker.result(first, reveals, outcome, attempt))
    maker.add(Close(waiting.id, 1, (), give_up(maker.records[waiting.id])))
    place.round(2)
    maker.add_transfers(3)
    for block, certificate in zip(maker.blocks, maker.certificates, strict=True):
        ledger.append(block, certificate)
        followed.follow()
        started = Rounds(ledger, KEEP)
        assert started.ended == followed.ended[-KEEP:]
        assert list(started.unfinished.items()) == list(followed.unfinished.items())
        assert tuple(started.unfinished) == ledger.tip.state.queue
    assert len(followed.ended) == 4
    assert len(followed.ended[1].tables) == 12
