"""Files between real file channels on the loopback."""

import hashlib
import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from peers import Village, arrived, closing, events_until, gather, poll_until, village, wait_connected

from fedcoin_cli.network.files.channel import PIECES, Blobs
from fedcoin_cli.network.files.download import TURN_S
from fedcoin_cli.network.files.pieces import CHUNK_BYTES, Chunk, Have, Offer, Want, from_bytes, to_bytes
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.network.files.transfers import Arrived, Delivered, Failed, Lied, TransferProgress
from fedcoin_cli.network.transport.p2p import P2P
from ledger_store.base.errors import NetworkFailure, NotFound
from ledger_store.base.names import Digest
from ledger_store.identity.keys import KeyPair

MIB = 2**20
ROOM = 2**31
# Fetches one file in a process of its own and says how much memory that took, in KiB.
FETCH = """
import resource, select, sys
from pathlib import Path
from fedcoin_cli.network.transport.admission import Admission
from fedcoin_cli.network.files.channel import Blobs
from fedcoin_cli.network.files.store import Store
from ledger_store.identity.keys import KeyPair
seed, folder, holder, endpoint, digest = sys.argv[1:]
blobs = Blobs(KeyPair(bytes.fromhex(seed)), Store(Path(folder)), {holder: endpoint})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
blobs.want([digest], each_bytes=2**31, all_bytes=2**31, holders=[holder])
select.select([blobs], [], [], 20)
events = blobs.events()
blobs.close()
print(events[0].size_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def stored(folder: Path, data: bytes) -> Digest:
    return Store(folder).put_bytes(data)


def falsified(folder: Path, digest: Digest, data: bytes) -> None:
    """A holder whose file does not have the digest of its name."""
    folder.mkdir(exist_ok=True)
    (folder / digest).write_bytes(data)


def guest(town: Village, folder: Path) -> Blobs:
    """An admitted requester's file channel, without a door."""
    key = KeyPair.generate()
    town.admission.admit([key.address])
    return Blobs(key, Store(folder), town.endpoints)


def test_a_large_file_comes_from_whoever_has_it(tmp_path: Path) -> None:
    """30 MiB: the first holder lacks it, the second gives wrong bytes and is named, the third serves."""
    town = village(4)
    data = os.urandom(30 * MIB)
    digest = stored(tmp_path / "3", data)
    falsified(tmp_path / "2", digest, data[:-1] + bytes([data[-1] ^ 1]))
    nodes = [town.blobs(index, tmp_path / str(index)) for index in range(4)]
    with closing(*nodes):
        wait_connected(nodes[0])
        nodes[0].want([digest], each_bytes=ROOM, all_bytes=ROOM, holders=[town.address(i) for i in (1, 2, 3)])
        events = events_until(nodes[0], lambda events: bool(arrived(events)))
    assert events == [Lied(town.address(2), digest), Arrived(digest, len(data))]
    assert Digest(hashlib.sha256((tmp_path / "0" / digest).read_bytes()).hexdigest()) == digest


def test_a_lying_holder_is_named_and_nothing_false_is_stored(tmp_path: Path) -> None:
    """One holder, one wrong bit: `Lied` with its address, then `Failed`, and no file."""
    town = village(2)
    data = os.urandom(MIB)
    digest = Digest(hashlib.sha256(data).hexdigest())
    falsified(tmp_path / "1", digest, bytes([data[0] ^ 1]) + data[1:])
    nodes = [town.blobs(index, tmp_path / str(index)) for index in range(2)]
    with closing(*nodes):
        nodes[0].want([digest], each_bytes=ROOM, all_bytes=ROOM, holders=[town.address(1)])
        events = events_until(nodes[0], lambda events: any(isinstance(event, Failed) for event in events))
    assert events[0] == Lied(town.address(1), digest)
    assert isinstance(events[1], Failed)
    assert not (tmp_path / "0" / digest).exists()


def test_no_holder_is_a_failure_that_new_holders_mend(tmp_path: Path) -> None:
    """After `Failed` the file is still wanted: naming one that has it brings it."""
    town = village(3)
    digest = stored(tmp_path / "2", b"table")
    nodes = [town.blobs(index, tmp_path / str(index)) for index in range(3)]
    with closing(*nodes):
        nodes[0].want([digest], each_bytes=ROOM, all_bytes=ROOM, holders=[town.address(1)])
        assert events_until(nodes[0], bool) == [Failed(digest, "a holder lacks it")]
        nodes[0].want([digest], each_bytes=ROOM, all_bytes=ROOM, holders=[town.address(2)])
        assert events_until(nodes[0], bool) == [Arrived(digest, 5)]


def test_a_holder_that_dies_midway_is_replaced(tmp_path: Path) -> None:
    """A holder gives two chunks and goes; another one brings the rest."""
    town = village(3)
    data = os.urandom(4 * MIB)
    digest = stored(tmp_path / "2", data)
    dying = P2P(town.keys[1], {}, town.door(1), PIECES)
    receiver = town.blobs(0, tmp_path / "0")
    with closing(receiver):
        receiver.want([digest], each_bytes=ROOM, all_bytes=ROOM, holders=[town.address(1)])
        for _ in range(2):
            offset = next_want(dying).offset
            dying.send(town.address(0), to_bytes(Chunk(digest, offset, len(data), part(data, offset))))
        dying.poll(100)
        dying.close()
        with closing(town.blobs(2, tmp_path / "2")):
            receiver.want([digest], each_bytes=ROOM, all_bytes=ROOM, holders=[town.address(2)])
            # Sooner than the turn of the dead one would end.
            assert arrived(events_until(receiver, bool, within_s=TURN_S - 1)) == {digest}


def part(data: bytes, offset: int) -> bytes:
    return data[offset : offset + CHUNK_BYTES]


def test_a_restarted_receiver_goes_on(tmp_path: Path) -> None:
    """What came before a restart is not asked for again."""
    town = village(2)
    data = os.urandom(10 * CHUNK_BYTES)
    digest = Digest(hashlib.sha256(data).hexdigest())
    holder = P2P(town.keys[1], {}, town.door(1), PIECES)
    with closing(holder):
        with closing(first := town.blobs(0, tmp_path)):
            first.want([digest], each_bytes=ROOM, all_bytes=ROOM, holders=[town.address(1)])
            for offset in (0, CHUNK_BYTES):
                assert next_want(holder).offset == offset
                holder.send(town.address(0), to_bytes(Chunk(digest, offset, len(data), part(data, offset))))
            poll_until(
                holder, lambda: any(path.stat().st_size == 2 * CHUNK_BYTES for path in tmp_path.iterdir())
            )
        gather([holder], lambda _: False, within_s=0.2)
        with closing(second := town.blobs(0, tmp_path)):
            second.want([digest], each_bytes=ROOM, all_bytes=ROOM, holders=[town.address(1)])
            assert next_want(holder).offset == 2 * CHUNK_BYTES


def next_want(holder: P2P) -> Want:
    """The next want that a hand-made holder gets."""
    until_s = time.monotonic() + 5
    while time.monotonic() < until_s:
        for _, frame in holder.poll(100)[0]:
            want = from_bytes(frame)
            assert isinstance(want, Want)
            return want
    raise AssertionError("no want came")


def test_a_requester_uploads_what_is_wanted_and_sees_it_delivered(tmp_path: Path) -> None:
    """Twenty files offered by a node without a door reach two miners; its progress ends at all bytes."""
    town = village(2)
    miners = [town.blobs(index, tmp_path / str(index)) for index in range(2)]
    requester = guest(town, tmp_path / "guest")
    digests = [stored(tmp_path / "guest", os.urandom(100_000)) for _ in range(20)]
    with closing(*miners, requester):
        requester.offer(digests)
        for miner in miners:
            miner.want(digests, each_bytes=100_000, all_bytes=2_000_000)
        for miner in miners:
            assert arrived(events_until(miner, lambda events: len(events) == 20)) == set(digests)
        delivered = events_until(requester, lambda events: len(events) == 40)
        assert set(delivered) == {
            Delivered(town.address(index), digest) for index in range(2) for digest in digests
        }
        assert requester.progress() == {
            town.address(index): TransferProgress(2_000_000, 2_000_000) for index in range(2)
        }


def test_an_upload_that_nobody_wants_is_not_taken(tmp_path: Path) -> None:
    """Offers and unasked chunks leave no file and no part; wanting it later takes it [P-11.25]."""
    town = village(1)
    miner = town.blobs(0, tmp_path / "miner")
    requester = guest(town, tmp_path / "guest")
    digest = stored(tmp_path / "guest", b"unasked")
    with closing(miner, requester):
        requester.offer([digest])
        assert events_until(miner, bool, within_s=0.7) == []
        assert list((tmp_path / "miner").iterdir()) == []
        miner.want([digest], each_bytes=7, all_bytes=7)
        assert events_until(miner, bool) == [Arrived(digest, 7)]


def test_unasked_chunks_are_passed_over(tmp_path: Path) -> None:
    """A guest is asked for what it offers in the right size, heard only then, and told at the end."""
    town, key = village(1), KeyPair.generate()
    town.admission.admit([key.address])
    digest = Digest(hashlib.sha256(b"bytes").hexdigest())
    miner, pusher = town.blobs(0, tmp_path), P2P(key, town.endpoints, None, PIECES)
    with closing(miner, pusher):
        miner.want([digest], each_bytes=ROOM, all_bytes=ROOM)
        pusher.send(town.address(0), to_bytes(Chunk(digest, 0, 5, b"bytes")))
        poll_until(pusher, lambda: pusher.has_room(town.address(0)))
        pusher.send(town.address(0), to_bytes(Offer(digest, ROOM + 1)))
        assert pusher.poll(300)[0] == []
        assert miner.events() == []
        pusher.send(town.address(0), to_bytes(Offer(digest, 5)))
        assert pusher.poll(5000)[0] == [(town.address(0), to_bytes(Want(digest, 0)))]
        pusher.send(town.address(0), to_bytes(Chunk(digest, 0, 5, b"bytes")))
        assert pusher.poll(5000)[0] == [(town.address(0), to_bytes(Have(digest)))]
        assert events_until(miner, bool) == [Arrived(digest, 5)]


def test_too_large_uploads_are_not_taken(tmp_path: Path) -> None:
    """The bound of each file and of all together: the third of three files of 1,000 bytes stays out [P-11.25]."""
    town = village(1)
    miner = town.blobs(0, tmp_path / "miner")
    requester = guest(town, tmp_path / "guest")
    digests = [stored(tmp_path / "guest", os.urandom(1000)) for _ in range(3)]
    large = stored(tmp_path / "guest", bytes(1001))
    with closing(miner, requester):
        miner.want([*digests, large], each_bytes=1000, all_bytes=2500)
        requester.offer([large, *digests])
        came = arrived(events_until(miner, lambda events: len(events) > 2, within_s=1.5))
    assert len(came) == 2
    assert large not in came


def test_a_file_that_is_here_already_arrives_at_once(tmp_path: Path) -> None:
    """Miners of one host share a folder: what one has, the other has, and an offer of it is answered so."""
    town = village(2)
    nodes = [town.blobs(index, tmp_path / "shared") for index in range(2)]
    requester = guest(town, tmp_path / "shared")
    digest = stored(tmp_path / "shared", b"here")
    with closing(*nodes, requester):
        requester.offer([digest], [town.address(1)])
        nodes[0].want([digest], each_bytes=ROOM, all_bytes=ROOM)
        assert events_until(nodes[0], bool) == [Arrived(digest, 4)]
        assert events_until(requester, bool) == [Delivered(town.address(1), digest)]
        nodes[1].offer([digest])
        assert events_until(nodes[1], bool) == [Delivered(town.address(0), digest)]
        assert nodes[1].progress() == {town.address(0): TransferProgress(4, 4)}


def test_a_file_that_another_process_brings_arrives(tmp_path: Path) -> None:
    """A wanted file that appears in the shared folder is noticed."""
    town = village(1)
    with closing(miner := town.blobs(0, tmp_path)):
        digest = Digest(hashlib.sha256(b"late").hexdigest())
        miner.want([digest], each_bytes=ROOM, all_bytes=ROOM)
        assert events_until(miner, bool, within_s=0.2) == []
        stored(tmp_path, b"late")
        assert events_until(miner, bool) == [Arrived(digest, 4)]


def test_forgotten_files_are_not_taken(tmp_path: Path) -> None:
    """After `forget` an offer of the file is passed over."""
    town = village(1)
    miner = town.blobs(0, tmp_path / "miner")
    requester = guest(town, tmp_path / "guest")
    digest = stored(tmp_path / "guest", b"cancelled")
    with closing(miner, requester):
        miner.want([digest], each_bytes=ROOM, all_bytes=ROOM)
        miner.forget([digest])
        requester.offer([digest])
        assert events_until(miner, bool, within_s=0.7) == []


def test_events_wake_a_poll(tmp_path: Path) -> None:
    """The descriptor is readable exactly while events wait."""
    town = village(1)
    digest = stored(tmp_path, b"x")
    with closing(miner := town.blobs(0, tmp_path)):
        assert select.select([miner], [], [], 0)[0] == []
        miner.want([digest], each_bytes=1, all_bytes=1)
        assert select.select([miner], [], [], 5)[0] == [miner]
        assert len(miner.events()) == 1
        assert select.select([miner], [], [], 0)[0] == []


def test_noise_from_a_guest_does_no_harm(tmp_path: Path) -> None:
    """10,000 frames, random or mutilated, admitted but meaningless: another still gets a file."""
    town, key, other = village(1), KeyPair.generate(), KeyPair.generate()
    town.admission.admit([key.address, other.address])
    digest = stored(tmp_path / "miner", b"still here")
    dice = random.Random(1)
    models = [
        to_bytes(Want(digest, 0)),
        to_bytes(Offer(digest, 9)),
        to_bytes(Chunk(digest, 0, 3, b"abc")),
    ]
    miner, noisy = town.blobs(0, tmp_path / "miner"), P2P(key, town.endpoints, None, PIECES)
    with closing(miner, noisy):
        for number in range(10_000):
            model = bytearray(models[number % 3])
            model[dice.randrange(len(model))] = dice.randrange(256)
            noisy.send(town.address(0), bytes(model[: dice.randrange(1, 70)]))
            if number % 50 == 0:
                poll_until(noisy, lambda: noisy.has_room(town.address(0)))
        with closing(honest := Blobs(other, Store(tmp_path / "guest"), town.endpoints)):
            honest.want([digest], each_bytes=ROOM, all_bytes=ROOM, holders=[town.address(0)])
            assert arrived(events_until(honest, bool)) == {digest}


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A process that fetches 64 MiB takes less than 24 MiB for it."""
    town, key = village(1), KeyPair.generate()
    town.admission.admit([key.address])
    digest = stored(tmp_path / "holder", os.urandom(64 * MIB))
    with closing(town.blobs(0, tmp_path / "holder")):
        arguments = [
            key.seed.hex(),
            str(tmp_path / "guest"),
            town.address(0),
            town.endpoints[town.address(0)],
            digest,
        ]
        done = subprocess.run(
            [sys.executable, "-c", FETCH, *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    size_bytes, taken_kib = map(int, done.stdout.split())
    assert size_bytes == 64 * MIB
    assert taken_kib < 24 * 1024


def test_a_full_disk_fails_the_file_and_not_the_channel(tmp_path: Path) -> None:
    """A part that cannot be written ends in `Failed` with the disk's reason; other files still come."""
    town = village(2)
    digests = [stored(tmp_path / "1", data) for data in (b"first", b"second")]
    nodes = [town.blobs(index, tmp_path / str(index)) for index in range(2)]
    with closing(*nodes):
        (tmp_path / "0" / f"{digests[0]}.{town.address(0)}.part").mkdir()
        nodes[0].want(digests, each_bytes=ROOM, all_bytes=ROOM, holders=[town.address(1)])
        events = events_until(nodes[0], lambda events: len(events) == 2)
    assert arrived(events) == {digests[1]}
    failed = next(event for event in events if isinstance(event, Failed))
    assert failed.digest == digests[0]
    assert failed.reason.startswith("the disk refused")


def test_what_is_not_in_the_store_cannot_be_offered(tmp_path: Path) -> None:
    """A missing file is the caller's mistake and said at once."""
    town = village(1)
    with closing(miner := town.blobs(0, tmp_path)), pytest.raises(NotFound):
        miner.offer([Digest("0" * 64)])


def test_a_port_in_use_is_said_before_the_thread_starts(tmp_path: Path) -> None:
    """The file channel fails as the message channel does, in the caller's thread."""
    town = village(1)
    with closing(town.blobs(0, tmp_path)), pytest.raises(NetworkFailure) as failure:
        town.blobs(0, tmp_path)
    assert "network.port" in failure.value.hint


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_file_thread_is_not_silent(tmp_path: Path) -> None:
    """A bug that ends the thread wakes its owner, and the next look at the events says so."""

    def fail() -> None:
        raise ValueError("a bug")

    town = village(1)
    with closing(miner := town.blobs(0, tmp_path)):
        miner._order(fail)
        assert select.select([miner], [], [], 5)[0] == [miner]
        with pytest.raises(NetworkFailure):
            miner.events()
