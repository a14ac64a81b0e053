"""Task work: the attempt at work as this miner lives it.

Drives `posap` between chain, peers, vote log and mining child.
"""

from fedcoin_cli.consensus.attempt import Abstained, Frozen, Opening, Started
from fedcoin_cli.consensus.council import Signer
from fedcoin_cli.consensus.posap import Posap
from fedcoin_cli.contract.settlement import give_up, settle
from fedcoin_cli.contract.task import attempt_of
from fedcoin_cli.protocol.message import CommitNote, FraudNote, Phase, RevealNote
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.lacking import Lacking
from fedcoin_cli.replica.ports import Ledger, Log, Orders, Ports
from fedcoin_cli.replica.records import Record
from fedcoin_cli.replica.work_effects import Work, WorkEffects
from ledger_store.base.names import Address, TaskId
from ledger_store.base.words import TaskState
from ledger_store.genesis import Genesis
from ledger_store.state import TaskRecord
from ledger_store.transaction import Close, Result

_KINDS = ("mine", "table", "entry")


class TaskWork:
    """At most one `posap` machine, in step with the chain; `progress` is what the child last said of its mining."""

    def __init__(
        self,
        genesis: Genesis,
        address: Address,
        signer: Signer,
        ledger: Ledger,
        log: Log,
        ports: Ports,
        orders: Orders,
    ) -> None:
        # The attempt at work as this miner lives it; None: no task is unfinished.
        self.work: Work | None = None
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
        # What those wait for: the task's files and revealed tables.
        self._lacking = Lacking(genesis, address, ports, orders)
        # Carries out what the machine orders.
        self._effects = WorkEffects(len(genesis.roster), log, ports, orders, self._lacking)
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
        work = self.work
        if work is None or work.place != (record.task.id, record.attempt):
            self._drop()
            work = self._open(record, records)
        if record.state == TaskState.CLOSED and not work.closed:
            work.closed = True
            started = self._stage_start(work.place, TaskState.CLOSED, records)
            self._orders.drop("mine")
            self._effects.carry_out(work, work.machine.closed(record.commits, started))

    @property
    def machine(self) -> Posap | None:
        """The machine of the attempt at work."""
        return self.work.machine if self.work else None

    def due(self) -> Close | Result | None:
        """The close or result that is to be packed now."""
        record = self._ledger.tip.state.current
        if self.work is None or record is None:
            return None
        commits = self.work.machine.due_close()
        if commits is not None:
            return Close(record.task.id, record.attempt, commits, None if commits else give_up(record))
        result = self.work.machine.due_result()
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
        if self.work is None:
            return False
        machine = self.work.machine
        if isinstance(transaction, Close):
            return machine.accepts_close(transaction)
        self._effects.carry_out(self.work, machine.consider(transaction))
        return machine.accepts_result(transaction)

    # Peers and time ---------------------------------------------------------------------------------------------

    def receive(self, note: CommitNote | RevealNote | FraudNote) -> None:
        """Gossip about the attempt."""
        if self.work:
            self._effects.carry_out(self.work, self.work.machine.receive(note))

    def tick(self) -> None:
        """Time has passed."""
        if self.work:
            together = not self.work.closed or self._ports.connected() + 1 >= self._genesis.quorum
            self._effects.carry_out(
                self.work, self.work.machine.tick(self._ports.now_ms(), together=together)
            )

    def standstill(self) -> None:
        """Say again what others may lack; ask again for files and tables that did not come."""
        self._orders.send_complete()  # there may be room on the disk again
        if self.work:
            self._effects.carry_out(self.work, self.work.machine.standstill())
            self._lacking.want(self.work.task)

    @property
    def deadline_ms(self) -> int | None:
        """When `tick` must come at the latest."""
        return self.work.machine.deadline_ms if self.work else None

    @property
    def remaining_ms(self) -> int:
        """What is left of RUNTIME."""
        if self.work is None:
            return 0
        return max(0, self.work.machine.clocks.opened_ms + self.work.task.runtime_ms - self._ports.now_ms())

    # The mining child -------------------------------------------------------------------------------------------

    def may_sign(self, forgotten_to: int = -1) -> None:
        """The log is known to hold all that this miner said, except at heights up to `forgotten_to`.

        In an attempt that was at work there it may have committed: it abstains until the next, also after a restart.
        """
        self._signing = True
        self._forgotten_to = forgotten_to
        if self.work:
            self._abstain_if_due(self.work)
        if self._unsigned:
            self.estimated(self._unsigned)

    def estimated(self, answer: jobs.Estimated) -> None:
        """The child's estimate: seal it with a salt, commit."""
        work = self._concerned(answer)
        if work is None:
            return
        self._orders.drop("mine")
        self._unsigned = None if self._signing else answer
        if not self._signing:
            return
        reveal = answer.estimate.opened(self._address, self._ports.salt())
        self._effects.carry_out(work, work.machine.estimated(reveal))

    def table_verified(self, answer: jobs.TableVerified) -> None:
        """The child's verdict on a table."""
        order = self._orders.done(("table", answer.task, str(answer.attempt), answer.miner))
        work = self._concerned(answer)
        if work and isinstance(order, jobs.VerifyTable):
            self._effects.carry_out(work, work.machine.checked(order.reveal, answer.follows, answer.wrong))

    def entry_verified(self, answer: jobs.EntryVerified) -> None:
        """The child's verdict on one entry that somebody calls false."""
        self._orders.done(("entry", answer.task, str(answer.attempt), answer.miner, str(answer.entry)))
        work = self._concerned(answer)
        if work:
            self._effects.carry_out(
                work, work.machine.entry_checked(answer.miner, answer.entry, answer.wrong)
            )

    # Inside -----------------------------------------------------------------------------------------------------

    def _open(self, record: TaskRecord, records: list[Record]) -> Work:
        attempt = attempt_of(record, self._genesis)
        started = self._stage_start((record.task.id, record.attempt), TaskState.OPEN, records)
        machine = Posap(attempt, self._address, self._signer, started)
        self.work = work = Work(record.task, record.attempt, record.seed_of_opened, machine)
        kinds = Opening | Frozen | Started | Abstained | CommitNote | RevealNote
        machine.restore(r for r in records if isinstance(r, kinds) and (r.task, r.attempt) == work.place)
        self._abstain_if_due(work)
        mines = record.state == TaskState.OPEN and machine.phase == Phase.MINING
        if mines and self._address in attempt.expected:
            deadline = started + work.task.runtime_ms
            order = jobs.Mine(
                work.task, work.attempt, work.seed, deadline, attempt.most_rankings, attempt.exact
            )
            self._orders.give(("mine", work.task.id), order)
        self._lacking.want(work.task)
        return work

    def _abstain_if_due(self, work: Work) -> None:
        if work.machine.me and self._ledger.tip.height <= self._forgotten_to:
            work.machine.abstain()
            self._log.append([Abstained(*work.place)])

    def _drop(self) -> None:
        """The attempt is over; what was memoised for its task is kept while another attempt follows."""
        if self.work is None:
            return
        ended = self.work.task
        current = self._ledger.tip.state.current
        self.work = self.progress = None
        self._orders.drop(*_KINDS)
        if current is None or current.task.id != ended.id:
            self._ports.order(jobs.Forget(ended))

    def _stage_start(self, attempt: tuple[TaskId, int], stage: TaskState, records: list[Record]) -> int:
        """Monotonic time at which a stage began here; after a restart from the wall time in the log."""
        now, wall = self._ports.now_ms(), self._ports.wall_ms()
        place = (*attempt, stage)
        for old in records:
            if isinstance(old, Started) and (old.task, old.attempt, old.stage) == place:
                return now - min(max(0, wall - old.wall_ms), 2 * self._genesis.bounds.runtime_ms)
        self._log.append([Started(*place, wall)])
        return now

    def _concerned(self, answer: jobs.Estimated | jobs.TableVerified | jobs.EntryVerified) -> Work | None:
        """The work that an answer of the child is about, if it is the present one."""
        return self.work if self.work and self.work.place == (answer.task, answer.attempt) else None
