"""Frames between real nodes on the loopback."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from peers import HOST, closing, connect, free_port, gather, village

from fedcoin_cli.network.transport import sockets
from fedcoin_cli.network.transport.admission import Admission
from fedcoin_cli.network.transport.base import Door
from fedcoin_cli.network.transport.p2p import MESSAGES, P2P
from fedcoin_cli.protocol.frame import FRAME_MAX_BYTES
from ledger_store.base.errors import ExitCode, NetworkFailure
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair

ECHO = """
import sys
from fedcoin_cli.network.transport.admission import Admission
from fedcoin_cli.network.transport.base import Door
from fedcoin_cli.network.transport.p2p import P2P
from ledger_store.identity.keys import KeyPair
seed, port, friend, endpoint = sys.argv[1:]
node = P2P(KeyPair(bytes.fromhex(seed)), {friend: endpoint}, Door("127.0.0.1", int(port), Admission([friend])))
while True:
    for sender, frame in node.poll(1000)[0]:
        node.send(sender, b"echo " + frame)
"""


@contextmanager
def echo_process(key: KeyPair, port: int, friend: str, endpoint: str) -> Iterator[None]:
    """A node in a process of its own that sends back what it gets; killed by SIGKILL at the end."""
    process = subprocess.Popen([sys.executable, "-c", ECHO, key.seed.hex(), str(port), friend, endpoint])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def answered(node: P2P, address: Address, frame: bytes, within_s: float = 8.0) -> bool:
    """Whether repeating a frame brings its echo: what is lost is sent again, as the protocol does."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        node.send(address, frame)
        if (address, b"echo " + frame) in node.poll(100)[0]:
            return True
    return False


def test_three_nodes_exchange_frames() -> None:
    """What one broadcasts reaches the other two under its address, in order, and itself never."""
    town = village(3)
    nodes = [town.node(index) for index in range(3)]
    with closing(*nodes):
        for index, node in enumerate(nodes):
            assert set(node.peers()) == {town.address(other) for other in {0, 1, 2} - {index}}
            node.broadcast(b"first from %d" % index)
            node.broadcast(b"second from %d" % index)
        received = gather(nodes, lambda received: all(len(frames) == 4 for frames in received))
    for index, frames in enumerate(received):
        for other in {0, 1, 2} - {index}:
            said = [frame for sender, frame in frames if sender == town.address(other)]
            assert said == [b"first from %d" % other, b"second from %d" % other]


def test_a_requester_is_answered_on_its_own_connection() -> None:
    """An admitted guest without a door asks a miner, and the answer comes back under the miner's address."""
    town, guest = village(1), KeyPair.generate()
    town.admission.admit([guest.address])
    miner, requester = town.node(0), town.guest(guest)
    with closing(miner, requester):
        assert not miner.send(guest.address, b"not connected yet")
        requester.send(town.address(0), b"question")
        assert gather([miner, requester], lambda received: bool(received[0]))[0] == [
            (guest.address, b"question")
        ]
        assert miner.send(guest.address, b"answer")
        received = gather([miner, requester], lambda received: bool(received[1]))
    assert received[1] == [(town.address(0), b"answer")]


def test_an_unknown_key_gets_nothing_in() -> None:
    """A stranger's handshake is refused: no frame arrives, and its own state says denied [P-11.4]."""
    town = village(1)
    miner, stranger = town.node(0), town.guest(KeyPair.generate())
    with closing(miner, stranger):
        stranger.send(town.address(0), b"let me in")
        denied = lambda _: stranger.peers()[town.address(0)].denied  # noqa: E731
        assert gather([miner, stranger], denied)[0] == []
        assert stranger.peers()[town.address(0)].denied
        assert not stranger.peers()[town.address(0)].connected


def test_a_denied_client_gets_in_once_it_is_admitted() -> None:
    """Its first coin admits an account; the client that was refused connects again by itself."""
    town, guest = village(1), KeyPair.generate()
    miner, requester = town.node(0), town.guest(guest)
    with closing(miner, requester):
        requester.send(town.address(0), b"hello")
        gather([miner, requester], lambda _: requester.peers()[town.address(0)].denied)
        town.admission.admit([guest.address])
        received = gather([miner, requester], lambda received: bool(received[0]))
        assert received[0] == [(guest.address, b"hello")]
        assert requester.peers()[town.address(0)].connected


def test_a_guest_that_is_no_longer_admitted_is_not_heard() -> None:
    """Spending the last coin ends what an open connection may say."""
    town, guest = village(1), KeyPair.generate()
    town.admission.admit([guest.address])
    miner, requester = town.node(0), town.guest(guest)
    with closing(miner, requester):
        connect(requester, miner)
        town.admission.admit([])
        requester.send(town.address(0), b"still here?")
        closed = lambda _: not requester.peers()[town.address(0)].connected  # noqa: E731
        assert gather([miner, requester], closed)[0] == []
        assert not requester.peers()[town.address(0)].connected


def test_frames_for_a_peer_that_is_away_wait_and_the_oldest_go() -> None:
    """Sending to nobody never blocks; the newest 200 frames arrive in order once the peer is there."""
    town = village(2)
    first = town.node(0)
    with closing(first):
        for number in range(1000):
            first.send(town.address(1), b"%d" % number)
        assert first.peers()[town.address(1)].dropped == 800
        second = town.node(1)
        with closing(second):
            received = gather([first, second], lambda received: len(received[1]) == 200)
    assert [frame for _, frame in received[1]] == [b"%d" % number for number in range(800, 1000)]


def test_a_peer_that_does_not_read_blocks_nobody() -> None:
    """Far more than all queues hold is sent at once; the sender goes on, and the newest frame arrives."""
    town = village(2)
    first, second = town.node(0), town.node(1)
    with closing(first, second):
        connect(first, second)
        for number in range(2000):
            first.send(town.address(1), b"%06d" % number + bytes(20_000))
            first.poll(0)
        assert first.peers()[town.address(1)].dropped > 0
        last = b"%06d" % 1999 + bytes(20_000)
        received = gather([first, second], lambda received: (town.address(0), last) in received[1])
    numbers = [int(frame[:6]) for _, frame in received[1]]
    assert numbers[-1] == 1999
    assert numbers == sorted(set(numbers))


def test_waiting_frames_leave_as_soon_as_there_is_room() -> None:
    """While a sender sits in one long poll, what waited goes out as fast as the other side reads."""
    town = village(2)
    miner, other = town.node(0), town.node(1)
    with closing(miner, other):
        connect(other, miner)
        for number in range(100):
            other.send(town.address(0), b"%03d" % number + bytes(200_000))
        assert not other.has_room(town.address(0))
        waiting = threading.Thread(target=other.poll, args=[2000])
        waiting.start()
        received = gather([miner], lambda received: len(received[0]) == 100, within_s=1.9)
        waiting.join()
    assert [int(frame[:3]) for _, frame in received[0]] == list(range(100))


def test_guests_are_weighed_and_members_are_not() -> None:
    """Of 20 MB at once a guest's first two are read, whatever their number; a miner's all [P-11.12]."""
    town, guest = village(2), KeyPair.generate()
    town.admission.admit([guest.address])
    miner, other, requester = town.node(0), town.node(1), town.guest(guest)
    with closing(miner, other, requester):
        connect(other, miner)
        connect(requester, miner)
        for sender in (other, requester):
            for number in range(100):
                sender.send(town.address(0), b"%03d" % number + bytes(200_000))
        received = gather(
            [miner, other, requester],
            lambda received: sum(sender == town.address(1) for sender, _ in received[0]) == 100,
        )
        weighed = sum(len(frame) for sender, frame in received[0] if sender == guest.address)
    assert 10**6 < weighed < 2**21 + 2**18 * 60


def test_the_largest_frame_arrives() -> None:
    """Encryption does not push a frame of the allowed size over ZeroMQ's limit."""
    town = village(2)
    first, second = town.node(0), town.node(1)
    with closing(first, second):
        frame = os.urandom(FRAME_MAX_BYTES)
        first.send(town.address(1), frame)
        received = gather([first, second], lambda received: bool(received[1]))
        assert received[1] == [(town.address(0), frame)]


def test_a_restarted_peer_is_found_again_on_its_port() -> None:
    """A node process is killed by SIGKILL; the one that takes its place hears us and we hear it."""
    town = village(2)
    with closing(node := P2P(town.keys[0], town.endpoints, town.door(0))):
        for life in (b"first life", b"second life"):
            with echo_process(town.keys[1], town.ports[1], town.address(0), town.endpoints[town.address(0)]):
                assert answered(node, town.address(1), life)
            gather([node], lambda _: not node.peers()[town.address(1)].connected)
            assert not node.peers()[town.address(1)].connected


def test_a_peer_that_is_heard_again_is_called_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the pause between attempts has grown: its first word ends it."""
    monkeypatch.setattr(sockets, "RECONNECT_MS", (60_000, 60_000))
    town = village(2)
    with closing(first := town.node(0)):
        first.send(town.address(1), b"are you there?")
        first.poll(300)
        with closing(second := town.node(1)):
            second.send(town.address(0), b"I am back")
            received = gather([first, second], lambda received: bool(received[1]))
    assert received == [[(town.address(1), b"I am back")], [(town.address(0), b"are you there?")]]


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "127.0.0.1"])  # noqa: S104
def test_a_node_may_listen_everywhere(host: str) -> None:
    """The self-test finds the door whichever way `network.bind` names it."""
    with closing(node := P2P(KeyPair.generate(), {}, Door(host, 0, Admission([])))):
        assert node.port


def test_poll_wakes_for_a_descriptor_of_the_caller() -> None:
    """A readable pipe ends the wait long before its time, and an unreadable one is not named."""
    town = village(1)
    pipes = [os.pipe(), os.pipe()]
    with closing(node := town.node(0)):
        os.write(pipes[1][1], b"!")
        begun_s = time.monotonic()
        frames, ready = node.poll(5000, [read for read, _ in pipes])
        waited_s = time.monotonic() - begun_s
    assert (frames, ready) == ([], [pipes[1][0]])
    assert waited_s < 5
    for descriptor in (*pipes[0], *pipes[1]):
        os.close(descriptor)


def test_poll_without_news_lasts_its_time() -> None:
    """Neither handshakes nor the watching of connections make a poll return before its time."""
    town = village(2)
    first, second = town.node(0), town.node(1)
    with closing(first, second):
        connect(first, second)
        begun_s = time.monotonic()
        assert first.poll(350) == ([], [])
        assert time.monotonic() - begun_s >= 0.35


def test_a_flood_is_cut_and_others_are_heard() -> None:
    """A peer that sends far beyond its allowance is heard up to it; another one's frames all arrive."""
    town = village(3)
    nodes = [town.node(index) for index in range(3)]
    flood = 4 * MESSAGES.burst_frames
    with closing(*nodes):
        connect(*nodes)
        begun_s = time.monotonic()
        received: list[tuple[str, bytes]] = []
        for number in range(0, flood, 100):
            nodes[2].send(town.address(0), b"%d" % number)
            for _ in range(100):
                nodes[1].send(town.address(0), b"flood")
            while not nodes[1].has_room(town.address(0)):
                nodes[1].poll(1)
                received += nodes[0].poll(0)[0]
        last = (town.address(2), b"%d" % (flood - 100))
        received += gather(nodes, lambda more: last in received + more[0])[0]
    heard = [frame for sender, frame in received if sender == town.address(2)]
    assert heard == [b"%d" % number for number in range(0, flood, 100)]
    allowed = MESSAGES.burst_frames + MESSAGES.frames_per_s * (time.monotonic() - begun_s)
    assert sum(sender == town.address(1) for sender, _ in received) <= min(allowed, flood - 1)


def test_a_port_in_use_is_said_with_the_setting_to_change() -> None:
    """The second node on a port ends with exit code 7 and a hint that names network.port."""
    town = village(1)
    with closing(town.node(0)), pytest.raises(NetworkFailure) as failure:
        P2P(KeyPair.generate(), {}, town.door(0))
    assert failure.value.exit_code is ExitCode.NETWORK
    assert failure.value.message == "the port is in use"
    assert failure.value.where == f"tcp://{HOST}:{town.ports[0]}"
    assert "network.port" in failure.value.hint


def test_a_host_that_is_not_here_is_said() -> None:
    """Listening on somebody else's address names network.bind."""
    with pytest.raises(NetworkFailure) as failure:
        P2P(KeyPair.generate(), {}, Door("192.0.2.1", free_port(), Admission([])))
    assert "network.bind" in failure.value.hint


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [("00" * 32, f"tcp://{HOST}:1"), (KeyPair(bytes(32)).address, "tcp://nowhere"), ("x", "y")],
    ids=["no point", "no port", "no hex"],
)
def test_wrong_peers_are_said(address: Address, endpoint: str) -> None:
    """An address that is no key and an endpoint that is none point to the peers file."""
    with pytest.raises(NetworkFailure) as failure:
        P2P(KeyPair.generate(), {address: endpoint})
    assert "peers.toml" in failure.value.hint


def test_a_door_that_admits_anyone_does_not_open() -> None:
    """The self-test knocks with a throw-away key; when that is let in, the node refuses to start [P-11.11]."""

    class Everyone(Admission):
        def address_of(self, transport_key: bytes) -> Address | None:
            return Address(transport_key.hex())

    with pytest.raises(NetworkFailure) as failure:
        P2P(KeyPair.generate(), {}, Door(HOST, 0, Everyone([]))).close()
    assert "self-test" in failure.value.message


def test_port_zero_takes_any_free_port() -> None:
    """Two nodes that name no port get different ones, and say which."""
    first, second = (P2P(KeyPair.generate(), {}, Door(HOST, 0, Admission([]))) for _ in range(2))
    with closing(first, second):
        assert first.port
        assert second.port
        assert first.port != second.port
