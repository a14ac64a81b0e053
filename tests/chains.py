"""Signed chains for tests: real keys, real certificates, any number of miners, every byte reproducible.

`ChainMaker` holds a growing chain. `add` checks what it adds; `force` does not, for ledgers to be refused.
Outcomes are the caller's: `settled` pays out the price, but does not follow from the reveals.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from ledger_store.base.amount import split
from ledger_store.base.canonical import encode
from ledger_store.base.names import Address, BlockId, Digest, GenesisId, MinerIndex, TaskId
from ledger_store.base.words import TaskState
from ledger_store.block import Block, Certificate, make_block, vote_terms
from ledger_store.bookkeeping.history import History
from ledger_store.chain import Tip, extend, start
from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME, TipRecord
from ledger_store.genesis import Bounds, Genesis
from ledger_store.identity.keys import KeyPair
from ledger_store.task_record import TaskRecord
from ledger_store.transaction import (
    ZERO,
    Cancel,
    Close,
    Commit,
    FraudMark,
    Outcome,
    Pay,
    Result,
    Reveal,
    Task,
    Transaction,
    Transfer,
    Update,
    commit_terms,
    sign,
    sign_update,
)

COIN = 10**6
TO_SIGN = ""
"""The signature of an update that its client, one of `key("client-1")` and so on, is still to make."""
_UNSIGNED = "0" * 128


def key(name: str) -> KeyPair:
    """The key of a name, always the same."""
    return KeyPair(hashlib.sha256(b"a key for tests: " + name.encode()).digest())


def digest(name: str) -> Digest:
    """The digest of a file that does not exist."""
    return Digest(hashlib.sha256(name.encode()).hexdigest())


def answered(task: Task, genesis: GenesisId, clients: Iterable[KeyPair] = ()) -> Task:
    """The task with the signatures that are `TO_SIGN` made by `clients`, or by the clients of tests."""
    keys = {one.address: one for one in clients or _clients()}
    updates = (
        sign_update(task, one.digest, one.examples, keys[one.client], genesis)
        if one.signature == TO_SIGN
        else one
        for one in task.updates
    )
    return replace(task, updates=tuple(updates))


@cache
def _clients() -> tuple[KeyPair, ...]:
    return tuple(key(f"client-{number}") for number in range(1, 1_001))


class ChainMaker:
    """A chain in the making; the account `requester` holds the supply."""

    def __init__(
        self, miners: int = 4, bounds: Bounds | None = None, supply_micro: int = 10**6 * COIN
    ) -> None:
        self.miners = [key(f"miner-{number}") for number in range(1, miners + 1)]
        self.requester, self.server = key("requester"), key("server")
        self.genesis = Genesis(
            network="tests",
            time_ms=1_700_000_000_000,
            roster=tuple(miner.address for miner in self.miners),
            supply=((self.requester.address, supply_micro),),
            delta_ms=500,
            bounds=bounds or Bounds(),
        )
        self.tip: Tip = start(self.genesis)
        self.blocks: list[Block] = []
        self.certificates: list[Certificate] = []
        self.records: dict[TaskId, TaskRecord] = {}
        """Every task that was added, as it stands or ended."""
        self._sequences: dict[Address, int] = {}

    @property
    def head(self) -> BlockId:
        """The id of the last block, checked or forced."""
        return self.blocks[-1].id if self.blocks else self.genesis.id

    def sequence(self, sender: KeyPair) -> int:
        """The sender's next sequence number; counts on."""
        self._sequences[sender.address] = self._sequences.get(sender.address, 0) + 1
        return self._sequences[sender.address]

    def forget(self) -> None:
        """Number on from the state: what was made and not added is not sent."""
        self._sequences = dict(self.tip.state.sequences)

    def transfer(self, sender: KeyPair, to: Address, micro: int, sequence: int | None = None) -> Transfer:
        """A signed transfer."""
        number = self.sequence(sender) if sequence is None else sequence
        return sign(Transfer(sender.address, number, _UNSIGNED, to, micro), sender, self.genesis.id)

    def cancel(self, sender: KeyPair, task: TaskId) -> Cancel:
        """A signed cancel."""
        return sign(Cancel(sender.address, self.sequence(sender), _UNSIGNED, task), sender, self.genesis.id)

    def update(self, number: int, examples: int = 100) -> Update:
        """Client `number`'s update, which it has not signed yet."""
        return Update(digest(f"update-{number}"), key(f"client-{number}").address, examples, TO_SIGN)

    def task(self, sender: KeyPair | None = None, clients: int = 3, **changes: Any) -> Task:
        """A signed task of 10 coins, by the requester unless told otherwise; `changes` replace its terms.

        Its call is fresh, and asks for as many clients as it has; updates that are `TO_SIGN` are signed for it.
        """
        sender = sender or self.requester
        changes.setdefault("whole", changes.get("images", 1_000))
        updates = changes.pop("updates", None) or tuple(self.update(n) for n in range(1, clients + 1))
        sequence = changes.pop("sequence", None) or self.sequence(sender)
        task = Task(
            sender=sender.address,
            sequence=sequence,
            signature=_UNSIGNED,
            server=self.server.address,
            nonce=digest(f"nonce {sender.address} {sequence}")[:32],
            least_clients=len(updates),
            most_clients=len(updates),
            model=digest("model"),
            test=digest("test"),
            baseline=ZERO,
            frozen=None,
            held=digest("held"),
            groups=(),
            updates=updates,
            images=1_000,
            block_images=16,
            metric="accuracy",
            whole=1_000,
            empty=0,
            aggregation="mean",
            price_micro=10 * COIN,
            train_micro=7 * COIN,
            computation_micro=1 * COIN,
            shapley_micro=2 * COIN,
            runtime_ms=5_000,
            difficulty_micro=1_500_000,
            least_rankings=1,
            most_rankings=10,
            payment_error_micro=None,
            attempts=3,
            sap_rule="winner",
        )
        return sign(answered(replace(task, **changes), self.genesis.id), sender, self.genesis.id)

    def reveal(self, task: Task, attempt: int, miner: KeyPair, **changes: Any) -> Reveal:
        """A signed reveal of some estimate; `changes` replace its fields."""
        reveal = Reveal(
            miner=miner.address,
            rankings=10,
            exact=False,
            sums=tuple(range(100, 100 + task.clients)),
            table=digest("table " + miner.address),
            salt=digest(f"salt {attempt} {miner.address}")[:32],
            signature=_UNSIGNED,
        )
        reveal = replace(reveal, **changes)
        terms = reveal.terms(task.id, attempt)
        return replace(reveal, signature=miner.sign("reveal", self.genesis.id, terms))

    def reveals(self, task: Task, attempt: int = 1, miners: Iterable[KeyPair] | None = None) -> list[Reveal]:
        """A reveal of each of `miners` (all), sorted by address."""
        chosen = self.miners if miners is None else miners
        return sorted(
            (self.reveal(task, attempt, miner) for miner in chosen), key=lambda reveal: reveal.miner
        )

    def commit(self, task: TaskId, attempt: int, miner: KeyPair, sealed: str) -> Commit:
        """A miner's signed commit to a digest."""
        terms = commit_terms(task, attempt, Digest(sealed))
        return Commit(miner.address, Digest(sealed), miner.sign("commit", self.genesis.id, terms))

    def close(self, task: Task, reveals: Sequence[Reveal], attempt: int = 1) -> Close:
        """The close whose commits these reveals open."""
        keys = {miner.address: miner for miner in self.miners}
        commits = tuple(
            self.commit(task.id, attempt, keys[reveal.miner], reveal.commitment(task.id, attempt))
            for reveal in reveals
        )
        return Close(task.id, attempt, commits, None)

    def result(
        self,
        task: Task,
        reveals: Sequence[Reveal],
        outcome: Outcome,
        attempt: int = 1,
        frauds: Sequence[FraudMark] = (),
    ) -> Result:
        """The result with these reveals and the caller's outcome."""
        return Result(task.id, attempt, tuple(reveals), tuple(frauds), outcome)

    def propose(self, *transactions: Transaction, view: int = 0, time_ms: int | None = None) -> Block:
        """A block on the head, in turn and a second after its parent, unchecked."""
        height = len(self.blocks) + 1
        time = self.genesis.time_ms + 1_000 * height if time_ms is None else time_ms
        proposer = (height + view) % len(self.miners)
        certificate = self.certificates[-1] if self.certificates else None
        return make_block(self.head, height, time, MinerIndex(proposer), view, transactions, certificate)

    def certify(
        self, block: Block, view: int | None = None, signers: Sequence[int] | None = None, kind: str = "final"
    ) -> Certificate:
        """The certificate of the first q miners, or of `signers` (roster indices)."""
        number = block.header.view if view is None else view
        terms = vote_terms(block.height, number, block.id)
        chosen = range(self.genesis.quorum) if signers is None else signers
        signed = (
            (MinerIndex(index), self.miners[index].sign(kind, self.genesis.id, terms)) for index in chosen
        )
        return Certificate(number, tuple(signed))

    def add(self, *transactions: Transaction, view: int = 0) -> Block:
        """Propose, certify, check and append; returns the block."""
        block = self.propose(*transactions, view=view)
        certificate = self.certify(block)
        self.tip = extend(self.tip, block, certificate)
        state = self.tip.state
        self.records |= {record.task.id: record for record in (*state.tasks.values(), *state.ended)}
        return self.force(block, certificate)

    def force(self, block: Block, certificate: Certificate | None = None) -> Block:
        """Append what may be invalid, certified by q miners; the tip's state stays behind."""
        self.blocks.append(block)
        self.certificates.append(certificate or self.certify(block))
        return block

    def add_transfers(self, blocks: int) -> None:
        """Blocks of one transfer each, from the requester to a new account each time."""
        for number in range(blocks):
            self.add(self.transfer(self.requester, key(f"friend-{number}").address, COIN))

    def add_round(self, outcome: Outcome | None = None, **terms: Any) -> Task:
        """Three blocks: a task, the close of all miners, the result; `outcome` or one that pays."""
        task = self.task(**terms)
        self.add(task)
        reveals = self.reveals(task)
        self.add(self.close(task, reveals))
        self.add(self.result(task, reveals, outcome or self.settled(task)))
        return task

    def settled(self, task: Task) -> Outcome:
        """An outcome that pays clients alike and the first miner."""
        clients = split(task.train_micro, (1,) * task.clients)
        winner = self.miners[0].address
        pay = Pay(clients, task.computation_micro, ((winner, task.shapley_micro),), 0)
        return Outcome(TaskState.SETTLED, winner, (1, 100), tuple(range(1, task.clients + 1)), 10, pay)

    def failed(self, task: Task, state: TaskState) -> Outcome:
        """An outcome without a winner: OPEN pays nothing, REFUNDED pays all back."""
        back = task.price_micro if state == TaskState.REFUNDED else 0
        return Outcome(state, None, None, None, 1, Pay((0,) * task.clients, 0, (), back))

    def lines(self) -> list[bytes]:
        """The chain file's lines, newline included."""
        return [line + b"\n" for line in (encode(self.genesis.to_json()), *(b.line for b in self.blocks))]

    def tip_bytes(self) -> bytes:
        """The tip file."""
        record = TipRecord(len(self.blocks), self.head, self.certificates[-1])
        return encode(record.to_json()) + b"\n"

    def write(self, folder: Path, *, tip: bool = True) -> Path:
        """Write chain and tip file as they are; returns the chain file."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / CHAIN_NAME
        path.write_bytes(b"".join(self.lines()))
        if tip and self.certificates:
            (folder / TIP_NAME).write_bytes(self.tip_bytes())
        return path


def history_of(ledger: Any) -> History:
    """All tasks of a ledger, or of its twin in memory."""
    known = History(ledger.tip.genesis)
    for height in range(1, ledger.tip.height + 1):
        known.follow(ledger.block(height))
    return known


def build_chain(miners: int = 4, blocks: int = 5) -> ChainMaker:
    """A valid chain: one settled round (three blocks) where there is room for it, then transfers."""
    maker = ChainMaker(miners)
    if blocks >= 3:
        maker.add_round()
    maker.add_transfers(blocks - len(maker.blocks))
    return maker
