"""One miner without sockets, files or a clock: finality, task work, intake and catching up, joined.

Everything that happens enters through `receive`, `answer`, `file_arrived`, `child_restarted` or `tick`; everything that
it causes leaves through `Ports`. Given the same inputs it does the same things, so the simulator runs this very class.

Here are the routing of messages and the way of blocks: judged for finality, packed, decided, applied. A decided
height's `Simplex` is replaced by the next one. Effects are carried out in the order in which the machines gave them,
and what is to persist is durable before anything that follows is sent.
"""

from collections.abc import Iterable
from dataclasses import replace

from fedcoin_cli.consensus import simplex
from fedcoin_cli.consensus.amnesia import Forgotten
from fedcoin_cli.consensus.council import Council, Signer
from fedcoin_cli.consensus.simplex import Simplex
from fedcoin_cli.contract.settlement import validate
from fedcoin_cli.protocol.message import (
    Ask,
    Certified,
    CommitNote,
    Fetch,
    FinalBlock,
    FraudNote,
    Message,
    Phase,
    Proposal,
    Recall,
    Recalled,
    Remind,
    Reminder,
    RevealNote,
    Silence,
    Standing,
    Status,
    TransactionNote,
    Vote,
)
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.catchup import CatchUp, Recovery
from fedcoin_cli.replica.intake import Intake
from fedcoin_cli.replica.mempool import fresh_block
from fedcoin_cli.replica.ports import Ledger, Log, Orders, Ports
from fedcoin_cli.replica.records import Record, Remembered
from fedcoin_cli.replica.taskwork import TaskWork
from ledger_store.base.canonical import encode
from ledger_store.base.errors import BadSignature, LedgerInvalid, PeerFault
from ledger_store.base.names import Address, BlockId, Digest
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate
from ledger_store.genesis import Genesis
from ledger_store.transaction import Close, Result, Task, Transaction

CLOCK_SKEW_MS = 600_000
# Miners stand still at different times, 2 to 5 s apart.
STANDSTILL_LEAST_MS, STANDSTILL_MOST_MS = 2_000, 5_000
EARLY_A_PEER, EARLY_BODIES_A_PEER = 32, 2
# Header and certificate of a full block, for the largest roster.
BLOCK_ROOM_BYTES = 16 * 1024


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
        # The certified chain, which only `_apply` grows.
        self.ledger = ledger
        # The world: clocks, peers, child, files.
        self.ports = ports
        # What counts coalitions here, in words; empty while the child starts.
        self.engine = ""
        # How far the last fresh block that was offered is ahead of this clock, when that is too far to vote for it.
        self.clock_behind_ms = 0
        # How far the child is with a task's files, for people.
        self._inspecting: jobs.Inspecting | None = None
        # Signs with this miner's key.
        self._signer = signer
        # The vote log: what is said is in it before.
        self._log = log
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
        # What was wrong with each block judged on this tip, None: nothing; judging takes long.
        self._validated: dict[BlockId, str | None] = {}
        # Messages of the next height by peer, few of each.
        self._early: dict[Address, list[Proposal | Vote | Certified]] = {}
        # When the tip was applied: blocks keep an interval.
        self._applied_ms = ports.now_ms() - genesis.bounds.block_interval_ms
        # When what others may lack is said again.
        self._standstill_at = ports.now_ms()
        # Kept for good: a ledger that was put back from a copy may be heights behind what this miner said.
        self._said, self._decided = list(remembered.records), remembered.decided
        # Where this miner's memory has gaps: it says nothing there.
        self._forgotten = [record for record in remembered.records if isinstance(record, Forgotten)]
        decided = 0 if self._decided is None else self._decided[0].height
        height, patient_until_ms = ledger.tip.height + 1, ports.now_ms() + STANDSTILL_MOST_MS
        # Why this miner does not vote yet after its start; None: it votes.
        self._recovery: Recovery | None = Recovery(
            genesis, me, signer, height, decided, patient_until_ms, lost=not remembered.whole
        )
        # The machine of the height at work, a new one for each.
        self._simplex = self._next_height()
        self.taskwork.follow(self._said)
        self._end_recovery_if_due()
        self._settle()

    # Inputs -----------------------------------------------------------------------------------------------------

    def receive(self, sender: Address, message: Message) -> None:
        """A message over the authenticated connection of `sender` (a miner's or an account's address)."""
        if sender in self.genesis.roster:
            self._from_miner(sender, message)
        self._from_anyone(sender, message)
        self._settle()

    def answer(self, answer: jobs.Answer) -> None:
        """What the mining child says."""
        match answer:
            case jobs.Ready():
                self.engine = answer.engine
            case jobs.Inspecting():
                self._inspecting = answer
            case jobs.Inspected():
                self._inspecting = None
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
        self.engine = ""
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
            self._simplex.deadline_ms,
            self.taskwork.deadline_ms,
            self._intake.mempool.next_ready_ms(now),
            self._applied_ms + self.genesis.bounds.block_interval_ms,
        ):
            if time is not None and now < time < earliest:
                earliest = time
        return min(earliest, now + 1) if self._intake.is_verifying else earliest

    @property
    def voting(self) -> bool:
        """Whether this miner votes, or only observes until its log is known to be whole."""
        return self._simplex.voting

    @property
    def armed(self) -> bool:
        """Whether something waits for a block."""
        return self._simplex.armed or self._intake.mempool.armed or self.taskwork.is_due

    @property
    def pending(self) -> int:
        """How many transactions wait here for a block."""
        return len(self._intake.mempool)

    @property
    def view(self) -> int:
        """The view of the height at work; above 0 a leader was silent, or its block not accepted."""
        return self._simplex.view

    @property
    def silence(self) -> Silence | None:
        """Why this miner votes for nothing new; None: it votes."""
        if self._recovery is not None:
            return Silence.VOTES_LOST if self._recovery.lost else Silence.RECALLING
        return Silence.CLOCK_BEHIND if self.clock_behind_ms else None

    @property
    def pending_tasks(self) -> list[Task]:
        """Tasks that wait for a block."""
        return self._intake.mempool.tasks()

    def standing(self) -> Standing:
        """How things stand here."""
        machine = self.taskwork.machine
        mined = self.taskwork.progress
        current = mined is not None and machine is not None and mined.task == machine.attempt.task
        inspecting = self._inspecting if self._phase() == Phase.FILES else None
        looked = (0, 0) if inspecting is None else (inspecting.done, inspecting.total)
        return Standing(
            height=self.ledger.tip.height,
            task=None if machine is None else machine.attempt.task,
            attempt=0 if machine is None else machine.attempt.number,
            phase=self._phase(),
            rankings=mined.rankings if mined is not None and current else 0,
            evaluated=mined.evaluated if mined is not None and current else looked[0],
            total=mined.total if mined is not None and current else looked[1],
            remaining_ms=self.taskwork.remaining_ms if self._phase() == Phase.MINING else 0,
            peers=self.ports.connected(),
            errors=mined.errors if mined is not None and current else None,
            silence=self.silence,
        )

    def _leader(self) -> Address:
        """Who proposes in the present view."""
        return self.genesis.roster[self._council.leader(self._simplex.height, self._simplex.view)]

    def _phase(self) -> Phase:
        if not self.engine:
            return Phase.STARTING
        if self.taskwork.machine is not None:
            return self.taskwork.machine.phase
        return Phase.FILES if self._intake.mempool.tasks() else Phase.IDLE

    # Messages ---------------------------------------------------------------------------------------------------

    # Rule [P-11.7].
    def _from_miner(self, sender: Address, message: Message) -> None:
        match message:
            case Proposal() | Vote() | Certified():
                self._on_finality(sender, message)
            case CommitNote() | RevealNote() | FraudNote():
                self.taskwork.receive(message)
            case Status():
                self._intake.inspections.checked_elsewhere(sender, message.checked)
                self._catchup.heard(sender, message.height)
            case Recall():
                self._answer_recall(sender)
            case Recalled():
                self._on_recalled(sender, message)
            case Remind():
                self._remind(sender, message.nonce)
            case _:
                pass

    def _from_anyone(self, sender: Address, message: Message) -> None:
        match message:
            case TransactionNote():
                self._intake.receive(sender, message.transaction)
            case Fetch():
                self._catchup.serve(sender, message.height, self._status())
            case FinalBlock():
                self._on_final_block(message)
            case Ask():
                self.ports.send(sender, self.standing())
            case _:
                pass

    # Rule [P-11.21].
    def _on_finality(self, sender: Address, message: Proposal | Vote | Certified) -> None:
        height = self._simplex.height
        if message.height < height:
            # What is said of the last height when it is just decided was on its way: the rest of it comes, too.
            fresh = self.ports.now_ms() < self._applied_ms + self.genesis.delta_ms
            if message.height < height - 1 or not fresh:
                self._catchup.serve(sender, message.height, self._status())
        elif message.height > height:
            if message.height == height + 1:
                self._keep_early(sender, message)
            self._catchup.heard(sender, message.height - 1)
        else:
            if isinstance(message, Proposal) and self._simplex.proposals.is_led(message):
                self._intake.learn(message.block, sender)
            self._run(self._simplex.receive(message, self.ports.now_ms()))

    def _keep_early(self, sender: Address, message: Proposal | Vote | Certified) -> None:
        """A message of the next height, for when this one is decided; few a peer, fewer that carry blocks [P-11.23]."""
        waiting = self._early.setdefault(sender, [])
        bodies = sum(not isinstance(early, Vote) for early in waiting)
        room = isinstance(message, Vote) or bodies < EARLY_BODIES_A_PEER
        if room and len(waiting) < EARLY_A_PEER:
            waiting.append(message)

    # Rule [P-11.22].
    def _on_final_block(self, final: FinalBlock) -> None:
        tip, block = self.ledger.tip, final.block
        following = block.height == tip.height + 1
        if not following and not (block.id == tip.state.head and tip.certificate is None):
            return
        try:
            final.certificate.check(self.genesis, VoteKind.FINAL, block.height, block.id)
        except BadSignature:
            return
        if not following:
            self.ledger.certify(final.certificate)
        elif self.valid(block):
            self._apply(block, final.certificate)

    def _answer_recall(self, sender: Address) -> None:
        """What this miner holds of the asker's: its commit in the present attempt, its votes at the present height."""
        commit = None if self.taskwork.machine is None else self.taskwork.machine.commit_of(sender)
        votes = self._simplex.ballots.votes_of(self.genesis.index_of(sender))
        self.ports.send(sender, Recalled(self._simplex.height, votes, commit))

    def _remind(self, sender: Address, nonce: str) -> None:
        """Tell a miner without its vote log what it may have said; no word of one whose own memory has gaps here."""
        machine, me = self._simplex, self._council.me
        gaps = any(record.silent_to(machine.height) >= 0 for record in self._forgotten)
        if gaps or (self._recovery is not None and self._recovery.lost):
            return
        own = tuple((vote.kind, vote.view, vote.block) for vote in machine.memory.own_votes())
        held = machine.ballots.votes_of(self.genesis.index_of(sender))
        reminder = Reminder(me, sender, nonce, machine.height, own, held, "")
        signature = self._signer.sign("reminder", reminder.terms())
        self.ports.send(sender, replace(reminder, signature=signature))

    def _on_recalled(self, sender: Address, recalled: Recalled) -> None:
        if self._recovery is None:
            return
        if recalled.commit is not None:
            self.taskwork.receive(recalled.commit)
        whole = not self._recovery.lost
        own = [
            *self._simplex.memory.own_votes(),
            *(record for record in self._said if isinstance(record, Vote)),
        ]
        self._recovery.recalled(sender, recalled, self._simplex.height, own)
        if whole and self._recovery.lost:
            self._log.mark(whole=False)
        self._end_recovery_if_due()

    # The judge of finality --------------------------------------------------------------------------------------

    def valid(self, block: Block) -> bool:
        """Deterministic check, remembered by id: parent state and block bytes decide."""
        if block.id not in self._validated:
            try:
                validate(self.ledger.tip, block)
                self._validated[block.id] = None
            except PeerFault as error:
                self._validated[block.id] = error.message
        return self._validated[block.id] is None

    def acceptable(self, block: Block) -> bool:
        """Local check of a fresh block: its time, its tasks' files, its close or result [P-10.12]."""
        ahead_ms = block.header.time_ms - self.ports.wall_ms()
        if ahead_ms > CLOCK_SKEW_MS:
            self.clock_behind_ms = ahead_ms
            return False
        self.clock_behind_ms = 0
        return all(self._accepts(transaction) for transaction in block.transactions)

    def pack(self, view: int) -> Block | None:
        """A fresh block: pending transactions, then the close or result that is due.

        In odd views tasks and results are left out if there is anything else, so that one that the others cannot
        accept yet does not hold up the rest. [P-10.25]
        """
        now = self.ports.now_ms()
        if now < self._applied_ms + self.genesis.bounds.block_interval_ms or self._catchup.uncertified:
            return None
        state, even = self.ledger.tip.state, view % 2 == 0
        due = self.taskwork.due()
        certain = due is not None and (even or isinstance(due, Close))
        room = self.genesis.bounds.block_bytes - BLOCK_ROOM_BYTES
        if certain and due is not None:
            room -= len(encode(due.to_json()))
        packed: list[Transaction] = []
        if len(self._intake.mempool):
            packed += self._intake.mempool.pack(state, now, tasks=even, room_bytes=room)
            if not packed and due is None and not even:
                packed += self._intake.mempool.pack(state, now, tasks=True, room_bytes=room)
        if due is not None and (certain or not packed):
            packed.append(due)
        if not packed:
            return None
        return fresh_block(state, self.ledger.tip.certificate, view, packed, self.ports.wall_ms())

    # Rule [P-10.13].
    def _accepts(self, transaction: Transaction) -> bool:
        match transaction:
            case Task():
                return self._intake.inspections.has_checked(transaction.id)
            case Close() | Result():
                return self.taskwork.accepts(transaction)
        return True

    # Blocks -----------------------------------------------------------------------------------------------------

    def _run(self, effects: Iterable[simplex.Effect]) -> None:
        records: list[Record] = []
        for effect in effects:
            if isinstance(effect, simplex.Persist):
                records.append(effect.record)
                continue
            self._flush(records)
            if isinstance(effect, simplex.Send):
                self.ports.broadcast(effect.message)
            else:
                self._apply(effect.block, effect.certificate)
        self._flush(records)

    def _flush(self, records: list[Record]) -> None:
        if records:
            self._log.append(list(records))
            records.clear()

    def _apply(self, block: Block, certificate: Certificate) -> None:
        """A final block: log, ledger, then everything that follows from it [P-13.10]."""
        if not self.valid(block):
            hint = "more than f miners lie; keep this ledger and compare it with the others'"
            raise LedgerInvalid(
                f"block {block.height} is final and invalid: {self._validated[block.id]}", hint=hint
            )
        if self._simplex.disturbed or block.header.view or certificate.view:
            final = Certified(VoteKind.FINAL, block.height, block.id, certificate, None)
            self.ports.keep_evidence(block.height, [*self._simplex.ballots.evidence(), final])
        current = self.ledger.tip.state.current
        self._log.decide(block, certificate, None if current is None else current.task.id)
        self.ledger.append(block, certificate)
        self._applied_ms = self.ports.now_ms()
        self._validated.clear()
        self._intake.applied(block)
        self._simplex = self._next_height()
        self.taskwork.follow(self._said)
        self.ports.applied(block)
        self.ports.broadcast(self._status())
        if self._decided is not None and self._decided[0].height == block.height + 1:
            self._apply(*self._decided)  # perhaps nobody else knows that it is final
        self._end_recovery_if_due()
        early, self._early = self._early, {}
        for sender, messages in early.items():
            for message in messages:
                self._on_finality(sender, message)

    def _next_height(self) -> Simplex:
        height, now = self.ledger.tip.height + 1, self.ports.now_ms()
        machine = Simplex(self._council, height, self._signer, self, now)
        machine.voting = self._recovery is None
        said = (record for record in self._said if isinstance(record, Proposal | Vote | Certified))
        machine.restore([*self._forgotten, *(record for record in said if record.height == height)], now)
        return machine

    def _end_recovery_if_due(self) -> None:
        recovery = self._recovery
        if recovery is None or not recovery.ended(self._simplex.height, self.ports.now_ms()):
            return
        if recovery.lost:
            self._log.mark(whole=True)
        self._recovery = None
        self._simplex.voting = True
        forgotten = max((record.height + 1 for record in self._forgotten), default=-1)
        self.taskwork.may_sign(self.ledger.tip.height if recovery.lost else forgotten)

    # Time -------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """After every input: clocks, arming, and whatever the machines can do now."""
        self.taskwork.tick()
        height, now = self._simplex.height, self.ports.now_ms()
        self._run(self._simplex.arm(now) if self.armed else self._simplex.tick(now))
        if self._simplex.height != height:
            self._settle()

    def _standstill(self) -> None:
        """Say again what others may lack: ZeroMQ is treated as lossy [P-11.20]."""
        self._end_recovery_if_due()
        if self._recovery is not None:
            self.ports.broadcast(Recall())
        if self._catchup.uncertified:
            self.ports.broadcast(Fetch(self.ledger.tip.height))
        self.ports.broadcast(self._status())
        self._run(self._simplex.standstill())
        self.taskwork.standstill()
        self._intake.standstill()

    def _status(self) -> Status:
        return Status(self.ledger.tip.height, self._nonce, self._intake.inspections.checked)
