"""What a replica needs from the world, as interfaces: clocks, peers, child, files, ledger and vote log.

`node` provides them over real things; the simulator provides twins in memory.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from fedcoin_cli.protocol.message import Certified, Message, Vote
from fedcoin_cli.replica.jobs import Inspect, Order, needed_files
from fedcoin_cli.replica.records import Record
from ledger_store.base.names import Address, Digest, MinerIndex, TaskId
from ledger_store.block import Block, Certificate
from ledger_store.chain import Tip
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import KeyPair, verify
from ledger_store.transaction import Task


class Ledger(Protocol):
    """The chain file, or its twin in memory."""

    @property
    def tip(self) -> Tip: ...
    def append(self, block: Block, certificate: Certificate) -> None: ...
    def block(self, height: int) -> Block: ...
    def certificate_of(self, height: int) -> Certificate | None: ...
    def certify(self, certificate: Certificate) -> None: ...


class Log(Protocol):
    """The vote log, or its twin in memory."""

    def append(self, records: list[Record]) -> None: ...
    def decide(self, block: Block, certificate: Certificate, current_task: TaskId | None) -> None: ...
    def mark(self, *, whole: bool) -> None: ...


class Ports(Protocol):
    """Everything that a replica does to the world, and the two clocks it reads."""

    def now_ms(self) -> int:
        """Monotonic time."""
        ...

    def wall_ms(self) -> int:
        """Time of day."""
        ...

    def salt(self) -> str:
        """128 fresh random bits as hex."""
        ...

    def send(self, to: Address, message: Message) -> None:
        """To one peer by address; may be lost."""
        ...

    def broadcast(self, message: Message) -> None:
        """To all other miners; may be lost."""
        ...

    def order(self, order: Order) -> None:
        """To the mining child; each order but Forget is answered, unless the child dies."""
        ...

    def has_file(self, digest: Digest) -> bool:
        """Whether the store holds it."""
        ...

    def has_room(self) -> bool:
        """Whether the disk has room for another task's files and tables."""
        ...

    def want_files(
        self,
        digests: Iterable[Digest],
        holders: Iterable[Address],
        most_bytes: int,
        pending: Task | None = None,
    ) -> None:
        """Get those of these files that are not here from any holder; `file_arrived` follows for each.

        For a `pending` task they go when it is refused, and they burden its account; without one the attempt at work
        needs them.
        """
        ...

    def applied(self, block: Block) -> None:
        """The ledger has grown by `block`."""
        ...

    def keep_evidence(self, height: int, proofs: list[Vote | Certified]) -> None:
        """A height was not decided by view 0 alone: keep what was said in it."""
        ...

    def connected(self) -> int:
        """How many other miners are connected."""
        ...


class Orders:
    """Orders that the mining child has not answered yet; each is sent once every file that it names is here."""

    def __init__(self, ports: Ports) -> None:
        # The way to the child, and what the store holds.
        self._ports = ports
        # What was ordered and not answered, by what it is about.
        self._open: dict[tuple[str, ...], Order] = {}
        # Of these what the child has; the rest waits for files.
        self._sent: set[tuple[str, ...]] = set()
        # How many children died over each: a task may be made to kill them.
        self._deaths: Counter[tuple[str, ...]] = Counter()

    def __contains__(self, key: tuple[str, ...]) -> bool:
        return key in self._open

    def give(self, key: tuple[str, ...], order: Order) -> None:
        """Order something, now or when its last file has come."""
        self._open[key] = order
        self._sent.discard(key)
        self.send_complete()

    def done(self, key: tuple[str, ...]) -> Order | None:
        """The order that an answer belongs to; None when it is no longer wanted."""
        self._sent.discard(key)
        del self._deaths[key]
        return self._open.pop(key, None)

    def drop(self, *kinds: str) -> None:
        """Forget the orders of these kinds (the first word of their keys)."""
        self._open = {key: order for key, order in self._open.items() if key[0] not in kinds}
        self._sent &= self._open.keys()
        self._deaths = Counter({key: count for key, count in self._deaths.items() if key in self._open})

    def send_complete(self) -> None:
        """Files have come, perhaps: send what can be carried out now."""
        for key, order in self._open.items():
            if key not in self._sent and self._may_go(order):
                self._sent.add(key)
                self._ports.order(order)

    def _may_go(self, order: Order) -> bool:
        """Without room on the disk no task is inspected, so that this miner votes for no new one; work goes on."""
        room = not isinstance(order, Inspect) or self._ports.has_room()
        return room and all(map(self._ports.has_file, needed_files(order)))

    def child_died(self) -> None:
        """What it was given has come to nothing: a new child knows of nothing."""
        self._deaths.update(self._sent)
        self._sent.clear()

    def deaths(self, key: tuple[str, ...]) -> int:
        """How many children have died with this order unanswered."""
        return self._deaths[key]

    def unsent(self) -> list[Order]:
        """Those that lack a file."""
        return [order for key, order in self._open.items() if key not in self._sent]


@dataclass(frozen=True, slots=True)
class RosterSigner:
    """The machines' signer: this miner's key, and the roster of a genesis."""

    key: KeyPair
    genesis: Genesis

    def sign(self, kind: str, terms: dict[str, object]) -> str:
        """This miner's signature over canonical `terms`."""
        return self.key.sign(kind, self.genesis.id, terms)

    def verify(self, miner: MinerIndex, kind: str, terms: dict[str, object], signature: str) -> bool:
        """Whether roster[miner] signed `terms`."""
        return verify(self.genesis.roster[miner], kind, self.genesis.id, terms, signature)
