"""One miner without sockets, files or a clock: finality, task work, intake and catching up, joined.

Everything that happens enters through `receive`, `answer`, `file_arrived`, `child_restarted` or `tick`; everything that
it causes leaves through `Ports`. Given the same inputs it does the same things, so the simulator runs this very class.

Here is the routing of messages; the way of blocks is `finality`'s.
"""

from fedcoin_cli.consensus.council import Council, Signer
from fedcoin_cli.protocol.message import (
    Ask,
    Certified,
    CommitNote,
    Fetch,
    FinalBlock,
    FraudNote,
    Message,
    Proposal,
    Recall,
    Recalled,
    Remind,
    RevealNote,
    Status,
    TransactionNote,
    Vote,
)
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.block_judge import BlockJudge
from fedcoin_cli.replica.catchup import CatchUp
from fedcoin_cli.replica.finality import Finality
from fedcoin_cli.replica.intake import Intake
from fedcoin_cli.replica.parts import Parts
from fedcoin_cli.replica.ports import Ledger, Log, Orders, Ports
from fedcoin_cli.replica.records import Remembered
from fedcoin_cli.replica.rejoining import Rejoining
from fedcoin_cli.replica.self_report import SelfReport
from fedcoin_cli.replica.taskwork import TaskWork
from ledger_store.base.names import Address, Digest
from ledger_store.genesis import Genesis

# Miners stand still at different times, 2 to 5 s apart.
STANDSTILL_LEAST_MS, STANDSTILL_MOST_MS = 2_000, 5_000


def reconcile(ledger: Ledger, remembered: Remembered | None) -> None:
    """After a crash between log and ledger: the log's decided block becomes the ledger's line and tip again.

    [P-13.10]
    """
    if remembered is None or remembered.decided is None:
        return
    block, certificate = remembered.decided
    if block.height == ledger.tip.height + 1:
        ledger.append(block, certificate)
    elif block.id == ledger.tip.state.head and ledger.tip.certificate is None:
        ledger.certify(certificate)


class Replica:
    """A miner. `address` is its key's; `log` was opened and `remembered` read from it."""

    def __init__(
        self,
        genesis: Genesis,
        address: Address,
        signer: Signer,
        ledger: Ledger,
        log: Log,
        remembered: Remembered,
        ports: Ports,
        nonce: str,
    ) -> None:
        # The network.
        self.genesis = genesis
        # The certified chain, which only `finality` grows.
        self.ledger = ledger
        # The world: clocks, peers, child, files.
        self.ports = ports
        # This process's own, told in every STATUS: a twin has another.
        self._nonce = nonce
        me = genesis.index_of(address)
        # Who decides a height.
        self._council = Council(len(genesis.roster), me, genesis.delta_ms, genesis.quorum, genesis.faults)
        # What the mining child has not answered yet.
        self._orders = Orders(ports)
        # What comes to be packed.
        self._intake = Intake(genesis, address, ledger, ports, self._orders, self._leader)
        # The attempt at work.
        self.taskwork = TaskWork(genesis, address, signer, ledger, log, ports, self._orders)
        # Final blocks asked for and served.
        self._catchup = CatchUp(ledger, ports)
        # What is judged of blocks, and what is packed.
        self.judge = BlockJudge(genesis, ledger, ports, self._intake, self.taskwork, self._catchup)
        # When what others may lack is said again.
        self._standstill_at = ports.now_ms()
        height, patient_until_ms = ledger.tip.height + 1, ports.now_ms() + STANDSTILL_MOST_MS
        # What this miner said before, and why it does not vote yet after its start.
        self._rejoining = Rejoining(genesis, address, signer, log, remembered, height, patient_until_ms)
        parts = Parts(self._intake, self.taskwork, self._catchup, self.judge, self._rejoining)
        # What people are told.
        self.report = SelfReport(ledger, ports, parts)
        # The way of blocks.
        self.finality = Finality(self._council, genesis, signer, ledger, log, ports, parts, self._status)
        self.taskwork.follow(self._rejoining.said)
        self.finality.end_recovery_if_due()
        self._settle()

    # Inputs -----------------------------------------------------------------------------------------------------

    def receive(self, sender: Address, message: Message) -> None:
        """A message over the authenticated connection of `sender` (a miner's or an account's address)."""
        member = sender in self.genesis.roster
        if member:
            self._from_miner(sender, message)
        self._from_anyone(sender, message)
        # An account's questions change nothing here.
        if member or isinstance(message, TransactionNote | FinalBlock):
            self._settle()

    def answer(self, answer: jobs.Answer) -> None:
        """What the mining child says."""
        match answer:
            case jobs.Ready():
                self.report.engine = answer.engine
            case jobs.Inspecting():
                self.report.inspecting = answer
            case jobs.Inspected():
                self.report.inspecting = None
                if self._intake.inspections.inspected(answer):
                    self.ports.broadcast(self._status())
            case jobs.Mined():
                self.taskwork.progress = answer
            case jobs.Estimated():
                self.taskwork.estimated(answer)
            case jobs.TableVerified():
                self.taskwork.table_verified(answer)
            case jobs.EntryVerified():
                self.taskwork.entry_verified(answer)
        self._settle()

    def file_arrived(self, digest: Digest) -> None:
        """The store holds `digest` now."""
        self._intake.inspections.file_arrived(digest)
        self._orders.send_complete()
        self._settle()

    def child_restarted(self) -> None:
        """The mining child is new."""
        self.report.engine = ""
        self._orders.child_died()
        self._intake.inspections.child_died()
        self._orders.send_complete()

    def tick(self) -> None:
        """Time has passed."""
        now = self.ports.now_ms()
        if now >= self._standstill_at:
            spread = (STANDSTILL_MOST_MS - STANDSTILL_LEAST_MS) * self._council.me // self._council.miners
            self._standstill_at = now + STANDSTILL_LEAST_MS + spread
            self._standstill()
        self._intake.verify()
        self._settle()

    # Questions --------------------------------------------------------------------------------------------------

    @property
    def deadline_ms(self) -> int:
        """When `tick` must come at the latest."""
        now = self.ports.now_ms()
        earliest = self._standstill_at
        for time in (
            self.finality.simplex.deadline_ms,
            self.taskwork.deadline_ms,
            self._intake.mempool.next_ready_ms(now),
            self.judge.due_ms,
        ):
            if time is not None and now < time < earliest:
                earliest = time
        return min(earliest, now + 1) if self._intake.is_verifying else earliest

    @property
    def voting(self) -> bool:
        """Whether this miner votes, or only observes until its log is known to be whole."""
        return self.finality.simplex.voting

    @property
    def armed(self) -> bool:
        """Whether something waits for a block."""
        return self.finality.simplex.armed or self._intake.mempool.armed or self.taskwork.is_due

    @property
    def view(self) -> int:
        """The view of the height at work; above 0 a leader was silent, or its block not accepted."""
        return self.finality.simplex.view

    def _leader(self) -> Address:
        """Who proposes in the present view."""
        simplex = self.finality.simplex
        return self.genesis.roster[self._council.leader(simplex.height, simplex.view)]

    # Messages ---------------------------------------------------------------------------------------------------

    # Rule [P-11.7].
    def _from_miner(self, sender: Address, message: Message) -> None:
        match message:
            case Proposal() | Vote() | Certified():
                self.finality.hear(sender, message)
            case CommitNote() | RevealNote() | FraudNote():
                self.taskwork.receive(message)
            case Status():
                self._intake.inspections.checked_elsewhere(sender, message.checked)
                self._catchup.heard(sender, message.height)
            case Recall():
                machine = self.taskwork.machine
                self.ports.send(sender, self._rejoining.answer(sender, self.finality.simplex, machine))
            case Recalled():
                self._on_recalled(sender, message)
            case Remind():
                reminder = self._rejoining.remind(sender, message.nonce, self.finality.simplex)
                if reminder is not None:
                    self.ports.send(sender, reminder)
            case _:
                pass

    def _from_anyone(self, sender: Address, message: Message) -> None:
        match message:
            case TransactionNote():
                self._intake.receive(sender, message.transaction)
            case Fetch():
                self._catchup.serve(sender, message.height, self._status())
            case FinalBlock():
                self.finality.take(message)
            case Ask():
                self.ports.send(sender, self.report.standing())
            case _:
                pass

    def _on_recalled(self, sender: Address, recalled: Recalled) -> None:
        if not self._rejoining.is_waiting:
            return
        if recalled.commit is not None:
            self.taskwork.receive(recalled.commit)
        self._rejoining.recalled(sender, recalled, self.finality.simplex)
        self.finality.end_recovery_if_due()

    # Time -------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """After every input: clocks, arming, and whatever the machines can do now."""
        self.taskwork.tick()
        simplex, now = self.finality.simplex, self.ports.now_ms()
        self.finality.run(simplex.arm(now) if self.armed else simplex.tick(now))
        if self.finality.simplex is not simplex:
            self._settle()

    def _standstill(self) -> None:
        """Say again what others may lack: ZeroMQ is treated as lossy [P-11.20]."""
        self.finality.end_recovery_if_due()
        if self._rejoining.is_waiting:
            self.ports.broadcast(Recall())
        if self._catchup.uncertified:
            self.ports.broadcast(Fetch(self.ledger.tip.height))
        self.ports.broadcast(self._status())
        self.finality.run(self.finality.simplex.standstill())
        self.taskwork.standstill()
        self._intake.standstill()

    def _status(self) -> Status:
        return Status(self.ledger.tip.height, self._nonce, self._intake.inspections.checked)
