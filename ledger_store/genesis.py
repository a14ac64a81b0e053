"""What a network fixes for ever: its name, roster, message delay, bounds and who holds the supply.

The genesis id is part of every signature, so nothing signed in one network means anything in another.
Endpoints are not here: they change (a peers file). A new roster or format is a successor chain whose genesis
names the old head and mints its final balances.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from ledger_store.base.amount import SUPPLY_MAX_MICRO
from ledger_store.base.canonical import INTEGER_LIMIT, decode, encode, tagged_hash
from ledger_store.base.errors import Malformed
from ledger_store.base.fields import Fields
from ledger_store.base.names import Address, BlockId, GenesisId, MinerIndex

FORMAT = 1
ROSTER_MAX = 64
CLIENTS_MAX = 1_000
HOLDERS_MAX = 250_000
BLOCK_BYTES_MAX = 512 * 1024
BLOCK_IMAGES_MAX = 255
WEIGHT_MAX = 1_000_000
# The end of 9999-12-30: calendars count to the day after, where a journal asserts its balances.
TIME_MAX_MS = 253_402_214_399_999
# A holder takes at most 86 bytes and 3 values, a miner 67 and 1; beside them stand less than 2 KiB and 50 values.
GENESIS_BYTES_MAX = 22 * 2**20
GENESIS_VALUES_MAX = 3 * HOLDERS_MAX + 200


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits that every transaction and block obeys; all integers, units in their names."""

    runtime_ms: int = 3_600_000
    """The longest RUNTIME of a task, in milliseconds: other tasks wait for it."""
    attempts: int = 5
    """The most attempts of a task."""
    clients: int = 1_000
    """The most clients of a task; formats take 1,000."""
    images: int = 1_000_000
    """The most test images of a task."""
    block_images: int = BLOCK_IMAGES_MAX
    """The most images of a block: a block's count is one byte."""
    rankings: int = 1_000_000
    """The most rankings that a task may ask for."""
    examples: int = 2**31 - 1
    """The most examples of an update: weights of an average stay exact."""
    weight: int = WEIGHT_MAX
    """The greatest magnitude of a weight; the same everywhere, for readers of weights know no network."""
    files_bytes: int = 2 * 2**30
    """What a task's files may weigh together: miners fetch them before anybody has paid."""
    table_bytes: int = 256 * 2**20
    """What a table may weigh: all others fetch it between close and result."""
    unfinished_an_account: int = 1
    """How many tasks of one account may wait or be at work."""
    unfinished: int = 64
    """How many tasks may wait or be at work in all: a state holds them."""
    least_difficulty_micro: int = 0
    """The least D that a task may name, in millionths of a percentage point."""
    least_shapley_price_micro: int = 0
    """The least SapPrice of a task whatever its RUNTIME, in micro-FedCoin."""
    least_shapley_price_micro_a_second: int = 0
    """What SapPrice must be besides for each second of RUNTIME and attempt, in micro-FedCoin."""
    task_deposit_micro: int = 1_000_000
    """What a task locks beside its price until it ends: who has no coin cannot make miners look."""
    least_transfer_micro: int = 10_000
    """The least payment, and the least that may be left behind: accounts cost everybody."""
    transactions_an_account: int = 8
    """How many transactions of one account a block may hold, so that nobody fills it."""
    transactions_a_block: int = 1_000
    """How many transactions a block may hold."""
    block_bytes: int = BLOCK_BYTES_MAX
    """The longest line of a block: a proposal must fit into a frame."""
    block_interval_ms: int = 200
    """How many milliseconds a block's time must be after its parent's: no proposer floods."""


_BOUND_NAMES = tuple(field.name for field in fields(Bounds))
# What the wire format and the arithmetic are made for; a network may choose less. A block's count is one byte.
_BOUND_MOST = {
    "block_images": BLOCK_IMAGES_MAX,
    "clients": CLIENTS_MAX,
    "rankings": 1_000_000,
    "examples": 2**31 - 1,
    "transactions_a_block": 1_000,
    "block_bytes": BLOCK_BYTES_MAX,
}
_BOUND_LEAST = {"block_images": 1}
# Part of the format, but the same everywhere: the reader of weights applies it, whatever the network.
_BOUND_FIXED = {"weight": WEIGHT_MAX}


@dataclass(frozen=True)
class Genesis:
    """Line 0 of every chain. `supply` pairs addresses with micro-FedCoin; `roster` orders the miners."""

    network: str
    """The network's name, for people: at most 64 printable characters."""
    time_ms: int
    """When it was founded, in milliseconds since 1970 (UTC); no block is before it."""
    roster: tuple[Address, ...]
    """The miners' addresses, 1 to 64, in the order in which they lead; a miner's index is its place."""
    supply: tuple[tuple[Address, int], ...]
    """Pairs of address and micro-FedCoin, ascending by address: who holds all coins that there will be."""
    delta_ms: int
    """The greatest message delay of a network that behaves, in milliseconds: all clocks follow from it."""
    bounds: Bounds = Bounds()
    """The limits that transactions and blocks keep to, each named with its unit."""
    predecessor: BlockId | None = None
    """Id of the block that this chain goes on from, or null: whose final balances it mints."""

    @cached_property
    def id(self) -> GenesisId:
        """The genesis id: SHA-256 over a domain tag and the canonical fields [P-3.2]."""
        return GenesisId(BlockId(tagged_hash("genesis", encode(self.to_json()))))

    def index_of(self, miner: Address) -> MinerIndex:
        """Where a miner is in the roster."""
        return MinerIndex(self.roster.index(miner))

    def leader(self, height: int, view: int) -> MinerIndex:
        """Who proposes in a view: roster order, nobody else."""
        return MinerIndex((height + view) % len(self.roster))

    @cached_property
    def supply_micro(self) -> int:
        """What genesis mints in all; no block ever changes it."""
        return sum(amount for _, amount in self.supply)

    @property
    def quorum(self) -> int:
        """q = ⌊2R/3⌋ + 1 votes make a certificate [P-3.4]."""
        return 2 * len(self.roster) // 3 + 1

    @property
    def faults(self) -> int:
        """f = ⌊(R−1)/3⌋ miners may lie [P-3.4]."""
        return (len(self.roster) - 1) // 3

    def to_json(self) -> dict[str, Any]:
        """The canonical fields."""
        return {
            "bounds": {name: getattr(self.bounds, name) for name in _BOUND_NAMES},
            "delta_ms": self.delta_ms,
            "format": FORMAT,
            "network": self.network,
            "predecessor": self.predecessor,
            "roster": list(self.roster),
            "supply": [[address, amount] for address, amount in self.supply],
            "time_ms": self.time_ms,
        }

    @classmethod
    def from_line(cls, line: bytes) -> "Genesis":
        """Read a chain file's first line without its newline; raises `Malformed` [P-3.3]."""
        if len(line) > GENESIS_BYTES_MAX:
            raise Malformed(f"more than the {GENESIS_BYTES_MAX} bytes that a genesis takes at most")
        return cls.from_json(decode(line, GENESIS_VALUES_MAX))

    @classmethod
    def from_json(cls, value: Any) -> "Genesis":
        """Read and check; raises `Malformed` [P-3.1]."""
        keys = ("bounds", "delta_ms", "format", "network", "predecessor", "roster", "supply", "time_ms")
        reader = Fields(value, keys, "genesis")
        reader.integer("format", FORMAT, FORMAT)
        bounds = Fields(reader.raw("bounds"), _BOUND_NAMES, "genesis bounds")
        roster = reader.addresses("roster", ROSTER_MAX, 1)
        supply = tuple(
            (pair.address("address"), pair.integer("micro", 1, SUPPLY_MAX_MICRO))
            for pair in reader.pairs("supply", ("address", "micro"), HOLDERS_MAX, 1)
        )
        if len(set(roster)) != len(roster):
            raise Malformed("genesis: two miners share one key")
        holders = [address for address, _ in supply]
        if holders != sorted(set(holders)):
            raise Malformed("genesis: supply must be sorted by address, one entry each")
        if sum(amount for _, amount in supply) > SUPPLY_MAX_MICRO:
            raise Malformed("genesis: the supply is beyond 2**53 - 1 micro")
        return cls(
            network=reader.text("network", 64),
            time_ms=reader.integer("time_ms", 0, TIME_MAX_MS),
            roster=roster,
            supply=supply,
            delta_ms=reader.integer("delta_ms", 1, 60_000),
            bounds=Bounds(**{name: _read_bound(bounds, name) for name in _BOUND_NAMES}),
            predecessor=reader.optional_block_id("predecessor"),
        )


# Rule [P-3.5].
def _read_bound(bounds: Fields, name: str) -> int:
    if name in _BOUND_FIXED:
        return bounds.integer(name, _BOUND_FIXED[name], _BOUND_FIXED[name])
    return bounds.integer(name, _BOUND_LEAST.get(name, 0), _BOUND_MOST.get(name, INTEGER_LIMIT - 1))
