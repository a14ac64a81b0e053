"""What a miner tells Prometheus, over HTTP on a port of its own; the node hands over a snapshot now and then.

The exporter's thread reads nothing of the miner's: a snapshot is frozen and replaced as a whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from fedcoin_cli.protocol.message import Phase, Silence, Standing
from ledger_store.base.errors import NetworkFailure
from ledger_store.base.names import Address, GenesisId

_FINALITY_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_PHASES = tuple(Phase)


@dataclass(frozen=True, slots=True)
class Facts:
    """How a miner is, beside its `Standing`; counts are since its process began.

    `falls`: how often its process was started again. `disk_reserve_bytes`: below it no new task is taken.
    """

    block_time_ms: int
    view: int
    pending: int
    peers_needed: int
    refused: int
    malformed: int
    child_up: bool
    child_deaths: int
    falls: int
    disk_free_bytes: int
    disk_reserve_bytes: int
    ledger_bytes: int


class Metrics:
    """An exporter that runs from now on until `close`; raises `NetworkFailure` where the port is taken."""

    def __init__(self, host: str, port: int, miner: str, address: Address, genesis_id: GenesisId) -> None:
        registry = CollectorRegistry()
        self._finality = Histogram(
            "fedcoin_finality_seconds",
            "From something waiting for a block here to that block being final here.",
            buckets=_FINALITY_S,
            registry=registry,
        )
        labels = {"miner": miner, "address": address, "genesis": genesis_id, "version": version("fedcoin")}
        self._snapshots = _Snapshots(labels)
        registry.register(self._snapshots)
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            hint = "metrics.port chooses another first port, 0 serves none"
            message = f"the metrics' port cannot be used: {error.strerror}"
            raise NetworkFailure(message, where=f"{host}:{port}", hint=hint) from error

    def final(self, waited_ms: int) -> None:
        """A block is final for which something had waited so long."""
        self._finality.observe(waited_ms / 1000)

    def update(self, standing: Standing, facts: Facts) -> None:
        """How the miner is now."""
        self._snapshots.now = standing, facts

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Snapshots(Collector):
    def __init__(self, labels: dict[str, str]) -> None:
        self._labels = labels
        self.now: tuple[Standing, Facts] | None = None

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("fedcoin_miner", "Who this is.", self._labels)
        if self.now is None:
            return
        standing, facts = self.now
        yield from _gauges(_numbers(standing, facts))
        yield from _counters(facts)
        yield _states("fedcoin_silent", "Why it votes for nothing.", "reason", Silence, standing.silence)
        yield _states("fedcoin_phase", "What it does.", "phase", _PHASES, standing.phase)


def _numbers(standing: Standing, facts: Facts) -> dict[str, tuple[str, float]]:
    return {
        "height": ("Final blocks on this miner's ledger.", standing.height),
        "block_timestamp_seconds": ("When the newest one was proposed.", facts.block_time_ms / 1000),
        "view": ("View of the height at work: above 0 leaders are passed over.", facts.view),
        "pending_transactions": ("Transactions that wait for a block.", facts.pending),
        "peers_connected": ("Other miners connected.", standing.peers),
        "peers_needed": ("Other miners without which nothing becomes final.", facts.peers_needed),
        "child_up": ("Whether the mining process runs and is ready.", facts.child_up),
        "rankings": ("Rankings walked in the attempt at work.", standing.rankings),
        "coalitions": (
            "Coalitions evaluated in it, or looked at in a task's inspection.",
            standing.evaluated,
        ),
        "mining_remaining_seconds": ("Time left to mine.", standing.remaining_ms / 1000),
        "disk_free_bytes": ("Free where the store is.", facts.disk_free_bytes),
        "disk_reserve_bytes": ("With less no new task is taken.", facts.disk_reserve_bytes),
        "ledger_bytes": ("Size of the chain file.", facts.ledger_bytes),
    }


def _gauges(numbers: dict[str, tuple[str, float]]) -> Iterable[Metric]:
    for name, (meaning, value) in numbers.items():
        yield GaugeMetricFamily(f"fedcoin_{name}", meaning, value)


def _counters(facts: Facts) -> Iterable[Metric]:
    yield CounterMetricFamily("fedcoin_refused", "Transactions refused, with a reason given.", facts.refused)
    yield CounterMetricFamily("fedcoin_malformed", "Frames that are not messages.", facts.malformed)
    yield CounterMetricFamily("fedcoin_child_deaths", "Ends of the mining process.", facts.child_deaths)
    yield CounterMetricFamily("fedcoin_falls", "Restarts of the miner's process by its keeper.", facts.falls)


def _states(name: str, meaning: str, label: str, states: Iterable[str], present: str | None) -> Metric:
    """One series a state, 1 for the present one."""
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for state in states:
        family.add_metric([str(state)], state == present)
    return family
