"""A hostile peer as a process of its own: `python -m attacking.besiege KIND SEED SERVER ENDPOINT SECONDS`.

Keys are hex. It throws at one miner what its kind throws until the time is over, and then prints how much that was and
how many answers came back.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from random import Random

import zmq
from fuzzing.mutations import mutated

from fedcoin_cli.network.files import pieces
from fedcoin_cli.network.transport.admission import transport_public, transport_secret
from fedcoin_cli.protocol.frame import to_frame
from fedcoin_cli.protocol.message import Ask, Fetch, FraudNote, Status
from ledger_store.base.names import Address, Digest, TaskId
from ledger_store.identity.keys import KeyPair

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "messages.json"
DEEP = b'{"fields":' + b"[" * 50_000 + b"]" * 50_000 + b',"type":"ask"}'
NAN = b'{"fields":{"height":NaN},"type":"fetch"}'
LARGE_BYTES = 100 * 2**20


def _golden() -> list[bytes]:
    kept = json.loads(GOLDEN.read_bytes())
    return [text.encode() for text in kept.values()]


def nonsense(random: Random) -> Iterator[bytes]:
    """Frames that are almost messages, towers of brackets and numbers that are none."""
    samples = _golden()
    while True:
        yield DEEP if random.random() < 0.01 else NAN if random.random() < 0.05 else mutated(random, samples)


def messages(_random: Random) -> Iterator[bytes]:
    """Well-formed messages: questions, blocks asked for, transactions, votes and reveals of others."""
    return cycle([*_golden(), to_frame(Ask()), to_frame(Fetch(1))])


def frauds(random: Random) -> Iterator[bytes]:
    """Accusations, wrong ones, by whoever, of whomever, and heights that nobody has reached."""
    while True:
        task, miner, by = (random.randbytes(32).hex() for _ in range(3))
        yield to_frame(
            FraudNote(
                TaskId(task),
                1,
                Address(miner),
                random.randrange(1_000),
                Address(by),
                random.randbytes(64).hex(),
            )
        )
        yield to_frame(Status(random.randrange(2**40), random.randbytes(16).hex(), (TaskId(task),)))


def uploads(random: Random) -> Iterator[bytes]:
    """Files that nobody asked for: offered, begun, and wanted from whoever has none of them."""
    while True:
        digest = random.randbytes(32).hex()
        yield pieces.to_bytes(pieces.Offer(Digest(digest), 2**40))
        yield pieces.to_bytes(pieces.Chunk(Digest(digest), 0, 2**30, bytes(pieces.CHUNK_BYTES)))
        yield pieces.to_bytes(pieces.Want(Digest(digest), 0))


def giants(_random: Random) -> Iterator[bytes]:
    """Frames of 100 MiB."""
    return cycle([bytes(LARGE_BYTES)])


KINDS: dict[str, Callable[[Random], Iterator[bytes]]] = {
    "stranger": messages,
    "spoofer": messages,
    "nonsense": nonsense,
    "messages": messages,
    "frauds": frauds,
    "uploads": uploads,
    "giants": giants,
}


def main() -> None:
    """Throw until the time is over."""
    kind, seed, server, endpoint, seconds = sys.argv[1:]
    key, until_s = KeyPair(bytes.fromhex(seed)), time.monotonic() + float(seconds)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    frames, sent, answers = KINDS[kind](Random(seed)), 0, 0
    wire = _connected(context, key, Address(server), endpoint, kind)
    while time.monotonic() < until_s:
        try:
            wire.send(next(frames), zmq.NOBLOCK)
            sent += 1
        except zmq.Again:
            time.sleep(0.001)
        while wire.poll(0):
            wire.recv_multipart()
            answers += 1
    context.destroy(linger=0)
    sys.stdout.write(f"{sent} {answers}\n")


def _connected(
    context: "zmq.Context[zmq.Socket[bytes]]", key: KeyPair, server: Address, endpoint: str, kind: str
) -> "zmq.Socket[bytes]":
    wire = context.socket(zmq.DEALER)
    wire.curve_publickey, wire.curve_secretkey = transport_public(key.address), transport_secret(key)
    wire.curve_serverkey = transport_public(server)
    if kind == "spoofer":
        wire.routing_id = server.encode()
    wire.connect(endpoint)
    return wire


if __name__ == "__main__":
    main()
