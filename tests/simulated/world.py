"""The simulated world of one seed: virtual time, a network that fails, mining children, and faults of every kind.

One seed is one history, the same on every machine. A safety phase with everything on is followed by a liveness phase:
`heal` ends the faults, liars stay liars, and what is dead stays dead.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from simulated.clients import COIN, Clients
from simulated.liars import LIES
from simulated.mutations import change_anything
from simulated.nodes import WALL_MS, Node
from simulated.signatures import StubKey
from simulated.witness import Witness

from fedcoin_cli.consensus.rankings import grid_up_to, table_entries
from fedcoin_cli.contract.metric import blocks_of
from fedcoin_cli.protocol.frame import from_frame, to_frame
from fedcoin_cli.protocol.message import Message, Receipt
from fedcoin_cli.replica import jobs
from ledger_store.base.names import Address, Digest
from ledger_store.block import Block
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import Close, Estimate, Result, Task, exact_denominator

# Of these at most f, of the mortal and silent at most R − q: the same number for every R.
BEHAVIOURS = (
    *LIES,
    "false table",
    "wrong sums",
    "false frauds",
    "withhold table",
    "twin",
    "silent",
    "mortal",
    "lost log",
    "old log",
)


# A liar that is drawn apart, like everything in `add_accidents`.
CHANGES = "change anything"
# How many of the ways between two miners no table ever takes.
WALLS = (0.3, 0.6, 1.0)
# Which of a hundred seeds has a large roster.
LARGE = 50


@dataclass(frozen=True)
class Faults:
    """What the safety phase does; `behaviours` are those of the faulty nodes, others are honest and come back.

    Intervals are means; 0: never. `queue`: how many messages may be under way from one node to another; the oldest
    is dropped for the next. `walls`: how likely it is that one miner never gets a table from another, also in calm.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    delay_ms: tuple[int, int] = (1, 50)
    crash_every_ms: int = 0
    blackout_every_ms: int = 0
    child_every_ms: int = 0
    partition_every_ms: int = 0
    copies: bool = False
    late: bool = False
    torn: bool = False
    lazy: float = 0.0
    queue: int = 0
    walls: float = 0.0
    behaviours: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """What the world knows of a table: which claims are wrong, and whether the sums follow from it."""

    wrong: tuple[int, ...]
    follows: bool


class World:
    """Everything of one seed."""

    def __init__(
        self,
        seed: int,
        miners: int | None = None,
        faults: Faults | None = None,
        real: bool = False,
        folder: Path | None = None,
        walls: float | None = None,
    ) -> None:
        self.rng = Random(seed)
        # What happens to files and queues is drawn apart: it changes nothing else of a seed's history.
        self.accidents = Random(f"accidents of {seed}")
        self.real = real
        self.folder = folder
        self.now = 0
        self.calm = False
        self.happened: Counter[str] = Counter()
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        roster = miners if miners is not None else miners_of(seed)
        make = (lambda name: KeyPair(sha256(name).digest())) if real else StubKey
        self.miner_keys: list[Any] = [make(f"miner {seed} {index}".encode()) for index in range(roster)]
        self.client_keys: list[Any] = [make(f"client {seed} {index}".encode()) for index in range(4)]
        self.genesis = Genesis(
            network="simulation",
            time_ms=WALL_MS - 1_000_000,
            roster=tuple(key.address for key in self.miner_keys),
            supply=tuple(sorted((key.address, 10_000 * COIN) for key in self.client_keys)),
            delta_ms=self.rng.choice((100, 500, 1_000)),
        )
        # Walls came later: with dice of their own the seeds without them keep their histories.
        masons = Random(f"walls of {seed}")
        if faults is None:
            faults = add_accidents(self.accidents, draw_faults(self.rng, self.genesis.faults))
            faults = replace(faults, walls=masons.choice(WALLS) if masons.random() < 1 / 16 else 0.0)
        if walls is not None:
            faults = replace(faults, walls=walls)
        self.faults = faults
        addresses = self.genesis.roster
        self.walls = {
            (here, there) for here in addresses for there in addresses if masons.random() < faults.walls
        }
        # Whether every check finds a false count, or each only sometimes.
        self.certain = self.rng.random() < 0.5
        self.witness = Witness(self)
        self.clients = Clients(self)
        self.final: set[str] = set()
        self.tables: dict[str, Table] = {}
        # Roster index → the step at which this node's first life ends; together: all others' lives as well.
        self.planned: dict[int, int] = {}
        self.together = False
        self._idle: dict[tuple[str, int], bool] = {}
        self._blocked: set[tuple[str, str]] = set()
        self._ways: dict[tuple[str, str], list[int]] = {}
        self.nodes = [Node(self, index) for index in range(roster)]
        self._at_address = {node.address: [node] for node in self.nodes}
        self._assign()

    def _assign(self) -> None:
        faulty = self.rng.sample(self.nodes, len(self.faults.behaviours))
        for node, behaviour in zip(faulty, self.faults.behaviours, strict=True):
            node.behaviour = behaviour
            node.dead = behaviour == "silent"
            if behaviour == "twin":
                twin = Node(self, node.index)
                twin.behaviour = behaviour
                self._at_address[node.address].append(twin)
        self.honest = {node.address for node in self.nodes if node.truthful}

    @property
    def everybody(self) -> list[Node]:
        """All nodes, twins included."""
        return [node for nodes in self._at_address.values() for node in nodes]

    def count(self, what: str) -> None:
        """Something happened that the summary counts."""
        self.happened[what] += 1

    # Time -------------------------------------------------------------------------------------------------------

    def at(self, when: int, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def after(self, delay: int, event: Callable[[], None]) -> None:
        self.at(self.now + delay, event)

    def run_until(self, limit: int, done: Callable[[], bool]) -> None:
        """Let events happen until the limit, a problem, or `done` (looked at now and then)."""
        for number in itertools.count():
            if not self._events or self._events[0][0] > limit or self.witness.problems:
                break
            self.now, _, event = heapq.heappop(self._events)
            event()
            if number % 8 == 0 and done():
                return
        self.now = max(self.now, limit) if not done() else self.now

    # Network ----------------------------------------------------------------------------------------------------

    def transmit(self, sender: Node, to: Address, message: Message) -> None:
        """A message leaves; liars say something else."""
        if to not in self._at_address or isinstance(message, Receipt):
            return
        lie = change_anything if sender.behaviour == CHANGES else LIES.get(sender.behaviour or "")
        for said in [message] if lie is None else lie(sender, to, message):
            self._deliver_later(sender, to, said)

    def _deliver_later(self, sender: Node, to: Address, message: Message) -> None:
        rng, faults = self.rng, self.faults
        if (sender.address, to) in self._blocked:
            self.count("stopped by a partition")
            return
        if sender.behaviour == "twin" and self._other_twins(sender, to):
            return
        if rng.random() < faults.loss:
            self.count("lost")
            return
        copies = 1
        if faults.duplicate and rng.random() < faults.duplicate:
            copies = 2
            self.count("duplicated")
        if self.real:
            message = from_frame(to_frame(message))
        for node in self._at_address[to]:
            for _ in range(copies):
                self._fly(rng.randint(*faults.delay_ms), sender, node, message)

    def _fly(self, delay: int, sender: Node, node: Node, message: Message) -> None:
        if not self.faults.queue:
            self.after(delay, partial(node.deliver, sender.address, message))
            return
        way = self._ways.setdefault((sender.address, node.address), [])
        flight = next(self._order)
        way.append(flight)
        if len(way) > self.faults.queue:
            way.pop(0)
            self.count("overflowed")

        def arrive() -> None:
            if flight in way:
                way.remove(flight)
                node.deliver(sender.address, message)

        self.after(delay, arrive)

    def _other_twins(self, sender: Node, to: Address) -> bool:
        """Each twin talks to its half of the roster; the halves differ from time to time."""
        second = self._at_address[sender.address][1] is sender
        half = (self.genesis.roster.index(to) + self.now // 7_000) % 2 == 1
        if half == second:
            self.count("lies: twin")
        return half != second

    def download(self, node: Node, digest: Digest, holders: list[Address]) -> None:
        """Bring a file from the first holder that has it and serves it; it may not arrive."""
        if self.rng.random() < self.faults.loss:
            return
        if any(self._serves(node, digest, holder) for holder in holders):
            self.after(self.rng.randint(10, 500), lambda: node.arrive(digest))

    def _serves(self, node: Node, digest: Digest, holder: Address) -> bool:
        if holder not in self._at_address:
            return self.clients.hosts(holder, digest)
        other = self._at_address[holder][0]
        if digest in self.tables and (node.address, holder) in self.walls:
            self.count("stopped by a wall")
            return False
        if other.behaviour == "withhold table" and digest in self.tables:
            self.count("lies: withhold table")
            return False
        reachable = (node.address, holder) not in self._blocked and other.replica is not None
        return digest in other.files and reachable

    # Mining children --------------------------------------------------------------------------------------------

    def compute(self, node: Node, order: jobs.Order) -> None:
        """A child answers after a while, if it lives until then."""
        life = node.life
        answer, delay = self._answer(node, order)
        if answer is not None:
            self.after(delay, lambda: node.answer(life, answer))

    def _answer(self, node: Node, order: jobs.Order) -> tuple[jobs.Answer | None, int]:
        quick = self.rng.randint(5, 400)
        match order:
            case jobs.Inspect(task):
                return jobs.Inspected(task.id, None), quick
            case jobs.Mine():
                if self._nobody_mines(order):
                    return None, 0
                left = max(0, node.clock.world_ms(order.deadline_ms) - self.now)
                return self._estimate(node, order), left + self.rng.randint(0, 300)
            case jobs.VerifyTable(task, attempt, _, reveal):
                place = task.id, attempt, reveal.miner
                return jobs.TableVerified(*place, *self._check(node, order)), quick
            case jobs.VerifyEntry(task, attempt, _, reveal, entry):
                wrong = entry in self.tables[reveal.table].wrong
                return jobs.EntryVerified(task.id, attempt, reveal.miner, entry, wrong), quick
        return None, 0

    def _nobody_mines(self, order: jobs.Mine) -> bool:
        place = order.task.id, order.attempt
        return self._idle.setdefault(place, self.rng.random() < self.faults.lazy)

    def _check(self, node: Node, order: jobs.VerifyTable) -> tuple[bool, tuple[int, ...]]:
        table = self.tables[order.reveal.table]
        own = order.reveal.miner == node.address
        if node.behaviour == "false frauds" and not own:
            self.count("lies: false frauds")
            return True, (self._entry(order.task, order.reveal.rankings, exact=order.reveal.exact),)
        found = not own and (self.certain or self.rng.random() < 0.5)
        return table.follows or own, table.wrong if found else ()

    def _estimate(self, node: Node, order: jobs.Mine) -> jobs.Estimated:
        """Honest sums of t rankings around a common truth, or exact values; liars' tables are false."""
        rng, task = self.rng, order.task
        exact = rng.random() < 0.3
        rankings = order.most_rankings if exact else grid_up_to(rng.randint(10, 200))
        scale, noise = (exact_denominator(task.clients), 1) if exact else (rankings, 2)
        sums = tuple(scale * (10 * client + 5) + rng.randint(-noise, noise) for client in range(task.clients))
        table = f"{rng.getrandbits(256):064x}"
        false = node.behaviour == "false table"
        wrong = (self._entry(task, rankings, exact=exact),) if false else ()
        self.tables[table] = Table(wrong, node.behaviour != "wrong sums")
        if node.behaviour in ("false table", "wrong sums"):
            self.count(f"lies: {node.behaviour}")
        node.files.add(Digest(table))
        place = task.id, order.attempt
        return jobs.Estimated(*place, Estimate(rankings, exact, sums, Digest(table)))

    def _entry(self, task: Task, rankings: int, *, exact: bool) -> int:
        """Any count of a table."""
        return self.rng.randrange(table_entries(task.clients, blocks_of(task), None if exact else rankings))

    # Blocks -----------------------------------------------------------------------------------------------------

    def appended(self, node: Node, block: Block) -> None:
        """A node appended a block: the first to do so makes it final for everybody."""
        fresh = block.height not in self.witness.blocks
        self.witness.appended(node, block)
        if fresh:
            self.final |= {t.id for t in block.transactions if not isinstance(t, Close | Result)}
            for transaction in block.transactions:
                self._tell_ended(transaction)

    def _tell_ended(self, transaction: Any) -> None:
        if isinstance(transaction, Close) and transaction.outcome is not None:
            self.count("empty closes")
        if isinstance(transaction, Result):
            self.count(f"results {transaction.outcome.state}")
            self.happened["frauds"] += len(transaction.frauds)
            self.happened["exact reveals"] += sum(reveal.exact for reveal in transaction.reveals)

    # Faults -----------------------------------------------------------------------------------------------------

    def start_faults(self, until: int) -> None:
        """Let accidents happen at random until then."""
        faults = self.faults
        for every, accident in (
            (faults.crash_every_ms, self._crash_one),
            (faults.blackout_every_ms, self.blackout),
            (faults.child_every_ms, self._kill_child),
            (faults.partition_every_ms, self._partition),
        ):
            if every:
                self._each(every, until, accident)
        for node in self.everybody:
            if node.behaviour == "mortal":
                self.after(self.rng.randint(1_000, until), partial(self._die_for_good, node))
            if node.behaviour in ("lost log", "old log"):
                self.after(self.rng.randint(5_000, until), partial(self._touch_disk, node))

    def _each(self, every: int, until: int, accident: Callable[[], None]) -> None:
        def again() -> None:
            if self.now < until:
                accident()
                self.after(self.rng.randint(1, 2 * every), again)

        self.after(self.rng.randint(1, 2 * every), again)

    def _crash_one(self) -> None:
        node = self.rng.choice(self.everybody)
        if node.replica is None:
            return
        if self.rng.random() < 0.3:
            node.die()
            self._touch_disk(node)
        else:
            node.crash_at = node.steps + self.rng.randint(1, 12)

    def _touch_disk(self, node: Node) -> None:
        """What people do to the files of a miner that is down."""
        rng = self.rng
        if node.behaviour in ("lost log", "old log"):
            if node.replica is not None:
                node.die()
            if node.behaviour == "lost log":
                node.log.lose()
            else:
                node.log.put_back(node.backup)
            self.count(f"{node.behaviour}s")
        elif self.faults.copies and node.index == 0 and len(self.nodes) > 1 and rng.random() < 0.5:
            blocks = rng.randint(0, min(4, node.ledger.tip.height))
            node.ledger.cut(blocks)
            self.count("old ledgers")
        elif self.faults.torn and node.ledger.tip.height and self.accidents.random() < 0.5:
            node.ledger.tear(self.accidents)
            self.count("torn ledgers")

    def blackout(self) -> None:
        """Everybody falls at once."""
        self.count("blackouts")
        for node in self.everybody:
            if node.replica is not None:
                node.die()

    def _kill_child(self) -> None:
        node = self.rng.choice(self.nodes)
        if node.replica is not None:
            self.count("dead children")
            node.lose_child()

    def _die_for_good(self, node: Node) -> None:
        self.count("deaths for good")
        node.dead = True
        if node.replica is not None:
            node.die()

    def backup_logs(self) -> None:
        """Somebody copies the vote logs."""
        for node in self.nodes:
            node.backup = node.log.saved()

    def _partition(self) -> None:
        self.count("partitions")
        size = self.rng.randint(1, max(1, len(self.nodes) // 2))
        island = {node.address for node in self.rng.sample(self.nodes, size)}
        rest = {node.address for node in self.nodes} - island
        pairs = {(a, b) for a in island for b in rest}
        if self.rng.random() < 0.7:
            pairs |= {(b, a) for a, b in pairs}
        self._blocked |= pairs
        self.after(self.rng.randint(500, 20_000), lambda: self._blocked.difference_update(pairs))

    def heal(self) -> None:
        """The liveness phase: Δ holds, nobody crashes, all that live are up; liars stay liars."""
        self.calm = True
        delay_ms = (1, self.genesis.delta_ms // 4)
        self.faults = replace(self.faults, loss=0.0, duplicate=0.0, queue=0, delay_ms=delay_ms)
        self._blocked.clear()
        for node in self.everybody:
            node.crash_at = None
            node.revive()

    def close(self) -> None:
        """Give back files."""
        for node in self.everybody:
            node.ledger.close()
            node.log.close()

    # The end ----------------------------------------------------------------------------------------------------

    @property
    def live(self) -> list[Node]:
        """Who must converge."""
        return [node for node in self.nodes if not node.dead and node.behaviour != "twin"]

    def converged(self) -> bool:
        """Everything asked for is final, every task has ended, all that live agree."""
        if any(transaction.id not in self.final for transaction in self.clients.wanted):
            return False
        live = self.live
        if any(node.replica is None for node in live):
            return False
        if len({node.ledger.tip.state.head for node in live}) != 1:
            return False
        return live[0].ledger.tip.state.current is None

    def finish(self) -> list[str]:
        """What is wrong at the end."""
        if self.witness.problems:
            return self.witness.problems
        if not self.converged():
            return [f"stall: {self._why()}"]
        problems = []
        if len({tuple(node.ledger.lines) for node in self.live}) != 1:
            problems.append("ledgers: live nodes differ in bytes")
        state = self.live[0].ledger.tip.state
        if state.total_micro != self.genesis.supply_micro:
            problems.append("money: made or lost")
        if state.tasks:
            problems.append("stall: a task never ended")
        return problems

    def _why(self) -> str:
        missing = sum(transaction.id not in self.final for transaction in self.clients.wanted)
        heights = [(node.ledger.tip.height, node.replica is not None, node.behaviour) for node in self.nodes]
        return f"{missing} transactions not final at {self.now} ms; nodes {heights}"


def miners_of(seed: int) -> int:
    """R = 1..7; in every hundredth seed R = 8..20."""
    return 8 + seed // 100 % 13 if seed % 100 == LARGE else seed % 7 + 1


def draw_faults(rng: Random, most: int) -> Faults:
    """Everything at random; at most `most` faulty nodes."""
    return Faults(
        loss=rng.choice((0.0, 0.02, 0.1, 0.3)),
        duplicate=rng.choice((0.0, 0.05)),
        delay_ms=rng.choice(((1, 20), (5, 80), (20, 400), (1, 2_000))),
        crash_every_ms=rng.choice((0, 5_000, 20_000)),
        blackout_every_ms=rng.choice((0, 0, 20_000)),
        child_every_ms=rng.choice((0, 0, 10_000)),
        partition_every_ms=rng.choice((0, 0, 10_000, 30_000)),
        copies=rng.random() < 0.2,
        late=rng.random() < 0.2,
        lazy=rng.choice((0.0, 0.0, 0.3)),
        behaviours=tuple(rng.choices(BEHAVIOURS, k=rng.choice((0, 1, most, most)) if most else 0)),
    )


def add_accidents(dice: Random, faults: Faults) -> Faults:
    """What was added later is drawn from dice of its own, so that the seeds of before keep their histories."""
    behaviours = tuple(
        CHANGES if dice.random() < 1 / len(BEHAVIOURS) else behaviour for behaviour in faults.behaviours
    )
    torn, queue = dice.random() < 0.5, dice.choice((0, 0, 8))
    return replace(faults, behaviours=behaviours, torn=torn, queue=queue)
