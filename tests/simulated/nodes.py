"""One simulated miner: a disk that lasts, clocks of its own, and the product's replica while it is up.

A node may die at any persist or send: every such boundary is a step, counted, and a `Crash` at one of them ends the
replica at once. Its clocks run a little fast or slow; the monotonic one starts anew at each boot.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from simulated.disks import MemoryLedger, MemoryLog
from simulated.files import FileLedger, FileLog

from fedcoin_cli.protocol.message import Message
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.ports import RosterSigner
from fedcoin_cli.replica.replica import Replica, reconcile
from ledger_store.base.names import Address, Digest
from ledger_store.block import Block
from ledger_store.transaction import Task

if TYPE_CHECKING:
    from simulated.world import World

WALL_MS = 1_700_000_000_000
CHILD_RESTART_MS = 2_000
# Faults that break no rule: what such a node signs must never contradict itself. An old log may, if all others forgot.
TRUTHFUL = (None, "mortal", "silent", "lost log")


class Crash(Exception):
    """The node dies at this very persist or send."""


class Clock:
    """Monotonic time and time of day, up to 1 % off."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rate = 1_000 + world.rng.randint(-10, 10)
        self._skew_ms = world.rng.randint(-2_000, 2_000)
        self.boot()

    def boot(self) -> None:
        """The monotonic clock starts anywhere; now and then the time of day has been set."""
        rng = self._world.rng
        self._booted, self._base = self._world.now, rng.randint(0, 10**9)
        if rng.random() < 0.1:
            self._skew_ms = rng.randint(-60_000, 60_000)

    def now_ms(self) -> int:
        return self._base + (self._world.now - self._booted) * self._rate // 1_000

    def wall_ms(self) -> int:
        return WALL_MS + self._world.now * self._rate // 1_000 + self._skew_ms

    def world_ms(self, local_ms: int) -> int:
        """The world's time when the monotonic clock shows `local_ms`."""
        return self._booted - (self._base - local_ms) * 1_000 // self._rate + 1


class Node:
    """Disk, clocks and replica; to the replica it is its `Ports`."""

    def __init__(self, world: "World", index: int) -> None:
        self.world = world
        self.index = index
        self.key = world.miner_keys[index]
        self.address: Address = self.key.address
        self.clock = Clock(world)
        self.ledger, self.log = self._disk()
        self.backup: Any = self.log.saved()
        self.files: set[Digest] = set()
        self.room = True
        self.replica: Replica | None = None
        self.life = 0
        self.steps = 0
        self.crash_at: int | None = None
        self.tick_at: int | None = None
        self.behaviour: str | None = None
        self.dead = False
        self.notes: dict[str, Any] = {}

    def _disk(self) -> tuple[MemoryLedger | FileLedger, MemoryLog | FileLog]:
        """Twins in memory, or the real files in the world's folder."""
        world = self.world
        if world.folder is None:
            return MemoryLedger(world.genesis, self.step, self._appended), MemoryLog(self.step)
        folder = Path(mkdtemp(dir=world.folder))
        ledger = FileLedger(folder, world.genesis, self.step, self._appended)
        return ledger, FileLog(folder, self.address, world.genesis.id, self.step, world.accidents)

    @property
    def truthful(self) -> bool:
        """Whether what it signs may be held against it."""
        return self.behaviour in TRUTHFUL

    # Ports ------------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        return self.clock.now_ms()

    def wall_ms(self) -> int:
        return self.clock.wall_ms()

    def salt(self) -> str:
        return f"{self.world.rng.getrandbits(128):032x}"

    def send(self, to: Address, message: Message) -> None:
        self._send([to], message)

    def broadcast(self, message: Message) -> None:
        self._send((address for address in self.world.genesis.roster if address != self.address), message)

    def _send(self, addresses: Iterable[Address], message: Message) -> None:
        if self.truthful:
            self.world.witness.sent(self, message)
        for address in addresses:
            self.step()
            self.world.transmit(self, address, message)

    def order(self, order: jobs.Order) -> None:
        missing = [digest for digest in jobs.needed_files(order) if digest not in self.files]
        assert not missing, f"the child gets {type(order).__name__} without its files"
        self.world.compute(self, order)

    def has_file(self, digest: Digest) -> bool:
        return digest in self.files

    def has_room(self) -> bool:
        return self.room

    def want_files(
        self,
        digests: Iterable[Digest],
        holders: Iterable[Address],
        most_bytes: int,
        pending: Task | None = None,
    ) -> None:
        wanted = list(holders)
        for digest in digests:
            if digest not in self.files:
                self.world.download(self, digest, wanted)

    def applied(self, block: Block) -> None:
        pass

    def keep_evidence(self, height: int, proofs: list[Any]) -> None:
        self.world.count("evidence files")

    def connected(self) -> int:
        return len(self.world.nodes) - 1

    # Disk and death ---------------------------------------------------------------------------------------------

    def step(self) -> None:
        """A boundary: before or after something becomes durable, or before something is sent."""
        self.steps += 1
        if self.crash_at is not None and self.steps >= self.crash_at:
            self.world.count("crashes at a boundary")
            raise Crash

    def _appended(self, block: Block) -> None:
        if self.behaviour != "twin":
            self.world.appended(self, block)

    def die(self) -> None:
        """Everything in memory is gone; what comes back later does so after up to 20 s."""
        self.replica = None
        self.life += 1
        self.crash_at = self.tick_at = None
        self.world.count("crashes")
        self.world.after(self.world.rng.randint(50, 20_000), self.revive)

    def revive(self) -> None:
        """Start, unless it runs or never will again."""
        if self.replica is None and not self.dead:
            self.boot()

    def boot(self) -> None:
        self.life += 1
        self.crash_at, self.tick_at = self.world.planned.pop(self.index, None), None
        self.clock.boot()

        def begin() -> None:
            self.ledger.reopen()
            self.log.reopen()
            remembered = self.log.load()
            reconcile(self.ledger, remembered)
            signer = RosterSigner(self.key, self.world.genesis)
            genesis, nonce = self.world.genesis, self.salt()
            self.replica = Replica(
                genesis, self.address, signer, self.ledger, self.log, remembered, self, nonce
            )

        self.enter(begin)

    # Events -----------------------------------------------------------------------------------------------------

    def enter(self, event: Callable[[], None]) -> None:
        """Let something happen inside the node; it may die of it."""
        try:
            event()
        except Crash:
            self.die()
            if self.world.together:
                self.world.blackout()
        if self.replica is not None:
            if self.behaviour is None:
                self.world.witness.looked(self)
            self._schedule_tick()

    def deliver(self, sender: Address, message: Message) -> None:
        if self.replica is not None:
            replica = self.replica
            self.enter(lambda: replica.receive(sender, message))

    def answer(self, life: int, answer: jobs.Answer) -> None:
        """The child speaks; one that died, or whose node did, does not."""
        if self.replica is not None and life == self.life:
            replica = self.replica
            self.enter(lambda: replica.answer(answer))

    def lose_child(self) -> None:
        """The mining child dies; the node starts another."""
        self.life += 1
        life = self.life

        def again() -> None:
            if self.replica is not None and life == self.life:
                self.enter(self.replica.child_restarted)

        self.world.after(CHILD_RESTART_MS, again)

    def arrive(self, digest: Digest) -> None:
        self.files.add(digest)
        if self.replica is not None:
            replica = self.replica
            self.enter(lambda: replica.file_arrived(digest))

    def _schedule_tick(self) -> None:
        assert self.replica is not None
        at = max(self.clock.world_ms(self.replica.deadline_ms), self.world.now + 1)
        if self.tick_at is None or at < self.tick_at:
            self.tick_at = at
            self.world.at(at, lambda: self._tick(at))

    def _tick(self, at: int) -> None:
        if self.replica is not None and self.tick_at == at:
            self.tick_at = None
            self.enter(self.replica.tick)
