"""Nodes on the loopback for the tests of `network`: keys, free ports, and loops that poll them in turn."""

import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fedcoin_cli.network.files.channel import Blobs
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.network.files.transfers import Arrived, Event
from fedcoin_cli.network.transport.admission import Admission
from fedcoin_cli.network.transport.base import Door
from fedcoin_cli.network.transport.p2p import P2P
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair

HOST = "127.0.0.1"
Frame = tuple[str, bytes]


def free_port() -> int:
    """A port that is free now, below those that the system gives to outgoing connections."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


@dataclass(frozen=True, slots=True)
class Village:
    """Keys, ports and the endpoints of some miners, and one admission table that all of them share."""

    keys: tuple[KeyPair, ...]
    ports: tuple[int, ...]
    admission: Admission

    @property
    def endpoints(self) -> Mapping[Address, str]:
        return {key.address: f"tcp://{HOST}:{port}" for key, port in zip(self.keys, self.ports, strict=True)}

    def address(self, index: int) -> Address:
        return self.keys[index].address

    def node(self, index: int) -> P2P:
        return P2P(self.keys[index], self.endpoints, self.door(index))

    def guest(self, key: KeyPair) -> P2P:
        """A requester: no door."""
        return P2P(key, self.endpoints, asking=True)

    def blobs(self, index: int, folder: Path) -> Blobs:
        return Blobs(self.keys[index], Store(folder), self.endpoints, self.door(index))

    def door(self, index: int) -> Door:
        return Door(HOST, self.ports[index], self.admission)


def village(size: int) -> Village:
    """`size` miners that know each other; none runs yet."""
    keys = tuple(KeyPair.generate() for _ in range(size))
    return Village(keys, tuple(free_port() for _ in keys), Admission(key.address for key in keys))


@contextmanager
def closing(*nodes: P2P | Blobs) -> Iterator[None]:
    """Close all of them, whatever happens."""
    try:
        yield
    finally:
        for node in nodes:
            node.close()


def gather(
    nodes: Iterable[P2P], enough: Callable[[list[list[Frame]]], bool], within_s: float = 5.0
) -> list[list[Frame]]:
    """Poll the nodes in turn until `enough` of what each received (or the time is over); returns that."""
    nodes = list(nodes)
    received: list[list[Frame]] = [[] for _ in nodes]
    until_s = time.monotonic() + within_s
    while not enough(received) and time.monotonic() < until_s:
        for index, node in enumerate(nodes):
            received[index] += node.poll(5)[0]
    return received


def connect(*nodes: P2P) -> None:
    """Poll the nodes until every link of each stands."""
    gather(nodes, lambda _: all(state.connected for node in nodes for state in node.peers().values()))


def events_until(blobs: Blobs, enough: Callable[[list[Event]], bool], within_s: float = 10.0) -> list[Event]:
    """The events of a file channel until there are `enough` (or the time is over)."""
    events: list[Event] = []
    until_s = time.monotonic() + within_s
    while not enough(events) and time.monotonic() < until_s:
        events += blobs.events()
        time.sleep(0.005)
    return events


def arrived(events: list[Event]) -> set[str]:
    """The digests of the files that came."""
    return {event.digest for event in events if isinstance(event, Arrived)}


def wait_connected(blobs: Blobs, within_s: float = 5.0) -> None:
    """Wait until every link of a file channel stands."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        states = blobs.peers().values()
        if states and all(state.connected for state in states):
            return
        time.sleep(0.005)


def poll_until(node: P2P, done: Callable[[], bool], within_s: float = 5.0) -> list[Frame]:
    """Poll one node until `done`; fails when the time is over before. Returns what it received."""
    frames: list[Frame] = []
    until_s = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < until_s, "it never came to that"
        frames += node.poll(5)[0]
    return frames
