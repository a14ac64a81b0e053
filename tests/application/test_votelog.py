import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from chains import ChainMaker, build_chain
from children import in_child
from simulated.disks import MemoryLog

from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.consensus.amnesia import Forgotten
from fedcoin_cli.consensus.attempt import Abstained, Frozen, Opening, Stage, Started
from fedcoin_cli.protocol.message import Certified, CommitNote, Proposal, RevealNote, Vote
from fedcoin_cli.replica.records import Record
from ledger_store.base.errors import KeyFailure, StorageFailure
from ledger_store.base.names import Address, BlockId, Digest, GenesisId, MinerIndex, TaskId
from ledger_store.base.words import TaskState, VoteKind
from ledger_store.block import Certificate

KEY, GENESIS = Address("ab" * 32), GenesisId(BlockId("cd" * 32))
TASK, OTHER = TaskId("11" * 32), TaskId("22" * 32)
SIGNATURE = "ef" * 64


@pytest.fixture(scope="module")
def chain() -> ChainMaker:
    return build_chain(miners=1, blocks=6)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "votes.sqlite"


def vote(height: int, view: int = 0, kind: str = "skip") -> Vote:
    return Vote(
        VoteKind(kind), MinerIndex(0), height, view, None if kind == "skip" else BlockId(KEY), SIGNATURE
    )


def frozen(task: TaskId, number: int = 1) -> Frozen:
    return Frozen(task, number, Stage.COMMITS, (KEY, Address(GENESIS)))


def one_of_each(chain: ChainMaker) -> list[Record]:
    """Every kind of record."""
    task = chain.task()
    reveal = chain.reveal(task, 1, chain.miners[0])
    block, certificate = chain.blocks[3], chain.certificates[3]
    return [
        Proposal(MinerIndex(0), 0, block, -1, None, (), SIGNATURE),
        vote(4, 1, "notar"),
        vote(4, 1, "final"),
        vote(4, 0),
        Certified(VoteKind.NOTAR, 4, block.id, certificate, block),
        Certified(VoteKind.SKIP, 4, None, Certificate(0, ((MinerIndex(0), SIGNATURE),)), None),
        CommitNote(TASK, 1, chain.commit(TASK, 1, chain.miners[0], Digest(KEY))),
        RevealNote(TASK, 1, reveal),
        Opening(TASK, 1, reveal),
        frozen(TASK),
        Started(TASK, 1, TaskState.OPEN, 1_700_000_000_000),
        Abstained(TASK, 1),
        Forgotten(4, 1),
    ]


def test_there_is_one_of_each(chain: ChainMaker) -> None:
    """A new kind of record is tested below, or this says so."""
    assert {type(record) for record in one_of_each(chain)} == set(get_args(Record))


def test_every_record_comes_back_in_order(path: Path, chain: ChainMaker) -> None:
    """After closing and opening, the same values in the order in which they were made."""
    records = one_of_each(chain)
    with closing(VoteLog.create(path, KEY, GENESIS)) as log:
        log.append(records[:4])
        log.append(records[4:])
    with closing(VoteLog(path, KEY, GENESIS)) as log:
        assert list(log.load().records) == records
        assert log.load().decided is None


@pytest.mark.parametrize(("key", "genesis"), [("00" * 32, GENESIS), (KEY, "00" * 32)])
def test_a_log_is_bound_to_its_key_and_network(path: Path, key: str, genesis: GenesisId) -> None:
    """Another miner's log, or another network's, is refused: its votes are not this one's [P-12.8]."""
    VoteLog.create(path, KEY, GENESIS).close()
    with pytest.raises(KeyFailure) as refusal:
        VoteLog(path, key, genesis)
    assert refusal.value.where == str(path)


# Forgetting ---------------------------------------------------------------------------------------------------------


def test_deciding_forgets_what_can_never_matter_again(path: Path, chain: ChainMaker) -> None:
    """Votes up to the height and records of other tasks go; later heights and the task at work stay [P-12.9]."""
    kept: list[Record] = [vote(4), frozen(TASK)]
    with closing(VoteLog.create(path, KEY, GENESIS)) as log:
        log.append([vote(2), vote(3), *kept, frozen(OTHER)])
        log.decide(chain.blocks[2], chain.certificates[2], TASK)
        remembered = log.load()
        assert list(remembered.records) == kept
        assert remembered.decided == (chain.blocks[2], chain.certificates[2])
        log.decide(chain.blocks[3], chain.certificates[3], None)
        assert log.load().records == ()
        assert log.load().decided == (chain.blocks[3], chain.certificates[3])


def test_a_log_that_is_ahead_of_its_ledger_forgets_nothing(path: Path, chain: ChainMaker) -> None:
    """While an older copy of the ledger catches up, what the log knows of later heights and tasks stays [P-12.9]."""
    with closing(VoteLog.create(path, KEY, GENESIS)) as log:
        log.decide(chain.blocks[4], chain.certificates[4], TASK)
        log.append([vote(6), frozen(TASK)])
        before = log.load()
        for height in (1, 2, 5):
            log.decide(chain.blocks[height - 1], chain.certificates[height - 1], None)
        assert log.load() == before


def test_the_log_stays_small(path: Path, chain: ChainMaker) -> None:
    """1,000 decided heights with their votes leave files no larger than 400 did; the journal is bounded by 4 MB."""
    sizes = []
    with closing(VoteLog.create(path, KEY, GENESIS)) as log:
        template, certificate = chain.blocks[0], chain.certificates[0]
        for height in range(1, 1_001):
            block = replace(template, header=replace(template.header, height=height))
            log.append([vote(height), vote(height, 1), frozen(TASK)])
            log.decide(block, certificate, None)
            if height in (400, 1_000):
                sizes.append(sum(file.stat().st_size for file in path.parent.iterdir()))
    assert sizes[1] <= sizes[0] * 1.05
    assert sizes[1] < 5 * 2**20
    assert path.stat().st_size < 2**20


# A log that is not whole --------------------------------------------------------------------------------------------


def test_that_votes_were_lost_is_remembered(path: Path) -> None:
    """A log made where one was missing says so until the miner may vote again, whatever restarts come between.

    [P-12.10]
    """
    VoteLog.create(path, KEY, GENESIS, whole=False).close()
    with closing(VoteLog(path, KEY, GENESIS)) as log:
        assert not log.load().whole
        log.mark(whole=True)
    with closing(VoteLog(path, KEY, GENESIS)) as log:
        assert log.load().whole
        log.mark(whole=False)
    with closing(VoteLog(path, KEY, GENESIS)) as log:
        assert not log.load().whole


def test_a_new_log_takes_nothing_from_a_lost_one(path: Path) -> None:
    """SQLite's journal of a log whose main file is gone is not played into the new one."""
    old = VoteLog.create(path, KEY, GENESIS)
    old.append([vote(1)])
    journal = path.with_name(path.name + "-wal").read_bytes()
    old.close()
    path.unlink()
    path.with_name(path.name + "-wal").write_bytes(journal)
    with closing(VoteLog.create(path, KEY, GENESIS, whole=False)) as log:
        assert log.load().records == ()


def test_a_log_is_made_whole_or_not_at_all(path: Path) -> None:
    """What an interrupted creation left is no log: it is made anew, and until then there is none."""
    path.with_name(f".{path.name}.0.new").write_bytes(b"half of one")
    VoteLog.create(path, KEY, GENESIS).close()
    with closing(VoteLog(path, KEY, GENESIS)) as log:
        assert log.load().records == ()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to look at" * 100])
def test_what_is_no_log_is_told(path: Path, content: bytes) -> None:
    """An empty or foreign file is a StorageFailure with a remedy, not an error of SQLite."""
    path.write_bytes(content)
    with pytest.raises(StorageFailure) as refusal:
        VoteLog(path, KEY, GENESIS)
    assert "fedcoin repair" in refusal.value.hint


def test_a_record_that_is_none_of_ours_is_told(path: Path) -> None:
    """A damaged record is a StorageFailure when the log is read."""
    VoteLog.create(path, KEY, GENESIS).close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO said (height, task, record) VALUES (1, '', X'7B7D7D')")
    with closing(VoteLog(path, KEY, GENESIS)) as log, pytest.raises(StorageFailure, match="cannot be read"):
        log.load()


# Crashes and full disks ---------------------------------------------------------------------------------------------

_WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from chains import build_chain
from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.protocol.message import Vote

chain = build_chain(miners=1, blocks=1)
log = VoteLog(Path(sys.argv[1]), "ab" * 32, "cd" * 32)
block, certificate = chain.blocks[0], chain.certificates[0]
print("ready", flush=True)
for height in range(1, 100_000):
    votes = [Vote("skip", 0, height, view, None, "ef" * 64) for view in (0, 1)]
    log.append(votes)
    print("said", height, flush=True)
    log.decide(replace(block, header=replace(block.header, height=height)), certificate, None)
    print("decided", height, flush=True)
"""


def test_a_kill_loses_nothing_that_was_acknowledged(path: Path) -> None:
    """SIGKILL anywhere between append and decide: batches are whole, and what returned before it is there [P-12.8]."""
    VoteLog.create(path, KEY, GENESIS).close()
    draw = random.Random(7)
    furthest = 0
    for _ in range(8):
        last = killed_writer(path, draw.uniform(0.0, 0.15))
        with closing(VoteLog(path, KEY, GENESIS)) as log:
            remembered = log.load()
        decided = remembered.decided[0].height if remembered.decided is not None else 0
        views = [record.view for record in remembered.records if isinstance(record, Vote)]
        assert decided >= last.get("decided", 0)
        assert views in ([], [0, 1])
        said = last.get("said", 0)
        heights = {record.height for record in remembered.records if isinstance(record, Vote)}
        assert said <= decided or heights == {said}
        furthest = max(furthest, decided)
        path.unlink()
        VoteLog.create(path, KEY, GENESIS).close()
    assert furthest > 3


def killed_writer(path: Path, seconds: float) -> dict[str, int]:
    """Let a child write for a while, kill it; the last heights that it acknowledged."""
    tests = str(Path(__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), tests], stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(seconds)
        os.kill(child.pid, signal.SIGKILL)
        lines = [line.split() for line in child.stdout.read().split("\n")[:-1]]
    return {words[0]: int(words[1]) for words in lines if len(words) == 2}


def test_a_full_disk_stops_the_miner_and_loses_nothing(path: Path) -> None:
    """The refused write is a StorageFailure with a hint; what was acknowledged before it is still there."""
    VoteLog.create(path, KEY, GENESIS).close()

    def fill() -> str:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        log = VoteLog(path, KEY, GENESIS)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        height = 0
        try:
            while True:
                log.append([vote(height + 1, view) for view in range(50)])
                height += 1
        except StorageFailure as failure:
            return f"{height} {failure.message}; {failure.where}; {failure.hint}"

    said, _, told = in_child(fill).partition(" ")
    assert told.startswith("the vote log cannot be written")
    assert "free some space" in told
    with closing(VoteLog(path, KEY, GENESIS)) as log:
        heights = [record.height for record in log.load().records if isinstance(record, Vote)]
    assert heights == [height for height in range(1, int(said) + 1) for _ in range(50)]
    assert int(said) > 0


# The simulator's twin -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_twin_in_memory_keeps_and_forgets_alike(path: Path, chain: ChainMaker, seed: int) -> None:
    """Any order of appends, decisions and marks leaves both logs with the same memory."""
    draw = random.Random(seed)
    twin = MemoryLog(lambda: None)
    with closing(VoteLog.create(path, KEY, GENESIS)) as log:
        for _ in range(30):
            what = draw.randrange(3)
            number = draw.randint(1, 6)
            if what == 0:
                records = [draw.choice(one_of_each(chain)), vote(number), frozen(draw.choice((TASK, OTHER)))]
                log.append(records)
                twin.append(records)
            elif what == 1:
                task = draw.choice((None, TASK, OTHER))
                log.decide(chain.blocks[number - 1], chain.certificates[number - 1], task)
                twin.decide(chain.blocks[number - 1], chain.certificates[number - 1], task)
            else:
                whole = draw.random() < 0.5
                log.mark(whole=whole)
                twin.mark(whole=whole)
            assert log.load() == twin.load()
