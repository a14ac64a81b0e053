"""Task work: the attempt at work as this miner lives it.

Drives `posap` between chain, peers, vote log and mining child.
"""

from collections.abc import Iterable

from fedcoin_cli.consensus import posap
from fedcoin_cli.consensus.council import Signer
from fedcoin_cli.consensus.posap import Posap
from fedcoin_cli.contract.settlement import give_up, settle
from fedcoin_cli.contract.task import attempt_of, most_table_bytes
from fedcoin_cli.protocol.message import CommitNote, FraudNote, RevealNote
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.ports import Ledger, Log, Orders, Ports
from fedcoin_cli.replica.records import Record
from ledger_store.genesis import Bounds, Genesis
from ledger_store.state import CLOSED, OPEN, TaskRecord
from ledger_store.transaction import Close, Result, Reveal, Task

_KINDS = ("mine", "table", "entry")


def table_bytes(task: Task, reveal: Reveal, bounds: Bounds) -> int:
    """What is fetched for a table of this reveal at most: what it weighs."""
    return min(most_table_bytes(task, reveal), bounds.table_bytes)


class TaskWork:
    """At most one `posap` machine, in step with the chain; `progress` is what the child last said of its mining."""

    def __init__(
        self,
        genesis: Genesis,
        address: str,
        signer: Signer,
        ledger: Ledger,
        log: Log,
        ports: Ports,
        orders: Orders,
    ) -> None:
        # The attempt at work as this miner lives it; None: no task is unfinished.
        self.machine: Posap | None = None
        # What the child last said of its mining, for people.
        self.progress: jobs.Mined | None = None
        # The network: quorum, bounds, roster.
        self._genesis = genesis
        # This miner's.
        self._address = address
        # Signs commits, reveals and frauds.
        self._signer = signer
        # Whose tip says which attempt is at work.
        self._ledger = ledger
        # Openings, commits and frozen sets are in it before anything follows.
        self._log = log
        # Clocks, peers and files.
        self._ports = ports
        # What the child is to do, each once its files are here.
        self._orders = orders
        # The attempt whose close was handed to the machine, so that it is handed once.
        self._closed: tuple[str, int] | None = None
        # Whether the log is trusted: before, no commit.
        self._signing = False
        # At attempts up to this height this miner may have committed and not know it.
        self._forgotten_to = -1
        # An estimate that came before the log was trusted.
        self._unsigned: jobs.Estimated | None = None

    # The chain --------------------------------------------------------------------------------------------------

    def follow(self, records: list[Record]) -> None:
        """Bring the machine in step with the chain: another attempt, another phase, or nothing to do.

        `records` are what the log remembers, after a restart.
        """
        record = self._ledger.tip.state.current
        if record is None:
            self._drop()
            return
        place = (record.task.id, record.attempt)
        if self.machine is None or (self.machine.attempt.task, self.machine.attempt.number) != place:
            self._drop()
            self._open(record, records)
        if record.state == CLOSED and self._closed != place:
            self._closed = place
            assert self.machine is not None
            started = self._stage_start(record, CLOSED, records)
            self._orders.drop("mine")
            self._run(self.machine.closed(record.commits, started))

    def due(self) -> Close | Result | None:
        """The close or result that is to be packed now."""
        record = self._ledger.tip.state.current
        if self.machine is None or record is None:
            return None
        commits = self.machine.due_close()
        if commits is not None:
            return Close(record.task.id, record.attempt, commits, None if commits else give_up(record))
        result = self.machine.due_result()
        if result is None:
            return None
        reveals, frauds = result
        outcome = settle(record, self._genesis, reveals, frauds)
        return Result(record.task.id, record.attempt, reveals, frauds, outcome)

    @property
    def is_due(self) -> bool:
        """Whether there is such a close or result, without making it."""
        machine = self.machine
        return machine is not None and (machine.due_close() is not None or machine.due_result() is not None)

    def accepts(self, transaction: Close | Result) -> bool:
        """Local check of a fresh close or result."""
        if self.machine is None:
            return False
        if isinstance(transaction, Close):
            return self.machine.accepts_close(transaction)
        self._run(self.machine.consider(transaction))
        return self.machine.accepts_result(transaction)

    # Peers and time ---------------------------------------------------------------------------------------------

    def receive(self, note: CommitNote | RevealNote | FraudNote) -> None:
        """Gossip about the attempt."""
        if self.machine is not None:
            self._run(self.machine.receive(note))

    def tick(self) -> None:
        """Time has passed."""
        if self.machine is not None:
            alone = self.machine.closed_ms is not None and self._ports.connected() + 1 < self._genesis.quorum
            self._run(self.machine.tick(self._ports.now_ms(), together=not alone))

    def standstill(self) -> None:
        """Say again what others may lack; ask again for files and tables that did not come."""
        self._orders.send_complete()  # there may be room on the disk again
        if self.machine is None:
            return
        self._run(self.machine.standstill())
        self._want_files()

    @property
    def deadline_ms(self) -> int | None:
        """When `tick` must come at the latest."""
        return None if self.machine is None else self.machine.deadline_ms

    @property
    def remaining_ms(self) -> int:
        """What is left of RUNTIME."""
        if self.machine is None:
            return 0
        return max(0, self.machine.opened_ms + self.machine.attempt.runtime_ms - self._ports.now_ms())

    # The mining child -------------------------------------------------------------------------------------------

    def may_sign(self, forgotten_to: int = -1) -> None:
        """The log is known to hold all that this miner said, except at heights up to `forgotten_to`.

        In an attempt that was at work there it may have committed: it abstains until the next, also after a restart.
        """
        self._signing = True
        self._forgotten_to = forgotten_to
        self._abstain_if_due()
        if self._unsigned is not None:
            self.estimated(self._unsigned)

    def estimated(self, answer: jobs.Estimated) -> None:
        """The child's estimate: seal it with a salt, commit."""
        if not self._concerns(answer):
            return
        self._orders.drop("mine")
        self._unsigned = None if self._signing else answer
        if not self._signing:
            return
        assert self.machine is not None
        reveal = Reveal(
            miner=self._address,
            rankings=answer.rankings,
            exact=answer.exact,
            sums=answer.sums,
            table=answer.table,
            salt=self._ports.salt(),
            signature="",
        )
        self._run(self.machine.estimated(reveal))

    def table_verified(self, answer: jobs.TableVerified) -> None:
        """The child's verdict on a table."""
        order = self._orders.done(("table", answer.task, str(answer.attempt), answer.miner))
        if self._concerns(answer) and isinstance(order, jobs.VerifyTable):
            assert self.machine is not None
            self._run(self.machine.checked(order.reveal, answer.follows, answer.wrong))

    def entry_verified(self, answer: jobs.EntryVerified) -> None:
        """The child's verdict on one entry that somebody calls false."""
        self._orders.done(("entry", answer.task, str(answer.attempt), answer.miner, str(answer.entry)))
        if self._concerns(answer):
            assert self.machine is not None
            self._run(self.machine.entry_checked(answer.miner, answer.entry, answer.wrong))

    # Inside -----------------------------------------------------------------------------------------------------

    def _open(self, record: TaskRecord, records: list[Record]) -> None:
        place = (record.task.id, record.attempt)
        started = self._stage_start(record, OPEN, records)
        self.machine = Posap(attempt_of(record, self._genesis), self._address, self._signer, started)
        kinds = posap.Opening | posap.Frozen | posap.Started | posap.Abstained | CommitNote | RevealNote
        self.machine.restore(r for r in records if isinstance(r, kinds) and (r.task, r.attempt) == place)
        self._abstain_if_due()
        mines = record.state == OPEN and self.machine.phase == "mining"
        if mines and self._address in self.machine.attempt.expected:
            assert record.seed is not None
            deadline = started + record.task.runtime_ms
            attempt = self.machine.attempt
            order = jobs.Mine(
                record.task, record.attempt, record.seed, deadline, attempt.most_rankings, attempt.exact
            )
            self._orders.give(("mine", record.task.id), order)
        self._want_files()

    def _abstain_if_due(self) -> None:
        machine = self.machine
        if machine is not None and machine.me is not None and self._ledger.tip.height <= self._forgotten_to:
            machine.abstain()
            self._log.append([posap.Abstained(machine.attempt.task, machine.attempt.number)])

    def _drop(self) -> None:
        """The attempt is over; what was memoised for its task is kept while another attempt follows."""
        if self.machine is None:
            return
        ended = self.machine.attempt.task
        current = self._ledger.tip.state.current
        self.machine = self.progress = None
        self._orders.drop(*_KINDS)
        if current is None or current.task.id != ended:
            self._ports.order(jobs.Forget(self._ledger.tip.state.record(ended).task))

    def _stage_start(self, record: TaskRecord, stage: str, records: list[Record]) -> int:
        """Monotonic time at which a stage began here; after a restart from the wall time in the log."""
        now, wall = self._ports.now_ms(), self._ports.wall_ms()
        place = (record.task.id, record.attempt, stage)
        for old in records:
            if isinstance(old, posap.Started) and (old.task, old.attempt, old.stage) == place:
                return now - min(max(0, wall - old.wall_ms), 2 * self._genesis.bounds.runtime_ms)
        self._log.append([posap.Started(*place, wall)])
        return now

    def _concerns(self, answer: jobs.Estimated | jobs.TableVerified | jobs.EntryVerified) -> bool:
        here = self.machine
        return here is not None and (here.attempt.task, here.attempt.number) == (answer.task, answer.attempt)

    def _run(self, effects: Iterable[posap.Effect]) -> None:
        """Carry out effects in order; what is to persist is durable, all or none, before what follows."""
        records: list[Record] = []
        for effect in effects:
            if isinstance(effect, posap.Persist):
                records.append(effect.record)
                continue
            self._flush(records)
            match effect:
                case posap.Send():
                    self._ports.broadcast(effect.message)
                case posap.CheckTable():
                    self._check_table(effect.reveal)
                case posap.CheckEntry():
                    self._check_entry(effect)
        self._flush(records)

    def _flush(self, records: list[Record]) -> None:
        if records:
            self._log.append(list(records))
            records.clear()

    # Rule [P-8.17].
    def _check_table(self, reveal: Reveal) -> None:
        record = self._ledger.tip.state.current
        assert record is not None
        assert record.seed is not None
        assert self.machine is not None
        # All tables share what checks may take: the reveal freeze waits no longer for many than for one.
        budget_ms = self.machine.attempt.check_budget_ms // max(1, len(self._genesis.roster) - 1)
        order = jobs.VerifyTable(record.task, record.attempt, record.seed, reveal, budget_ms)
        self._orders.give(("table", record.task.id, str(record.attempt), reveal.miner), order)
        self._want_table(record.task, reveal)

    def _want_table(self, task: Task, reveal: Reveal) -> None:
        if not self._ports.has_file(reveal.table):
            bound = table_bytes(task, reveal, self._genesis.bounds)
            self._ports.want_files([reveal.table], self._holders(reveal.miner), bound)

    def _want_files(self) -> None:
        """What waiting orders lack: tables, and the task's files if this miner was away when the task came."""
        record, unsent = self._ledger.tip.state.current, self._orders.unsent()
        if record is None:
            return
        missing = [digest for digest in record.task.files if not self._ports.has_file(digest)]
        if missing and unsent:
            holders = self._holders(record.task.sender)
            self._ports.want_files(missing, holders, self._genesis.bounds.files_bytes)
        for order in unsent:
            if isinstance(order, jobs.VerifyTable):
                self._want_table(order.task, order.reveal)

    def _holders(self, likely: str) -> list[str]:
        """Whom to ask for a file, the likeliest first."""
        others = dict.fromkeys([likely, *self._genesis.roster])
        others.pop(self._address, None)
        return list(others)

    def _check_entry(self, effect: posap.CheckEntry) -> None:
        record = self._ledger.tip.state.current
        assert record is not None
        assert record.seed is not None
        key = ("entry", record.task.id, str(record.attempt), effect.reveal.miner, str(effect.entry))
        order = jobs.VerifyEntry(record.task, record.attempt, record.seed, effect.reveal, effect.entry)
        self._orders.give(key, order)
