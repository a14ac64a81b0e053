"""A guest of a network, an account with one coin, that throws all that it can make at all miners at once.

`python -m attacking.guests` reads one JSON object on stdin (`Orders`) and prints how much it threw, by kind. A throw
is counted when a miner's door had let the guest in; who is kept out dials again once a second. Every kind keeps to a
pace of its own and to `MOST` throws, so that a machine of few cores is not busy with throwing alone; it goes to the
endpoints that it was given, on this machine, and nowhere else.
"""

import contextlib
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from hashlib import sha256
from itertools import cycle
from random import Random
from secrets import token_bytes

import zmq
from attacking.besiege import frauds, giants, nonsense, uploads

from fedcoin_cli.network.files import pieces
from fedcoin_cli.network.transport.admission import transport_public, transport_secret
from fedcoin_cli.protocol.frame import to_frame
from fedcoin_cli.protocol.message import (
    BLOCKS_A_FETCH,
    Ask,
    Fetch,
    Message,
    Recall,
    Status,
    TransactionNote,
    Vote,
)
from ledger_store.base.names import Address, BlockId, Digest, GenesisId, MinerIndex
from ledger_store.base.words import VoteKind
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import ZERO, Task, Transfer, Update, sign

COIN = 10**6
MOST = 100_000
HALF_OPEN_MOST = 64
HEAVY_CLIENTS = 1_000
FILE_BYTES = 2**18
REDIAL_S, RETRY_S = 1.0, 0.5


@dataclass(frozen=True, slots=True)
class Orders:
    """What a guest is to do: its key's seed, the network, miners as [address, host, port], which kinds, and when.

    `windows` are [from, until] of the machine's monotonic clock, in seconds; between them it has no connection. `pace`
    is the share of every kind's own pace.
    """

    seed: str
    genesis: GenesisId
    miners: list[tuple[Address, str, int]]
    kinds: list[str]
    windows: list[tuple[float, float]]
    pace: float = 1.0

    def line(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))


@dataclass
class Target:
    """One miner as one guest meets it: a socket for each channel, and what is held open besides."""

    key: KeyPair
    genesis: GenesisId
    address: Address
    host: str
    port: int
    context: "zmq.Context[zmq.Socket[bytes]]"
    random: Random
    held: list[socket.socket] = field(default_factory=list)
    files: dict[Digest, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wires = {0: self.dial(0), 1: self.dial(1)}
        self._let_in_s = dict.fromkeys(self.wires, time.monotonic())

    def dial(self, channel: int, *, at_once: bool = True) -> "zmq.Socket[bytes]":
        """A new connection to its messages (0) or files (1); what is sent `at_once` goes only when it was let in."""
        wire = self.context.socket(zmq.DEALER)
        wire.curve_publickey, wire.curve_secretkey = (
            transport_public(self.key.address),
            transport_secret(self.key),
        )
        wire.curve_serverkey = transport_public(self.address)
        wire.linger = 0
        wire.setsockopt(zmq.IMMEDIATE, at_once)
        wire.connect(f"tcp://{self.host}:{self.port + channel}")
        return wire

    def throw(self, frame: bytes, channel: int = 0) -> bool:
        """Whether the connection took it."""
        try:
            self.wires[channel].send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def knock(self, channel: int, greeting: bytes) -> bool:
        """A bare connection that says no more than this, and is held for a while; whether anybody listens."""
        try:
            silent = socket.create_connection((self.host, self.port + channel), 1)
            self.held.append(silent)
            silent.sendall(greeting)
        except OSError:
            return False
        while len(self.held) > HALF_OPEN_MOST:
            self.held.pop(0).close()
        return True

    def hang_up(self) -> None:
        """End every connection that is held."""
        for silent in self.held:
            silent.close()
        self.context.destroy(linger=0)

    def tell(self, transaction: Task | Transfer) -> bool:
        """A transaction."""
        return self.throw(to_frame(TransactionNote(transaction)))

    def dial_again(self, now_s: float) -> None:
        """Who was refused is never tried again by ZeroMQ."""
        for channel, wire in self.wires.items():
            if wire.poll(0, zmq.POLLOUT):
                self._let_in_s[channel] = now_s
            elif now_s - self._let_in_s[channel] >= REDIAL_S:
                wire.close(linger=0)
                self.wires[channel], self._let_in_s[channel] = self.dial(channel), now_s

    def hear(self) -> None:
        """Read what has come, and hand out the chunks that are wanted."""
        while self.wires[0].poll(0):
            self.wires[0].recv_multipart()
        while self.wires[1].poll(0):
            piece = pieces.from_bytes(self.wires[1].recv_multipart()[-1])
            if isinstance(piece, pieces.Want) and piece.digest in self.files:
                data = self.files[piece.digest]
                part = data[piece.offset : piece.offset + pieces.CHUNK_BYTES]
                self.throw(pieces.to_bytes(pieces.Chunk(piece.digest, piece.offset, len(data), part)), 1)


def a_task(sender: KeyPair, genesis: GenesisId, digests: list[Digest], price_micro: int = 0) -> Task:
    """A signed task of an account, of clients that do not exist; every file is one of the digests."""
    clients = [_client(number) for number in range(len(digests))]
    updates = tuple(
        Update(digest, client.address, 1, "00" * 64) for digest, client in zip(digests, clients, strict=True)
    )
    task = Task(
        sender=sender.address,
        sequence=1,
        signature="",
        server=sender.address,
        nonce=token_bytes(16).hex(),
        model=digests[0],
        test=digests[1],
        least_clients=2,
        most_clients=len(digests),
        baseline=ZERO,
        frozen=None,
        held=Digest("00" * 32),
        groups=(),
        updates=updates,
        images=1,
        block_images=16,
        metric="accuracy",
        whole=1,
        empty=0,
        aggregation="mean",
        price_micro=price_micro,
        train_micro=0,
        computation_micro=0,
        shapley_micro=price_micro,
        runtime_ms=0,
        difficulty_micro=0,
        least_rankings=1,
        most_rankings=1,
        payment_error_micro=None,
        attempts=1,
        sap_rule="winner",
    )
    signed = (
        replace(update, signature=client.sign("update", genesis, task.update_terms(update)))
        for update, client in zip(updates, clients, strict=True)
    )
    return sign(replace(task, updates=tuple(signed)), sender, genesis)


@cache
def _client(number: int) -> KeyPair:
    return KeyPair(sha256(f"nobody {number}".encode()).digest())


def _digests(random: Random, count: int) -> list[Digest]:
    return [Digest(random.randbytes(32).hex()) for _ in range(count)]


@cache
def _heavy_frame(seed: bytes, genesis: GenesisId) -> bytes:
    key = KeyPair(seed)
    task = a_task(key, genesis, _digests(Random(seed), HEAVY_CLIENTS))
    spoilt = replace(task.updates[-1], signature="00" * 64)
    plain = replace(task, updates=(*task.updates[:-1], spoilt))
    return to_frame(TransactionNote(sign(replace(plain, signature=""), key, genesis)))


def heavy(target: Target) -> Iterator[bool]:
    """A task of 1,000 clients whose last signature is wrong, again and again."""
    frame = _heavy_frame(target.key.seed, target.genesis)
    while True:
        yield target.throw(frame)


def free(target: Target) -> Iterator[bool]:
    """Tasks that pay nothing, of the guest and of accounts that hold nothing."""
    while True:
        for sender in (target.key, KeyPair(token_bytes(32))):
            yield target.tell(a_task(sender, target.genesis, _digests(target.random, 3)))


def transfers(target: Target) -> Iterator[bool]:
    """The guest's coin to itself, under one number, in 50 variants, again and again."""
    own = target.key.address
    plain = (Transfer(own, 1, "", own, 10_000 + more) for more in range(50))
    yield from map(target.tell, cycle([sign(one, target.key, target.genesis) for one in plain]))


def small(target: Target) -> Iterator[bool]:
    """Questions and claims of a few bytes."""
    claims: list[Message] = [Ask(), Recall(), Fetch(2**40), Status(1, "0" * 32), Status(2**40, "f" * 32)]
    yield from map(target.throw, cycle([to_frame(claim) for claim in claims]))


def votes(target: Target) -> Iterator[bool]:
    """Votes of every miner at every height, whose signatures are noise."""
    draw = target.random
    while True:
        kind, block = draw.choice(list(VoteKind)), BlockId(draw.randbytes(32).hex())
        junk = Vote(
            kind,
            MinerIndex(draw.randrange(4)),
            draw.randrange(1, 400),
            draw.randrange(4),
            None if kind == VoteKind.SKIP else block,
            draw.randbytes(64).hex(),
        )
        yield target.throw(to_frame(junk))


def refused(target: Target) -> Iterator[bool]:
    """Free tasks whose files are noise: offered, and handed over when they are wanted."""
    while True:
        made = [target.random.randbytes(FILE_BYTES) for _ in range(3)]
        files = {Digest(sha256(data).hexdigest()): data for data in made}
        target.files = dict(list(target.files.items())[-24:]) | files
        yield target.tell(a_task(KeyPair(token_bytes(32)), target.genesis, list(files)))
        yield target.tell(a_task(target.key, target.genesis, list(files)))
        for digest in target.files:
            yield target.throw(pieces.to_bytes(pieces.Offer(Digest(digest), FILE_BYTES)), 1)


def fetches(target: Target) -> Iterator[bool]:
    """The chain read on from its first block to its last and then again, and files that are not there."""
    for height in cycle(range(1, 1_000, BLOCKS_A_FETCH)):
        yield target.throw(to_frame(Fetch(height)))
        for digest in _digests(target.random, 2):
            yield target.throw(pieces.to_bytes(pieces.Want(digest, 0)), 1)


def churn(target: Target) -> Iterator[bool]:
    """Connections that are opened, used once and torn down, and some that say nothing at all."""
    while True:
        for channel in (0, 1):
            wire = target.dial(channel, at_once=False)
            with contextlib.suppress(zmq.Again):
                wire.send(to_frame(Ask()), zmq.NOBLOCK)
            yield target.knock(channel, b"")
            wire.close(linger=0)


def half_open(target: Target) -> Iterator[bool]:
    """Connections that stop in the middle of their greeting, and a message whose end never comes."""
    wire = target.dial(0)
    while True:
        with contextlib.suppress(zmq.Again):
            wire.send(bytes(2**16), zmq.NOBLOCK | zmq.SNDMORE)
        yield target.knock(target.random.randrange(2), b"\xff" + bytes(8) + b"\x7f\x03")


def giant(target: Target) -> Iterator[bool]:
    """Frames of 100 MiB, over a connection and a thread of their own: encrypting one takes a while."""
    own = replace(target, context=zmq.Context(), held=[])
    try:
        for frame in giants(target.random):
            own.dial_again(time.monotonic())
            yield own.throw(frame)
    finally:
        own.hang_up()


def _frames(
    made: Callable[[Random], Iterator[bytes]], channel: int = 0
) -> Callable[[Target], Iterator[bool]]:
    def thrown(target: Target) -> Iterator[bool]:
        for frame in made(target.random):
            yield target.throw(frame, channel)

    return thrown


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to attack, how often a second a guest does it to each miner, and whether that gets a guest kept out."""

    throws: Callable[[Target], Iterator[bool]]
    per_s: float
    loud: bool = False


KINDS: dict[str, Kind] = {
    "heavy": Kind(heavy, 15, loud=True),
    "free": Kind(free, 40),
    "transfers": Kind(transfers, 100),
    "small": Kind(small, 500),
    "votes": Kind(votes, 200),
    "refused": Kind(refused, 20),
    "uploads": Kind(_frames(uploads, 1), 50, loud=True),
    "fetches": Kind(fetches, 100),
    "frauds": Kind(_frames(frauds), 100),
    "nonsense": Kind(_frames(nonsense), 50),
    "giants": Kind(giant, 0.1, loud=True),
    "churn": Kind(churn, 10),
    "half-open": Kind(half_open, 10),
}


def shares(kinds: Sequence[str], guests: int) -> list[list[str]]:
    """Which kinds each guest throws: what gets one kept out is left to the first, so that the others go on.

    One kind alone is thrown by everybody.
    """
    if len(kinds) == 1 or guests == 1:
        return [list(kinds)] * guests
    loud = [kind for kind in kinds if KINDS[kind].loud]
    rest = [kind for kind in kinds if kind not in loud]
    parts = [loud] if loud and rest else []
    parts += [(rest or loud)[first :: guests - len(parts)] for first in range(guests - len(parts))]
    return [part or list(kinds) for part in parts]


@dataclass
class Due:
    """One kind against one miner: whose turn it is by the clock."""

    name: str
    throws: Iterator[bool]
    every_s: float
    next_s: float
    thrown: int = 0

    def turn(self, now_s: float) -> None:
        """Throw what is due; where no connection takes it, try again soon."""
        for _ in range(16):
            if self.next_s > now_s or self.thrown >= MOST:
                break
            if not next(self.throws):
                self.next_s = now_s + min(self.every_s, RETRY_S)
                break
            self.next_s = max(self.next_s + self.every_s, now_s - 0.1)
            self.thrown += 1


def attack(orders: Orders) -> dict[str, int]:
    """Everything that is ordered, in each window; returns throws by kind."""
    thrown = Counter(dict.fromkeys(orders.kinds, 0))
    for start_s, until_s in orders.windows:
        time.sleep(max(0.0, start_s - time.monotonic()))
        thrown.update(_thrown(orders, until_s))
    return dict(thrown)


def _thrown(orders: Orders, until_s: float) -> Counter[str]:
    key, random = KeyPair(bytes.fromhex(orders.seed)), Random(orders.seed)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    targets = [Target(key, orders.genesis, *miner, context, random) for miner in orders.miners]
    now_s = time.monotonic()
    dues = [
        Due(name, KINDS[name].throws(target), 1 / (orders.pace * KINDS[name].per_s), now_s)
        for name in orders.kinds
        for target in targets
    ]
    while (now_s := time.monotonic()) < until_s:
        for target in targets:
            target.dial_again(now_s)
            target.hear()
        for due in dues:
            due.turn(now_s)
        time.sleep(0.002)
    for target in targets:
        target.hang_up()
    thrown = Counter[str]()
    for due in dues:
        thrown[due.name] += due.thrown
    return thrown


if __name__ == "__main__":
    sys.stdout.write(json.dumps(attack(Orders(**json.loads(sys.stdin.readline())))) + "\n")
