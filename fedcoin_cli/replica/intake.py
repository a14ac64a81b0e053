"""Intake: what comes to be packed. Transactions are admitted and passed on; a task's files are for `inspections`.

What costs is done late and in slices: a task of many clients is admitted some turns after it came, one a peer.
"""

from collections.abc import Callable
from typing import TypeGuard

from fedcoin_cli.protocol.message import Receipt, TransactionNote
from fedcoin_cli.replica.inspections import Inspections
from fedcoin_cli.replica.mempool import Mempool, Pendable
from fedcoin_cli.replica.ports import Ledger, Orders, Ports
from fedcoin_cli.replica.refusals import REASON_MOST, Refusals
from fedcoin_cli.replica.signatures import SIGNATURES_A_TURN, Signatures, Waits
from ledger_store.base.canonical import encode
from ledger_store.base.errors import BadSignature, PeerFault
from ledger_store.base.names import Address
from ledger_store.block import Block
from ledger_store.genesis import Genesis
from ledger_store.transaction import Close, Result, Task, Transaction, Transfer

# What a miner says again of its pending transactions at one standstill.
REMINDED_BYTES = 2**18


class Intake:
    """Pending transactions and the files that tasks among them need; `leader` says who proposes next."""

    def __init__(
        self,
        genesis: Genesis,
        address: Address,
        ledger: Ledger,
        ports: Ports,
        orders: Orders,
        leader: Callable[[], Address],
    ) -> None:
        # What waits for a block.
        self.mempool = Mempool(genesis.delta_ms)
        # The network: roster and bounds.
        self._genesis = genesis
        # This miner's.
        self._address = address
        # Whose tip decides what is admissible.
        self._ledger = ledger
        # Clocks, peers and files.
        self._ports = ports
        # Says who proposes next: transfers go there alone.
        self._leader = leader
        # Why tasks are not taken again.
        self._refusals = Refusals(ports)
        # The files of pending tasks, and what the child said of them.
        self.inspections = Inspections(genesis, address, ports, orders, self.mempool, self._refusals)
        # Tasks whose clients' signatures are being looked at, one a peer.
        self._verifying: dict[Address, Signatures] = {}
        # Accounts that have to wait since they signed for a false signature.
        self._waits = Waits()
        # How many transactions were said again so far: the next standstill goes on there.
        self._reminded = 0

    def receive(self, sender: Address, transaction: Transaction) -> None:
        """A transaction from a peer or an account: answer an account, pass on what is new."""
        if isinstance(transaction, Close | Result):
            return
        known = transaction.id in self.mempool
        if not known and self._is_long(transaction):
            error = self._begin(transaction, sender)
            if error is not None:
                self._answer(sender, transaction, error)
            return
        error = self._admit(transaction, sender)
        self._answer(sender, transaction, error)
        if error is None and not known:
            self._pass_on(sender, transaction)

    @property
    def is_verifying(self) -> bool:
        """Whether signatures of a task wait to be looked at."""
        return bool(self._verifying)

    def verify(self) -> None:
        """Look at some signatures of the task whose turn it is; when it is done, admit or refuse it [P-11.15]."""
        if not self._verifying:
            return
        sender = next(iter(self._verifying))
        signatures = self._verifying.pop(sender)
        good = signatures.good(SIGNATURES_A_TURN)
        if good is None:
            self._verifying[sender] = signatures
            return
        task = signatures.task
        error = self._admit(task, sender, signed=True) if good else self._accuse(task)
        self._answer(sender, task, error)
        if error is None:
            self._pass_on(sender, task)

    def learn(self, block: Block, sender: Address) -> None:
        """A proposal is gossip too: its tasks' files must be fetched and checked before the vote.

        An account that signs two things with one sequence number must not divide the miners: the proposed one counts.
        (docs/adr/0007, docs/adr/0022) [P-11.19]
        """
        for transaction in block.transactions:
            if isinstance(transaction, Close | Result) or transaction.id in self.mempool:
                continue
            rival = self.mempool.at(transaction.sender, transaction.sequence)
            if (
                rival is not None
                and self._refusal(transaction) is None
                and transaction.verified(self._genesis.id)
            ):
                self.mempool.drop(rival)
            if self._is_long(transaction):
                self._begin(transaction, sender)
            else:
                self._admit(transaction, sender)

    def applied(self, block: Block) -> None:
        """A final block took some transactions and may have made others impossible."""
        state = self._ledger.tip.state
        self.mempool.prune(state, self._touched(block))
        self.inspections.applied(state.queue)

    def standstill(self) -> None:
        """Pass on what is pending; ask again for files that did not come."""
        self._remind()
        self.inspections.standstill()

    def _pass_on(self, sender: Address, transaction: Pendable) -> None:
        """A task to all, whose files take time; the rest to who proposes next: all hear at standstill what still waits.

        Told to everybody by everybody, a transfer among R miners would be R² messages. (docs/adr/0019) [P-11.17]
        """
        note, leader = TransactionNote(transaction), self._leader()
        if isinstance(transaction, Task):
            self._ports.broadcast(note)
        elif leader not in {self._address, sender}:
            self._ports.send(leader, note)

    def _remind(self) -> None:
        """Say again what is pending, in turn and within a budget, but no task to those who say that they have it.

        (docs/adr/0032) [P-11.18]
        """
        waiting = list(self.mempool)
        others = [miner for miner in self._genesis.roster if miner != self._address]
        room, first = REMINDED_BYTES, self._reminded % len(waiting) if waiting else 0
        for count, transaction in enumerate(waiting[first:] + waiting[:first]):
            room -= len(encode(transaction.to_json()))
            if count and room < 0:
                break
            self._reminded += 1
            have = self.inspections.holders(transaction.id) if isinstance(transaction, Task) else frozenset()
            for miner in others:
                if miner not in have:
                    self._ports.send(miner, TransactionNote(transaction))

    def _touched(self, block: Block) -> set[Address]:
        """Whose balance, sequence or tasks the block has changed."""
        touched: set[Address] = set()
        for transaction in block.transactions:
            if isinstance(transaction, Close | Result):
                task = self._ledger.tip.state.record(transaction.task).task
                touched |= {task.sender, task.server, *self._genesis.roster}
                touched |= set(task.owners)
            else:
                touched |= {
                    transaction.sender,
                    *([transaction.to] if isinstance(transaction, Transfer) else []),
                }
        return touched

    def _answer(self, sender: Address, transaction: Pendable, error: str | None) -> None:
        if sender not in self._genesis.roster:
            self._ports.send(sender, Receipt(transaction.id, error))

    @staticmethod
    def _is_long(transaction: Pendable) -> TypeGuard[Task]:
        return isinstance(transaction, Task) and len(transaction.updates) > SIGNATURES_A_TURN

    def _begin(self, task: Task, sender: Address) -> str | None:
        """Have its clients' signatures looked at, turn by turn, if nothing else is wrong with it; say what is."""
        if any(other.task.id == task.id for other in self._verifying.values()):
            return None
        error = self._barred(task)
        if error is not None:
            return error
        if sender in self._verifying:
            return "another task that came this way is being verified: send this one later"
        try:
            self.mempool.examine(task, self._ledger.tip.state)
        except PeerFault as fault:
            return fault.message[:REASON_MOST]
        self._verifying[sender] = Signatures(task, self._genesis.id)
        return None

    def _accuse(self, task: Task) -> str:
        """A client's signature is false, and the account has signed that it is there."""
        self._waits.add(task.sender, self._ports.now_ms())
        reason = "a client's signature is wrong"
        self._refusals.add(task.id, reason)
        return reason

    def _barred(self, transaction: Pendable) -> str | None:
        """Why it is not even looked at."""
        if not isinstance(transaction, Task):
            return None
        reason = self._refusal(transaction)
        if reason is not None:
            return reason
        left_ms = self._waits.left_ms(transaction.sender, self._ports.now_ms())
        seconds = (left_ms + 999) // 1_000
        return f"a task of this account had a false signature: wait {seconds} s" if left_ms else None

    def _admit(self, transaction: Pendable, sender: Address, *, signed: bool = False) -> str | None:
        """Take it, or say why not."""
        if transaction.id not in self.mempool and (error := self._barred(transaction)) is not None:
            return error
        try:
            self.mempool.admit(transaction, self._ledger.tip.state, self._ports.now_ms(), signed=signed)
        except BadSignature:
            assert isinstance(transaction, Task)
            return self._accuse(transaction)
        except PeerFault as error:
            return error.message[:REASON_MOST]
        if isinstance(transaction, Task):
            self.inspections.gather(transaction, sender)
        return None

    def _refusal(self, transaction: Pendable) -> str | None:
        return self._refusals.reason(transaction.id) if isinstance(transaction, Task) else None
