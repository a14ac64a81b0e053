"""The settings' schema: every key with its type, range, default, unit and one line of help.

The tables are frozen dataclasses, one a section of `settings.toml`; a field's rule stands beside its default.
Keys are written in kebab-case (`task.most-rankings`). Which file, variable or flag a value comes from lives
in `configuration`. What consensus depends on is copied into genesis or a task, so that a changed setting
never changes an old block.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from fedcoin_cli.application.workspace.setting_rule import Rule, Value, decimal, integer, word
from fedcoin_cli.consensus.rankings import grid_up_to
from ledger_store.base.amount import MICRO
from ledger_store.genesis import ROSTER_MAX, Bounds

_BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """What `train` makes and `publish` asks for; copied into the task."""

    clients: int = integer(20, "federated-learning clients (K)", 2, _BOUNDS.clients)
    price: Decimal = decimal("1000.0", "reward for one task; 0 asks for values without pay", "FedCoin")
    runtime: Decimal = decimal(
        "15.0",
        "time to mine in a round (the least rankings are always walked)",
        "s",
        most=Decimal(_BOUNDS.runtime_ms) / 1000,
        places=3,
    )
    attempts: int = integer(3, "attempts before a task is refunded", 1, _BOUNDS.attempts)
    least_rankings: int = integer(1, "rankings that every miner walks at least", 1, _BOUNDS.rankings)
    most_rankings: int = integer(
        grid_up_to(10_000), "rankings that a miner walks at most", 1, _BOUNDS.rankings
    )
    block_images: int = integer(
        16, "test images a block; each block walks rankings of its own", 1, _BOUNDS.block_images
    )
    aggregation: str = word(
        "mean", "how updates are combined; fedavg weights them by example counts", ("mean", "fedavg")
    )
    metric: str = word(
        "accuracy", "what models are judged by, as roc_auc or neg_log_loss:2.5 (docs/metrics.md)"
    )
    baseline: str = word(
        "zero", "what nobody is worth: zero, chance, or a file of weights, as those that clients began with"
    )
    server: str = word("server", "the FL server that is paid (a key's name or an address)")
    inspect: str = word("yes", "whether publish first looks at what the updates are like", ("yes", "no"))
    copies: str = word(
        "refuse", "what publish does where two clients send the very same update", ("refuse", "allow")
    )

    @property
    def price_micro(self) -> int:
        """The price in micro-FedCoin."""
        return int(self.price * MICRO)

    @property
    def runtime_ms(self) -> int:
        """RUNTIME in milliseconds."""
        return int(self.runtime * 1000)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How many miners there are and where they listen."""

    miners: int = integer(2, "miners of a new network (R); 1 only for tests", 1, ROSTER_MAX)
    bind: str = word("127.0.0.1", "address on which miners listen")
    advertise: str = word("", "address under which others reach this host; empty means the bind address")
    port: int = integer(7460, "first TCP port; every miner takes two", 1, 65_535 - 2 * ROSTER_MAX)


@dataclass(frozen=True, slots=True)
class ConsensusSettings:
    """When an estimate is good enough; copied into the task."""

    difficulty: Decimal = decimal(
        "1.5", "greatest distance from the miners' average (D)", "percentage points"
    )

    @property
    def difficulty_micro(self) -> int:
        """D in 10⁻⁶ percentage points."""
        return int(self.difficulty * MICRO)


@dataclass(frozen=True, slots=True)
class PaymentSettings:
    """How a price is split; the three parts sum to 1 exactly."""

    train: Decimal = decimal("0.7", "part of the price to the FL clients", most=Decimal(1))
    computation: Decimal = decimal("0.1", "part of the price to the FL server", most=Decimal(1))
    shapley: Decimal = decimal("0.2", "part of the price to the miners", most=Decimal(1))
    rule: str = word(
        "winner", "who gets the miners' part: the winner, or all by rankings", ("winner", "shared")
    )

    @property
    def parts_micro(self) -> tuple[int, int, int]:
        """(train, computation, shapley) in millionths; they sum to 1,000,000."""
        return int(self.train * MICRO), int(self.computation * MICRO), int(self.shapley * MICRO)


@dataclass(frozen=True, slots=True)
class MiningSettings:
    """How a miner of this host works; no consensus depends on it."""

    estimator: str = word(
        "auto",
        "exact values or balanced squares; auto is exact when that fits into the runtime",
        ("auto", "exact", "balanced"),
    )
    threads: int = integer(0, "threads a miner may use; 0 shares the cores among the miners", 0, 1024)


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """What is kept on disk."""

    keep_rounds: int = integer(
        10, "finished rounds whose files are kept; unfinished ones always are", 0, 1_000_000, "rounds"
    )


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """How miners run with `mine --via docker` and `--via swarm`."""

    image: str = word("fedcoin", "image of a miner's container")
    base: str = word("python:3.11-slim-bookworm", "image on which mine --build builds")
    cpus: Decimal = decimal("0", "processors a container may use; 0 means one more than its mining threads")
    memory: int = integer(4096, "memory a container may use", 256, 2**20, "MiB")
    constraint: str = word("", "which nodes of a swarm see the workspace's folder; empty means this one")


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where miners tell Prometheus how they are; nobody has to prove anything there."""

    bind: str = word("127.0.0.1", "address on which metrics are served, to whoever reaches it")
    port: int = integer(
        0,
        "port of miner 1's metrics, miner N has the N-th from it; 0: none are served",
        0,
        65_535 - ROSTER_MAX,
    )


@dataclass(frozen=True, slots=True)
class GenesisSettings:
    """What `init` fixes for ever in a new network."""

    supply: Decimal = decimal("1000000.0", "FedCoins minted to the requester", "FedCoin", least="0.000001")
    delta: Decimal = decimal(
        "0.5",
        "greatest message delay of a network that behaves (Δ)",
        "s",
        least="0.001",
        most=Decimal(60),
        places=3,
    )

    @property
    def supply_micro(self) -> int:
        """The supply in micro-FedCoin."""
        return int(self.supply * MICRO)

    @property
    def delta_ms(self) -> int:
        """Δ in milliseconds."""
        return int(self.delta * 1000)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; `Settings()` holds the defaults."""

    task: TaskSettings = TaskSettings()
    network: NetworkSettings = NetworkSettings()
    consensus: ConsensusSettings = ConsensusSettings()
    payment: PaymentSettings = PaymentSettings()
    mining: MiningSettings = MiningSettings()
    storage: StorageSettings = StorageSettings()
    containers: ContainerSettings = ContainerSettings()
    metrics: MetricsSettings = MetricsSettings()
    genesis: GenesisSettings = GenesisSettings()

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> "Settings":
        """Settings from checked values by key; what is left out keeps its default."""
        return cls(**{name: type(section)(**_fields_of(name, values)) for name, section in _DEFAULTS.items()})

    def value(self, key: str) -> Value:
        """One setting by its key, for example `task.price`."""
        section, name = key.split(".")
        value: Value = getattr(getattr(self, section), name.replace("-", "_"))
        return value


def _fields_of(section: str, values: Mapping[str, Value]) -> dict[str, Value]:
    prefix = f"{section}."
    return {
        key.removeprefix(prefix).replace("-", "_"): value
        for key, value in values.items()
        if key.startswith(prefix)
    }


_DEFAULTS: Mapping[str, Any] = {section.name: section.default for section in fields(Settings)}

SECTIONS: tuple[str, ...] = tuple(_DEFAULTS)

RULES: Mapping[str, Rule] = {
    rule.key: rule
    for name, section in _DEFAULTS.items()
    for entry in fields(section)
    for default in [getattr(section, entry.name)]
    for rule in [Rule(f"{name}.{entry.name.replace('_', '-')}", default, **entry.metadata)]
}
"""Every setting's rule by key, in the order of `settings.toml`."""
