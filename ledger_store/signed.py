"""What an account signs: transfer, task, cancel; their fields, bytes and ids.

Whether the state admits one is `state`'s business, whether a task's terms are sensible `contract.task`'s.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from ledger_store.base.amount import SUPPLY_MAX_MICRO
from ledger_store.base.canonical import DIGEST_LENGTH, encode, tagged_hash, write
from ledger_store.base.fields import Fields
from ledger_store.base.names import ADDRESS_LENGTH, Address, Digest, GenesisId, TaskId
from ledger_store.genesis import BLOCK_IMAGES_MAX, CLIENTS_MAX
from ledger_store.identity.keys import SIGNATURE_LENGTH, KeyPair, framed, verify_bytes

NONCE_LENGTH = 32
AGGREGATIONS = ("mean", "fedavg")
SAP_RULES = ("winner", "shared")

T = TypeVar("T", bound="Signed")


@dataclass(frozen=True)
class Signed:
    """What transfer, task and cancel share: a sender, the sender's next sequence number, a signature."""

    kind: ClassVar[str] = ""
    sender: Address
    sequence: int
    signature: str

    def terms(self) -> dict[str, Any]:
        """The fields that this kind adds."""
        return {}

    @cached_property
    def body(self) -> dict[str, Any]:
        """The canonical fields without the signature."""
        return {"type": self.kind, "sender": self.sender, "sequence": self.sequence, **self.terms()}

    @cached_property
    def signed_part(self) -> bytes:
        """The canonical bytes of what is signed; whoever signs or reads a transaction has checked its types."""
        return write(self.body)

    @cached_property
    def encoded(self) -> bytes:
        """The canonical bytes, signature included."""
        return encode(self.to_json())

    @cached_property
    def id(self) -> str:
        """SHA-256 over a domain tag and the canonical fields without the signature."""
        return tagged_hash("transaction", self.signed_part)

    def to_json(self) -> dict[str, Any]:
        """The canonical fields with the signature."""
        return {**self.body, "signature": self.signature}

    def verified(self, genesis: GenesisId) -> bool:
        """Whether the sender signed exactly these fields for this network."""
        message = framed(self.kind, genesis, self.signed_part)
        return verify_bytes(self.sender, message, self.signature)


def sign(transaction: T, key: KeyPair, genesis: GenesisId) -> T:
    """The same transaction with `key`'s signature; the sender must be the key's address."""
    assert transaction.sender == key.address
    return replace(transaction, signature=key.sign(transaction.kind, genesis, transaction.body))


@dataclass(frozen=True)
class Transfer(Signed):
    """Move `amount_micro` to another account; `nonce` is drawn anew for each, so that equal payments are two."""

    kind: ClassVar[str] = "transfer"
    to: Address
    amount_micro: int
    nonce: str = "0" * NONCE_LENGTH

    def terms(self) -> dict[str, Any]:
        return {"to": self.to, "amount_micro": self.amount_micro, "nonce": self.nonce}


@dataclass(frozen=True)
class Cancel(Signed):
    """Withdraw a task that is still queued."""

    kind: ClassVar[str] = "cancel"
    task: TaskId

    def terms(self) -> dict[str, Any]:
        return {"task": self.task}


@dataclass(frozen=True, slots=True)
class Update:
    """One client's weights by digest, its example count, and its signature as `update`."""

    digest: Digest
    client: Address
    examples: int
    signature: str

    def to_json(self) -> dict[str, Any]:
        return {
            "client": self.client,
            "digest": self.digest,
            "examples": self.examples,
            "signature": self.signature,
        }


def update_terms(call: Digest, update: Digest, examples: int) -> dict[str, Any]:
    """What a client signs as `update`: the digest of its weights, for a call that fixes every term of the task."""
    return {"call": call, "examples": examples, "update": update}


@dataclass(frozen=True)
class Task(Signed):
    """A request for Shapley values: files by digest, the price in its parts, every term that mining depends on.

    `empty` is u(∅) in images; `baseline` names the update that the empty coalition stands for (None: worth
    `empty` by declaration, zero as in the paper). From `least_clients` to `most_clients` updates make it whole.
    Rankings are walked block by block, of at most `block_images` test images each.

    All of it but `UNCALLED` is its call. A task may stand without those three: then it is a call that clients answer.
    """

    kind: ClassVar[str] = "task"
    server: Address
    nonce: str
    model: Digest
    test: Digest
    least_clients: int
    most_clients: int
    baseline: Digest | None
    updates: tuple[Update, ...]
    images: int
    block_images: int
    empty: int
    aggregation: str
    price_micro: int
    train_micro: int
    computation_micro: int
    shapley_micro: int
    runtime_ms: int
    difficulty_micro: int
    least_rankings: int
    most_rankings: int
    payment_error_micro: int | None
    attempts: int
    sap_rule: str

    @cached_property
    def id(self) -> TaskId:
        """See `Signed`: the task's name everywhere."""
        return TaskId(tagged_hash("transaction", self.signed_part))

    @property
    def clients(self) -> int:
        """K."""
        return len(self.updates)

    @property
    def blocks(self) -> int:
        """B: into how many blocks the test images are dealt."""
        return -(-self.images // self.block_images)

    @property
    def files(self) -> tuple[Digest, ...]:
        """The digests of all files that a miner needs, each once."""
        named = [self.model, self.test, *(u.digest for u in self.updates), self.baseline]
        return tuple(dict.fromkeys(digest for digest in named if digest is not None))

    def lean(self) -> "Task":
        """The same task without the bytes that were made of it: whoever keeps many tasks keeps no more than that."""
        task = replace(self)
        vars(task)["id"] = self.id
        return task

    @property
    def called(self) -> dict[str, Any]:
        """The terms that every client signs, its requester included: all fields but `UNCALLED`."""
        return {name: getattr(self, name) for name in CALLED}

    @cached_property
    def call(self) -> Digest:
        """The digest of the terms that every client signs."""
        return tagged_hash("call", encode(self.called))

    def update_terms(self, update: Update) -> dict[str, Any]:
        """What the client of `update` signed for this task."""
        return update_terms(self.call, update.digest, update.examples)

    def terms(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in _TASK_NAMES}
        return {**plain, "updates": [update.to_json() for update in self.updates]}


def sign_update(call: Task, weights: Digest, examples: int, key: KeyPair, genesis: GenesisId) -> Update:
    """A client's answer to a call: its weights by digest and its example count, under its signature."""
    signature = key.sign("update", genesis, update_terms(call.call, weights, examples))
    return Update(weights, key.address, examples, signature)


UNCALLED = frozenset({"updates", "sequence", "signature"})
"""What no client signs of a task: the others' updates, and the requester's own hand."""
CALLED = tuple(field.name for field in fields(Task) if field.name not in UNCALLED)
"""What every client signs: whatever else a task ever gets."""

_TASK_NAMES = tuple(
    field.name for field in fields(Task) if field.name not in {one.name for one in fields(Signed)}
)
_TASK_HEX = {
    "sender": ADDRESS_LENGTH,
    "server": ADDRESS_LENGTH,
    "nonce": NONCE_LENGTH,
    "model": DIGEST_LENGTH,
    "test": DIGEST_LENGTH,
}
_TASK_INTEGERS = (
    "least_clients",
    "most_clients",
    "images",
    "empty",
    "price_micro",
    "train_micro",
    "computation_micro",
    "shapley_micro",
    "runtime_ms",
    "difficulty_micro",
    "least_rankings",
    "most_rankings",
    "attempts",
)


_SIGNED_KEYS = ("sender", "sequence", "signature", "type")


def _signed_fields(reader: Fields) -> dict[str, Any]:
    return {"sender": reader.address("sender"), **_hand(reader)}


def _hand(reader: Fields) -> dict[str, Any]:
    return {
        "sequence": reader.integer("sequence", 1),
        "signature": reader.hexadecimal("signature", SIGNATURE_LENGTH),
    }


def read_transfer(value: Any) -> Transfer:
    """Read a transfer; raises `Malformed`."""
    reader = Fields(value, (*_SIGNED_KEYS, "to", "amount_micro", "nonce"), "transfer")
    to = reader.address("to")
    amount = reader.integer("amount_micro", 1, SUPPLY_MAX_MICRO)
    nonce = reader.hexadecimal("nonce", NONCE_LENGTH)
    return Transfer(**_signed_fields(reader), to=to, amount_micro=amount, nonce=nonce)


def read_cancel(value: Any) -> Cancel:
    """Read a cancel; raises `Malformed`."""
    reader = Fields(value, (*_SIGNED_KEYS, "task"), "cancel")
    return Cancel(**_signed_fields(reader), task=reader.task_id("task"))


def read_task(value: Any) -> Task:
    """Read a task; raises `Malformed`."""
    reader = Fields(value, (*_SIGNED_KEYS, *_TASK_NAMES), "task")
    return Task(
        **_called_fields(reader),
        **_hand(reader),
        updates=tuple(_read_update(item) for item in reader.array("updates", CLIENTS_MAX, 1)),
    )


def trusted_task(value: dict[str, Any]) -> Task:
    """A task as it stands in a ledger of one's own: its form was checked before it was written, and is not again."""
    named = {name: part for name, part in value.items() if name not in {"type", "updates"}}
    return Task(**named, updates=tuple(Update(**one) for one in value["updates"]))


def read_call(value: Any) -> Task:
    """Read the terms that clients sign, as a task that still lacks the rest; raises `Malformed`."""
    return Task(**_called_fields(Fields(value, CALLED, "call")), sequence=0, signature="", updates=())


def _called_fields(reader: Fields) -> dict[str, Any]:
    plain: dict[str, Any] = {name: reader.hexadecimal(name, length) for name, length in _TASK_HEX.items()}
    return {
        **plain,
        **{name: reader.integer(name) for name in _TASK_INTEGERS},
        "aggregation": reader.choice("aggregation", AGGREGATIONS),
        "baseline": reader.optional_digest("baseline"),
        "block_images": reader.integer("block_images", 1, BLOCK_IMAGES_MAX),
        "payment_error_micro": reader.optional_integer("payment_error_micro", 1),
        "sap_rule": reader.choice("sap_rule", SAP_RULES),
    }


def _read_update(value: Any) -> Update:
    reader = Fields(value, ("client", "digest", "examples", "signature"), "update")
    return Update(
        digest=reader.digest("digest"),
        client=reader.address("client"),
        examples=reader.integer("examples", 1),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )
