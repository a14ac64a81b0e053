"""One miner without sockets, files or a clock: the pure machines, the mempool and the ledger driven together.

Everything that happens enters through `receive`, `answer`, `file_arrived` or `tick`; everything that it causes leaves
through `Ports`. Given the same inputs it does the same things, so the simulator runs this very class.

A finished height's `Simplex` is replaced by the next one; a finished attempt's `Posap` likewise. Persisting comes
before sending: effects are carried out in the order in which the machines gave them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from fedcoin_cli.application import work
from fedcoin_cli.application.mempool import Mempool, fresh_block
from fedcoin_cli.application.votelog import Record, Remembered
from fedcoin_cli.consensus import posap, simplex
from fedcoin_cli.consensus.estimate import ProxySums, no_proxy
from fedcoin_cli.consensus.posap import Posap
from fedcoin_cli.consensus.simplex import Council, Signer, Simplex
from fedcoin_cli.contract.settlement import give_up, settle, validate
from fedcoin_cli.contract.task import attempt_of
from fedcoin_cli.network.message import (
    BLOCKS_A_FETCH,
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
    Receipt,
    RevealNote,
    Standing,
    Status,
    TransactionNote,
    Vote,
)
from ledger_store.block import Block, Certificate, vote_terms
from ledger_store.chain import Tip
from ledger_store.errors import BadSignature, LedgerInvalid, PeerFault
from ledger_store.genesis import Genesis
from ledger_store.keys import KeyPair, verify
from ledger_store.state import CLOSED, OPEN, TaskRecord
from ledger_store.transaction import Close, Result, Reveal, Task, Transaction

CLOCK_SKEW_MS = 600_000
STANDSTILL_MS = 2_000
EARLY_A_PEER = 32
ANSWER_INTERVAL_MS = 100


class Ledger(Protocol):
    """The chain file, or its twin in memory."""

    @property
    def tip(self) -> Tip: ...
    def append(self, block: Block, certificate: Certificate) -> None: ...
    def block(self, height: int) -> Block: ...
    def certificate_of(self, height: int) -> Certificate | None: ...
    def certify(self, certificate: Certificate) -> None: ...


class Log(Protocol):
    """The vote log, or its twin in memory."""

    def append(self, records: list[Record]) -> None: ...
    def decide(self, block: Block, certificate: Certificate, current_task: str | None) -> None: ...


class Ports(Protocol):
    """Everything that a replica does to the world, and the two clocks it reads."""

    def now_ms(self) -> int:
        """Monotonic time."""
        ...

    def wall_ms(self) -> int:
        """Time of day."""
        ...

    def salt(self) -> str:
        """128 fresh random bits as hex."""
        ...

    def send(self, to: str, message: Message) -> None:
        """To one peer by address; may be lost."""
        ...

    def broadcast(self, message: Message) -> None:
        """To all other miners; may be lost."""
        ...

    def order(self, order: work.Order) -> None:
        """To the mining child; each order but Forget and Mine is answered, unless the child dies."""
        ...

    def has_file(self, digest: str) -> bool:
        """Whether the store holds it."""
        ...

    def want_files(self, digests: Iterable[str], holders: Iterable[str], most_bytes: int) -> None:
        """Get files by digest from any holder; `file_arrived` follows for each."""
        ...

    def applied(self, block: Block) -> None:
        """The ledger has grown by `block`."""
        ...

    def keep_evidence(self, height: int, proofs: list[Vote | Certified]) -> None:
        """A height was decided after view 0: keep what was said in it."""
        ...

    def connected(self) -> int:
        """How many other miners are connected."""
        ...


@dataclass(frozen=True, slots=True)
class RosterSigner:
    """The machines' signer: this miner's key, and the roster of a genesis."""

    key: KeyPair
    genesis: Genesis

    def sign(self, kind: str, terms: dict[str, object]) -> str:
        """This miner's signature over canonical `terms`."""
        return self.key.sign(kind, self.genesis.id, terms)

    def verify(self, miner: int, kind: str, terms: dict[str, object], signature: str) -> bool:
        """Whether roster[miner] signed `terms`."""
        return verify(self.genesis.roster[miner], kind, self.genesis.id, terms, signature)


def table_bytes(task: Task, reveal: Reveal) -> int:
    """The most that a table of this reveal can weigh: all counts, or the masks that t rankings visit with theirs."""
    if reveal.exact:
        return 4 * ((1 << task.clients) - 1)
    entry = 4 + (task.clients + 7) // 8
    return reveal.rankings * task.clients * entry


def reconcile(ledger: Ledger, remembered: Remembered | None) -> None:
    """After a crash between log and ledger: the log's decided block becomes the ledger's line and tip again."""
    if remembered is None or remembered.decided is None:
        return
    block, certificate = remembered.decided
    if block.height == ledger.tip.height + 1:
        ledger.append(block, certificate)
    elif block.id == ledger.tip.state.head and ledger.tip.certificate is None:
        ledger.certify(certificate)


@dataclass(slots=True)
class _Recovery:
    """No vote before the log is known to hold everything that this miner ever said."""

    log_height: int
    answered: set[str]
    highest: int
    older: bool


class Replica:
    """A miner. `address` is its key's; `log` was opened and `remembered` read from it (None: the log is missing)."""

    def __init__(
        self,
        genesis: Genesis,
        address: str,
        signer: Signer,
        ledger: Ledger,
        log: Log,
        remembered: Remembered | None,
        ports: Ports,
        nonce: str,
    ) -> None:
        self.genesis = genesis
        self.address = address
        self.ledger = ledger
        self.mempool = Mempool(genesis.delta_ms)
        self.ports = ports
        self.posap: Posap | None = None
        self.progress: work.Mined | None = None
        self.engine = ""
        self._signer = signer
        self._log = log
        self._nonce = nonce
        me = genesis.roster.index(address)
        self._council = Council(len(genesis.roster), me, genesis.delta_ms, genesis.quorum, genesis.faults)
        self._validated: dict[str, str | None] = {}
        self._checked: set[str] = set()
        self._refused: dict[str, str] = {}
        self._inspecting: set[str] = set()
        self._orders: dict[object, work.Order] = {}
        self._early: dict[str, list[Proposal | Vote | Certified]] = {}
        self._lately: dict[tuple[str, str], tuple[int, int]] = {}
        self._applied_ms = ports.now_ms() - genesis.bounds.block_interval_ms
        self._standstill_at = ports.now_ms()
        self._phase: tuple[str, int, str] | None = None
        self._recovery: _Recovery | None = _Recovery(ledger.tip.height + 1, set(), 0, remembered is None)
        records = [] if remembered is None else list(remembered.records)
        self._simplex = self._next_height(records)
        self._follow_task(records)
        self._end_recovery_if_due()
        self._settle()

    # Inputs -----------------------------------------------------------------------------------------------------

    def receive(self, sender: str, message: Message) -> None:
        """A message over the authenticated connection of `sender` (a miner's or an account's address)."""
        match message:
            case Proposal() | Vote() | Certified():
                if sender in self.genesis.roster:
                    self._on_finality(sender, message)
            case CommitNote() | RevealNote() | FraudNote():
                if self.posap is not None and sender in self.genesis.roster:
                    self._run_posap(self.posap.receive(message))
            case TransactionNote():
                self._on_transaction(sender, message.transaction)
            case Status():
                self._on_status(sender, message)
            case Fetch():
                self._serve_blocks(sender, message.height)
            case FinalBlock():
                self._on_final_block(message)
            case Recall():
                if sender in self.genesis.roster:
                    votes = self._simplex.votes_of(self.genesis.roster.index(sender))
                    self.ports.send(sender, Recalled(self._simplex.height, votes))
            case Recalled():
                self._on_recalled(sender, message)
            case Ask():
                self.ports.send(sender, self.standing())
            case Receipt() | Standing():
                pass  # for requesters only
        self._settle()

    def answer(self, answer: work.Answer) -> None:
        """What the mining child says."""
        match answer:
            case work.Ready():
                self.engine = answer.engine
            case work.Inspected():
                self._on_inspected(answer)
            case work.Mined():
                self.progress = answer
            case work.Estimated():
                self._on_estimated(answer)
            case work.Weighed():
                self._orders.pop(("weigh", answer.task), None)
                if self.posap is not None and self.posap.attempt.task == answer.task:
                    self.posap.proxy = ProxySums(answer.sums, answer.denominator)
            case work.TableVerified():
                order = self._orders.pop(("table", answer.task, answer.attempt, answer.miner), None)
                if self._concerns(answer) and isinstance(order, work.VerifyTable):
                    assert self.posap is not None
                    self._run_posap(self.posap.checked(order.reveal, answer.follows, answer.wrong))
            case work.MaskVerified():
                self._orders.pop(("mask", answer.task, answer.attempt, answer.miner, answer.mask), None)
                if self._concerns(answer):
                    assert self.posap is not None
                    self._run_posap(self.posap.mask_checked(answer.miner, answer.mask, answer.wrong))
        self._settle()

    def file_arrived(self, digest: str) -> None:
        """The store holds `digest` now."""
        for task in self.mempool.tasks():
            if digest in task.files:
                self._inspect_if_complete(task)
        for order in list(self._orders.values()):
            if isinstance(order, work.VerifyTable) and order.reveal.table == digest:
                self.ports.order(order)
        self._settle()

    def worker_restarted(self) -> None:
        """The mining child is new: give it what its predecessor took along."""
        for order in list(self._orders.values()):
            if not isinstance(order, work.VerifyTable) or self.ports.has_file(order.reveal.table):
                self.ports.order(self._shortened(order))

    def tick(self) -> None:
        """Time has passed."""
        now = self.ports.now_ms()
        if now >= self._standstill_at:
            self._standstill_at = now + STANDSTILL_MS + 100 * self._council.me
            self._standstill()
        self._settle()

    # Questions --------------------------------------------------------------------------------------------------

    @property
    def deadline_ms(self) -> int:
        """When `tick` must come at the latest."""
        now = self.ports.now_ms()
        times = [
            self._simplex.deadline_ms,
            None if self.posap is None else self.posap.deadline_ms,
            self.mempool.next_ready_ms(now),
            self._applied_ms + self.genesis.bounds.block_interval_ms,
            self._standstill_at,
        ]
        return min(time for time in times if time is not None and (time > now or time == self._standstill_at))

    @property
    def voting(self) -> bool:
        """Whether this miner votes, or only observes until its log is known to be whole."""
        return self._simplex.voting

    def standing(self) -> Standing:
        """How things stand here."""
        posap = self.posap
        waiting = bool(self.mempool.tasks())
        phase = posap.phase if posap is not None else "files" if waiting else "idle"
        if not self.engine:
            phase = "starting"
        left = 0
        if posap is not None and phase == "mining":
            left = max(0, posap.opened_ms + posap.attempt.runtime_ms - self.ports.now_ms())
        mined = self.progress
        current = mined is not None and posap is not None and mined.task == posap.attempt.task
        return Standing(
            height=self.ledger.tip.height,
            task=None if posap is None else posap.attempt.task,
            attempt=0 if posap is None else posap.attempt.number,
            phase=phase,
            rankings=mined.rankings if mined is not None and current else 0,
            evaluated=mined.evaluated if mined is not None and current else 0,
            total=mined.total if mined is not None and current else 0,
            remaining_ms=left,
            peers=self.ports.connected(),
        )

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
        """Local check of a fresh block: its time, its tasks' files, its close or result."""
        if block.header.time_ms > self.ports.wall_ms() + CLOCK_SKEW_MS:
            return False
        return all(self._accepts(transaction) for transaction in block.transactions)

    def pack(self, view: int) -> Block | None:
        """A fresh block: pending transactions, then the close or result that is due."""
        now = self.ports.now_ms()
        if now < self._applied_ms + self.genesis.bounds.block_interval_ms or self._uncertified:
            return None
        due = self._due()
        state = self.ledger.tip.state
        room = self.genesis.bounds.block_bytes - 64 * 1024
        packed: list[Transaction] = []
        if len(self.mempool):
            packed += self.mempool.pack(state, now, tasks=view % 2 == 0, room_bytes=room)
            if not packed and due is None and view % 2:
                packed += self.mempool.pack(state, now, tasks=True, room_bytes=room)
        if due is not None and (isinstance(due, Close) or view % 2 == 0 or not packed):
            packed.append(due)
        if not packed:
            return None
        return fresh_block(state, self.ledger.tip.certificate, view, packed, self.ports.wall_ms())

    def _accepts(self, transaction: Transaction) -> bool:
        match transaction:
            case Task():
                return transaction.id in self._checked
            case Close():
                return self.posap is not None and self.posap.accepts_close(transaction)
            case Result():
                if self.posap is None:
                    return False
                self._run_posap(self.posap.consider(transaction))
                return self.posap.accepts_result(transaction)
        return True

    def _due(self) -> Close | Result | None:
        record = self.ledger.tip.state.current
        if self.posap is None or record is None:
            return None
        commits = self.posap.due_close()
        if commits is not None:
            outcome = None if commits else give_up(record)
            return Close(record.task.id, record.attempt, commits, outcome)
        result = self.posap.due_result()
        if result is None:
            return None
        reveals, frauds, proxy = result
        outcome = settle(record, self.genesis, reveals, frauds, proxy)
        return Result(record.task.id, record.attempt, reveals, frauds, proxy.sums, proxy.denominator, outcome)

    # Finality ---------------------------------------------------------------------------------------------------

    def _on_finality(self, sender: str, message: Proposal | Vote | Certified) -> None:
        height = self._simplex.height
        if message.height < height:
            self._serve_blocks(sender, message.height)
        elif message.height > height:
            if message.height == height + 1:
                waiting = self._early.setdefault(sender, [])
                if len(waiting) < EARLY_A_PEER:
                    waiting.append(message)
            self._ask_for_blocks(sender)
        else:
            if isinstance(message, Proposal):
                self._learn_transactions(message.block, sender)
            self._run_simplex(self._simplex.receive(message, self.ports.now_ms()))

    def _run_simplex(self, effects: Iterable[simplex.Effect]) -> None:
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

    def _apply(self, block: Block, certificate: Certificate) -> None:
        """A final block: log, ledger, then everything that follows from it."""
        if not self.valid(block):
            hint = "more than f miners lie; keep this ledger and compare it with the others'"
            raise LedgerInvalid(
                f"block {block.height} is final and invalid: {self._validated[block.id]}", hint=hint
            )
        current = self.ledger.tip.state.current
        if block.header.view or certificate.view:
            self.ports.keep_evidence(block.height, self._simplex.evidence())
        self._log.decide(block, certificate, None if current is None else current.task.id)
        self.ledger.append(block, certificate)
        self._applied_ms = self.ports.now_ms()
        self._validated.clear()
        self.mempool.prune(self.ledger.tip.state)
        for transaction in block.transactions:
            if isinstance(transaction, Task):
                self._checked.discard(transaction.id)
        self._simplex = self._next_height([])
        self._follow_task([])
        self.ports.applied(block)
        self.ports.broadcast(Status(self.ledger.tip.height, self._nonce))
        self._end_recovery_if_due()
        early, self._early = self._early, {}
        for sender, messages in early.items():
            for message in messages:
                self._on_finality(sender, message)

    def _next_height(self, records: list[Record]) -> Simplex:
        height = self.ledger.tip.height + 1
        machine = Simplex(self._council, height, self._signer, self, self.ports.now_ms())
        machine.voting = self._recovery is None
        mine: list[Proposal | Vote | Certified] = [
            record
            for record in records
            if isinstance(record, Proposal | Vote | Certified) and record.height == height
        ]
        machine.restore(mine, self.ports.now_ms())
        return machine

    # Recovery ---------------------------------------------------------------------------------------------------

    def _on_recalled(self, sender: str, recalled: Recalled) -> None:
        recovery = self._recovery
        if recovery is None or sender not in self.genesis.roster or sender == self.address:
            return
        recovery.answered.add(sender)
        recovery.highest = max(recovery.highest, recalled.height)
        own = {(vote.height, vote.kind, vote.view, vote.block) for vote in self._simplex.own_votes()}
        for vote in recalled.votes:
            lost = (
                vote.height >= self._simplex.height
                and (vote.height, vote.kind, vote.view, vote.block) not in own
            )
            if lost and vote.voter == self._council.me and self._signed_by_me(vote):
                recovery.older = True
        self._end_recovery_if_due()

    def _signed_by_me(self, vote: Vote) -> bool:
        terms = vote_terms(vote.height, vote.view, vote.block)
        return self._signer.verify(self._council.me, vote.kind, terms, vote.signature)

    def _end_recovery_if_due(self) -> None:
        """Vote again once q − 1 others answered; with an older log only at heights that nobody had reached."""
        recovery = self._recovery
        if recovery is None or len(recovery.answered) < self._council.quorum - 1:
            return
        if recovery.older and self._simplex.height <= max(recovery.highest, recovery.log_height) + 1:
            return
        self._recovery = None
        self._simplex.voting = True

    # Blocks from others -----------------------------------------------------------------------------------------

    def _on_status(self, sender: str, status: Status) -> None:
        if status.height > self.ledger.tip.height:
            self._ask_for_blocks(sender)

    def _ask_for_blocks(self, sender: str) -> None:
        if self._not_lately("fetch", sender, self.ledger.tip.height):
            self.ports.send(sender, Fetch(self.ledger.tip.height + 1))

    def _serve_blocks(self, sender: str, height: int) -> None:
        """Final blocks from `height` on, then the own height, so that the other knows whether to ask again."""
        if not 1 <= height <= self.ledger.tip.height or not self._not_lately("serve", sender, height):
            return
        room = self.genesis.bounds.block_bytes
        for number in range(height, min(height + BLOCKS_A_FETCH, self.ledger.tip.height + 1)):
            block, certificate = self.ledger.block(number), self.ledger.certificate_of(number)
            room -= len(block.line)
            if certificate is None or (room < 0 and number > height):
                break
            self.ports.send(sender, FinalBlock(block, certificate))
        self.ports.send(sender, Status(self.ledger.tip.height, self._nonce))

    def _on_final_block(self, final: FinalBlock) -> None:
        tip, block = self.ledger.tip, final.block
        try:
            final.certificate.check(self.genesis, "final", block.height, block.id)
            if block.height == tip.height + 1 and self.valid(block):
                self._apply(block, final.certificate)
            elif block.id == tip.state.head and tip.certificate is None:
                self.ledger.certify(final.certificate)
        except BadSignature:
            return

    def _not_lately(self, what: str, sender: str, height: int) -> bool:
        """Whether this was not done for this peer and height a moment ago."""
        now = self.ports.now_ms()
        last_height, last_ms = self._lately.get((what, sender), (-1, 0))
        if height == last_height and now - last_ms < ANSWER_INTERVAL_MS:
            return False
        self._lately[what, sender] = height, now
        return True

    # Transactions and their files -------------------------------------------------------------------------------

    def _on_transaction(self, sender: str, transaction: Transaction) -> None:
        known = isinstance(transaction, Close | Result) or transaction.id in self.mempool
        error = self._admit(transaction, sender)
        if isinstance(transaction, Close | Result):
            return
        if sender not in self.genesis.roster:
            self.ports.send(sender, Receipt(transaction.id, error if error is None else error[:400]))
        if error is None and not known:
            self.ports.broadcast(TransactionNote(transaction))

    def _admit(self, transaction: Transaction, sender: str) -> str | None:
        if not isinstance(transaction, Close | Result) and transaction.id in self._refused:
            return self._refused[transaction.id]
        try:
            self.mempool.admit(transaction, self.ledger.tip.state, self.ports.now_ms())
        except PeerFault as error:
            return error.message
        if isinstance(transaction, Task):
            self._gather(transaction, sender)
        return None

    def _learn_transactions(self, block: Block, sender: str) -> None:
        """A proposal is gossip too: its tasks' files must be fetched and checked before the vote."""
        for transaction in block.transactions:
            if not isinstance(transaction, Close | Result) and transaction.id not in self.mempool:
                self._admit(transaction, sender)

    def _gather(self, task: Task, sender: str) -> None:
        missing = [digest for digest in task.files if not self.ports.has_file(digest)]
        if missing:
            holders = [task.sender, sender, *self.genesis.roster]
            self.ports.want_files(missing, self._others(holders), self.genesis.bounds.files_bytes)
        self._inspect_if_complete(task)

    def _inspect_if_complete(self, task: Task) -> None:
        done = task.id in self._checked or task.id in self._inspecting
        if not done and all(self.ports.has_file(digest) for digest in task.files):
            self._inspecting.add(task.id)
            self._order(("inspect", task.id), work.Inspect(task))

    def _on_inspected(self, answer: work.Inspected) -> None:
        order = self._orders.pop(("inspect", answer.task), None)
        self._inspecting.discard(answer.task)
        if not isinstance(order, work.Inspect):
            return
        task = order.task
        if answer.error is None:
            self._checked.add(task.id)
            self.mempool.task_checked(task, self.ports.now_ms())
        else:
            self._refused[task.id] = answer.error[:400]
            self.mempool.drop(task)
            self.ports.send(task.sender, Receipt(task.id, answer.error[:400]))

    # The task at work -------------------------------------------------------------------------------------------

    def _follow_task(self, records: list[Record]) -> None:
        """Bring `posap` in step with the chain: another attempt, another phase, or nothing to do."""
        record = self.ledger.tip.state.current
        if record is None:
            self._drop_posap()
            return
        place = (record.task.id, record.attempt)
        if self.posap is None or (self.posap.attempt.task, self.posap.attempt.number) != place:
            self._drop_posap()
            self._open(record, [r for r in records if getattr(r, "task", None) == place[0]])
        if record.state == CLOSED and self._phase != (*place, CLOSED):
            self._phase = (*place, CLOSED)
            assert self.posap is not None
            started = self._stage_start(record, CLOSED, records)
            self._orders.pop("mine", None)
            self._weigh(record)
            self._run_posap(self.posap.closed(record.commits, started))

    def _open(self, record: TaskRecord, records: list[Record]) -> None:
        place = (record.task.id, record.attempt)
        started = self._stage_start(record, OPEN, records)
        self._phase = (*place, OPEN)
        self.posap = Posap(attempt_of(record, self.genesis), self.address, self._signer, started)
        mine = [
            r
            for r in records
            if isinstance(r, posap.Opening | posap.Frozen | posap.Started | CommitNote)
            and r.attempt == place[1]
        ]
        self.posap.restore(mine)
        if record.task.proxy is None:
            self.posap.proxy = no_proxy(record.task.clients)
        if (
            record.state == OPEN
            and self.posap.phase == "mining"
            and self.address in self.posap.attempt.expected
        ):
            assert record.seed is not None
            left = max(0, started + record.task.runtime_ms - self.ports.now_ms())
            self._order("mine", work.Mine(record.task, record.attempt, record.seed, left))
        elif record.state == OPEN:
            self._weigh(record)

    def _stage_start(self, record: TaskRecord, stage: str, records: list[Record]) -> int:
        """Monotonic time at which a stage began here; after a restart from the wall time in the log."""
        now, wall = self.ports.now_ms(), self.ports.wall_ms()
        for old in records:
            if isinstance(old, posap.Started) and (old.task, old.attempt, old.stage) == (
                record.task.id,
                record.attempt,
                stage,
            ):
                return now - min(max(0, wall - old.wall_ms), 2 * self.genesis.bounds.runtime_ms)
        self._log.append([posap.Started(record.task.id, record.attempt, stage, wall)])
        return now

    def _drop_posap(self) -> None:
        if self.posap is None:
            return
        ended = self.posap.attempt.task
        current = self.ledger.tip.state.current
        self.posap = None
        self._orders = {key: order for key, order in self._orders.items() if isinstance(order, work.Inspect)}
        if current is None or current.task.id != ended:
            self.ports.order(work.Forget(self.ledger.tip.state.tasks[ended].task))

    def _weigh(self, record: TaskRecord) -> None:
        if (
            self.posap is not None
            and self.posap.proxy is None
            and ("weigh", record.task.id) not in self._orders
        ):
            assert record.seed is not None
            self._order(("weigh", record.task.id), work.Weigh(record.task, record.seed))

    def _on_estimated(self, answer: work.Estimated) -> None:
        self._orders.pop("mine", None)
        record = self.ledger.tip.state.current
        if not self._concerns(answer) or record is None:
            return
        assert self.posap is not None
        reveal = Reveal(
            miner=self.address,
            rankings=answer.rankings,
            exact=answer.exact,
            sums=answer.sums,
            values=answer.values,
            table=answer.table,
            salt=self.ports.salt(),
            signature="",
        )
        self._run_posap(self.posap.estimated(reveal))
        self._weigh(record)

    def _concerns(self, answer: work.Estimated | work.TableVerified | work.MaskVerified) -> bool:
        here = self.posap
        return here is not None and (here.attempt.task, here.attempt.number) == (answer.task, answer.attempt)

    def _run_posap(self, effects: Iterable[posap.Effect]) -> None:
        records: list[Record] = []
        for effect in effects:
            if isinstance(effect, posap.Persist):
                records.append(effect.record)
                continue
            self._flush(records)
            match effect:
                case posap.Send():
                    self.ports.broadcast(effect.message)
                case posap.CheckTable():
                    self._check_table(effect.reveal)
                case posap.CheckMask():
                    self._check_mask(effect)
        self._flush(records)

    def _check_table(self, reveal: Reveal) -> None:
        record = self.ledger.tip.state.current
        assert record is not None
        assert record.seed is not None
        order = work.VerifyTable(record.task, record.attempt, record.seed, reveal)
        self._orders["table", record.task.id, record.attempt, reveal.miner] = order
        if self.ports.has_file(reveal.table):
            self.ports.order(order)
        else:
            holders = self._others([reveal.miner, *self.genesis.roster])
            self.ports.want_files([reveal.table], holders, table_bytes(record.task, reveal))

    def _check_mask(self, effect: posap.CheckMask) -> None:
        record = self.ledger.tip.state.current
        assert record is not None
        key = ("mask", record.task.id, record.attempt, effect.reveal.miner, effect.mask)
        self._order(key, work.VerifyMask(record.task, record.attempt, effect.reveal, effect.mask))

    # Small parts ------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """After every input: clocks, arming, and whatever the machines can do now."""
        now = self.ports.now_ms()
        if self.posap is not None:
            self._run_posap(self.posap.tick(now))
        height = self._simplex.height
        armed = self._simplex.armed or self.mempool.armed or self._due_known()
        self._run_simplex(self._simplex.arm(now) if armed else self._simplex.tick(now))
        if self._simplex.height != height:
            self._settle()

    def _due_known(self) -> bool:
        return self.posap is not None and (
            self.posap.due_close() is not None or self.posap.due_result() is not None
        )

    def _standstill(self) -> None:
        if self._recovery is not None:
            self.ports.broadcast(Recall())
        if self._uncertified:
            self.ports.broadcast(Fetch(self.ledger.tip.height))
        self.ports.broadcast(Status(self.ledger.tip.height, self._nonce))
        self._run_simplex(self._simplex.standstill())
        if self.posap is not None:
            self._run_posap(self.posap.standstill())
            self._want_again()
        for transaction in self.mempool:
            self.ports.broadcast(TransactionNote(transaction))
        for task in self.mempool.tasks():
            if task.id not in self._checked and task.id not in self._inspecting:
                self._gather(task, task.sender)

    def _want_again(self) -> None:
        """Tables that did not arrive: their holders may be others now."""
        for order in self._orders.values():
            if isinstance(order, work.VerifyTable) and not self.ports.has_file(order.reveal.table):
                size = table_bytes(order.task, order.reveal)
                self.ports.want_files([order.reveal.table], self._others(self.genesis.roster), size)

    @property
    def _uncertified(self) -> bool:
        """The tip's certificate was lost with its file; a peer has it."""
        return self.ledger.tip.height > 0 and self.ledger.tip.certificate is None

    def _others(self, holders: Iterable[str]) -> list[str]:
        return [holder for holder in dict.fromkeys(holders) if holder != self.address]

    def _order(self, key: object, order: work.Order) -> None:
        self._orders[key] = order
        self.ports.order(order)

    def _shortened(self, order: work.Order) -> work.Order:
        """A mining order given again runs for what is left of RUNTIME."""
        if not isinstance(order, work.Mine) or self.posap is None:
            return order
        left = self.posap.opened_ms + self.posap.attempt.runtime_ms - self.ports.now_ms()
        return replace(order, remaining_ms=max(0, left))

    def _flush(self, records: list[Record]) -> None:
        if records:
            self._log.append(list(records))
            records.clear()
