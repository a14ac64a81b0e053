"""Proof that one transaction is in a certified block, for somebody who holds no ledger.

A proof carries genesis, the block's header, its certificate, the Merkle path and the transaction; for a settlement
also the task, whose clients the payments go to (a result names the task by its id, which is its hash). Whether an
outcome follows from its reveals takes the ledger (`checks`, `contract.outcome_check`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger_store.base import merkle
from ledger_store.base.canonical import decode, encode
from ledger_store.base.errors import BadSignature, InvalidTransaction, Malformed, refuse
from ledger_store.base.fields import Fields
from ledger_store.base.names import Address, GenesisId
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate, Header
from ledger_store.genesis import BLOCK_BYTES_MAX, GENESIS_BYTES_MAX, GENESIS_VALUES_MAX, Genesis
from ledger_store.outcome import Outcome
from ledger_store.transaction import Close, Result, Signed, Task, Transaction, Transfer, parse_transaction

FORMAT = 1
# A genesis, and beside it parts of two blocks: a task, and what ended it with header, path and certificate.
PROOF_BYTES_MAX = GENESIS_BYTES_MAX + 2 * BLOCK_BYTES_MAX
# No transaction holds more than one value in two bytes.
_VALUES_MAX = GENESIS_VALUES_MAX + BLOCK_BYTES_MAX

_PATH_MOST = 64
_KEYS = ("certificate", "format", "genesis", "header", "path", "task", "transaction")


@dataclass(frozen=True, slots=True)
class Payment:
    """One movement of coins that a proof shows: what it is for ("client 3"), to whom, how much."""

    purpose: str
    to: Address
    micro: int


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The parts of a proof; `task` is there exactly for a close and a result (docs/adr/0012)."""

    genesis: Genesis
    """The network, whose roster the certificate is checked by; its reader says which id it must have."""
    header: Header
    """The block's header, whose id was voted for."""
    certificate: Certificate
    """q FINAL votes for that id."""
    path: tuple[merkle.Step, ...]
    """The siblings from the transaction up to the header's root."""
    transaction: Transaction
    """What is proven to be in the block."""
    task: Task | None
    """The task that a close or result is about, whose clients its payments go to; else None."""

    def to_json(self) -> dict[str, Any]:
        return {
            "certificate": self.certificate.to_json(),
            "format": FORMAT,
            "genesis": self.genesis.to_json(),
            "header": self.header.to_json(),
            "path": [["left" if on_left else "right", hash_.hex()] for on_left, hash_ in self.path],
            "task": None if self.task is None else self.task.to_json(),
            "transaction": self.transaction.to_json(),
        }

    def to_bytes(self) -> bytes:
        """The proof file: one canonical line."""
        return encode(self.to_json()) + b"\n"

    @property
    def outcome(self) -> Outcome | None:
        """What the miners concluded, where the transaction is theirs."""
        return self.transaction.outcome if isinstance(self.transaction, Close | Result) else None

    def check(self, genesis_id: GenesisId) -> None:
        """Verify everything against the genesis id that the reader trusts; raises `PeerFault` [P-13.22]."""
        refuse(self.genesis.id != genesis_id, f"the proof is of another network, {self.genesis.id[:16]}")
        self.certificate.check(self.genesis, VoteKind.FINAL, self.header.height, self.header.id)
        found = merkle.climb(encode(self.transaction.to_json()), self.path).hex()
        refuse(found != self.header.transactions, "the transaction is not in this block")
        self._check_task()
        for signed in (self.transaction, self.task):
            if isinstance(signed, Signed) and not signed.verified(self.genesis.id):
                raise BadSignature(f"the {signed.kind} does not carry its signature")

    def payments(self) -> list[Payment]:
        """Who gets how much by this transaction; nobody for one that pays nobody."""
        if isinstance(self.transaction, Transfer):
            return [Payment("transfer", self.transaction.to, self.transaction.amount_micro)]
        if self.outcome is None or self.task is None:
            return []
        pay, task = self.outcome.pay, self.task
        clients = zip(task.owners, pay.clients, strict=True)
        found = [Payment(f"client {n}", one, micro) for n, (one, micro) in enumerate(clients, 1)]
        found.append(Payment("FL server", task.server, pay.server))
        found += [Payment("miner", miner, micro) for miner, micro in pay.miners]
        found.append(Payment("returned", task.sender, pay.requester))
        return [payment for payment in found if payment.micro]

    def _check_task(self) -> None:
        if not isinstance(self.transaction, Close | Result):
            refuse(self.task is not None, "a task that this transaction does not need")
            return
        if self.task is None or self.task.id != self.transaction.task:
            raise InvalidTransaction("the task is not the one that was settled")
        if self.outcome is not None:
            refuse(len(self.outcome.pay.clients) != self.task.clients, "payments of a wrong length")


def prove(
    genesis: Genesis, block: Block, certificate: Certificate, index: int, task: Task | None
) -> Inclusion:
    """The proof of transaction `index` of a certified block."""
    leaves = [encode(transaction.to_json()) for transaction in block.transactions]
    steps = tuple(merkle.path(leaves, index))
    return Inclusion(genesis, block.header, certificate, steps, block.transactions[index], task)


def read_inclusion(data: bytes) -> Inclusion:
    """Read a proof file's bytes, strictly; raises `Malformed`."""
    if len(data) > PROOF_BYTES_MAX or not data.endswith(b"\n"):
        raise Malformed("a proof is one line, newline included")
    reader = Fields(decode(data[:-1], _VALUES_MAX), _KEYS, "proof")
    reader.integer("format", FORMAT, FORMAT)
    task = None if reader.raw("task") is None else parse_transaction(reader.raw("task"))
    if not isinstance(task, Task | None):
        raise Malformed("proof: the task is none")
    return Inclusion(
        genesis=Genesis.from_json(reader.raw("genesis")),
        header=Header.from_json(reader.raw("header")),
        certificate=Certificate.from_json(reader.raw("certificate")),
        path=_read_path(reader.pairs("path", ("side", "hash"), _PATH_MOST)),
        transaction=parse_transaction(reader.raw("transaction")),
        task=task,
    )


def _read_path(pairs: Sequence[Fields]) -> tuple[merkle.Step, ...]:
    return tuple(
        (
            pair.choice("side", ("left", "right")) == "left",
            bytes.fromhex(pair.digest("hash")),
        )
        for pair in pairs
    )
