"""The five transactions as frozen values: transfer, task and cancel are signed by an account; close and result are
written by the miners and carry what the miners signed.

Here live their fields, bytes and ids. Whether the state admits one is `state`'s business, whether a task's terms are
sensible `contract.task`'s, whether an outcome follows from its reveals `contract.settlement`'s.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from ledger_store.amount import SUPPLY_MAX_MICRO
from ledger_store.canonical import encode, tagged_hash
from ledger_store.errors import Malformed
from ledger_store.fields import Fields
from ledger_store.genesis import ROSTER_MAX
from ledger_store.keys import ADDRESS_LENGTH, SIGNATURE_LENGTH, KeyPair, verify

DIGEST_LENGTH = 64
NONCE_LENGTH = 32
SALT_LENGTH = 32
CLIENTS_MAX = 1_000
AGGREGATIONS = ("mean", "fedavg")
SAP_RULES = ("winner", "shared")

T = TypeVar("T", bound="Signed")


@dataclass(frozen=True)
class Signed:
    """What transfer, task and cancel share: a sender, the sender's next sequence number, a signature."""

    kind: ClassVar[str] = ""
    sender: str
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
    def id(self) -> str:
        """SHA-256 over a domain tag and the canonical fields without the signature."""
        return tagged_hash("transaction", encode(self.body))

    def to_json(self) -> dict[str, Any]:
        """The canonical fields with the signature."""
        return {**self.body, "signature": self.signature}

    def verified(self, genesis: str) -> bool:
        """Whether the sender signed exactly these fields for this network."""
        return verify(self.sender, self.kind, genesis, self.body, self.signature)


def sign(transaction: T, key: KeyPair, genesis: str) -> T:
    """The same transaction with `key`'s signature; the sender must be the key's address."""
    assert transaction.sender == key.address
    return replace(transaction, signature=key.sign(transaction.kind, genesis, transaction.body))


@dataclass(frozen=True)
class Transfer(Signed):
    """Move `amount_micro` to another account."""

    kind: ClassVar[str] = "transfer"
    to: str
    amount_micro: int

    def terms(self) -> dict[str, Any]:
        return {"to": self.to, "amount_micro": self.amount_micro}


@dataclass(frozen=True)
class Cancel(Signed):
    """Withdraw a task that is still queued."""

    kind: ClassVar[str] = "cancel"
    task: str

    def terms(self) -> dict[str, Any]:
        return {"task": self.task}


@dataclass(frozen=True, slots=True)
class Update:
    """One client's weights by digest, its example count, and its signature over both, the model and the test set."""

    digest: str
    client: str
    examples: int
    signature: str

    def to_json(self) -> dict[str, Any]:
        return {
            "client": self.client,
            "digest": self.digest,
            "examples": self.examples,
            "signature": self.signature,
        }


def update_terms(model: str, test: str, update: str, examples: int, nonce: str) -> dict[str, Any]:
    """What a client signs as `update`: the test set is fixed before any update is judged."""
    return {"examples": examples, "model": model, "nonce": nonce, "test": test, "update": update}


@dataclass(frozen=True)
class Task(Signed):
    """A request for Shapley values: files by digest, the price in its parts, and every term that mining depends on.

    `empty` is u(∅) in images; `baseline` names the update that the empty coalition stands for (None: worth `empty`
    by declaration, zero as in the paper).
    """

    kind: ClassVar[str] = "task"
    server: str
    nonce: str
    model: str
    test: str
    proxy: str | None
    baseline: str | None
    updates: tuple[Update, ...]
    images: int
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

    @property
    def clients(self) -> int:
        """K."""
        return len(self.updates)

    @property
    def files(self) -> tuple[str, ...]:
        """The digests of all files that a miner needs, each once."""
        named = [self.model, self.test, *(u.digest for u in self.updates), self.proxy, self.baseline]
        return tuple(dict.fromkeys(digest for digest in named if digest is not None))

    def update_terms(self, update: Update) -> dict[str, Any]:
        """What the client of `update` signed for this task."""
        return update_terms(self.model, self.test, update.digest, update.examples, self.nonce)

    def terms(self) -> dict[str, Any]:
        names = (
            *_TASK_HEX,
            *_TASK_INTEGERS,
            "aggregation",
            "baseline",
            "payment_error_micro",
            "proxy",
            "sap_rule",
        )
        return {**{n: getattr(self, n) for n in names}, "updates": [u.to_json() for u in self.updates]}


_TASK_HEX = {"server": ADDRESS_LENGTH, "nonce": NONCE_LENGTH, "model": DIGEST_LENGTH, "test": DIGEST_LENGTH}
_TASK_INTEGERS = (
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


@dataclass(frozen=True, slots=True)
class Commit:
    """A miner's sealed estimate: the digest of what it will reveal, and its signature as `commit`."""

    miner: str
    digest: str
    signature: str

    def to_json(self) -> dict[str, Any]:
        return {"digest": self.digest, "miner": self.miner, "signature": self.signature}


def commit_terms(task: str, attempt: int, digest: str) -> dict[str, Any]:
    """What a miner signs as `commit`."""
    return {"attempt": attempt, "digest": digest, "task": task}


@dataclass(frozen=True)
class Reveal:
    """An opened estimate: t, whether exact, the sums N_j, for an exact one E_j, the table's digest, the salt."""

    miner: str
    rankings: int
    exact: bool
    sums: tuple[int, ...]
    values: tuple[int, ...] | None
    table: str
    salt: str
    signature: str

    def opening(self) -> dict[str, Any]:
        """The fields without miner and signature."""
        return {
            "exact": self.exact,
            "rankings": self.rankings,
            "salt": self.salt,
            "sums": [str(value) for value in self.sums],
            "table": self.table,
            "values": None if self.values is None else [str(value) for value in self.values],
        }

    def to_json(self) -> dict[str, Any]:
        return {**self.opening(), "miner": self.miner, "signature": self.signature}

    def terms(self, task: str, attempt: int) -> dict[str, Any]:
        """What the miner signs as `reveal`."""
        return {**self.opening(), "attempt": attempt, "task": task}

    def commitment(self, task: str, attempt: int) -> str:
        """The digest that its commit must carry."""
        return tagged_hash("commitment", encode({**self.terms(task, attempt), "miner": self.miner}))


@dataclass(frozen=True, slots=True)
class FraudMark:
    """One mask of an included reveal's table whose count is wrong; the miner drops out."""

    miner: str
    mask: int

    def to_json(self, clients: int) -> dict[str, Any]:
        return {"mask": mask_hex(self.mask, clients), "miner": self.miner}


@dataclass(frozen=True, slots=True)
class Pay:
    """Where a task's price goes, in micro-FedCoin: clients in order, the FL server, miners by address, the requester."""

    clients: tuple[int, ...]
    server: int
    miners: tuple[tuple[str, int], ...]
    requester: int

    @property
    def total(self) -> int:
        """The whole price when the task ended, 0 while it goes on."""
        return sum(self.clients) + self.server + sum(micro for _, micro in self.miners) + self.requester

    def to_json(self) -> dict[str, Any]:
        return {
            "clients": list(self.clients),
            "miners": [[miner, micro] for miner, micro in self.miners],
            "requester": self.requester,
            "server": self.server,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows from an attempt; every voter recomputes it.

    `state` is OPEN (another attempt), SETTLED or REFUNDED. `distance` is the nearest estimate's squared distance in
    images² as (numerator, denominator); `shapley` holds S̄ in images as numerators over `denominator`.
    """

    state: str
    winner: str | None
    distance: tuple[int, int] | None
    shapley: tuple[int, ...] | None
    denominator: int
    pay: Pay

    def to_json(self) -> dict[str, Any]:
        return {
            "denominator": str(self.denominator),
            "distance": None if self.distance is None else [str(part) for part in self.distance],
            "pay": self.pay.to_json(),
            "shapley": None if self.shapley is None else [str(value) for value in self.shapley],
            "state": self.state,
            "winner": self.winner,
        }


@dataclass(frozen=True)
class Close:
    """The commits of an attempt; with none, the attempt failed and `outcome` says what follows."""

    kind: ClassVar[str] = "close"
    task: str
    attempt: int
    commits: tuple[Commit, ...]
    outcome: Outcome | None

    def to_json(self) -> dict[str, Any]:
        return {
            "attempt": self.attempt,
            "commits": [commit.to_json() for commit in self.commits],
            "outcome": None if self.outcome is None else self.outcome.to_json(),
            "task": self.task,
            "type": self.kind,
        }


@dataclass(frozen=True)
class Result:
    """The reveals of an attempt, the frauds found in them, the proxy's sums (P over Λ_P), and the outcome."""

    kind: ClassVar[str] = "result"
    task: str
    attempt: int
    reveals: tuple[Reveal, ...]
    frauds: tuple[FraudMark, ...]
    proxy_sums: tuple[int, ...]
    proxy_denominator: int
    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        return {
            "attempt": self.attempt,
            "frauds": [fraud.to_json(len(self.proxy_sums)) for fraud in self.frauds],
            "outcome": self.outcome.to_json(),
            "proxy_denominator": str(self.proxy_denominator),
            "proxy_sums": [str(value) for value in self.proxy_sums],
            "reveals": [reveal.to_json() for reveal in self.reveals],
            "task": self.task,
            "type": self.kind,
        }


Transaction = Transfer | Task | Cancel | Close | Result


def mask_hex(mask: int, clients: int) -> str:
    """A coalition as fixed-width hex: client j is bit j."""
    return f"{mask:0{2 * ((clients + 7) // 8)}x}"


def parse_transaction(value: Any) -> Transaction:
    """Read any of the five; raises `Malformed`."""
    kind = value.get("type") if type(value) is dict else None
    reader = _READERS.get(kind) if type(kind) is str else None
    if reader is None:
        raise Malformed("transaction: unknown type")
    return reader(value)


_SIGNED_KEYS = ("sender", "sequence", "signature", "type")


def _signed_fields(reader: Fields) -> dict[str, Any]:
    return {
        "sender": reader.hexadecimal("sender", ADDRESS_LENGTH),
        "sequence": reader.integer("sequence", 1),
        "signature": reader.hexadecimal("signature", SIGNATURE_LENGTH),
    }


def _read_transfer(value: Any) -> Transfer:
    reader = Fields(value, (*_SIGNED_KEYS, "to", "amount_micro"), "transfer")
    to = reader.hexadecimal("to", ADDRESS_LENGTH)
    amount = reader.integer("amount_micro", 1, SUPPLY_MAX_MICRO)
    return Transfer(**_signed_fields(reader), to=to, amount_micro=amount)


def _read_cancel(value: Any) -> Cancel:
    reader = Fields(value, (*_SIGNED_KEYS, "task"), "cancel")
    return Cancel(**_signed_fields(reader), task=reader.hexadecimal("task", DIGEST_LENGTH))


def _read_task(value: Any) -> Task:
    words = ("aggregation", "baseline", "payment_error_micro", "proxy", "sap_rule", "updates")
    reader = Fields(value, (*_SIGNED_KEYS, *_TASK_HEX, *_TASK_INTEGERS, *words), "task")
    error = None if reader.raw("payment_error_micro") is None else reader.integer("payment_error_micro", 1)
    return Task(
        **_signed_fields(reader),
        **{name: reader.hexadecimal(name, length) for name, length in _TASK_HEX.items()},
        **{name: reader.integer(name) for name in _TASK_INTEGERS},
        aggregation=reader.choice("aggregation", AGGREGATIONS),
        baseline=reader.optional_hex("baseline", DIGEST_LENGTH),
        payment_error_micro=error,
        proxy=reader.optional_hex("proxy", DIGEST_LENGTH),
        sap_rule=reader.choice("sap_rule", SAP_RULES),
        updates=tuple(_read_update(item) for item in reader.array("updates", CLIENTS_MAX, 1)),
    )


def _read_update(value: Any) -> Update:
    reader = Fields(value, ("client", "digest", "examples", "signature"), "update")
    return Update(
        digest=reader.hexadecimal("digest", DIGEST_LENGTH),
        client=reader.hexadecimal("client", ADDRESS_LENGTH),
        examples=reader.integer("examples", 1),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )


def read_commit(value: Any) -> Commit:
    """Read one commit; raises `Malformed`."""
    reader = Fields(value, ("digest", "miner", "signature"), "commit")
    return Commit(
        miner=reader.hexadecimal("miner", ADDRESS_LENGTH),
        digest=reader.hexadecimal("digest", DIGEST_LENGTH),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )


def read_reveal(value: Any, clients: int | None = None) -> Reveal:
    """Read one reveal of K = `clients` values (None: any K); raises `Malformed`."""
    keys = ("exact", "miner", "rankings", "salt", "signature", "sums", "table", "values")
    reader = Fields(value, keys, "reveal")
    count = clients if clients is not None else len(reader.array("sums", CLIENTS_MAX, 1))
    exact = reader.boolean("exact")
    if exact != (reader.raw("values") is not None):
        raise Malformed("reveal: values belong to exact reveals and only to them")
    return Reveal(
        miner=reader.hexadecimal("miner", ADDRESS_LENGTH),
        rankings=reader.integer("rankings", 1),
        exact=exact,
        sums=reader.bigs("sums", count),
        values=reader.bigs("values", count) if exact else None,
        table=reader.hexadecimal("table", DIGEST_LENGTH),
        salt=reader.hexadecimal("salt", SALT_LENGTH),
        signature=reader.hexadecimal("signature", SIGNATURE_LENGTH),
    )


def _read_fraud(value: Any, clients: int) -> FraudMark:
    reader = Fields(value, ("mask", "miner"), "fraud")
    mask = int(reader.hexadecimal("mask", 2 * ((clients + 7) // 8)), 16)
    if not 0 < mask < 1 << clients:
        raise Malformed("fraud: the mask names no coalition")
    return FraudMark(miner=reader.hexadecimal("miner", ADDRESS_LENGTH), mask=mask)


def _read_pay(value: Any) -> Pay:
    reader = Fields(value, ("clients", "miners", "requester", "server"), "pay")
    count = len(reader.array("clients", CLIENTS_MAX))
    miners = []
    for item in reader.array("miners", ROSTER_MAX):
        if type(item) is not list or len(item) != 2:
            raise Malformed("pay: miners must hold [address, micro] pairs")
        pair = Fields(dict(zip(("miner", "micro"), item, strict=True)), ("miner", "micro"), "pay")
        miners.append((pair.hexadecimal("miner", ADDRESS_LENGTH), pair.integer("micro", 0, SUPPLY_MAX_MICRO)))
    return Pay(
        clients=reader.integers("clients", count, SUPPLY_MAX_MICRO),
        server=reader.integer("server", 0, SUPPLY_MAX_MICRO),
        miners=tuple(miners),
        requester=reader.integer("requester", 0, SUPPLY_MAX_MICRO),
    )


def _read_outcome(value: Any) -> Outcome:
    reader = Fields(value, ("denominator", "distance", "pay", "shapley", "state", "winner"), "outcome")
    shapley = None
    if reader.raw("shapley") is not None:
        shapley = reader.bigs("shapley", len(reader.array("shapley", CLIENTS_MAX, 1)))
    distance = None if reader.raw("distance") is None else reader.bigs("distance", 2)
    return Outcome(
        state=reader.choice("state", ("OPEN", "SETTLED", "REFUNDED")),
        winner=reader.optional_hex("winner", ADDRESS_LENGTH),
        distance=None if distance is None else (distance[0], distance[1]),
        shapley=shapley,
        denominator=reader.big("denominator"),
        pay=_read_pay(reader.raw("pay")),
    )


def _read_close(value: Any) -> Close:
    reader = Fields(value, ("attempt", "commits", "outcome", "task", "type"), "close")
    return Close(
        task=reader.hexadecimal("task", DIGEST_LENGTH),
        attempt=reader.integer("attempt", 1),
        commits=tuple(read_commit(item) for item in reader.array("commits", ROSTER_MAX)),
        outcome=None if reader.raw("outcome") is None else _read_outcome(reader.raw("outcome")),
    )


def _read_result(value: Any) -> Result:
    keys = ("attempt", "frauds", "outcome", "proxy_denominator", "proxy_sums", "reveals", "task", "type")
    reader = Fields(value, keys, "result")
    clients = len(reader.array("proxy_sums", CLIENTS_MAX, 1))
    return Result(
        task=reader.hexadecimal("task", DIGEST_LENGTH),
        attempt=reader.integer("attempt", 1),
        reveals=tuple(read_reveal(item, clients) for item in reader.array("reveals", ROSTER_MAX)),
        frauds=tuple(_read_fraud(item, clients) for item in reader.array("frauds", ROSTER_MAX)),
        proxy_sums=reader.bigs("proxy_sums", clients),
        proxy_denominator=reader.big("proxy_denominator"),
        outcome=_read_outcome(reader.raw("outcome")),
    )


_READERS = {
    "transfer": _read_transfer,
    "task": _read_task,
    "cancel": _read_cancel,
    "close": _read_close,
    "result": _read_result,
}
