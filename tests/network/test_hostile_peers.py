"""What a peer may try on the wire with a ZeroMQ socket of its own making."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import zmq
from peers import HOST, Village, closing, gather, village

from fedcoin_cli.network.transport.admission import transport_public, transport_secret
from fedcoin_cli.network.transport.connections import GUESTS_MOST
from fedcoin_cli.network.transport.p2p import P2P
from fedcoin_cli.protocol.frame import FRAME_MAX_BYTES
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair

Socket = zmq.Socket[bytes]
# Sends one message of 450 MiB in frames of 512 KiB, as one that is admitted, and ends when it is dropped.
GLUTTON = """
import os, sys, zmq
public, secret, server, endpoint = (bytes.fromhex(each) for each in sys.argv[1:])
client = zmq.Context().socket(zmq.DEALER)
client.curve_publickey, client.curve_secretkey, client.curve_serverkey = public, secret, server
dropped = client.get_monitor_socket(zmq.EVENT_DISCONNECTED)
client.connect(endpoint.decode())
client.send_multipart([bytes(2**19)] * 900, copy=False)
dropped.poll(60_000)
os._exit(0)
"""


class Workshop:
    """Makes raw sockets and keeps them: one that is forgotten is closed."""

    def __init__(self) -> None:
        self.context: zmq.Context[Socket] = zmq.Context()
        self._made: list[Socket] = []

    def plain(self) -> Socket:
        """A DEALER that is connected to nothing and encrypts nothing."""
        self._made.append(self.context.socket(zmq.DEALER))
        return self._made[-1]

    def client(self, town: Village, key: KeyPair, **options: Any) -> Socket:
        """A DEALER to the first miner, authenticated by `key`."""
        made = self.plain()
        made.curve_publickey, made.curve_secretkey = transport_public(key.address), transport_secret(key)
        made.curve_serverkey = transport_public(town.address(0))
        for name, value in options.items():
            setattr(made, name, value)
        made.connect(town.endpoints[town.address(0)])
        return made


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    made = Workshop()
    yield made
    made.context.destroy(linger=0)


def admitted_guest(town: Village) -> KeyPair:
    """A key whose account has a coin."""
    key = KeyPair.generate()
    town.admission.admit([key.address])
    return key


def resident_bytes() -> int:
    """The memory this process holds now."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4096


def most_memory(node: P2P, process: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Poll until the process has ended: frames received, and the most memory taken beyond the beginning."""
    before, most, frames = resident_bytes(), 0, 0
    while process.poll() is None:
        frames += len(node.poll(20)[0])
        most = max(most, resident_bytes() - before)
    return frames, most


def test_a_client_without_encryption_gets_nothing_in(workshop: Workshop) -> None:
    """A plain socket cannot even begin: the door speaks CURVE only [P-11.4]."""
    town = village(1)
    with closing(miner := town.node(0)):
        plain = workshop.plain()
        plain.connect(town.endpoints[town.address(0)])
        plain.send(b"plain")
        assert gather([miner], lambda _: False, within_s=0.5) == [[]]


def test_a_routing_identity_proves_nothing(workshop: Workshop) -> None:
    """A guest that takes a member's address as its routing identity is still heard as itself [P-11.6]."""
    town, key = village(2), KeyPair.generate()
    town.admission.admit([key.address])
    with closing(miner := town.node(0)):
        pretender = workshop.client(town, key, routing_id=town.address(1).encode())
        pretender.send(b"I am miner 2")
        assert gather([miner], lambda received: bool(received[0]))[0] == [(key.address, b"I am miner 2")]


def test_an_identity_in_use_cannot_be_taken(workshop: Workshop) -> None:
    """Whoever takes the identity of a connected guest gets none of its answers."""
    town, victim, thief = village(1), KeyPair.generate(), KeyPair.generate()
    town.admission.admit([victim.address, thief.address])
    with closing(miner := town.node(0)):
        honest = workshop.client(town, victim, routing_id=b"me")
        honest.send(b"question")
        gather([miner], lambda received: bool(received[0]))
        stealing = workshop.client(town, thief, routing_id=b"me")
        stealing.send(b"question")
        gather([miner], lambda _: False, within_s=0.3)
        miner.send(victim.address, b"answer")
        gather([miner], lambda _: honest.poll(0) > 0, within_s=2)
        assert honest.recv(zmq.NOBLOCK) == b"answer"
        assert stealing.poll(0) == 0


@pytest.mark.parametrize("size_bytes", [FRAME_MAX_BYTES + 100, 100 * 2**20])
def test_a_frame_that_is_too_large_is_refused(workshop: Workshop, size_bytes: int) -> None:
    """The connection that sends one ends, little memory is taken, and the next frame of another arrives."""
    town, hostile, honest = village(1), KeyPair.generate(), KeyPair.generate()
    town.admission.admit([hostile.address, honest.address])
    with closing(miner := town.node(0)):
        large = workshop.client(town, hostile)
        large.send(b"small")
        assert gather([miner], lambda received: bool(received[0]))[0] == [(hostile.address, b"small")]
        large.send(bytes(size_bytes))
        before = resident_bytes()
        assert gather([miner], lambda _: not miner.is_connected(hostile.address))[0] == []
        assert resident_bytes() - before < 64 * 2**20
        workshop.client(town, honest).send(b"and I?")
        assert gather([miner], lambda received: bool(received[0]))[0] == [(honest.address, b"and I?")]


def test_messages_of_many_frames_are_cut_off() -> None:
    """450 MiB in one message of small frames: the sender is dropped before half of it has come in."""
    town = village(1)
    key = admitted_guest(town)
    keys = (transport_public(key.address), transport_secret(key), transport_public(town.address(0)))
    endpoint = town.endpoints[town.address(0)].encode()
    with closing(miner := town.node(0)):
        arguments = [each.hex() for each in (*keys, endpoint) if each]
        with subprocess.Popen([sys.executable, "-c", GLUTTON, *arguments]) as process:
            frames, most = most_memory(miner, process)
    assert frames == 0
    assert most < 200 * 2**20


def test_two_frames_in_one_message_end_the_connection(workshop: Workshop) -> None:
    """Protocol messages are one frame; whoever sends two is not heard and has to connect again [P-11.9]."""
    town = village(1)
    key = admitted_guest(town)
    with closing(miner := town.node(0)):
        double = workshop.client(town, key)
        double.send(b"one")
        gather([miner], lambda received: bool(received[0]))
        double.send_multipart([b"one", b"two"])
        assert gather([miner], lambda _: not miner.is_connected(key.address))[0] == []
        assert not miner.is_connected(key.address)


def test_a_guest_beyond_the_limit_takes_the_place_of_the_longest_idle(workshop: Workshop) -> None:
    """After 70 guests came, 64 are connected: the newest ones [P-11.10]."""
    town = village(1)
    keys = [KeyPair.generate() for _ in range(GUESTS_MOST + 6)]
    town.admission.admit(key.address for key in keys)
    with closing(miner := town.node(0)):
        for key in keys:
            # One that is dropped stays away, so that the count settles.
            workshop.client(town, key, reconnect_ivl=-1).send(b"here")
            received = gather([miner], lambda received: bool(received[0]))
            assert received[0] == [(key.address, b"here")]
        gather([miner], lambda _: sum(map(miner.is_connected, addresses(keys))) == GUESTS_MOST)
        assert [miner.is_connected(address) for address in addresses(keys)] == [False] * 6 + [
            True
        ] * GUESTS_MOST


def addresses(keys: list[KeyPair]) -> list[Address]:
    return [key.address for key in keys]


def test_silent_connections_push_no_guest_out(workshop: Workshop) -> None:
    """300 bare TCP connections do not end the one of a guest that has been heard."""
    town = village(1)
    key = admitted_guest(town)
    with closing(miner := town.node(0)):
        workshop.client(town, key).send(b"here")
        gather([miner], lambda received: bool(received[0]))
        silent = [socket.create_connection((HOST, town.ports[0])) for _ in range(300)]
        gather([miner], lambda _: False, within_s=0.3)
        assert miner.is_connected(key.address)
        assert len(miner._gate._connections) < 200  # type: ignore[union-attr]
        for connection in silent:
            connection.close()


def test_bytes_that_are_no_zeromq_do_no_harm(workshop: Workshop) -> None:
    """Noise on the port ends that connection; the next guest is served."""
    town = village(1)
    key = admitted_guest(town)
    with closing(miner := town.node(0)):
        for noise in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\xff" * 4096,
            b"\xff\0\0\0\0\0\0\0\x01\x7f\x03" + b"\xff" * 500,
        ):
            with socket.create_connection((HOST, town.ports[0])) as connection:
                connection.sendall(noise)
                miner.poll(20)
        workshop.client(town, key).send(b"here")
        assert gather([miner], lambda received: bool(received[0]))[0] == [(key.address, b"here")]


def test_who_goes_on_beyond_its_allowance_is_kept_out_for_a_while(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is received any more, on no connection; others are heard meanwhile, and later it is as well."""
    monkeypatch.setattr("fedcoin_cli.network.transport.limits.BARRED_S", 2.0)
    town, honest = village(1), KeyPair.generate()
    hostile = admitted_guest(town)
    town.admission.come(honest.address, signed=True)
    with closing(miner := town.node(0)):
        wire = workshop.client(town, hostile, sndtimeo=0)
        until_s = time.monotonic() + 20
        while town.admission.admits(hostile.address) and time.monotonic() < until_s:
            with suppress(zmq.Again):
                wire.send(bytes(2**19))
            miner.poll(5)
        assert not town.admission.admits(hostile.address)
        gather([miner], lambda _: not miner.is_connected(hostile.address), within_s=1)
        workshop.client(town, hostile, reconnect_ivl=-1).send(b"another way in")
        workshop.client(town, honest).send(b"and I?")
        assert gather([miner], lambda received: bool(received[0]))[0] == [(honest.address, b"and I?")]
        gather([miner], lambda _: town.admission.admits(hostile.address))
        workshop.client(town, hostile).send(b"sorry")
        # Its first connection may bring what it had not sent yet; that is beyond its allowance still.
        heard = gather([miner], lambda received: (hostile.address, b"sorry") in received[0])[0]
        assert (hostile.address, b"sorry") in heard


def test_a_member_is_never_kept_out(workshop: Workshop) -> None:
    """Whatever a miner sends it stays connected: votes are worth more than its bytes."""
    town = village(2)
    with closing(miner := town.node(0)):
        wire = workshop.client(town, town.keys[1], sndtimeo=0)
        sent = 0
        until_s = time.monotonic() + 20
        while sent < 32 and time.monotonic() < until_s:
            with suppress(zmq.Again):
                wire.send(bytes(2**19))
                sent += 1
            miner.poll(5)
        wire.send(b"a vote")
        heard = gather([miner], lambda received: (town.address(1), b"a vote") in received[0])[0]
        assert (town.address(1), b"a vote") in heard
        assert town.admission.admits(town.address(1))
