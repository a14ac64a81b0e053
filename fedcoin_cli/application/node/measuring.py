"""How a miner is, measured for Prometheus: a snapshot a second and after each block; how long each was waited for."""

from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

from fedcoin_cli.application.node.round_files import RoundFiles
from fedcoin_cli.application.workspace.settings import Settings
from fedcoin_cli.application.workspace.workspace import MinerFolder
from fedcoin_cli.replica.replica import Replica
from fedcoin_cli.runtime.falls import falls_of
from ledger_store.base.names import Address
from ledger_store.file.chain_file import ChainReader
from ledger_store.genesis import Genesis

if TYPE_CHECKING:
    from fedcoin_cli.application.node.metrics import Metrics

MEASURE_EVERY_MS = 1_000


class Measuring:
    """What is counted and measured of one miner; without a port for Prometheus nobody is told."""

    def __init__(self, folder: MinerFolder, ledger: ChainReader, genesis: Genesis) -> None:
        # Whose ledger and process are measured.
        self._folder = folder
        # How old the newest block is.
        self._ledger = ledger
        # How many peers make a quorum.
        self._genesis = genesis
        # What happened so far, by word.
        self.counts: Counter[str] = Counter()
        # The door for Prometheus; None: not wanted.
        self._metrics: Metrics | None = None
        # When the last snapshot was made.
        self._measured_ms = 0
        # Since when something waits for a block; None: nothing does.
        self._waiting_ms: int | None = None

    def open(self, settings: Settings, address: Address, stack: ExitStack) -> None:
        """Serve from now on, if a port is set."""
        if settings.metrics.port:
            from fedcoin_cli.application.node.metrics import Metrics

            port = settings.metrics.port + self._folder.number - 1
            name, genesis = self._folder.name, self._genesis.id
            self._metrics = Metrics(settings.metrics.bind, port, name, address, genesis)
            stack.callback(self._metrics.close)

    def measure(self, replica: Replica, files: RoundFiles, now_ms: int) -> None:
        """When something began to wait for a block, at every turn; the rest once a second."""
        if self._metrics is None:
            return
        self._waiting_ms = (self._waiting_ms or now_ms) if replica.armed else None
        if now_ms - self._measured_ms < MEASURE_EVERY_MS:
            return
        from fedcoin_cli.application.node.metrics import Facts

        self._measured_ms = now_ms
        falls = falls_of(self._folder.process)
        facts = Facts(
            block_time_ms=self._ledger.tip.state.time_ms,
            view=replica.view,
            pending=replica.report.pending,
            peers_needed=self._genesis.quorum - 1,
            refused=self.counts["refused"],
            malformed=self.counts["malformed"],
            child_up=bool(replica.report.engine),
            child_deaths=self.counts["child deaths"],
            falls=0 if falls is None else falls.restarts,
            disk_free_bytes=files.free_bytes,
            disk_reserve_bytes=files.reserve_bytes,
            ledger_bytes=self._folder.chain.stat().st_size,
        )
        self._metrics.update(replica.report.standing(), facts)

    def applied(self, now_ms: int) -> None:
        """A block is final here: the next turn makes a snapshot, so that height and ledger agree."""
        self._measured_ms = 0
        if self._metrics is not None and self._waiting_ms is not None:
            self._metrics.final(now_ms - self._waiting_ms)
            self._waiting_ms = None
