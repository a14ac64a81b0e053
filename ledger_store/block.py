"""Blocks and certificates: header, body, ids, and the JSON line.

A certificate is q votes of one kind by distinct miners for one (height, view, block). The certificate of
height h−1 is in block h as its proposer chose it, so equal chains are equal bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ledger_store.base import merkle
from ledger_store.base.canonical import encode, parse, require_same, tagged_hash, write
from ledger_store.base.errors import BadSignature, Malformed
from ledger_store.base.fields import Fields
from ledger_store.base.names import BlockId, Digest, MinerIndex
from ledger_store.base.words import VoteKind
from ledger_store.genesis import BLOCK_BYTES_MAX, ROSTER_MAX, TIME_MAX_MS, Genesis
from ledger_store.identity.keys import SIGNATURE_LENGTH, Verify, framed, verify_bytes
from ledger_store.transaction import Transaction, parse_transaction

VIEW_MAX = 10_000


def vote_terms(height: int, view: int, block_id: BlockId | None) -> dict[str, Any]:
    """What a miner signs as `notar`, `skip` (block None) or `final` [P-10.3]."""
    return {"block": block_id, "height": height, "view": view}


@dataclass(frozen=True)
class Certificate:
    """q signatures as (roster index, signature), sorted by index; `view` is the view that they voted in.

    (docs/adr/0002)
    """

    view: int
    """The view in which the votes were cast, which need not be the block's own."""
    signatures: tuple[tuple[MinerIndex, str], ...]
    """Exactly q pairs of roster index and signature, ascending by index: one form, so equal chains are equal bytes."""

    @cached_property
    def encoded(self) -> bytes:
        """The canonical bytes."""
        return encode(self.to_json())

    @cached_property
    def digest(self) -> Digest:
        """What the next block's header names."""
        return tagged_hash("certificate", self.encoded)

    def to_json(self) -> dict[str, Any]:
        return {"signatures": [[index, signature] for index, signature in self.signatures], "view": self.view}

    @classmethod
    def from_json(cls, value: Any) -> "Certificate":
        """Read and check the form; raises `Malformed` [P-11.3]."""
        reader = Fields(value, ("signatures", "view"), "certificate")
        pairs = reader.signatures("signatures", ROSTER_MAX - 1, SIGNATURE_LENGTH, ROSTER_MAX, 1)
        return cls(view=reader.integer("view", 0, VIEW_MAX), signatures=pairs)

    def signers(
        self,
        genesis: Genesis,
        kind: VoteKind,
        height: int,
        block_id: BlockId | None,
        verify: Verify = verify_bytes,
    ) -> tuple[int, ...]:
        """The roster indices whose signature covers this vote."""
        message = framed(kind, genesis.id, write(vote_terms(height, self.view, block_id)))
        roster = genesis.roster
        return tuple(
            index
            for index, signature in self.signatures
            if index < len(roster) and verify(roster[index], message, signature)
        )

    def check(
        self,
        genesis: Genesis,
        kind: VoteKind,
        height: int,
        block_id: BlockId | None,
        verify: Verify = verify_bytes,
    ) -> None:
        """Raise `BadSignature` unless exactly q distinct miners signed this vote [P-10.2]."""
        indices = [index for index, _ in self.signatures]
        if len(indices) != genesis.quorum or indices != sorted(set(indices)):
            message = f"a certificate of height {height} takes {genesis.quorum} miners in order"
            raise BadSignature(message, code="E301")
        wrong = set(indices) - set(self.signers(genesis, kind, height, block_id, verify))
        if wrong:
            message = f"the certificate of height {height}: miner {min(wrong) + 1} did not sign it"
            raise BadSignature(message, code="E301")


@dataclass(frozen=True)
class Header:
    """`proposer` (roster index) and `view` are those of the first proposal; they stay when it comes again."""

    height: int
    """h: one more than the parent's."""
    parent: BlockId
    """Id of the block on line h - 1, or of genesis: it links the chain."""
    time_ms: int
    """When the block was first proposed, in milliseconds since 1970 (UTC), at least the interval after its parent."""
    proposer: MinerIndex
    """Roster index of who proposed it first: (height + view) mod R."""
    view: int
    """The view of its first proposal; it stays when the block is proposed again."""
    transactions: str
    """Root of the RFC 6962 Merkle tree over the transactions' canonical bytes: one can be shown without the others."""
    certificate: str | None
    """Hash, tag `certificate`, of the parent's certificate as it is in this block; null in block 1."""

    @cached_property
    def encoded(self) -> bytes:
        """The canonical bytes."""
        return encode(self.to_json())

    @cached_property
    def id(self) -> BlockId:
        """The block id [P-13.3]."""
        return BlockId(tagged_hash("block", self.encoded))

    def to_json(self) -> dict[str, Any]:
        return {
            "certificate": self.certificate,
            "height": self.height,
            "parent": self.parent,
            "proposer": self.proposer,
            "time_ms": self.time_ms,
            "transactions": self.transactions,
            "view": self.view,
        }

    @classmethod
    def from_json(cls, value: Any) -> "Header":
        """Read and check the form; raises `Malformed` [P-1.12]."""
        keys = ("certificate", "height", "parent", "proposer", "time_ms", "transactions", "view")
        reader = Fields(value, keys, "header")
        return cls(
            height=reader.integer("height", 1),
            parent=reader.block_id("parent"),
            time_ms=reader.integer("time_ms", 0, TIME_MAX_MS),
            proposer=reader.miner_index("proposer", ROSTER_MAX - 1),
            view=reader.integer("view", 0, VIEW_MAX),
            transactions=reader.digest("transactions"),
            certificate=reader.optional_digest("certificate"),
        )


@dataclass(frozen=True)
class Block:
    """A header, the transactions its root covers, and the parent's certificate (None in block 1)."""

    header: Header
    """What the id is the hash of, and what votes are for."""
    transactions: tuple[Transaction, ...]
    """What accounts signed, ascending by sender and sequence; then at most one close or result."""
    certificate: Certificate | None
    """The parent's FINAL certificate as this block's proposer held it; null in block 1."""

    @property
    def id(self) -> BlockId:
        """The header's id."""
        return self.header.id

    @property
    def height(self) -> int:
        """The header's height."""
        return self.header.height

    def to_json(self) -> dict[str, Any]:
        return {
            "certificate": None if self.certificate is None else self.certificate.to_json(),
            "header": self.header.to_json(),
            "transactions": [transaction.to_json() for transaction in self.transactions],
        }

    @cached_property
    def line(self) -> bytes:
        """The chain file's line without its newline."""
        certificate = b"null" if self.certificate is None else self.certificate.encoded
        transactions = b",".join(transaction.encoded for transaction in self.transactions)
        header = self.header.encoded
        return b'{"certificate":%b,"header":%b,"transactions":[%b]}' % (certificate, header, transactions)

    @classmethod
    def from_line(cls, line: bytes) -> "Block":
        """Read a chain file's line without its newline; raises `Malformed`."""
        return cls.read_line(line).covered()

    @classmethod
    def from_json(cls, value: Any) -> "Block":
        """Read a block whose header covers its body; raises `Malformed`."""
        return cls.read(value).covered()

    @classmethod
    def read_line(cls, line: bytes) -> "Block":
        """Read the form of a line; whether the header covers the body is left open. Raises `Malformed`.

        Each part is written once: to compare the line, and for the ids and the root that are asked for later.
        """
        if len(line) > BLOCK_BYTES_MAX:
            raise Malformed("the line is longer than any block may be")
        value = parse(line)
        block = cls.read(value)
        vars(block.header)["encoded"] = write(value["header"])
        if block.certificate is not None:
            vars(block.certificate)["encoded"] = write(value["certificate"])
        for transaction, item in zip(block.transactions, value["transactions"], strict=True):
            vars(transaction)["encoded"] = write(item)
        require_same(block.line, line)
        return block

    @classmethod
    def read(cls, value: Any) -> "Block":
        """Read the form of a block; whether the header covers the body is left open. Raises `Malformed` [P-13.2]."""
        reader = Fields(value, ("certificate", "header", "transactions"), "block")
        certificate = reader.raw("certificate")
        return cls(
            header=Header.from_json(reader.raw("header")),
            transactions=tuple(parse_transaction(item) for item in reader.array("transactions", 1_000)),
            certificate=None if certificate is None else Certificate.from_json(certificate),
        )

    @property
    def certificate_digest(self) -> Digest | None:
        """What the header must name."""
        return None if self.certificate is None else self.certificate.digest

    def covered(self) -> "Block":
        """The block itself, if its header covers its body; raises `Malformed` [P-13.4]."""
        if self.header.transactions != transaction_root(self.transactions):
            raise Malformed(f"block {self.height}: the transactions are not the ones its header names")
        if self.header.certificate != self.certificate_digest:
            raise Malformed(f"block {self.height}: the certificate is not the one its header names")
        return self


def transaction_root(transactions: Sequence[Transaction]) -> Digest:
    """The Merkle root over the canonical bytes of the transactions, as hex [P-13.4]."""
    return Digest(merkle.root([transaction.encoded for transaction in transactions]).hex())


def make_block(
    parent: BlockId,
    height: int,
    time_ms: int,
    proposer: MinerIndex,
    view: int,
    transactions: Sequence[Transaction],
    certificate: Certificate | None,
) -> Block:
    """A fresh block over `transactions`."""
    root = transaction_root(transactions)
    digest = None if certificate is None else certificate.digest
    header = Header(height, parent, time_ms, proposer, view, root, digest)
    return Block(header, tuple(transactions), certificate)
