"""A miner process: the replica with sockets, files, a clock and a mining child. No TensorFlow here.

One thread turns one loop: wait for frames, files, the child or the next deadline; hand each to the replica;
carry out what it orders. Votes and timers therefore never wait for computing. The loop ends on `stop`.
"""

import secrets
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self, TextIO

from fedcoin_cli.application.books.equivocations import keep_evidence
from fedcoin_cli.application.node.events import EventLog
from fedcoin_cli.application.node.fetched import Fetched
from fedcoin_cli.application.node.guests import Guests
from fedcoin_cli.application.node.lobby import GuestTurns, Lobby
from fedcoin_cli.application.node.measuring import Measuring
from fedcoin_cli.application.node.readers import Readers
from fedcoin_cli.application.node.round_files import RoundFiles
from fedcoin_cli.application.node.supervised_child import SupervisedChild
from fedcoin_cli.application.node.telling import Telling
from fedcoin_cli.application.node.twin_watch import TwinWatch
from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.application.workspace.peers import listening, own_entry, read_peers
from fedcoin_cli.application.workspace.settings import Settings
from fedcoin_cli.application.workspace.workspace import MinerFolder, Workspace
from fedcoin_cli.network.bell import Bell
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.network.transport.admission import Admission
from fedcoin_cli.network.transport.base import Door, Transport
from fedcoin_cli.network.transport.p2p import P2P
from fedcoin_cli.protocol.frame import from_frame, is_from_miners_only, to_frame
from fedcoin_cli.protocol.message import (
    Certified,
    Message,
    Receipt,
    Vote,
    rank,
)
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.ports import RosterSigner
from fedcoin_cli.replica.replica import Replica, reconcile
from ledger_store.base.errors import KeyFailure, Malformed
from ledger_store.base.names import Address, Digest
from ledger_store.block import Block
from ledger_store.file.chain_file import ChainFile
from ledger_store.file.snapshot import Seal
from ledger_store.transaction import Close, Result, Task

POLL_MOST_MS = 1_000
# How long one turn listens to guests: what the miners say is read before, and again after it.
GUESTS_MS = 10


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
        # What people are told of this miner and of others.
        self._telling = Telling(self.events, self._ledger, self.now_ms())
        # What is counted, and measured for Prometheus.
        self._measuring = Measuring(folder, self._ledger, self.genesis)
        log = VoteLog.found(folder.votes, self._key.address, self.genesis.id)
        self._stack.callback(log.close)
        remembered = log.load()
        reconcile(self._ledger, remembered)
        # Whether somebody asked for the end.
        self._stopping = False
        # Guests' frames, which wait until the miners' were heard, and how often turns are made for them alone.
        self._lobby, self._guest_turns = Lobby(), GuestTurns(self.genesis.roster, self.now_ms())
        # It ends a poll from a signal handler.
        self._bell = Bell()
        self._stack.callback(self._bell.close)
        peers = read_peers(workspace.peers_file)
        own = own_entry(workspace.peers_file, self._key.address)
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
        fetched = Fetched(folder.path, [miner.path for miner in workspace.miners])
        store, keep = Store(workspace.store), self._config.settings.storage.keep_rounds
        # The files of rounds: which come, which stay.
        self._files = RoundFiles(self._key, self.genesis, self._ledger, store, keep, fetched, self.events)
        # Who may read which file.
        self._readers = Readers(self._admission.members, self._ledger)
        files, door = {p.address: p.files for p in others}, Door(host, own.port + 1, self._admission)
        self._files.open(files, door, self._readers.may_read, self.now_ms())
        self._stack.callback(self._files.close)
        # The mining child, started again when it falls.
        self._child = SupervisedChild(self._child_settings())
        self._stack.callback(self._child.close)
        self._measuring.open(self._config.settings, self._key.address, self._stack)
        nonce, where = secrets.token_hex(16), str(workspace.key_file(folder.name))
        # Two processes of one key: noticed, told of, and the end of this one if it came second.
        self._twins = TwinWatch(self._key, self.genesis, nonce, self._p2p, where)
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

    def _child_settings(self) -> jobs.Configure:
        store, mining = str(self._config.workspace.store), self._config.settings.mining
        return jobs.Configure(store, self._key.address, self._config.threads, mining.estimator)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.events.write("stopped", height=self._ledger.height)
        self._stack.close()

    # The loop ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the loop; safe in a signal handler."""
        self._stopping = True
        self._bell.ring()

    def run(self) -> None:
        """Turn the loop until `stop`."""
        while not self._stopping:
            self._turn()

    def _turn(self) -> None:
        idle_ms = min(POLL_MOST_MS, max(0, self._replica.deadline_ms - self.now_ms()))
        fds = [self._files.fileno(), self._bell.fileno(), *self._child.fds]
        frames, others = self._p2p.poll(0 if self._lobby else idle_ms, fds)
        for sender, frame in frames:
            if sender in self.genesis.roster:
                self._take(sender, frame)
            elif not is_from_miners_only(frame):
                self._lobby.push(sender, frame)
        until_ms = self.now_ms() + GUESTS_MS
        while self._lobby and self.now_ms() < until_ms:
            self._take(*self._lobby.pop())
        for digest in self._files.arrived():
            self._replica.file_arrived(digest)
        self._hear_child()
        self._replica.tick()
        self._look_after()
        if not others:
            time.sleep(self._guest_turns.rest_ms(frames, self.now_ms()) / 1_000)

    def _look_after(self) -> None:
        """What is due beside the protocol: files that go, words for people, measures."""
        report = self._replica.report
        self._files.settle(report, self.now_ms())
        self._telling.clock(report.clock_behind_ms, self.now_ms())
        self._telling.votes(report.silence)
        self._measuring.measure(self._replica, self._files, self.now_ms())
        self._files.tidy(report)

    def _take(self, sender: Address, frame: bytes) -> None:
        try:
            message = from_frame(frame)
        except Malformed as error:
            self._measuring.counts["malformed"] += 1
            self._telling.malformed(sender, error, self.now_ms())
            return
        if self._twins.admits(sender, message, self.now_ms()):
            self._replica.receive(sender, message)

    def _hear_child(self) -> None:
        if self._child.is_back(self.now_ms()):
            self._replica.child_restarted()
            return
        for answer in self._child.answers():
            if isinstance(answer, jobs.Estimated):
                self._files.works_on([answer.estimate.table])
            self._telling.answer(answer)
            self._replica.answer(answer)
        if self._child.has_fallen(self.now_ms()):
            self._replica.report.engine = ""
            self._measuring.counts["child deaths"] += 1
            self._telling.child_died()

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
        self._measuring.counts["refused"] += isinstance(message, Receipt) and message.error is not None
        self._p2p.send(to, to_frame(message), rank(message))

    def broadcast(self, message: Message) -> None:
        """To all other miners; may be lost."""
        self._p2p.broadcast(to_frame(message), rank(message))

    def order(self, order: jobs.Order) -> None:
        """To the mining child; while there is none the replica gives the order again later."""
        if isinstance(order, jobs.VerifyTable | jobs.VerifyEntry):
            self._files.works_on([order.reveal.table])
        self._child.order(order)

    def has_file(self, digest: Digest) -> bool:
        """Whether the store holds it."""
        return self._files.has(digest)

    def has_room(self) -> bool:
        """Whether the disk has room for another task beside the tables that the one at work may bring."""
        if self._files.has_room:
            return True
        self._telling.disk_low(self.now_ms())
        return False

    def want_files(
        self,
        digests: Iterable[Digest],
        holders: Iterable[Address],
        most_bytes: int,
        pending: Task | None = None,
    ) -> None:
        """Get files by digest from any holder; those of the task at work although the disk is nearly full."""
        if pending is None:
            self._files.want_at_work(list(digests), list(holders), most_bytes)
        elif self.has_room():
            self._files.want_pending(pending, list(digests), list(holders), most_bytes)

    def applied(self, block: Block) -> None:
        """The ledger has grown: tell people, admit its accounts, drop what nobody needs any more."""
        self._measuring.applied(self.now_ms())
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
        self._files.applied(block)

    def keep_evidence(self, height: int, proofs: list[Vote | Certified]) -> None:
        """Into the miner's folder."""
        keep_evidence(self._config.folder.evidence, height, proofs)

    def connected(self) -> int:
        """How many other miners are connected."""
        return sum(state.connected for state in self._p2p.peers().values())
