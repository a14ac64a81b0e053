"""A miner process: the replica with sockets, files, a clock and a mining child. No TensorFlow here.

One thread turns one loop: wait for frames, files, the child or the next deadline; hand each to the replica;
carry out what it orders. Votes and timers therefore never wait for computing. The loop ends on `stop`.
"""

import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TextIO

from fedcoin_cli.application.books.equivocations import keep_evidence
from fedcoin_cli.application.node.child import Child
from fedcoin_cli.application.node.events import DISK_LEAST_BYTES, EventLog
from fedcoin_cli.application.node.fetched import Fetched
from fedcoin_cli.application.node.guests import Guests
from fedcoin_cli.application.node.housekeeping import Housekeeping
from fedcoin_cli.application.node.lobby import Lobby
from fedcoin_cli.application.node.readers import Readers
from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.application.workspace.peers import Peer, listening, read_peers
from fedcoin_cli.application.workspace.settings import Settings
from fedcoin_cli.application.workspace.silence import remedy
from fedcoin_cli.application.workspace.workspace import MinerFolder, Workspace
from fedcoin_cli.contract.task import attempt_bytes
from fedcoin_cli.network.files.channel import Blobs
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.network.files.transfers import Arrived, Failed, Lied, Purse, Removed
from fedcoin_cli.network.transport.admission import Admission
from fedcoin_cli.network.transport.base import Door, Transport
from fedcoin_cli.network.transport.p2p import P2P
from fedcoin_cli.protocol.frame import from_frame, to_frame
from fedcoin_cli.protocol.message import (
    Beside,
    Certified,
    Message,
    Recall,
    Receipt,
    Silence,
    Status,
    Taken,
    Vote,
    rank,
)
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.ports import RosterSigner
from fedcoin_cli.replica.records import Remembered
from fedcoin_cli.replica.replica import Replica, reconcile
from fedcoin_cli.replica.twins import Twins, beside, is_beside
from fedcoin_cli.runtime.keeper import falls_of
from ledger_store.base.errors import KeyFailure, Malformed, SettingsError
from ledger_store.base.names import Address, Digest
from ledger_store.block import Block
from ledger_store.file.chain_file import ChainFile
from ledger_store.file.snapshot import Seal
from ledger_store.transaction import Cancel, Close, Result, Task

if TYPE_CHECKING:
    from fedcoin_cli.application.node.metrics import Metrics

CHILD_RESTART_MS = 2_000
POLL_MOST_MS = 1_000
# How long one turn listens to guests: what the miners say is read before, and again after it.
GUESTS_MS = 10
# What the task at work leaves: the ledger and the vote log grow, too.
WORK_LEAST_BYTES = 16 * 2**20
# Pending tasks together may weigh as much as so many of the largest; those of one account as much as one.
PENDING_TASKS = 4
SETTLE_EVERY_MS = MEASURE_EVERY_MS = 1_000
DISK_LOW_TOLD_MS = 60_000
CLOCK_TOLD_MS = 60_000
MALFORMED_TOLD_MS = 60_000
MALFORMED_SENDERS = 1_000


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What one miner needs to run; `echo` gets every line of its log as well."""

    workspace: Workspace
    folder: MinerFolder
    settings: Settings
    threads: int
    echo: TextIO | None = None


class Node:
    """The ports of one replica, over real things. Use as a context manager around `run`."""

    def __init__(self, config: NodeConfig) -> None:
        # Which miner of which workspace, with which settings.
        self._config = config
        workspace, folder = config.workspace, config.folder
        # The network.
        self.genesis = workspace.genesis()
        # This miner's secret key.
        self._key = workspace.key(folder.name)
        if self._key.address not in self.genesis.roster:
            hint = "restore the key that was there when this network was founded or joined"
            where = str(workspace.key_file(folder.name))
            raise KeyFailure("this key is not on the roster", where=where, hint=hint)
        # What must be closed again, in reverse order.
        self._stack = ExitStack()
        # Whether people were told that votes are lost: once is enough.
        self._told_lost = False
        # The door for Prometheus; None: not wanted.
        self._metrics: Metrics | None = None
        # When the last snapshot of the metrics was made.
        self._measured_ms = 0
        # Since when something waits for a block; None: nothing does.
        self._waiting_ms: int | None = None
        # What happened so far, by word, for the metrics.
        self._counts: Counter[str] = Counter()
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def _open(self) -> None:
        workspace, folder = self._config.workspace, self._config.folder
        # The log that people read.
        self.events = EventLog(folder.log, echo=self._config.echo)
        self._stack.callback(self.events.close)
        seal = Seal(self._key, self.genesis)
        # The chain file, locked by this process.
        self._ledger = self._stack.enter_context(ChainFile.open_for_writing(folder.path, seal))
        if self._ledger.ignored_snapshot:
            hint = "it is not sealed by this miner's key; all blocks were folded instead, and it is made anew"
            self.events.write("snapshot ignored", hint=hint)
        if self._ledger.torn is not None:
            self.events.write("repaired", moved=str(self._ledger.torn))
        log, remembered = self._open_log()
        reconcile(self._ledger, remembered)
        # Whether somebody asked for the end.
        self._stopping = False
        # Guests' frames, which wait until the miners' were heard.
        self._lobby = Lobby()
        # When malformed frames of each sender were last told: a liar must not fill the log.
        self._malformed_told: dict[str, int] = {}
        # When people were last told that the disk is low.
        self._disk_low_told_ms = self.now_ms() - DISK_LOW_TOLD_MS
        # When people were last told that the clock is behind.
        self._clock_told_ms = self.now_ms() - CLOCK_TOLD_MS
        # A pipe that ends a poll from a signal handler.
        self._wake_read, self._wake_write = self._open_pipe()
        peers = read_peers(workspace.peers_file)
        own = self._own_entry(peers)
        # Whom both doors let in.
        self._admission = Admission([*self.genesis.roster, *(peer.address for peer in peers)])
        # Which accounts those are, as the ledger grows.
        self._guests = Guests(self._admission, self._ledger.tip.state)
        others = [
            peer
            for peer in listening(workspace.peers_file, self.genesis.roster)
            if peer.address != own.address
        ]
        host = self._config.settings.network.bind
        # The message channel.
        self._p2p: Transport = P2P(
            self._key, {p.address: p.messages for p in others}, Door(host, own.port, self._admission)
        )
        self._stack.callback(self._p2p.close)
        # Files by digest.
        self._store = Store(workspace.store)
        fetched = Fetched(folder.path, [miner.path for miner in workspace.miners])
        keep = self._config.settings.storage.keep_rounds
        # Which of them stay.
        self._housekeeping = Housekeeping(self._ledger, self._store, keep, fetched)
        # Whether tasks ended since the last tidying.
        self._untidy = False
        # Digests whose removal is under way: they are asked for again only afterwards.
        self._dying: set[Digest] = set()
        # When the fetched files were last gone through.
        self._settled_ms = self.now_ms()
        self._sweep_fetched()
        # Who may read which file.
        self._readers = Readers(self._admission.members, self._ledger)
        files, door = {p.address: p.files for p in others}, Door(host, own.port + 1, self._admission)
        # The file channel, on a thread of its own.
        self._blobs = Blobs(self._key, self._store, files, door, self._readers.may_read)
        self._stack.callback(self._blobs.close)
        # The mining child; None: it fell and waits to be started again.
        self._child: Child | None = None
        # When it is, monotonic.
        self._child_restart_at = 0
        self._start_child()
        self._stack.callback(self._end_child)
        self._open_metrics()
        # Drawn for this process: two processes of one key have two.
        self._nonce = nonce = secrets.token_hex(16)
        # What tells two processes of one key apart.
        self._twins = Twins(nonce, self.genesis.faults)
        # The miner itself, pure.
        self._replica = Replica(
            self.genesis,
            self._key.address,
            RosterSigner(self._key, self.genesis),
            self._ledger,
            log,
            remembered,
            self,
            nonce,
        )
        self.events.write("started", height=self._ledger.height, port=own.port, address=self._key.address)

    def _open_log(self) -> tuple[VoteLog, Remembered]:
        """The vote log; a missing one is made anew, and the miner then observes until it is safe to vote."""
        path, address = self._config.folder.votes, self._key.address
        if path.exists():
            log = VoteLog(path, address, self.genesis.id)
        else:
            log = VoteLog.create(path, address, self.genesis.id, whole=False)
        self._stack.callback(log.close)
        remembered = log.load()
        return log, remembered

    def _open_pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        for end in ends:
            os.set_blocking(end, False)
            self._stack.callback(os.close, end)
        return ends

    def _open_metrics(self) -> None:
        settings, folder = self._config.settings.metrics, self._config.folder
        if settings.port:
            from fedcoin_cli.application.node.metrics import Metrics

            port, address = settings.port + folder.number - 1, self._key.address
            self._metrics = Metrics(settings.bind, port, folder.name, address, self.genesis.id)
            self._stack.callback(self._metrics.close)

    def _own_entry(self, peers: Iterable[Peer]) -> Peer:
        for peer in peers:
            if peer.address == self._key.address and peer.host:
                return peer
        where = str(self._config.workspace.peers_file)
        raise SettingsError(
            "this miner has no entry among the peers", where=where, hint="add its address, host and port"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.events.write("stopped", height=self._ledger.height)
        self._stack.close()

    # The loop ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the loop; safe in a signal handler."""
        self._stopping = True
        os.write(self._wake_write, b"\0")

    def run(self) -> None:
        """Turn the loop until `stop`."""
        while not self._stopping:
            self._turn()

    def _turn(self) -> None:
        wait_ms = (
            min(POLL_MOST_MS, max(0, self._replica.deadline_ms - self.now_ms())) if not self._lobby else 0
        )
        fds = [self._blobs.fileno(), self._wake_read]
        if self._child is not None:
            fds.append(self._child.fileno())
        frames, _ = self._p2p.poll(wait_ms, fds)
        for sender, frame in frames:
            if sender in self.genesis.roster:
                self._take(sender, frame)
            else:
                self._lobby.push(sender, frame)
        until_ms = self.now_ms() + GUESTS_MS
        while self._lobby and self.now_ms() < until_ms:
            self._take(*self._lobby.pop())
        for event in self._blobs.events():
            if isinstance(event, Arrived):
                self._replica.file_arrived(event.digest)
            elif isinstance(event, Removed):
                self._dying.discard(event.digest)
            elif isinstance(event, Failed | Lied):
                self.events.write("file", digest=event.digest, problem=type(event).__name__.lower())
        self._hear_child()
        self._replica.tick()
        if self.now_ms() - self._settled_ms >= SETTLE_EVERY_MS:
            self._settle_fetched()
        self._tell_clock()
        self._tell_lost()
        if self._metrics is not None:
            self._measure(self._metrics)
        if self._untidy:
            self._untidy = False
            self._housekeeping.tidy(self._replica.report.pending_tasks)

    def _take(self, sender: Address, frame: bytes) -> None:
        try:
            message = from_frame(frame)
        except Malformed as error:
            self._counts["malformed"] += 1
            self._tell_malformed(sender, error)
            return
        match message:
            case Status() if sender in self.genesis.roster:
                self._meet(sender, message.nonce)
            case Recall() if self._twins.contested(sender, self.now_ms()) and self._p2p.inbound(sender) > 1:
                return  # whoever of the two came second must not vote
            case Taken() if sender in self.genesis.roster and message.nonce != self._nonce:
                self.send(sender, beside(self._key, self.genesis.id, message.nonce))
            case Beside() if sender in self.genesis.roster:
                self._hear_beside(sender, message)
        self._replica.receive(sender, message)

    def _tell_lost(self) -> None:
        """At its start or later, when the others tell: this miner cannot vote; and that it votes again."""
        lost = self._replica.report.silence is Silence.VOTES_LOST
        if lost != self._told_lost:
            self._told_lost = lost
            if lost:
                self.events.write("votes lost", hint=remedy(Silence.VOTES_LOST))
            else:
                self.events.write("votes again", height=self._ledger.height)

    def _tell_clock(self) -> None:
        """Once in a while: why this miner votes for nothing new."""
        minutes = self._replica.report.clock_behind_ms // 60_000
        if minutes and self.now_ms() - self._clock_told_ms >= CLOCK_TOLD_MS:
            self._clock_told_ms = self.now_ms()
            hint = f"blocks are {minutes} minutes ahead of this clock: no new one gets this miner's vote; "
            hint += remedy(Silence.CLOCK_BEHIND)
            self.events.write("clock behind", minutes=minutes, hint=hint)

    def _measure(self, metrics: "Metrics") -> None:
        """When something began to wait for a block, at every turn; the rest once a second."""
        now, replica = self.now_ms(), self._replica
        self._waiting_ms = (self._waiting_ms or now) if replica.armed else None
        if now - self._measured_ms < MEASURE_EVERY_MS:
            return
        from fedcoin_cli.application.node.metrics import Facts

        self._measured_ms, folder = now, self._config.folder
        falls = falls_of(folder.process)
        facts = Facts(
            block_time_ms=self._ledger.tip.state.time_ms,
            view=replica.view,
            pending=replica.report.pending,
            peers_needed=self.genesis.quorum - 1,
            refused=self._counts["refused"],
            malformed=self._counts["malformed"],
            child_up=bool(replica.report.engine),
            child_deaths=self._counts["child deaths"],
            falls=0 if falls is None else falls.restarts,
            disk_free_bytes=shutil.disk_usage(self._store.folder).free,
            disk_reserve_bytes=self._reserve_bytes,
            ledger_bytes=folder.chain.stat().st_size,
        )
        metrics.update(replica.report.standing(), facts)

    def _meet(self, sender: Address, nonce: str) -> None:
        """A heartbeat: if two processes speak with one key, tell both which came second."""
        second = self._twins.heard(sender, nonce, self.now_ms())
        if second is not None:
            self._p2p.answer_each(sender, to_frame(Taken(second)))

    def _hear_beside(self, sender: Address, said: Beside) -> None:
        """Of the own nonce, that another process holds this key; of another's, for that one to know."""
        if said.nonce != self._nonce:
            if self._twins.contested(sender, self.now_ms()) and is_beside(sender, self.genesis.id, said):
                self._p2p.answer_each(sender, to_frame(said))
            return
        if is_beside(self._key.address, self.genesis.id, said) and self._twins.accused(sender, said.nonce):
            where = str(self._config.workspace.key_file(self._config.folder.name))
            hint = "one process a key: stop the other one, wherever it runs, or leave this one off"
            raise KeyFailure("another process already mines with this key", where=where, hint=hint)

    def _tell_malformed(self, sender: Address, error: Malformed) -> None:
        """Once in a while a sender: a peer must not fill this disk with lines about it."""
        now = self.now_ms()
        if now - self._malformed_told.get(sender, now - MALFORMED_TOLD_MS) >= MALFORMED_TOLD_MS:
            if len(self._malformed_told) >= MALFORMED_SENDERS:
                self._malformed_told.clear()
            self._malformed_told[sender] = now
            self.events.write("malformed", peer=sender, reason=error.message)

    # The mining child -------------------------------------------------------------------------------------------

    def _start_child(self) -> None:
        mining = self._config.settings.mining
        configure = jobs.Configure(
            str(self._config.workspace.store), self._key.address, self._config.threads, mining.estimator
        )
        self._child = Child(configure)

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.close()

    def _hear_child(self) -> None:
        if self._child is None:
            if self.now_ms() >= self._child_restart_at:
                self._start_child()
                self._replica.child_restarted()
            return
        for answer in self._child.answers():
            self._tell(answer)
            self._replica.answer(answer)
        if not self._child.alive:
            self._child.close()
            self._child = None
            self._child_restart_at = self.now_ms() + CHILD_RESTART_MS
            self._replica.report.engine = ""
            self._counts["child deaths"] += 1
            self.events.write(
                "worker died",
                hint="what it printed tells why: miners/N/node.out, or the journal; it is started again",
            )

    def _tell(self, answer: jobs.Answer) -> None:
        match answer:
            case jobs.Ready():
                self.events.write("ready", engine=answer.engine, height=self._ledger.height)
            case jobs.Counting():
                self.events.write("counting", task=answer.task, attempt=answer.attempt, engine=answer.engine)
            case jobs.Mined():
                self.events.write(
                    "mined",
                    task=answer.task,
                    attempt=answer.attempt,
                    rankings=answer.rankings,
                    evaluated=answer.evaluated,
                    total=answer.total,
                    errors=None if answer.errors is None else answer.errors.to_json(),
                )
            case jobs.Estimated():
                self._housekeeping.works_on([answer.table])
                self.events.write(
                    "estimated",
                    task=answer.task,
                    attempt=answer.attempt,
                    rankings=answer.rankings,
                    exact=answer.exact,
                )
            case jobs.Inspecting():
                self.events.write("inspecting", task=answer.task, done=answer.done, total=answer.total)
            case jobs.Inspected():
                self.events.write("inspected", task=answer.task, error=answer.error)
            case jobs.TableVerified():
                self.events.write(
                    "checked",
                    task=answer.task,
                    miner=answer.miner,
                    follows=answer.follows,
                    wrong=[str(mask) for mask in answer.wrong],
                )

    # Ports ------------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Monotonic time."""
        return time.monotonic_ns() // 10**6

    def wall_ms(self) -> int:
        """Time of day."""
        return time.time_ns() // 10**6

    def salt(self) -> str:
        """128 fresh random bits as hex."""
        return secrets.token_hex(16)

    def send(self, to: Address, message: Message) -> None:
        """To one peer by address; may be lost."""
        self._counts["refused"] += isinstance(message, Receipt) and message.error is not None
        self._p2p.send(to, to_frame(message), rank(message))

    def broadcast(self, message: Message) -> None:
        """To all other miners; may be lost."""
        self._p2p.broadcast(to_frame(message), rank(message))

    def order(self, order: jobs.Order) -> None:
        """To the mining child; while there is none the replica gives the order again later."""
        if isinstance(order, jobs.VerifyTable | jobs.VerifyEntry):
            self._housekeeping.works_on([order.reveal.table])
        if self._child is not None:
            self._child.order(order)

    def has_file(self, digest: Digest) -> bool:
        """Whether the store holds it."""
        return digest not in self._dying and self._store.has(digest)

    def has_room(self) -> bool:
        """Whether the disk has room for another task beside the tables that the one at work may bring."""
        if shutil.disk_usage(self._store.folder).free >= self._reserve_bytes:
            return True
        if self.now_ms() - self._disk_low_told_ms >= DISK_LOW_TOLD_MS:
            self._disk_low_told_ms = self.now_ms()
            self.events.write("disk low", hint="free some space: no new task is accepted here")
        return False

    @property
    def _reserve_bytes(self) -> int:
        """What a pending task must leave: all miners' tables of the attempt at work may still have to come."""
        current = self._ledger.tip.state.current
        if current is None:
            return DISK_LEAST_BYTES
        most = attempt_bytes(current, self.genesis)
        return DISK_LEAST_BYTES + len(self.genesis.roster) * most

    def want_files(
        self,
        digests: Iterable[Digest],
        holders: Iterable[Address],
        most_bytes: int,
        pending: Task | None = None,
    ) -> None:
        """Get files by digest from any holder; those of the task at work although the disk is nearly full."""
        purses: tuple[Purse, ...] = ()
        least_bytes, wanted = WORK_LEAST_BYTES, list(digests)
        if pending is None:
            self._housekeeping.works_on(wanted)
        else:
            if not self.has_room():
                return
            self._housekeeping.wanted(pending, self._dying)
            purses = (Purse("pending", PENDING_TASKS * most_bytes), Purse(pending.sender, most_bytes))
            least_bytes = self._reserve_bytes
        self._blobs.want(
            [digest for digest in wanted if not self.has_file(digest)],
            each_bytes=most_bytes,
            all_bytes=most_bytes,
            holders=list(holders),
            purses=purses,
            reserve_bytes=least_bytes,
        )

    def applied(self, block: Block) -> None:
        """The ledger has grown: tell people, admit its accounts, drop what nobody needs any more."""
        if self._metrics is not None and self._waiting_ms is not None:
            self._metrics.final(self.now_ms() - self._waiting_ms)
            self._waiting_ms = None
        kinds = [transaction.kind for transaction in block.transactions]
        self.events.write("block", height=block.height, id=block.id, transactions=kinds)
        self._readers.follow()
        for transaction in block.transactions:
            if isinstance(transaction, Close | Result):
                record = self._ledger.tip.state.record(transaction.task)
                self.events.write("task", task=record.task.id, state=record.state, attempt=record.attempt)
                self._guests.part(record.task.sender, self.now_ms())
            else:
                self._guests.part(transaction.sender, self.now_ms())
        self._guests.follow(self._ledger.tip.state, self.now_ms())
        self._untidy |= any(isinstance(one, Result | Close | Cancel) for one in block.transactions)

    def keep_evidence(self, height: int, proofs: list[Vote | Certified]) -> None:
        """Into the miner's folder."""
        keep_evidence(self._config.folder.evidence, height, proofs)

    def connected(self) -> int:
        """How many other miners are connected."""
        return sum(state.connected for state in self._p2p.peers().values())

    # Housekeeping -----------------------------------------------------------------------------------------------

    def _settle_fetched(self) -> None:
        """Whatever made an end of a pending task: what was fetched for it goes, unless something else needs it."""
        self._settled_ms = self.now_ms()
        stays, gone = self._housekeeping.settle(self._replica.report.pending_tasks)
        if stays:
            self._blobs.release(stays)
        if gone:
            self._dying |= gone
            self._blobs.remove(gone)

    def _sweep_fetched(self) -> None:
        """At the start nothing is pending: what an earlier process fetched for such tasks goes, whole or not."""
        for digest in self._housekeeping.settle(())[1]:
            self._store.remove(digest)
            self._store.partial(digest, self._key.address).discard()
