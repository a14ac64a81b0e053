"""The files of rounds at one miner: got from others while there is room, and gone when nobody needs them any more."""

import shutil
from collections.abc import Iterable, Iterator, Mapping

from fedcoin_cli.application.node.events import DISK_LEAST_BYTES, EventLog
from fedcoin_cli.application.node.fetched import Fetched
from fedcoin_cli.application.node.housekeeping import Housekeeping
from fedcoin_cli.contract.task import attempt_bytes
from fedcoin_cli.network.files.channel import Blobs
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.network.files.transfers import Arrived, Failed, Lied, MayRead, Purse, Removed
from fedcoin_cli.network.transport.base import Door
from fedcoin_cli.replica.self_report import SelfReport
from ledger_store.base.names import Address, Digest
from ledger_store.block import Block
from ledger_store.file.chain_file import ChainReader
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import Cancel, Close, Result, Task

# What the task at work leaves: the ledger and the vote log grow, too.
WORK_LEAST_BYTES = 16 * 2**20
# Pending tasks together may weigh as much as so many of the largest; those of one account as much as one.
PENDING_TASKS = 4
SETTLE_EVERY_MS = 1_000


class RoundFiles:
    """The store of one miner, what stays in it, and the channel that fills it."""

    def __init__(
        self,
        key: KeyPair,
        genesis: Genesis,
        ledger: ChainReader,
        store: Store,
        keep_rounds: int,
        fetched: Fetched,
        events: EventLog,
    ) -> None:
        # This miner's key: the channel speaks for it, and partial files are its own.
        self._key = key
        # How many tables may come.
        self._genesis = genesis
        # Which task is at work.
        self._ledger = ledger
        # Files by digest.
        self._store = store
        # Which of them stay.
        self._housekeeping = Housekeeping(ledger, store, keep_rounds, fetched)
        # Where people read which files did not come.
        self._events = events
        # Whether tasks ended since the last tidying.
        self._untidy = False
        # Digests whose removal is under way: they are asked for again only afterwards.
        self._dying: set[Digest] = set()
        # When the fetched files were last gone through.
        self._settled_ms = 0
        self._sweep_fetched()

    def open(self, peers: Mapping[Address, str], door: Door, may_read: MayRead, now_ms: int) -> None:
        """The file channel, on a thread of its own, from now until `close`."""
        self._settled_ms = now_ms
        self._blobs = Blobs(self._key, self._store, peers, door, may_read)

    def close(self) -> None:
        """End the channel."""
        self._blobs.close()

    def fileno(self) -> int:
        """Readable when files have come."""
        return self._blobs.fileno()

    def arrived(self) -> Iterator[Digest]:
        """The files that are here since the last call."""
        for event in self._blobs.events():
            if isinstance(event, Arrived):
                yield event.digest
            elif isinstance(event, Removed):
                self._dying.discard(event.digest)
            elif isinstance(event, Failed | Lied):
                self._events.write("file", digest=event.digest, problem=type(event).__name__.lower())

    # Room -------------------------------------------------------------------------------------------------------

    @property
    def free_bytes(self) -> int:
        """What is free where the files are."""
        return shutil.disk_usage(self._store.folder).free

    @property
    def reserve_bytes(self) -> int:
        """What a pending task must leave: all miners' tables of the attempt at work may still have to come."""
        current = self._ledger.tip.state.current
        if current is None:
            return DISK_LEAST_BYTES
        most = attempt_bytes(current, self._genesis)
        return DISK_LEAST_BYTES + len(self._genesis.roster) * most

    @property
    def has_room(self) -> bool:
        """Whether the disk has room for another task beside the tables that the one at work may bring."""
        return self.free_bytes >= self.reserve_bytes

    # Coming -----------------------------------------------------------------------------------------------------

    def has(self, digest: Digest) -> bool:
        """Whether the store holds it."""
        return digest not in self._dying and self._store.has(digest)

    def works_on(self, digests: Iterable[Digest]) -> None:
        """The attempt at work needs these."""
        self._housekeeping.works_on(digests)

    def want_at_work(self, digests: list[Digest], holders: list[Address], most_bytes: int) -> None:
        """Get files of the task at work, although the disk is nearly full."""
        self._housekeeping.works_on(digests)
        self._want(digests, holders, most_bytes, (), WORK_LEAST_BYTES)

    def want_pending(
        self, task: Task, digests: list[Digest], holders: list[Address], most_bytes: int
    ) -> None:
        """Get files of a task that waits, within what such tasks may take of the disk."""
        self._housekeeping.wanted(task, self._dying)
        purses = (Purse("pending", PENDING_TASKS * most_bytes), Purse(task.sender, most_bytes))
        self._want(digests, holders, most_bytes, purses, self.reserve_bytes)

    def _want(
        self,
        digests: list[Digest],
        holders: list[Address],
        most_bytes: int,
        purses: tuple[Purse, ...],
        least_bytes: int,
    ) -> None:
        self._blobs.want(
            [digest for digest in digests if not self.has(digest)],
            each_bytes=most_bytes,
            all_bytes=most_bytes,
            holders=holders,
            purses=purses,
            reserve_bytes=least_bytes,
        )

    # Going ------------------------------------------------------------------------------------------------------

    def applied(self, block: Block) -> None:
        """The ledger has grown: perhaps a task ended."""
        self._untidy |= any(isinstance(one, Result | Close | Cancel) for one in block.transactions)

    def settle(self, report: SelfReport, now_ms: int) -> None:
        """Whatever made an end of a pending task: what was fetched for it goes, unless something else needs it."""
        if now_ms - self._settled_ms < SETTLE_EVERY_MS:
            return
        self._settled_ms = now_ms
        stays, gone = self._housekeeping.settle(report.pending_tasks)
        if stays:
            self._blobs.release(stays)
        if gone:
            self._dying |= gone
            self._blobs.remove(gone)

    def tidy(self, report: SelfReport) -> None:
        """If tasks ended: what they leave behind goes."""
        if self._untidy:
            self._untidy = False
            self._housekeeping.tidy(report.pending_tasks)

    def _sweep_fetched(self) -> None:
        """At the start nothing is pending: what an earlier process fetched for such tasks goes, whole or not."""
        for digest in self._housekeeping.settle(())[1]:
            self._store.remove(digest)
            self._store.partial(digest, self._key.address).discard()
