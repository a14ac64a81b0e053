"""The requester: publish a task and follow it to its end; pay; cancel."""

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from fedcoin_cli.application.books.task_report import TaskReport, report_of
from fedcoin_cli.application.requester.publication import Publication
from fedcoin_cli.application.requester.session import Make, Patience, Session, adding
from fedcoin_cli.application.requester.watch import Progress, progress_of, sending
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.network.files.channel import Blobs
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.network.files.transfers import TransferProgress as Sent
from fedcoin_cli.protocol.message import Phase
from ledger_store.base.errors import ConsensusFailure, RoundFilesInvalid
from ledger_store.base.names import Address, TaskId
from ledger_store.base.words import TaskState
from ledger_store.identity.keys import KeyPair
from ledger_store.state import UNFINISHED, State, TaskRecord
from ledger_store.transaction import Cancel, Close, Result, Task, Transfer

_UNSIGNED = ""

Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Final:
    """A transaction in a certified block."""

    transaction: str
    height: int


@dataclass(frozen=True, slots=True)
class Published:
    """A published task that has ended. Seconds from the call on, and of those mining."""

    task_id: TaskId
    report: TaskReport
    seconds: float
    mining_seconds: float

    def check(self) -> None:
        """Raise `ConsensusFailure` where the task has ended without values: it was refunded or cancelled."""
        if self.report.state == TaskState.SETTLED:
            return
        if self.report.state == TaskState.CANCELLED:
            hint = "its requester withdrew it: fedcoin publish asks anew"
            raise ConsensusFailure("the task was cancelled", where=f"task {self.task_id}", hint=hint)
        message = f"the task was {self.report.state.lower()} after {self.report.attempts} attempts"
        hint = "no estimate came within D: a larger --difficulty or --runtime helps"
        if not self.report.miners:
            hint = "no miner's estimate was complete in time: a larger --runtime or a smaller test set helps"
        raise ConsensusFailure(message, where=f"task {self.task_id}", hint=hint)


class Requester:
    """One account's dealings with the miners of a workspace's network. Use as a context manager.

    `watch` is told several times a second how a published task stands; `following` is the task's id once it is
    final, until it has ended.
    """

    def __init__(
        self,
        workspace: Workspace,
        key: KeyPair,
        watch: Watch = lambda _: None,
        patience: Patience | None = None,
    ) -> None:
        self._workspace, self._key, self._watch = workspace, key, watch
        self._session = Session(workspace, key, patience or Patience())
        self.following: TaskId | None = None
        self._blobs: Blobs | None = None
        self._stack = ExitStack()
        self._stack.callback(self._session.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def on_its_way(self) -> str | None:
        """The id of a transaction that was sent and is not known to be final."""
        return self._session.on_its_way

    @property
    def copy_problem(self) -> str | None:
        """Why this workspace's copy of the ledger could not be brought up to date."""
        return self._session.copy_problem

    @property
    def state(self) -> State:
        """The state after the last block that was verified here."""
        return self._session.state

    @property
    def records(self) -> Mapping[TaskId, TaskRecord]:
        """The unfinished tasks, and those that ended since the first connection."""
        return self._session.view.records

    def connect(self) -> None:
        """Reach a quorum of miners and catch up with what they say now; raises `NetworkFailure`."""
        self._session.connect()

    def pay(self, to: Address, amount_micro: int) -> Final:
        """Transfer coins to an address and wait for the final block.

        Raises `InsufficientFunds`, `SettingsError` for an amount that genesis does not allow, `NetworkFailure`,
        `ConsensusFailure`.
        """

        def make(number: int) -> Transfer:
            return Transfer(self._key.address, number, _UNSIGNED, to, amount_micro, secrets.token_hex(16))

        return self._final(make)

    def cancel(self, task_id: TaskId) -> Final:
        """Withdraw a queued task by its id and wait for the final block; raises as `pay`, and `NotFound`."""
        return self._final(lambda n: Cancel(self._key.address, n, _UNSIGNED, task_id))

    def publish(self, publication: Publication) -> Published:
        """Publish a task and follow it to its end.

        Raises as `pay`, and `RoundFilesInvalid` when the miners refuse the files. A refunded or cancelled task is no
        error here: the report says so.
        """
        start_s = time.monotonic()
        task = self._submit(publication, lambda: False)
        mining_s = self._follow(task)
        return Published(task, self._report(task), time.monotonic() - start_s, mining_s)

    def hand_over(self, publication: Publication) -> TaskId:
        """Publish a task and wait until a quorum has it and its files; the task's id. Raises as `publish`."""
        return self._submit(publication, self._files_are_with_a_quorum)

    def _submit(self, publication: Publication, enough: Callable[[], bool]) -> TaskId:
        def make(number: int) -> Task:
            return publication.task(self._key.address, number)

        with self._session.alone():
            self._session.ready(make)
            self._provide(publication)

        def watch() -> None:
            self._watch(sending(self._sent(), self._session.line.standings().values()))

        return TaskId(self._session.submit(make, watch, enough))

    def _final(self, make: Make) -> Final:
        with self._session.alone():
            self._session.ready(make)
            transaction = self._session.submit(make)
        return Final(transaction, self._session.view.placed[transaction])

    def _provide(self, publication: Publication) -> None:
        """Copy the round's files into the store and offer them to the miners."""
        store = Store(self._workspace.store)
        for digest, path in publication.round.paths.items():
            if store.put_file(path) != digest:
                raise RoundFilesInvalid("the file changed while it was published", where=str(path))
        if self._blobs is None:
            self._blobs = Blobs(self._key, store, {peer.address: peer.files for peer in self._session.peers})
            self._stack.callback(self._blobs.close)
        self._blobs.offer(publication.round.paths)

    def _sent(self) -> list[Sent]:
        return [] if self._blobs is None else list(self._blobs.progress().values())

    def _files_are_with_a_quorum(self) -> bool:
        whole = [one for one in self._sent() if one.total_bytes and one.done_bytes == one.total_bytes]
        return len(whole) >= self._session.genesis.quorum

    def _follow(self, task_id: TaskId) -> float:
        """Until the task has ended; returns for how many seconds miners said that they were mining it."""
        mining_s, last_s, self.following = 0.0, time.monotonic(), task_id
        while (record := self.records[task_id]).state in UNFINISHED:
            with adding(
                f"; the task is final at height {record.height}, and the miners go on with it", task_id
            ):
                self._session.turn()
            now_s, standings = time.monotonic(), self._session.line.standings().values()
            self._watch(progress_of(record, standings))
            if any((one.task, one.phase) == (task_id, Phase.MINING) for one in standings):
                mining_s += now_s - last_s
            last_s = now_s
        self.following = None
        return mining_s

    def _report(self, task_id: TaskId) -> TaskReport:
        return report_of(self.records[task_id], self._session.genesis, self._session.view.ends.get(task_id))

    def ended(self, task_id: TaskId) -> tuple[TaskRecord, Close | Result | None]:
        """What the ledger holds of a task that was followed to its end."""
        return self.records[task_id], self._session.view.ends.get(task_id)
