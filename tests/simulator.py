"""A deterministic world for real replicas: virtual time, a lossy network, disks that survive crashes, clients.

The machines, the mempool, the vote log's records and the ledger's fold are the product's own; sockets, disks and the
mining child have twins in memory. One seed is one history. A safety phase with everything on is followed by a liveness
phase: faults end, and every node must converge and every task end.

Run `python -m tests.simulator --seeds 2000 --start 0` for many histories; the last line counts forks and stalls.
"""

import argparse
import heapq
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b, sha256
from random import Random
from typing import Any

from nacl.exceptions import BadSignatureError

from fedcoin_cli.application import work
from fedcoin_cli.application.ports import RosterSigner
from fedcoin_cli.application.replica import Replica, reconcile
from fedcoin_cli.application.votelog import Record, Remembered, from_bytes, to_bytes
from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.network.message import (
    CommitNote,
    Message,
    Proposal,
    Receipt,
    RevealNote,
    TransactionNote,
    Vote,
    from_frame,
    to_frame,
)
from ledger_store import keys
from ledger_store.block import Block, Certificate
from ledger_store.chain import Tip, extend, start
from ledger_store.errors import PeerFault
from ledger_store.genesis import Genesis
from ledger_store.keys import KeyPair
from ledger_store.state import UNFINISHED
from ledger_store.transaction import Task, Transaction, Transfer, Update, sign, update_terms

COIN = 10**6
WALL_MS = 1_700_000_000_000
LIMIT_MS = 3_600_000
BEHAVIOURS = ("false table", "withhold reveal", "withhold table", "silent")


# Signatures ---------------------------------------------------------------------------------------------------------


class StubKey:
    """A key whose signature is a keyed hash: as unforgeable as the simulation needs, and ten times as fast."""

    def __init__(self, seed: bytes) -> None:
        self.address = sha256(seed).hexdigest()

    def sign(self, kind: str, genesis: str, fields: Any) -> str:
        return _seal(self.address, keys.signed_bytes(kind, genesis, fields)).hex()


class StubVerifyKey:
    """The other half, in the place of PyNaCl's verify key."""

    def __init__(self, address: str) -> None:
        self._address = address

    def verify(self, message: bytes, signature: bytes) -> None:
        if _seal(self._address, message) != signature:
            raise BadSignatureError


def _seal(address: str, message: bytes) -> bytes:
    """64 bytes that depend on everything a real signature covers."""
    return blake2b(message, key=bytes.fromhex(address)).digest()


@contextmanager
def stub_signatures(stubs: bool) -> Iterator[None]:
    """Let the ledger accept stub signatures for as long as the context lasts."""
    real = keys._verify_key
    if stubs:
        keys._verify_key = StubVerifyKey
    try:
        yield
    finally:
        keys._verify_key = real


# Disks --------------------------------------------------------------------------------------------------------------


class MemoryLedger:
    """The chain file's twin: what was appended survives its node."""

    def __init__(self, genesis: Genesis, on_append: Callable[[Block], None]) -> None:
        self.tip: Tip = start(genesis)
        self._blocks: list[tuple[Block, Certificate]] = []
        self._on_append = on_append

    def append(self, block: Block, certificate: Certificate) -> None:
        self.tip = extend(self.tip, block, certificate)
        self._blocks.append((block, certificate))
        self._on_append(block)

    def certify(self, certificate: Certificate) -> None:
        raise AssertionError("the twin never loses its tip")

    def block(self, height: int) -> Block:
        return self._blocks[height - 1][0]

    def certificate_of(self, height: int) -> Certificate | None:
        if height < len(self._blocks):
            return self._blocks[height][0].certificate
        return self._blocks[height - 1][1]

    @property
    def lines(self) -> list[bytes]:
        return [block.line for block, _ in self._blocks]


class MemoryLog:
    """The vote log's twin: the same bytes, the same forgetting."""

    def __init__(self, before: Callable[[], None]) -> None:
        self._rows: list[tuple[int, str, bytes]] = []
        self._decided: tuple[Block, Certificate] | None = None
        self._before = before

    def append(self, records: list[Record]) -> None:
        self._before()
        for record in records:
            height = record.height if isinstance(record, Proposal | Vote) or hasattr(record, "votes") else 0
            task = getattr(record, "task", "")
            self._rows.append((height, task, to_bytes(record)))
        self._before()

    def decide(self, block: Block, certificate: Certificate, current_task: str | None) -> None:
        self._before()
        self._decided = block, certificate
        self._rows = [
            row
            for row in self._rows
            if (row[1] == "" and row[0] > block.height) or (row[1] != "" and row[1] == (current_task or ""))
        ]
        self._before()

    def load(self) -> Remembered:
        return Remembered(tuple(from_bytes(data) for _, _, data in self._rows), self._decided)


# Nodes --------------------------------------------------------------------------------------------------------------


class Crash(Exception):
    """The node dies at this very persist or send."""


class Node:
    """One miner: a disk that lasts, and a replica while it is up."""

    def __init__(self, world: "World", index: int) -> None:
        self.world = world
        self.index = index
        self.key = world.miner_keys[index]
        self.address: str = self.key.address
        self.ledger = MemoryLedger(world.genesis, lambda block: world.on_append(index, block))
        self.log = MemoryLog(self._step)
        self.files: set[str] = set()
        self.replica: Replica | None = None
        self.life = 0
        self.steps_left: int | None = None
        self.tick_at: int | None = None
        self.behaviour: str | None = None
        self.skew_ms = world.rng.randint(-2_000, 2_000)
        self.mining: tuple[str, int] | None = None

    # Ports

    def now_ms(self) -> int:
        return self.world.now

    def wall_ms(self) -> int:
        return WALL_MS + self.world.now + self.skew_ms

    def salt(self) -> str:
        return f"{self.world.rng.getrandbits(128):032x}"

    def send(self, to: str, message: Message) -> None:
        self._step()
        self.world.transmit(self, to, message)

    def broadcast(self, message: Message) -> None:
        for other in self.world.nodes:
            if other is not self:
                self.send(other.address, message)

    def order(self, order: work.Order) -> None:
        self.world.compute(self, order)

    def has_file(self, digest: str) -> bool:
        return digest in self.files

    def want_files(self, digests: Iterable[str], holders: Iterable[str], most_bytes: int) -> None:
        wanted = list(holders)
        for digest in digests:
            self.world.download(self, digest, wanted)

    def applied(self, block: Block) -> None:
        pass

    def keep_evidence(self, height: int, proofs: list[Any]) -> None:
        self.world.report.evidence += 1

    def connected(self) -> int:
        return len(self.world.nodes) - 1

    def _step(self) -> None:
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left <= 0:
                raise Crash

    # Life

    def boot(self) -> None:
        self.life += 1
        self.mining = None
        self.steps_left = None
        self.tick_at = None

        def begin() -> None:
            remembered = self.log.load()
            reconcile(self.ledger, remembered)
            signer = RosterSigner(self.key, self.world.genesis)
            self.replica = Replica(
                self.world.genesis,
                self.address,
                signer,
                self.ledger,
                self.log,
                remembered,
                self,
                f"{self.world.rng.getrandbits(128):032x}",
            )

        self.enter(begin)

    def enter(self, event: Callable[[], None]) -> None:
        """Let something happen inside the node; it may die of it."""
        try:
            event()
        except Crash:
            self.die()
        if self.replica is not None:
            self._schedule_tick()

    def die(self) -> None:
        self.replica = None
        self.life += 1
        self.world.crashes += 1
        self.world.after(self.world.rng.randint(50, 20_000), self.revive)

    def revive(self) -> None:
        if self.replica is None and not (self.behaviour == "silent" and not self.world.calm):
            self.boot()

    def deliver(self, life: int, sender: str, message: Message) -> None:
        if self.replica is not None:
            replica = self.replica
            self.enter(lambda: replica.receive(sender, message))

    def answer(self, life: int, answer: work.Answer) -> None:
        if self.replica is not None and life == self.life:
            replica = self.replica
            self.enter(lambda: replica.answer(answer))

    def arrive(self, digest: str) -> None:
        self.files.add(digest)
        if self.replica is not None:
            replica = self.replica
            self.enter(lambda: replica.file_arrived(digest))

    def _schedule_tick(self) -> None:
        assert self.replica is not None
        at = max(self.replica.deadline_ms, self.world.now + 1)
        if self.tick_at is None or at < self.tick_at:
            self.tick_at = at
            life = self.life
            self.world.at(at, lambda: self._tick(life, at))

    def _tick(self, life: int, at: int) -> None:
        if self.replica is None or life != self.life or self.tick_at != at:
            return
        self.tick_at = None
        self.enter(self.replica.tick)


# The world ----------------------------------------------------------------------------------------------------------


@dataclass
class Faults:
    """What the safety phase does; everything is 0 in the liveness phase."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay_ms: tuple[int, int] = (1, 50)
    crash_every_ms: int = 0
    partition_every_ms: int = 0
    liars: int = 0


@dataclass
class Report:
    """What one history came to."""

    seed: int
    miners: int
    virtual_ms: int = 0
    height: int = 0
    blocks_after_view_0: int = 0
    crashes: int = 0
    partitions: int = 0
    tasks: int = 0
    settled: int = 0
    refunded: int = 0
    frauds: int = 0
    evidence: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def forks(self) -> int:
        return sum("fork" in problem for problem in self.problems)

    @property
    def stalls(self) -> int:
        return sum("stall" in problem for problem in self.problems)


class World:
    """Everything of one seed."""

    def __init__(
        self, seed: int, miners: int | None = None, faults: Faults | None = None, real: bool = False
    ) -> None:
        self.rng = Random(seed)
        self.real = real
        self.now = 0
        self.calm = False
        self.crashes = 0
        self.partitions = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        count = miners if miners is not None else seed % 7 + 1
        make = (lambda name: KeyPair(sha256(name).digest())) if real else StubKey
        self.miner_keys: list[Any] = [make(f"miner {seed} {index}".encode()) for index in range(count)]
        self.client_keys: list[Any] = [make(f"client {seed} {index}".encode()) for index in range(4)]
        self.genesis = Genesis(
            network="simulation",
            time_ms=WALL_MS - 1_000_000,
            roster=tuple(key.address for key in self.miner_keys),
            supply=tuple(sorted((key.address, 10_000 * COIN) for key in self.client_keys)),
            delta_ms=self.rng.choice((100, 500, 1_000)),
        )
        self.faults = faults if faults is not None else self._draw_faults(count)
        self.decided: dict[int, str] = {}
        self.blocks: dict[int, Block] = {}
        self.said: dict[tuple[Any, ...], str | None] = {}
        self.report = Report(seed, count)
        self.tables: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.hosted: dict[str, set[str]] = {}
        self.blocked: set[tuple[str, str]] = set()
        self.nodes = [Node(self, index) for index in range(count)]
        self._by_address = {node.address: node for node in self.nodes}
        self.wanted: list[Transaction] = []
        self.final: set[str] = set()
        for node in self.rng.sample(self.nodes, self.faults.liars):
            node.behaviour = self.rng.choice(BEHAVIOURS)

    def _draw_faults(self, miners: int) -> Faults:
        rng = self.rng
        most = (miners - 1) // 3
        return Faults(
            loss=rng.choice((0.0, 0.02, 0.1, 0.3)),
            duplicate=rng.choice((0.0, 0.05)),
            delay_ms=rng.choice(((1, 20), (5, 80), (20, 400), (1, 2_000))),
            crash_every_ms=rng.choice((0, 5_000, 20_000)),
            partition_every_ms=rng.choice((0, 0, 10_000, 30_000)),
            liars=rng.randint(0, most),
        )

    # Time

    def at(self, when: int, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def after(self, delay: int, event: Callable[[], None]) -> None:
        self.at(self.now + delay, event)

    def run_until(self, limit: int, done: Callable[[], bool]) -> None:
        while self._events and self._events[0][0] <= limit and not self.report.problems:
            self.now, _, event = heapq.heappop(self._events)
            event()
            if done():
                return
        self.now = max(self.now, limit) if not done() else self.now

    # Network and child process

    def transmit(self, sender: Node, to: str, message: Message) -> None:
        self._witness(sender, message)
        node = self._by_address.get(to)
        if node is None or isinstance(message, Receipt):
            return
        own = isinstance(message, RevealNote) and message.reveal.miner == sender.address
        if own and sender.behaviour == "withhold reveal":
            return
        rng, faults = self.rng, self.faults
        if (sender.address, to) in self.blocked or rng.random() < faults.loss:
            return
        copies = 2 if faults.duplicate and rng.random() < faults.duplicate else 1
        if self.real:
            message = from_frame(to_frame(message))
        for _ in range(copies):
            delay = rng.randint(*faults.delay_ms)
            self.after(delay, lambda: node.deliver(0, sender.address, message))

    def download(self, node: Node, digest: str, holders: list[str]) -> None:
        for holder in holders:
            other = self._by_address.get(holder)
            if other is None:
                good = digest in self.hosted.get(holder, set())
            else:
                withheld = other.behaviour == "withhold table" and digest in self.tables
                reachable = (node.address, holder) not in self.blocked and other.replica is not None
                good = digest in other.files and reachable and not withheld
            if good:
                self.after(self.rng.randint(10, 500), lambda: node.arrive(digest))
                return

    def compute(self, node: Node, order: work.Order) -> None:
        life = node.life
        answer, delay = self._answer(node, order)
        if answer is not None:
            self.after(delay, lambda: node.answer(life, answer))

    def _answer(self, node: Node, order: work.Order) -> tuple[work.Answer | None, int]:
        quick = self.rng.randint(5, 400)
        match order:
            case work.Inspect(task):
                return work.Inspected(task.id, None), quick
            case work.Mine():
                return self._estimate(node, order), max(0, order.deadline_ms - self.now) + self.rng.randint(
                    0, 300
                )
            case work.Weigh(task):
                return work.Weighed(task.id, tuple(range(task.clients)), 7), quick
            case work.VerifyTable(task, attempt, _, reveal):
                wrong = self.tables[reveal.table][1]
                return work.TableVerified(task.id, attempt, reveal.miner, True, wrong), quick
            case work.VerifyMask(task, attempt, reveal, mask):
                wrong_here = mask in self.tables[reveal.table][1]
                return work.MaskVerified(task.id, attempt, reveal.miner, mask, wrong_here), quick
        return None, 0

    def _estimate(self, node: Node, order: work.Mine) -> work.Estimated:
        """Honest sums of t rankings around a common truth; a false table has one wrong mask."""
        rng, task = self.rng, order.task
        rankings = grid_up_to(rng.randint(10, 200))
        sums = tuple(rankings * (10 * client + 5) + rng.randint(-2, 2) for client in range(task.clients))
        table = f"{rng.getrandbits(256):064x}"
        wrong = (rng.randint(1, 2**task.clients - 1),) if node.behaviour == "false table" else ()
        self.tables[table] = node.address, wrong
        node.files.add(table)
        return work.Estimated(task.id, order.attempt, rankings, False, sums, None, table)

    # Witness: what is said must never contradict

    def _witness(self, sender: Node, message: Message) -> None:
        match message:
            case Vote() if message.voter == sender.index:
                place = (message.kind, message.voter, message.height, message.view)
                self._once(place, message.block or "-")
                other = {"skip": "final", "final": "skip"}.get(message.kind)
                if other is not None and (other, *place[1:]) in self.said:
                    self.problem(f"miner {sender.index} signed skip and final of {place[2:]}")
            case Proposal() if message.proposer == sender.index:
                self._once(("proposal", sender.index, message.height, message.view), message.block.id)
            case CommitNote() if message.commit.miner == sender.address:
                self._once(("commit", sender.index, message.task, message.attempt), message.commit.digest)

    def _once(self, place: tuple[Any, ...], what: str) -> None:
        if self.said.setdefault(place, what) != what:
            self.problem(f"miner {place[1]} said two things: {place}")

    def on_append(self, index: int, block: Block) -> None:
        known = self.decided.setdefault(block.height, block.id)
        if known != block.id:
            self.problem(f"fork at height {block.height}: miner {index} has another block")
        if block.height not in self.blocks:
            self.blocks[block.height] = block
            self.final |= {t.id for t in block.transactions if hasattr(t, "sender")}

    def problem(self, text: str) -> None:
        self.report.problems.append(text)

    # Faults

    def start_faults(self, until: int) -> None:
        if self.faults.crash_every_ms:
            self._each(self.faults.crash_every_ms, until, self._crash_one)
        if self.faults.partition_every_ms and len(self.nodes) > 1:
            self._each(self.faults.partition_every_ms, until, self._partition)

    def _each(self, every: int, until: int, event: Callable[[], None]) -> None:
        def again() -> None:
            if self.now < until:
                event()
                self.after(self.rng.randint(1, 2 * every), again)

        self.after(self.rng.randint(1, 2 * every), again)

    def _crash_one(self) -> None:
        node = self.rng.choice(self.nodes)
        if node.replica is None:
            return
        if self.rng.random() < 0.3:
            node.die()
        else:
            node.steps_left = self.rng.randint(1, 12)

    def _partition(self) -> None:
        self.partitions += 1
        size = self.rng.randint(1, max(1, len(self.nodes) // 2))
        island = {node.address for node in self.rng.sample(self.nodes, size)}
        rest = {node.address for node in self.nodes} - island
        pairs = {(a, b) for a in island for b in rest}
        if self.rng.random() < 0.7:
            pairs |= {(b, a) for a, b in pairs}
        self.blocked |= pairs
        self.after(self.rng.randint(500, 20_000), lambda: self.blocked.difference_update(pairs))

    def heal(self) -> None:
        """The liveness phase: Δ holds, nobody crashes, everyone up; liars stay liars."""
        self.calm = True
        self.faults = replace(self.faults, loss=0.0, duplicate=0.0, delay_ms=(1, self.genesis.delta_ms // 4))
        self.blocked.clear()
        for node in self.nodes:
            node.steps_left = None
            if node.replica is None and node.behaviour != "silent":
                node.revive()

    # Clients

    def submit(self, transaction: Transaction) -> None:
        """A client sends to a few miners and again until it is final."""
        self.wanted.append(transaction)

        def again() -> None:
            if transaction.id in self.final:
                return
            for node in self.rng.sample(self.nodes, max(1, len(self.nodes) // 2)):
                if node.replica is not None:
                    node.deliver(0, transaction.sender, TransactionNote(transaction))
            self.after(3_000, again)

        again()

    def transfer(self, client: int, sequence: int) -> Transfer:
        key = self.client_keys[client]
        to = self.rng.choice([k.address for k in (*self.client_keys, *self.miner_keys)])
        amount = self.rng.randint(10_000, 3 * COIN)
        return sign(Transfer(key.address, sequence, "", to, amount), key, self.genesis.id)

    def task(self, client: int, sequence: int) -> Task:
        rng, key = self.rng, self.client_keys[client]
        name = f"{rng.getrandbits(64):016x}"
        files = [sha256(f"{name} {part}".encode()).hexdigest() for part in range(6)]
        self.hosted.setdefault(key.address, set()).update(files)
        nonce = f"{rng.getrandbits(128):032x}"
        updates = []
        for member, digest in zip(self.client_keys[1:4], files[3:], strict=True):
            terms = update_terms(files[0], files[1], digest, 10, nonce)
            updates.append(Update(digest, member.address, 10, member.sign("update", self.genesis.id, terms)))
        price = rng.choice((0, 100 * COIN, 1000 * COIN))
        parts = price * 7 // 10, price // 10, price - price * 7 // 10 - price // 10
        task = Task(
            sender=key.address,
            sequence=sequence,
            signature="",
            server=self.client_keys[0].address,
            nonce=nonce,
            model=files[0],
            test=files[1],
            proxy=rng.choice((None, files[2])),
            baseline=None,
            updates=tuple(updates),
            images=1000,
            empty=0,
            aggregation="mean",
            price_micro=price,
            train_micro=parts[0],
            computation_micro=parts[1],
            shapley_micro=parts[2],
            runtime_ms=rng.choice((0, 2_000, 15_000)),
            difficulty_micro=rng.choice((0, 1_500_000)),
            least_rankings=1,
            most_rankings=grid_up_to(10_000),
            payment_error_micro=None,
            attempts=rng.randint(1, 3),
            sap_rule=rng.choice(("winner", "shared")),
        )
        return sign(task, key, self.genesis.id)

    # The end

    def live(self) -> list[Node]:
        return [node for node in self.nodes if node.behaviour != "silent"]

    def converged(self) -> bool:
        if any(transaction.id not in self.final for transaction in self.wanted):
            return False
        nodes = [node for node in self.live() if node.replica is not None]
        if len(nodes) < len(self.live()) or len({node.ledger.tip.state.head for node in nodes}) != 1:
            return False
        return nodes[0].ledger.tip.state.current is None

    def finish(self) -> Report:
        report = self.report
        if not report.problems and not self.converged():
            report.problems.append(f"stall: {self._why()}")
        state = max((node.ledger.tip.state for node in self.nodes), key=lambda state: state.height)
        if len({tuple(node.ledger.lines) for node in self.live()}) != 1 and not report.problems:
            report.problems.append("fork: ledgers of live nodes differ in bytes")
        if state.total_micro != self.genesis.supply_micro:
            report.problems.append("money was made or lost")
        report.virtual_ms = self.now
        report.height = state.height
        report.blocks_after_view_0 = sum(block.header.view > 0 for block in self.blocks.values())
        report.crashes, report.partitions = self.crashes, self.partitions
        report.tasks = len(state.tasks)
        report.settled = sum(record.state == "SETTLED" for record in state.tasks.values())
        report.refunded = sum(record.state == "REFUNDED" for record in state.tasks.values())
        report.frauds = sum(len(record.frauds) for record in state.tasks.values())
        unfinished = sum(record.state in UNFINISHED for record in state.tasks.values())
        if unfinished and not report.problems:
            report.problems.append(f"stall: {unfinished} tasks never ended")
        return report

    def _why(self) -> str:
        missing = sum(transaction.id not in self.final for transaction in self.wanted)
        heights = [(node.ledger.tip.height, node.replica is not None) for node in self.nodes]
        return f"{missing} transactions not final; heights {heights} at {self.now} ms"


def run(
    seed: int, *, miners: int | None = None, faults: Faults | None = None, real: bool | None = None
) -> Report:
    """One history: transfers and up to two tasks under faults for a while, then calm until all is done."""
    real = seed % 100 == 99 if real is None else real
    with stub_signatures(not real):
        world = World(seed, miners, faults, real)
        rng = world.rng
        for node in world.nodes:
            if node.behaviour != "silent":
                world.after(rng.randint(0, 500), node.revive)
        for client in (0, 1):
            world.after(rng.randint(0, 20_000), lambda c=client: world.submit(world.task(c, 1)))
        for client in (2, 3):
            for sequence in range(1, rng.randint(1, 4)):
                world.after(
                    rng.randint(0, 5_000) + 8_000 * sequence,
                    lambda c=client, s=sequence: world.submit(world.transfer(c, s)),
                )
        trouble_ms = rng.randint(10_000, 60_000)
        world.start_faults(trouble_ms)
        world.run_until(trouble_ms, lambda: False)
        world.heal()
        started = world.now
        world.run_until(started + LIMIT_MS, lambda: world.now > 30_000 and world.converged())
        return world.finish()


def safely(seed: int) -> Report:
    """`run`, with an exception counted as this seed's problem."""
    try:
        return run(seed)
    except (PeerFault, AssertionError, KeyError, IndexError, ValueError, TypeError, RecursionError) as error:
        report = Report(seed, seed % 7 + 1)
        report.problems.append(f"stall: {type(error).__name__}: {error}")
        return report


def run_many(start_seed: int, seeds: int, processes: int = 2) -> list[Report]:
    """Histories start_seed .. start_seed + seeds − 1 on several cores, in seed order."""
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(safely, range(start_seed, start_seed + seeds), chunksize=20))


def summary(reports: list[Report]) -> dict[str, Any]:
    """The counts that the last line prints."""
    return {
        "seeds": len(reports),
        "first": reports[0].seed,
        "last": reports[-1].seed,
        "hours": round(sum(report.virtual_ms for report in reports) / 3_600_000, 1),
        "blocks": sum(report.height for report in reports),
        "crashes": sum(report.crashes for report in reports),
        "partitions": sum(report.partitions for report in reports),
        "tasks": sum(report.tasks for report in reports),
        "settled": sum(report.settled for report in reports),
        "refunded": sum(report.refunded for report in reports),
        "frauds": sum(report.frauds for report in reports),
        "forks": sum(report.forks for report in reports),
        "stalls": sum(report.stalls for report in reports),
        "other problems": sum(bool(r.problems) and not r.forks and not r.stalls for r in reports),
    }


def main() -> int:
    """Run many seeds and end with one line that counts forks and stalls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    began = time.monotonic()
    reports = run_many(arguments.start, arguments.seeds, arguments.processes)
    for report in reports:
        for problem in report.problems:
            print(f"seed {report.seed} (R = {report.miners}): {problem}")
    counts = summary(reports)
    print(f"{json.dumps(counts)} in {time.monotonic() - began:.0f} s")
    print(f"forks {counts['forks']}, stalls {counts['stalls']} in {counts['seeds']} seeds")
    return 1 if any(report.problems for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
