"""What an account signs: transfer, task, cancel; their fields, bytes and ids.

Whether the state admits one is `state`'s business, whether a task's terms are sensible `contract.task`'s.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Final, Literal, TypeVar

from ledger_store.base.amount import SUPPLY_MAX_MICRO
from ledger_store.base.canonical import DIGEST_LENGTH, encode, tagged_hash, write
from ledger_store.base.fields import Fields
from ledger_store.base.names import ADDRESS_LENGTH, Address, Digest, GenesisId, TaskId
from ledger_store.genesis import BLOCK_IMAGES_MAX, CLIENTS_MAX
from ledger_store.identity.keys import SIGNATURE_LENGTH, KeyPair, framed, verify_bytes

NONCE_LENGTH = 32
AGGREGATIONS = ("mean", "fedavg")
SAP_RULES = ("winner", "shared")
ZERO: Final = "zero"
CHANCE: Final = "chance"
Baseline = Literal["zero", "chance"] | Digest
"""What the empty coalition is worth: nothing, what a constant output is, or what the update of a digest is."""
METRIC_LENGTH = 64

T = TypeVar("T", bound="Signed")


@dataclass(frozen=True)
class Signed:
    """What transfer, task and cancel share: a sender, the sender's next sequence number, a signature."""

    kind: ClassVar[str] = ""
    sender: Address
    """Address of the account that signs and pays; nobody else can use its sequence numbers."""
    sequence: int
    """The sender's next number (1, 2, 3, ...): each is used once, so nothing signed can be replayed."""
    signature: str
    """The sender's signature over all other fields, of the kind that `type` names."""

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
        """SHA-256 over a domain tag and the canonical fields without the signature [P-4.4]."""
        return tagged_hash("transaction", self.signed_part)

    def to_json(self) -> dict[str, Any]:
        """The canonical fields with the signature."""
        return {**self.body, "signature": self.signature}

    def verified(self, genesis_id: GenesisId) -> bool:
        """Whether the sender signed exactly these fields for this network."""
        message = framed(self.kind, genesis_id, self.signed_part)
        return verify_bytes(self.sender, message, self.signature)


def sign(transaction: T, key: KeyPair, genesis_id: GenesisId) -> T:
    """The same transaction with `key`'s signature; the sender must be the key's address."""
    assert transaction.sender == key.address
    return replace(transaction, signature=key.sign(transaction.kind, genesis_id, transaction.body))


@dataclass(frozen=True)
class Transfer(Signed):
    """Move `amount_micro` to another account; `nonce` is drawn anew for each, so that equal payments are two.

    (docs/adr/0030) [P-4.8]
    """

    kind: ClassVar[str] = "transfer"
    to: Address
    """Address of the receiver; it need not have been heard of before."""
    amount_micro: int
    """Coins in micro-FedCoin, at least the network's least transfer: dust would fill every later genesis."""
    nonce: str = "0" * NONCE_LENGTH
    """32 hex digits, drawn anew by whoever signs: two equal payments are two transactions."""

    def terms(self) -> dict[str, Any]:
        return {"to": self.to, "amount_micro": self.amount_micro, "nonce": self.nonce}


@dataclass(frozen=True)
class Cancel(Signed):
    """Withdraw a task that is still queued."""

    kind: ClassVar[str] = "cancel"
    task: TaskId
    """Id of the sender's own task, which is still queued: nobody has worked for it."""

    def terms(self) -> dict[str, Any]:
        return {"task": self.task}


@dataclass(frozen=True, slots=True)
class Update:
    """One client's weights by digest, its example count, and its signature as `update`."""

    digest: Digest
    """SHA-256 of the client's weights file: who has the file can show that it is the signed one."""
    client: Address
    """Address that is paid for this update; each client is in a task once."""
    examples: int
    """How many examples it was trained on, at least 1: its weight in a `fedavg` aggregate."""
    signature: str
    """The client's signature, kind `update`, over call, digest and examples: no term can change under it."""

    def to_json(self) -> dict[str, Any]:
        return {
            "client": self.client,
            "digest": self.digest,
            "examples": self.examples,
            "signature": self.signature,
        }


def update_terms(call: Digest, update: Digest, examples: int) -> dict[str, Any]:
    """What a client signs as `update`: the digest of its weights, for a call that fixes every term of the task.

    [P-5.3]
    """
    return {"call": call, "examples": examples, "update": update}


@dataclass(frozen=True)
class Task(Signed):
    """A request for Shapley values: files by digest, the price in its parts, every term that mining depends on.

    Coalitions are worth 0 to `whole` by `metric`; `empty` is u(∅), what `baseline` is worth: `ZERO` nothing, as in the
    paper, `CHANCE` what a constant output is, a digest what that update is. From `least_clients` to `most_clients`
    updates make it whole. Rankings are walked block by block, of at most `block_images` test images each.

    All of it but `UNCALLED` is its call. A task may stand without those three: then it is a call that clients answer.
    """

    kind: ClassVar[str] = "task"
    server: Address
    """Address of the FL server, which ComPrice goes to; it need not be the requester."""
    nonce: str
    """32 hex digits that name the call among its requester's: a call serves once, unless its task was cancelled."""
    model: Digest
    """Digest of the model's description: what all updates are weights of."""
    test: Digest
    """Digest of the test set, fixed before any update is judged."""
    least_clients: int
    """The fewest updates that the call asks for, at least 2: a client that drops out ends no round."""
    most_clients: int
    """The most updates that the call asks for: a client knows among how many it will be."""
    baseline: Baseline
    """What u(empty) is: `zero`, 0; `chance`, what a constant output is worth; a digest, what that update is."""
    frozen: Digest | None
    """Digest of the weights that all clients share and none trains, such as a pretrained base, or null."""
    held: Digest
    """Hash of the requester's address and the bytes of all these files: who only knows their digests cannot name it."""
    groups: tuple[tuple[Address, ...], ...]
    """Addresses that are one owner each: what their updates are worth together is paid to the first of them."""
    updates: tuple[Update, ...]
    """One a client, in the order in which clients are numbered: `client`, `digest`, `examples` and `signature`."""
    images: int
    """n, how many images the test set has."""
    block_images: int
    """1 to 255: the images are dealt into ceil(n / block_images) blocks, each of which walks rankings of its own."""
    metric: str
    """What a model is judged by, by scikit-learn's name and with a parameter, as `accuracy` or `neg_log_loss:2.5`."""
    whole: int
    """M, what a perfect model is worth, 1 to 2^53 - 1: values are told in shares of it."""
    empty: int
    """u(empty), which exact values begin with; at most M."""
    aggregation: str
    """How a coalition's updates are averaged: `mean`, each alike, or `fedavg`, by examples."""
    price_micro: int
    """The whole price in micro-FedCoin, the sum of its three parts; it is in escrow until the task ends."""
    train_micro: int
    """TrainPrice in micro-FedCoin: the clients' part, by their positive values."""
    computation_micro: int
    """ComPrice in micro-FedCoin: the server's part."""
    shapley_micro: int
    """SapPrice in micro-FedCoin: the miners' part, at least what the network asks for their time."""
    runtime_ms: int
    """RUNTIME in milliseconds: how long miners mine in an attempt before they commit."""
    difficulty_micro: int
    """D in millionths of a percentage point: how far from the average an estimate may lie to agree."""
    least_rankings: int
    """The fewest rankings (permutations of the clients) of an estimate, on the grid: fewer would say too little."""
    most_rankings: int
    """The most rankings of an estimate, on the grid; an exact one weighs as many."""
    payment_error_micro: int | None
    """Micro-FedCoin within which all payments are to be known, or null: miners may stop earlier then."""
    attempts: int
    """How many attempts there are before the price returns."""
    sap_rule: str
    """Who shares SapPrice: `winner`, the nearest alone, or `shared`, all that count, by rankings."""

    @cached_property
    def id(self) -> TaskId:
        """See `Signed`: the task's name everywhere."""
        return TaskId(tagged_hash("transaction", self.signed_part))

    @property
    def clients(self) -> int:
        """K: how many owners there are, who are players of the game and are paid; without groups one an update."""
        return len(self.members) if self.groups else len(self.updates)

    @property
    def owners(self) -> tuple[Address, ...]:
        """Who is paid, in the order of their first updates [P-5.20]."""
        return tuple(self.members)

    @property
    def members(self) -> dict[Address, tuple[int, ...]]:
        """For each owner the numbers of its updates, from 0 [P-5.20]."""
        owners = self._owners
        found: dict[Address, list[int]] = {}
        for number, update in enumerate(self.updates):
            found.setdefault(owners.get(update.client, update.client), []).append(number)
        return {one: tuple(numbers) for one, numbers in found.items()}

    def owner_of(self, client: Address) -> Address:
        """Who is paid for a client's update: the first address of its group, or itself."""
        return self._owners.get(client, client)

    @property
    def _owners(self) -> dict[Address, Address]:
        return {address: group[0] for group in self.groups for address in group}

    @property
    def named(self) -> Digest | None:
        """The digest of the update that the empty coalition stands for; None where there is none."""
        return None if self.baseline in {ZERO, CHANCE} else Digest(self.baseline)

    @property
    def called_files(self) -> tuple[Digest, ...]:
        """The digests of what its call names: model, test set, baseline and frozen weights, those that there are."""
        return tuple(one for one in (self.model, self.test, self.named, self.frozen) if one is not None)

    @property
    def files(self) -> tuple[Digest, ...]:
        """The digests of all files that a miner needs, each once."""
        return tuple(dict.fromkeys((*self.called_files, *(update.digest for update in self.updates))))

    def lean(self) -> "Task":
        """The same task without the bytes that were made of it: whoever keeps many tasks keeps no more than that."""
        task = replace(self)
        vars(task)["id"] = self.id
        return task

    @property
    def called(self) -> dict[str, Any]:
        """The terms that every client signs, its requester included: all fields but `UNCALLED`."""
        return {name: getattr(self, name) for name in CALLED} | {"groups": [list(one) for one in self.groups]}

    @cached_property
    def call(self) -> Digest:
        """The digest of the terms that every client signs (docs/adr/0024) [P-5.2]."""
        return tagged_hash("call", encode(self.called))

    def update_terms(self, update: Update) -> dict[str, Any]:
        """What the client of `update` signed for this task."""
        return update_terms(self.call, update.digest, update.examples)

    def terms(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in _TASK_NAMES}
        groups = [list(group) for group in self.groups]
        return {**plain, "groups": groups, "updates": [update.to_json() for update in self.updates]}


def sign_update(call: Task, weights: Digest, examples: int, key: KeyPair, genesis_id: GenesisId) -> Update:
    """A client's answer to a call: its weights by digest and its example count, under its signature."""
    signature = key.sign("update", genesis_id, update_terms(call.call, weights, examples))
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
    "held": DIGEST_LENGTH,
}
_TASK_INTEGERS = (
    "least_clients",
    "most_clients",
    "images",
    "whole",
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
    """Read a transfer; raises `Malformed` [P-4.7]."""
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
    """Read a task; raises `Malformed` [P-5.1]."""
    reader = Fields(value, (*_SIGNED_KEYS, *_TASK_NAMES), "task")
    return Task(
        **_called_fields(reader),
        **_hand(reader),
        updates=tuple(_read_update(item) for item in reader.array("updates", CLIENTS_MAX, 1)),
    )


def trusted_task(value: dict[str, Any]) -> Task:
    """A task as it is in a ledger of one's own: its form was checked before it was written, and is not again."""
    named = {name: part for name, part in value.items() if name not in {"type", "groups", "updates"}}
    groups = tuple(map(tuple, value["groups"]))
    return Task(**named, groups=groups, updates=tuple(Update(**one) for one in value["updates"]))


def read_call(value: Any) -> Task:
    """Read the terms that clients sign, as a task that still lacks the rest; raises `Malformed`."""
    return Task(**_called_fields(Fields(value, CALLED, "call")), sequence=0, signature="", updates=())


def _called_fields(reader: Fields) -> dict[str, Any]:
    plain: dict[str, Any] = {name: reader.hexadecimal(name, length) for name, length in _TASK_HEX.items()}
    return {
        **plain,
        **{name: reader.integer(name) for name in _TASK_INTEGERS},
        "aggregation": reader.choice("aggregation", AGGREGATIONS),
        "baseline": _read_baseline(reader),
        "frozen": reader.optional_digest("frozen"),
        "groups": reader.address_groups("groups", CLIENTS_MAX),
        "metric": reader.text("metric", METRIC_LENGTH),
        "block_images": reader.integer("block_images", 1, BLOCK_IMAGES_MAX),
        "payment_error_micro": reader.optional_integer("payment_error_micro", 1),
        "sap_rule": reader.choice("sap_rule", SAP_RULES),
    }


def _read_baseline(reader: Fields) -> Baseline:
    given: Any = reader.raw("baseline")
    return given if given in (ZERO, CHANCE) else reader.digest("baseline")


def _read_update(value: Any) -> Update:
    reader = Fields(value, ("client", "digest", "examples", "signature"), "update")
    return Update(
        digest=reader.digest("digest"),
        client=reader.address("client"),
        examples=reader.integer("examples", 1),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )
